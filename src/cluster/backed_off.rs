//! Members whose sessions were useless, and for how long rounds pass them by.
//!
//! ```text
//! trusted --useless session--> backed off 1 min --over--> trusted, penalty kept
//!    ^                           | useless again: 2, 4, 8 ... 64 min
//!    +---- useful session -------+
//! ```
//!
//! In: how sessions of anti-entropy ended. Out: whether rounds pass a member by. Never: forgets a
//! member because it went and came back, keeps more than a cluster's members.

use std::time::Duration;

use litemap::LiteMap;

use crate::base::{Moment, NodeId, limits};

/// The first useless session costs so long; each one that follows twice as long. A Byzantine peer
/// costs a round its bytes and time, and some come from a fault that the peer repairs.
const FIRST: Duration = Duration::from_secs(60);
/// After so many the time grows no longer: about an hour.
const DOUBLINGS_MAX: u32 = 6;

/// How a session of anti-entropy ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Outcome {
    /// The peer's answers were false or led nowhere.
    pub is_useless: bool,
    /// It did all that was to be done.
    pub is_whole: bool,
    /// Assertions the peer held before, as it says.
    pub held: u64,
    /// Assertions it took in the session, which it holds from then on.
    pub sent: u64,
}

/// Members by how their sessions ended.
#[derive(Debug, Default)]
pub(super) struct BackedOff {
    /// By node id, dead members included: a restart clears no penalty.
    records: LiteMap<NodeId, Record>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Record {
    /// Useless sessions in a row: the exponent of the next pause.
    penalty: u32,
    /// Rounds pass it by until then.
    until: Moment,
    /// Assertions that it had after the last session, as it says: a count that halves again and
    /// again is a peer that wants all of them again and again.
    held: u64,
}

impl BackedOff {
    /// A session ended. A useful one clears the penalty.
    ///
    /// A peer that has less than half of what it had is given all again, and then backed off as
    /// well: a disk is lost rarely, and a Byzantine peer might want everything each time.
    pub(super) fn handle_synced(&mut self, now: Moment, node: NodeId, outcome: Outcome) {
        if self.records.len() >= limits::MEMBERS_MAX && !self.records.contains_key(&node) {
            // The one that is over first has the least to lose by it.
            let soonest = self.records.iter().min_by_key(|(_, record)| record.until);
            let soonest = soonest.map(|(node, _)| *node);
            soonest.and_then(|node| self.records.remove(&node));
        }
        let record = self.records.entry(node).or_default();
        // Half, not all: what arrived by gossip during the last session counts twice in `held`.
        let has_shrunk = outcome.is_whole && outcome.held < record.held / 2;
        if outcome.is_whole {
            record.held = outcome.held.saturating_add(outcome.sent);
        }
        if !outcome.is_useless && !has_shrunk {
            record.penalty = 0;
            record.until = Moment(0);
            return self.check();
        }
        record.until = now + FIRST * (1 << record.penalty.min(DOUBLINGS_MAX));
        record.penalty = record.penalty.saturating_add(1);
        self.check();
    }

    /// Whether rounds pass it by now.
    pub(super) fn has(&self, now: Moment, node: NodeId) -> bool {
        self.records.get(&node).is_some_and(|record| now < record.until)
    }

    /// How many rounds pass by.
    pub(super) fn count(&self, now: Moment) -> usize {
        self.records.values().filter(|record| now < record.until).count()
    }

    fn check(&self) {
        debug_assert!(self.records.len() <= limits::MEMBERS_MAX, "{} records", self.records.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u16) -> NodeId {
        let mut bytes = [0; 16];
        bytes[..2].copy_from_slice(&number.to_le_bytes());
        NodeId(bytes)
    }

    fn ended(is_useless: bool) -> Outcome {
        Outcome { is_useless, is_whole: !is_useless, held: 0, sent: 0 }
    }

    #[test]
    fn each_useless_session_costs_twice_the_one_before_up_to_an_hour() {
        let (mut backed_off, byzantine) = (BackedOff::default(), node(1));
        let mut now = Moment(0);
        for minutes in [1, 2, 4, 8, 16, 32, 64, 64, 64] {
            assert!(!backed_off.has(now, byzantine));
            backed_off.handle_synced(now, byzantine, ended(true));
            let end = now + Duration::from_secs(60 * minutes);
            assert!(backed_off.has(Moment(end.0 - 1), byzantine), "{minutes}");
            now = end;
        }
        backed_off.handle_synced(now, byzantine, ended(true));
        assert_eq!((backed_off.count(now), backed_off.has(now, node(2))), (1, false));
        backed_off.handle_synced(now, byzantine, ended(false));
        assert_eq!((backed_off.count(now), backed_off.has(now, byzantine)), (0, false));
        backed_off.handle_synced(now, byzantine, ended(true));
        assert!(!backed_off.has(now + FIRST, byzantine), "it begins anew");
    }

    #[test]
    fn a_peer_that_wants_everything_again_and_again_has_to_wait() {
        let (mut backed_off, byzantine) = (BackedOff::default(), node(1));
        let gave = |held, sent| Outcome { is_useless: false, is_whole: true, held, sent };
        backed_off.handle_synced(Moment(0), byzantine, gave(0, 1000));
        assert!(!backed_off.has(Moment(0), byzantine), "it is new");
        backed_off.handle_synced(Moment(1), byzantine, gave(600, 400));
        assert!(!backed_off.has(Moment(1), byzantine), "it may have counted some twice");
        backed_off.handle_synced(Moment(2), byzantine, gave(0, 1000));
        assert!(backed_off.has(Moment(2), byzantine));
        backed_off.handle_synced(Moment(3) + FIRST, byzantine, gave(499, 501));
        assert!(backed_off.has(Moment(4) + FIRST * 2, byzantine));
    }

    #[test]
    fn it_is_about_no_more_than_a_clusters_members() {
        let mut backed_off = BackedOff::default();
        for number in 0..=limits::MEMBERS_MAX {
            let number = u16::try_from(number).expect("a few thousand");
            backed_off.handle_synced(Moment(u64::from(number)), node(number), ended(true));
        }
        assert_eq!(backed_off.records.len(), limits::MEMBERS_MAX);
        assert!(!backed_off.has(Moment(0), node(0)), "the one that was over first");
    }
}
