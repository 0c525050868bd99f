//! The newest rows, in memory until there are enough of them for a run.
//!
//! In: rows in ascending order, each with its hash, its slot and its names. Out: the same as a
//! [`super::run::Run`] gives, for the rows it has; found by chains of rows whose hashes, subjects
//! or predicates begin alike, and by a tree of attributes. Never: holds a body.

use std::collections::BTreeSet;

use super::chains::{Chains, NONE};
use super::positions::RowPositions;
use super::row::{Column, NAMED_MAX, Name, Row, RowNames, weight};
use crate::base::Digest;
use crate::journal::Position;

/// Rows per allocation, so that growth copies nothing.
const CHUNK: usize = 512;
/// Positions listed at a time, as many as a page of a run has.
const POSITIONS_MAX: Row = 512;
/// Two names are compared by so many of their rows at most: past that either is a long query.
const COUNTED_MAX: usize = 1 << 14;

/// An entry in the tree of attributes: 8 bytes, and the nodes that are not full.
const ATTRIBUTE_BYTES: usize = 12;

/// What the rows are chained by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum By {
    Hash,
    Subject,
    Predicate,
}

impl By {
    const ALL: [By; 3] = [By::Hash, By::Subject, By::Predicate];

    /// By which chains the rows of a name are found; attributes have a tree.
    fn of(column: Column) -> Option<By> {
        match column {
            Column::Subject => Some(By::Subject),
            Column::Predicate => Some(By::Predicate),
            Column::Attribute => None,
        }
    }

    /// One to a row when they become a run, or half as many: each new row looks for its hash, and
    /// only a query for a name.
    fn chains(self) -> usize {
        if self == By::Hash { 1 << 17 } else { 1 << 16 }
    }
}

/// A row, with the one before it in each of its chains.
#[derive(Clone, Copy, Debug)]
struct TableRow {
    digest: Digest,
    names: [Name; 2],
    before: [u32; By::ALL.len()],
}

/// Before a row that has no names. A flag beside it would take four bytes a row, by alignment.
const NAMELESS: u32 = NONE - 1;

impl TableRow {
    fn name(&self, by: By) -> Option<Name> {
        let is_named = self.before[By::Subject as usize] != NAMELESS;
        match by {
            By::Subject if is_named => Some(self.names[0]),
            By::Predicate if is_named => Some(self.names[1]),
            _ => None,
        }
    }

    /// The front of the key by which it is chained.
    fn front(&self, by: By) -> Option<u32> {
        match by {
            By::Hash => Some(front(&self.digest)),
            By::Subject | By::Predicate => self.name(by).map(|name| name.0),
        }
    }
}

/// The newest rows, by hash and by both names.
#[derive(Debug)]
pub(super) struct Memtable {
    /// The number of the row in slot 0.
    first: Row,
    /// In chunks: one list would be copied as it grows, with twice its memory meanwhile.
    entries: Vec<Vec<TableRow>>,
    /// Apart, for they take two bytes a row there and eight here.
    positions: RowPositions,
    chains: [Chains; By::ALL.len()],
    /// The slots of those that have attributes, by their names. A tree, for most rows have none.
    attributes: BTreeSet<(Name, u32)>,
}

impl Memtable {
    /// Without rows yet; the first will have this number.
    pub(super) fn new(first: Row) -> Memtable {
        let chains = By::ALL.map(|by| Chains::new(by.chains()));
        let (entries, positions) = (Vec::new(), RowPositions::default());
        Memtable { first, entries, positions, chains, attributes: BTreeSet::new() }
    }

