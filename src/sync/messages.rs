//! What a session asks of its peer, what comes back, and what it all came to.
//!
//! In: nothing. Out: plain value types. Never: knows how they travel.

use super::collision_check::{DecodedSum, PeerHistory};
use crate::base::{Digest, NodeId};
use crate::model::Sealed;
use crate::sketch::{Cell, LowCounts, Part, ShortId};

/// How a session finds out what differs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Strategy {
    /// By sketches, if the peer has them and they tell; whether they do, what they told before
    /// shows.
    Sketches(PeerHistory),
    /// By the five standard calls alone. The peer's roots may be of another kind of tree.
    Leaves,
}

/// What a session asks of the peer.
#[derive(Clone, Debug)]
pub enum Request {
    /// `ExchangeRoots` with our root and count.
    Roots {
        /// Our Merkle root.
        root: Digest,
        /// How many assertions we hold.
        count: u64,
    },
    /// `GetLeaves`, a full page.
    Leaves,
    /// `FetchAssertions`, at most `FETCH_HASHES_MAX`.
    Fetch(Vec<Digest>),
    /// `Gossip` of an assertion the peer lacks.
    Gossip(Sealed),
    /// `Sketch` of the peer's set.
    Sketch(SketchRequest),
    /// `Records`: the peer's assertions in the order of its log.
    Records(RowRange),
    /// `Digests` of the peer's buckets.
    Digests,
    /// `LeavesOf` a bucket of the peer's.
    LeavesOf(Part),
    /// `FetchShort`: assertions by short id, at most `FETCH_SHORT_MAX`.
    FetchShort(Vec<ShortId>),
    /// `Give`: assertions the peer lacks.
    Give(Vec<Sealed>),
}

/// Which cells of the peer's sketch are wanted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SketchRequest {
    /// The first of them.
    pub from: usize,
    /// How many; nothing where low counts are given.
    pub cells: usize,
    /// How many assertions we hold.
    pub count: u64,
    /// Low bits of the counts of our cells: the peer then answers as many cells as the difference
    /// asks for, less those before `from`.
    pub low_counts: LowCounts,
    /// The first 8 bytes of our root.
    pub root: u64,
    /// Of the whole set, or of a part.
    pub part: Option<Part>,
}

/// A row of a peer. RowSet are numbered anew when a peer makes its index anew.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RowCursor {
    /// Tells numberings apart; 0: of none yet.
    pub numbering: u64,
    /// The row.
    pub row: u64,
}

/// Which of the peer's rows are wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RowRange {
    /// The first.
    pub from: RowCursor,
    /// All before this one, as far as one answer takes them.
    pub until: u64,
}

/// Which of the peer's rows an answer is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Span {
    /// The first, readable or not.
    pub from: RowCursor,
    /// The row to go on with.
    pub next: u64,
    /// How many rows the peer has.
    pub rows: u64,
}

/// Some of the peer's assertions.
#[derive(Clone, Debug, Default)]
pub struct Records {
    /// Where they come from.
    pub span: Span,
    /// Those whose bytes are an assertion.
    pub good: Vec<Sealed>,
    /// How many are none, or carried a false signature.
    pub bad: u64,
}

/// The cells, and the set they were read from.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SketchReply {
    /// The first of them.
    pub from: usize,
    /// The peer's cells.
    pub cells: Vec<Cell>,
    /// How many assertions it held at that moment.
    pub count: u64,
    /// About how many assertions only one of us has, where counts told.
    pub estimate: u64,
    /// What tells about how much differs, with the first cells; empty from an older peer.
    pub hint: Vec<u8>,
    /// Where the rows begin that are all we lack, if the peer had our root once.
    pub since: Option<RowCursor>,
    /// The part that was asked for, if the peer knows parts.
    pub part: Option<Part>,
}

/// What the peer answered; its kind is that of the request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// To [`Request::Roots`].
    Roots {
        /// Does the peer call the sets equal?
        matched: bool,
        /// How many assertions it says it holds.
        count: u64,
    },
    /// To [`Request::Leaves`] and [`Request::LeavesOf`].
    Leaves {
        /// Some or all of its leaves.
        leaves: Vec<Digest>,
        /// Are there more than one page holds?
        truncated: bool,
    },
    /// To [`Request::Sketch`].
    Sketch(SketchReply),
    /// To [`Request::Records`].
    Records(Records),
    /// To [`Request::Digests`]: 8 bytes of each.
    Digests(Vec<ShortId>),
    /// To [`Request::Sketch`] and others of its kind, by a peer that has no such call.
    Unsupported,
    /// To [`Request::Give`].
    Given {
        /// How many it took, those it had included.
        taken: u64,
        /// Empty when it took all, else why not.
        refusal: String,
    },
    /// To [`Request::Fetch`] and [`Request::FetchShort`]: the assertions whose bytes hash to what
    /// was asked for.
    Fetched {
        /// Checked assertions.
        good: Vec<Sealed>,
        /// How many did not hash right, or carried a false signature.
        bad: u64,
    },
    /// To [`Request::Gossip`].
    Gossiped {
        /// Empty when the peer took it, else why not.
        refusal: String,
    },
}

impl SessionReport {
    /// The sketches showed no difference although the roots differ.
    pub fn is_blind(&self) -> bool {
        self.decoded == Some((0, 0)) && !self.checked_collisions
    }
}

/// What a session gave and took, for `POST /v1/admin/sync`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionReport {
    /// The peer's identity, where it told it.
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
    /// What the sketches told, if they did, of sets whose roots differ.
    pub decoded: Option<DecodedSum>,
    /// What they hide was found out as well.
    pub checked_collisions: bool,
    /// The peer's answers were false, or led nowhere; [`SessionReport::error`] says how.
    pub is_useless: bool,
    /// Why the session ended early or did less than all.
    pub error: Option<String>,
}

/// How far a session is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// What it does: compare, pull, sketch, exchange, collisions, walk, push, or end.
    pub phase: &'static str,
    /// Assertions taken from the peer and stored.
    pub received: u64,
    /// Assertions the peer took from us.
    pub sent: u64,
    /// Assertions known to be wanted from the peer; in a pull the peer's rows still to come.
    pub to_receive: u64,
    /// Assertions known to be wanted by the peer.
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
