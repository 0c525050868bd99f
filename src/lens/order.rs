//! What a lens compares claims by, one thing after the other.
//!
//! In: claims, or values with the newest claim of each. Out: which of two is ahead, and by what.
//! Never: two claims that are equal, for the last thing is the hash.

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
pub enum Criterion {
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

impl Criterion {
    /// Its name, as the HTTP API gives it.
    pub fn name(self) -> &'static str {
        match self {
            Criterion::Votes => "votes",
            Criterion::Voices => "voices",
            Criterion::SourceClass => "source_class",
            Criterion::Weight => "weight",
            Criterion::Timestamp => "timestamp",
            Criterion::Hlc => "hlc",
            Criterion::SourceHash => "source_hash",
            Criterion::Hash => "hash",
        }
    }
}

/// What a claim has of a [`Criterion`].
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum CriterionValue {
    /// A whole number.
    Count(u64),
    /// A weight or a sum, to the bits of a double.
    Number(f64),
    /// A stamp.
    Hlc(Hlc),
    /// A hash.
    Digest(Digest),
}

/// Why a claim wins.
#[derive(Clone, PartialEq, Debug)]
pub struct Explanation {
    /// What the lens compares by, one after the other.
    pub order: &'static [Criterion],
    /// The next claim in that order; `None` if there is no other.
    pub runner_up: Option<RunnerUp>,
}

/// The claim that would win without the winner, and what decides between them.
#[derive(Clone, PartialEq, Debug)]
pub struct RunnerUp {
    /// Its id.
    pub digest: Digest,
    /// The first thing in which they differ.
    pub decided_by: Criterion,
    /// What the winner has of it.
    pub winner_has: CriterionValue,
    /// What the runner-up has of it.
    pub runner_up_has: CriterionValue,
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

    /// Why this claim is ahead of the next one under a lens.
    pub(super) fn explain(&self, lens: Lens, next: Option<&Contender>) -> Explanation {
        let order = order_of(lens);
        let runner_up = next.and_then(|next| {
            let mut order = order.iter();
            let decided_by = *order.find(|criterion| self.cmp(**criterion, next).is_ne())?;
            Some(RunnerUp {
                digest: next.digest,
                decided_by,
                winner_has: self.value(decided_by),
                runner_up_has: next.value(decided_by),
            })
        });
        Explanation { order, runner_up }
    }

    fn value(&self, criterion: Criterion) -> CriterionValue {
        match criterion {
            Criterion::Votes => CriterionValue::Number(self.votes.to_f64()),
            Criterion::Voices => CriterionValue::Count(self.voices),
            Criterion::SourceClass => CriterionValue::Count(self.source_class.number().into()),
            Criterion::Weight => CriterionValue::Number(self.weight.to_f64()),
            Criterion::Timestamp => CriterionValue::Count(self.hlc.time / 1000),
            Criterion::Hlc => CriterionValue::Hlc(self.hlc),
            Criterion::SourceHash => CriterionValue::Digest(self.source_hash),
            Criterion::Hash => CriterionValue::Digest(self.digest),
        }
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
