//! New assertions go to others at once: to all in a small cluster, to a few at random in a larger
//! one, each of which passes them on (Demers et al., "Epidemic Algorithms for Replicated Database
//! Maintenance", 1987, section 1.4: rumor mongering).
//!
//! In: numbers of new assertions, ends of pushes, members that take part. Out: pushes. Bounded:
//! what does not fit into a peer's queue, and what a failed push leaves waiting, is counted and
//! left to anti-entropy.
//!
//! Never: holds a body, waits for an answer before it takes the next assertion.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::base::{NodeId, Random, limits};

/// A number by which the owner finds the assertion.
pub type Row = u32;

/// How an assertion came to this node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// A client claimed it here.
    Here,
    /// It was gossiped, by a member where that is known.
    Gossip(Option<NodeId>),
    /// It was missing here: the members that have it have had it for a while.
    AntiEntropy,
}

/// One assertion on its way to one peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Push {
    /// The member to push it to.
    pub to: NodeId,
    /// The assertion, as the caller numbers it.
    pub row: Row,
}

/// Counts since the start, for `/metrics`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Pushes that a member acknowledged as taken.
    pub pushed: u64,
    /// Pushes that failed: not answered in time, or refused.
    pub failed: u64,
    /// Assertions that were not pushed to a peer, as its queue was full or a push failed.
    pub dropped: u64,
}

/// What one peer has yet to get.
#[derive(Debug, Default)]
struct Queue {
    /// Row numbers, four bytes each: a body is read from the log when its push begins.
    waiting: VecDeque<Row>,
    /// Pushes begun: a slow peer must hold no more calls and bodies than the bound.
    under_way: usize,
}

/// The broadcaster of one node.
#[derive(Debug)]
pub struct Gossip {
    /// One for each member that takes part; there is none to drop into when a member is gone.
    queues: BTreeMap<NodeId, Queue>,
    /// Of them, those that this node cannot call: they fetch by anti-entropy what is new.
    unreachable: BTreeSet<NodeId>,
    /// Which few members of a large cluster get an assertion from here.
    random: Random,
    stats: Stats,
}

impl Gossip {
    /// One of a node that knows no member.
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
        self.check();
    }

    /// An assertion is new here.
    pub fn handle_new(&mut self, row: Row, origin: Origin) {
        let is_small = self.queues.len() <= limits::GOSSIP_FANOUT;
        let from = match origin {
            Origin::Here => None,
            // Others have it already. A bootstrap of a million pushed to all would fill each queue.
            Origin::AntiEntropy => return,
            Origin::Gossip(Some(from)) if self.queues.contains_key(&from) => {
                // In a small cluster its sender pushed it to all members itself.
                if is_small {
                    return;
                }
                Some(from)
            }
            // Its pusher is no member here, so it may have reached this node alone.
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
        self.check();
    }

    /// A push ended. A peer that fails gets what waits for it by anti-entropy.
    pub fn handle_pushed(&mut self, to: NodeId, is_taken: bool) {
        let outcome = if is_taken { &mut self.stats.pushed } else { &mut self.stats.failed };
        *outcome += 1;
        let Some(queue) = self.queues.get_mut(&to) else { return };
        queue.under_way = queue.under_way.saturating_sub(1);
        if !is_taken {
            self.stats.dropped += queue.waiting.len() as u64;
            // The peer is down or full: a push each would wait for its timeout.
            queue.waiting.clear();
        }
        self.check();
    }

    /// The next push; drain until `None` after every other call.
    pub fn poll_output(&mut self) -> Option<Push> {
        let mut queues = self.queues.iter_mut();
        // Each queue has calls of its own, so a member that is slow holds none of the others up.
        let is_ready = |queue: &Queue| {
            queue.under_way < limits::GOSSIP_UNDER_WAY_MAX && !queue.waiting.is_empty()
        };
        let (to, queue) = queues.find(|(_, queue)| is_ready(queue))?;
        queue.under_way += 1;
        let row = queue.waiting.pop_front()?;
        Some(Push { to: *to, row })
    }

    /// Whether there is no member to push to.
    pub fn is_alone(&self) -> bool {
        self.queues.is_empty()
    }

    fn check(&self) {
        debug_assert!(self.queues.len() <= limits::MEMBERS_MAX, "{} queues", self.queues.len());
        debug_assert!(self.unreachable.iter().all(|node| self.queues.contains_key(node)));
        let is_bounded = |queue: &Queue| {
            queue.waiting.len() <= limits::GOSSIP_QUEUE_MAX
                && queue.under_way <= limits::GOSSIP_UNDER_WAY_MAX
        };
        debug_assert!(self.queues.values().all(is_bounded), "a queue beyond its bounds");
    }

    /// Pushes that wait for one under way to end.
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
    fn in_a_small_cluster_only_the_node_of_the_client_pushes() {
        let mut gossip = among(limits::GOSSIP_FANOUT);
        gossip.handle_new(7, Origin::Here);
        assert_eq!(pushes(&mut gossip).len(), limits::GOSSIP_FANOUT);
        gossip.handle_new(8, Origin::Gossip(Some(node(1))));
        gossip.handle_new(9, Origin::AntiEntropy);
        assert_eq!(pushes(&mut gossip), []);
        // A pusher that is no member pushed to this node alone.
        gossip.handle_new(10, Origin::Gossip(Some(node(99))));
        assert_eq!(pushes(&mut gossip).len(), limits::GOSSIP_FANOUT);
    }

    #[test]
    fn in_a_large_cluster_each_node_passes_on_to_a_few_others() {
        let mut gossip = among(50);
        gossip.handle_new(7, Origin::Gossip(Some(node(1))));
        let targets: BTreeSet<NodeId> = pushes(&mut gossip).iter().map(|push| push.to).collect();
        assert_eq!(targets.len(), limits::GOSSIP_FANOUT);
        assert!(!targets.contains(&node(1)));
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
    fn a_member_that_cannot_be_called_is_pushed_nothing() {
        let mut gossip = among(2);
        gossip.handle_members(&(1..=2).map(node).collect(), BTreeSet::from([node(1)]));
        gossip.handle_new(7, Origin::Here);
        assert_eq!(pushes(&mut gossip), [Push { to: node(2), row: 7 }]);
        // What it pushes itself, it has pushed to all.
        gossip.handle_new(8, Origin::Gossip(Some(node(1))));
        assert_eq!(pushes(&mut gossip), []);
    }

    #[test]
    fn a_member_that_is_gone_is_pushed_nothing() {
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
