//! Taking what a peer has in the order of its log, when most of it is lacking.
//!
//! In: answers to `Records`. Out: where to go on. A peer's rows are named by a cursor, so that a
//! pull that was cut off goes on where it was. Never: asks twice for the same row in a row, asks on
//! when the peer's rows do not move.

use std::collections::BTreeMap;

use super::call::{Cursor, Records, Span};
use crate::base::{Digest, limits};
use crate::journal::Bodies;
use crate::store::{Row, Store};

/// A peer with so many times our assertions is pulled from: what we have of them costs less to get
/// again than it costs to find out which.
const FOLD: u64 = 8;
/// So few are told by a sketch for less.
const FEW: u64 = 64;

/// One pull under way.
#[derive(Debug)]
pub(super) struct Pull {
    next: Cursor,
    /// Answers that are not all stored, by the number of their call: where each ends, and how many
    /// assertions had come with it at the latest, once they are known.
    ends: BTreeMap<u32, (u64, Option<u64>)>,
    /// What came before is stored or will be, whatever happens.
    reached: Cursor,
    /// Assertions that came, and those that were stored.
    came: u64,
    stored: u64,
    is_over: bool,
    /// How many rows the peer says it has.
    rows: u64,
    /// Whether the peer's rows from the first on are all that we lack, and it lacks nothing.
    is_all: bool,
}

impl Pull {
    /// From a row on, where the peer has it.
    pub(super) fn new(from: Cursor, is_all: bool) -> Pull {
        let (ends, reached) = (BTreeMap::new(), from);
        Pull { next: from, ends, reached, came: 0, stored: 0, is_over: false, rows: 0, is_all }
    }

    /// Whether sets of these sizes are better pulled than compared.
    pub(super) fn is_worth(ours: u64, theirs: u64) -> bool {
        ours.saturating_mul(FOLD) <= theirs && theirs - ours > FEW
    }

    /// What to ask for.
    pub(super) fn request(&self) -> Cursor {
        self.next
    }

    /// Takes an answer's span; a row known from an earlier pull is where it goes on. `Err`: the
    /// peer does not move on.
    pub(super) fn handle_span(
        &mut self,
        number: u32,
        span: Span,
        known: Option<u64>,
    ) -> Result<(), String> {
        let asked = self.next;
        let Cursor { numbering, row } = span.from;
        if numbering == asked.numbering && row != asked.row {
            return Err(format!("the peer gave records from row {row}, asked for {}", asked.row));
        }
        if span.next <= row && row < span.rows {
            return Err(format!("the peer stays at row {row} of {}", span.rows));
        }
        if numbering != asked.numbering {
            self.ends.clear();
            self.reached = span.from;
        }
        let next = known.unwrap_or(0).max(span.next);
        self.ends.insert(number, (next, None));
        self.next = Cursor { numbering, row: next };
        self.rows = span.rows;
        self.is_over = next >= span.rows;
        Ok(())
    }

    /// So many assertions came with an answer.
    pub(super) fn handle_records(&mut self, number: u32, count: usize) {
        self.came += count as u64;
        if let Some((_, came)) = self.ends.get_mut(&number) {
            *came = Some(self.came);
        }
        self.advance();
    }

    /// One more is stored.
    pub(super) fn handle_stored(&mut self) {
        self.stored += 1;
        self.advance();
    }

    fn advance(&mut self) {
        while let Some(entry) = self.ends.first_entry() {
            let (row, came) = *entry.get();
            if came.is_none_or(|came| came > self.stored) {
                break;
            }
            entry.remove();
            self.reached.row = self.reached.row.max(row);
        }
    }

    /// Rows still to come, by what the peer says.
    pub(super) fn left(&self) -> u64 {
        self.rows.saturating_sub(self.next.row)
    }

    /// Whether the peer's last row came.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Whether the sets are level after it, by what the peer said.
    pub(super) fn is_all(&self) -> bool {
        self.is_all
    }

    /// Where another pull may go on.
    pub(super) fn reached(&self) -> Cursor {
        self.reached
    }
}

/// Answers a peer's request: the records from a row on that lie together in the log.
pub fn answer(store: &Store, cursor: Cursor, bodies: &dyn Bodies) -> Records {
    let numbering = store.numbering();
    let row = if cursor.numbering == numbering { cursor.row.min(store.rows()) } else { 0 };
    let from = Row::try_from(row).expect("no more than there are");
    let span = Span { from: Cursor { numbering, row }, next: store.rows(), rows: store.rows() };
    let mut records = Records { span, ..Records::default() };
    if let Some(window) = store.window(from, limits::RECORDS_BYTES) {
        records.good = bodies.sealed_at_all(&window.places);
        records.span.next = u64::from(window.next);
    }
    records
}

/// What stands for a root where 8 bytes of it do.
pub fn short_root(root: &Digest) -> u64 {
    u64::from_le_bytes(*root.0.first_chunk().expect("a digest has 32 bytes"))
}
