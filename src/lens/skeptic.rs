//! Who claims what, and whether they agree.
//!
//! In: assertions about one thing. Out: [`Skepticism`]: each value claimed, by its share of the
//! weight, with the newest assertions that claim it. Never: says who is right.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::tally::{Candidate, Group, Tally, ValueKey};
use super::weight::{Scale, Weight};
use crate::base::{Digest, Hlc, Wall, limits};
use crate::model::{Assertion, HalfLife, Lens, Object};

/// How far they agree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Agreement {
    /// One value, or none.
    Unanimous,
    /// Several values, of which one holds at least four fifths of the weight.
    Agreed,
    /// Several values, none of which dominates.
    Contested,
}

impl Agreement {
    /// Its name, as the HTTP API gives it.
    pub fn name(self) -> &'static str {
        match self {
            Agreement::Unanimous => "Unanimous",
            Agreement::Agreed => "Agreed",
            Agreement::Contested => "Contested",
        }
    }
}

/// What the skeptic found.
#[derive(Clone, PartialEq, Debug)]
pub struct Skepticism {
    /// How far they agree.
    pub status: Agreement,
    /// The entropy of the values' shares, 0 (one value) to 1 (all values weigh the same).
    pub conflict_score: f64,
    /// The values: greatest share first, then most assertions, then the newest; the first
    /// `limits::CLAIMS_MAX` of them.
    pub claims: Vec<Claim>,
    /// How many values there are; at most `limits::GROUPS_MAX`.
    pub claims_count: u64,
    /// How many assertions there were.
    pub candidates_count: u64,
    /// There were more than `limits::GROUPS_MAX` values: claims and scores come from a sample.
    pub sampled: bool,
}

/// One value, and who claims it.
#[derive(Clone, PartialEq, Debug)]
pub struct Claim {
    /// The value; `None` when its assertion could not be read back.
    pub object: Option<Object>,
    /// Its part of the weight of all.
    pub weight_share: f64,
    /// Assertions that claim it, those beyond the list included.
    pub assertions_count: u64,
    /// Those who claim it, newest first (timestamp, hlc, digest); the first
    /// `limits::CLAIM_ASSERTIONS_MAX` of them.
    pub assertions: Vec<Digest>,
}

/// Folds assertions into [`Skepticism`].
#[derive(Clone, Debug)]
pub struct Skeptic {
    scale: Scale,
    count: u64,
    tally: Tally,
    newest: BTreeMap<ValueKey, Vec<(u64, Hlc, Digest)>>,
}

impl Skeptic {
    /// A skeptic that has seen nothing; `now` is where age counts from, and by when a claim's
    /// time has come.
    pub fn new(half_life: Option<HalfLife>, now: Wall) -> Skeptic {
        let scale = Scale::new(half_life, now);
        Skeptic { scale, count: 0, tally: Tally::new(Lens::Recency), newest: BTreeMap::new() }
    }

    /// Takes in one assertion; each may come once. One whose time has not come does not count.
    pub fn add(&mut self, digest: &Digest, assertion: &Assertion) {
        if !self.scale.has_come(assertion) {
            return;
        }
        let candidate = Candidate::new(digest, assertion, self.scale.weigh(assertion));
        self.count += 1;
        self.tally.add(candidate);
        let newest = self.newest.entry(candidate.key).or_default();
        let rank = candidate.age_rank();
        let index = newest.partition_point(|listed| *listed > rank);
        if index < limits::CLAIM_ASSERTIONS_MAX {
            newest.truncate(limits::CLAIM_ASSERTIONS_MAX - 1);
            newest.insert(index, rank);
        }
        if self.newest.len() > limits::GROUPS_MAX {
            // The same key that the tally left out: both keep the lowest.
            self.newest.pop_last();
        }
    }

    /// What became of them. Values are not kept: `object_of` reads one back from the assertion of
    /// that digest.
    pub fn finish(self, mut object_of: impl FnMut(&Digest) -> Option<Object>) -> Skepticism {
        let whole = self.tally.whole();
        let mut groups: Vec<(&ValueKey, &Group)> = self.tally.groups().collect();
        let rank = |group: &Group| (whole.force(group), group.count, group.best.age_rank());
        groups.sort_unstable_by_key(|(_, group)| Reverse(rank(group)));
        let status = match groups[..] {
            [] | [_] => Agreement::Unanimous,
            [(_, first), ..] if whole.is_dominated_by(first) => Agreement::Agreed,
            _ => Agreement::Contested,
        };
        let claims_count = groups.len() as u64;
        groups.truncate(limits::CLAIMS_MAX);
        let claims = groups.into_iter().map(|(key, group)| Claim {
            object: object_of(&group.best.digest),
            weight_share: whole.scored(Weight::ONE, group),
            assertions_count: group.count,
            assertions: self.newest[key].iter().map(|(_, _, digest)| *digest).collect(),
        });
        Skepticism {
            status,
            conflict_score: self.tally.conflict_score(),
            claims: claims.collect(),
            claims_count,
            candidates_count: self.count,
            sampled: self.tally.is_sampled(),
        }
    }
}
