//! When to compare sets with whom: now and then with a few, and at once with who is back.
//!
//! In: time, members that came back. Out: whom to level with. Never: names somebody twice at a
//! time, lets nodes that started together ask at one time.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::{Moment, NodeId, Random};

/// Members compared with in one round; differences spread from there.
const ROUND_PEERS: usize = 3;
/// Those who see a member come back ask within this, not all at one time.
const BACK_JITTER: Duration = Duration::from_millis(200);

/// The timetable of anti-entropy.
#[derive(Debug)]
pub(super) struct Rounds {
    interval: Option<Duration>,
    next: Moment,
    back: BTreeMap<NodeId, Moment>,
    random: Random,
}

impl Rounds {
    /// A round about every `interval`; without one only when somebody asks.
    pub(super) fn new(interval: Option<Duration>, seed: u64, now: Moment) -> Rounds {
        let mut random = Random::new(seed);
        let next = now + jittered(interval.unwrap_or_default(), &mut random);
        Rounds { interval, next, back: BTreeMap::new(), random }
    }

    /// A member is back, or new.
    pub(super) fn handle_back(&mut self, now: Moment, node: NodeId) {
        if self.interval.is_some() {
            let at = now + BACK_JITTER.mul_f64(self.random.fraction());
            self.back.entry(node).or_insert(at);
        }
    }

    /// A member is gone.
    pub(super) fn handle_gone(&mut self, node: NodeId) {
        self.back.remove(&node);
    }

    /// Whom to level with now, of those `present`.
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
            let mut others: Vec<NodeId> = present.filter(|node| !due.contains(node)).collect();
            self.random.shuffle(&mut others);
            others.truncate(ROUND_PEERS);
            due.append(&mut others);
        }
        due
    }

    /// When [`Rounds::handle_timeout`] wants to be called next.
    pub(super) fn next_deadline(&self) -> Option<Moment> {
        let next = self.interval.is_some().then_some(self.next);
        next.into_iter().chain(self.back.values().copied()).min()
    }
}

fn jittered(interval: Duration, random: &mut Random) -> Duration {
    interval.mul_f64(0.75 + 0.5 * random.fraction())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u8) -> NodeId {
        NodeId([number; 16])
    }

    #[test]
    fn a_round_asks_a_few_and_who_is_back_comes_at_once() {
        let mut rounds = Rounds::new(Some(Duration::from_secs(30)), 1, Moment(0));
        let first = rounds.next_deadline().expect("a round");
        assert!((22_500_000..37_500_000).contains(&first.0));
        rounds.handle_back(Moment(5), node(9));
        rounds.handle_back(Moment(6), node(9));
        rounds.handle_back(Moment(6), node(8));
        rounds.handle_gone(node(8));
        let at = rounds.next_deadline().expect("somebody is back");
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
