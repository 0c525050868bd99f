//! Which query gets the next slice: short ones before long ones, clients round robin.
//!
//! In: scans with their clients, calls of [`ScanQueue::run_slice`], clients that left. Out: views,
//! with the ticket of each. A new scan is short: it runs as soon as its client is the next, until
//! it is over or has done [`limits::SCAN_SHORT_WORK`]. Then it is long: it goes on in a ring of all
//! long ones, which get what the short ones leave and at least every fourth pick (multi-level
//! feedback queue, Corbato 1962). One slice is bounded by work, not by the number of scans,
//! whatever their bodies.
//!
//! Never: holds what more than one short scan and [`limits::QUERIES_MAX`] long ones found; works
//! on a long scan whose client has left.

use std::collections::BTreeMap;

use super::ring::Ring;
use super::{Scan, View};
use crate::base::{Client, FairSlots, Ticket, limits};
use crate::journal::Bodies;
use crate::store::Store;

/// Short scans picked in a row while a long one waits.
const SHORTS_IN_A_ROW: u32 = 3;
/// What a pick costs beside the candidates: finding the first one reads some pages of the index.
const PICK_WORK: usize = 16;

/// The queries that are not answered yet.
#[derive(Debug)]
pub struct ScanQueue {
    /// All of them, begun or not.
    waiting: BTreeMap<Ticket, QueuedScan>,
    /// Scans that have not shown to be long, client by client.
    short: Ring,
    /// Long ones, apart, so that they cannot delay the short ones of others.
    long: Ring,
    /// The short scan that has begun, if it is not over.
    current: Option<Ticket>,
    /// Short scans picked since the last long one, so that long ones advance under any load.
    shorts_in_a_row: u32,
    /// Of all scans, so that one client's cannot fill the queue.
    slots: FairSlots<u64>,
    /// Of long ones that hold what they found.
    begun: FairSlots<u64>,
    stats: Stats,
}

/// A scan in the queue.
#[derive(Debug)]
struct QueuedScan {
    client: Client,
    scan: Scan,
    /// What was done for it; beyond [`limits::SCAN_SHORT_WORK`] it is long.
    work: usize,
    is_long: bool,
    /// It is long, and has one of the slots of those that hold what they found.
    has_begun: bool,
    /// The client may have gone: the scan ends if it shows to be long.
    has_left: bool,
}

/// Too many queries wait already, of all clients or of this one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooMany;

/// What the queue did since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Candidates that scans looked at, for the metrics.
    pub candidates: u64,
    /// Queries that ended without an answer, their clients having left.
    pub abandoned: u64,
    /// Queries refused because too many waited.
    pub refused: u64,
}

impl Default for ScanQueue {
    fn default() -> ScanQueue {
        ScanQueue::bounded(limits::QUERIES_MAX)
    }
}

impl ScanQueue {
    /// A queue in which no more than `long_max` long scans hold what they found.
    pub fn bounded(long_max: usize) -> ScanQueue {
        ScanQueue {
            waiting: BTreeMap::new(),
            short: Ring::default(),
            long: Ring::default(),
            current: None,
            shorts_in_a_row: 0,
            slots: FairSlots::new(limits::QUERIES_WAITING_MAX),
            begun: FairSlots::new(long_max),
            stats: Stats::default(),
        }
    }

    /// Queues a scan behind the others of its client.
    pub fn enter(&mut self, ticket: Ticket, client: Client, scan: Scan) -> Result<(), TooMany> {
        if !self.slots.take(client.peer) {
            self.stats.refused += 1;
            return Err(TooMany);
        }
        self.short.enter(ticket, client);
        let (work, is_long, has_begun, has_left) = (0, false, false, false);
        let waiting = QueuedScan { client, scan, work, is_long, has_begun, has_left };
        self.waiting.insert(ticket, waiting);
        self.check();
        Ok(())
    }

    /// The client may have gone: a scan that is short is finished all the same, for it may only
    /// have closed its sending half; a long one is not. True: it was abandoned.
    pub fn client_left(&mut self, ticket: Ticket) -> bool {
        let Some(waiting) = self.waiting.get_mut(&ticket) else { return false };
        waiting.has_left = true;
        waiting.is_long && self.leave(ticket)
    }

