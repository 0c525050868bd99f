//! New assertions go to others at once: to all in a small cluster, to a few at random in a larger
//! one, each of whom passes them on (Demers et al., "Epidemic Algorithms for Replicated Database
//! Maintenance", 1987: rumor mongering).
//!
//! In: numbers of new assertions, ends of pushes, who takes part. Out: pushes. Bounded: what does
//! not fit into a peer's queue, and what a failed push leaves waiting, is counted and left to
//! anti-entropy.
//!
//! Never: holds a body, waits for an answer before it takes the next assertion.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::base::{NodeId, Random, limits};

/// A number by which the owner finds the assertion.
pub type Row = u32;

/// How an assertion came to this node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// Somebody claimed it here.
    Here,
    /// It was gossiped, by a member where that is known.
    Gossip(Option<NodeId>),
    /// It was missing here: whoever has it has had it for a while.
    AntiEntropy,
}

/// One assertion on its way to one peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Push {
    /// To whom.
    pub to: NodeId,
    /// Which assertion.
    pub row: Row,
}

/// Counts since the start, for `/metrics`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Pushes that were taken.
    pub pushed: u64,
    /// Pushes that failed.
    pub failed: u64,
    /// Assertions that were not pushed to a peer, for want of room or after a failure.
    pub dropped: u64,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Row>,
    under_way: usize,
}

/// The broadcaster of one node.
#[derive(Debug)]
pub struct Gossip {
    queues: BTreeMap<NodeId, Queue>,
    /// Of them, those that this node cannot call: they fetch by anti-entropy what is new.
    unreachable: BTreeSet<NodeId>,
    random: Random,
    stats: Stats,
}

impl Gossip {
    /// Alone.
    pub fn new(seed: u64) -> Gossip {
        let (random, stats) = (Random::new(seed), Stats::default());
        let (queues, unreachable) = Default::default();
        Gossip { queues, unreachable, random, stats }
    }

    /// These others take part now, and some of them cannot be called.
    pub fn handle_members(&mut self, present: &BTreeSet<NodeId>, unreachable: BTreeSet<NodeId>) {
        self.unreachable = unreachable;
        let dropped = &mut self.stats.dropped;
        self.queues.retain(|node, queue| {
            let stays = present.contains(node);
            *dropped += if stays { 0 } else { queue.waiting.len() as u64 };
            stays
        });
        for node in present {
            self.queues.entry(*node).or_default();
        }
    }

    /// An assertion is new here.
    pub fn handle_new(&mut self, row: Row, origin: Origin) {
        let is_small = self.queues.len() <= limits::GOSSIP_FANOUT;
        let from = match origin {
            Origin::Here => None,
            Origin::AntiEntropy => return,
            Origin::Gossip(Some(from)) if self.queues.contains_key(&from) => {
                // In a small cluster it has told everybody itself.
                if is_small {
                    return;
                }
                Some(from)
            }
            Origin::Gossip(_) => None,
        };
        let mut targets: Vec<NodeId> =
            self.queues.keys().copied().filter(|node| Some(*node) != from).collect();
        targets.retain(|node| !self.unreachable.contains(node));
        if !is_small {
            self.random.shuffle(&mut targets);
            targets.truncate(limits::GOSSIP_FANOUT);
        }
        for node in targets {
            let Some(queue) = self.queues.get_mut(&node) else { continue };
            if queue.waiting.len() < limits::GOSSIP_QUEUE_MAX {
                queue.waiting.push_back(row);
            } else {
                self.stats.dropped += 1;
            }
        }
    }

    /// A push ended. A peer that fails gets what waits for it by anti-entropy.
    pub fn handle_pushed(&mut self, to: NodeId, is_taken: bool) {
        let outcome = if is_taken { &mut self.stats.pushed } else { &mut self.stats.failed };
        *outcome += 1;
        let Some(queue) = self.queues.get_mut(&to) else { return };
        queue.under_way = queue.under_way.saturating_sub(1);
        if !is_taken {
            self.stats.dropped += queue.waiting.len() as u64;
            queue.waiting.clear();
        }
    }

