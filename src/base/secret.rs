//! Secrets that never show up: not in a log line, not in an answer, not in a debug print.
//!
//! In: text. Out: the text, by [`Secret::expose`] alone; a fingerprint that says whether another
//! text is the same. Never: compares byte by byte, which takes as long as the match is.

use std::fmt;

/// Longest secret, in bytes: one header holds it.
const BYTES_MAX: usize = 256;

/// Text that no header can carry, and so no secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnfitSecret;

impl fmt::Display for UnfitSecret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("takes 1 to 256 visible ASCII characters without spaces")
    }
}

/// A secret that the node has to say itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes 1 to 256 visible ASCII characters, which is what a header may carry.
    pub fn new(text: &str) -> Result<Secret, UnfitSecret> {
        let is_good = (1..=BYTES_MAX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        if is_good { Ok(Secret(text.to_owned())) } else { Err(UnfitSecret) }
    }

    /// The secret itself, for the one header it goes into.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What is kept to recognise it.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint(blake3::hash(self.0.as_bytes()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret(***)")
    }
}

/// The BLAKE3 hash of a secret.
#[derive(Clone, Copy)]
pub struct Fingerprint(blake3::Hash);

impl Fingerprint {
    /// Whether `candidate` is the secret; takes the same time whatever it is.
    pub fn matches(&self, candidate: &[u8]) -> bool {
        // The crate compares its hashes in constant time.
        self.0 == blake3::hash(candidate)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Fingerprint(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_recognised_and_never_shown() {
        let secret = Secret::new("correct-horse").expect("visible");
        let kept = secret.fingerprint();
        assert!(kept.matches(b"correct-horse"));
        for other in ["", "correct-hors", "correct-horse ", "Correct-horse"] {
            assert!(!kept.matches(other.as_bytes()), "{other:?}");
        }
        assert!(!format!("{secret:?}{kept:?}").contains("horse"));
    }

    #[test]
    fn what_no_header_carries_is_no_secret() {
        for text in ["", "two words", "line\n", "sch\u{f6}n", &"x".repeat(BYTES_MAX + 1)] {
            assert!(Secret::new(text).is_err(), "{text:?}");
        }
        assert!(Secret::new(&"x".repeat(BYTES_MAX)).is_ok());
    }
}
