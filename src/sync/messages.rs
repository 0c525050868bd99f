//! What a session asks of its peer and wants done, and what comes back.
//!
//! In: nothing. Out: plain value types. Never: knows how they travel, judges what they say.

use crate::base::Digest;
use crate::model::Sealed;
use crate::sketch::{Cell, LowCounts, Part, ShortId};

/// What a session asks of the peer.
#[derive(Clone, Debug)]
pub enum Request {
    /// `ExchangeRoots` with our root and count.
    Roots {
        /// The root of our set when the session began.
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

/// A request for cells of the peer's sketch.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SketchRequest {
    /// The first cell; those before it are here already.
    pub from: usize,
    /// How many cells; 0 if `low_counts` say it.
    pub cells: usize,
    /// How many assertions we hold.
    pub count: u64,
    /// Low bits of the counts of our cells. The peer estimates the difference by them and answers
    /// as many cells as that takes, less those before `from`.
    pub low_counts: LowCounts,
    /// The first 8 bytes of our root, by which the peer may know what we lack; 0 if not sent.
    pub root: u64,
    /// The part whose sketch is asked for; `None` for the whole set.
    pub part: Option<Part>,
}

/// A row of a peer. A peer that rebuilds its index numbers its rows anew.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RowCursor {
    /// The number that the peer drew for its index; 0 before any answer named one, as a field of
    /// the message that is not set reads.
    pub numbering: u64,
    /// Position in the order of the peer's log.
    pub row: u64,
}

/// A request for rows of the peer's log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RowRange {
    /// The row that the answer begins with.
    pub from: RowCursor,
    /// The row that ends the range; `None` for as many as one answer takes.
    pub until: Option<u64>,
}

/// The rows that an answer covers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Span {
    /// The first row, whether or not its record is readable.
    pub from: RowCursor,
    /// The row that follows the last one.
    pub next: u64,
    /// How many rows the peer has.
    pub rows: u64,
}

/// Some of the peer's assertions.
#[derive(Clone, Debug, Default)]
pub struct Records {
    /// The rows of the callee's log that these are.
    pub span: Span,
    /// Those whose bytes are an assertion.
    pub good: Vec<Sealed>,
    /// How many records were no assertion, or carried a false signature.
    pub bad: u64,
}

/// The cells, and the set they were read from.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SketchReply {
    /// The index of the first cell.
    pub from: usize,
    /// Cells of the peer's sketch, from the index that was asked for.
    pub cells: Vec<Cell>,
    /// How many assertions it held at that moment.
    pub count: u64,
    /// About how many assertions only one of us has, if the request carried low counts.
    pub estimate: u64,
    /// With the first cells of the whole set: counts by which we estimate an order of magnitude.
    pub hint: Vec<u8>,
    /// Where the rows begin that are all we lack, if the peer had our root once.
    pub since: Option<RowCursor>,
    /// The part that was asked for; `None` if the peer has no parts, or this one is too large.
    pub part: Option<Part>,
}

/// What the peer answered; its kind is that of the request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// To [`Request::Roots`].
    Roots {
        /// Whether the peer calls the sets equal.
        matched: bool,
        /// How many assertions it says it holds.
        count: u64,
    },
    /// To [`Request::Leaves`] and [`Request::LeavesOf`].
    Leaves {
        /// Some or all of its leaves.
        leaves: Vec<Digest>,
        /// Whether there are more than one page holds.
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
        /// How many it took, including those that it had.
        taken: u64,
        /// Empty if it took all, else why not.
        refusal: String,
    },
    /// To [`Request::Fetch`] and [`Request::FetchShort`]: the assertions whose bytes hash to what
    /// was asked for.
    Fetched {
        /// Assertions that hash to what was asked for and are signed rightly.
        good: Vec<Sealed>,
        /// How many did not hash right, or carried a false signature.
        bad: u64,
    },
    /// To [`Request::Gossip`].
    Gossiped {
        /// Empty if the peer took it, else why not.
        refusal: String,
    },
}

/// The first 8 bytes of a root: enough to look a root up among those that a node remembers, since a
/// false match only costs a pull that brings nothing new.
pub fn short_root(root: &Digest) -> u64 {
    u64::from_le_bytes(*root.0.first_chunk().expect("a digest has 32 bytes"))
}

/// What a session wants done next.
#[derive(Clone, Debug)]
pub enum Output {
    /// Send this; the answer comes back under the number.
    Call(u32, Request),
    /// Store this assertion; its fate comes back under the number, by
    /// [`super::Session::handle_stored`].
    Offer(u32, Sealed),
    /// Serve others first; then call [`super::Session::handle_resumed`].
    Yield,
    /// The session is over.
    Done,
}

/// What became of an assertion that a session offered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stored {
    /// It is stored, and was not here before.
    New,
    /// It was here already.
    Known,
    /// It could not be stored, for this reason.
    Failed(String),
}
