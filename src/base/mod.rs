//! Values that every layer uses: ids, digests, time and bounds.
//!
//! In: nothing. Out: plain value types. Never: anything about assertions or peers.

pub mod calendar;
pub mod capacity;
pub mod client;
pub mod clock;
pub mod cluster_id;
pub mod digest;
pub mod exact;
pub mod fair_slots;
pub mod limits;
pub mod number;
pub mod random;
pub mod secret;
pub mod stream;
pub mod table;

pub use capacity::Capacity;
pub use client::Client;
pub use clock::{Hlc, HlcClock, Moment, Wall};
pub use cluster_id::ClusterId;
pub use digest::Digest;
pub use fair_slots::FairSlots;
pub use random::Random;
pub use secret::Secret;

use std::fmt;

/// Identity of a node: 16 bytes, made once and kept in its data directory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct NodeId(pub [u8; 16]);

impl NodeId {
    /// No node: the stamp of an assertion whose HLC came from its body alone.
    pub const NONE: NodeId = NodeId([0; 16]);

    /// From a slice; `None` unless it is 16 bytes long.
    pub fn from_slice(bytes: &[u8]) -> Option<NodeId> {
        bytes.try_into().ok().map(NodeId)
    }

    /// From 32 hex digits or a UUID with its hyphens.
    pub fn parse(text: &str) -> Option<NodeId> {
        digest::parse_id(text).map(NodeId)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        digest::write_hex(&self.0, out)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "NodeId({self})")
    }
}

/// Names one waiting caller, so that the answer is delivered to it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ticket(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_id_reads_hex_and_uuid_and_nothing_else() {
        let hex = "00112233445566778899aabbccddeeff";
        let uuid = "00112233-4455-6677-8899-aabbccddeeff";
        assert_eq!(NodeId::parse(hex), NodeId::parse(uuid));
        assert_eq!(NodeId::parse(uuid).map(|id| id.to_string()).as_deref(), Some(hex));
        for bad in [
            "",
            "0011",
            "0011223344556677-8899aabbccddeeff",
            &hex[1..],
            "zz112233445566778899aabbccddeeff",
        ] {
            assert_eq!(NodeId::parse(bad), None, "{bad:?}");
        }
    }
}
