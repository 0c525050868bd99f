//! Which double a JSON number is.
//!
//! In: the digits of a number, as the grammar has them. Out: the nearest double, or [`Unheld`]. A
//! number without point and exponent is an integer, which is meant exactly. Never: rounds an
//! integer, or to zero or infinity.

use std::fmt;

/// Digits of a nearest double that an error shows one by one.
const SHOWN_MAX: usize = 40;

/// A number for which no double stands.
#[derive(Clone, PartialEq, Debug)]
pub enum Unheld {
    /// Beyond the greatest double.
    TooGreat,
    /// Not zero, and nearer to zero than to any other double.
    TooSmall,
    /// An integer between two doubles, of which this one is the nearest.
    Between(f64),
}

/// Reads a number that [`is_json`] accepts.
pub fn parse(digits: &str) -> Result<f64, Unheld> {
    let number: f64 = digits.parse().unwrap_or(f64::INFINITY);
    if number.is_infinite() {
        return Err(Unheld::TooGreat);
    }
    if number == 0.0 && says_more_than_zero(digits) {
        return Err(Unheld::TooSmall);
    }
    // Rounded, two integers that are not equal would be one claim. Without decimals Rust writes
    // every digit of a double.
    if is_integer(digits) && format!("{number:.0}") != digits {
        return Err(Unheld::Between(number));
    }
    Ok(number)
}

/// Whether a text is a number as JSON writes it (RFC 8259, section 6): no plus, no bare point, no
/// zero before other digits, no `NaN`.
pub fn is_json(text: &str) -> bool {
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => {
            (mantissa, exponent.strip_prefix(['+', '-']).unwrap_or(exponent))
        }
        None => (text, "0"),
    };
    let mantissa = mantissa.strip_prefix('-').unwrap_or(mantissa);
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let is_whole = is_digits(whole) && (whole == "0" || !whole.starts_with('0'));
    is_whole && is_digits(fraction) && is_digits(exponent)
}

fn is_integer(digits: &str) -> bool {
    // Up to 15 digits every integer is a double; most numbers are that short.
    digits.len() > 15 && digits.bytes().all(|byte| matches!(byte, b'-' | b'0'..=b'9'))
}

/// Whether a digit before the exponent is not zero.
fn says_more_than_zero(digits: &str) -> bool {
    let mut before = digits.bytes().take_while(|byte| !matches!(byte, b'e' | b'E'));
    before.any(|byte| matches!(byte, b'1'..=b'9'))
}

impl fmt::Display for Unheld {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unheld::TooGreat => write!(
                out,
                "numbers lie between -1.7976931348623157e308 and 1.7976931348623157e308"
            ),
            Unheld::TooSmall => {
                write!(out, "a number that is not 0 lies 5e-324 from it at least")
            }
            Unheld::Between(nearest) => {
                let digits = format!("{nearest:.0}");
                let is_long = digits.len() > SHOWN_MAX;
                let nearest = if is_long { format!("{nearest:e}") } else { digits };
                write!(
                    out,
                    "an integer that no double is; the nearest is {nearest}, a point or an \
                     exponent asks for rounding"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_exact_and_decimals_rounded() {
        let good: [(&str, f64); 12] = [
            ("9007199254740992", 9_007_199_254_740_992.0),
            ("9007199254740994", 9_007_199_254_740_994.0),
            ("-9007199254740992", -9_007_199_254_740_992.0),
            ("9007199254740993.0", 9_007_199_254_740_992.0),
            ("9007199254740993e0", 9_007_199_254_740_992.0),
            ("1e23", 1e23),
            ("99999999999999991611392", 1e23),
            ("0.1", 0.1),
            ("-0", -0.0),
            ("0e-400", 0.0),
            ("0.000E9", 0.0),
            ("3e-324", 5e-324),
        ];
        for (digits, number) in good {
            assert_eq!(parse(digits).map(f64::to_bits), Ok(number.to_bits()), "{digits}");
        }
        assert!(good.iter().all(|(digits, _)| is_json(digits)));
        let none =
            ["", "-", "+1", "01", "1.", ".5", "1e", "1e+", "1.e5", "0x1", "NaN", "inf", " 1"];
        assert_eq!(none.iter().find(|text| is_json(text)), None);
        let greatest = format!("{:.0}", f64::MAX);
        assert_eq!(parse(&greatest), Ok(f64::MAX));
        let bad = [
            ("9007199254740993", Unheld::Between(9_007_199_254_740_992.0)),
            ("-9007199254740993", Unheld::Between(-9_007_199_254_740_992.0)),
            ("18446744073709551615", Unheld::Between(18_446_744_073_709_551_616.0)),
            ("100000000000000000000000", Unheld::Between(1e23)),
            ("1e400", Unheld::TooGreat),
            ("1e-400", Unheld::TooSmall),
            ("-1e-400", Unheld::TooSmall),
            ("2e-324", Unheld::TooSmall),
        ];
        for (digits, unheld) in bad {
            assert_eq!(parse(digits), Err(unheld), "{digits}");
        }
    }
}
