//! How far a pull is stored: up to which row all assertions of the peer are on our disk.
//!
//! In: answers by their rows, how many assertions each brought, how many are stored. Out: the row
//! where another pull may go on. Assertions are counted, not named, since the disk stores them in
//! about the order in which they came.
//!
//! ```text
//! begin -> opened --handle_records--> waiting for the disk --stored--> reached
//! ```
//!
//! Never: names a row before as many assertions are stored as came up to it, goes back, looks at an
//! assertion.

use std::collections::BTreeMap;

use litemap::LiteMap;

use super::calls::RECORDS_MAX;
use super::messages::RowCursor;

/// An answer that is not stored whole.
#[derive(Debug)]
struct Unstored {
    /// The row that follows it.
    next: u64,
    /// How many assertions had come with this answer and those before; `None` while it is hashed.
    received: Option<u64>,
}

/// Rows of a peer on their way to our disk.
#[derive(Debug)]
pub(super) struct StoredRows {
    /// All rows in front of this one are stored, whatever happens.
    reached: RowCursor,
    /// Calls whose assertions are being hashed, with their first rows: answers name their call.
    opened: LiteMap<u32, u64>,
    /// Answers that are not stored whole, by their first row. They come in any order.
    unstored: BTreeMap<u64, Unstored>,
    /// Assertions that came so far.
    received: u64,
    /// Assertions that were stored so far.
    stored: u64,
}

impl StoredRows {
    /// Nothing came; rows in front of this one are stored from an earlier pull.
    pub(super) fn new(reached: RowCursor) -> StoredRows {
        let (opened, unstored) = (LiteMap::new_vec(), BTreeMap::new());
        StoredRows { reached, opened, unstored, received: 0, stored: 0 }
    }

    /// The peer numbers its rows anew: what came before says nothing about those.
    pub(super) fn restart(&mut self, reached: RowCursor) {
        self.reached = reached;
        self.unstored.clear();
        self.opened.clear();
        self.check();
    }

    /// The answer to a call covers these rows, and is being hashed.
    pub(super) fn begin(&mut self, number: u32, row: u64, next: u64) {
        self.unstored.insert(row, Unstored { next, received: None });
        self.opened.insert(number, row);
        self.check();
    }

    /// So many assertions came with the answer to a call.
    pub(super) fn handle_records(&mut self, number: u32, count: usize) {
        // Counted before anything of this answer is offered.
        self.received += count as u64;
        let row = self.opened.remove(&number);
        if let Some(answer) = row.and_then(|row| self.unstored.get_mut(&row)) {
            answer.received = Some(self.received);
        }
        self.advance();
    }

    pub(super) fn handle_stored(&mut self) {
        self.stored += 1;
        self.advance();
    }

    fn advance(&mut self) {
        while self.is_first_stored() {
            let (_, answer) = self.unstored.pop_first().expect("the one just looked at");
            // A later answer may end in front of an earlier one, if the peer says so.
            self.reached.row = self.reached.row.max(answer.next);
        }
        self.check();
    }

    /// Whether the first answer follows what is stored, and is stored whole itself.
    fn is_first_stored(&self) -> bool {
        self.unstored.first_key_value().is_some_and(|(row, answer)| {
            *row <= self.reached.row && answer.received.is_some_and(|it| it <= self.stored)
        })
    }

    pub(super) fn reached(&self) -> RowCursor {
        self.reached
    }

    /// No answer waits that could be counted as stored, and the bound of calls holds here as well.
    fn check(&self) {
        debug_assert!(!self.is_first_stored());
        debug_assert!(self.opened.len() <= RECORDS_MAX + 1);
    }
}
