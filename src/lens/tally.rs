//! Who claims which value: one group per value, in bounded memory, in as many passes as it takes.
//!
//! In: claims with their voices, in any order, the same ones in each pass. Out: [`ValueCounts`].
//!
//! A round counts every voice once. Where voices are agents, a pass of it takes the lowest voices
//! behind those of the pass before, `limits::VOICES_MAX` of them: what is left at its end was there
//! from its first claim on. Most sets take one pass.
//!
//! ```text
//!          up to limits::GROUPS_MAX values
//! All ------------------------------------------------> over
//!  | more values: those with the lowest keys are kept
//!  v
//! Hitters: which of the others may be heavy -> Heavy: these exactly -> over
//! ```
//!
//! What is kept at the end of a round was counted from its first voice on, so that numbers, weights
//! and the newest claims are exact, and every node keeps the same ones, whatever the order.
//!
//! Never: looks at a claim's author where claims are voices.

use std::collections::BTreeMap;

use super::candidate::{Candidate, ValueKey};
use super::count::{ValueCounts, Whole};
use super::group::Group;
use super::hitters::HeavyHitters;
use super::settings::Settled;
use super::voice::{VoiceKey, value_of, voice_keys};
use super::weight::Weight;
use crate::base::limits;
use crate::model::{Assertion, Author, Voices};

/// Voices that are settled for one unit of a scan's work, at some 300 ns each.
const VOICES_PER_WORK: usize = 8;

/// What the voices are counted for.
#[derive(Clone, Debug)]
enum Round {
    All,
    /// By number and by weight.
    Hitters(Box<[HeavyHitters; 2]>),
    Heavy,
    Over,
}

/// The groups, while they are counted.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    by: Voices,
    /// Groups and voices in memory: a share of the limits where several tallies run side by side.
    part: usize,
    round: Round,
    /// Whether it is the round's first pass: claims are counted in this one alone.
    is_first: bool,
    /// The voices of this pass, with the greatest weight of the claims of each.
    voices: BTreeMap<VoiceKey, Weight>,
    /// Voices up to this one were counted in earlier passes of the round.
    counted_to: Option<VoiceKey>,
    /// Whether greater voices were left out of this pass.
    is_cut: bool,
    whole: Whole,
    /// The values with the lowest keys.
    lowest: BTreeMap<ValueKey, Group>,
    is_sampled: bool,
    /// Values that may be heavy, and the one that is watched.
    heavy: BTreeMap<ValueKey, Group>,
    watched: Option<ValueKey>,
    /// The greatest weight there is, by which the hitters' numbers are scaled.
    greatest: Weight,
}

impl Tally {
    /// Without a claim yet.
    pub(super) fn new(by: Voices) -> Tally {
        Tally::side_by_side(by, 1)
    }

    /// One of so many that share the memory of one.
    pub(super) fn side_by_side(by: Voices, part: usize) -> Tally {
        Tally {
            by,
            part,
            round: Round::All,
            is_first: true,
            voices: BTreeMap::new(),
            counted_to: None,
            is_cut: false,
            whole: Whole::default(),
            lowest: BTreeMap::new(),
            is_sampled: false,
            heavy: BTreeMap::new(),
            watched: None,
            greatest: Weight::ZERO,
        }
    }

    /// Whether no pass has ended yet.
    pub(super) fn is_first_pass(&self) -> bool {
        self.is_first && matches!(self.round, Round::All)
    }

    /// Counts this value exactly, whatever part of the whole it holds.
    pub(super) fn watch(&mut self, key: ValueKey) {
        self.watched = Some(key);
    }

    /// Takes in a claim, of which these authors speak.
    pub(super) fn add(&mut self, candidate: &Candidate, assertion: &Assertion, of: &[Author]) {
        if self.is_first {
            self.note_claim(candidate);
        }
        if self.by == Voices::Claims {
            return self.count(candidate.key, candidate.weight);
        }
        for key in voice_keys(candidate.key, assertion, of) {
            let is_counted = self.counted_to.is_some_and(|last| key <= last);
            if !is_counted {
                self.note_voice(key, candidate.weight);
            }
        }
    }

