//! The buckets of the Merkle tree: a digest of each, and the hashes in one.
//!
//! In: how much may be listed in one go. Out: digests that differ where two sets do, whatever short
//! ids their members have. Never: waits for a root, lists a bucket whose digest is known.

use super::Store;
use super::hashes::LeafScan;
use crate::base::Digest;
use crate::base::limits::BUCKETS;
use crate::sketch::{Part, ShortId, short_id};

/// The digests of all buckets, being collected. Each is of the bucket as it was when it was listed.
#[derive(Debug, Default)]
pub struct BucketScan(Vec<ShortId>);

impl BucketScan {
    /// Goes on, listing about `budget` hashes at most where digests are not known; true when all
    /// are there.
    pub fn step(&mut self, budget: usize, store: &Store) -> bool {
        let mut left = budget;
        while self.0.len() < BUCKETS && left > 0 {
            // Not of the nodes alone: rows that a root under way leaves out count here.
            let list = |prefix: &Digest, depth| store.hashes_under(prefix, depth, store.end_row());
            let (digest, listed) = store.tree.bucket_digest(self.0.len(), list);
            // 8 bytes of it: 4096 of them make an answer of 32 KB, and 2^-64 is enough to find out
            // which buckets to list.
            self.0.push(short_id(&digest));
            left = left.saturating_sub(listed);
        }
        self.0.len() == BUCKETS
    }

    /// The first 8 bytes of each digest, 0 of an empty bucket, in the order of the hashes.
    pub fn digests(&self) -> &[ShortId] {
        &self.0
    }

    /// The buckets, as parts, whose digests are others than these.
    pub fn differing(&self, theirs: &[ShortId]) -> impl Iterator<Item = Part> {
        let pairs = (0..).zip(self.0.iter().zip(theirs));
        let differing = pairs.filter(|(_, (ours, theirs))| ours != theirs);
        differing.map(|(number, _)| Part { bits: BUCKETS.trailing_zeros(), number })
    }
}

impl Store {
    /// The hashes of a part, ascending, at most `max`.
    pub fn leaves_of(&self, part: Part, max: usize) -> Vec<Digest> {
        let mut scan = LeafScan::of_part(part, max);
        scan.step(usize::MAX, self);
        scan.into_leaves()
    }
}
