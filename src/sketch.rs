//! A linear sketch of the set, from which two nodes read what they differ in.
//!
//! In: the ids of all members, one by one. Out: cells; of two sketches' difference, the ids that
//! only one of them has. After "Practical Rateless Set Reconciliation" (Yang, Gilad, Alizadeh,
//! SIGCOMM 2024, sections 4 and 5): any prefix of the cells is a sketch of its own, and some 1.4
//! cells per differing id are enough, however large the sets are. The store updates it with each
//! insert, so that an answer reads cells and no member of the set.
//!
//! | file | content |
//! |---|---|
//! | `part` | short ids, parts of a set by prefix |
//! | `cell` | one cell, in memory and on the wire |
//! | `index_sequence` | the key, and in which cells an id lies |
//! | `difference` | decoding |
//! | `estimate` | how many ids differ, by counts alone |
//!
//! A sketch has no states: it grows by `insert`, and everything else reads it.
//!
//! Never: knows which member an id belongs to, trusts that foreign cells make sense, takes a member
//! out, reads the members again.

mod cell;
mod difference;
mod estimate;
mod index_sequence;
mod part;

use crate::base::limits;
use crate::base::random::mix;
use crate::base::stream::{Sink, Source};

pub use cell::{Cell, NARROW_FROM};
pub use difference::{Decoded, Difference};
pub use estimate::{Estimate, LowCounts};
pub use index_sequence::SketchKey;
pub use part::{Part, ShortId, short_id};

use cell::{StoredCell, cell_of, count_of, insert_into};
use index_sequence::{INDICES_USUAL, IndexSequence};

/// Sequences that are stepped side by side. A step waits for the square root of the one before it;
/// four independent ones take little longer than one.
const LANES: usize = 4;
/// Ids that are inserted at a time. Their cells are listed before the first is written, so that the
/// processor fetches several of them at once.
const GROUP: usize = 64;

// A `CellVisit` holds both numbers narrowed.
const _: () = assert!(limits::SKETCH_CELLS_MAX <= 1 << 16 && GROUP <= 1 << 8);

/// A cell that an id of a group lies in.
// Four bytes: the list for a group takes some 6 KB.
struct CellVisit {
    index: u16,
    /// The id's index in the group.
    member: u8,
}

/// The sketch of one node's set.
#[derive(Clone, Debug)]
pub struct Sketch {
    /// Decides in which cells an id lies. Both nodes have the same one.
    key: SketchKey,
    /// A prefix of the cells that the set has without end, as long as is ever asked for.
    cells: Vec<StoredCell>,
}

impl Sketch {
    /// The sketch of an empty set; its memory is touched by the first members.
    pub fn new(key: SketchKey) -> Sketch {
        Sketch::of_cells(key, limits::SKETCH_CELLS_MAX)
    }

    /// As [`Sketch::new`], but only the first cells of it.
    pub fn of_cells(key: SketchKey, cells: usize) -> Sketch {
        // One at least: the first cell counts the members.
        let cells = cells.clamp(1, limits::SKETCH_CELLS_MAX);
        Sketch { key, cells: vec![[0; 2]; cells] }
    }

    /// Adds new members. One that is added twice is gone from the sums, and counted twice.
    pub fn insert(&mut self, ids: &[ShortId]) {
        let mut visits = Vec::with_capacity(ids.len().min(GROUP) * INDICES_USUAL);
        for group in ids.chunks(GROUP) {
            self.find_visits(group, &mut visits);
            let checks: Vec<u32> = group.iter().map(|id| self.key.check(*id)).collect();
            for CellVisit { index, member } in visits.drain(..) {
                let member = usize::from(member);
                insert_into(&mut self.cells[usize::from(index)], group[member], checks[member]);
            }
        }
        self.check();
    }

    /// All cells that the ids of a group lie in.
    fn find_visits(&self, group: &[ShortId], visits: &mut Vec<CellVisit>) {
        let (key, end) = (self.key, self.cells.len() as i64);
        let sequence = |(member, id): (u8, &ShortId)| (member, IndexSequence::new(key, *id));
        let mut rest = (0..).zip(group).map(sequence);
        let mut visit = |member: u8, sequence: &mut IndexSequence| {
            visits.push(CellVisit { index: sequence.index as u16, member });
            sequence.step();
        };
        let mut lanes: Vec<(u8, IndexSequence)> = rest.by_ref().take(LANES).collect();
        while !lanes.is_empty() {
            lanes.iter_mut().for_each(|(member, sequence)| visit(*member, sequence));
            // A sequence that is past the last cell gives its lane to the next id.
            lanes.retain_mut(|lane| {
                let next = if lane.1.index < end { None } else { Some(rest.next()) };
                next.is_none_or(|next| next.map(|next| *lane = next).is_some())
            });
        }
    }

    /// Writes the cells into the index's manifest.
    pub fn save(&self, sink: &mut Sink) {
        sink.put_sparse(self.cells.iter().flatten().copied());
    }

    /// Reads the cells that were written out under the same key.
    pub fn load(key: SketchKey, source: &mut Source) -> Option<Sketch> {
        let mut sketch = Sketch::new(key);
        let mut words = source.sparse();
        for word in sketch.cells.iter_mut().flatten() {
            let read = words.word()?;
            // A zero is there already: pages that no member touched take no memory.
            if read != 0 {
                *word = read;
            }
        }
        Some(sketch)
    }

    /// The key that decides in which cells ids lie.
    pub fn key(&self) -> SketchKey {
        self.key
    }

    /// How many cells there are.
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    /// Whether there are no cells: a sketch always has its first one.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// Cells from one on; fewer at the end of the sketch.
    pub fn cells(&self, from: usize, count: usize) -> Vec<Cell> {
        let end = from.saturating_add(count).min(self.cells.len());
        let cells = (from.min(end)..end).map(|index| self.cell(index));
        cells.collect()
    }

    fn cell(&self, index: usize) -> Cell {
        cell_of(self.cells[index])
    }

    /// How many members it has, modulo 2^32: all lie in the first cell.
    pub fn members(&self) -> u32 {
        self.count(0)
    }

    /// A digest of the whole set, whatever its order: of the first cell, which holds all members.
    pub fn digest(&self) -> u64 {
        let [ids, rest] = self.cells[0];
        mix(ids ^ mix(rest))
    }

    fn count(&self, index: usize) -> u32 {
        count_of(self.cells[index])
    }

    /// Heap bytes, once members have touched them.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.cells)
    }

    /// The first cell holds every member: no other holds more, and if it holds one, that id's check
    /// is its check. A few cells are looked at, since this follows each insert.
    fn check(&self) {
        debug_assert!((1..=limits::SKETCH_CELLS_MAX).contains(&self.cells.len()));
        let (members, first) = (self.members(), self.cell(0));
        debug_assert!(members != 1 || self.key.check(first.ids) == first.checks);
        debug_assert!(self.cells.iter().take(8).all(|cell| count_of(*cell) <= members));
    }
}

#[cfg(test)]
mod tests;
