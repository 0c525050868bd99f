//! The sketch under another key, made in slices while the store is in use.
//!
//! In: the new key; a function that lists the ids whose hashes begin alike, and how many it may
//! list in one go. Out: the sketch of all rows. Never: leaves a row out or has one twice.

use super::tree::{DEPTH, bucket, prefix_of};
use crate::base::{Digest, limits};
use crate::sketch::{ShortId, Sketch, SketchKey, short_id};

/// A sketch that is being made.
#[derive(Debug)]
pub(super) struct Rekeying {
    sketch: Sketch,
    /// The bucket to go on with: rows of those before it are in, and a new row of them has to be
    /// added, as no listing will meet it.
    next: usize,
}

impl Rekeying {
    /// Without rows yet.
    pub(super) fn new(key: SketchKey) -> Rekeying {
        Rekeying { sketch: Sketch::new(key), next: 0 }
    }

    /// A row came meanwhile.
    pub(super) fn note(&mut self, digest: &Digest) {
        // A later bucket is listed with the new row in it.
        if bucket(digest) < self.next {
            self.sketch.insert(&[short_id(digest)]);
        }
    }

    /// Lists about `budget` ids more, those of one bucket at least; true when it is whole.
    pub(super) fn step(
        &mut self,
        budget: usize,
        list: impl Fn(&Digest, usize) -> Vec<ShortId>,
    ) -> bool {
        let mut left = budget;
        while left > 0 && self.next < limits::BUCKETS {
            let ids = list(&prefix_of(self.next), DEPTH);
            self.sketch.insert(&ids);
            self.next += 1;
            left = left.saturating_sub(ids.len().max(1));
        }
        debug_assert!(self.next <= limits::BUCKETS);
        self.next == limits::BUCKETS
    }

    /// What is made so far.
    pub(super) fn into_sketch(self) -> Sketch {
        self.sketch
    }
}
