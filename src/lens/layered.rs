//! Who wins in each class of sources.
//!
//! In: assertions about one thing. Out: [`Layers`]: per class the winner (greatest weight, then
//! newest, as under the confidence lens) and how much the class disagrees with itself; how much the
//! classes disagree; and the winner of the class with most authority as the winner of all.
//!
//! Never: mixes weights of different classes.

use std::collections::BTreeMap;

use super::sum::disagreement;
use super::tally::{Candidate, Tally, ValueKey};
use super::weight::Scale;
use crate::base::{Digest, Wall};
use crate::model::{Assertion, HalfLife, Lens, SourceClass};

/// What there is in each class.
#[derive(Clone, PartialEq, Debug)]
pub struct Layers {
    /// The classes that say something, most authority first.
    pub layers: Vec<Layer>,
    /// How much the classes' winners disagree, each with one voice: the entropy of the values'
    /// shares of these voices over the greatest it could be for so many voices, 0 (all say the
    /// same) to 1 (each says something else).
    pub cross_class_conflict: f64,
    /// The winner of the first layer.
    pub winner: Option<Digest>,
    /// How many assertions there were.
    pub candidates_count: u64,
}

/// A class of sources with the winner among its assertions.
#[derive(Clone, PartialEq, Debug)]
pub struct Layer {
    /// The class that these assertions name.
    pub source_class: SourceClass,
    /// The assertion of greatest weight in the class.
    pub winner: Digest,
    /// How many assertions are in it.
    pub candidates_count: u64,
    /// The entropy of its values' shares, 0 (one value) to 1 (all values weigh the same).
    pub conflict_score: f64,
    /// There were more than `limits::GROUPS_MAX` values: the score comes from a sample of them.
    pub sampled: bool,
}

/// Folds assertions into [`Layers`].
#[derive(Clone, Debug)]
pub struct Layered {
    scale: Scale,
    classes: BTreeMap<SourceClass, Class>,
}

#[derive(Clone, Debug)]
struct Class {
    best: Candidate,
    count: u64,
    tally: Tally,
}

impl Layered {
    /// One that has seen nothing; `now` is where age counts from, and by when a claim's
    /// time has come.
    pub fn new(half_life: Option<HalfLife>, now: Wall) -> Layered {
        Layered { scale: Scale::new(half_life, now), classes: BTreeMap::new() }
    }

    /// Takes in one assertion; each may come once. One whose time has not come does not count.
    pub fn add(&mut self, digest: &Digest, assertion: &Assertion) {
        if !self.scale.has_come(assertion) {
            return;
        }
        let candidate = Candidate::new(digest, assertion, self.scale.weigh(assertion));
        let class = self.classes.entry(assertion.source_class).or_insert_with(|| Class {
            best: candidate,
            count: 0,
            tally: Tally::new(Lens::Confidence),
        });
        class.count += 1;
        class.tally.add(candidate);
        if candidate.cmp_by(Lens::Confidence, &class.best).is_gt() {
            class.best = candidate;
        }
    }

    /// What became of them.
    pub fn finish(self) -> Layers {
        let layers = self.classes.iter().map(|(&source_class, class)| Layer {
            source_class,
            winner: class.best.digest,
            candidates_count: class.count,
            conflict_score: class.tally.conflict_score(),
            sampled: class.tally.is_sampled(),
        });
        let layers: Vec<Layer> = layers.collect();
        Layers {
            cross_class_conflict: self.cross_class_conflict(),
            winner: layers.first().map(|layer| layer.winner),
            candidates_count: layers.iter().map(|layer| layer.candidates_count).sum(),
            layers,
        }
    }

    fn cross_class_conflict(&self) -> f64 {
        let voices = self.classes.len();
        let mut values: BTreeMap<ValueKey, usize> = BTreeMap::new();
        for class in self.classes.values() {
            *values.entry(class.best.key).or_default() += 1;
        }
        // A share of zero adds no entropy, but counts as one that could have held something.
        let silent = std::iter::repeat_n(0.0, voices - values.len());
        let shares = values.values().map(|&count| count as f64 / voices as f64);
        disagreement(shares.chain(silent))
    }
}
