//! Numbers of assertions and of names.
//!
//! In: a name (an attribute's value is one) and the store's seed. Out: 32 bits that stand for it.
//! Never: distinguishes two names for sure; the body does.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use crate::base::Digest;
use crate::model::Sealed;

/// Number of an assertion in the order it was applied.
pub type Row = u32;

/// Rows of one name that are looked up at a time: the memory that a query holds between two slices.
pub(super) const NAMED_MAX: usize = 256;

/// Attributes that take about as much memory as a row does.
const ATTRIBUTES_PER_ROW: usize = 4;

/// What rows take of the memory that [`crate::base::limits::SPILL_ROWS`] bounds, in rows: a claim
/// signed by 64 agents has 64 attributes.
pub(super) fn weight(rows: usize, attributes: usize) -> usize {
    rows + attributes / ATTRIBUTES_PER_ROW
}

/// What rows are looked up by, beside their hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RowKey<'a> {
    /// The very subject.
    Subject(&'a str),
    /// The very predicate.
    Predicate(&'a str),
    /// What the claim follows.
    Parent(&'a Digest),
    /// What the object refers to.
    Reference(&'a str),
    /// One of those who signed.
    Agent(&'a [u8; 32]),
    /// Where the claim comes from; zeros are none and stand under no key.
    Source(&'a Digest),
}

/// Which of the lists of names that a row stands in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Column {
    Subject,
    Predicate,
    /// All others in one: most rows have none or a few of them, and one more kind takes no section,
    /// filter or tree of its own.
    Attribute,
}

impl Column {
    /// All, in the order in which arrays by column and the file of a run have them.
    pub(super) const ALL: [Column; 3] = [Column::Subject, Column::Predicate, Column::Attribute];
}

/// Which kind of attribute a fingerprint is of: the first byte of what it is made of, so that an
/// agent's key and a source's hash of the same bytes are two names.
#[derive(Clone, Copy)]
enum Attribute {
    Parent,
    Reference,
    Agent,
    Source,
}

impl Attribute {
    fn name(self, seed: u64, value: &[u8]) -> Name {
        fingerprint(seed, &[&[self as u8], value])
    }
}

impl RowKey<'_> {
    /// Where it is looked up, and under which name.
    pub(super) fn name(&self, seed: u64) -> (Column, Name) {
        let own = |name: &str| fingerprint(seed, &[name.as_bytes()]);
        let attribute = |kind: Attribute, value: &[u8]| (Column::Attribute, kind.name(seed, value));
        match self {
            RowKey::Subject(name) => (Column::Subject, own(name)),
            RowKey::Predicate(name) => (Column::Predicate, own(name)),
            RowKey::Parent(hash) => attribute(Attribute::Parent, &hash.0),
            RowKey::Reference(name) => attribute(Attribute::Reference, name.as_bytes()),
            RowKey::Agent(key) => attribute(Attribute::Agent, *key),
            RowKey::Source(hash) => attribute(Attribute::Source, &hash.0),
        }
    }
}

/// What a row is found by, beside its hash.
#[derive(Clone, Debug, Default)]
pub(super) struct RowNames {
    /// Subject and predicate; `None` when opaque.
    pub(super) own: Option<[Name; 2]>,
    /// In ascending order, each once: an entry is a name and a row.
    pub(super) attributes: Vec<Name>,
}

impl RowNames {
    /// Those of an assertion in the store with this seed.
    pub(super) fn of(sealed: &Sealed, seed: u64) -> RowNames {
        let own = sealed.name_bytes().map(|(subject, predicate)| {
            [subject, predicate].map(|name| fingerprint(seed, &[name]))
        });
        let parent = sealed.parent().map(|hash| Attribute::Parent.name(seed, &hash.0));
        let reference = sealed.reference().map(|name| Attribute::Reference.name(seed, name));
        let source = sealed.source().map(|hash| Attribute::Source.name(seed, &hash.0));
        let agents = sealed.agents().map(|key| Attribute::Agent.name(seed, key));
        let mut attributes: Vec<Name> =
            parent.into_iter().chain(reference).chain(source).chain(agents).collect();
        attributes.sort_unstable();
        attributes.dedup();
        RowNames { own, attributes }
    }

    /// Those of a column.
    pub(super) fn of_column(&self, column: Column) -> &[Name] {
        let own = self.own.as_ref().map_or(&[][..], |own| &own[..]);
        match column {
            Column::Subject => own.get(..1).unwrap_or_default(),
            Column::Predicate => own.get(1..).unwrap_or_default(),
            Column::Attribute => &self.attributes,
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

/// What stands for a name, given in pieces, in the store with this seed.
fn fingerprint(seed: u64, name: &[&[u8]]) -> Name {
    // SipHash, and the seed at both ends: names are a client's choice, and a thousand with one
    // fingerprint would make each query for one of them read the bodies of all. Files of the index
    // keep fingerprints, so it is a named function of bytes: std's hasher promises neither.
    let mut hasher = SipHasher13::new();
    hasher.write(&seed.to_le_bytes());
    name.iter().for_each(|piece| hasher.write(piece));
    hasher.write(&seed.to_le_bytes());
    Name((hasher.finish() >> 32) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files of the index keep fingerprints: what they are never changes.
    #[test]
    fn a_fingerprint_is_the_same_everywhere() {
        assert_eq!(fingerprint(7, &[b"package/curl"]), Name(3_219_777_460));
        assert_eq!(fingerprint(u64::MAX, &[b""]), Name(889_363_003));
        assert_eq!(fingerprint(7, &[b"pack", b"age/curl"]), Name(3_219_777_460));
    }
}
