//! When to compare sets with which member: each interval with a few, and at once with one that is
//! back (Demers et al., "Epidemic Algorithms for Replicated Database Maintenance", 1987, section
//! 1.3: anti-entropy).
//!
//! In: time, members that came back. Out: members to reconcile with. Never: names a member twice at
//! a time, lets nodes that started together ask at one time.

use std::time::Duration;

use litemap::LiteMap;

use crate::base::{Moment, NodeId, Random};

/// Members compared with in one round; differences spread from there. All of them would make the
/// cost of a round grow with the square of the cluster.
const ROUND_PEERS: usize = 3;
/// Members that see another come back ask it within this, not all at one time.
const BACK_JITTER: Duration = Duration::from_millis(200);

/// When the next round of anti-entropy begins, and which members are visited before it.
#[derive(Debug)]
pub(super) struct Rounds {
    /// `None`: sets are compared on request alone.
    interval: Option<Duration>,
    /// When the next round is due.
    next: Moment,
    /// Members that are back, and when each is asked: they do not wait for the round, since a node
    /// that was away lacks most.
    back: LiteMap<NodeId, Moment>,
    /// Which members a round names, and the jitter.
    random: Random,
}

impl Rounds {
    /// A round about every `interval`; without one there are none.
    pub(super) fn new(interval: Option<Duration>, seed: u64, now: Moment) -> Rounds {
        let mut random = Random::new(seed);
        let next = now + jittered(interval.unwrap_or_default(), &mut random);
        Rounds { interval, next, back: LiteMap::new_vec(), random }
    }

    /// A member is back, or new.
    pub(super) fn handle_back(&mut self, now: Moment, node: NodeId) {
        if self.interval.is_some() {
            let at = now + BACK_JITTER.mul_f64(self.random.fraction());
            // One that comes back twice in a moment is asked once.
            self.back.entry(node).or_insert(at);
        }
    }

    pub(super) fn handle_gone(&mut self, node: NodeId) {
        self.back.remove(&node);
    }

    /// The members to reconcile with now, of those `present`.
    pub(super) fn handle_timeout(
        &mut self,
        now: Moment,
        present: impl Iterator<Item = NodeId>,
    ) -> Vec<NodeId> {
        let mut due: Vec<NodeId> =
            self.back.iter().filter(|(_, at)| **at <= now).map(|(node, _)| *node).collect();
        self.back.retain(|node, _| !due.contains(node));
        if let Some(interval) = self.interval.filter(|_| self.next <= now) {
            self.next = now + jittered(interval, &mut self.random);
            // Those that are back are asked already; a second session at a time finds nothing.
            let mut others: Vec<NodeId> = present.filter(|node| !due.contains(node)).collect();
            self.random.shuffle(&mut others);
            others.truncate(ROUND_PEERS);
            due.append(&mut others);
        }
        self.check(now);
        due
    }

    /// The invariants, after what was due at `now` was taken.
    fn check(&self, now: Moment) {
        debug_assert!(self.interval.is_some() || self.back.is_empty(), "rounds are off");
        debug_assert!(self.back.values().all(|at| *at > now), "a member stays due");
        debug_assert!(self.interval.is_none() || self.next > now, "a round stays due");
    }

    /// When [`Rounds::handle_timeout`] wants to be called next.
    pub(super) fn next_deadline(&self) -> Option<Moment> {
        let next = self.interval.is_some().then_some(self.next);
        next.into_iter().chain(self.back.values().copied()).min()
    }
}

fn jittered(interval: Duration, random: &mut Random) -> Duration {
    // Nodes that one operator starts together would else compare all at one time for ever.
    interval.mul_f64(0.75 + 0.5 * random.fraction())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u8) -> NodeId {
        NodeId([number; 16])
    }

    #[test]
    fn a_round_asks_a_few_and_a_member_that_is_back_comes_at_once() {
        let mut rounds = Rounds::new(Some(Duration::from_secs(30)), 1, Moment(0));
        let first = rounds.next_deadline().expect("a round");
        assert!((22_500_000..37_500_000).contains(&first.0));
        rounds.handle_back(Moment(5), node(9));
        rounds.handle_back(Moment(6), node(9));
        rounds.handle_back(Moment(6), node(8));
        rounds.handle_gone(node(8));
        let at = rounds.next_deadline().expect("a member is back");
        assert!(at < Moment(5) + BACK_JITTER);
        assert_eq!(rounds.handle_timeout(at, std::iter::empty()), [node(9)]);
        assert_eq!(rounds.next_deadline(), Some(first));
        let asked = rounds.handle_timeout(first, (0..20).map(node));
        assert_eq!(asked.len(), ROUND_PEERS);
        assert!(rounds.next_deadline() > Some(first));
    }

    #[test]
    fn off_is_never() {
        let mut rounds = Rounds::new(None, 1, Moment(0));
        rounds.handle_back(Moment(0), node(1));
        assert_eq!(rounds.next_deadline(), None);
        assert!(rounds.handle_timeout(Moment(u64::MAX), [node(1)].into_iter()).is_empty());
    }
}
