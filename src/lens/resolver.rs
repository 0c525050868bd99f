//! A winner of many claims, and how sure it is.
//!
//! In: claims about one thing. Out: [`Resolution`]. Never: keeps more than the best claim and the
//! groups.

use super::candidate::Candidate;
use super::count::ValueCounts;
use super::settings::{LensSettings, Settled};
use super::tally::Tally;
use super::weight::Scale;
use crate::base::Digest;
use crate::model::{Assertion, Author, Lens};

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
    /// claimed.
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
    best: Option<Candidate>,
    count: u64,
    tally: Tally,
}

impl Resolver {
    /// A resolver that has seen nothing.
    pub fn new(lens: Lens, settings: LensSettings) -> Resolver {
        let (scale, tally) = (Scale::new(settings), Tally::new(settings.voices));
        Resolver { lens, scale, best: None, count: 0, tally }
    }

    /// Takes in one assertion, of which these authors still speak; each may come once in a pass.
    /// One whose time has not come does not count.
    pub fn add(&mut self, digest: &Digest, assertion: &Assertion, of: &[Author]) {
        if !self.scale.has_come(assertion) {
            return;
        }
        let candidate = Candidate::new(digest, assertion, self.scale.weigh(assertion));
        if self.tally.is_first_pass() {
            self.count += 1;
            if self.best.is_none_or(|best| candidate.cmp_by(self.lens, &best).is_gt()) {
                self.best = Some(candidate);
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
        let (winner, confidence) = match self.lens {
            Lens::Consensus => consensus(&counted),
            _ => self.best.map(|best| {
                let group = counted.group(&best.key);
                (best.digest, group.map_or(0.0, |group| counted.scored(best.weight, group)))
            }),
        }
        .unzip();
        Resolution {
            lens: self.lens,
            winner,
            candidates_count: self.count,
            voices_count: counted.whole.voices,
            resolution_confidence: confidence.unwrap_or(0.0),
            conflict_score: counted.conflict_score(),
            sampled: counted.is_sampled,
        }
    }
}

/// The newest claim of the value that most voices claim, and the confidence in it.
fn consensus(counted: &ValueCounts) -> Option<(Digest, f64)> {
    let groups = counted.values().map(|(_, group)| group);
    let group = groups.max_by_key(|group| (group.voices, group.weight, group.newest))?;
    let ((_, digest), weight) = group.newest?;
    Some((digest, counted.scored(weight, group)))
}
