//! What sessions with each peer showed: what it can do, what its sketches hid, how they ended. The
//! next session's strategy follows from it.
//!
//! In: reports of sessions, by node id: a peer that restarts at another address stays the same.
//! Out: strategies, counts. Never: keeps more peers than a cluster's members, remembers one that is
//! forgotten by the membership.

use litemap::LiteMap;

use crate::base::{Digest, NodeId, limits};
use crate::sync::{PeerHistory, SessionCounts, SessionReport, Strategy};

/// What is known of one peer.
#[derive(Debug, Default)]
struct PeerRecord {
    /// It answered `Sketch` with UNIMPLEMENTED: asking again would cost a round trip each session.
    lacks_sketch: bool,
    /// Whether sketches that agree may hide a collision of short ids.
    history: PeerHistory,
    counts: SessionCounts,
}

/// What is known of peers.
#[derive(Debug, Default)]
pub(super) struct Peers {
    records: LiteMap<NodeId, PeerRecord>,
}

impl Peers {
    /// How the next session with the peer finds out what differs. Sketches are tried first:
    /// their bytes follow the difference, those of leaves the set.
    pub(super) fn strategy(&self, peer: NodeId) -> Strategy {
        match self.records.get(&peer) {
            Some(record) if record.lacks_sketch => Strategy::Leaves,
            record => Strategy::Sketches(record.map(|it| it.history).unwrap_or_default()),
        }
    }

    /// A session with the peer ended, which began at this node's `root`.
    pub(super) fn handle_ended(&mut self, peer: NodeId, report: &SessionReport, root: Digest) {
        if self.records.len() >= limits::MEMBERS_MAX && !self.records.contains_key(&peer) {
            let evicted = self.records.first().map(|(node, _)| *node);
            evicted.map(|node| self.records.remove(&node));
        }
        let record = self.records.entry(peer).or_default();
        record.lacks_sketch |= report.lacks_sketch;
        record.history = record.history.and(report, root);
        record.counts.all += 1;
        record.counts.useless += u64::from(report.is_useless);
        self.check();
    }

    /// The membership has forgotten the member.
    pub(super) fn forget(&mut self, peer: NodeId) {
        self.records.remove(&peer);
    }

    pub(super) fn counts(&self) -> impl Iterator<Item = (NodeId, SessionCounts)> {
        self.records.iter().map(|(node, record)| (*node, record.counts))
    }

    fn check(&self) {
        debug_assert!(self.records.len() <= limits::MEMBERS_MAX, "{} peers", self.records.len());
        let mut counts = self.records.values().map(|record| record.counts);
        debug_assert!(counts.all(|counts| counts.all > 0 && counts.useless <= counts.all));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u128) -> NodeId {
        NodeId(number.to_be_bytes())
    }

    #[test]
    fn peers_are_counted_by_id_and_bounded() {
        let (mut peers, report) = (Peers::default(), SessionReport::default());
        for _ in 0..25 {
            peers.handle_ended(node(1), &report, Digest::ZERO);
        }
        let counts: Vec<_> = peers.counts().collect();
        assert_eq!(counts, [(node(1), SessionCounts { all: 25, useless: 0 })]);
        for number in 0..2 * limits::MEMBERS_MAX as u128 {
            peers.handle_ended(node(number), &report, Digest::ZERO);
        }
        assert_eq!(peers.records.len(), limits::MEMBERS_MAX);
    }

    #[test]
    fn a_peer_without_sketches_is_walked_until_it_is_forgotten() {
        let mut peers = Peers::default();
        let sketches = Strategy::Sketches(PeerHistory::default());
        assert_eq!(peers.strategy(node(1)), sketches);
        let report =
            SessionReport { lacks_sketch: true, is_useless: true, ..SessionReport::default() };
        peers.handle_ended(node(1), &report, Digest::ZERO);
        peers.handle_ended(node(1), &SessionReport::default(), Digest::ZERO);
        assert_eq!(
            (peers.strategy(node(1)), peers.strategy(node(2))),
            (Strategy::Leaves, sketches)
        );
        assert_eq!(peers.counts().next().map(|(_, counts)| counts.useless), Some(1));
        peers.forget(node(1));
        assert_eq!(peers.strategy(node(1)), sketches, "it may be another version by then");
    }

    #[test]
    fn what_the_sketches_decoded_last_goes_into_the_next_session() {
        let mut peers = Peers::default();
        let report = SessionReport { decoded: Some((3, 1)), ..SessionReport::default() };
        peers.handle_ended(node(1), &report, Digest::ZERO);
        let history = PeerHistory::default().and(&report, Digest::ZERO);
        assert_eq!(peers.strategy(node(1)), Strategy::Sketches(history));
    }
}
