//! Who wins in each class of sources.
//!
//! In: assertions about one thing. Out: [`Layers`]: per class the winner (greatest weight, then
//! newest, as under the confidence lens) and how much the class disagrees with itself; how much the
//! classes disagree; and the winner of the class with most authority as the winner of all.
//!
//! Never: mixes weights of different classes.

use std::collections::BTreeMap;

use super::candidate::{Candidate, ValueKey};
use super::settings::{LensSettings, Settled};
use super::sum::disagreement;
use super::tally::Tally;
use super::weight::Scale;
use crate::base::Digest;
use crate::model::{Assertion, Author, SourceClass, Voices};

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
    /// How many voices they are.
    pub voices_count: u64,
    /// The entropy of its values' shares, 0 (one value) to 1 (all values weigh the same).
    pub conflict_score: f64,
    /// There were more than `limits::GROUPS_MAX` values: lighter ones come in by a sample.
    pub sampled: bool,
}

/// Folds assertions into [`Layers`]. All classes are counted side by side in the first pass; those
/// for which that was not enough one after the other, each with all of the memory.
#[derive(Clone, Debug)]
pub struct Layered {
    scale: Scale,
    voices: Voices,
    classes: BTreeMap<SourceClass, Class>,
    /// Classes that have to be counted alone.
    left: Vec<SourceClass>,
    /// The class that is counted alone.
    alone: Option<SourceClass>,
    /// Whether all are counted side by side.
    is_first: bool,
}

#[derive(Clone, Debug)]
struct Class {
    best: Candidate,
    count: u64,
    counting: Counting,
}

/// How far a class is counted.
#[derive(Clone, Debug)]
enum Counting {
    Running(Box<Tally>),
    /// It is to be counted alone.
    Waiting,
    Done {
        conflict_score: f64,
        voices_count: u64,
        is_sampled: bool,
    },
}

impl Layered {
    /// One that has seen nothing.
    pub fn new(settings: LensSettings) -> Layered {
        Layered {
            scale: Scale::new(settings),
            voices: settings.voices,
            classes: BTreeMap::new(),
            left: Vec::new(),
            alone: None,
            is_first: true,
        }
    }

    /// Takes in one assertion, of which these authors still speak; each may come once in a pass.
    /// One whose time has not come does not count.
    pub fn add(&mut self, digest: &Digest, assertion: &Assertion, of: &[Author]) {
        let is_counted = self.is_first || self.alone == Some(assertion.source_class);
        if !self.scale.has_come(assertion) || !is_counted {
            return;
        }
        let candidate = Candidate::new(digest, assertion, self.scale.weigh(assertion));
        let class = self.classes.entry(assertion.source_class).or_insert_with(|| {
            let tally = Tally::side_by_side(self.voices, SourceClass::ALL.len());
            Class { best: candidate, count: 0, counting: Counting::Running(Box::new(tally)) }
        });
        if self.is_first {
            class.count += 1;
            if candidate.weight_rank() > class.best.weight_rank() {
                class.best = candidate;
            }
        }
        if let Counting::Running(tally) = &mut class.counting {
            tally.add(&candidate, assertion, of);
        }
    }

    /// All assertions were shown: what is needed now. About so much of a scan's `work` is done.
    pub fn settle(&mut self, work: &mut usize) -> Settled {
        for (source_class, class) in &mut self.classes {
            let Counting::Running(tally) = &mut class.counting else { continue };
            if !self.is_first && self.alone != Some(*source_class) {
                continue;
            }
            match (tally.settle(work), self.is_first) {
                (Settled::Again, true) => {
                    self.left.push(*source_class);
                    // Its memory is for the one that is counted alone.
                    class.counting = Counting::Waiting;
                }
                (Settled::Over, _) => {
                    let counting = std::mem::replace(&mut class.counting, Counting::Waiting);
                    class.counting = counting.done();
                }
                (settled, _) => return settled,
            }
        }
        self.is_first = false;
        self.alone = self.left.pop();
        let Some(class) = self.alone.and_then(|class| self.classes.get_mut(&class)) else {
            return Settled::Over;
        };
        class.counting = Counting::Running(Box::new(Tally::new(self.voices)));
        Settled::Again
    }

    /// What became of them, once it is [`Settled::Over`].
    pub fn finish(self) -> Layers {
        let layers = self.classes.iter().filter_map(|(&source_class, class)| {
            let Counting::Done { conflict_score, voices_count, is_sampled } = class.counting else {
                return None;
            };
            Some(Layer {
                source_class,
                winner: class.best.digest,
                candidates_count: class.count,
                voices_count,
                conflict_score,
                sampled: is_sampled,
            })
        });
        let layers: Vec<Layer> = layers.collect();
        debug_assert_eq!(layers.len(), self.classes.len(), "it is read when it is over");
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

impl Counting {
    fn done(self) -> Counting {
        let Counting::Running(tally) = self else { return self };
        let counted = tally.finish();
        Counting::Done {
            conflict_score: counted.conflict_score(),
            voices_count: counted.whole.voices,
            is_sampled: counted.is_sampled,
        }
    }
}
