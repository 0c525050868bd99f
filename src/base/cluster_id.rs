//! Which cluster a node belongs to.
//!
//! In: bytes, text. Out: a value to compare and to show. Never: decides which one a node takes.

use std::fmt;

use super::digest;

/// Identity of a cluster: 16 bytes, made by its first node and kept by all of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(pub [u8; 16]);

impl ClusterId {
    /// From 32 hex digits or a UUID with its hyphens; all zeros are none.
    pub fn parse(text: &str) -> Option<ClusterId> {
        digest::parse_id(text).filter(|id| *id != [0; 16]).map(ClusterId)
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        digest::write_hex(&self.0, out)
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "ClusterId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_as_it_is_shown() {
        let hex = "00112233445566778899aabbccddeeff";
        assert_eq!(ClusterId::parse(hex).map(|id| id.to_string()).as_deref(), Some(hex));
        assert_eq!(ClusterId::parse("00112233-4455-6677-8899-aabbccddeeff"), ClusterId::parse(hex));
        for bad in ["", "0", &"0".repeat(32), &"g".repeat(32)] {
            assert_eq!(ClusterId::parse(bad), None, "{bad:?}");
        }
    }
}