    fn note_claim(&mut self, candidate: &Candidate) {
        match self.round {
            Round::All => {
                self.lowest.entry(candidate.key).or_default().note_claim(candidate);
                if self.lowest.len() > limits::GROUPS_MAX / self.part {
                    self.lowest.pop_last();
                    self.is_sampled = true;
                }
            }
            Round::Heavy => {
                if let Some(group) = self.heavy.get_mut(&candidate.key) {
                    group.note_claim(candidate);
                }
            }
            Round::Hitters(_) | Round::Over => {}
        }
    }

    fn note_voice(&mut self, key: VoiceKey, weight: Weight) {
        let greatest = self.voices.last_key_value();
        if self.is_cut && greatest.is_some_and(|(last, _)| key > *last) {
            return;
        }
        let known = self.voices.entry(key).or_insert(weight);
        *known = weight.max(*known);
        if self.voices.len() > limits::VOICES_MAX / self.part {
            self.voices.pop_last();
            self.is_cut = true;
        }
    }

    fn count(&mut self, key: ValueKey, weight: Weight) {
        match &mut self.round {
            Round::All => {
                self.whole.count(weight);
                self.greatest = self.greatest.max(weight);
                if let Some(group) = self.lowest.get_mut(&key) {
                    group.count(weight);
                }
            }
            Round::Hitters(hitters) => {
                let [by_number, by_weight] = &mut **hitters;
                by_number.add(key, 1);
                by_weight.add(key, weight.scaled(self.greatest));
            }
            Round::Heavy => {
                if let Some(group) = self.heavy.get_mut(&key) {
                    group.count(weight);
                }
            }
            Round::Over => {}
        }
    }

    /// A pass has ended; call it again as long as it is [`Settled::Working`].
    pub(super) fn settle(&mut self, work: &mut usize) -> Settled {
        let affordable = work.saturating_mul(VOICES_PER_WORK);
        let mut settled = 0;
        while settled < affordable {
            let Some((key, weight)) = self.voices.pop_first() else {
                *work -= settled / VOICES_PER_WORK;
                return self.end_pass();
            };
            self.counted_to = Some(key);
            self.count(value_of(&key), weight);
            settled += 1;
        }
        *work = 0;
        Settled::Working
    }

    fn end_pass(&mut self) -> Settled {
        if std::mem::take(&mut self.is_cut) {
            self.is_first = false;
            return Settled::Again;
        }
        (self.is_first, self.counted_to) = (true, None);
        self.round = match std::mem::replace(&mut self.round, Round::Over) {
            Round::All if self.is_sampled => Round::Hitters(Box::default()),
            Round::Hitters(hitters) => {
                let keys = hitters.into_iter().flat_map(HeavyHitters::into_keys);
                let others = keys.chain(self.watched).filter(|key| !self.lowest.contains_key(key));
                self.heavy.clear();
                self.heavy.extend(others.map(|key| (key, Group::default())));
                if self.heavy.is_empty() { Round::Over } else { Round::Heavy }
            }
            Round::All | Round::Heavy | Round::Over => Round::Over,
        };
        self.check();
        match self.round {
            Round::Over => Settled::Over,
            _ => Settled::Again,
        }
    }

    /// What was counted, once it is over.
    pub(super) fn finish(self) -> ValueCounts {
        debug_assert!(matches!(self.round, Round::Over), "it is read when it is over");
        ValueCounts::new(self.whole, self.lowest, self.heavy, self.is_sampled, self.watched)
    }

    /// What holds between two passes.
    fn check(&self) {
        debug_assert!(self.voices.is_empty() && !self.is_cut, "every voice was counted");
        debug_assert!(self.lowest.len() <= limits::GROUPS_MAX / self.part);
        debug_assert!(self.heavy.len() <= 2 * limits::GROUPS_MAX + 1);
    }
}
