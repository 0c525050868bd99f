//! New assertions go to others at once: in a small cluster from the node of the client to all, in a
//! larger one along trees that all nodes compute alike (`cluster::trees`), so that each node gets
//! one copy. A member that cannot be called, or refuses, is passed by: its other neighbours get
//! what it would have passed on. What anti-entropy brings before its push waits for that push, and
//! is passed on then.
//!
//! In: numbers of new assertions, ends of pushes, members that take part. Out: pushes. Bounded:
//! what does not fit into a peer's queue, and what a failed push leaves waiting, is counted and
//! left to anti-entropy.
//!
//! Never: holds a body, waits for an answer before it takes the next assertion.

use std::collections::{BTreeSet, VecDeque};

use litemap::LiteMap;

use super::trees::{Trees, tree_of};
use crate::base::{Digest, NodeId, limits};

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

/// Assertions that came by anti-entropy and whose pushes may still come: those of the seconds that
/// a push may be late.
const UNPUSHED_MAX: usize = 1024;

/// How a push ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PushEnd {
    /// The peer has the assertion.
    Taken,
    /// The peer refused it, or its host the connection.
    Refused,
    /// No answer came in time, or the record cannot be read. By then those behind the peer have
    /// found what they lack.
    Failed,
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
    /// Assertions that went around a member that refused them.
    pub rerouted: u64,
}

/// One assertion that a peer has yet to get.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Item {
    /// A body is read from the log when its push begins.
    row: Row,
    /// The tree that it takes: a push that fails goes around the peer in this one.
    tree: u8,
    /// It goes around another member. It does not go around a second one: two that refuse would
    /// send it to and fro.
    is_detour: bool,
}

/// What one peer has yet to get.
#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Item>,
    /// Pushes begun: a slow peer must hold no more calls and bodies than the bound.
    under_way: Vec<Item>,
}

/// The broadcaster of one node.
#[derive(Debug)]
pub struct Gossip {
    /// This node, which has a place in the trees.
    me: NodeId,
    /// One for each member that takes part; there is none to drop into when a member is gone.
    queues: LiteMap<NodeId, Queue>,
    /// Of them, those that this node cannot call: they fetch by anti-entropy what is new.
    unreachable: BTreeSet<NodeId>,
    /// Of them, those that pass nothing on.
    plain: BTreeSet<NodeId>,
    /// Where assertions go in a large cluster.
    trees: Trees,
    /// Members have come or gone since the trees were made. The next assertion has them made anew:
    /// a thousand members that come together would else each cost the trees over all of them.
    are_trees_old: bool,
    /// Rows that anti-entropy brought last, by the front of their digests. A session takes what is
    /// on its way along a tree, too, and those behind this node in the tree wait for it: without
    /// these, one session in a burst of claims left some nodes without them until its end.
    unpushed: VecDeque<(u64, Row)>,
    stats: Stats,
}

impl Gossip {
    /// One of a node that knows no member.
    pub fn new(me: NodeId) -> Gossip {
        let (queues, unreachable, plain, trees, unpushed) = Default::default();
        let (are_trees_old, stats) = Default::default();
        Gossip { me, queues, unreachable, plain, trees, are_trees_old, unpushed, stats }
    }

    /// These others take part now; some of them cannot be called, and `plain` ones pass nothing on.
    pub fn handle_members(
        &mut self,
        present: &BTreeSet<NodeId>,
        unreachable: BTreeSet<NodeId>,
        plain: &BTreeSet<NodeId>,
    ) {
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
        self.plain.clone_from(plain);
        self.are_trees_old = true;
        self.check();
    }

    fn renew_trees(&mut self) {
        if !self.is_small() && std::mem::take(&mut self.are_trees_old) {
            self.trees = Trees::new(self.me, self.queues.keys().copied(), &self.plain);
        }
    }

    /// Whether a node reaches all members itself.
    fn is_small(&self) -> bool {
        self.queues.len() <= limits::GOSSIP_FANOUT
    }

    /// An assertion is new here.
    pub fn handle_new(&mut self, (row, digest): (Row, &Digest), origin: Origin) {
        let from = match origin {
            Origin::Here => None,
            // A bootstrap of a million pushed to all would fill each queue.
            Origin::AntiEntropy => return,
            Origin::Gossip(Some(from)) if self.queues.contains_key(&from) => {
                // In a small cluster its sender pushed it to all members itself.
                if self.is_small() {
                    return;
                }
                Some(from)
            }
            // Its pusher is no member here, so it may have reached this node alone.
            Origin::Gossip(_) => None,
        };
        self.renew_trees();
        let tree = tree_of(digest);
        let targets = match self.is_small() {
            true => {
                self.queues.keys().copied().filter(|it| !self.unreachable.contains(it)).collect()
            }
            false => self.targets(tree, from),
        };
        self.enqueue(Item { row, tree, is_detour: false }, &targets);
        self.check();
    }

