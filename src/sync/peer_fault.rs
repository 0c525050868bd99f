//! What a session holds against its peer.
//!
//! In: what an answer said and what it should have said. Out: one sentence for the report.
//!
//! Never: quotes more of an answer than numbers and the peer's own reason, decides what follows.

use std::fmt;

use crate::base::limits;

/// An answer, or what is missing in it, that an honest and working peer does not give.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum PeerFault {
    /// An answer to no call, or of another kind than the call.
    OtherKind,
    /// Rows since a root, in answer to a request that carried none.
    RowsSinceNoRoot,
    /// More assertions taken than were given.
    TookTooMany {
        /// How many it says it took.
        taken: u64,
        /// How many the call carried.
        given: u64,
    },
    /// Records from another row than the one asked for.
    OtherRow {
        /// The row they begin at.
        row: u64,
        /// The row that was asked for.
        wanted: u64,
    },
    /// Records beyond the range that was asked for, which ends at this row.
    PastRow(u64),
    /// An answer that does not get beyond its first row.
    StaysAtRow {
        /// The row that the answer names.
        row: u64,
        /// How many rows the peer says it has.
        rows: u64,
    },
    /// So many leaves in one answer.
    TooManyLeaves(usize),
    /// Hashes outside a bucket, too many, or out of order.
    NotOfBucket,
    /// Fewer leaves shown than the peer says it has.
    HidesLeaves {
        /// How many were shown.
        known: u64,
        /// How many it says it has.
        count: u64,
    },
    /// Cells that no set has.
    NoSketch,
    /// So few differences found, though the peer said that more differs than sketches decode.
    Overstates(u64),
    /// Sets that differ by what the peer says, and no difference in its leaves.
    ShowsNoDifference,
    /// So many assertions whose bytes or signatures are false.
    FalseAssertions(u64),
    /// So many assertions named and not given.
    Withholds(usize),
    /// Too many answers that brought nothing.
    GivesNothing,
    /// An assertion refused, for this reason of the peer's.
    Refuses(String),
    /// Everything refused, for this reason of the peer's.
    TakesNothing(String),
}

impl fmt::Display for PeerFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PeerFault::OtherKind => f.write_str("the peer's answer is not of the kind asked for"),
            PeerFault::RowsSinceNoRoot => {
                f.write_str("the peer names rows since a root that it was not sent")
            }
            PeerFault::TookTooMany { taken, given } => {
                write!(f, "the peer took {taken} of {given} assertions")
            }
            PeerFault::OtherRow { row, wanted } => {
                write!(f, "the peer gave records from row {row}, asked for {wanted}")
            }
            PeerFault::PastRow(until) => {
                write!(f, "the peer gave records past row {until}, which ends them")
            }
            PeerFault::StaysAtRow { row, rows } => {
                write!(f, "the peer stays at row {row} of {rows}")
            }
            PeerFault::TooManyLeaves(count) => {
                write!(f, "{count} leaves in one answer, {} allowed", limits::LEAVES_MAX)
            }
            PeerFault::NotOfBucket => f.write_str("the peer's leaves are not those of a bucket"),
            PeerFault::HidesLeaves { known, count } => {
                write!(f, "the peer shows {known} of its {count} leaves")
            }
            PeerFault::NoSketch => f.write_str("the peer's cells are not those of a sketch"),
            PeerFault::Overstates(differing) => {
                write!(f, "the peer hides that only some {differing} differ")
            }
            PeerFault::ShowsNoDifference => {
                f.write_str("the peer says that the sets differ, and shows no difference")
            }
            PeerFault::FalseAssertions(bad) => {
                write!(f, "{bad} assertions of the peer did not match their hash or signature")
            }
            PeerFault::Withholds(lacking) => {
                write!(f, "the peer names {lacking} assertions that it does not give")
            }
            PeerFault::GivesNothing => {
                f.write_str("the peer does not give what its leaves promise")
            }
            PeerFault::Refuses(reason) => write!(f, "the peer refused an assertion: {reason}"),
            PeerFault::TakesNothing(reason) => write!(f, "the peer takes nothing: {reason}"),
        }
    }
}
