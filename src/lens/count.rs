//! What was counted of all values: shares, ranks and how much the values disagree.
//!
//! In: the groups of a [`super::tally::Tally`]. Out: scores. Where there were too many values,
//! those that hold more than `1 / limits::GROUPS_MAX` of the voices or of the weight are here
//! whatever their keys, and the lighter ones with the lowest keys stand for all lighter ones.
//!
//! Never: sums in an order that matters: values are in the order of their keys.

use std::collections::BTreeMap;

use super::candidate::ValueKey;
use super::conflict::ConflictClass;
use super::group::Group;
use super::sum::{Sum, disagreement, score, surprise};
use super::weight::Weight;
use crate::base::exact::log2;
use crate::base::limits;

/// All voices, whatever their values.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Whole {
    pub(super) voices: u64,
    weight: Sum,
}

impl Whole {
    pub(super) fn count(&mut self, weight: Weight) {
        self.voices += 1;
        self.weight.add(weight);
    }

    /// What a group counts for: its weight, or its voices where nothing weighs anything.
    fn force(&self, group: &Group) -> Sum {
        if self.weight.is_zero() { Sum::of_count(group.voices) } else { group.weight }
    }

    fn total(&self) -> Sum {
        if self.weight.is_zero() { Sum::of_count(self.voices) } else { self.weight }
    }

    fn is_heavy(&self, group: &Group) -> bool {
        const PART_BITS: u32 = limits::GROUPS_MAX.trailing_zeros();
        group.voices << PART_BITS > self.voices
            || group.weight.times_two_to(PART_BITS) > self.weight.times_two_to(0)
    }
}

/// The values that were counted.
#[derive(Clone, Debug)]
pub(super) struct ValueCounts {
    pub(super) whole: Whole,
    values: BTreeMap<ValueKey, Group>,
    /// The value that was asked for, where it is none of those.
    watched: Option<(ValueKey, Group)>,
    pub(super) is_sampled: bool,
}

impl ValueCounts {
    /// `heavy` are values beside the lowest, which are heavy or not.
    pub(super) fn new(
        whole: Whole,
        lowest: BTreeMap<ValueKey, Group>,
        heavy: BTreeMap<ValueKey, Group>,
        is_sampled: bool,
        watched: Option<ValueKey>,
    ) -> ValueCounts {
        let watched = watched.and_then(|key| Some((key, heavy.get(&key)?.clone())));
        let mut values = lowest;
        // What was kept of a lighter one depends on the order of arrival.
        values.extend(heavy.into_iter().filter(|(_, group)| whole.is_heavy(group)));
        ValueCounts { whole, values, watched, is_sampled }
    }

    pub(super) fn group(&self, key: &ValueKey) -> Option<&Group> {
        let watched = self.watched.as_ref().filter(|(watched, _)| watched == key);
        self.values.get(key).or(watched.map(|(_, group)| group))
    }

    pub(super) fn values(&self) -> impl Iterator<Item = (&ValueKey, &Group)> {
        self.values.iter()
    }

    /// A weight times the part of the whole that claims one value.
    pub(super) fn scored(&self, weight: Weight, group: &Group) -> f64 {
        self.whole.force(group).scored(weight, &self.whole.total())
    }

    /// Whether a group holds at least four fifths of the whole.
    pub(super) fn is_dominated_by(&self, group: &Group) -> bool {
        self.whole.force(group).dominates(&self.whole.total())
    }

    /// The values of the greatest shares, then of most voices, then the newest; so many at most.
    pub(super) fn greatest(&self, count: usize) -> Vec<ValueKey> {
        let rank = |group: &Group| (self.whole.force(group).bits(), group.voices, group.newest);
        let mut all: Vec<_> = self.values().map(|(key, group)| (rank(group), *key)).collect();
        if all.len() > count {
            all.select_nth_unstable_by(count, |one, other| other.cmp(one));
            all.truncate(count);
        }
        all.sort_unstable_by(|one, other| other.cmp(one));
        all.into_iter().map(|(_, key)| key).collect()
    }

    /// How much the values disagree, 0 to 1.
    pub(super) fn conflict_score(&self) -> f64 {
        let total = self.whole.total();
        let share = |group: &Group| self.whole.force(group).share_of(&total);
        if !self.is_sampled {
            return disagreement(self.values.values().map(share));
        }
        let entropy = self.estimate(|group| surprise(share(group)));
        score(entropy / log2(self.estimate(|_| 1.0)))
    }

    /// How serious that is, which has this score.
    pub(super) fn conflict_class(&self, score: f64) -> ConflictClass {
        ConflictClass::of(self.values.values().map(|group| group.class), score)
    }

    /// How many values there are; where not all were counted, an estimate.
    pub(super) fn values_count(&self) -> u64 {
        let count = self.values.len() as u64;
        if self.is_sampled { count.max(self.estimate(|_| 1.0).round() as u64) } else { count }
    }

    /// The sum of a number over all values: over the heavy ones, and over the light ones that are
    /// here times what all light ones hold over what these hold.
    fn estimate(&self, number: impl Fn(&Group) -> f64) -> f64 {
        let total = self.whole.total();
        let (mut heavy, mut light, mut light_share, mut rest) = (0.0, 0.0, 0.0, 1.0);
        for group in self.values.values() {
            let share = self.whole.force(group).share_of(&total);
            if self.whole.is_heavy(group) {
                heavy += number(group);
                rest -= share;
            } else {
                light += number(group);
                light_share += share;
            }
        }
        let factor = if light_share > 0.0 { rest.max(0.0) / light_share } else { 1.0 };
        heavy + light * factor.max(1.0)
    }
}
