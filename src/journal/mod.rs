//! Group commit: makes sealed assertions committed.
//!
//! In: assertions, one at a time, and what became of each write. Out: at most one write at a time,
//! and after its flush the same assertions with their positions. What gathers while the disk is
//! busy is the next batch, so there is no timer unless the durability setting asks for one.
//!
//! Never: opens a file, reads a clock, changes the order.

pub mod damage;
pub mod record;
mod refusal;
mod tickets;
mod work;

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::base::table::DigestState;
use crate::base::{Digest, Moment, Ticket, limits};
use crate::model::Sealed;
pub use refusal::Refusal;
pub use tickets::Tickets;
pub use work::{Batch, Done, Obstacle, Work};

/// Where a record's frame starts: segment number times [`limits::SEGMENT_BYTES_MAX`], plus the
/// offset in the segment. Always a multiple of [`record::ALIGNMENT`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Position(pub u64);

impl Position {
    /// The first record's place in a segment.
    pub fn first_of(segment: u64) -> Position {
        Position(segment * limits::SEGMENT_BYTES_MAX + record::SEGMENT_HEAD_BYTES as u64)
    }

    /// The segment's number.
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

    /// Where it lies.
    pub fn position(&self) -> Position {
        self.position
    }

    /// What it is.
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
    fn sealed_at_all(&self, places: &[Position]) -> Vec<Sealed> {
        places.iter().filter_map(|at| self.sealed_at(*at)).collect()
    }
    /// Which record a damaged one at a position was, as far as what is left of it tells.
    fn name_at(&self, at: Position) -> Option<Digest> {
        self.digest_at(at)
    }
}

/// When an assertion is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Durability {
    /// After its flush, which starts at once.
    #[default]
    Immediate,
    /// After its flush; flushes start at least [`BATCH_SPACING`] apart.
    Batched,
    /// After its write; a flush follows within [`EVENTUAL_SPACING`].
    Eventual,
}

/// What `batched` waits between flushes.
pub const BATCH_SPACING: Duration = Duration::from_millis(5);
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
    /// Keeps strangers from choosing digests that share a slot of a table: a number they cannot
    /// know.
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            durability: Durability::default(),
            bytes_max: None,
            waiting_bytes_max: limits::COMMIT_QUEUE_BYTES_MAX,
            batch_bytes_max: limits::BATCH_BYTES_MAX,
            seed: 0,
        }
    }
}

/// What the queue wants done or told.
#[derive(Debug)]
pub enum Output {
    /// For the disk.
    Work(Work),
    /// Committed, and who waits for it, first comer first.
    Committed(Committed, Tickets),
    /// Not taken after all, and who waits for it.
    Refused(Refusal, Tickets),
}

#[derive(Debug)]
struct Entry {
    sealed: Sealed,
    tickets: Tickets,
}

/// Room for entries that is kept while there are none.
const ROOM_KEPT: usize = 64;

/// A batch under way: its first frame's place, and how many entries it has.
#[derive(Clone, Copy, Debug)]
struct Flight {
    position: Position,
    records: usize,
}

/// Assertions on their way to the disk.
#[derive(Debug)]
pub struct CommitQueue {
    config: Config,
    tail: Position,
    used: u64,
    /// First those that landed, then those that fly, then those that wait.
    entries: VecDeque<Entry>,
    /// The number of the first entry; each has the next.
    first: u64,
    /// Entries by their digest. Its order is nowhere seen.
    numbers: HashMap<Digest, u64, DigestState>,
    waiting_bytes: usize,
    /// What is durable and was not told yet.
    landed: Flight,
    flying: Option<Flight>,
    flushing: bool,
    unflushed: bool,
    obstacle: Option<Obstacle>,
    flush_not_before: Moment,
    work: Option<Work>,
    outbox: VecDeque<Output>,
}

