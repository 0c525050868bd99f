//! One cell of a sketch, as it travels and as it is stored.
//!
//! In: ids with their checks. Out: sums of them. A cell is the paper's coded symbol: "Practical
//! Rateless Set Reconciliation" (Yang, Gilad, Alizadeh, SIGCOMM 2024), section 4.
//!
//! Never: keeps an id by itself, distinguishes an id that was added twice from one never added.

use super::part::ShortId;

/// The sums (exclusive or) over all ids in one cell.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Cell {
    /// Sum of the ids. Ids that both sets have cancel out in the sum of two cells.
    pub ids: ShortId,
    /// Sum of the ids' checks: if it is the check of `ids`, the cell holds that id alone.
    pub checks: u32,
}

impl Cell {
    pub(super) fn add(&mut self, other: Cell) {
        self.ids ^= other.ids;
        self.checks ^= other.checks;
    }
}

/// A cell in memory: the sum of the ids, then the sum of their checks with the number of ids in the
/// upper half.
// Plain numbers, because `vec![[0; 2]; n]` asks for zeroed pages: an empty node's sketch takes no
// memory until its first members come.
pub(super) type StoredCell = [u64; 2];

pub(super) fn cell_of([ids, rest]: StoredCell) -> Cell {
    Cell { ids, checks: rest as u32 }
}

pub(super) fn count_of([_, rest]: StoredCell) -> u32 {
    (rest >> 32) as u32
}

/// Adds an id with its check.
pub(super) fn insert_into(cell: &mut StoredCell, id: ShortId, check: u32) {
    cell[0] ^= id;
    // The count wraps at 2^32, as the readers of counts expect.
    cell[1] = (cell[1] ^ u64::from(check)).wrapping_add(1 << 32);
}

/// The first cell whose checks travel and count in 24 bits.
///
/// An id counts as alone only if it lies in this very cell, which is the less likely by chance the
/// later the cell. So 8 bits fewer leave under one mistake in 10^8 ids over a whole decoding.
pub const NARROW_FROM: usize = 64;

/// The bits of a sum of checks that count in a cell.
pub(super) fn narrow(checks: u32, index: usize) -> u32 {
    if index < NARROW_FROM { checks } else { checks & 0xff_ffff }
}