    /// An assertion is new here by anti-entropy: the members that have it have had it for a while,
    /// or its push is under way.
    pub fn handle_fetched(&mut self, (row, digest): (Row, &Digest)) {
        if self.is_small() {
            // Nodes pass nothing on.
            return;
        }
        if self.unpushed.len() >= UNPUSHED_MAX {
            self.unpushed.pop_front();
        }
        self.unpushed.push_back((front(digest), row));
    }

    /// An assertion that is here already is pushed.
    pub fn handle_known(&mut self, digest: &Digest, origin: Origin) {
        let front = front(digest);
        let slot = self.unpushed.iter().position(|unpushed| unpushed.0 == front);
        if let Some((_, row)) = slot.and_then(|slot| self.unpushed.remove(slot)) {
            self.handle_new((row, digest), origin);
        }
    }

    /// The neighbours that an assertion `from` another goes to.
    fn targets(&self, tree: u8, from: Option<NodeId>) -> Vec<NodeId> {
        let own = self.trees.own(tree);
        let mut passed: BTreeSet<NodeId> = from.into_iter().chain([self.me]).collect();
        if let Some(from) = from.filter(|it| !own.contains(it) && self.trees.has(*it)) {
            // It came around a neighbour of both. To go around that again, each of the others would
            // send a copy to each of the others.
            let is_between = |it: &&NodeId| self.trees.neighbours(**it, tree).contains(&from);
            passed.extend(own.iter().filter(is_between));
        }
        self.around(own.to_vec(), tree, passed)
    }

    /// These and, in place of each that cannot be called, its other neighbours.
    fn around(&self, mut next: Vec<NodeId>, tree: u8, mut passed: BTreeSet<NodeId>) -> Vec<NodeId> {
        let mut found = Vec::new();
        while let Some(node) = next.pop() {
            if !passed.insert(node) {
                continue;
            }
            match self.unreachable.contains(&node) {
                true => next.extend(self.trees.neighbours(node, tree)),
                false => found.push(node),
            }
        }
        found
    }

    fn enqueue(&mut self, item: Item, targets: &[NodeId]) {
        for node in targets {
            let Some(queue) = self.queues.get_mut(node) else { continue };
            if queue.waiting.len() < limits::GOSSIP_QUEUE_MAX {
                queue.waiting.push_back(item);
            } else {
                self.stats.dropped += 1;
            }
        }
    }

    /// The push of a row ended. A peer that fails gets what waits for it by anti-entropy.
    pub fn handle_pushed(&mut self, (to, row): (NodeId, Row), end: PushEnd) {
        let is_taken = end == PushEnd::Taken;
        let outcome = if is_taken { &mut self.stats.pushed } else { &mut self.stats.failed };
        *outcome += 1;
        let Some(queue) = self.queues.get_mut(&to) else { return };
        let slot = queue.under_way.iter().position(|item| item.row == row);
        let ended = slot.map(|slot| queue.under_way.swap_remove(slot));
        if !is_taken {
            self.stats.dropped += queue.waiting.len() as u64;
            // The peer is down or full: a push each would wait for its timeout.
            let left = std::mem::take(&mut queue.waiting);
            if end == PushEnd::Refused {
                ended.into_iter().chain(left).for_each(|item| self.reroute(to, item));
            }
        }
        self.check();
    }

    /// What a member does not pass on goes to its other neighbours.
    fn reroute(&mut self, around: NodeId, item: Item) {
        if item.is_detour || self.is_small() {
            return;
        }
        self.renew_trees();
        let behind = self.trees.neighbours(around, item.tree);
        let targets = self.around(behind, item.tree, BTreeSet::from([self.me, around]));
        self.stats.rerouted += u64::from(!targets.is_empty());
        self.enqueue(Item { is_detour: true, ..item }, &targets);
    }

