//! Group commit: makes sealed assertions committed.
//!
//! In: assertions, one at a time, and what became of each write. Out: at most one write at a time,
//! and after its flush the same assertions with their positions. What arrives while the disk is
//! busy is the next batch, so there is no timer unless the durability setting asks for one.
//!
//! ```text
//!   enqueue           handle_timeout            handle_done             poll_output
//! ----------> waiting --------------> in flight -------------> completed ------------> Committed
//!    |                                    |
//!    +--> Refusal                         +--> Refused: the log ends where it did before
//! ```
//!
//! Never: opens a file, reads a clock, changes the order.

use std::collections::{HashMap, VecDeque};

use super::bulk::Bulk;
use super::{
    Arrival, BATCH_SPACING, Batch, Committed, Config, Done, Durability, EVENTUAL_SPACING, Obstacle,
    Position, Refusal, Tickets, Work, record,
};
use crate::base::table::DigestState;
use crate::base::{Digest, Moment, Ticket, limits};
use crate::model::Sealed;

/// What the queue wants done, and what it answers.
#[derive(Debug)]
pub enum Output {
    /// The disk thread does this next.
    Work(Work),
    /// Committed, and the tickets of those that wait for it, the first offer first.
    Committed(Committed, Tickets),
    /// Not taken after all, and the tickets of those that wait for it.
    Refused(Refusal, Tickets),
}

#[derive(Debug)]
struct QueuedRecord {
    sealed: Sealed,
    /// An assertion that is offered again while it is in the queue is written once.
    tickets: Tickets,
    /// Whose part of the queue it takes, and whether zeros may follow its batch.
    arrival: Arrival,
}

/// Capacity for records that is kept while there are none: a burst of 100,000 claims must not cost
/// the node its memory afterwards.
const CAPACITY_KEPT: usize = 64;

/// Consecutive records of the queue, and the position of the first one's frame.
#[derive(Clone, Copy, Debug)]
struct Extent {
    position: Position,
    records: usize,
}

/// Assertions on their way to the disk.
#[derive(Debug)]
pub struct CommitQueue {
    config: Config,
    /// Where the next batch goes. A refused batch moves it back.
    tail: Position,
    /// Bytes of the log with what is in flight: the budget counts what will be there.
    used: u64,
    /// First those that are completed, then those in flight, then those that wait. One list: a
    /// record changes its state without being moved.
    records: VecDeque<QueuedRecord>,
    /// The number of the first record; each has the next. Numbers stay true while the front of the
    /// list goes, where indices would not.
    first: u64,
    /// Numbers by digest, to find an assertion that is offered again. Its order is nowhere seen.
    numbers: HashMap<Digest, u64, DigestState>,
    /// Frame bytes of those that wait: their bound, and a part of the budget.
    waiting_bytes: usize,
    /// Those of them that came in bulk.
    bulk: Bulk,
    /// What is durable and was not answered yet: answers follow in slices, after the next batch is
    /// on its way.
    completed: Extent,
    /// What the disk is writing; one batch at a time keeps the log in order.
    in_flight: Option<Extent>,
    /// The disk is flushing without a write, which the durability `eventual` owes.
    flushing: bool,
    /// A write was answered whose flush is still owed.
    unflushed: bool,
    /// Why nothing was written at the last try, for health and metrics.
    obstacle: Option<Obstacle>,
    /// The spacing that `batched` and `eventual` promise.
    flush_not_before: Moment,
    /// At most one piece, apart from the answers: the disk must not wait for them.
    work: Option<Work>,
    /// Answers that were due when the next batch was done: they go before its own.
    outbox: VecDeque<Output>,
}

impl CommitQueue {
    /// A queue for a log that ends at `tail` and takes `used` bytes.
    pub fn new(config: Config, tail: Position, used: u64) -> CommitQueue {
        CommitQueue {
            config,
            tail,
            used,
            records: VecDeque::new(),
            first: 0,
            numbers: HashMap::with_hasher(DigestState::new(config.seed)),
            waiting_bytes: 0,
            bulk: Bulk::new(),
            completed: Extent { position: tail, records: 0 },
            in_flight: None,
            flushing: false,
            unflushed: false,
            obstacle: None,
            flush_not_before: Moment::ZERO,
            work: None,
            outbox: VecDeque::new(),
        }
    }

