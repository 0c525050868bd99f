//! How far this node trusts its own judgement: the local health multiplier of Lifeguard (Dadgar,
//! Phillips, Currey, "Lifeguard: Local Health Awareness for More Accurate Failure Detection", DSN
//! 2018, section IV.A), and how often it refutes what is said of it.
//!
//! In: probes that were answered or failed, refutations, stalls. Out: by how much to stretch a
//! protocol period. Never: judges another node.

use std::time::Duration;

use crate::base::{Moment, limits};

/// The score is at most this bad: the saturation limit S of Lifeguard, section IV.A.
const SCORE_MAX: u32 = 8;

/// The score of one node about itself.
#[derive(Debug)]
pub(super) struct LocalHealth {
    /// 0 is well. A node that is slow itself misses acks that are there; each step up makes it wait
    /// one interval longer before it accuses anyone.
    score: u32,
    /// When the current count of refutations began: they are bounded by interval, not for ever.
    counted_since: Moment,
    /// Refutations since then. A flood of false accusations would else raise the incarnation and
    /// start a rumor for each.
    refutations: u32,
}

impl LocalHealth {
    pub(super) fn new() -> LocalHealth {
        LocalHealth { score: 0, counted_since: Moment::ZERO, refutations: 0 }
    }

    /// A probe of this node's was answered.
    pub(super) fn improve(&mut self) {
        self.score = self.score.saturating_sub(1);
    }

    /// A probe was answered by no path, or this node did not run for a while.
    pub(super) fn worsen(&mut self) {
        self.score = (self.score + 1).min(SCORE_MAX);
    }

    /// This node is to refute an accusation; false if it did so too often in this interval.
    pub(super) fn take_refutation(&mut self, now: Moment, interval: Duration) -> bool {
        if now.since(self.counted_since) >= interval {
            (self.counted_since, self.refutations) = (now, 0);
            // Lifeguard, section IV.A: an accusation that arrives shows that this node was slow to
            // answer. Once in an interval: the same accusation comes from several members.
            self.worsen();
        }
        let is_allowed = self.refutations < limits::REFUTATIONS_MAX;
        self.refutations += u32::from(is_allowed);
        is_allowed
    }

    /// The length of a protocol period of this node: LHA-Probe multiplies by score + 1.
    pub(super) fn stretch(&self, interval: Duration) -> Duration {
        interval * (1 + self.score)
    }

    pub(super) fn check(&self) {
        debug_assert!(self.score <= SCORE_MAX, "local health {}", self.score);
        debug_assert!(self.refutations <= limits::REFUTATIONS_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_score_is_bounded_and_refutations_are_counted_by_interval() {
        let (mut health, interval) = (LocalHealth::new(), Duration::from_secs(1));
        (0..20).for_each(|_| health.worsen());
        assert_eq!(health.stretch(interval), Duration::from_secs(9));
        (0..20).for_each(|_| health.improve());
        assert_eq!(health.stretch(interval), interval);
        let now = Moment::ZERO + interval;
        let taken = (0..50).filter(|_| health.take_refutation(now, interval)).count();
        assert_eq!(taken, limits::REFUTATIONS_MAX as usize);
        assert_eq!(health.stretch(interval), 2 * interval, "one interval, one step");
        assert!(health.take_refutation(now + interval, interval));
        health.check();
    }
}
