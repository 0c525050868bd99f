//! A winner of many claims, and how sure it is.
//!
//! In: claims about one thing. Out: [`Resolution`]. Never: keeps more than the two best claims and
//! the groups.

use super::candidate::Candidate;
use super::count::ValueCounts;
use super::order::{Contender, Explanation};
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
    /// Why the winner wins, where it is asked for and there is one.
    pub explanation: Option<Explanation>,
}

/// Folds assertions into a [`Resolution`].
#[derive(Clone, Debug)]
pub struct Resolver {
    lens: Lens,
    scale: Scale,
    explains: bool,
    best: Option<Contender>,
    /// The next one in the order of the lens.
    runner_up: Option<Contender>,
    count: u64,
    /// For all claims together.
    votes: Sum,
    tally: Tally,
}

impl Resolver {
    /// A resolver that has seen nothing.
    pub fn new(lens: Lens, settings: LensSettings) -> Resolver {
        let (scale, tally) = (Scale::new(settings), Tally::new(settings.voices));
        Resolver {
            lens,
            scale,
            explains: settings.explain,
            best: None,
            runner_up: None,
            count: 0,
            votes: Sum::default(),
            tally,
        }
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
            rank(self.lens, contender, &mut self.best, &mut self.runner_up);
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
        let (best, runner_up) = match self.lens {
            Lens::Consensus => consensus(&counted),
            _ => (self.best, self.runner_up),
        };
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
            explanation: best
                .filter(|_| self.explains)
                .map(|best| best.explain(self.lens, runner_up.as_ref())),
        }
    }
}

/// The newest claim of the value that most voices claim, and that of the next value.
fn consensus(counted: &ValueCounts) -> (Option<Contender>, Option<Contender>) {
    let (mut best, mut runner_up) = (None, None);
    for value in counted.values().filter_map(|(key, group)| Contender::of_value(*key, group)) {
        rank(Lens::Consensus, value, &mut best, &mut runner_up);
    }
    (best, runner_up)
}

/// Puts a contender first or second, if it is ahead of the one that is.
fn rank(
    lens: Lens,
    contender: Contender,
    best: &mut Option<Contender>,
    runner_up: &mut Option<Contender>,
) {
    let is_ahead = |other: &Option<Contender>| {
        other.as_ref().is_none_or(|other| contender.cmp_by(lens, other).is_gt())
    };
    if is_ahead(best) {
        *runner_up = best.replace(contender);
    } else if is_ahead(runner_up) {
        *runner_up = Some(contender);
    }
}
