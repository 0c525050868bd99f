//! What is wrong with a message that a peer sent, beyond protobuf's own rules.
//!
//! In: lengths, counts and addresses that were found. Out: [`BadMessage`], whose text says what
//! would be right. Never: holds foreign text that could move a cursor.

use std::fmt;

use crate::base::limits;
use crate::model::Malformed;

/// A message that breaks a rule of `proto/`. Its sender is at fault; nothing changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BadMessage {
    /// A `node_id` of a member has another length than 16, or is all zeros.
    NodeId {
        /// The length of the id.
        bytes: usize,
    },
    /// The `node_id` of a peer's answer has another length than 16.
    PeerId {
        /// The length of the id.
        bytes: usize,
    },
    /// The `node_id` of a caller has another length than 16, and is there.
    CallerId {
        /// The length of the id.
        bytes: usize,
    },
    /// The `hlc_node_id` beside a clock has another length than 16.
    StampNode {
        /// The length of the id.
        bytes: usize,
    },
    /// The hash beside an assertion has another length than 32.
    AssertionHash {
        /// The length of the hash.
        bytes: usize,
    },
    /// The bytes of an assertion are not what they are said to be.
    Body(Malformed),
    /// A Merkle root of another length than 32.
    Root {
        /// The length of the root.
        bytes: usize,
    },
    /// Too many hashes.
    HashCount(usize),
    /// A hash of another length than 32 among those that are asked for.
    Hash {
        /// The length of the hash.
        bytes: usize,
    },
    /// A hash of another length than 32 among the leaves of an answer.
    Leaf {
        /// The length of the hash.
        bytes: usize,
    },
    /// Text that is no address, made fit to be shown.
    Address(String),
    /// An address that means another machine there than here.
    NotDialable(String),
    /// Too many membership updates.
    UpdateCount(usize),
    /// Too many counts in a request for a sketch.
    LowCounts(usize),
    /// Cells that do not end with the message, or too many.
    Cells {
        /// The length of the cells.
        bytes: usize,
    },
    /// A part of the set of more bits than there may be.
    PartBits(u32),
    /// A part of the set whose number has more bits than it says.
    PartNumber {
        /// The number of the part among those of as many bits.
        number: u32,
        /// The bits that it may have.
        bits: u32,
    },
    /// A request about a part that names none.
    PartMissing,
    /// Leaves that are not whole, or too many.
    Leaves {
        /// The length of the leaves.
        bytes: usize,
    },
    /// Digests of another number of buckets.
    Digests {
        /// The length of the digests.
        bytes: usize,
    },
    /// Short ids that are not whole.
    ShortIdBytes {
        /// The length of the ids.
        bytes: usize,
    },
    /// Too many short ids.
    ShortIdCount(usize),
}

impl fmt::Display for BadMessage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadMessage::NodeId { bytes } => {
                write!(out, "node_id has {bytes} bytes, it takes 16 that are not all 0")
            }
            BadMessage::PeerId { bytes } => {
                write!(out, "the peer's node_id has {bytes} bytes, not 16")
            }
            BadMessage::CallerId { bytes } => {
                write!(out, "node_id has {bytes} bytes, it takes 16")
            }
            BadMessage::StampNode { bytes } => {
                write!(out, "hlc_node_id has {bytes} bytes, it takes 16")
            }
            BadMessage::AssertionHash { bytes } => {
                write!(out, "assertion_hash has {bytes} bytes, it takes 32")
            }
            BadMessage::Body(malformed) => malformed.fmt(out),
            BadMessage::Root { bytes } => write!(out, "merkle_root has {bytes} bytes, not 32"),
            BadMessage::HashCount(count) => {
                let allowed = limits::FETCH_HASHES_MAX;
                write!(out, "{count} hashes in one request, at most {allowed}")
            }
            BadMessage::Hash { bytes } => write!(out, "a hash has {bytes} bytes, each takes 32"),
            BadMessage::Leaf { bytes } => write!(out, "the peer gave a leaf of {bytes} bytes"),
            BadMessage::Address(shown) => {
                write!(out, "an address takes host:port, not {shown:?}")
            }
            BadMessage::NotDialable(address) => {
                write!(out, "{address:?} does not lead to another machine from here")
            }
            BadMessage::UpdateCount(count) => {
                let allowed = limits::MEMBERS_MAX;
                write!(out, "{count} membership updates in one message, at most {allowed}")
            }
            BadMessage::LowCounts(count) => {
                let allowed = limits::SKETCH_LOW_COUNTS_MAX;
                write!(out, "{count} counts in one request, at most {allowed}")
            }
            BadMessage::Cells { bytes } => {
                write!(out, "the peer's cells have {bytes} bytes, each takes 12 or one less")
            }
            BadMessage::PartBits(bits) => {
                write!(out, "a part of {bits} bits, at most {}", limits::PART_BITS_MAX)
            }
            BadMessage::PartNumber { number, bits } => {
                write!(out, "part {number} has more than {bits} bits")
            }
            BadMessage::PartMissing => write!(out, "no part is named"),
            BadMessage::Leaves { bytes } => {
                let allowed = limits::LEAVES_MAX;
                write!(out, "leaves of {bytes} bytes, at most {allowed} of 32 each")
            }
            BadMessage::Digests { bytes } => {
                write!(out, "digests of {bytes} bytes, not 8 for each bucket")
            }
            BadMessage::ShortIdBytes { bytes } => {
                write!(out, "ids has {bytes} bytes, each id takes 8")
            }
            BadMessage::ShortIdCount(count) => {
                let allowed = limits::FETCH_SHORT_MAX;
                write!(out, "{count} ids in one request, at most {allowed}")
            }
        }
    }
}

impl std::error::Error for BadMessage {}