    /// The next push; drain until `None` after every other call.
    pub fn poll_output(&mut self) -> Option<Push> {
        let mut queues = self.queues.iter_mut();
        // Each queue has calls of its own, so a member that is slow holds none of the others up.
        let is_ready = |queue: &Queue| {
            queue.under_way.len() < limits::GOSSIP_UNDER_WAY_MAX && !queue.waiting.is_empty()
        };
        let (to, queue) = queues.find(|(_, queue)| is_ready(queue))?;
        let item = queue.waiting.pop_front()?;
        queue.under_way.push(item);
        Some(Push { to: *to, row: item.row })
    }

    /// Whether pushes to a member wait or are under way.
    pub fn is_pushing_to(&self, node: NodeId) -> bool {
        let queue = self.queues.get(&node);
        queue.is_some_and(|queue| !(queue.waiting.is_empty() && queue.under_way.is_empty()))
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
                && queue.under_way.len() <= limits::GOSSIP_UNDER_WAY_MAX
        };
        debug_assert!(self.queues.values().all(is_bounded), "a queue beyond its bounds");
        debug_assert!(self.unpushed.len() <= UNPUSHED_MAX, "{} unpushed", self.unpushed.len());
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

/// The first 8 bytes of a digest. Two that begin alike cost one push too many.
fn front(digest: &Digest) -> u64 {
    let (front, _) = digest.0.split_first_chunk().expect("a digest has 32 bytes");
    u64::from_le_bytes(*front)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: usize) -> NodeId {
        NodeId((number as u128).to_be_bytes())
    }

    const TAKEN: PushEnd = PushEnd::Taken;

    fn among(others: usize) -> Gossip {
        let mut gossip = Gossip::new(node(0));
        join(&mut gossip, (1..=others).map(node).collect());
        gossip
    }

    fn join(gossip: &mut Gossip, present: BTreeSet<NodeId>) {
        gossip.handle_members(&present, BTreeSet::new(), &BTreeSet::new());
    }

    fn pushes(gossip: &mut Gossip) -> Vec<Push> {
        std::iter::from_fn(|| gossip.poll_output()).collect()
    }

    fn targets(gossip: &mut Gossip) -> BTreeSet<NodeId> {
        pushes(gossip).iter().map(|push| push.to).collect()
    }

    fn new(gossip: &mut Gossip, row: Row, origin: Origin) {
        gossip.handle_new((row, &Digest::ZERO), origin);
    }

    #[test]
    fn in_a_small_cluster_only_the_node_of_the_client_pushes() {
        let mut gossip = among(limits::GOSSIP_FANOUT);
        new(&mut gossip, 7, Origin::Here);
        assert_eq!(pushes(&mut gossip).len(), limits::GOSSIP_FANOUT);
        new(&mut gossip, 8, Origin::Gossip(Some(node(1))));
        new(&mut gossip, 9, Origin::AntiEntropy);
        assert_eq!(pushes(&mut gossip), []);
        // A pusher that is no member pushed to this node alone.
        new(&mut gossip, 10, Origin::Gossip(Some(node(99))));
        assert_eq!(pushes(&mut gossip).len(), limits::GOSSIP_FANOUT);
    }

    #[test]
    fn in_a_large_cluster_each_neighbour_gets_it_but_the_one_it_came_from() {
        let mut gossip = among(50);
        new(&mut gossip, 7, Origin::Here);
        let own = targets(&mut gossip);
        let from = *own.first().expect("it has a parent at least");
        new(&mut gossip, 8, Origin::Gossip(Some(from)));
        let rest = targets(&mut gossip);
        assert_eq!(rest, own.iter().copied().filter(|it| *it != from).collect());
    }

    #[test]
    fn what_a_neighbour_refuses_goes_around_it_once() {
        let mut gossip = among(50);
        new(&mut gossip, 7, Origin::Here);
        let first = pushes(&mut gossip);
        let broken = first.iter().map(|push| push.to);
        let broken = broken.max_by_key(|it| gossip.trees.neighbours(*it, 0).len());
        let broken = broken.expect("it has a parent at least");
        let behind: BTreeSet<NodeId> = gossip.trees.neighbours(broken, 0).into_iter().collect();
        gossip.handle_pushed((broken, 7), PushEnd::Refused);
        let around = targets(&mut gossip);
        assert_eq!(around, behind.iter().copied().filter(|it| *it != node(0)).collect());
        assert!(!around.is_empty() && gossip.stats().rerouted == 1);
        for node in around {
            gossip.handle_pushed((node, 7), PushEnd::Refused);
        }
        assert_eq!(pushes(&mut gossip), [], "a detour has none");
        new(&mut gossip, 8, Origin::Here);
        pushes(&mut gossip);
        gossip.handle_pushed((broken, 8), PushEnd::Failed);
        assert_eq!(pushes(&mut gossip), [], "those behind it have found what they lack by now");
        // Known as one that cannot be called, it is not tried; what comes around it stays so.
        let present = (1..=50).map(node).collect();
        gossip.handle_members(&present, BTreeSet::from([broken]), &BTreeSet::new());
        new(&mut gossip, 9, Origin::Here);
        let own = targets(&mut gossip);
        assert!(
            !own.contains(&broken) && behind.iter().all(|it| *it == node(0) || own.contains(it))
        );
        let other = behind.into_iter().find(|it| *it != node(0)).expect("one at least");
        new(&mut gossip, 10, Origin::Gossip(Some(other)));
        let rest = targets(&mut gossip);
        assert!(!rest.contains(&other) && rest.len() < own.len() || own.len() == 1);
    }

