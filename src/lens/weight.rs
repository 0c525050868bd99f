//! How much a claim weighs; the same to the last bit everywhere.
//!
//! In: confidence, age, half-life. Out: a [`Weight`], a number of 64 bits with an exponent of its
//! own: what decayed for a million half-lives still weighs more than what decayed for one half-life
//! longer. Never: rounds to zero, calls the platform's exp2 (`base::exact`).

use super::settings::LensSettings;
use crate::base::Wall;
use crate::base::exact::halved;
use crate::model::{Assertion, HalfLife};

/// A weight: `mantissa * 2^(exponent - 63)`, the mantissa's first bit being set, or zero. The
/// fields' order is that of weights.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Weight {
    exponent: i64,
    mantissa: u64,
}

/// Half-lives below it are taken for it. Ages are whole seconds: either way the younger of two
/// claims weighs 2^(2^24) times more, and exponents keep within 64 bits.
const HALF_LIFE_MIN: f64 = 1.0 / (1 << 24) as f64;

impl Weight {
    pub(super) const ZERO: Weight = Weight { exponent: i64::MIN, mantissa: 0 };
    pub(super) const ONE: Weight = Weight { exponent: 0, mantissa: 1 << 63 };

    /// Exactly this number, which is not negative.
    pub(super) fn of(number: f64) -> Weight {
        let bits = number.to_bits();
        let (biased, fraction) = (bits >> 52 & 0x7ff, bits & ((1 << 52) - 1));
        if bits << 1 == 0 {
            return Weight::ZERO;
        }
        if biased == 0 {
            // Subnormal: in units of 2^-1074.
            let zeros = fraction.leading_zeros();
            return Weight { exponent: 63 - 1074 - i64::from(zeros), mantissa: fraction << zeros };
        }
        Weight { exponent: biased as i64 - 1023, mantissa: 1 << 63 | fraction << 11 }
    }

    pub(super) fn parts(self) -> (i64, u64) {
        (self.exponent, self.mantissa)
    }

    pub(super) fn is_zero(self) -> bool {
        self.mantissa == 0
    }

    /// As a whole number of units of 2^-95 of a power of two that `greatest`, which is not less, is
    /// under: 2^31 of them fit into 128 bits.
    pub(super) fn scaled(self, greatest: Weight) -> u128 {
        let down = greatest.exponent.saturating_sub(self.exponent);
        let down = u32::try_from(down).unwrap_or(u32::MAX);
        (u128::from(self.mantissa) << 32).checked_shr(down).unwrap_or(0)
    }

    /// It times another one, rounded down to 64 bits.
    pub(super) fn times(self, other: Weight) -> Weight {
        if self.is_zero() || other.is_zero() {
            return Weight::ZERO;
        }
        let product = u128::from(self.mantissa) * u128::from(other.mantissa);
        // Each mantissa has its first bit set, so that the product has one of its first two.
        let is_carried = product >> 127 == 1;
        let exponent = self.exponent + other.exponent + i64::from(is_carried);
        Weight { exponent, mantissa: (product >> if is_carried { 64 } else { 63 }) as u64 }
    }

    /// It times `2^-half_lives`, rounded down to 64 bits.
    fn decayed(self, half_lives: HalfLives) -> Weight {
        if self.is_zero() {
            return self;
        }
        let product = u128::from(self.mantissa) * halved(half_lives.fraction);
        let is_whole = product >> 127 == 1;
        let exponent = self.exponent - half_lives.whole - i64::from(!is_whole);
        Weight { exponent, mantissa: (product >> if is_whole { 64 } else { 63 }) as u64 }
    }
}

/// A number of half-lives.
#[derive(Clone, Copy)]
struct HalfLives {
    whole: i64,
    /// In units of 2^-64.
    fraction: u64,
}

impl HalfLives {
    /// `age / half_life`, rounded down to 64 bits behind the point.
    fn of(age: u64, half_life: HalfLife) -> HalfLives {
        let bits = half_life.seconds().max(HALF_LIFE_MIN).to_bits();
        // A normal number: mantissa * 2^exponent.
        let (mantissa, exponent) = (1 << 52 | bits & ((1 << 52) - 1), (bits >> 52) as i64 - 1075);
        // Ages have 38 bits (`limits::TIMESTAMP_MAX`), and the exponent is -76 at least.
        let (age, divisor) = match u32::try_from(exponent) {
            Err(_) => (u128::from(age) << -exponent, u128::from(mantissa)),
            Ok(shift @ 0..=64) => (u128::from(age), u128::from(mantissa) << shift),
            Ok(_) => (0, 1),
        };
        let whole = i64::try_from(age / divisor).expect("38 bits over HALF_LIFE_MIN");
        let rest = age % divisor;
        // The rest is under 2^53, or under 2^38 where the divisor is greater.
        HalfLives { whole, fraction: ((rest << 64) / divisor) as u64 }
    }
}