impl CommitQueue {
    /// A queue for a log that ends at `tail` and takes `used` bytes.
    pub fn new(config: Config, tail: Position, used: u64) -> CommitQueue {
        CommitQueue {
            config,
            tail,
            used,
            entries: VecDeque::new(),
            first: 0,
            numbers: HashMap::with_hasher(DigestState::new(config.seed)),
            waiting_bytes: 0,
            landed: Flight { position: tail, records: 0 },
            flying: None,
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
        let digest = sealed.digest();
        if let Some(number) = self.numbers.get(&digest) {
            let place = usize::try_from(number - self.first).expect("no more than wait");
            let tickets = &mut self.entries[place].tickets;
            if tickets.count() >= limits::COMMIT_QUEUE_MAX {
                return Err(Refusal::Busy);
            }
            tickets.push(ticket);
            return Ok(());
        }
        let bytes = record::frame_bytes(sealed.bytes().len());
        if let Some(bytes_max) = self.config.bytes_max
            && self.used_with(bytes) > bytes_max
        {
            return Err(Refusal::Budget { bytes_max });
        }
        let room = self.waiting_bytes + bytes <= self.config.waiting_bytes_max;
        if self.waiting() >= limits::COMMIT_QUEUE_MAX || !room {
            return Err(Refusal::Busy);
        }
        self.numbers.insert(digest, self.first + self.entries.len() as u64);
        self.entries.push_back(Entry { sealed, tickets: Tickets::of(ticket) });
        self.waiting_bytes += bytes;
        Ok(())
    }

    /// The disk finished the piece of work it had.
    pub fn handle_done(&mut self, now: Moment, done: Done) {
        // Whoever did not ask what landed before is told of it first.
        while let Some(output) = self.next_landed() {
            self.outbox.push_back(output);
        }
        match (self.flying.take(), done) {
            (Some(flight), Done::Well) => {
                self.obstacle = None;
                self.landed = flight;
            }
            (Some(flight), Done::Undone(obstacle)) => {
                self.obstacle = Some(obstacle);
                // The flush that would have come with this write may be owed to an earlier one.
                self.unflushed |= self.config.durability == Durability::Eventual;
                self.give_back(flight, obstacle);
            }
            (None, _) => self.flushing = false,
        }
        self.start(now);
    }

    /// Time passed; safe to call early or late.
    pub fn handle_timeout(&mut self, now: Moment) {
        self.start(now);
    }

    /// Whether [`CommitQueue::handle_timeout`] would start a write now.
    pub fn wants_write(&self, now: Moment) -> bool {
        let is_batched = self.config.durability == Durability::Batched;
        self.is_idle() && self.waiting() > 0 && !(is_batched && now < self.flush_not_before)
    }

    /// When [`CommitQueue::handle_timeout`] wants to be called, if no write is started before.
    pub fn next_deadline(&self) -> Option<Moment> {
        let is_batched = self.config.durability == Durability::Batched && self.waiting() > 0;
        (self.is_idle() && (is_batched || self.unflushed)).then_some(self.flush_not_before)
    }

    /// Whether the disk has no work of this queue.
    fn is_idle(&self) -> bool {
        self.flying.is_none() && !self.flushing
    }

    /// The next thing to do or tell, work first; drain until `None`.
    pub fn poll_output(&mut self) -> Option<Output> {
        let next = self.poll_work().map(Output::Work).or_else(|| self.outbox.pop_front());
        next.or_else(|| self.next_landed())
    }

    fn next_landed(&mut self) -> Option<Output> {
        self.landed.records = self.landed.records.checked_sub(1)?;
        let Entry { sealed, tickets } = self.pop();
        let position = self.landed.position;
        self.landed.position.0 += record::frame_bytes(sealed.bytes().len()) as u64;
        Some(Output::Committed(Committed { position, sealed }, tickets))
    }

    /// What the disk may begin with while others are told what came of its last work.
    pub fn poll_work(&mut self) -> Option<Work> {
        self.work.take()
    }

    /// The disk is known to take nothing before anything was written.
    pub fn handle_obstacle(&mut self, obstacle: Obstacle) {
        self.obstacle = Some(obstacle);
    }

    /// Why the disk took nothing when it was last tried.
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
        self.entries.len()
    }

    /// Whether nothing is on its way.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.outbox.is_empty()
    }

    /// How many wait while others fly.
    fn waiting(&self) -> usize {
        self.entries.len() - self.landed.records - self.flying.map_or(0, |flight| flight.records)
    }

    /// The first entry, which is no longer under way.
    fn pop(&mut self) -> Entry {
        let entry = self.entries.pop_front().expect("what flies has an entry");
        self.numbers.remove(&entry.sealed.digest());
        self.first += 1;
        if self.entries.is_empty() {
            self.entries.shrink_to(ROOM_KEPT);
            self.numbers.shrink_to(ROOM_KEPT);
        }
        entry
    }

    /// What the log would take with one more frame, segment heads included as far as the layout
    /// tells now.
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
            if self.unflushed && !early {
                self.unflushed = false;
                self.flushing = true;
                self.work = Some(Work::Flush);
            }
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
                self.unflushed = early;
                !early
            }
            Durability::Eventual => {
                self.unflushed = true;
                self.flush_not_before = now + EVENTUAL_SPACING;
                false
            }
        };
        self.fly(flush);
    }

    /// Sends off what waits, as far as one batch and one segment go.
    fn fly(&mut self, flush: bool) {
        let mut records = Vec::with_capacity(self.waiting().min(limits::BATCH_RECORDS_MAX));
        let mut bytes = 0;
        let waiting = self.entries.iter().skip(self.landed.records);
        for Entry { sealed, .. } in waiting.take(limits::BATCH_RECORDS_MAX) {
            let size = record::frame_bytes(sealed.bytes().len());
            let place = Position(self.tail.0 + bytes as u64);
            if place.offset() + size as u64 > limits::SEGMENT_BYTES_MAX || place.offset() == 0 {
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
        }
        self.waiting_bytes -= bytes;
        let position = self.tail;
        if position == Position::first_of(position.segment()) {
            self.used += record::SEGMENT_HEAD_BYTES as u64;
        }
        self.used += bytes as u64;
        self.tail = Position(position.0 + bytes as u64);
        self.flying = Some(Flight { position, records: records.len() });
        let ahead = self.config.bytes_max.map(|max| max.saturating_sub(self.used));
        let batch = Batch { position, records, bytes, flush, ahead };
        self.work = Some(Work::Write(batch));
    }

    /// The batch is refused, the log ends where it did before.
    fn give_back(&mut self, Flight { position, records }: Flight, obstacle: Obstacle) {
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
}

#[cfg(test)]
mod tests;
