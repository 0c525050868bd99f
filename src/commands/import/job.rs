//! What the tasks of one import share: the lines on their way, their fates, and the end.
//!
//! In: lines, fates, reasons to stop. Out: lines for senders. Never: gives two reasons for one end.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use async_channel::{Receiver, Sender};

use super::lines::Line;
use super::tally::{Fate, Tally};
use crate::base::Secret;
use crate::shell::runtime::signals::Signal;

/// Lines handed out that no sender has taken yet.
const HANDED_OUT_MAX: usize = 16;

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
    /// A signal asked to stop.
    Signal(Signal),
}

/// What the tasks of one import share.
pub(super) struct Job {
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) host: String,
    pub(super) api_key: Option<Secret>,
    pub(super) total: Option<u64>,
    handed_out: Sender<Line>,
    lines: Receiver<Line>,
    pub(super) tally: RefCell<Tally>,
    /// Lines that have no fate yet, and the first that no sender took.
    pub(super) in_flight: RefCell<BTreeSet<u64>>,
    pub(super) next: Cell<u64>,
    pub(super) taken_bytes: Cell<u64>,
    pub(super) last_answer: Cell<Instant>,
    /// Why a request has to be made again, while it has.
    pub(super) trouble: RefCell<Option<String>>,
    pub(super) end: RefCell<Option<End>>,
}

impl Job {
    pub(super) fn new(
        (addresses, host): (Vec<SocketAddr>, String),
        api_key: Option<Secret>,
        total: Option<u64>,
    ) -> Job {
        let (handed_out, lines) = async_channel::bounded(HANDED_OUT_MAX);
        Job {
            addresses,
            host,
            api_key,
            total,
            handed_out,
            lines,
            tally: RefCell::default(),
            in_flight: RefCell::default(),
            next: Cell::new(1),
            taken_bytes: Cell::new(0),
            last_answer: Cell::new(Instant::now()),
            trouble: RefCell::default(),
            end: RefCell::default(),
        }
    }

    /// Hands the lines of each batch to the next free sender, until the input or the import ends.
    pub(super) async fn hand_out(&self, batches: Receiver<io::Result<Vec<Line>>>) {
        while let Ok(batch) = batches.recv().await {
            match batch {
                Ok(batch) => {
                    for line in batch {
                        if self.handed_out.send(line).await.is_err() {
                            return;
                        }
                    }
                }
                Err(error) => self.stop(End::Input(format!("reading the input: {error}"))),
            }
        }
        self.handed_out.close();
    }

    /// The next line, or `None` at the end, whatever kind of end it is.
    pub(super) async fn next_line(&self) -> Option<Line> {
        let line = self.lines.recv().await.ok().filter(|_| !self.is_stopped())?;
        self.in_flight.borrow_mut().insert(line.number);
        self.next.set(line.number + 1);
        self.taken_bytes.set(line.end);
        Some(line)
    }

    pub(super) fn settle(&self, number: u64, fate: Fate) {
        self.in_flight.borrow_mut().remove(&number);
        self.tally.borrow_mut().add(number, fate);
    }

    /// Ends the import; the first reason counts.
    pub(super) fn stop(&self, end: End) {
        self.end.borrow_mut().get_or_insert(end);
        self.handed_out.close();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.end.borrow().is_some()
    }
}
