//! Taking what a peer has in the order of its log, if most of it is missing here.
//!
//! In: answers to `Records`. Out: which rows to ask for. A peer's rows are named by a cursor, so a
//! pull that was cut off goes on where it was. Two row ranges are in flight at once, so that the
//! pull does not wait for a round trip each time.
//!
//! ```text
//! first range: open, since nothing is known of the peer's rows
//!   | its answer says the numbering, how many rows there are, how many fit in one answer
//!   v
//! closed ranges, two in flight --short answer--> the rest is a gap, asked for before the next
//!   |              ^
//!   |              +-- the peer numbers its rows anew: all over again
//!   v
//! last range: open, for what the peer took meanwhile --> over
//! ```
//!
//! Never: asks again for rows that came, goes on while the peer's rows do not move, takes rows past
//! the range that it asked for.

use std::collections::BTreeMap;

use litemap::LiteMap;

use super::calls::RECORDS_MAX;
use super::messages::{RowCursor, RowRange, Span};
use super::peer_fault::PeerFault;
use super::stored_rows::StoredRows;

/// A peer with so many times our assertions is pulled from: to transfer again what we have of them
/// costs less than to find out which those are.
const PULL_RATIO: u64 = 8;
/// So few differences cost less by a sketch than a megabyte of the log.
const SKETCH_CHEAPER_MAX: u64 = 64;

/// What a pull is expected to bring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Scope {
    /// All that is missing on either side: afterwards the sets are equal.
    Everything,
    /// Most of what is missing here: sketches show the rest.
    Most,
}

/// A pull of the peer's log: which rows are asked for, came, and are stored.
#[derive(Debug)]
pub(super) struct LogPull {
    /// Where it begins, if the peer still numbers its rows so.
    start: RowCursor,
    /// The peer's numbering; `None` before the first answer.
    numbering: Option<u64>,
    /// The first row that was not asked for; `None` while an open range is in flight, whose answer
    /// says where the next one begins.
    next: Option<u64>,
    /// Ranges of which only a part came, by their first row: they go before `next`.
    gaps: BTreeMap<u64, Option<u64>>,
    /// About how many rows fit in an answer; `None` before one was cut off by its size. Ranges of
    /// this length come whole, so that two of them in flight do not overlap.
    rows_per_answer: Option<u64>,
    /// Ranges in flight by call: an answer has to lie within its own.
    asked: LiteMap<u32, RowRange>,
    /// How many rows the peer says it has; `None` before the first answer.
    rows: Option<u64>,
    /// The row that follows the last one that came, for the progress.
    front: u64,
    /// What comes after the pull: nothing, or a comparison.
    scope: Scope,
    /// How far it is stored, for the pull after a cut.
    stored: StoredRows,
}

impl LogPull {
    /// A pull from a row on, if the peer has it.
    pub(super) fn new(start: RowCursor, scope: Scope) -> LogPull {
        LogPull {
            start,
            numbering: None,
            next: Some(start.row),
            gaps: BTreeMap::new(),
            rows_per_answer: None,
            asked: LiteMap::new_vec(),
            rows: None,
            front: 0,
            scope,
            stored: StoredRows::new(start),
        }
    }

    /// Whether a pull costs less than a comparison of sets of these sizes.
    pub(super) fn is_cheaper(ours: u64, theirs: u64) -> bool {
        ours.saturating_mul(PULL_RATIO) <= theirs && theirs - ours > SKETCH_CHEAPER_MAX
    }

    /// The range to ask for with a call; `None` while no more rows are known.
    pub(super) fn ask(&mut self, number: u32) -> Option<RowRange> {
        let numbering = self.numbering.unwrap_or(self.start.numbering);
        let (row, until) = match self.gaps.pop_first() {
            Some(gap) => gap,
            None => self.take_next()?,
        };
        let range = RowRange { from: RowCursor { numbering, row }, until };
        self.asked.insert(number, range);
        self.check();
        Some(range)
    }

    fn take_next(&mut self) -> Option<(u64, Option<u64>)> {
        let row = self.next?;
        if self.rows.is_some_and(|rows| row >= rows) {
            return None;
        }
        let end = self.rows_per_answer.and_then(|count| row.checked_add(count));
        // The last range is open: what the peer took in meanwhile comes with it.
        let until = end.filter(|end| self.rows.is_some_and(|rows| *end < rows));
        self.next = until;
        Some((row, until))
    }

