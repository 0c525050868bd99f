//! Numbers of assertions and of names.
//!
//! In: a name and the store's seed. Out: 32 bits that stand for it. Never: distinguishes two
//! names for sure; the body does.

use std::hash::{DefaultHasher, Hasher};

/// Number of an assertion in the order it was applied.
pub type Row = u32;

/// Rows of one name that are looked up at a time: the memory that a query holds between two slices.
pub(super) const NAMED_MAX: usize = 256;

/// Which of an assertion's two names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Column {
    Subject,
    Predicate,
}

impl Column {
    /// Both, in the order in which arrays by column and the file of a run have them.
    pub(super) const ALL: [Column; 2] = [Column::Subject, Column::Predicate];

    pub(super) fn other(self) -> Column {
        match self {
            Column::Subject => Column::Predicate,
            Column::Predicate => Column::Subject,
        }
    }
}

/// 32 bits that stand for a name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Name(pub(super) u32);

impl Name {
    /// The key of its entry for a row, whose index is counted from the run's first.
    pub(super) fn entry(self, index: Row) -> u64 {
        u64::from(self.0) << 32 | u64::from(index)
    }

    /// As 64 bits that all depend on all of it.
    pub(super) fn mixed(self) -> u64 {
        // Fibonacci hashing (Knuth, "The Art of Computer Programming", volume 3, section 6.4).
        let spread = u64::from(self.0).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        spread ^ spread >> 32
    }
}

/// What stands for a name in the store with this seed.
pub(super) fn fingerprint(seed: u64, name: &[u8]) -> Name {
    // SipHash, and the seed at both ends: names are a client's choice, and a thousand with one
    // fingerprint would make each query for one of them read the bodies of all.
    let mut hasher = DefaultHasher::new();
    hasher.write_u64(seed);
    hasher.write(name);
    hasher.write_u64(seed);
    Name((hasher.finish() >> 32) as u32)
}