    /// The caller no longer waits for this scan. True: it was not over.
    pub fn leave(&mut self, ticket: Ticket) -> bool {
        let is_abandoned = self.take_out(ticket).is_some();
        self.stats.abandoned += u64::from(is_abandoned);
        self.check();
        is_abandoned
    }

    /// Queries that wait or are worked on.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Counts since the start, for the metrics.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Works for one slice; the scans that are over, `None` being those abandoned.
    pub fn run_slice(&mut self, store: &Store, bodies: &dyn Bodies) -> Vec<(Ticket, Option<View>)> {
        let mut over = Vec::new();
        let mut work = limits::SCAN_SLICE_WORK;
        while work > 0
            && let Some(ticket) = self.pick()
        {
            let waiting = self.waiting.get_mut(&ticket).expect("what is picked is there");
            let (before, seen) = (work, waiting.scan.candidates_seen());
            let is_over = waiting.scan.step(&mut work, store, bodies);
            self.stats.candidates += waiting.scan.candidates_seen() - seen;
            waiting.work += before - work;
            work = work.saturating_sub(PICK_WORK);
            if is_over {
                let scan = self.take_out(ticket).expect("it was there");
                over.push((ticket, Some(scan.finish(&mut work, store, bodies))));
            } else if !self.put_back(ticket) {
                over.push((ticket, None));
            }
        }
        self.check();
        over
    }

    fn check(&self) {
        debug_assert_eq!(self.slots.taken(), self.waiting.len(), "a slot for each scan");
        let current = self.current.map(|ticket| self.waiting.get(&ticket));
        debug_assert!(current.is_none_or(|it| it.is_some_and(|it| !it.is_long)), "a short one");
        debug_assert!(self.begun.taken() <= self.waiting.len(), "a slot of a scan that is over");
    }

    fn pick(&mut self) -> Option<Ticket> {
        let short = self.current.or_else(|| self.short.next(|_| true));
        let long = self.long.next(|ticket| {
            let waiting = &self.waiting[&ticket];
            waiting.has_begun || self.begun.may_take(&waiting.client.peer)
        });
        let is_long_due = long.is_some() && self.shorts_in_a_row >= SHORTS_IN_A_ROW;
        if let Some(ticket) = short.filter(|_| !is_long_due) {
            self.shorts_in_a_row += 1;
            self.current = Some(ticket);
            return Some(ticket);
        }
        self.shorts_in_a_row = 0;
        let waiting = self.waiting.get_mut(&long?).expect("what is in a ring is there");
        waiting.has_begun = waiting.has_begun || self.begun.take(waiting.client.peer);
        long
    }

    /// A scan that was picked is not over. False: it is abandoned.
    fn put_back(&mut self, ticket: Ticket) -> bool {
        let waiting = self.waiting.get_mut(&ticket).expect("it was picked");
        let client = waiting.client;
        if waiting.is_long {
            self.long.note_served(ticket, &client);
            return true;
        }
        if waiting.work < limits::SCAN_SHORT_WORK {
            // Not back into the ring: what it found is the only such memory.
            return true;
        }
        if waiting.has_left {
            self.leave(ticket);
            return false;
        }
        self.current = None;
        self.short.note_served(ticket, &client);
        self.short.leave(ticket);
        waiting.is_long = true;
        waiting.has_begun = self.begun.take(client.peer);
        if !waiting.has_begun {
            // It has to wait, and it is cheaper to look again than to hold what it found.
            waiting.scan.rewind();
        }
        self.long.enter(ticket, client);
        true
    }

    fn take_out(&mut self, ticket: Ticket) -> Option<Scan> {
        let QueuedScan { client, scan, is_long, has_begun, .. } = self.waiting.remove(&ticket)?;
        self.slots.give_back(&client.peer);
        if has_begun {
            self.begun.give_back(&client.peer);
        }
        if self.current == Some(ticket) {
            self.current = None;
        }
        if is_long {
            self.long.leave(ticket);
        } else {
            self.short.note_served(ticket, &client);
            self.short.leave(ticket);
        }
        Some(scan)
    }
}

#[cfg(test)]
mod tests;
