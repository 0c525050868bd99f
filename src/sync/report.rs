//! What a session came to, and how far it is.
//!
//! In: nothing. Out: plain value types for the API, the metrics and the next session. Never: says
//! more than the session saw, holds an assertion.

use crate::base::NodeId;
use crate::sketch::ShortId;

/// What sketches decoded to: how many ids, and their sum modulo 2^64.
pub type DecodedSum = (u64, ShortId);

/// What a session gave and took, for `POST /v1/admin/sync`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionReport {
    /// The peer's identity, if it is known.
    pub node_id: Option<NodeId>,
    /// Assertions taken from the peer and stored.
    pub received: u64,
    /// Assertions the peer took from us.
    pub sent: u64,
    /// gRPC message bytes received, with their 5-byte prefixes.
    pub bytes_in: u64,
    /// gRPC message bytes sent, with their 5-byte prefixes.
    pub bytes_out: u64,
    /// Of both: bytes of assertions.
    pub body_bytes: u64,
    /// How many assertions the peer held at the start.
    pub peer_count: u64,
    /// Requests that had to be answered before the difference was known.
    pub rounds: u64,
    /// Milliseconds from first request to last answer.
    pub ms: u64,
    /// The peer has no sketches.
    pub lacks_sketch: bool,
    /// What the sketches decoded to, if they did, of sets whose roots differ. The next session
    /// compares it with its own: the same ids again are a sign of colliding short ids.
    pub decoded: Option<DecodedSum>,
    /// Whole hashes were compared as well, so that no colliding short id was missed.
    pub checked_collisions: bool,
    /// The peer's answers were false, or led nowhere; [`SessionReport::error`] says how.
    pub is_useless: bool,
    /// Why the session ended early or did less than all.
    pub error: Option<String>,
}

impl SessionReport {
    /// The sketches showed no difference although the roots differ.
    pub fn is_blind(&self) -> bool {
        self.decoded == Some((0, 0)) && !self.checked_collisions
    }
}

/// How far a session is, for the status page and the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The phase: compare, pull, sketch, exchange, collisions, walk, push, or end.
    pub phase: &'static str,
    /// Assertions taken from the peer and stored.
    pub received: u64,
    /// Assertions the peer took from us.
    pub sent: u64,
    /// Assertions known to be missing here; in a pull the peer's rows still to come.
    pub to_receive: u64,
    /// Assertions known to be missing there.
    pub to_send: u64,
    /// gRPC message bytes received, with their 5-byte prefixes.
    pub bytes_in: u64,
    /// gRPC message bytes sent, with their 5-byte prefixes.
    pub bytes_out: u64,
}

/// What one call cost: gRPC message bytes with their 5-byte prefixes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WireBytes {
    /// To the peer.
    pub sent: u64,
    /// From the peer.
    pub received: u64,
    /// Of both: bytes of assertions.
    pub body: u64,
}

/// Sessions with one peer that ended since the start, for `/metrics`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SessionCounts {
    /// All of them, useful or not.
    pub all: u64,
    /// Those that ended because the peer's answers were false or led nowhere.
    pub useless: u64,
}