    /// Takes an assertion; its ticket comes back with its fate. One that is in the queue already
    /// takes the ticket along. [`CommitQueue::handle_timeout`] starts the write as soon as
    /// [`CommitQueue::wants_write`], after whatever else arrives together: one batch, one flush.
    pub fn enqueue(&mut self, sealed: Sealed, ticket: Ticket) -> Result<(), Refusal> {
        self.enqueue_as(Arrival::Single, sealed, ticket)
    }

    /// Whether one more assertion of so many bytes may be enqueued in bulk.
    pub fn has_bulk_space(&self, bytes: usize) -> bool {
        let bytes = record::frame_bytes(bytes);
        self.bulk.has_space(bytes, self.waiting_bytes, self.config.waiting_bytes_max)
    }

    /// No more come in bulk for now: those that are here need not wait for more.
    pub fn handle_bulk_end(&mut self) {
        self.bulk.end();
        self.check();
    }

    /// As [`CommitQueue::enqueue`], of an assertion that may come with others.
    pub fn enqueue_as(
        &mut self,
        arrival: Arrival,
        sealed: Sealed,
        ticket: Ticket,
    ) -> Result<(), Refusal> {
        let digest = sealed.digest();
        if let Some(number) = self.numbers.get(&digest) {
            let index = usize::try_from(number - self.first).expect("no more than wait");
            let tickets = &mut self.records[index].tickets;
            if tickets.count() >= limits::COMMIT_QUEUE_MAX {
                return Err(Refusal::Busy);
            }
            tickets.push(ticket);
            if !matches!(arrival, Arrival::Bulk(_)) {
                // Its caller waits for no others.
                self.bulk.end();
            }
            self.check();
            return Ok(());
        }
        let bytes = record::frame_bytes(sealed.bytes().len());
        // Before the bounds of the queue: "try again" would be false advice for a log that is full.
        if let Some(bytes_max) = self.config.bytes_max
            && self.used_with(bytes) > bytes_max
        {
            self.obstacle.get_or_insert(Obstacle::Budget);
            return Err(Refusal::Budget { bytes_max });
        }
        let fits = self.waiting_bytes + bytes <= self.config.waiting_bytes_max;
        let has_space = match arrival {
            Arrival::Bulk(_) => self.has_bulk_space(sealed.bytes().len()),
            Arrival::Single | Arrival::Given => {
                self.waiting() - self.bulk.records < limits::COMMIT_QUEUE_MAX
            }
        };
        if !has_space || !fits {
            return Err(Refusal::Busy);
        }
        if let Arrival::Bulk(now) = arrival {
            self.bulk.add(now, bytes);
        }
        self.numbers.insert(digest, self.first + self.records.len() as u64);
        self.records.push_back(QueuedRecord { sealed, tickets: Tickets::of(ticket), arrival });
        self.waiting_bytes += bytes;
        self.check();
        Ok(())
    }

    /// The disk finished the piece of work it had.
    pub fn handle_done(&mut self, now: Moment, done: Done) {
        // What was completed before and was not polled keeps its order.
        while let Some(output) = self.next_completed() {
            self.outbox.push_back(output);
        }
        match (self.in_flight.take(), done) {
            (Some(batch), Done::Well) => {
                self.obstacle = None;
                self.completed = batch;
            }
            (Some(batch), Done::Undone(obstacle)) => {
                self.obstacle = Some(obstacle);
                // The flush that would have come with this write may be owed to an earlier one.
                self.unflushed |= self.config.durability == Durability::Eventual;
                self.refuse_batch(batch, obstacle);
            }
            // A flush that fails is a fault, which ends the process: it is not reported here.
            (None, _) => self.flushing = false,
        }
        self.start(now);
        self.check();
    }

    /// Time passed; safe to call early or late.
    pub fn handle_timeout(&mut self, now: Moment) {
        self.start(now);
        self.check();
    }

    /// Whether [`CommitQueue::handle_timeout`] would start a write now.
    pub fn wants_write(&self, now: Moment) -> bool {
        let is_batched = self.config.durability == Durability::Batched;
        let is_early = is_batched && now < self.flush_not_before;
        self.is_idle() && self.waiting() > 0 && !is_early && !self.is_gathering(now)
    }

