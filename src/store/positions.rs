//! Where each row lies in the log: two bytes and a bit per row.
//!
//! In: positions, ascending. Out: the position of a row. Records mostly follow one another, so a
//! row keeps its distance from the one before it; one in [`ANCHORED`] rows keeps its position
//! whole. Never: forgets a row.

use std::collections::BTreeMap;

use super::row::Row;
use crate::journal::Position;
use crate::journal::record::ALIGNMENT;

/// Rows per whole position: at most this many distances are added up to find a row.
const ANCHORED: usize = 32;
/// Rows per allocation, so that growth copies nothing and wastes little.
const CHUNK: usize = 4096;
/// Stands for a distance that does not fit: a segment ended, or a body is over 512 KiB.
const FAR: u16 = u16::MAX;

#[derive(Debug)]
struct Chunk {
    anchors: [u64; CHUNK / ANCHORED],
    distances: [u16; CHUNK],
}

/// The positions of rows in the log, packed as distances.
#[derive(Debug, Default)]
pub(super) struct RowPositions {
    /// Boxed, so that growth moves pointers.
    chunks: Vec<Box<Chunk>>,
    /// Positions behind a [`FAR`].
    far: BTreeMap<Row, u64>,
    /// The last position: distances are counted from it.
    last: u64,
    count: usize,
}

impl RowPositions {
    pub(super) fn push(&mut self, position: Position) -> Row {
        debug_assert!(position.0.is_multiple_of(ALIGNMENT as u64));
        let row = Row::try_from(self.count).expect("limits::ROWS_MAX fits a row");
        let slot = self.count % CHUNK;
        if slot == 0 {
            let empty = Chunk { anchors: [0; CHUNK / ANCHORED], distances: [0; CHUNK] };
            self.chunks.push(Box::new(empty));
        }
        let chunk = self.chunks.last_mut().expect("just made");
        if slot.is_multiple_of(ANCHORED) {
            chunk.anchors[slot / ANCHORED] = position.0;
        } else {
            let distance = position.0.checked_sub(self.last).map(|bytes| bytes / ALIGNMENT as u64);
            let near = distance.and_then(|distance| u16::try_from(distance).ok());
            chunk.distances[slot] = near.filter(|near| *near != FAR).unwrap_or_else(|| {
                self.far.insert(row, position.0);
                FAR
            });
        }
        self.last = position.0;
        self.count += 1;
        self.check();
        row
    }

    /// The position of a row that is here.
    pub(super) fn position(&self, row: Row) -> Option<Position> {
        let index = row as usize;
        if index >= self.count {
            return None;
        }
        let chunk = &self.chunks[index / CHUNK];
        let slot = index % CHUNK;
        let anchor = slot / ANCHORED;
        let mut at = chunk.anchors[anchor];
        for step in anchor * ANCHORED + 1..=slot {
            match chunk.distances[step] {
                FAR => at = self.far[&(row - (slot - step) as Row)],
                near => at += u64::from(near) * ALIGNMENT as u64,
            }
        }
        Some(Position(at))
    }

    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// What holds between any two calls.
    fn check(&self) {
        debug_assert_eq!(self.chunks.len(), self.count.div_ceil(CHUNK), "chunks are full");
        debug_assert!(self.far.len() <= self.count);
    }

    pub(super) fn bytes(&self) -> usize {
        self.chunks.capacity() * size_of::<Box<Chunk>>()
            + self.chunks.len() * size_of::<Chunk>()
            + self.far.len() * 24
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_keeps_its_position_near_or_far() {
        let mut random = fastrand::Rng::with_seed(3);
        let mut rows = RowPositions::default();
        let mut expected = Vec::new();
        let mut at = 32;
        for _ in 0..3 * CHUNK + 5 {
            expected.push(at);
            let row = rows.push(Position(at));
            assert_eq!(row as usize + 1, expected.len());
            at += 8 * match random.u8(..) {
                0..4 => random.u64(60_000..9_000_000),
                4 => u64::from(FAR),
                _ => random.u64(6..100),
            };
        }
        for (row, at) in expected.iter().enumerate() {
            assert_eq!(rows.position(row as Row), Some(Position(*at)), "row {row}");
        }
        assert_eq!(rows.position(expected.len() as Row), None);
    }
}
