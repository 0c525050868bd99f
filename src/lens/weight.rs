//! How much a claim weighs, and how much weights disagree; the same to the last bit everywhere.
//!
//! In: confidence, age, half-life; weights. Out: weights that add up in any order, shares, entropy.
//! Never: calls the platform's exp2 or log2, whose last bit differs from one C library to another.

use crate::base::Wall;
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

    /// Of a claim from the future the age is zero.
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

/// 2^-x for x >= 0, by its series; zero where the result would be subnormal.
fn halved(x: f64) -> f64 {
    if x >= 1022.0 {
        return 0.0;
    }
    let whole = x.floor();
    let exponent = (whole - x) * std::f64::consts::LN_2;
    // exp of -0.7 to 0: the 20th term is under 2^-70.
    let fraction = (1..20).rev().fold(1.0, |sum, term| 1.0 + sum * exponent / f64::from(term));
    fraction * f64::from_bits((1023 - whole as u64) << 52)
}

/// log2 of a normal positive number, by the series of the inverse hyperbolic tangent.
fn log2(x: f64) -> f64 {
    const MANTISSA: u64 = (1 << 52) - 1;
    let bits = x.to_bits();
    let exponent = (bits >> 52) as i32 - 1023;
    let mantissa = f64::from_bits(bits & MANTISSA | 1023 << 52);
    let ratio = (mantissa - 1.0) / (mantissa + 1.0);
    // The ratio is under 1/3: the 20th term is under 2^-60.
    let square = ratio * ratio;
    let series = (0..20).rev().fold(0.0, |sum, term| sum * square + 1.0 / f64::from(2 * term + 1));
    f64::from(exponent) + 2.0 * ratio * series / std::f64::consts::LN_2
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::*;

    #[test]
    fn the_series_agree_with_the_platform() {
        let mut rng = Rng::with_seed(1);
        for _ in 0..10_000 {
            let x = rng.f64() * 1022.0;
            let (ours, theirs) = (halved(x), (-x).exp2());
            assert!((ours - theirs).abs() <= theirs * 1e-13, "2^-{x}: {ours} and {theirs}");
            let y = rng.f64() * 10_000.0 + 1e-9;
            assert!((log2(y) - y.log2()).abs() < 1e-13, "log2 of {y}");
        }
        assert_eq!((halved(0.0), halved(1.0), halved(10.0)), (1.0, 0.5, 1.0 / 1024.0));
        assert_eq!((halved(1022.0), halved(f64::INFINITY)), (0.0, 0.0));
        assert_eq!((log2(1.0), log2(0.5), log2(8.0)), (0.0, -1.0, 3.0));
    }

    #[test]
    fn disagreement_runs_from_one_holder_to_all_equal() {
        let of = |shares: &[f64]| disagreement(shares.iter().copied());
        assert_eq!((of(&[]), of(&[1.0]), of(&[1.0, 0.0])), (0.0, 0.0, 0.0));
        assert_eq!((of(&[0.5, 0.5]), of(&[1.0 / 3.0; 3])), (1.0, 1.0));
        assert_eq!(of(&[0.9, 0.1]), 0.468_996);
    }
}