/// What one claim weighs: `confidence * 2^(-age / half_life)`, or the confidence alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    half_life: Option<HalfLife>,
    now: Wall,
}

impl Scale {
    pub(super) fn new(settings: LensSettings) -> Scale {
        Scale { half_life: settings.half_life, now: settings.now }
    }

    /// Whether the time of a claim has come. One that has not is not judged, or a wrong clock would
    /// win for ever.
    pub(super) fn has_come(self, assertion: &Assertion) -> bool {
        !self.now.is_before(assertion.hlc.time)
    }

    /// Of a claim from within the drift ahead the age is zero.
    pub(super) fn weigh(self, assertion: &Assertion) -> Weight {
        let weight = Weight::of(assertion.confidence);
        let Some(half_life) = self.half_life else { return weight };
        let age = self.now.seconds().saturating_sub(assertion.timestamp);
        weight.decayed(HalfLives::of(age, half_life))
    }
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::*;

    impl Weight {
        /// As a double; zero where it would be subnormal.
        fn to_f64(self) -> f64 {
            if self.exponent < -1022 {
                return 0.0;
            }
            f64::from_bits(((self.exponent + 1023) as u64) << 52 | self.mantissa << 1 >> 12)
        }
    }

    #[test]
    fn doubles_are_kept_to_the_last_bit_and_in_order() {
        let mut rng = Rng::with_seed(1);
        let mut numbers = vec![0.0, 5e-324, 1e-310, f64::MIN_POSITIVE, 1e-20, 0.1, 0.5, 1.0];
        numbers.extend((0..1000).map(|_| rng.f64() * 2f64.powi(-rng.i32(0..1000))));
        numbers.sort_by(f64::total_cmp);
        let weights: Vec<Weight> = numbers.iter().map(|number| Weight::of(*number)).collect();
        assert!(weights.is_sorted());
        for (number, weight) in numbers.iter().zip(&weights) {
            let shown = if *number < f64::MIN_POSITIVE { 0.0 } else { *number };
            assert_eq!(weight.to_f64(), shown, "{number:e}");
        }
        assert_eq!(Weight::of(1.0), Weight::ONE);
    }

    #[test]
    fn products_are_rounded_down_and_exact_where_they_can_be() {
        let product = |one, other| Weight::of(one).times(Weight::of(other));
        for (one, other) in [(1.0, 1.0), (0.5, 0.75), (0.75, 0.75), (0.0, 0.3), (5e-324, 1.0)] {
            assert_eq!(product(one, other), Weight::of(one * other), "{one} {other}");
        }
        let least = product(5e-324, 5e-324);
        assert!(least > Weight::ZERO && least < Weight::of(5e-324));
        let mut rng = Rng::with_seed(3);
        for _ in 0..1000 {
            let (one, other) = (rng.f64(), rng.f64());
            let (found, expected) = (product(one, other).to_f64(), one * other);
            assert!((found - expected).abs() <= expected * 3e-16, "{one} {other}: {found}");
            assert_eq!(product(one, other), product(other, one));
        }
    }

    #[test]
    fn decay_is_exact_over_whole_half_lives_and_near_otherwise() {
        let decayed = |number: f64, age, half_life| {
            let half_life = HalfLife::new(half_life).expect("good");
            Weight::of(number).decayed(HalfLives::of(age, half_life))
        };
        for halvings in [0, 1, 60, 70, 1023] {
            let expected = 0.9 / 2f64.powi(halvings);
            let found = decayed(0.9, 3600 * halvings as u64, 3600.0);
            assert_eq!(found.to_f64(), if halvings == 1023 { 0.0 } else { expected });
            assert_eq!(found.parts().0, -1 - i64::from(halvings), "0.9 is under 2^0");
        }
        let mut rng = Rng::with_seed(2);
        for _ in 0..10_000 {
            let (age, half_life) = (rng.u64(0..1 << 38), 1e9 * rng.f64() + 1e7);
            let x = age as f64 / half_life;
            let (found, expected) = (decayed(1.0, age, half_life).to_f64(), (-x).exp2());
            let error = (found - expected).abs();
            assert!(error <= expected * (x + 1.0) * 1e-15 + 1e-307, "2^-{x}: {found}");
        }
        // Whatever half-life: an older one weighs less, or as much where both hardly decay.
        for half_life in [5e-324, 1e-9, 1.0, 3600.5, 1e300] {
            let ages = [0, 1, 2, 1000, 1 << 37];
            let weights = ages.map(|age| decayed(0.7, age, half_life));
            let is_apart = half_life < 1e9;
            assert!(weights.is_sorted_by(|one, next| one > next || !is_apart && one == next));
        }
    }
}
