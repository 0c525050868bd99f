//! What the tasks of one import share: the lines on their way, their fates, and the end.
//!
//! In: batches of lines, fates, reasons to stop. Out: batches for senders. Never: gives two reasons
//! for one end.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use async_channel::Receiver;

use super::lines::Line;
use super::rejects::Rejects;
use super::tally::{Fate, Tally};
use crate::base::Secret;
use crate::shell::runtime::signals::Signal;

/// The lines of the input, as the reading thread hands them over.
pub(super) type Batches = Receiver<io::Result<Vec<Line>>>;

/// Why the program ends.
#[derive(Debug)]
pub(super) enum End {
    /// The input is at its end.
    Done,
    /// Nothing was sent: key, file or host cannot be used.
    Unusable(String),
    /// The node is out of reach, full or no node.
    Node(String),
    /// The input broke off.
    Input(String),
    /// The refused lines cannot be kept.
    Rejects(String),
    /// A signal asked to stop.
    Signal(Signal),
}

/// What the tasks of one import share.
pub(super) struct Job {
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) host: String,
    pub(super) api_key: Option<Secret>,
    pub(super) total: Option<u64>,
    /// Filled when the reading thread has started.
    pub(super) batches: OnceCell<Batches>,
    pub(super) tally: RefCell<Tally>,
    /// Where refused lines and their reasons go.
    rejects: RefCell<Rejects>,
    /// Lines that have no fate yet, and the first that no sender took.
    pub(super) in_flight: RefCell<BTreeSet<u64>>,
    pub(super) next: Cell<u64>,
    pub(super) taken_bytes: Cell<u64>,
    pub(super) last_answer: Cell<Instant>,
    /// Why a request has to be made again, while it has.
    pub(super) trouble: RefCell<Option<String>>,
    /// Whether a line on standard error says so: one for each wait, however many senders wait.
    pub(super) is_wait_said: Cell<bool>,
    pub(super) end: RefCell<Option<End>>,
}

impl Job {
    pub(super) fn new(
        (addresses, host): (Vec<SocketAddr>, String),
        api_key: Option<Secret>,
        total: Option<u64>,
        rejects: Rejects,
    ) -> Job {
        Job {
            addresses,
            host,
            api_key,
            total,
            batches: OnceCell::new(),
            tally: RefCell::default(),
            rejects: RefCell::new(rejects),
            in_flight: RefCell::default(),
            next: Cell::new(1),
            taken_bytes: Cell::new(0),
            last_answer: Cell::new(Instant::now()),
            trouble: RefCell::default(),
            is_wait_said: Cell::new(false),
            end: RefCell::default(),
        }
    }

    /// The next lines, or `None` at the end, whatever kind of end it is.
    pub(super) async fn next_batch(&self) -> Option<Vec<Line>> {
        let batch = self.batches.get()?.recv().await.ok().filter(|_| !self.is_stopped())?;
        let failed = |error| self.stop(End::Input(format!("reading the input: {error}")));
        let batch = batch.map_err(failed).ok()?;
        self.in_flight.borrow_mut().extend(batch.iter().map(|line| line.number));
        if let Some(last) = batch.last() {
            // Senders take batches in the order of the input.
            self.next.set(last.number + 1);
            self.taken_bytes.set(last.end);
        }
        Some(batch)
    }

    /// The fate of a line is known.
    pub(super) fn settle(&self, line: &Line, fate: Fate) {
        self.in_flight.borrow_mut().remove(&line.number);
        if let Fate::Refused { code, message } = &fate
            && let Err(why) = self.rejects.borrow_mut().add(line, code, message)
        {
            self.stop(End::Rejects(why));
        }
        self.tally.borrow_mut().add(line.number, fate);
    }

    /// Writes what is left of the refused lines.
    pub(super) fn keep_rejects(&self) {
        if let Err(why) = self.rejects.borrow_mut().flush() {
            self.stop(End::Rejects(why));
        }
    }

    /// Ends the import; the first reason counts.
    pub(super) fn stop(&self, end: End) {
        self.end.borrow_mut().get_or_insert(end);
        // Wakes the senders that wait for an input which may be silent.
        self.batches.get().into_iter().for_each(|batches| _ = batches.close());
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.end.borrow().is_some()
    }
}