    /// Whether those that wait are few, came in bulk, and wait for more of their kind.
    fn is_gathering(&self, now: Moment) -> bool {
        now < self.bulk.gathers_until && self.may_gather()
    }

    /// `batched` keeps its distance in any case, `eventual` has no flush to save.
    fn may_gather(&self) -> bool {
        self.config.durability == Durability::Immediate && self.bulk.may_gather(self.waiting())
    }

    /// When [`CommitQueue::handle_timeout`] wants to be called, if no write is started before.
    pub fn next_deadline(&self) -> Option<Moment> {
        let is_batched = self.config.durability == Durability::Batched && self.waiting() > 0;
        let spaced = (is_batched || self.unflushed).then_some(self.flush_not_before);
        let gathered = self.may_gather().then_some(self.bulk.gathers_until);
        spaced.or(gathered).filter(|_| self.is_idle())
    }

    /// Whether the disk has no work of this queue.
    fn is_idle(&self) -> bool {
        self.in_flight.is_none() && !self.flushing
    }

    /// The next work or answer, work first; drain until `None`.
    pub fn poll_output(&mut self) -> Option<Output> {
        let next = self.poll_work().map(Output::Work).or_else(|| self.outbox.pop_front());
        let next = next.or_else(|| self.next_completed());
        self.check();
        next
    }

    fn next_completed(&mut self) -> Option<Output> {
        self.completed.records = self.completed.records.checked_sub(1)?;
        let QueuedRecord { sealed, tickets, .. } = self.pop();
        let position = self.completed.position;
        // Frames of a batch follow one another, so that one position is enough for all.
        self.completed.position.0 += record::frame_bytes(sealed.bytes().len()) as u64;
        Some(Output::Committed(Committed { position, sealed }, tickets))
    }

    /// What the disk may begin with before the answers to its last work are polled.
    pub fn poll_work(&mut self) -> Option<Work> {
        self.work.take()
    }

    /// The disk is known to take nothing before anything was written.
    pub fn handle_obstacle(&mut self, obstacle: Obstacle) {
        self.obstacle = Some(obstacle);
    }

    /// Why nothing was written when it was last tried.
    pub fn obstacle(&self) -> Option<Obstacle> {
        self.obstacle
    }

    /// Bytes of the log, those on their way not counted.
    pub fn log_bytes(&self) -> u64 {
        self.used
    }

    /// How many of them there may be.
    pub fn log_bytes_max(&self) -> Option<u64> {
        self.config.bytes_max
    }

