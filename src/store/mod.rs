//! What is known: an index by hash, subject and predicate, and the Merkle tree over the set.
//!
//! In: committed assertions, one [`Store::apply`] each, whatever way they came. Out: positions in
//! the log, and now and then a [`Spill`]: the newest rows are in memory (`memtable`), all others
//! in files (`run`) that somebody else writes, of which a summary is kept here. Names and bodies
//! stay in the log and are read through [`Bodies`].
//!
//! Never: keeps a body or a name, opens a file.

mod buckets;
mod candidates;
mod chains;
mod filter;
mod format;
mod hashes;
mod holder;
mod memtable;
mod positions;
mod rebuild;
mod rekey;
mod row;
mod run;
mod section;
mod spill;
mod state;
mod tree;
mod window;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::{Digest, limits};
use crate::journal::damage::Damage;
use crate::journal::record::{FRAME_HEAD_BYTES, frame_bytes};
use crate::journal::{Bodies, Committed, Position};
use crate::sketch::{ShortId, Sketch, SketchKey, short_id};

pub use buckets::BucketScan;
pub use candidates::Candidates;
pub use hashes::{LeafScan, PartScan};
use holder::Holder;
use memtable::Memtable;
use rekey::Rekeying;
pub use row::Row;
use row::fingerprint;
pub use run::{Pages, Run};
pub use spill::Spill;
pub use state::State;
pub use tree::Root;
use tree::Tree;
pub use window::Window;

/// Members that the sketch takes in at a time.
const SKETCHED_AT_ONCE: usize = 64;

/// What became of a committed assertion.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Applied {
    /// It is new.
    New(Row),
    /// It was here, but its record was damaged: it has a new one. The damaged one lies here.
    Repaired(Position),
    /// It was here.
    Known,
}

/// Whether an assertion is here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It is, and can be read as far as its record's head tells.
    Here,
    /// It was, and its record cannot be read.
    Damaged,
    /// Its hash was never seen.
    Unknown,
}

/// Heap bytes by part, the allocator's own not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// The newest rows, those on their way to a file included.
    pub newest: usize,
    /// What is kept of the files.
    pub runs: usize,
    /// The Merkle tree, of one size whatever it holds.
    pub tree: usize,
    /// The sketch, of one size whatever it holds.
    pub sketch: usize,
}

/// The index of one node.
#[derive(Debug)]
pub struct Store {
    seed: u64,
    /// Rows in memory after which they are to become a run.
    spill_after: usize,
    /// The oldest rows first; each goes on where the one before it ends.
    runs: Vec<Arc<Run>>,
    /// Rows that are being written to a run.
    frozen: Option<Arc<Memtable>>,
    newest: Memtable,
    /// Rows whose record cannot be read, with their hash.
    lost: BTreeMap<Row, Digest>,
    /// Rows whose record was written anew.
    moved: BTreeMap<Row, Position>,
    tree: Tree,
    /// The last root that was computed, if no row of its set went or came back since.
    root: Option<Root>,
    /// Of all members but those that wait for others.
    sketch: Sketch,
    unsketched: Vec<ShortId>,
    /// The sketch under another key, while it is made.
    rekeying: Option<Rekeying>,
    opaque: u64,
    /// Where the last record that was applied ends.
    end: Position,
}

impl Store {
    /// An empty store of a cluster without a key.
    pub fn new(seed: u64) -> Store {
        Store::with_key(seed, SketchKey::new(None))
    }

    /// An empty store. The seed keeps strangers from making names that share a fingerprint, the key
    /// from making members that spoil the sketch.
    pub fn with_key(seed: u64, key: SketchKey) -> Store {
        Store::with_sketch(seed, Sketch::new(key))
    }

    fn with_sketch(seed: u64, sketch: Sketch) -> Store {
        Store {
            seed,
            spill_after: limits::SPILL_ROWS,
            runs: Vec::new(),
            frozen: None,
            newest: Memtable::new(0),
            lost: BTreeMap::new(),
            moved: BTreeMap::new(),
            tree: Tree::new(),
            root: None,
            sketch,
            unsketched: Vec::new(),
            rekeying: None,
            opaque: 0,
            end: Position::first_of(0),
        }
    }

    /// As it is, but with so many rows in memory before they become a run; for tests.
    pub fn spilling_after(mut self, rows: usize) -> Store {
        self.spill_after = rows;
        self
    }

    /// Puts a committed assertion into the index; one whose record was damaged gets this record.
    /// [`Store::update_sketch`] follows the last of a batch.
    pub fn apply(&mut self, committed: &Committed, bodies: &dyn Bodies) -> Applied {
        let (sealed, at) = (committed.sealed(), committed.position());
        let digest = sealed.digest();
        self.end = self.end.max(Position(at.0 + frame_bytes(sealed.bytes().len()) as u64));
        if let Some(row) = self.row_of(&digest) {
            let before = self.recorded_at(row);
            if !self.lost.contains_key(&row) && bodies.digest_at(before) == Some(digest) {
                return Applied::Known;
            }
            if self.lost.remove(&row).is_some() {
                self.tree.restore(&digest);
                self.root = None;
            }
            self.moved.insert(row, at);
            return Applied::Repaired(before);
        }
        Applied::New(self.append(committed))
    }

