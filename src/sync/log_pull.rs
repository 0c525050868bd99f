//! Taking what a peer has in the order of its log, when most of it is lacking.
//!
//! In: answers to `Records`. Out: what to ask for. A peer's rows are named by a cursor, so that a
//! pull that was cut off goes on where it was, and row ranges are asked for side by side, so that
//! it does not wait for a round trip each time.
//!
//! Never: asks twice for what came, asks on when the peer's rows do not move.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::messages::{RowCursor, RowRange, Span};
use crate::base::Digest;

/// A peer with so many times our assertions is pulled from: what we have of them costs less to get
/// again than it costs to find out which.
const PULL_RATIO: u64 = 8;
/// So few are told by a sketch for less.
const SKETCH_CHEAPER_MAX: u64 = 64;

/// One pull under way.
#[derive(Debug)]
pub(super) struct LogPull {
    /// Where it begins, if the peer has that.
    start: RowCursor,
    /// What its rows are counted by, once an answer told.
    numbering: Option<u64>,
    /// From here on nothing was asked for; the last of all rows while an answer may bring any.
    next: u64,
    /// What was asked for and did not come, up to which row.
    gaps: BTreeMap<u64, u64>,
    /// RowSet that fit in an answer, about; all, as long as that is not known.
    share: u64,
    asked: BTreeMap<u32, RowRange>,
    /// The first rows of answers whose assertions are looked at.
    opened: BTreeMap<u32, u64>,
    /// Answers that are not all stored, by their first row: where each ends, and how many
    /// assertions had come with it, once they are known.
    ends: BTreeMap<u64, (u64, Option<u64>)>,
    /// What came before is stored or will be, whatever happens.
    reached: RowCursor,
    /// Assertions that came, and those that were stored.
    came: u64,
    stored: u64,
    /// How many rows the peer says it has, and the last of which an answer came.
    rows: u64,
    front: u64,
    /// Whether the peer's rows from the first on are all that we lack, and it lacks nothing.
    is_all: bool,
}

impl LogPull {
    /// From a row on, where the peer has it.
    pub(super) fn new(start: RowCursor, is_all: bool) -> LogPull {
        LogPull {
            start,
            numbering: None,
            next: start.row,
            gaps: BTreeMap::new(),
            share: u64::MAX,
            asked: BTreeMap::new(),
            opened: BTreeMap::new(),
            ends: BTreeMap::new(),
            reached: start,
            came: 0,
            stored: 0,
            rows: u64::MAX,
            front: 0,
            is_all,
        }
    }

    /// Whether sets of these sizes are better pulled than compared.
    pub(super) fn is_cheaper(ours: u64, theirs: u64) -> bool {
        ours.saturating_mul(PULL_RATIO) <= theirs && theirs - ours > SKETCH_CHEAPER_MAX
    }

    /// What to ask for with a call; `None` while nothing more is known to ask for.
    pub(super) fn ask(&mut self, number: u32) -> Option<RowRange> {
        let numbering = self.numbering.unwrap_or(self.start.numbering);
        let (row, until) = match self.gaps.pop_first() {
            Some(gap) => gap,
            None if self.next >= self.rows => return None,
            None => {
                let end = self.next.saturating_add(self.share);
                // What the peer took in meanwhile comes with the last of what it had.
                let until = if end < self.rows { end } else { u64::MAX };
                (std::mem::replace(&mut self.next, until), until)
            }
        };
        let range = RowRange { from: RowCursor { numbering, row }, until };
        self.asked.insert(number, range);
        Some(range)
    }

    /// Takes an answer's span; a row known from an earlier pull is where it goes on. `Err`: the
    /// peer does not move on.
    pub(super) fn handle_span(
        &mut self,
        number: u32,
        span: Span,
        known: Option<u64>,
    ) -> Result<(), String> {
        let Some(asked) = self.asked.remove(&number) else { return Ok(()) };
        let RowCursor { numbering, row } = span.from;
        let is_first = self.numbering.is_none();
        if self.numbering.is_some_and(|current| current != asked.from.numbering) {
            // The peer numbered its rows anew, and another answer told so.
            return Ok(());
        }
        let is_same = numbering == asked.from.numbering;
        if is_same && row != asked.from.row {
            let wanted = asked.from.row;
            return Err(format!("the peer gave records from row {row}, asked for {wanted}"));
        }
        if is_same && span.next > asked.until {
            return Err(format!("the peer gave records past row {}, which ends them", asked.until));
        }
        if span.next <= row && row < span.rows {
            return Err(format!("the peer stays at row {row} of {}", span.rows));
        }
        let mut next = span.next;
        if is_first || !is_same {
            (self.numbering, self.reached) = (Some(numbering), span.from);
            (self.next, self.share) = (u64::MAX, u64::MAX);
            self.gaps.clear();
            self.ends.clear();
            self.opened.clear();
            next = next.max(known.unwrap_or(0));
        }
        let until = if is_same { asked.until } else { u64::MAX };
        self.note_share(span.next - row.min(span.next), span.next, until);
        if self.next == u64::MAX && until == u64::MAX {
            self.next = next;
        } else if next < until && next < span.rows {
            self.gaps.insert(next, until);
        } else {
            self.next = self.next.max(next);
        }
        (self.rows, self.front) = (span.rows, self.front.max(next));
        self.ends.insert(row, (next, None));
        self.opened.insert(number, row);
        Ok(())
    }

    /// Learns how many rows to ask for at a time, from an answer of so many.
    fn note_share(&mut self, count: u64, next: u64, until: u64) {
        let share = self.share;
        self.share = match next.cmp(&until) {
            Ordering::Equal if count >= share => share.saturating_add(share / 32 + 1),
            Ordering::Equal => share,
            // Room to grow, since what does not fit costs one more call.
            _ if share == u64::MAX => (count - count / 8).max(1),
            // It may have ended with a segment.
            _ => (count - count / 8).max(share / 2).max(1),
        };
    }

    /// So many assertions came with an answer.
    pub(super) fn handle_records(&mut self, number: u32, count: usize) {
        self.came += count as u64;
        let row = self.opened.remove(&number);
        if let Some((_, came)) = row.and_then(|row| self.ends.get_mut(&row)) {
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
            let (next, came) = *entry.get();
            let follows = *entry.key() <= self.reached.row;
            if !follows || came.is_none_or(|came| came > self.stored) {
                break;
            }
            entry.remove();
            self.reached.row = self.reached.row.max(next);
        }
    }

    /// RowSet still to come, by what the peer says.
    pub(super) fn left(&self) -> u64 {
        self.numbering.map_or(0, |_| self.rows.saturating_sub(self.front))
    }

    /// Whether the peer's last row came.
    pub(super) fn is_over(&self) -> bool {
        self.asked.is_empty() && self.gaps.is_empty() && self.next >= self.rows
    }

    /// Whether the sets are level after it, by what the peer said.
    pub(super) fn is_all(&self) -> bool {
        self.is_all
    }

    /// Where another pull may go on.
    pub(super) fn reached(&self) -> RowCursor {
        self.reached
    }
}

/// What stands for a root where 8 bytes of it do.
pub fn short_root(root: &Digest) -> u64 {
    u64::from_le_bytes(*root.0.first_chunk().expect("a digest has 32 bytes"))
}
