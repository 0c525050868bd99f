//! A walk through all leaves of the peer, by the five standard calls alone.
//!
//! In: pages of leaves. Out: which of them are missing here, and which rows the peer did not show.
//! Memory is one bit for each row of ours that was shown.
//!
//! Never: takes a leaf for news twice, shows a row that came after the walk began.

use std::collections::BTreeSet;

use super::row_set::RowSet;
use crate::base::Digest;
use crate::journal::Bodies;
use crate::model::Sealed;
use crate::store::{Row, Store};

/// What the peer's leaves showed.
#[derive(Debug)]
pub(super) struct LeafWalk {
    /// RowSet of ours that the peer has, too.
    shown: RowSet,
    /// RowSet there were at the start: later ones may have come from this very peer.
    rows_at_start: u64,
    /// Before this row all were given that the peer did not show.
    next: u64,
    /// Leaves that the peer shows and does not give: not asked for again.
    unobtainable: BTreeSet<Digest>,
}

impl LeafWalk {
    /// Nothing was shown yet, of a set with so many rows.
    pub(super) fn new(rows_at_start: u64) -> LeafWalk {
        let (shown, unobtainable) = (RowSet::default(), BTreeSet::new());
        LeafWalk { shown, rows_at_start, next: 0, unobtainable }
    }

    /// The peer has this row, too. False: it was shown before.
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

    /// How many of the peer's leaves we have heard of but for those that are missing. Those fetched
    /// in this session count once, whether or not the walk comes by them again.
    pub(super) fn known(&self, fetched: u64) -> u64 {
        let old = self.shown.count_below(self.rows_at_start);
        let new = (self.shown.count - old).max(fetched);
        old + new + self.unobtainable.len() as u64
    }

    /// The peer does not show all of its leaves: what it lacks is unknown.
    pub(super) fn give_nothing(&mut self) {
        self.next = self.rows_at_start;
    }

    /// The next assertion that the peer did not show.
    pub(super) fn next_unshown(&mut self, store: &Store, bodies: &dyn Bodies) -> Option<Sealed> {
        loop {
            let row = self.shown.next_absent(self.next, self.rows_at_start)?;
            self.next = row + 1;
            let position = Row::try_from(row).ok().and_then(|row| store.position(row));
            let sealed = position.and_then(|at| bodies.sealed_at(at));
            if sealed.is_some() {
                return sealed;
            }
        }
    }
}