    /// Takes in the next row.
    pub(super) fn push(&mut self, digest: &Digest, at: Position, names: RowNames) -> Row {
        for by in By::ALL {
            // Before the new row is linked, for that links all rows again.
            if self.chains[by as usize].grows(self.len()) {
                self.link_all(by);
            }
        }
        let slot = self.positions.push(at);
        self.attributes.extend(names.attributes.iter().map(|name| (*name, slot)));
        let before = if names.own.is_some() { NONE } else { NAMELESS };
        let names = names.own.unwrap_or([Name(0); 2]);
        let mut entry = TableRow { digest: *digest, names, before: [before; By::ALL.len()] };
        for by in By::ALL {
            if let Some(front) = entry.front(by) {
                entry.before[by as usize] = self.chains[by as usize].link(front, slot);
            }
        }
        if self.entries.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.entries.push(Vec::with_capacity(CHUNK));
        }
        self.entries.last_mut().expect("just made").push(entry);
        self.check();
        self.first + slot
    }

    fn link_all(&mut self, by: By) {
        for (entry, slot) in self.entries.iter_mut().flatten().zip(0..) {
            if let Some(front) = entry.front(by) {
                entry.before[by as usize] = self.chains[by as usize].link(front, slot);
            }
        }
    }

    /// The number of the first row.
    pub(super) fn first(&self) -> Row {
        self.first
    }

    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.positions.len()
    }

    /// Its rows, with what their attributes take counted as rows.
    pub(super) fn weight(&self) -> usize {
        weight(self.len(), self.attributes.len())
    }

    /// The row with this hash.
    pub(super) fn find(&self, digest: &Digest) -> Option<Row> {
        self.find_where(digest, |found| found == digest)
    }

    /// The row whose hash begins with these 8 bytes; of several, any.
    pub(super) fn find_short(&self, beginning: &Digest) -> Option<Row> {
        self.find_where(beginning, |found| found.0[..8] == beginning.0[..8])
    }

    fn find_where(&self, digest: &Digest, is_it: impl Fn(&Digest) -> bool) -> Option<Row> {
        let newest = self.chains[By::Hash as usize].newest(front(digest));
        let mut slots = self.chain(By::Hash, newest);
        slots.find(|slot| is_it(&self.entry(*slot).digest)).map(|slot| self.first + slot)
    }

    /// The hash of a row that is here.
    pub(super) fn digest(&self, row: Row) -> Digest {
        self.entry(row - self.first).digest
    }

    /// Where a row that is here was appended.
    pub(super) fn position(&self, row: Row) -> Position {
        self.positions.position(row - self.first).expect("a row of this table")
    }

    /// The same of it and of those that follow, [`POSITIONS_MAX`] at most.
    pub(super) fn positions(&self, row: Row) -> Vec<Position> {
        let end = self.first + self.len() as Row;
        (row..end.min(row + POSITIONS_MAX)).map(|row| self.position(row)).collect()
    }

    /// Shows all hashes that agree with one in so many bits.
    pub(super) fn under(&self, prefix: &Digest, depth: usize, see: &mut dyn FnMut(Row, &Digest)) {
        for newest in self.chains[By::Hash as usize].under(front(prefix), depth) {
            for slot in self.chain(By::Hash, *newest) {
                let digest = &self.entry(slot).digest;
                if digest.agrees(prefix, depth) {
                    see(self.first + slot, digest);
                }
            }
        }
    }

    /// The one of two names that has fewer rows. `None`: one has none.
    pub(super) fn rarer(
        &self,
        one: (Column, Name),
        other: (Column, Name),
    ) -> Option<(Column, Name)> {
        // Side by side, so that the walk is as long as the shorter list.
        let (mut ones, mut others) = (self.slots(one), self.slots(other));
        for step in 0..COUNTED_MAX {
            match (ones.next(), others.next()) {
                (Some(_), Some(_)) => {}
                _ if step == 0 => return None,
                (None, _) => break,
                (Some(_), None) => return Some(other),
            }
        }
        Some(one)
    }

    /// The newest rows of a name before a row, [`NAMED_MAX`] at most, in ascending order.
    pub(super) fn named(&self, name: Name, column: Column, before: Row) -> Vec<Row> {
        let before = before - self.first;
        let Some(by) = By::of(column) else {
            let slots = self.attributes.range((name, 0)..(name, before)).rev().take(NAMED_MAX);
            let mut rows: Vec<Row> = slots.map(|(_, slot)| self.first + slot).collect();
            rows.reverse();
            return rows;
        };
        let is_named = |slot: &u32| self.entry(*slot).name(by) == Some(name);
        // Mostly it is the row up to which an earlier look came: the walk goes on there. From the
        // newest on, a name with n rows would be walked n / 256 times.
        let known = Some(before).filter(|slot| (*slot as usize) < self.len()).filter(is_named);
        let slots = match known {
            Some(slot) => self.chain(by, slot),
            None => self.chain(by, self.newest(name, by)),
        };
        let mut rows: Vec<Row> = slots
            .filter(|slot| *slot < before)
            .filter(is_named)
            .take(NAMED_MAX)
            .map(|slot| self.first + slot)
            .collect();
        rows.reverse();
        rows
    }

    /// All hashes with their rows, sorted.
    pub(super) fn digests(&self) -> Vec<(Digest, Row)> {
        self.sorted(By::Hash, |entry| Some(entry.digest))
    }

    /// All names of a kind with their rows, sorted by both.
    pub(super) fn names(&self, column: Column) -> Vec<(Name, Row)> {
        match By::of(column) {
            Some(by) => self.sorted(by, |entry| entry.name(by)),
            None => self.attributes.iter().map(|(name, slot)| (*name, self.first + slot)).collect(),
        }
    }

    /// Heap bytes, the allocator's own not counted.
    pub(super) fn bytes(&self) -> usize {
        self.entries.len() * CHUNK * size_of::<TableRow>()
            + self.positions.bytes()
            + self.chains.iter().map(Chains::bytes).sum::<usize>()
            + self.attributes.len() * ATTRIBUTE_BYTES
    }

    /// Chains are in the order of their keys: each is sorted for itself.
    fn sorted<K: Ord>(&self, by: By, key: impl Fn(&TableRow) -> Option<K>) -> Vec<(K, Row)> {
        let mut all = Vec::with_capacity(self.len());
        for newest in self.chains[by as usize].under(0, 0) {
            let start = all.len();
            all.extend(self.chain(by, *newest).filter_map(|slot| {
                let key = key(self.entry(slot))?;
                Some((key, self.first + slot))
            }));
            all[start..].sort_unstable();
        }
        all
    }

    fn newest(&self, name: Name, by: By) -> u32 {
        self.chains[by as usize].newest(name.0)
    }

    /// Slots of rows with a name, newest first.
    fn slots(&self, (column, name): (Column, Name)) -> Box<dyn Iterator<Item = u32> + '_> {
        let Some(by) = By::of(column) else {
            let entries = self.attributes.range((name, 0)..=(name, NONE));
            return Box::new(entries.rev().map(|(_, slot)| *slot));
        };
        let chain = self.chain(by, self.newest(name, by));
        Box::new(chain.filter(move |slot| self.entry(*slot).name(by) == Some(name)))
    }

    /// Slots of a chain from one on, newest first.
    fn chain(&self, by: By, newest: u32) -> impl Iterator<Item = u32> {
        let some = |slot: u32| Some(slot).filter(|slot| *slot != NONE);
        let before = move |slot: &u32| some(self.entry(*slot).before[by as usize]);
        std::iter::successors(some(newest), before)
    }

    /// What holds between any two calls.
    fn check(&self) {
        debug_assert_eq!(self.entries.len(), self.len().div_ceil(CHUNK), "chunks are full");
        let last = self.entries.last().map_or(0, Vec::len);
        debug_assert_eq!(last, self.len() - self.entries.len().saturating_sub(1) * CHUNK);
    }

    fn entry(&self, slot: u32) -> &TableRow {
        &self.entries[slot as usize / CHUNK][slot as usize % CHUNK]
    }
}

fn front(digest: &Digest) -> u32 {
    u32::from_be_bytes(*digest.0.first_chunk().expect("a digest has 32 bytes"))
}
