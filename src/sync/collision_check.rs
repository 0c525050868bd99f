//! What sketches hide: members that share a short id.
//!
//! In: what the sketches told in the session before, digests of the buckets of both trees, the
//! hashes in buckets that differ. Out: what is missing and what the peer lacks, by whole hashes.
//! Two members with one short id cancel out, or stand for each other; the sketches then tell again
//! what they told before, though it was exchanged since. Bucket digests are of whole hashes.
//!
//! Never: reads buckets that are alike, more than so many that are not, or two of them at once.

use std::collections::VecDeque;

use super::messages::SessionReport;
use super::{CallPurpose, Output, Request, Session, SessionPhase};
use crate::base::{Digest, limits};
use crate::journal::Bodies;
use crate::sketch::{Part, ShortId};
use crate::store::{BucketScan, Store};

/// Buckets that are looked into in one session; the next one goes on.
const BUCKETS_MAX: usize = 64;
/// Sessions in a row that found the roots to differ, after which one looks into the buckets
/// whatever the sketches tell: of sets that change all the time they may tell something new each
/// time.
const OVERDUE: u32 = 16;
/// Hashes that are listed before others get their turn: about 2 ms.
const STEP: usize = 4096;

/// What sketches decoded: how many ids, and their sum.
pub type DecodedSum = (u64, ShortId);

/// What earlier sessions with a peer came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PeerHistory {
    /// What the sketches told in the last one, if nothing went wrong in it, and our root then.
    decoded: Option<(DecodedSum, Digest)>,
    /// How many in a row found other roots, and did not look into the buckets.
    mismatches: u32,
}

impl PeerHistory {
    /// After one more, which began with this root.
    pub fn and(self, report: &SessionReport, root: Digest) -> PeerHistory {
        let Some(decoded) = report.decoded.filter(|_| !report.checked_collisions) else {
            return PeerHistory::default();
        };
        let decoded = report.error.is_none().then_some((decoded, root));
        PeerHistory { decoded, mismatches: self.mismatches.saturating_add(1) }
    }
}

/// A look into the buckets.
#[derive(Debug, Default)]
pub(super) struct CollisionCheck {
    is_asked: bool,
    ours: BucketScan,
    is_read: bool,
    theirs: Vec<ShortId>,
    /// Once both are known: those to look into.
    todo: Option<VecDeque<Part>>,
}

impl Session {
    /// The sketches told something, and that is exchanged.
    pub(super) fn end_exchange(&mut self) {
        let PeerHistory { decoded: before, mismatches } = self.compare.past;
        let is_repeated = before.is_some_and(|(decoded, _)| Some(decoded) == self.report.decoded);
        let is_doubtful = is_repeated || mismatches >= OVERDUE;
        if is_doubtful && self.report.error.is_none() && self.compare.buckets.is_none() {
            self.compare.buckets = Some(CollisionCheck::default());
            self.phase = SessionPhase::CollisionCheck;
        } else {
            self.phase = SessionPhase::Over;
            self.judge();
        }
    }

    pub(super) fn poll_collisions(&mut self, store: &Store, bodies: &dyn Bodies) -> Option<Output> {
        if let Some(output) = self.poll_fetch().or_else(|| self.poll_give(store, bodies)) {
            return Some(output);
        }
        let check = self.compare.buckets.as_mut().expect("this phase has one");
        if !std::mem::replace(&mut check.is_asked, true) {
            return Some(self.call(CallPurpose::Digests, Request::Digests));
        }
        if !check.is_read && !self.compare.has_yielded {
            check.is_read = check.ours.step(STEP, store);
            self.compare.has_yielded = true;
            return Some(Output::Yield);
        }
        if !self.calls.is_empty() || self.missing.hashes() > 0 || !check.is_read {
            return None;
        }
        let todo = check
            .todo
            .get_or_insert_with(|| check.ours.differing(&check.theirs).take(BUCKETS_MAX).collect());
        match todo.pop_front() {
            Some(part) => Some(self.call(CallPurpose::LeavesOf(part), Request::LeavesOf(part))),
            None => {
                self.report.checked_collisions = true;
                self.phase = SessionPhase::Over;
                self.judge_leaves(store);
                self.poll_output(store, bodies)
            }
        }
    }

    /// The peer's digests came.
    pub(super) fn handle_digests(&mut self, digests: Vec<ShortId>) {
        if let Some(check) = &mut self.compare.buckets {
            check.theirs = digests;
        }
        self.verdict.note_difference_owed();
    }

    /// It has none: its leaves tell, where they are few, or nothing else can be the reason.
    pub(super) fn check_by_leaves(&mut self) {
        let is_steady = self.compare.past.decoded.is_some_and(|(_, root)| root == self.sizes.root);
        if is_steady || self.sizes.theirs <= limits::LEAVES_MAX as u64 {
            self.fall_back_to_leaves();
        } else {
            self.phase = SessionPhase::Over;
        }
    }

    /// The hashes that the peer has in a bucket.
    pub(super) fn handle_bucket(
        &mut self,
        part: Part,
        leaves: &[Digest],
        store: &Store,
        bodies: &dyn Bodies,
    ) {
        let is_of_bucket = leaves.iter().all(|leaf| part.has(leaf));
        if leaves.len() > limits::LEAVES_MAX || !is_of_bucket || !leaves.is_sorted() {
            return self.reject("the peer's leaves are not those of a bucket".into());
        }
        // A full page may not be all.
        let end = leaves.last().filter(|_| leaves.len() == limits::LEAVES_MAX);
        let mut ours = store.leaves_of(part, limits::LEAVES_MAX);
        ours.retain(|hash| end.is_none_or(|end| hash <= end));
        let lacking = ours.iter().filter(|hash| leaves.binary_search(hash).is_err());
        let rows = lacking.filter_map(|hash| store.find_row(hash, bodies));
        rows.for_each(|row| self.exchange.push(row));
        let missing = leaves.iter().filter(|leaf| ours.binary_search(leaf).is_err());
        self.missing.extend(missing.copied());
    }
}