    #[test]
    fn what_anti_entropy_brought_is_passed_on_when_its_push_comes_and_once() {
        let mut gossip = among(50);
        new(&mut gossip, 1, Origin::Here);
        let own = targets(&mut gossip);
        let from = Origin::Gossip(own.first().copied());
        gossip.handle_fetched((7, &Digest::ZERO));
        assert_eq!(pushes(&mut gossip), []);
        gossip.handle_known(&Digest::ZERO, from);
        let passed = pushes(&mut gossip);
        assert!(passed.iter().all(|push| push.row == 7) && passed.len() == own.len() - 1);
        gossip.handle_known(&Digest::ZERO, from);
        assert_eq!(pushes(&mut gossip), []);
        for row in 0..2 * UNPUSHED_MAX as u32 {
            gossip.handle_fetched((row, &Digest::of(&row.to_le_bytes())));
        }
        assert_eq!(gossip.unpushed.len(), UNPUSHED_MAX);
        let mut small = among(limits::GOSSIP_FANOUT);
        small.handle_fetched((7, &Digest::ZERO));
        small.handle_known(&Digest::ZERO, from);
        assert_eq!(pushes(&mut small), [], "its pusher pushed it to all");
    }

    #[test]
    fn queues_are_bounded_and_what_does_not_fit_is_counted() {
        let mut gossip = among(1);
        let many = limits::GOSSIP_QUEUE_MAX + 10;
        (0..many as u32).for_each(|row| new(&mut gossip, row, Origin::Here));
        assert_eq!((gossip.waiting(), gossip.stats().dropped), (limits::GOSSIP_QUEUE_MAX, 10));
        let first = pushes(&mut gossip);
        assert_eq!(first.len(), limits::GOSSIP_UNDER_WAY_MAX);
        gossip.handle_pushed((node(1), 0), TAKEN);
        assert_eq!(pushes(&mut gossip).len(), 1);
        gossip.handle_pushed((node(1), 1), PushEnd::Refused);
        assert_eq!(gossip.waiting(), 0);
        let Stats { pushed, failed, dropped, rerouted } = gossip.stats();
        assert_eq!((pushed, failed, rerouted), (1, 1, 0));
        assert_eq!(dropped, 10 + (limits::GOSSIP_QUEUE_MAX - first.len() - 1) as u64);
    }

    #[test]
    fn a_member_that_cannot_be_called_is_pushed_nothing() {
        let mut gossip = among(2);
        let present = (1..=2).map(node).collect();
        gossip.handle_members(&present, BTreeSet::from([node(1)]), &BTreeSet::new());
        new(&mut gossip, 7, Origin::Here);
        assert_eq!(pushes(&mut gossip), [Push { to: node(2), row: 7 }]);
        // What it pushes itself, it has pushed to all.
        new(&mut gossip, 8, Origin::Gossip(Some(node(1))));
        assert_eq!(pushes(&mut gossip), []);
    }

    #[test]
    fn a_member_that_is_gone_is_pushed_nothing() {
        let mut gossip = among(2);
        (0..100).for_each(|row| new(&mut gossip, row, Origin::Here));
        pushes(&mut gossip);
        assert!(gossip.is_pushing_to(node(1)));
        join(&mut gossip, BTreeSet::from([node(2)]));
        gossip.handle_pushed((node(1), 0), TAKEN);
        assert!(pushes(&mut gossip).is_empty() && !gossip.is_pushing_to(node(1)));
        join(&mut gossip, BTreeSet::new());
        assert!(gossip.is_alone());
    }
}
