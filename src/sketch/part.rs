//! Short ids, and the parts of a set that they fall into.
//!
//! In: digests, counts. Out: ids of 8 bytes, ranges of digests with a common prefix.
//!
//! Never: knows which members a set has, splits a part finer than the store counts buckets, takes
//! two digests with one short id for two ids.

use crate::base::{Digest, limits};

/// A member's id in the sketch: the first 8 bytes of its digest, as a big-endian number. Two
/// members may share one; `sync` finds out by the digests of buckets.
pub type ShortId = u64;

/// The short id of a digest.
pub fn short_id(digest: &Digest) -> ShortId {
    // Big-endian, so that ids sort as digests do and a part is a range of either.
    ShortId::from_be_bytes(*digest.0.first_chunk().expect("a digest has 32 bytes"))
}

/// The members whose digest begins with some bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Part {
    /// How many bits, 1 to [`limits::PART_BITS_MAX`].
    pub bits: u32,
    /// The bits, as a number below `1 << bits`.
    pub number: u32,
}

impl Part {
    /// All parts of a set that is split into `count`, rounded up to a power of two.
    pub fn all(count: u64) -> impl Iterator<Item = Part> {
        let most = 1 << limits::PART_BITS_ASKED;
        let bits = count.clamp(2, most).next_power_of_two().trailing_zeros();
        (0..1 << bits).map(move |number| Part { bits, number })
    }

    /// The four parts that make it up; `None` if those would have more than
    /// [`limits::PART_BITS_MAX`] bits.
    pub fn split(self) -> Option<[Part; 4]> {
        let bits = self.bits + 2;
        let quarters = [0, 1, 2, 3].map(|quarter| Part { bits, number: self.number * 4 + quarter });
        (bits <= limits::PART_BITS_MAX).then_some(quarters)
    }

    /// Whether a member belongs to it.
    pub fn has(&self, digest: &Digest) -> bool {
        short_id(digest) >> (64 - self.bits) == u64::from(self.number)
    }

    /// The least digest that belongs to it.
    pub fn start(&self) -> Digest {
        let mut start = Digest::ZERO;
        let id = u64::from(self.number) << (64 - self.bits);
        start.0[..8].copy_from_slice(&id.to_be_bytes());
        start
    }
}
