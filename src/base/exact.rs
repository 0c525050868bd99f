//! Powers and logarithms that are the same to the last bit everywhere.
//!
//! In: numbers. Out: numbers, within 1e-13 of what is true. Never: calls the platform's exp2 or
//! log2, whose last bit differs from one C library to another.

/// 2^-x for x >= 0, by its series; zero where the result would be subnormal.
pub fn halved(x: f64) -> f64 {
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
}
