//! Work for the disk, and what becomes of it.
//!
//! In: the records of one batch. Out: their frames, for the disk thread. Never: knows a ticket.

use super::{Position, record};
use crate::model::Sealed;

/// Work for the disk, one piece at a time.
#[derive(Clone, Debug)]
pub enum Work {
    /// Write these records; flush if asked for.
    Write(Batch),
    /// Flush what was written.
    Flush,
}

/// Records to write in one go.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Where the first frame goes. At the first position of a segment, its file is new.
    pub position: Position,
    /// Shared with the queue: their bytes are reference-counted.
    pub records: Vec<Sealed>,
    /// What their frames take, so that the buffer is made in one piece.
    pub bytes: usize,
    /// Whether the answer waits for a flush.
    pub flush: bool,
    /// Bytes that the budget leaves behind the frames: preallocation beyond them would make the log
    /// larger than the operator allows. `None`: there is no budget.
    pub ahead: Option<u64>,
    /// Whether zeros may be written behind the frames for the flushes of later batches. Only where
    /// all records are [`super::Arrival::Single`]: of others more follow in large batches, for
    /// which each byte would be written twice.
    pub zeros: bool,
}

impl Batch {
    /// Appends the frames to `out`. The disk thread calls it: copies and checksums of a large batch
    /// would keep the state thread from its sockets.
    pub fn frames(&self, out: &mut Vec<u8>) {
        out.reserve(self.bytes);
        for sealed in &self.records {
            record::encode(&sealed.digest(), sealed.bytes(), out);
        }
    }
}

/// What became of the work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Done {
    /// The work is done and, if it was a flush, durable.
    Well,
    /// It could not be done; the log is as it was, and a later try may succeed.
    Undone(Obstacle),
}

/// Why the disk takes nothing for now. What is in the log stays readable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Obstacle {
    /// The file system, a quota or a limit on the size of files leaves no space.
    NoSpace,
    /// The file system or the file is read-only for this process.
    ReadOnly,
    /// The process or the machine has no file descriptor left.
    NoDescriptors,
    /// The log would be larger than it may be.
    Budget,
}

impl Obstacle {
    /// The name that health and metrics show.
    pub fn name(self) -> &'static str {
        match self {
            Obstacle::NoSpace => "disk_full",
            Obstacle::ReadOnly => "read_only",
            Obstacle::NoDescriptors => "no_descriptors",
            Obstacle::Budget => "disk_budget",
        }
    }

    /// For metrics, which show each with 0 or 1.
    pub const ALL: [Obstacle; 4] =
        [Obstacle::NoSpace, Obstacle::ReadOnly, Obstacle::NoDescriptors, Obstacle::Budget];
}
