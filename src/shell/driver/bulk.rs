//! Reads for peers that take long: many bodies, many hashes, a part of the log.
//!
//! In: what a peer wants, and how many bytes its answer may have. Out: what is here, read in
//! slices, one peer's after another's. All together may take a millisecond before the reactor looks
//! at its sockets again, so that a disk that takes 20 ms for a read delays a ping by one read,
//! however many peers ask.
//!
//! Never: reads more than fits into the answer, decides what an answer is.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::base::{Digest, limits};
use crate::journal::Bodies;
use crate::journal::record::frame_bytes;
use crate::model::Sealed;
use crate::replica::Replica;
use crate::shell::driver::Driver;
use crate::shell::runtime::reactor::{self, yield_now};
use crate::shell::runtime::semaphore::Semaphore;
use crate::sketch::{Part, ShortId};
use crate::store::{LeafScan, Row};
use crate::sync::{Records, RecordsAnswering, RowRange};

/// Time for reads between two looks at the sockets, and for one slice; a read that a disk is slow
/// with may take longer, and is the last one then.
const SLICE: Duration = Duration::from_millis(1);
/// Bodies that a slice reads at most.
const SLICE_BODIES: usize = 64;
/// Hashes that a slice lists at most: under a millisecond.
const SLICE_HASHES: usize = 1024;
/// Bytes of the log that a slice reads at most, in one go.
const SLICE_BYTES: u64 = 128 << 10;

/// Bytes of an answer of records beside their frames, whose heads are larger than the fields that
/// they become.
const RECORDS_HEAD_BYTES: usize = 64;

/// How many bytes of frames to read for an answer of at most `capacity` bytes: the last record may
/// begin within them and end beyond.
fn records_bytes(capacity: usize) -> u64 {
    let beyond = frame_bytes(limits::ASSERTION_BYTES_MAX) + RECORDS_HEAD_BYTES;
    (capacity.saturating_sub(beyond) as u64).clamp(1, limits::RECORDS_BYTES)
}

/// Bounds the time that reads for peers take from the state thread.
pub struct BulkReads {
    driver: Rc<Driver>,
    slices: Semaphore,
    /// The round of the reactor that was read in last, and the time that is left of it.
    round: Cell<u64>,
    left: Cell<Duration>,
}

/// A name under which an assertion is asked for.
pub trait Id: Copy {
    /// The assertion of this name, if it is here.
    fn find(self, replica: &Replica, bodies: &dyn Bodies) -> Option<Sealed>;
}

impl Id for Digest {
    fn find(self, replica: &Replica, bodies: &dyn Bodies) -> Option<Sealed> {
        bodies.sealed_at(replica.store().find(&self, bodies)?)
    }
}

impl Id for ShortId {
    fn find(self, replica: &Replica, bodies: &dyn Bodies) -> Option<Sealed> {
        let store = replica.store();
        bodies.sealed_at(store.position(store.find_short(self)?)?)
    }
}

impl BulkReads {
    /// Reads of the node behind `driver`.
    pub fn new(driver: Rc<Driver>) -> Rc<BulkReads> {
        let (round, left) = (Cell::new(0), Cell::new(SLICE));
        Rc::new(BulkReads { driver, slices: Semaphore::new(1), round, left })
    }

    /// The assertions of these names that are here, in order, until one more would not fit into
    /// `capacity` bytes; each counts with `overhead` besides.
    pub async fn find_all(
        &self,
        ids: Vec<impl Id>,
        capacity: usize,
        overhead: usize,
    ) -> Vec<Sealed> {
        let (mut found, mut left, mut next) = (Vec::new(), capacity, 0);
        self.slice_by_slice(|replica, bodies| {
            let begun = Instant::now();
            for _ in 0..SLICE_BODIES {
                let Some(id) = ids.get(next) else { return true };
                next += 1;
                let Some(sealed) = id.find(replica, bodies) else { continue };
                match left.checked_sub(sealed.bytes().len() + overhead) {
                    Some(rest) => left = rest,
                    None => return true,
                }
                found.push(sealed);
                if begun.elapsed() >= SLICE {
                    break;
                }
            }
            false
        })
        .await;
        found
    }

    /// The assertion of a row.
    pub async fn row(&self, row: Row) -> Option<Sealed> {
        let mut found = None;
        self.slice_by_slice(|replica, bodies| {
            found = replica.store().position(row).and_then(|at| bodies.sealed_at(at));
            true
        })
        .await;
        found
    }

    /// The records of some rows, as many as fit into `capacity` bytes, one at least.
    pub async fn records(&self, wanted: RowRange, capacity: usize) -> Records {
        let bytes = records_bytes(capacity);
        let mut answering =
            self.driver.read(|replica, _| RecordsAnswering::new(replica.store(), wanted, bytes));
        self.slice_by_slice(|replica, bodies| answering.step(SLICE_BYTES, replica.store(), bodies))
            .await;
        answering.into_records()
    }

    /// The next page of leaves for a connection, and whether the set holds more than that.
    pub async fn leaves(&self, connection: u64, max: u64) -> (Vec<Digest>, bool) {
        let mut page = self.driver.read(|replica, _| replica.begin_leaves(connection, max));
        self.slice_by_slice(|replica, _| page.step(SLICE_HASHES, replica.store())).await;
        self.driver.update(|replica, _, _| replica.end_leaves(connection, page))
    }

    /// The leaves of a part; of one that has many more than are answered, not all are listed.
    pub async fn leaves_of(&self, part: Part) -> Vec<Digest> {
        let mut scan = LeafScan::of_part(part, limits::LEAVES_MAX);
        self.slice_by_slice(|replica, _| scan.step(SLICE_HASHES, replica.store())).await;
        scan.into_leaves()
    }

    /// Calls `step` until it is true.
    async fn slice_by_slice(&self, mut step: impl FnMut(&Replica, &dyn Bodies) -> bool) {
        loop {
            let _slice = self.slices.acquire().await;
            while self.is_spent() {
                yield_now().await;
            }
            let begun = Instant::now();
            let is_over = self.driver.read(&mut step);
            self.left.set(self.left.get().saturating_sub(begun.elapsed()));
            if is_over {
                return;
            }
        }
    }

    /// Whether the reads of this round took their time already.
    fn is_spent(&self) -> bool {
        let rounds = reactor::current().expect("the reactor was made at the start").rounds();
        if self.round.replace(rounds) != rounds {
            self.left.set(SLICE);
        }
        self.left.get().is_zero()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Capacity, capacity};

    #[test]
    fn an_answer_of_records_has_many_and_fits_whatever_the_memory() {
        for memory in [capacity::LEAST, 27 << 20, 45 << 20, capacity::FULL] {
            let granted = Capacity::of(memory).grpc_unsent.min(limits::GRPC_MESSAGE_BYTES_MAX);
            let bytes = records_bytes(granted);
            assert!(bytes >= 128 << 10, "{bytes} of {granted} bytes");
            let most = bytes as usize + frame_bytes(limits::ASSERTION_BYTES_MAX);
            assert!(most < granted, "{most} of {granted} bytes");
        }
        assert_eq!(records_bytes(0), 1, "one at least");
    }
}