    /// Takes the rows that an answer covers. `known` is the row up to which an earlier pull stored
    /// them.
    pub(super) fn handle_span(
        &mut self,
        number: u32,
        span: Span,
        known: Option<u64>,
    ) -> Result<(), PeerFault> {
        let Some(asked) = self.asked.remove(&number) else { return Ok(()) };
        let RowCursor { numbering, row } = span.from;
        let is_first = self.numbering.is_none();
        if self.numbering.is_some_and(|current| current != asked.from.numbering) {
            // The peer numbered its rows anew, and another answer said so.
            return Ok(());
        }
        let is_same = numbering == asked.from.numbering;
        if is_same {
            check_within(asked, span)?;
        }
        // Without progress the same rows would be asked for again and again.
        if span.next <= row && row < span.rows {
            return Err(PeerFault::StaysAtRow { row, rows: span.rows });
        }
        let mut next = span.next;
        if is_first || !is_same {
            self.restart(span.from);
            // The rows of an earlier pull are not asked for again.
            next = next.max(known.unwrap_or(0));
        }
        let until = asked.until.filter(|_| is_same);
        self.note_rows_per_answer(span.next.saturating_sub(row), span.next, until);
        self.note_came(next, until, span.rows);
        (self.rows, self.front) = (Some(span.rows), self.front.max(next));
        self.stored.begin(number, row, next);
        self.check();
        Ok(())
    }

    /// The peer's rows have a numbering that is not the one asked for.
    fn restart(&mut self, from: RowCursor) {
        self.numbering = Some(from.numbering);
        (self.next, self.rows_per_answer) = (None, None);
        self.gaps.clear();
        self.stored.restart(from);
    }

    /// All in front of `next` came, of a range that ends at `until`.
    fn note_came(&mut self, next: u64, until: Option<u64>, rows: u64) {
        let is_short = until.is_none_or(|until| next < until) && next < rows;
        match self.next {
            None if until.is_none() => self.next = Some(next),
            _ if is_short => {
                self.gaps.insert(next, until);
            }
            Some(before) => self.next = Some(before.max(next)),
            None => {}
        }
    }

    /// Learns how many rows to ask for at a time, from an answer of so many.
    fn note_rows_per_answer(&mut self, count: u64, next: u64, until: Option<u64>) {
        // An eighth less, since a range that does not come whole costs one more call.
        let fitting = count - count / 8;
        self.rows_per_answer = Some(match self.rows_per_answer {
            // The range came whole: more may fit.
            Some(most) if Some(next) == until && count >= most => {
                most.saturating_add(most / 32 + 1)
            }
            Some(most) if Some(next) == until => most,
            // No less than half at once: the answer may have ended with a segment of the log.
            Some(most) => fitting.max(most / 2).max(1),
            None => fitting.max(1),
        });
    }

    /// So many assertions came with the answer to a call.
    pub(super) fn handle_records(&mut self, number: u32, count: usize) {
        self.stored.handle_records(number, count);
    }

    pub(super) fn handle_stored(&mut self) {
        self.stored.handle_stored();
    }

    /// Rows still to come, by what the peer says.
    pub(super) fn remaining(&self) -> u64 {
        self.rows.map_or(0, |rows| rows.saturating_sub(self.front))
    }

    /// Whether the peer's last row came.
    pub(super) fn is_over(&self) -> bool {
        let is_last = self.next.zip(self.rows).is_some_and(|(next, rows)| next >= rows);
        self.asked.is_empty() && self.gaps.is_empty() && is_last
    }

    /// Whether the sets are equal after it, by what the peer said.
    pub(super) fn is_everything(&self) -> bool {
        self.scope == Scope::Everything
    }

    /// Where another pull may go on; `None` before an answer named the peer's numbering.
    pub(super) fn reached(&self) -> RowCursor {
        self.stored.reached()
    }

    /// The bound of calls holds, and whenever the next row is unknown an answer will say it:
    /// without one the pull would wait for ever.
    fn check(&self) {
        debug_assert!(self.asked.len() <= RECORDS_MAX + 1);
        let mut asked = self.asked.values();
        debug_assert!(self.next.is_some() || asked.any(|range| range.until.is_none()));
        let gap = self.gaps.last_key_value();
        debug_assert!(gap.is_none_or(|(from, until)| until.is_none_or(|until| *from < until)));
    }
}

/// Whether an answer of the numbering that was asked for begins and ends where it should.
fn check_within(asked: RowRange, span: Span) -> Result<(), PeerFault> {
    let (row, wanted) = (span.from.row, asked.from.row);
    if row != wanted {
        return Err(PeerFault::OtherRow { row, wanted });
    }
    match asked.until.filter(|until| span.next > *until) {
        Some(until) => Err(PeerFault::PastRow(until)),
        None => Ok(()),
    }
}
