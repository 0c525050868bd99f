//! A walk through all leaves of the peer, by the five standard calls alone.
//!
//! In: pages of leaves. Out: which of them are missing here, and which rows the peer did not show.
//! Memory is one bit for each row of ours that was shown.
//!
//! ```text
//! showing: pages come, rows are noted ----> unshown rows are handed out, from row 0 on
//!                |                                      ^
//!                +-- the peer hides leaves: nothing is handed out
//! ```
//!
//! Never: counts a leaf as new twice, hands out a row that came after the walk began, hands out a
//! row while leaves are still to come.

use std::collections::BTreeSet;

use super::row_set::RowSet;
use crate::base::Digest;
use crate::journal::Bodies;
use crate::model::Sealed;
use crate::store::{Row, Store};

/// What the peer's leaves showed.
#[derive(Debug)]
pub(super) struct LeafWalk {
    /// Rows of ours that the peer has, too. The rest is what it lacks.
    shown: RowSet,
    /// Rows at the start. Later ones may have come from this very peer, so it is not given them.
    rows_at_start: u64,
    /// The first row that was not looked at for handing out.
    next: u64,
    /// Leaves that the peer shows and does not give. Without them it would be asked for the same
    /// leaves after each page.
    unobtainable: BTreeSet<Digest>,
}

impl LeafWalk {
    /// A walk of which no page came, beside a set with so many rows.
    pub(super) fn new(rows_at_start: u64) -> LeafWalk {
        let (shown, unobtainable) = (RowSet::default(), BTreeSet::new());
        LeafWalk { shown, rows_at_start, next: 0, unobtainable }
    }

    /// The peer has this row, too. False if it was shown before.
    pub(super) fn note_shown(&mut self, row: Row) -> bool {
        self.shown.insert(u64::from(row))
    }

    /// The peer shows these leaves, and does not give them.
    pub(super) fn note_unobtainable(&mut self, mut leaves: BTreeSet<Digest>) {
        self.unobtainable.append(&mut leaves);
    }

    pub(super) fn is_unobtainable(&self, leaf: &Digest) -> bool {
        self.unobtainable.contains(leaf)
    }

    /// How many leaves the peer shows and does not give.
    pub(super) fn unobtainable(&self) -> usize {
        self.unobtainable.len()
    }

    /// How many of the peer's leaves were shown, except those that are still missing here.
    pub(super) fn known(&self, fetched: u64) -> u64 {
        let old = self.shown.count_below(self.rows_at_start);
        // A fetched assertion has a new row, and a later page may show it again: it counts once.
        let new = (self.shown.count - old).max(fetched);
        old + new + self.unobtainable.len() as u64
    }

    /// The peer does not show all of its leaves, so what it lacks is unknown.
    pub(super) fn give_nothing(&mut self) {
        self.next = self.rows_at_start;
        self.check();
    }

    /// The next assertion that the peer did not show.
    pub(super) fn next_unshown(&mut self, store: &Store, bodies: &dyn Bodies) -> Option<Sealed> {
        loop {
            let row = self.shown.next_absent(self.next, self.rows_at_start)?;
            self.next = row + 1;
            self.check();
            let position = Row::try_from(row).ok().and_then(|row| store.position(row));
            let sealed = position.and_then(|at| bodies.sealed_at(at));
            // A record may be damaged: its row is passed over, the rest is still of use.
            if sealed.is_some() {
                return sealed;
            }
        }
    }

    /// No row from the start's end on is handed out.
    fn check(&self) {
        debug_assert!(self.next <= self.rows_at_start);
    }
}
