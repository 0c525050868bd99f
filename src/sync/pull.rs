//! Taking what a peer has in the order of its log, when most of it is lacking.
//!
//! In: answers to `Records`. Out: where to go on. A peer's rows are named by a cursor, so that a
//! pull that was cut off goes on where it was. Never: asks twice for the same row in a row, asks on
//! when the peer's rows do not move.

use super::call::{Cursor, Records};
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
    /// What came before the last two answers is stored or will be, whatever happens.
    before: [Cursor; 2],
    is_over: bool,
    /// How many rows the peer says it has.
    rows: u64,
    /// Whether the peer's rows from the first on are all that we lack, and it lacks nothing.
    is_all: bool,
}

impl Pull {
    /// From a row on, where the peer has it.
    pub(super) fn new(from: Cursor, is_all: bool) -> Pull {
        Pull { next: from, before: [from; 2], is_over: false, rows: 0, is_all }
    }

    /// Whether sets of these sizes are better pulled than compared.
    pub(super) fn is_worth(ours: u64, theirs: u64) -> bool {
        ours.saturating_mul(FOLD) <= theirs && theirs - ours > FEW
    }

    /// What to ask for.
    pub(super) fn request(&self) -> Cursor {
        self.next
    }

    /// Takes an answer; a row known from an earlier pull is where it goes on. `Err`: the peer does
    /// not move on.
    pub(super) fn handle(&mut self, records: &Records, known: Option<u64>) -> Result<(), String> {
        let asked = self.next;
        let Cursor { numbering, row } = records.from;
        if numbering == asked.numbering && row != asked.row {
            return Err(format!("the peer gave records from row {row}, asked for {}", asked.row));
        }
        let next = known.unwrap_or(0).max(records.next);
        if records.next <= row && row < records.rows {
            return Err(format!("the peer stays at row {row} of {}", records.rows));
        }
        self.before = [self.before[1], Cursor { numbering, row }];
        self.next = Cursor { numbering, row: next };
        self.rows = records.rows;
        self.is_over = next >= records.rows;
        Ok(())
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
        if self.is_over { self.next } else { self.before[0] }
    }
}

/// Answers a peer's request: the records from a row on that lie together in the log.
pub fn answer(store: &Store, cursor: Cursor, bodies: &dyn Bodies) -> Records {
    let numbering = store.numbering();
    let row = if cursor.numbering == numbering { cursor.row.min(store.rows()) } else { 0 };
    let from = Row::try_from(row).expect("no more than there are");
    let mut records = Records {
        from: Cursor { numbering, row },
        next: store.rows(),
        rows: store.rows(),
        ..Records::default()
    };
    if let Some(window) = store.window(from, limits::RECORDS_BYTES) {
        records.good = bodies.sealed_at_all(&window.places);
        records.next = u64::from(window.next);
    }
    records
}

/// What stands for a root where 8 bytes of it do.
pub fn short_root(root: &Digest) -> u64 {
    u64::from_le_bytes(*root.0.first_chunk().expect("a digest has 32 bytes"))
}
