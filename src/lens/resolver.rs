//! A winner of many claims, and how sure it is.
//!
//! In: claims about one thing. Out: [`Resolution`]. Never: keeps more than the best claim and the
//! groups.

use super::candidate::Candidate;
use super::count::ValueCounts;
use super::order::Contender;
use super::settings::{LensSettings, Settled};
use super::sum::Sum;
use super::support::Support;
use super::tally::Tally;
use super::weight::{Scale, Weight};
use crate::base::Digest;
use crate::model::{Assertion, Author, Lens, Statement};

/// What a lens makes of many.
#[derive(Clone, PartialEq, Debug)]
pub struct Resolution {
    /// The lens that was asked for.
    pub lens: Lens,
    /// The assertion that wins; `None` of none.
    pub winner: Option<Digest>,
    /// How many assertions were judged.
    pub candidates_count: u64,
    /// How many voices they are.
    pub voices_count: u64,
    /// The winner's weight times the share of its value: 1 when it is certain and no other value is
    /// claimed. Under the lens `votes` the winner's part of all votes.
    pub resolution_confidence: f64,
    /// The entropy of the values' shares, 0 (one value) to 1 (all values weigh the same).
    pub conflict_score: f64,
    /// There were more than `limits::GROUPS_MAX` values: lighter ones come in by a sample.
    pub sampled: bool,
}

/// Folds assertions into a [`Resolution`].
#[derive(Clone, Debug)]
pub struct Resolver {
    lens: Lens,
    scale: Scale,
    best: Option<Contender>,
    count: u64,
    /// For all claims together.
    votes: Sum,
    tally: Tally,
}

impl Resolver {
    /// A resolver that has seen nothing.
    pub fn new(lens: Lens, settings: LensSettings) -> Resolver {
        let (scale, tally) = (Scale::new(settings), Tally::new(settings.voices));
        Resolver { lens, scale, best: None, count: 0, votes: Sum::default(), tally }
    }

    /// Which statements about each claim of this pass it compares claims by.
    pub fn asks(&self) -> Option<Statement> {
        match self.lens {
            Lens::Votes if self.tally.is_first_pass() => Some(Statement::Vote),
            // A claim weighs by it, in each pass.
            Lens::Trust => Some(Statement::Trust),
            _ => None,
        }
    }

    /// Takes in one assertion, of which these authors still speak and others say this; each may
    /// come once in a pass. One whose time has not come does not count.
    pub fn add(
        &mut self,
        digest: &Digest,
        assertion: &Assertion,
        of: &[Author],
        support: &Support,
    ) {
        if !self.scale.has_come(assertion) {
            return;
        }
        let mut weight = self.scale.weigh(assertion);
        if self.lens == Lens::Trust {
            weight = weight.times(Weight::of(support.trust));
        }
        let candidate = Candidate::new(digest, assertion, weight);
        if self.tally.is_first_pass() {
            self.count += 1;
            self.votes.add_sum(&support.votes.0);
            let contender = Contender::of_claim(&candidate, support);
            if self.best.is_none_or(|best| contender.cmp_by(self.lens, &best).is_gt()) {
                self.best = Some(contender);
            }
        }
        self.tally.add(&candidate, assertion, of);
    }

    /// All assertions were shown: what is needed now. About so much of a scan's `work` is done.
    pub fn settle(&mut self, work: &mut usize) -> Settled {
        if let Some(best) = self.best.filter(|_| self.lens != Lens::Consensus) {
            self.tally.watch(best.key);
        }
        self.tally.settle(work)
    }

    /// What became of them, once it is [`Settled::Over`].
    pub fn finish(self) -> Resolution {
        let counted = self.tally.finish();
        let best = if self.lens == Lens::Consensus { consensus(&counted) } else { self.best };
        let confidence = best.map(|best| match self.lens {
            Lens::Votes => best.votes.scored(Weight::ONE, &self.votes),
            _ => {
                let group = counted.group(&best.key);
                group.map_or(0.0, |group| counted.scored(best.claim_weight, group))
            }
        });
        Resolution {
            lens: self.lens,
            winner: best.map(|best| best.digest),
            candidates_count: self.count,
            voices_count: counted.whole.voices,
            resolution_confidence: confidence.unwrap_or(0.0),
            conflict_score: counted.conflict_score(),
            sampled: counted.is_sampled,
        }
    }
}

/// The newest claim of the value that most voices claim.
fn consensus(counted: &ValueCounts) -> Option<Contender> {
    let values = counted.values().filter_map(|(key, group)| Contender::of_value(*key, group));
    values.max_by(|one, other| one.cmp_by(Lens::Consensus, other))
}
