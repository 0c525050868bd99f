//! Those of the waiting assertions that came in bulk: their part of the queue, and how long a few
//! of them wait for more of their kind.
//!
//! In: assertions that come in bulk, and those that are sent off; time. Out: whether one more has
//! space, whether a batch is worth its flush yet. Never: holds an assertion.

use super::{BATCH_SPACING, LARGE_BATCH_BYTES};
use crate::base::{Moment, limits};

/// Assertions that came in bulk and wait for their flush.
#[derive(Debug)]
pub(super) struct Bulk {
    /// They have a bound of their own, so that an import leaves the others their part of the queue.
    pub(super) records: usize,
    /// Bytes of their frames, for the same reason.
    pub(super) bytes: usize,
    /// Until then a few of them wait for more: a flush for each few would cost a slow disk its time
    /// and flash its life.
    pub(super) gathers_until: Moment,
}

impl Bulk {
    pub(super) fn new() -> Bulk {
        Bulk { records: 0, bytes: 0, gathers_until: Moment::ZERO }
    }

    /// Whether there is space for one more of so many bytes, `waiting_bytes` of `bytes_max` being
    /// taken by all that waits.
    pub(super) fn has_space(&self, bytes: usize, waiting_bytes: usize, bytes_max: usize) -> bool {
        // One fits in any case, however small the memory: a batch of large ones must not stand.
        let is_alone = self.records == 0 && waiting_bytes + bytes <= bytes_max;
        let fits = self.bytes + bytes <= bytes_max / 2;
        self.records < limits::BULK_QUEUE_MAX && (fits || is_alone)
    }

    pub(super) fn add(&mut self, now: Moment, bytes: usize) {
        if self.records == 0 {
            self.gathers_until = now + BATCH_SPACING;
        }
        self.records += 1;
        self.bytes += bytes;
    }

    /// So many were sent off.
    pub(super) fn remove(&mut self, records: usize, bytes: usize) {
        self.records -= records;
        self.bytes -= bytes;
    }

    /// Those that are here wait for no more.
    pub(super) fn end(&mut self) {
        self.gathers_until = Moment::ZERO;
    }

    /// Whether they may wait for more, `waiting` being all that wait: not if another one does, and
    /// not once they are a large batch.
    pub(super) fn may_gather(&self, waiting: usize) -> bool {
        self.records > 0 && self.records == waiting && self.bytes < LARGE_BATCH_BYTES
    }
}
