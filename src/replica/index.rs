//! The index's older rows: from memory into runs.
//!
//! In: runs that were written. Out: rows that are to become one. Never: lets a start trust the
//! index of a log with damage.

use super::{Output, Replica};
use crate::store::{Run, Spill, State};

impl Replica {
    /// Rows that were spilled are in a file now.
    pub fn handle_indexed(&mut self, run: Run) {
        self.store.adopt(run);
        self.is_unindexed = false;
        // One file is written at a time; the next rows may be full already.
        self.spill();
        self.check();
    }

    /// Rows that were spilled cannot be written for now.
    pub fn handle_unindexed(&mut self) {
        self.is_unindexed = true;
        self.check();
    }

    /// The rows of the index that are in memory, for a file of their own, when the node stops.
    pub fn spill_rest(&mut self) -> Option<Spill> {
        let spill = self.store.spill_all();
        spill.map(|spill| self.with_state(spill))
    }

    /// What a start needs beside the runs, when all rows are in them.
    pub fn state(&self) -> Option<State> {
        self.store.state().filter(|_| self.damages.found() == 0)
    }

    pub(super) fn spill(&mut self) {
        let spill = self.store.spill();
        let spill = spill.map(|spill| self.with_state(spill));
        self.outbox.extend(spill.map(Output::Spill));
    }

    /// What recovery quarantined, the next start has to find again.
    fn with_state(&self, mut spill: Spill) -> Spill {
        spill.state = spill.state.filter(|_| self.damages.found() == 0);
        spill
    }
}
