//! Which values may hold more than their part of a whole, in bounded memory.
//!
//! In: values with numbers. Out: a few thousand values, among them each one whose numbers add up to
//! more than `1 / limits::GROUPS_MAX` of all. The summary is that of Misra and Gries ("Finding
//! Repeated Elements", 1982), cut as in Agarwal et al., "Mergeable Summaries" (2012), section 3: at
//! twice as many counters the (k+1)-th greatest is taken off all of them. Each cut takes its number
//! off k + 1 counters at least, so that no value loses more than all numbers over k + 1.
//!
//! Never: says how much a value holds: what it kept of a lesser one depends on the order.

use std::collections::BTreeMap;

use super::candidate::ValueKey;
use crate::base::limits;

/// Counters of values.
#[derive(Clone, Debug, Default)]
pub(super) struct HeavyHitters {
    counters: BTreeMap<ValueKey, u128>,
}

impl HeavyHitters {
    /// Counts `number` for a value; all numbers together stay under 2^128.
    pub(super) fn add(&mut self, key: ValueKey, number: u128) {
        *self.counters.entry(key).or_default() += number;
        if self.counters.len() >= 2 * limits::GROUPS_MAX {
            self.cut();
        }
    }

    /// The values that are left, `limits::GROUPS_MAX` at most.
    pub(super) fn into_keys(mut self) -> impl Iterator<Item = ValueKey> {
        self.cut();
        self.counters.into_keys()
    }

    fn cut(&mut self) {
        let Some(last) = self.counters.len().checked_sub(limits::GROUPS_MAX + 1) else { return };
        let mut numbers: Vec<u128> = self.counters.values().copied().collect();
        let (_, cut, _) = numbers.select_nth_unstable(last);
        let cut = *cut;
        self.counters.retain(|_, number| {
            *number = number.saturating_sub(cut);
            *number > 0
        });
    }
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::*;

    #[test]
    fn what_holds_more_than_its_part_is_kept_in_any_order() {
        let mut rng = Rng::with_seed(1);
        let key = |number: u32| {
            *blake3::hash(&number.to_le_bytes()).as_bytes().first_chunk().unwrap_or(&[0; 16])
        };
        // 100 values of 30 each among 100,000: 3 of 10,000, the part being 2.4.
        let heavy: Vec<u32> = (0..100).map(|number| number * 7).collect();
        let mut all: Vec<u32> = heavy.iter().flat_map(|number| [*number; 30]).collect();
        all.extend(1_000_000..1_000_000 + 97_000);
        for order in 0..3 {
            match order {
                0 => all.sort_unstable(),
                1 => all.reverse(),
                _ => rng.shuffle(&mut all),
            }
            let mut hitters = HeavyHitters::default();
            all.iter().for_each(|number| hitters.add(key(*number), 1));
            let kept: Vec<ValueKey> = hitters.into_keys().collect();
            assert!(kept.len() <= limits::GROUPS_MAX);
            assert!(heavy.iter().all(|number| kept.contains(&key(*number))), "order {order}");
        }
    }
}
