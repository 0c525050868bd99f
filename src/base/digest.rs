//! The 32-byte BLAKE3 digest that names an assertion, and hex in both directions.
//!
//! In: bytes or hex text. Out: [`Digest`]. Never: another hash function.

use std::fmt;

/// A BLAKE3 hash, 32 bytes; ordered byte by byte.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// 32 zero bytes: the root of an empty set, the `source_hash` of a claim without one.
    pub const ZERO: Digest = Digest([0; 32]);

    /// BLAKE3 over `bytes`.
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(*blake3::hash(bytes).as_bytes())
    }

    /// From a slice; `None` unless it is 32 bytes long.
    pub fn from_slice(bytes: &[u8]) -> Option<Digest> {
        bytes.try_into().ok().map(Digest)
    }

    /// From 64 hex digits of either case.
    pub fn parse(text: &str) -> Option<Digest> {
        let mut bytes = [0; 32];
        parse_hex(text, &mut bytes).then_some(Digest(bytes))
    }

    /// Bit `depth`, counted from the most significant bit of byte 0.
    pub fn bit(&self, depth: usize) -> bool {
        self.0[depth / 8] >> (7 - depth % 8) & 1 == 1
    }

    /// Whether the first `bits` bits are those of another.
    pub fn agrees(&self, other: &Digest, bits: usize) -> bool {
        let (whole, rest) = (bits / 8, bits % 8);
        self.0[..whole] == other.0[..whole]
            && (rest == 0 || (self.0[whole] ^ other.0[whole]) >> (8 - rest) == 0)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, out)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Digest({self})")
    }
}

/// Decodes into `out` exactly `2 * out.len()` hex digits; false (and `out` undefined) otherwise.
pub fn parse_hex(text: &str, out: &mut [u8]) -> bool {
    let digits = text.as_bytes();
    if digits.len() != out.len() * 2 {
        return false;
    }
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        let (Some(high), Some(low)) = (nibble(pair[0]), nibble(pair[1])) else {
            return false;
        };
        *byte = high << 4 | low;
    }
    true
}

/// The 16 bytes of an id: 32 hex digits, or a UUID with its hyphens.
pub(super) fn parse_id(text: &str) -> Option<[u8; 16]> {
    let hyphenated = text.len() == 36;
    let mut digits = String::with_capacity(32);
    for (column, letter) in text.chars().enumerate() {
        match letter {
            '-' if hyphenated && matches!(column, 8 | 13 | 18 | 23) => {}
            _ => digits.push(letter),
        }
    }
    let mut id = [0; 16];
    parse_hex(&digits, &mut id).then_some(id)
}

fn nibble(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).map(|value| value as u8)
}

/// The two digits of each byte.
const PAIRS: [[u8; 2]; 256] = {
    let digits = b"0123456789abcdef";
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [digits[byte >> 4], digits[byte & 15]];
        byte += 1;
    }
    pairs
};

/// Writes lower-case hex, 32 bytes at a time.
pub fn write_hex(bytes: &[u8], out: &mut impl fmt::Write) -> fmt::Result {
    let mut text = [0; 64];
    for chunk in bytes.chunks(32) {
        for (pair, byte) in text.chunks_exact_mut(2).zip(chunk) {
            pair.copy_from_slice(&PAIRS[usize::from(*byte)]);
        }
        let digits = &text[..2 * chunk.len()];
        out.write_str(std::str::from_utf8(digits).expect("digits are ASCII"))?;
    }
    Ok(())
}

/// Lower-case hex as text.
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    write_hex(bytes, &mut text).expect("writing to a String cannot fail");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_is_written_and_read_and_bad_hex_is_refused() {
        let digest = Digest::of(b"");
        let text = digest.to_string();
        assert_eq!(text, "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262");
        assert_eq!(Digest::parse(&text), Some(digest));
        assert_eq!(Digest::parse(&text.to_uppercase()), Some(digest));
        for bad in ["", &text[1..], &format!("{text}0"), &text.replace('a', "g")] {
            assert_eq!(Digest::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn bits_count_from_the_top_of_byte_zero() {
        let mut digest = Digest::ZERO;
        digest.0[0] = 0b0100_0000;
        digest.0[31] = 1;
        let set: Vec<usize> = (0..256).filter(|&depth| digest.bit(depth)).collect();
        assert_eq!(set, [1, 255]);
    }
}
