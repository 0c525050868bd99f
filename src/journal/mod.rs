//! The log: what a record is, how assertions become durable, what is known of damage.
//!
//! In: assertions, and what became of each write. Out: batches for the disk, and assertions that
//! are committed. Never: opens a file, reads a clock.

mod bulk;
pub mod damage;
mod queue;
pub mod record;
mod refusal;
mod tickets;
mod work;

use std::time::Duration;

use crate::base::{Digest, Moment, limits};
use crate::model::Sealed;
pub use queue::{CommitQueue, Output};
pub use refusal::Refusal;
pub use tickets::Tickets;
pub use work::{Batch, Done, Obstacle, Work};

/// Where a record's frame starts: segment number times [`limits::SEGMENT_BYTES_MAX`], plus the
/// offset in the segment. Always a multiple of [`record::ALIGNMENT`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Position(pub u64);

impl Position {
    /// Of the first record in a segment.
    pub fn first_of(segment: u64) -> Position {
        Position(segment * limits::SEGMENT_BYTES_MAX + record::SEGMENT_HEAD_BYTES as u64)
    }

    /// The number of the segment that the position is in.
    pub fn segment(self) -> u64 {
        self.0 / limits::SEGMENT_BYTES_MAX
    }

    /// The offset in the segment's file.
    pub fn offset(self) -> u64 {
        self.0 % limits::SEGMENT_BYTES_MAX
    }
}

/// An assertion that is in the log, as durable as the setting promises. Only the queue makes one,
/// after its write, and recovery, which read it back: the index can hold nothing that a power cut
/// takes away.
#[derive(Clone, Debug)]
pub struct Committed {
    position: Position,
    sealed: Sealed,
}

impl Committed {
    /// What recovery read back from the log; `tests/layers.rs` lets no other module call this.
    pub(crate) fn recovered(position: Position, sealed: Sealed) -> Committed {
        Committed { position, sealed }
    }

    /// Where the record's frame starts in the log.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The assertion that was committed.
    pub fn sealed(&self) -> &Sealed {
        &self.sealed
    }
}

/// Read access to what is in the log. The shell's reads files, the tests' memory.
pub trait Bodies {
    /// The digest in the head of the frame at a position.
    fn digest_at(&self, at: Position) -> Option<Digest>;
    /// The record at a position; `None` if it cannot be read or is damaged.
    fn sealed_at(&self, at: Position) -> Option<Sealed>;
    /// The records at these positions, which ascend in one segment and lie close together; those
    /// that cannot be read or are damaged are left out.
    fn sealed_at_all(&self, positions: &[Position]) -> Vec<Sealed> {
        positions.iter().filter_map(|at| self.sealed_at(*at)).collect()
    }
    /// Which record a damaged one at a position was, as far as what is left of it tells.
    fn name_at(&self, at: Position) -> Option<Digest> {
        self.digest_at(at)
    }
}

/// How an assertion comes to the queue: what it may wait for, and what its batch may cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arrival {
    /// Its caller waits for it alone, and for no other.
    Single,
    /// A peer gives it with others that were missing here. It waits for none of them. More follow
    /// until this node has caught up, so that zeros ahead of them would be written in vain.
    Given,
    /// A client has many of them. Until they are a large batch, they wait up to [`BATCH_SPACING`]
    /// from this time for more, or until [`CommitQueue::handle_bulk_end`].
    Bulk(Moment),
}

/// When an assertion is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Durability {
    /// After its flush, which starts as soon as the disk is idle.
    #[default]
    Immediate,
    /// After its flush; flushes start at least [`BATCH_SPACING`] apart.
    Batched,
    /// After its write; a flush follows within [`EVENTUAL_SPACING`].
    Eventual,
}

/// What `batched` waits between flushes, and a few assertions that come in bulk for more of them.
pub const BATCH_SPACING: Duration = Duration::from_millis(5);
/// Batches from here on are large: they are worth a flush, and space is set aside for them instead
/// of zeros.
pub const LARGE_BATCH_BYTES: usize = 256 << 10;
/// What `eventual` waits between flushes.
pub const EVENTUAL_SPACING: Duration = Duration::from_secs(1);

/// How the log is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// When an assertion is answered.
    pub durability: Durability,
    /// What the log may take, in bytes of heads and frames; `None`: what the disk has.
    pub bytes_max: Option<u64>,
    /// Bytes that may wait for their flush.
    pub waiting_bytes_max: usize,
    /// Bytes that one flush writes at most; an assertion of the largest size fits.
    pub batch_bytes_max: usize,
    /// Whether small batches are followed by zeros, which later flushes are quicker for.
    pub zeros: bool,
    /// Random, so that no client can choose assertions whose digests share a slot of a table.
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            durability: Durability::default(),
            bytes_max: None,
            waiting_bytes_max: limits::COMMIT_QUEUE_BYTES_MAX,
            batch_bytes_max: limits::BATCH_BYTES_MAX,
            zeros: true,
            seed: 0,
        }
    }
}

#[cfg(test)]
mod tests;