    /// The next push; drain until `None` after every other call.
    pub fn poll_output(&mut self) -> Option<Push> {
        let mut queues = self.queues.iter_mut();
        let is_ready = |queue: &Queue| {
            queue.under_way < limits::GOSSIP_UNDER_WAY_MAX && !queue.waiting.is_empty()
        };
        let (to, queue) = queues.find(|(_, queue)| is_ready(queue))?;
        queue.under_way += 1;
        let row = queue.waiting.pop_front()?;
        Some(Push { to: *to, row })
    }

    /// Whether there is nobody to tell.
    pub fn is_alone(&self) -> bool {
        self.queues.is_empty()
    }

    /// Pushes that wait.
    pub fn waiting(&self) -> usize {
        self.queues.values().map(|queue| queue.waiting.len()).sum()
    }

    /// Counts since the start.
    pub fn stats(&self) -> Stats {
        self.stats
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: usize) -> NodeId {
        NodeId((number as u128).to_be_bytes())
    }

    fn among(others: usize) -> Gossip {
        let mut gossip = Gossip::new(1);
        gossip.handle_members(&(1..=others).map(node).collect(), BTreeSet::new());
        gossip
    }

    fn pushes(gossip: &mut Gossip) -> Vec<Push> {
        std::iter::from_fn(|| gossip.poll_output()).collect()
    }

    #[test]
    fn a_small_cluster_hears_from_the_door_and_from_nobody_else() {
        let mut gossip = among(limits::GOSSIP_FANOUT);
        gossip.handle_new(7, Origin::Here);
        assert_eq!(pushes(&mut gossip).len(), limits::GOSSIP_FANOUT);
        gossip.handle_new(8, Origin::Gossip(Some(node(1))));
        gossip.handle_new(9, Origin::AntiEntropy);
        assert_eq!(pushes(&mut gossip), []);
        // Somebody who is no member told this node alone.
        gossip.handle_new(10, Origin::Gossip(Some(node(99))));
        assert_eq!(pushes(&mut gossip).len(), limits::GOSSIP_FANOUT);
    }

    #[test]
    fn in_a_large_cluster_everybody_passes_on_to_a_few_others() {
        let mut gossip = among(50);
        gossip.handle_new(7, Origin::Gossip(Some(node(1))));
        let told: BTreeSet<NodeId> = pushes(&mut gossip).iter().map(|push| push.to).collect();
        assert_eq!(told.len(), limits::GOSSIP_FANOUT);
        assert!(!told.contains(&node(1)));
    }

    #[test]
    fn queues_are_bounded_and_what_does_not_fit_is_counted() {
        let mut gossip = among(1);
        let many = limits::GOSSIP_QUEUE_MAX + 10;
        (0..many as u32).for_each(|row| gossip.handle_new(row, Origin::Here));
        assert_eq!((gossip.waiting(), gossip.stats().dropped), (limits::GOSSIP_QUEUE_MAX, 10));
        let first = pushes(&mut gossip);
        assert_eq!(first.len(), limits::GOSSIP_UNDER_WAY_MAX);
        gossip.handle_pushed(node(1), true);
        assert_eq!(pushes(&mut gossip).len(), 1);
        gossip.handle_pushed(node(1), false);
        assert_eq!(gossip.waiting(), 0);
        let Stats { pushed, failed, dropped } = gossip.stats();
        assert_eq!((pushed, failed), (1, 1));
        assert_eq!(dropped, 10 + (limits::GOSSIP_QUEUE_MAX - first.len() - 1) as u64);
    }

    #[test]
    fn who_cannot_be_called_is_told_nothing() {
        let mut gossip = among(2);
        gossip.handle_members(&(1..=2).map(node).collect(), BTreeSet::from([node(1)]));
        gossip.handle_new(7, Origin::Here);
        assert_eq!(pushes(&mut gossip), [Push { to: node(2), row: 7 }]);
        // What it pushes itself, it has pushed to all.
        gossip.handle_new(8, Origin::Gossip(Some(node(1))));
        assert_eq!(pushes(&mut gossip), []);
    }

    #[test]
    fn who_is_gone_is_told_no_more() {
        let mut gossip = among(2);
        (0..100).for_each(|row| gossip.handle_new(row, Origin::Here));
        pushes(&mut gossip);
        gossip.handle_members(&BTreeSet::from([node(2)]), BTreeSet::new());
        gossip.handle_pushed(node(1), true);
        assert!(pushes(&mut gossip).is_empty());
        gossip.handle_members(&BTreeSet::new(), BTreeSet::new());
        assert!(gossip.is_alone());
    }
}