    /// As [`Store::apply`], of one that is [`Standing::Unknown`]; returns its row.
    pub fn append(&mut self, committed: &Committed) -> Row {
        let (sealed, at) = (committed.sealed(), committed.position());
        let digest = sealed.digest();
        debug_assert!(self.row_of(&digest).is_none(), "{digest} has a row");
        self.end = self.end.max(Position(at.0 + frame_bytes(sealed.bytes().len()) as u64));
        let names = sealed.name_bytes().map(|(subject, predicate)| {
            [subject, predicate].map(|name| fingerprint(self.seed, name))
        });
        self.opaque += u64::from(names.is_none());
        self.tree.insert(&digest);
        self.unsketched.push(short_id(&digest));
        self.rekeying.iter_mut().for_each(|rekeying| rekeying.note(&digest));
        if self.unsketched.len() >= SKETCHED_AT_ONCE {
            self.update_sketch();
        }
        self.newest.push(&digest, at, names)
    }

    /// Puts the rows added since the last call into the sketch: 64 at a time cost less than one by
    /// one.
    pub fn update_sketch(&mut self) {
        self.sketch.insert(&self.unsketched);
        self.unsketched.clear();
    }

    /// Whether an assertion is here.
    pub fn standing(&self, digest: &Digest, bodies: &dyn Bodies) -> Standing {
        match self.row_of(digest) {
            None => Standing::Unknown,
            Some(row) if self.is_there(row, digest, bodies) => Standing::Here,
            Some(_) => Standing::Damaged,
        }
    }

    /// Takes the record at a position out of index and tree, if it is one and cannot be read; the
    /// answer names it. It keeps its row: [`Store::apply`] gives that another record, when one
    /// comes.
    pub fn quarantine(&mut self, at: Position, bodies: &dyn Bodies) -> Option<Damage> {
        let row = self.row_at(at).filter(|row| !self.lost.contains_key(row))?;
        if bodies.sealed_at(at).is_some() {
            return None;
        }
        let digest = self.digest_of(row);
        self.tree.remove(&digest);
        self.root = None;
        self.lost.insert(row, digest);
        let next = (row + 1 < self.end_row()).then(|| self.recorded_at(row + 1));
        let gap = next.and_then(|next| next.0.checked_sub(at.0));
        let bytes = gap.unwrap_or(FRAME_HEAD_BYTES as u64);
        Some(Damage { at, bytes, digest: Some(digest) })
    }

    /// Whether an assertion seems to be here with a record that cannot be read.
    pub fn is_damaged(&self, digest: &Digest, bodies: &dyn Bodies) -> bool {
        self.row_of(digest)
            .is_some_and(|row| self.position(row).and_then(|at| bodies.sealed_at(at)).is_none())
    }

    /// Where an assertion lies.
    pub fn find(&self, digest: &Digest, bodies: &dyn Bodies) -> Option<Position> {
        self.position(self.find_row(digest, bodies)?)
    }

    /// The row of an assertion whose record says that it is there.
    pub fn find_row(&self, digest: &Digest, bodies: &dyn Bodies) -> Option<Row> {
        self.row_of(digest).filter(|row| self.is_there(*row, digest, bodies))
    }

    fn is_there(&self, row: Row, digest: &Digest, bodies: &dyn Bodies) -> bool {
        self.position(row).and_then(|at| bodies.digest_at(at)).as_ref() == Some(digest)
    }

    /// The row of an assertion by its short id; of several with one id, any.
    pub fn find_short(&self, id: ShortId) -> Option<Row> {
        self.row_of_short(id).filter(|row| !self.lost.contains_key(row))
    }

    /// Whether the record of an assertion with this short id is lost. The sketch still holds it.
    pub fn is_lost(&self, id: ShortId) -> bool {
        !self.lost.is_empty()
            && self.row_of_short(id).is_some_and(|row| self.lost.contains_key(&row))
    }

    fn row_of_short(&self, id: ShortId) -> Option<Row> {
        let mut front = Digest::ZERO;
        front.0[..8].copy_from_slice(&id.to_be_bytes());
        let found = self.tables().find_map(|table| table.find_short(&front));
        found.or_else(|| self.runs.iter().rev().find_map(|run| run.find_short(&front)))
    }

    /// The sketch of the set.
    pub fn sketch(&self) -> &Sketch {
        debug_assert!(self.unsketched.is_empty(), "settled before it is looked at");
        &self.sketch
    }

    /// Where a row lies; `None` while its record is lost.
    pub fn position(&self, row: Row) -> Option<Position> {
        (row < self.end_row() && !self.lost.contains_key(&row)).then(|| self.recorded_at(row))
    }

