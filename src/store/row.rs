//! Numbers of assertions and of names.
//!
//! In: a name (a parent's hash is one) and the store's seed. Out: 32 bits that stand for it. Never:
//! distinguishes two names for sure; the body does.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use crate::model::Sealed;

/// Number of an assertion in the order it was applied.
pub type Row = u32;

/// Rows of one name that are looked up at a time: the memory that a query holds between two slices.
pub(super) const NAMED_MAX: usize = 256;

/// Which of the names that an assertion is found by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Column {
    Subject,
    Predicate,
    /// The hash of its parent, where it has one.
    Parent,
}

impl Column {
    /// All, in the order in which arrays by column and the file of a run have them.
    pub(super) const ALL: [Column; 3] = [Column::Subject, Column::Predicate, Column::Parent];
}

/// What a row is found by, beside its hash.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RowNames {
    /// Subject and predicate; `None` when opaque.
    pub(super) own: Option<[Name; 2]>,
    pub(super) parent: Option<Name>,
}

impl RowNames {
    /// Those of an assertion in the store with this seed.
    pub(super) fn of(sealed: &Sealed, seed: u64) -> RowNames {
        let own = sealed.name_bytes();
        RowNames {
            own: own.map(|(subject, predicate)| {
                [subject, predicate].map(|name| fingerprint(seed, name))
            }),
            parent: sealed.parent().map(|parent| fingerprint(seed, &parent.0)),
        }
    }

    /// The one of a column.
    pub(super) fn get(&self, column: Column) -> Option<Name> {
        match column {
            Column::Subject => self.own.map(|[subject, _]| subject),
            Column::Predicate => self.own.map(|[_, predicate]| predicate),
            Column::Parent => self.parent,
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
    // fingerprint would make each query for one of them read the bodies of all. Files of the index
    // keep fingerprints, so it is a named function of bytes: std's hasher promises neither.
    let mut hasher = SipHasher13::new();
    hasher.write(&seed.to_le_bytes());
    hasher.write(name);
    hasher.write(&seed.to_le_bytes());
    Name((hasher.finish() >> 32) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files of the index keep fingerprints: what they are never changes.
    #[test]
    fn a_fingerprint_is_the_same_everywhere() {
        assert_eq!(fingerprint(7, b"package/curl"), Name(3_219_777_460));
        assert_eq!(fingerprint(u64::MAX, b""), Name(889_363_003));
    }
}
