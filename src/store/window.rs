//! Records that lie together in the log, for full syncs and the scrubber.
//!
//! In: a row to begin with. Out: positions. Never: reads a record.

use std::ops::Range;

use super::Store;
use super::row::Row;
use crate::base::limits;
use crate::journal::Position;
use crate::journal::record::frame_bytes;

/// Records that lie together, to be read in one go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Window {
    /// Where they start; ascending, in one segment.
    pub positions: Vec<Position>,
    /// Where the last one ends, if that is known: its reader then asks for no more bytes than that.
    pub end: Option<Position>,
    /// The row to go on with.
    pub next: Row,
}

impl Window {
    /// Adds a position, if it follows and is near; else it may show where the last record ends.
    fn takes(&mut self, at: Position, bytes: u64) -> bool {
        let Some((first, last)) = self.positions.first().zip(self.positions.last()) else {
            self.positions.push(at);
            return true;
        };
        // A record that was written anew lies elsewhere: another window begins with it.
        let follows = *last < at && at.segment() == first.segment();
        if follows && at.0 - first.0 <= bytes {
            self.positions.push(at);
            return true;
        }
        // Behind a larger gap there is damage of any length, which is not to be read with this.
        let is_next =
            at.0.saturating_sub(last.0) <= frame_bytes(limits::ASSERTION_BYTES_MAX) as u64;
        self.end = Some(at).filter(|_| follows && is_next);
        false
    }
}

impl Store {
    /// How many rows were appended before a position.
    pub fn rows_before(&self, at: Position) -> u64 {
        let (mut low, mut high) = (0, self.end_row());
        while low < high {
            let middle = low.midpoint(high);
            if self.holder(middle).position(middle) < at {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        u64::from(low)
    }

    /// Records of some rows from the first on, within about so many bytes (one at least); `None`
    /// if none of them is left.
    pub fn window(&self, rows: Range<Row>, bytes: u64) -> Option<Window> {
        let mut window = Window { positions: Vec::new(), end: None, next: rows.start };
        let end = rows.end.min(self.end_row());
        while window.next < end {
            for appended in self.holder(window.next).positions(window.next) {
                let row = window.next;
                if row >= end {
                    break;
                }
                let at = self.moved.get(&row).copied().unwrap_or(appended);
                if !self.lost.contains_key(&row) && !window.takes(at, bytes) {
                    return Some(window);
                }
                window.next += 1;
            }
        }
        (!window.positions.is_empty()).then_some(window)
    }
}
