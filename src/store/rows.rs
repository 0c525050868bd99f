//! Where each row lies in the log: two bytes and a bit per row.
//!
//! In: positions, ascending. Out: the position of a row. Records mostly follow one another, so a
//! row keeps its distance from the one before it; one in [`ANCHORED`] rows keeps its position
//! whole. The few whose record was damaged, and those that got another place since, are kept
//! beside. Never: forgets a row.

use std::collections::BTreeMap;

use super::Row;
use crate::base::Digest;
use crate::base::stream::{Sink, Source};
use crate::journal::Position;
use crate::journal::record::{ALIGNMENT, FRAME_HEAD_BYTES};

/// Rows per whole position: at most this many distances are added up to find a row.
const ANCHORED: usize = 32;
/// Rows per allocation, so that growth copies nothing and wastes little.
const CHUNK: usize = 4096;
/// Stands for a distance that does not fit.
const FAR: u16 = u16::MAX;

#[derive(Debug)]
struct Chunk {
    anchors: [u64; CHUNK / ANCHORED],
    distances: [u16; CHUNK],
}

/// Positions by row.
#[derive(Debug, Default)]
pub(super) struct Rows {
    chunks: Vec<Box<Chunk>>,
    far: BTreeMap<Row, u64>,
    last: u64,
    count: usize,
    /// Rows whose record cannot be read, with the name it seems to have.
    lost: BTreeMap<Row, Digest>,
    /// Rows whose record was written anew.
    moved: BTreeMap<Row, u64>,
}

impl Rows {
    /// Appends a row.
    pub(super) fn push(&mut self, position: Position) -> Row {
        debug_assert!(position.0.is_multiple_of(ALIGNMENT as u64));
        let row = Row::try_from(self.count).expect("limits::ROWS_MAX fits a row");
        let place = self.count % CHUNK;
        if place == 0 {
            let empty = Chunk { anchors: [0; CHUNK / ANCHORED], distances: [0; CHUNK] };
            self.chunks.push(Box::new(empty));
        }
        let chunk = self.chunks.last_mut().expect("just made");
        if place.is_multiple_of(ANCHORED) {
            chunk.anchors[place / ANCHORED] = position.0;
        } else {
            let distance = position.0.checked_sub(self.last).map(|bytes| bytes / ALIGNMENT as u64);
            let near = distance.and_then(|distance| u16::try_from(distance).ok());
            chunk.distances[place] = near.filter(|near| *near != FAR).unwrap_or_else(|| {
                self.far.insert(row, position.0);
                FAR
            });
        }
        self.last = position.0;
        self.count += 1;
        row
    }

    /// Where a row lies; nowhere if its record is lost.
    pub(super) fn position(&self, row: Row) -> Option<Position> {
        if self.lost.contains_key(&row) { None } else { self.place(row) }
    }

