//! Sums of weights, and what part of a whole they are.
//!
//! In: weights, in any order. Out: the same sum in any order, its part of another sum, rounded to
//! six decimals; entropy. A sum keeps 128 bits below its greatest weight's first bit: it is scaled
//! by that one, so what all claims have lost by decay changes no share.
//!
//! Never: adds doubles, calls the platform's logarithm (`base::exact`).

use std::cmp::Ordering;

use super::weight::Weight;
use crate::base::exact::log2;

/// Bits between the exponents of two blocks.
const BLOCK_BITS: i64 = 32;
/// Blocks of a sum. A weight reaches over 96 bits of its block, so that one that lies below all
/// four is less than 2^-95 of the greatest.
const BLOCKS: usize = 4;

/// A sum of weights. A weight lies in the block of its exponent as a whole number, of which 2^31
/// fit: no order of adding changes a block, and whether a block is kept depends on the greatest
/// weight alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sum {
    /// The number of the first block: that of the greatest weight.
    first: i64,
    /// Block `i` counts units of `2^(32 * (first - i) - 63)`.
    blocks: [u128; BLOCKS],
}

impl Default for Sum {
    fn default() -> Sum {
        Sum { first: i64::MIN, blocks: [0; BLOCKS] }
    }
}

impl Sum {
    pub(super) fn add(&mut self, weight: Weight) {
        self.add_times(weight, 1);
    }

    fn add_times(&mut self, weight: Weight, count: u64) {
        if weight.is_zero() || count == 0 {
            return;
        }
        let (exponent, mantissa) = weight.parts();
        let units = u128::from(mantissa) << exponent.rem_euclid(BLOCK_BITS);
        self.add_block(exponent.div_euclid(BLOCK_BITS), units * u128::from(count));
    }

    fn add_block(&mut self, number: i64, units: u128) {
        if number > self.first {
            let up = number.saturating_sub(self.first);
            let kept = BLOCKS.saturating_sub(usize::try_from(up).unwrap_or(BLOCKS));
            self.blocks.copy_within(..kept, BLOCKS - kept);
            self.blocks[..BLOCKS - kept].fill(0);
            self.first = number;
        }
        let index = usize::try_from(self.first - number).unwrap_or(BLOCKS);
        if let Some(block) = self.blocks.get_mut(index) {
            *block += units;
        }
    }

    /// As if all its weights had been added here: what it keeps reaches as far down as this does.
    pub(super) fn add_sum(&mut self, other: &Sum) {
        let numbers = (0..).map(|index| other.first.saturating_sub(index));
        for (number, units) in numbers.zip(other.blocks).filter(|(_, units)| *units > 0) {
            self.add_block(number, units);
        }
    }

    pub(super) fn is_zero(&self) -> bool {
        self.first == i64::MIN
    }

    /// What `count` claims weigh that weigh one each.
    pub(super) fn of_count(count: u64) -> Sum {
        let mut sum = Sum::default();
        sum.add_times(Weight::ONE, count);
        sum
    }

    /// What it is compared by: the exponent of its first bit, and the bits from there on, of which
    /// there are 256 at most.
    pub(super) fn bits(&self) -> (i64, [u128; 2]) {
        let mut wide = Wide::default();
        for units in self.blocks {
            wide = wide.shifted(BLOCK_BITS as u32).plus(units);
        }
        let zeros = wide.leading_zeros();
        if zeros == 256 {
            return (i64::MIN, [0; 2]);
        }
        let lowest = BLOCK_BITS * (self.first - (BLOCKS as i64 - 1)) - 63;
        let wide = wide.shifted(zeros);
        (lowest + 255 - i64::from(zeros), [wide.high, wide.low])
    }

    /// As a double, rounded down; zero where that would be subnormal.
    pub(super) fn to_f64(self) -> f64 {
        let (exponent, bits) = self.bits();
        if exponent < -1022 {
            return 0.0;
        }
        // The first bit is that of the exponent.
        let fraction = (bits[0] << 1 >> 76) as u64;
        f64::from_bits(((exponent + 1023) as u64) << 52 | fraction)
    }

