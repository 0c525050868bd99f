//! The claims that a gateway had taken lately, so that it can show them before gossip brings them.
//!
//! ```text
//! handle_written --the node of the gateway took it--> here
//!                --another one did--> elsewhere --seen in the own set--> here
//! here, elsewhere --RECENT_WRITES_AGE_MAX, RECENT_WRITES_MAX--> forgotten
//! handle_batch, handle_batch_end --RECENT_WRITES_AGE_MAX--> forgotten
//! ```
//!
//! In: claims that were taken, and by which node; time. Out: where a claim is, where the claims on
//! a subject are, which of them are not here. Every node gets the whole set in the end, so what is
//! remembered bridges the time that gossip takes.
//!
//! Never: remembers without an end, takes the word of memory against the own set.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::base::{Digest, Moment, NodeId, limits};

/// How long a claim is remembered: two rounds of anti-entropy at its default interval. After that
/// every owner has it, whatever became of gossip.
const RECENT_WRITES_AGE_MAX: Duration = Duration::from_secs(60);
/// Claims that are remembered, at 64 bytes each: 250 KiB. At 10,000 claims a second they are those
/// of the last 0.4 s.
const RECENT_WRITES_MAX: usize = 4096;

/// The nodes that took the recent claims on a subject.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WrittenAt {
    /// There are no recent claims.
    Nowhere,
    /// All of them are at this node.
    One(NodeId),
    /// No single node is known to have all.
    Several,
}

/// The claims that a gateway had taken lately.
#[derive(Debug, Default)]
pub struct RecentWrites {
    /// The oldest first.
    writes: VecDeque<RecentWrite>,
    /// Batches that the node of the gateway takes now, and when the last one ended. Their claims
    /// are more than can be remembered: while they are recent, that node answers every question.
    batches: usize,
    batch_ended: Option<Moment>,
}

#[derive(Debug)]
struct RecentWrite {
    /// When the answer came, for [`RECENT_WRITES_AGE_MAX`].
    at: Moment,
    /// The subject's hash: a name has up to 4 KiB. Two that share one cost a detour and no claim.
    subject: u64,
    /// The node that answered.
    node: NodeId,
    /// The claim, until it is seen here: from then on it needs no look-up.
    elsewhere: Option<Digest>,
}

impl RecentWrites {
    /// A node took a claim; `elsewhere` is its id unless this node did.
    pub fn handle_written(
        &mut self,
        now: Moment,
        subject: &str,
        node: NodeId,
        elsewhere: Option<Digest>,
    ) {
        self.expire(now);
        if self.writes.len() == RECENT_WRITES_MAX {
            self.writes.pop_front();
        }
        let subject = hash_of(subject);
        self.writes.push_back(RecentWrite { at: now, subject, node, elsewhere });
        self.check();
    }

    /// The node of the gateway has taken the first claim of a batch.
    pub fn handle_batch(&mut self) {
        self.batches += 1;
    }

    /// A batch is over.
    pub fn handle_batch_end(&mut self, now: Moment) {
        debug_assert!(self.batches > 0, "a batch that never began");
        self.batches -= 1;
        self.batch_ended = Some(now);
    }

    /// The node that took a claim which has not been seen here.
    pub fn node_of(&mut self, now: Moment, digest: &Digest) -> Option<NodeId> {
        self.expire(now);
        let mut newest_first = self.writes.iter().rev();
        newest_first.find(|write| write.elsewhere == Some(*digest)).map(|write| write.node)
    }

    /// Where the recent claims on a subject are.
    pub fn written_at(&mut self, now: Moment, subject: &str) -> WrittenAt {
        self.expire(now);
        if self.batches > 0 || self.batch_ended.is_some() {
            return WrittenAt::Several;
        }
        let mut found = WrittenAt::Nowhere;
        for write in self.about(Some(subject)) {
            match found {
                WrittenAt::Nowhere => found = WrittenAt::One(write.node),
                WrittenAt::One(node) if node == write.node => {}
                WrittenAt::One(_) | WrittenAt::Several => return WrittenAt::Several,
            }
        }
        found
    }

    /// The recent claims on a subject, or all of them, that are not here, by the nodes that took
    /// them.
    pub fn missing(
        &mut self,
        now: Moment,
        subject: Option<&str>,
        is_here: impl Fn(&Digest) -> bool,
    ) -> BTreeMap<NodeId, Vec<Digest>> {
        self.expire(now);
        let mut missing = BTreeMap::<NodeId, Vec<Digest>>::new();
        for write in self.about(subject) {
            let Some(digest) = write.elsewhere else { continue };
            match is_here(&digest) {
                true => write.elsewhere = None,
                false => missing.entry(write.node).or_default().push(digest),
            }
        }
        self.check();
        missing
    }

