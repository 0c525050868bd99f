//! What a lens compares claims by, one thing after the other.
//!
//! In: claims, or values with the newest claim of each. Out: which of two is ahead. Never: two
//! claims that are equal, for the last thing is the hash.

use std::cmp::Ordering;

use super::candidate::{Candidate, ValueKey};
use super::group::Group;
use super::sum::Sum;
use super::support::Support;
use super::weight::Weight;
use crate::base::{Digest, Hlc};
use crate::model::{Lens, SourceClass};

/// One of the things that claims are compared by; more, later and greater is ahead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Criterion {
    /// The sum of the claim's votes.
    Votes,
    /// How many voices the value has.
    Voices,
    /// The class of its source; here the lower one is ahead, for it has more authority.
    SourceClass,
    /// What the claim weighs, or all voices for the value.
    Weight,
    /// Its timestamp.
    Timestamp,
    /// Its stamp.
    Hlc,
    /// The hash of its source.
    SourceHash,
    /// Its id.
    Hash,
}

/// The order of a lens: the first difference decides.
pub(super) fn order_of(lens: Lens) -> &'static [Criterion] {
    use Criterion::{Hash, SourceHash, Timestamp, Voices, Votes, Weight};
    match lens {
        Lens::Recency => &[Timestamp, Criterion::Hlc, Hash],
        Lens::Hlc => &[Criterion::Hlc, SourceHash, Hash],
        Lens::Confidence | Lens::Trust => &[Weight, Timestamp, Criterion::Hlc, Hash],
        Lens::Consensus => &[Voices, Weight, Timestamp, Criterion::Hlc, Hash],
        Lens::Authority => &[Criterion::SourceClass, Weight, Timestamp, Criterion::Hlc, Hash],
        Lens::Votes => &[Votes, Timestamp, Criterion::Hlc, Hash],
    }
}

/// A claim, or the newest claim of a value, with all that it is compared by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Contender {
    pub(super) digest: Digest,
    pub(super) key: ValueKey,
    /// Of the claim alone.
    pub(super) claim_weight: Weight,
    pub(super) votes: Sum,
    voices: u64,
    weight: Sum,
    hlc: Hlc,
    source_class: SourceClass,
    source_hash: Digest,
}

impl Contender {
    pub(super) fn of_claim(candidate: &Candidate, support: &Support) -> Contender {
        let mut weight = Sum::default();
        weight.add(candidate.weight);
        Contender {
            digest: candidate.digest,
            key: candidate.key,
            claim_weight: candidate.weight,
            votes: support.votes.0,
            voices: 1,
            weight,
            hlc: candidate.hlc,
            source_class: candidate.source_class,
            source_hash: candidate.source_hash,
        }
    }

    /// A value that was counted; by class and source hash none is compared.
    pub(super) fn of_value(key: ValueKey, group: &Group) -> Option<Contender> {
        let ((hlc, digest), claim_weight) = group.newest?;
        Some(Contender {
            digest,
            key,
            claim_weight,
            votes: Sum::default(),
            voices: group.voices,
            weight: group.weight,
            hlc,
            source_class: SourceClass::Expert,
            source_hash: Digest::ZERO,
        })
    }

    /// The order of a lens; greater is better, and only a claim and itself are equal.
    pub(super) fn cmp_by(&self, lens: Lens, other: &Contender) -> Ordering {
        let mut all = order_of(lens).iter().map(|criterion| self.cmp(*criterion, other));
        all.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    }

    fn cmp(&self, criterion: Criterion, other: &Contender) -> Ordering {
        match criterion {
            Criterion::Votes => self.votes.cmp(&other.votes),
            Criterion::Voices => self.voices.cmp(&other.voices),
            Criterion::SourceClass => other.source_class.cmp(&self.source_class),
            Criterion::Weight => self.weight.cmp(&other.weight),
            Criterion::Timestamp => (self.hlc.time / 1000).cmp(&(other.hlc.time / 1000)),
            Criterion::Hlc => self.hlc.cmp(&other.hlc),
            Criterion::SourceHash => self.source_hash.cmp(&other.source_hash),
            Criterion::Hash => self.digest.cmp(&other.digest),
        }
    }
}
