//! What sketches hide: members that share a short id.
//!
//! In: digests of the buckets of both Merkle trees, the hashes in buckets that differ. Out: which
//! buckets to list, and in those what is missing here and what the peer lacks, by whole hashes. Two
//! members with one short id cancel out of a sketch, or one stands for the other. Bucket digests
//! are of whole hashes, so no pair hides from them.
//!
//! ```text
//! Unasked --begin--> Reading --all our digests--> Read --next_bucket--> Listing --> over
//! ```
//!
//! Never: lists buckets that are equal, more than [`BUCKETS_MAX`] that are not, or two at once.

use std::collections::VecDeque;

use super::peer_fault::PeerFault;
use crate::base::{Digest, limits};
use crate::sketch::{Part, ShortId};
use crate::store::{BucketScan, Store};

/// Buckets that are listed in one session: 8 KB each at a million assertions. The next session goes
/// on with the rest.
const BUCKETS_MAX: usize = 64;
/// Hashes that are listed before the session yields: about 2 ms.
const STEP: usize = 4096;

/// How far the check is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum CheckStage {
    /// The peer was not asked for its digests.
    #[default]
    Unasked,
    /// Our own digests are collected, while the peer's are in flight.
    Reading,
    /// All of ours are there.
    Read,
    /// Buckets that differ are listed one after the other.
    Listing,
}

/// The comparison of Merkle buckets that finds what colliding short ids hide.
#[derive(Debug, Default)]
pub(super) struct CollisionCheck {
    /// What is done next: each stage begins when the answer to the one before is there.
    stage: CheckStage,
    /// Our digests, collected in slices: those that the tree lacks cost a list of hashes each.
    ours: BucketScan,
    /// The peer's digests; 32 KB.
    theirs: Vec<ShortId>,
    /// Buckets that differ and are still to be listed.
    todo: VecDeque<Part>,
}

impl CollisionCheck {
    /// Begins, if it has not; true if the peer is to be asked for its digests now.
    pub(super) fn begin(&mut self) -> bool {
        let is_first = self.stage == CheckStage::Unasked;
        if is_first {
            self.stage = CheckStage::Reading;
        }
        is_first
    }

    /// Whether digests of our own are left to be collected.
    pub(super) fn is_reading(&self) -> bool {
        self.stage == CheckStage::Reading
    }

    /// Collects some more of our digests.
    pub(super) fn read_on(&mut self, store: &Store) {
        if self.ours.step(STEP, store) {
            self.stage = CheckStage::Read;
        }
        self.check();
    }

    pub(super) fn handle_digests(&mut self, digests: Vec<ShortId>) {
        self.theirs = digests;
        self.check();
    }

    /// The next bucket to list; `None` if that was all. Both sides' digests must be there.
    pub(super) fn next_bucket(&mut self) -> Option<Part> {
        if self.stage == CheckStage::Read {
            // Once: the digests stay as they were read, so they would list the same buckets again.
            self.todo = self.ours.differing(&self.theirs).take(BUCKETS_MAX).collect();
            self.stage = CheckStage::Listing;
        }
        self.check();
        self.todo.pop_front()
    }

    /// Takes the hashes that the peer has in a bucket. Returns those that only it has, and those
    /// that only this node has.
    pub(super) fn compare_bucket(
        part: Part,
        theirs: &[Digest],
        store: &Store,
    ) -> Result<(Vec<Digest>, Vec<Digest>), PeerFault> {
        // `binary_search` needs order, and hashes of other buckets would all seem to be missing.
        let is_of_bucket = theirs.iter().all(|leaf| part.has(leaf));
        if theirs.len() > limits::LEAVES_MAX || !is_of_bucket || !theirs.is_sorted() {
            return Err(PeerFault::NotOfBucket);
        }
        // A full page may not be all: behind its last hash nothing is known to be lacking.
        let end = theirs.last().filter(|_| theirs.len() == limits::LEAVES_MAX);
        let mut ours = store.leaves_of(part, limits::LEAVES_MAX);
        ours.retain(|hash| end.is_none_or(|end| hash <= end));
        let missing = theirs.iter().filter(|leaf| ours.binary_search(leaf).is_err());
        let missing = missing.copied().collect();
        ours.retain(|hash| theirs.binary_search(hash).is_err());
        Ok((missing, ours))
    }

    /// Nothing is known before it was asked for, and no more buckets are listed than are allowed.
    fn check(&self) {
        let is_unasked = self.stage == CheckStage::Unasked;
        debug_assert!(!is_unasked || self.theirs.is_empty());
        debug_assert!(self.stage == CheckStage::Listing || self.todo.is_empty());
        debug_assert!(self.todo.len() <= BUCKETS_MAX);
    }
}
