//! Why the log does not take an assertion.
//!
//! In: nothing. Out: the reason, and a sentence for the client or peer that offered it. Never:
//! knows a status.

use std::fmt;

use super::Obstacle;

/// Why an assertion was not taken; nothing changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// More waits for the disk than the node holds in memory: a later try may succeed.
    Busy,
    /// The log is as large as the operator allows.
    Budget {
        /// The disk budget that the record would pass.
        bytes_max: u64,
    },
    /// The disk takes nothing now, for this reason; reads go on.
    Disk(Obstacle),
    /// The index of older assertions cannot be written, and no more of it fits in memory.
    Index,
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Busy => write!(out, "too many writes wait for the disk, try again"),
            Refusal::Budget { bytes_max } => {
                write!(out, "the log has reached its limit of {bytes_max} bytes")
            }
            Refusal::Disk(Obstacle::NoSpace) => write!(out, "the disk is full"),
            Refusal::Disk(Obstacle::ReadOnly) => {
                write!(out, "the data directory is read-only, claims go to another node")
            }
            Refusal::Disk(Obstacle::Budget) => write!(out, "the log has reached its limit"),
            Refusal::Disk(Obstacle::NoDescriptors) => {
                write!(out, "no file descriptor is left for the log, try again soon")
            }
            Refusal::Index => write!(
                out,
                "the index of older assertions cannot be written and no more of it fits in memory"
            ),
        }
    }
}
