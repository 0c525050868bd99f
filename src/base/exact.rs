//! Powers and logarithms that are the same to the last bit everywhere.
//!
//! In: numbers. Out: numbers, within 1e-13 of what is true. Never: calls the platform's exp2 or
//! log2, whose last bit differs from one C library to another.

/// ln 2 in units of 2^-64.
const LN_2: u128 = 0xb172_17f7_d1cf_79ab;

/// 2^-x in units of 2^-64 for an x from 0 to 1 in the same units; within 2^-60, rounded down for
/// the most part, and exact for 0.
pub fn halved(x: u64) -> u128 {
    const ONE: u128 = 1 << 64;
    let exponent = (u128::from(x) * LN_2) >> 64;
    // exp of -0.7 to 0 by its series: the 22nd term is under 2^-80.
    (1..22).rev().fold(ONE, |sum, term| ONE - ((exponent * sum) >> 64) / term)
}

/// log2 of a normal positive number, by the series of the inverse hyperbolic tangent.
pub fn log2(x: f64) -> f64 {
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
        const UNIT: f64 = 18_446_744_073_709_551_616.0;
        let mut rng = Rng::with_seed(1);
        for _ in 0..10_000 {
            let x = rng.u64(..);
            let (ours, theirs) = (halved(x) as f64 / UNIT, (-(x as f64) / UNIT).exp2());
            assert!((ours - theirs).abs() <= 3e-16, "2^-{x}: {ours} and {theirs}");
            let y = rng.f64() * 10_000.0 + 1e-9;
            assert!((log2(y) - y.log2()).abs() < 1e-13, "log2 of {y}");
        }
        // The square root of a half, and its own square root, from a table of 20 digits.
        assert_eq!(halved(0), 1 << 64);
        assert!(halved(1 << 63).abs_diff(13_043_817_825_332_782_212) < 16);
        assert!(halved(1 << 62).abs_diff(15_511_800_964_685_064_948) < 16);
        assert_eq!((log2(1.0), log2(0.5), log2(8.0)), (0.0, -1.0, 3.0));
    }
}