    /// What it is compared by, times a power of two.
    pub(super) fn times_two_to(&self, power: u32) -> (i64, [u128; 2]) {
        let (exponent, bits) = self.bits();
        (exponent.saturating_add(i64::from(power)), bits)
    }

    /// This and a whole that is not less as whole numbers, the whole having 104 bits.
    fn over(&self, whole: &Sum) -> (u128, u128) {
        let ((exponent, bits), (of_whole, whole_bits)) = (self.bits(), whole.bits());
        let down = u32::try_from(of_whole.saturating_sub(exponent)).unwrap_or(u32::MAX);
        ((bits[0] >> 24).checked_shr(down).unwrap_or(0), whole_bits[0] >> 24)
    }

    /// The part of `whole` that this is.
    pub(super) fn share_of(&self, whole: &Sum) -> f64 {
        let ((exponent, bits), (of_whole, whole_bits)) = (self.bits(), whole.bits());
        let down = of_whole.saturating_sub(exponent);
        if down > 1000 || bits[0] == 0 {
            return 0.0;
        }
        let [part, all] = [bits[0], whole_bits[0]].map(|bits| (bits >> 64) as f64);
        part / all * f64::from_bits((1023 - down as u64) << 52)
    }

    /// `weight` times the part of `whole` that this is, half a millionth rounded up; `weight` is
    /// one at most.
    pub(super) fn scored(&self, weight: Weight, whole: &Sum) -> f64 {
        let (part, all) = self.over(whole);
        let (exponent, mantissa) = weight.parts();
        let down = u32::try_from(63_i64.saturating_sub(exponent)).unwrap_or(u32::MAX);
        // Below 2^-67 nothing is left to six decimals.
        if part == 0 || weight.is_zero() || down > 130 {
            return 0.0;
        }
        // The greatest n with (2n - 1) / 2,000,000 <= mantissa * 2^-down * part / all.
        let product = Wide::product(2 * MILLION * part, u128::from(mantissa));
        let reaches = |n: u128| Wide::default().plus((2 * n - 1) * all).shifted(down) <= product;
        let (mut low, mut high) = (0, MILLION);
        while low < high {
            let middle = (low + high).div_ceil(2);
            if reaches(middle) {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        low as f64 / MILLION as f64
    }

    /// Whether this is at least four fifths of `whole`.
    pub(super) fn dominates(&self, whole: &Sum) -> bool {
        let (part, all) = self.over(whole);
        part * 5 >= all * 4
    }
}

impl PartialEq for Sum {
    fn eq(&self, other: &Sum) -> bool {
        // One half and one half lie in another block than one.
        self.bits() == other.bits()
    }
}

impl Eq for Sum {}

impl Ord for Sum {
    fn cmp(&self, other: &Sum) -> Ordering {
        self.bits().cmp(&other.bits())
    }
}

impl PartialOrd for Sum {
    fn partial_cmp(&self, other: &Sum) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

const MILLION: u128 = 1_000_000;

/// A whole number of 256 bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
struct Wide {
    high: u128,
    low: u128,
}

impl Wide {
    fn product(one: u128, other: u128) -> Wide {
        let [one_high, one_low] = [one >> 64, one & u128::from(u64::MAX)];
        // The other one has 64 bits.
        Wide { high: (one_high * other) >> 64, low: 0 }
            .plus((one_high * other) << 64)
            .plus(one_low * other)
    }

    fn plus(self, units: u128) -> Wide {
        let (low, carry) = self.low.overflowing_add(units);
        Wide { high: self.high + u128::from(carry), low }
    }

    fn shifted(self, up: u32) -> Wide {
        match up {
            0 => self,
            1..128 => Wide { high: self.high << up | self.low >> (128 - up), low: self.low << up },
            _ => Wide { high: self.low.checked_shl(up - 128).unwrap_or(0), low: 0 },
        }
    }

    fn leading_zeros(self) -> u32 {
        if self.high == 0 { 128 + self.low.leading_zeros() } else { self.high.leading_zeros() }
    }
}

/// Shannon entropy of shares that add up to one, divided by the greatest it can be for that many:
/// 0 when one holds all (or there is none), 1 when all hold the same.
pub(super) fn disagreement(shares: impl Iterator<Item = f64>) -> f64 {
    let mut count = 0_u32;
    let mut entropy = 0.0;
    for share in shares {
        count += 1;
        entropy += surprise(share);
    }
    if count < 2 { 0.0 } else { score(entropy / log2(f64::from(count))) }
}

/// What a share adds to the entropy.
pub(super) fn surprise(share: f64) -> f64 {
    if share > 0.0 { -share * log2(share) } else { 0.0 }
}

/// A score as it is shown: within 0 to 1, to six decimals.
pub(super) fn score(value: f64) -> f64 {
    (value.clamp(0.0, 1.0) * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::*;

    fn sum(numbers: &[f64]) -> Sum {
        let mut sum = Sum::default();
        numbers.iter().for_each(|number| sum.add(Weight::of(*number)));
        sum
    }

    #[test]
    fn disagreement_runs_from_one_holder_to_all_equal() {
        let of = |shares: &[f64]| disagreement(shares.iter().copied());
        assert_eq!((of(&[]), of(&[1.0]), of(&[1.0, 0.0])), (0.0, 0.0, 0.0));
        assert_eq!((of(&[0.5, 0.5]), of(&[1.0 / 3.0; 3])), (1.0, 1.0));
        assert_eq!(of(&[0.9, 0.1]), 0.468_996);
    }

    #[test]
    fn a_sum_is_the_same_in_any_order() {
        let mut rng = Rng::with_seed(1);
        for _ in 0..200 {
            let mut numbers: Vec<f64> =
                (0..50).map(|_| rng.f64() * 2f64.powi(-rng.i32(0..300))).collect();
            let whole = sum(&numbers);
            rng.shuffle(&mut numbers);
            assert_eq!(sum(&numbers), whole);
            let mut of_sums = Sum::default();
            numbers.chunks(7).for_each(|part| of_sums.add_sum(&sum(part)));
            assert_eq!(of_sums, whole);
        }
    }

    #[test]
    fn sums_compare_as_the_numbers_do() {
        assert!(sum(&[1e-20]) > sum(&[5e-324]) && sum(&[5e-324]) > sum(&[]));
        assert!(sum(&[0.5, 0.25, 0.25]) == sum(&[1.0]));
        assert_eq!(sum(&[0.5, 0.25, 0.25]).cmp(&sum(&[0.125; 8])), Ordering::Equal);
        assert!(sum(&[0.5, 2f64.powi(-90)]) > sum(&[0.5]));
        assert!(sum(&vec![2f64.powi(-33); 3 << 12]) < sum(&[0.5]));
        assert_eq!(Sum::of_count(7), sum(&[1.0; 7]));
        for number in [0.0, 1.0, 0.75, 0.1, 1e-300, f64::MIN_POSITIVE] {
            assert_eq!(sum(&[number]).to_f64(), number);
        }
        assert_eq!((sum(&[0.75, 0.5]).to_f64(), sum(&[5e-324]).to_f64()), (1.25, 0.0));
    }

    #[test]
    fn shares_are_rounded_once_and_half_a_millionth_up() {
        let whole = sum(&[1e-20, 5e-324]);
        assert_eq!(sum(&[1e-20]).scored(Weight::ONE, &whole), 1.0);
        assert_eq!(sum(&[5e-324]).scored(Weight::ONE, &whole), 0.0);
        assert_eq!(sum(&[0.8]).scored(Weight::ONE, &sum(&[0.8, 0.2])), 0.8);
        // 1/128 is 0.0078125, and half of a millionth part is 0.0000005.
        assert_eq!(sum(&[1.0]).scored(Weight::ONE, &Sum::of_count(128)), 0.007_813);
        assert_eq!(sum(&[1.0]).scored(Weight::of(0.5), &Sum::of_count(1_000_000)), 0.000_001);
        assert_eq!(sum(&[1.0]).scored(Weight::of(0.5), &Sum::of_count(1_000_001)), 0.0);
        assert_eq!(Sum::default().scored(Weight::ONE, &whole), 0.0);
        assert!(sum(&[0.8]).dominates(&sum(&[0.8, 0.2])) && !sum(&[0.79]).dominates(&sum(&[0.99])));
        assert_eq!(sum(&[0.25]).share_of(&sum(&[0.25, 0.75])), 0.25);
    }
}