    /// How many assertions there are, those whose record is lost not counted.
    pub fn len(&self) -> u64 {
        self.tree.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many of them cannot be read as ours.
    pub fn opaque(&self) -> u64 {
        self.opaque
    }

    /// Where the memory goes.
    pub fn memory(&self) -> MemoryUse {
        MemoryUse {
            newest: self.tables().map(Memtable::bytes).sum(),
            runs: self.runs.iter().map(|run| run.bytes()).sum(),
            tree: self.tree.bytes(),
            sketch: self.sketch.bytes(),
        }
    }

    /// Whether rows have to become a run before more of them are taken in.
    pub fn is_behind(&self) -> bool {
        self.frozen.is_some() && self.newest.len() >= 2 * self.spill_after
    }

    /// Rows that are to become a run now, if there are enough of them; what comes of them is told
    /// to [`Store::adopt`].
    pub fn spill(&mut self) -> Option<Spill> {
        (self.newest.len() >= self.spill_after).then(|| self.spill_all()).flatten()
    }

    /// As [`Store::spill`], however few there are.
    pub fn spill_all(&mut self) -> Option<Spill> {
        if self.frozen.is_some() || self.newest.len() == 0 {
            return None;
        }
        self.update_sketch();
        let rest = Memtable::new(self.end_row());
        let memtable = Arc::new(std::mem::replace(&mut self.newest, rest));
        self.frozen = Some(memtable.clone());
        let is_small = |run: &&Arc<Run>| run.len() + memtable.len() <= self.spill_after;
        let onto = self.runs.last().filter(is_small).cloned();
        let kept = self.runs.len() - usize::from(onto.is_some());
        let runs = self.runs[..kept].iter().map(|run| run.name()).collect();
        let state = self.is_sound().then(|| State::of(self, runs));
        Some(Spill { memtable, onto, state })
    }

    /// What a start needs beside the runs, if the store is sound and all of it is in runs.
    pub fn state(&self) -> Option<State> {
        let is_all = self.frozen.is_none() && self.newest.len() == 0;
        (is_all && self.is_sound()).then(|| State::of(self, self.runs()))
    }

    /// The rows that were spilled are in a file, those of an older run among them, perhaps.
    pub fn adopt(&mut self, run: Run) {
        let spilled = self.frozen.take().expect("it was spilled");
        debug_assert_eq!(run.first() + run.len() as Row, spilled.first() + spilled.len() as Row);
        if self.runs.last().is_some_and(|last| last.first() == run.first()) {
            self.runs.pop();
        }
        self.runs.push(Arc::new(run.with_seed(self.seed)));
    }

    /// Whether every record is where it was appended: only of such a store a [`State`] is kept.
    fn is_sound(&self) -> bool {
        self.lost.is_empty() && self.moved.is_empty()
    }

    /// How many rows there are, lost ones included.
    pub fn rows(&self) -> u64 {
        u64::from(self.end_row())
    }

    /// Tells this numbering of rows from that of an index made anew, and of other nodes'.
    pub fn numbering(&self) -> u64 {
        // It gives nothing of the seed away.
        let name = Digest::of(&[&b"stemedb-edge numbering"[..], &self.seed.to_le_bytes()].concat());
        short_id(&name).max(1)
    }

    fn end_row(&self) -> Row {
        self.newest.first() + self.newest.len() as Row
    }

    /// The tables in memory, the newest first.
    fn tables(&self) -> impl Iterator<Item = &Memtable> {
        std::iter::once(&self.newest).chain(self.frozen.as_deref())
    }

    /// The row of a hash, lost or not.
    fn row_of(&self, digest: &Digest) -> Option<Row> {
        let found = self.tables().find_map(|table| table.find(digest));
        found.or_else(|| self.runs.iter().rev().find_map(|run| run.find(digest)))
    }

    /// The table or the run that holds a row.
    fn holder(&self, row: Row) -> Holder<'_> {
        if let Some(table) = self.tables().find(|table| row >= table.first()) {
            return Holder::Table(table);
        }
        let index = self.runs.partition_point(|run| run.first() <= row);
        Holder::Run(&self.runs[index - 1])
    }

    /// The row whose record is at a position.
    fn row_at(&self, at: Position) -> Option<Row> {
        if let Some((row, _)) = self.moved.iter().find(|(_, moved)| **moved == at) {
            return Some(*row);
        }
        let low = self.rows_before(at) as Row;
        let is_it = low < self.end_row() && self.holder(low).position(low) == at;
        (is_it && !self.moved.contains_key(&low)).then_some(low)
    }

    fn digest_of(&self, row: Row) -> Digest {
        match self.holder(row) {
            Holder::Table(table) => table.digest(row),
            Holder::Run(run) => run.digest(row),
        }
    }

    /// Where a row's record is, or was.
    fn recorded_at(&self, row: Row) -> Position {
        self.moved.get(&row).copied().unwrap_or_else(|| self.holder(row).position(row))
    }
}

const _: () = assert!(limits::ROWS_MAX < 1 << 31);

#[cfg(test)]
mod tests;