    /// The row whose record was, or is, at a place.
    pub(super) fn row_at(&self, at: Position) -> Option<Row> {
        if let Some((row, _)) = self.moved.iter().find(|(_, place)| **place == at.0) {
            return Some(*row);
        }
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low.midpoint(high);
            if self.first_place(middle as Row)? < at {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let row = low as Row;
        (self.first_place(row)? == at && !self.moved.contains_key(&row)).then_some(row)
    }

    /// The record of a row cannot be read; `name` is what it seems to be called.
    pub(super) fn lose(&mut self, row: Row, name: Digest) {
        self.lost.insert(row, name);
    }

    /// The name that a lost row seems to have.
    pub(super) fn lost_name(&self, row: Row) -> Option<Digest> {
        self.lost.get(&row).copied()
    }

    /// The record of a row was written anew; where it was before.
    pub(super) fn mend(&mut self, row: Row, position: Position) -> Option<Position> {
        let before = self.place(row)?;
        self.lost.remove(&row);
        self.moved.insert(row, position.0);
        Some(before)
    }

    /// How many rows are lost.
    pub(super) fn lost(&self) -> usize {
        self.lost.len()
    }

    /// The bytes from a row's record to the next one, at most; those of a head, if there is none.
    pub(super) fn bytes_at(&self, row: Row) -> u64 {
        let gap = |here: Position| self.place(row + 1)?.0.checked_sub(here.0);
        self.place(row).and_then(gap).unwrap_or(FRAME_HEAD_BYTES as u64)
    }

    fn place(&self, row: Row) -> Option<Position> {
        match self.moved.get(&row) {
            Some(at) => Some(Position(*at)),
            None => self.first_place(row),
        }
    }

    /// Where a row was appended; ascending.
    fn first_place(&self, row: Row) -> Option<Position> {
        let index = row as usize;
        if index >= self.count {
            return None;
        }
        let chunk = &self.chunks[index / CHUNK];
        let place = index % CHUNK;
        let anchor = place / ANCHORED;
        let mut at = chunk.anchors[anchor];
        for step in anchor * ANCHORED + 1..=place {
            match chunk.distances[step] {
                FAR => at = self.far[&(row - (place - step) as Row)],
                near => at += u64::from(near) * ALIGNMENT as u64,
            }
        }
        Some(Position(at))
    }

    /// Whether all lie where they were appended.
    pub(super) fn is_sound(&self) -> bool {
        self.lost.is_empty() && self.moved.is_empty()
    }

    /// Writes out what is sound.
    pub(super) fn save(&self, sink: &mut Sink) {
        sink.put_u64(self.count as u64);
        sink.put_u64(self.last);
        sink.put_u32(self.far.len() as u32);
        for (row, at) in &self.far {
            sink.put_u32(*row);
            sink.put_u64(*at);
        }
        for chunk in &self.chunks {
            chunk.anchors.iter().for_each(|anchor| sink.put_u64(*anchor));
            chunk.distances.iter().for_each(|distance| sink.put(&distance.to_le_bytes()));
        }
    }

    /// Takes in what was written out.
    pub(super) fn load(source: &mut Source) -> Option<Rows> {
        let count = usize::try_from(source.u64()?).ok()?;
        let last = source.u64()?;
        let far = source.list(|source| Some((source.u32()?, source.u64()?)))?;
        let chunks = (0..count.div_ceil(CHUNK)).map(|_| {
            let empty = Chunk { anchors: [0; CHUNK / ANCHORED], distances: [0; CHUNK] };
            let mut chunk = Box::new(empty);
            for anchor in &mut chunk.anchors {
                *anchor = source.u64()?;
            }
            for distance in &mut chunk.distances {
                *distance = source.bytes().map(u16::from_le_bytes)?;
            }
            Some(chunk)
        });
        let chunks = chunks.collect::<Option<_>>()?;
        Some(Rows { chunks, far: far.into_iter().collect(), last, count, ..Rows::default() })
    }

    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Heap bytes.
    pub(super) fn bytes(&self) -> usize {
        self.chunks.capacity() * size_of::<Box<Chunk>>()
            + self.chunks.len() * size_of::<Chunk>()
            + (self.far.len() + self.moved.len()) * 24
            + self.lost.len() * 48
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_keeps_its_position_near_or_far() {
        let mut random = fastrand::Rng::with_seed(3);
        let mut rows = Rows::default();
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
        for (row, at) in expected.iter().enumerate() {
            assert_eq!(rows.row_at(Position(*at)), Some(row as Row), "place {at}");
            assert_eq!(rows.row_at(Position(*at + 8)), None);
        }
    }

    #[test]
    fn a_lost_row_lies_nowhere_until_it_is_mended() {
        let mut rows = Rows::default();
        let places = [32, 96, 160].map(Position);
        places.iter().for_each(|place| {
            rows.push(*place);
        });
        rows.lose(1, Digest([5; 32]));
        assert_eq!((rows.position(1), rows.lost(), rows.len()), (None, 1, 3));
        assert_eq!((rows.lost_name(1), rows.lost_name(0)), (Some(Digest([5; 32])), None));
        assert_eq!(rows.row_at(places[1]), Some(1));
        assert_eq!((rows.bytes_at(1), rows.bytes_at(2)), (64, 40));
        assert_eq!(rows.mend(1, Position(800)), Some(places[1]));
        assert_eq!((rows.position(1), rows.lost()), (Some(Position(800)), 0));
        assert_eq!((rows.row_at(Position(800)), rows.row_at(places[1])), (Some(1), None));
        assert_eq!(rows.position(2), Some(places[2]), "distances are what they were");
        assert_eq!(rows.mend(1, Position(880)), Some(Position(800)));
    }
}
