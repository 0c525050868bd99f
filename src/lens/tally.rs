//! Who claims which value: one group per value, in bounded memory.
//!
//! In: assertions, in any order. Out: per value its number, weight and best assertion. Past
//! [`limits::GROUPS_MAX`] values only those with the lowest keys are kept. A value that is kept at
//! the end was kept from its first assertion on, so its number, weight and best are exact, and
//! every node keeps the same ones, whatever the order of arrival.
//!
//! Never: keeps a value itself (a text may have half a megabyte), only a hash of it.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::sum::{Sum, disagreement};
use super::weight::Weight;
use crate::base::{Digest, Hlc, limits};
use crate::model::{Assertion, Lens, Object, SourceClass};

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

/// What is kept of one assertion.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Candidate {
    pub(super) digest: Digest,
    pub(super) key: ValueKey,
    pub(super) weight: Weight,
    timestamp: u64,
    hlc: Hlc,
    source_hash: Digest,
    source_class: SourceClass,
}

impl Candidate {
    pub(super) fn new(digest: &Digest, assertion: &Assertion, weight: Weight) -> Candidate {
        Candidate {
            digest: *digest,
            key: key_of(&assertion.object),
            weight,
            timestamp: assertion.timestamp,
            hlc: assertion.hlc,
            source_hash: assertion.source_hash,
            source_class: assertion.source_class,
        }
    }

    /// The order of a lens; greater is better, and only an assertion and itself are equal.
    pub(super) fn cmp_by(&self, lens: Lens, other: &Candidate) -> Ordering {
        match lens {
            Lens::Recency | Lens::Consensus => Ordering::Equal,
            Lens::Hlc => {
                self.hlc.cmp(&other.hlc).then_with(|| self.source_hash.cmp(&other.source_hash))
            }
            Lens::Confidence => self.weight.cmp(&other.weight),
            // The lower class has more authority.
            Lens::Authority => other
                .source_class
                .cmp(&self.source_class)
                .then_with(|| self.weight.cmp(&other.weight)),
        }
        .then_with(|| self.age_rank().cmp(&other.age_rank()))
    }

    /// What decides last under every lens: newer first, then the greater digest.
    pub(super) fn age_rank(&self) -> (u64, Hlc, Digest) {
        (self.timestamp, self.hlc, self.digest)
    }
}

/// All that claim one value.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) count: u64,
    pub(super) weight: Sum,
    pub(super) best: Candidate,
}

/// All groups, and the totals over the kept ones.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    lens: Lens,
    groups: BTreeMap<ValueKey, Group>,
    sampled: bool,
}

impl Tally {
    /// Groups whose best is the best by `lens`.
    pub(super) fn new(lens: Lens) -> Tally {
        Tally { lens, groups: BTreeMap::new(), sampled: false }
    }

    pub(super) fn add(&mut self, candidate: Candidate) {
        let lens = self.lens;
        let group = self.groups.entry(candidate.key).or_insert_with(|| Group {
            count: 0,
            weight: Sum::default(),
            best: candidate,
        });
        group.count += 1;
        group.weight.add(candidate.weight);
        if candidate.cmp_by(lens, &group.best).is_gt() {
            group.best = candidate;
        }
        if self.groups.len() > limits::GROUPS_MAX {
            self.groups.pop_last();
            self.sampled = true;
        }
    }

    /// Whether values were left out.
    pub(super) fn is_sampled(&self) -> bool {
        self.sampled
    }

    pub(super) fn groups(&self) -> impl ExactSizeIterator<Item = (&ValueKey, &Group)> {
        self.groups.iter()
    }

    /// What the groups are measured against.
    pub(super) fn whole(&self) -> Whole {
        let mut weight = Sum::default();
        self.groups.values().for_each(|group| weight.add_all(&group.weight));
        let by_count = weight.is_zero();
        let count = self.groups.values().map(|group| group.count).sum();
        Whole { by_count, total: if by_count { Sum::of_count(count) } else { weight } }
    }

    /// A weight times the part of the whole that claims one value; none is known of a value that
    /// was left out.
    pub(super) fn scored(&self, weight: Weight, key: &ValueKey) -> f64 {
        self.groups.get(key).map_or(0.0, |group| self.whole().scored(weight, group))
    }

    /// How much the values disagree, 0 to 1.
    pub(super) fn conflict_score(&self) -> f64 {
        let whole = self.whole();
        disagreement(self.groups.values().map(|group| whole.share(group)))
    }
}

/// The sum of all groups: of their weights, or of their numbers where nothing weighs anything.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whole {
    by_count: bool,
    total: Sum,
}

impl Whole {
    /// What a group counts for.
    pub(super) fn force(self, group: &Group) -> Sum {
        if self.by_count { Sum::of_count(group.count) } else { group.weight }
    }

    /// Its part of the whole.
    pub(super) fn share(self, group: &Group) -> f64 {
        self.force(group).share_of(&self.total)
    }

    /// A weight times its part of the whole, to six decimals.
    pub(super) fn scored(self, weight: Weight, group: &Group) -> f64 {
        self.force(group).scored(weight, &self.total)
    }

    /// Whether a group holds at least four fifths.
    pub(super) fn is_dominated_by(self, group: &Group) -> bool {
        self.force(group).dominates(&self.total)
    }
}
