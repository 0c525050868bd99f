//! How much a claim weighs, and how much weights disagree; the same to the last bit everywhere.
//!
//! In: confidence, age, half-life; weights. Out: weights that add up in any order, shares, entropy.
//! Never: sums in an order that matters, or with the platform's logarithm (`base::exact`).

use crate::base::Wall;
use crate::base::exact::{halved, log2};
use crate::model::{Assertion, HalfLife};

/// What one claim weighs: `confidence * 2^(-age / half_life)`, or the confidence alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    half_life: Option<HalfLife>,
    now: Wall,
}

impl Scale {
    pub(super) fn new(half_life: Option<HalfLife>, now: Wall) -> Scale {
        Scale { half_life, now }
    }

    /// Whether the time of a claim has come. One that has not is not judged, or a wrong clock would
    /// win for ever.
    pub(super) fn has_come(self, assertion: &Assertion) -> bool {
        !self.now.is_before(assertion.hlc.time)
    }

    /// Of a claim from within the drift ahead the age is zero.
    pub(super) fn weigh(self, assertion: &Assertion) -> f64 {
        match self.half_life {
            None => assertion.confidence,
            Some(half_life) => {
                let age = self.now.seconds().saturating_sub(assertion.timestamp);
                assertion.confidence * halved(age as f64 / half_life.seconds())
            }
        }
    }
}

/// A sum of weights, in units of 2^-64: whole numbers, so that the order of adding does not matter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(super) struct Sum(u128);

impl Sum {
    pub(super) fn add(&mut self, weight: f64) {
        const UNIT: f64 = 18_446_744_073_709_551_616.0;
        self.0 += (weight * UNIT) as u128;
    }

    pub(super) fn add_all(&mut self, other: Sum) {
        self.0 += other.0;
    }

    /// The part of `whole` that this is.
    pub(super) fn share_of(self, whole: Sum) -> f64 {
        self.0 as f64 / whole.0 as f64
    }

    /// Whether this is at least four fifths of `whole`.
    pub(super) fn dominates(self, whole: Sum) -> bool {
        self.0 * 5 >= whole.0 * 4
    }

    pub(super) fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// What `count` claims weigh that weigh one each.
    pub(super) fn of_count(count: u64) -> Sum {
        Sum(u128::from(count) << 64)
    }
}

/// Shannon entropy of shares that add up to one, divided by the greatest it can be for that many:
/// 0 when one holds all (or there is none), 1 when all hold the same.
pub(super) fn disagreement(shares: impl Iterator<Item = f64>) -> f64 {
    let mut count = 0_u32;
    let mut entropy = 0.0;
    for share in shares {
        count += 1;
        if share > 0.0 {
            entropy -= share * log2(share);
        }
    }
    if count < 2 { 0.0 } else { score(entropy / log2(f64::from(count))) }
}

/// A score as it is shown: within 0 to 1, to six decimals.
pub(super) fn score(value: f64) -> f64 {
    (value.clamp(0.0, 1.0) * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disagreement_runs_from_one_holder_to_all_equal() {
        let of = |shares: &[f64]| disagreement(shares.iter().copied());
        assert_eq!((of(&[]), of(&[1.0]), of(&[1.0, 0.0])), (0.0, 0.0, 0.0));
        assert_eq!((of(&[0.5, 0.5]), of(&[1.0 / 3.0; 3])), (1.0, 1.0));
        assert_eq!(of(&[0.9, 0.1]), 0.468_996);
    }
}
