//! What a lens keeps of one claim.
//!
//! In: a claim with its weight. Out: what it is compared and counted by. Never: keeps a value (a
//! text may have half a megabyte), only a hash of it.

use super::weight::Weight;
use crate::base::{Digest, Hlc};
use crate::model::{Assertion, Object, SourceClass};

/// Identifies an object's value: equal for equal values alone.
pub(super) type ValueKey = [u8; 16];

fn key_of(object: &Object) -> ValueKey {
    let mut hasher = blake3::Hasher::new();
    match object {
        Object::Text(text) => hasher.update(&[0]).update(text.as_bytes()),
        Object::Number(number) => hasher.update(&[1]).update(&number.to_le_bytes()),
        Object::Boolean(boolean) => hasher.update(&[2, u8::from(*boolean)]),
        Object::Reference(name) => hasher.update(&[3]).update(name.as_bytes()),
    };
    let hash = hasher.finalize();
    hash.as_bytes()[..16].try_into().expect("half of 32 bytes")
}

/// What decides last under every lens: newer first, then the greater digest. The seconds of the
/// stamp are the timestamp.
pub(super) type AgeRank = (Hlc, Digest);

/// What is kept of one assertion.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Candidate {
    pub(super) digest: Digest,
    pub(super) key: ValueKey,
    pub(super) weight: Weight,
    pub(super) hlc: Hlc,
    pub(super) source_hash: Digest,
    pub(super) source_class: SourceClass,
}

impl Candidate {
    pub(super) fn new(digest: &Digest, assertion: &Assertion, weight: Weight) -> Candidate {
        Candidate {
            digest: *digest,
            key: key_of(&assertion.object),
            weight,
            hlc: assertion.hlc,
            source_hash: assertion.source_hash,
            source_class: assertion.source_class,
        }
    }

    /// What decides under the lens `confidence`.
    pub(super) fn weight_rank(&self) -> (Weight, AgeRank) {
        (self.weight, self.age_rank())
    }

    pub(super) fn age_rank(&self) -> AgeRank {
        (self.hlc, self.digest)
    }
}
