//! The difference of two sketches, and the ids that it decodes to.
//!
//! In: cells of the peer's sketch, and our sketch. Out: the ids that only one of the sets has. The
//! decoder is the peeling of section 4 of "Practical Rateless Set Reconciliation" (Yang, Gilad,
//! Alizadeh, SIGCOMM 2024): a cell with one id gives that id away, which empties other cells.
//!
//! ```text
//! extend: more cells -----> decode -----> All: found() is the difference
//!    ^                        |
//!    +------ Part <-----------+---------> Nonsense: the cells are of no set
//! ```
//!
//! Never: works longer than its cells allow whatever they hold, knows which set an id belongs to,
//! finds more ids than it has cells.

use super::Sketch;
use super::cell::{Cell, narrow};
use super::index_sequence::SketchKey;
use super::part::ShortId;

/// The difference of two sketches, being decoded.
#[derive(Debug)]
pub struct Difference {
    /// Our sketch's key, kept so that decoding needs no sketch.
    key: SketchKey,
    /// The sums of both sketches' cells, less the ids that are found already.
    cells: Vec<Cell>,
    /// The ids decoded so far; they are taken out of cells that come later, too.
    found: Vec<ShortId>,
}

/// How far a decoding came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decoded {
    /// Everything: [`Difference::found`] is the whole difference.
    All,
    /// Some ids, perhaps none; more cells are needed for the rest.
    Part,
    /// No two sets have these cells.
    Nonsense,
}

impl Difference {
    /// The difference of our sketch and the first cells of theirs.
    pub fn new(ours: &Sketch, theirs: &[Cell]) -> Difference {
        let mut difference = Difference { key: ours.key(), cells: Vec::new(), found: Vec::new() };
        difference.extend(ours, theirs);
        difference
    }

    /// Goes on with the next cells of their sketch. Both sets must be what they were.
    pub fn extend(&mut self, ours: &Sketch, theirs: &[Cell]) {
        let from = self.cells.len();
        // A peer may send more cells than a sketch has: those are passed over.
        let free = ours.len().saturating_sub(from);
        for (index, their) in (from..).zip(theirs.iter().take(free)) {
            let mut cell = ours.cell(index);
            cell.add(*their);
            // The peer's checks came in 24 bits here, ours have 32.
            cell.checks = narrow(cell.checks, index);
            self.cells.push(cell);
        }
        let end = self.cells.len();
        // Without this a found id would be found again in the new cells, and never be exhausted.
        for id in &self.found {
            let check = self.key.check(*id);
            let indices = self.key.indices(*id).take_while(|index| *index < end);
            for index in indices.skip_while(|index| *index < from) {
                self.cells[index].add(Cell { ids: *id, checks: narrow(check, index) });
            }
        }
        self.check();
    }

    /// How many cells came so far.
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    /// Whether no cell came so far.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// The ids that were decoded.
    pub fn found(&self) -> &[ShortId] {
        &self.found
    }

    /// Takes out ids as long as a cell holds a single one (the peeling decoder of the paper).
    pub fn decode(&mut self) -> Decoded {
        let is_sensible = self.peel();
        self.check();
        // All cells: a set of ids whose sums cancel in the first ones shows in a later one.
        let is_empty = self.cells.iter().all(|cell| *cell == Cell::default());
        match (is_sensible, is_empty) {
            (false, _) => Decoded::Nonsense,
            (true, true) => Decoded::All,
            (true, false) => Decoded::Part,
        }
    }

    /// Takes ids out of cells that hold them alone, until there is none. False if more come out
    /// than two sets can have.
    fn peel(&mut self) -> bool {
        // Popped from the first cell on. Late cells are sparse and give their ids away first; early
        // ones become single by them and are pushed again.
        let mut open: Vec<usize> = (0..self.cells.len()).rev().collect();
        while let Some(index) = open.pop() {
            let cell = self.cells[index];
            if cell == Cell::default() || !self.is_single(cell, index) {
                continue;
            }
            // Honest sets take some 1.36 cells an id, so more ids than cells are made up. Each id
            // costs as many steps as it has cells: this bounds the work.
            if self.found.len() >= self.cells.len() {
                return false;
            }
            self.found.push(cell.ids);
            let (check, end) = (self.key.check(cell.ids), self.cells.len());
            for other in self.key.indices(cell.ids).take_while(|other| *other < end) {
                self.cells[other].add(Cell { ids: cell.ids, checks: narrow(check, other) });
                open.push(other);
            }
        }
        true
    }

    /// Whether one id is all there is in a cell.
    fn is_single(&self, cell: Cell, index: usize) -> bool {
        // The check alone errs once in 2^24; the second condition makes narrow checks safe.
        narrow(self.key.check(cell.ids), index) == cell.checks
            && self.key.indices(cell.ids).find(|other| *other >= index) == Some(index)
    }

    /// Each id was found in a cell of its own, and checks are as wide as they travel.
    pub(super) fn check(&self) {
        debug_assert!(self.found.len() <= self.cells.len());
        let last = self.cells.last().zip(self.cells.len().checked_sub(1));
        debug_assert!(last.is_none_or(|(cell, at)| narrow(cell.checks, at) == cell.checks));
    }
}