    /// Assertions that wait for the disk or are on their way.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether nothing is on its way.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.outbox.is_empty()
    }

    /// How many are neither completed nor in flight.
    fn waiting(&self) -> usize {
        let in_flight = self.in_flight.map_or(0, |batch| batch.records);
        self.records.len() - self.completed.records - in_flight
    }

    /// The first record, which is no longer under way.
    fn pop(&mut self) -> QueuedRecord {
        let record = self.records.pop_front().expect("a batch has its records here");
        self.numbers.remove(&record.sealed.digest());
        self.first += 1;
        if self.records.is_empty() {
            self.records.shrink_to(CAPACITY_KEPT);
            self.numbers.shrink_to(CAPACITY_KEPT);
        }
        record
    }

    /// What the log would take with one more frame. Heads of segments that the waiting ones will
    /// begin are not known yet: 32 bytes of 64 MiB.
    fn used_with(&self, bytes: usize) -> u64 {
        let first = if self.used == 0 { record::SEGMENT_HEAD_BYTES } else { 0 };
        self.used + (self.waiting_bytes + first + bytes) as u64
    }

    fn start(&mut self, now: Moment) {
        if !self.is_idle() {
            return;
        }
        let early = now < self.flush_not_before;
        if self.waiting() == 0 {
            // No write will bring the flush that is owed.
            if self.unflushed && !early {
                self.unflushed = false;
                self.flushing = true;
                self.work = Some(Work::Flush);
            }
            return;
        }
        if self.is_gathering(now) {
            return;
        }
        let flush = match self.config.durability {
            Durability::Immediate => true,
            Durability::Batched if early => return,
            Durability::Batched => {
                self.flush_not_before = now + BATCH_SPACING;
                true
            }
            Durability::Eventual if self.unflushed => {
                // A write that comes when the flush is due brings it along.
                self.unflushed = early;
                !early
            }
            Durability::Eventual => {
                self.unflushed = true;
                self.flush_not_before = now + EVENTUAL_SPACING;
                false
            }
        };
        self.send_batch(flush);
    }

    /// Sends off what waits, as far as one batch and one segment go.
    fn send_batch(&mut self, flush: bool) {
        // Copies of handles; the bodies are shared with the queue, which answers with them.
        // The callers of many have more on the way while these are written.
        let is_bulk = self.bulk.records > 0;
        let most = if is_bulk { limits::BULK_QUEUE_MAX } else { limits::BATCH_RECORDS_MAX };
        let mut records = Vec::with_capacity(self.waiting().min(most));
        let (mut bytes, mut bulk, mut bulk_bytes) = (0, 0, 0);
        let mut zeros = self.config.zeros;
        let waiting = self.records.iter().skip(self.completed.records);
        for QueuedRecord { sealed, arrival, .. } in waiting.take(most) {
            let size = record::frame_bytes(sealed.bytes().len());
            let offset = Position(self.tail.0 + bytes as u64).offset();
            // Offset 0 is the next segment's: the one before is full to the last byte.
            if offset + size as u64 > limits::SEGMENT_BYTES_MAX || offset == 0 {
                // A batch is one write to one file.
                if bytes > 0 {
                    break;
                }
                self.tail = Position::first_of(self.tail.0.div_ceil(limits::SEGMENT_BYTES_MAX));
            }
            if bytes + size > self.config.batch_bytes_max {
                break;
            }
            records.push(sealed.clone());
            bytes += size;
            zeros &= *arrival == Arrival::Single;
            if let Arrival::Bulk(_) = arrival {
                bulk += 1;
                bulk_bytes += size;
            }
        }
        self.waiting_bytes -= bytes;
        self.bulk.remove(bulk, bulk_bytes);
        let position = self.tail;
        if position == Position::first_of(position.segment()) {
            self.used += record::SEGMENT_HEAD_BYTES as u64;
        }
        self.used += bytes as u64;
        self.tail = Position(position.0 + bytes as u64);
        self.in_flight = Some(Extent { position, records: records.len() });
        let ahead = self.config.bytes_max.map(|max| max.saturating_sub(self.used));
        let batch = Batch { position, records, bytes, flush, ahead, zeros };
        self.work = Some(Work::Write(batch));
    }

    /// Nothing of the batch is in the log, which ends where it did before.
    fn refuse_batch(&mut self, Extent { position, records }: Extent, obstacle: Obstacle) {
        self.used -= self.tail.0 - position.0;
        if position == Position::first_of(position.segment()) {
            self.used -= record::SEGMENT_HEAD_BYTES as u64;
        }
        self.tail = position;
        for _ in 0..records {
            let tickets = self.pop().tickets;
            self.outbox.push_back(Output::Refused(Refusal::Disk(obstacle), tickets));
        }
    }

    /// What holds between any two calls.
    fn check(&self) {
        let waiting = self.waiting();
        debug_assert_eq!(self.numbers.len(), self.records.len(), "a number for each record");
        debug_assert_eq!(waiting == 0, self.waiting_bytes == 0, "bytes are of those that wait");
        let Bulk { records, bytes, .. } = self.bulk;
        debug_assert!(records <= waiting && records <= limits::BULK_QUEUE_MAX);
        debug_assert!(waiting - records <= limits::COMMIT_QUEUE_MAX);
        debug_assert!(bytes <= self.waiting_bytes);
        debug_assert_eq!(records == 0, bytes == 0, "bulk bytes are of bulk records");
        debug_assert!(self.waiting_bytes <= self.config.waiting_bytes_max);
        debug_assert!(self.in_flight.is_none() || !self.flushing, "one piece of work at a time");
        debug_assert!(self.work.is_none() || !self.is_idle(), "unpolled work is under way");
        let is_before_tail = |batch: Extent| batch.records > 0 && batch.position < self.tail;
        debug_assert!(self.in_flight.is_none_or(is_before_tail), "the tail is behind the batch");
        let is_eventual = self.config.durability == Durability::Eventual;
        debug_assert!(is_eventual || !(self.unflushed || self.flushing), "no flush is owed");
    }
}