    fn about(&mut self, subject: Option<&str>) -> impl Iterator<Item = &mut RecentWrite> {
        let wanted = subject.map(hash_of);
        self.writes.iter_mut().filter(move |write| wanted.is_none_or(|it| it == write.subject))
    }

    fn expire(&mut self, now: Moment) {
        let is_old = |write: &RecentWrite| now.since(write.at) >= RECENT_WRITES_AGE_MAX;
        while self.writes.front().is_some_and(is_old) {
            self.writes.pop_front();
        }
        self.batch_ended = self.batch_ended.filter(|at| now.since(*at) < RECENT_WRITES_AGE_MAX);
    }

    /// The invariants.
    fn check(&self) {
        debug_assert!(self.writes.len() <= RECENT_WRITES_MAX, "{} claims", self.writes.len());
        let ends = self.writes.front().zip(self.writes.back());
        debug_assert!(ends.is_none_or(|(first, last)| first.at <= last.at), "out of order");
    }
}

fn hash_of(subject: &str) -> u64 {
    Digest::of(subject.as_bytes()).0.first_chunk().map_or(0, |front| u64::from_le_bytes(*front))
}

const _: () = assert!(RECENT_WRITES_MAX <= 5 * limits::FETCH_HASHES_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    const NODES: [NodeId; 3] = [NodeId([1; 16]), NodeId([2; 16]), NodeId([3; 16])];

    fn digest(number: usize) -> Digest {
        Digest::of(&number.to_le_bytes())
    }

    #[test]
    fn what_is_elsewhere_is_known_until_it_is_seen_here() {
        let mut recent = RecentWrites::default();
        for (number, subject) in ["a", "a", "b"].into_iter().enumerate() {
            recent.handle_written(Moment(5), subject, NODES[number], Some(digest(number)));
        }
        recent.handle_written(Moment(5), "c", NODES[0], None);
        assert_eq!(recent.node_of(Moment(6), &digest(1)), Some(NODES[1]));
        assert_eq!(recent.node_of(Moment(6), &digest(7)), None);
        let of_a = [(NODES[0], vec![digest(0)]), (NODES[1], vec![digest(1)])];
        assert_eq!(recent.missing(Moment(6), Some("a"), |_| false), of_a.clone().into());
        let here = |it: &Digest| *it == digest(0);
        let rest = [(NODES[1], vec![digest(1)]), (NODES[2], vec![digest(2)])];
        assert_eq!(recent.missing(Moment(6), None, here), rest.clone().into());
        assert_eq!(recent.missing(Moment(6), None, |_| false), rest.into(), "0 was seen here");
        assert_eq!(recent.node_of(Moment(6), &digest(0)), None);
    }

    #[test]
    fn the_nodes_of_a_subject_are_one_or_several() {
        let mut recent = RecentWrites::default();
        assert_eq!(recent.written_at(Moment(0), "a"), WrittenAt::Nowhere);
        for _ in 0..2 {
            recent.handle_written(Moment(0), "a", NODES[1], Some(digest(1)));
            assert_eq!(recent.written_at(Moment(1), "a"), WrittenAt::One(NODES[1]));
        }
        recent.handle_written(Moment(1), "a", NODES[2], None);
        assert_eq!(recent.written_at(Moment(2), "a"), WrittenAt::Several);
        assert_eq!(recent.written_at(Moment(2), "b"), WrittenAt::Nowhere);
    }

    #[test]
    fn while_a_batch_is_recent_no_other_node_is_known_to_have_all() {
        let mut recent = RecentWrites::default();
        recent.handle_batch();
        recent.handle_batch();
        assert_eq!(recent.written_at(Moment(9), "a"), WrittenAt::Several);
        recent.handle_batch_end(Moment(10));
        let later = Moment(10) + RECENT_WRITES_AGE_MAX;
        assert_eq!(recent.written_at(later, "a"), WrittenAt::Several, "one is under way");
        recent.handle_batch_end(later);
        assert_eq!(recent.written_at(later, "a"), WrittenAt::Several);
        let end = later + RECENT_WRITES_AGE_MAX;
        assert_eq!(recent.written_at(end, "a"), WrittenAt::Nowhere);
    }

    #[test]
    fn memory_is_bounded_in_number_and_in_time() {
        let mut recent = RecentWrites::default();
        let end = Moment(0) + RECENT_WRITES_AGE_MAX;
        for number in 0..=RECENT_WRITES_MAX {
            recent.handle_written(Moment(number as u64), "a", NODES[0], Some(digest(number)));
        }
        assert_eq!(recent.node_of(Moment(5000), &digest(0)), None, "one too many");
        assert_eq!(recent.node_of(Moment(5000), &digest(1)), Some(NODES[0]));
        assert_eq!(recent.node_of(Moment(end.0 + 1), &digest(1)), None, "its time is over");
        let last = Moment(end.0 + RECENT_WRITES_MAX as u64);
        assert_eq!(recent.written_at(last, "a"), WrittenAt::Nowhere);
    }
}
