//! What is known: an index by hash, subject, predicate and attributes, and the Merkle tree over
//! the set.
//!
//! In: committed assertions, one [`Store::apply`] or [`Store::append`] each. Out: positions in the
//! log, and a [`Spill`] for each [`limits::SPILL_ROWS`] of them: the newest rows are in memory
//! (`memtable`), all others in files (`run`) that the index thread writes, of which a summary is
//! kept here. Names and bodies stay in the log and are read through [`Bodies`].
//!
//! ```text
//!          append           spill             adopt
//! a row  ---------> newest ------> frozen ------------> run
//!
//!                    quarantine         apply
//! its record: here ------------> lost -------> moved
//! ```
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
use row::RowNames;
pub use row::{Row, RowKey};
pub use run::{Pages, Run};
pub use spill::Spill;
pub use state::State;
pub use tree::Root;
use tree::Tree;
pub use window::Window;

/// Members added to the sketch at a time. One by one each waits for the cache lines of its cells;
/// together those of several are fetched at once.
const SKETCHED_AT_ONCE: usize = 64;

/// What became of a committed assertion.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Applied {
    /// It is new.
    New(Row),
    /// It was here, but its record was damaged: it has a new one. This is the damaged one's
    /// position.
    Repaired(Position),
    /// It was here.
    Known,
}

/// Whether an assertion is here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It is, and can be read as far as its record's head says.
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
    /// Of fingerprints. It is random and stays with the runs, whose entries are made of it.
    seed: u64,
    /// Rows in memory after which they are to become a run.
    spill_after: usize,
    /// The oldest rows first; each goes on where the one before it ends, so that a row's number
    /// names its run.
    runs: Vec<Arc<Run>>,
    /// Rows that are being written to a run. The index thread reads them meanwhile, and so do
    /// queries.
    frozen: Option<Arc<Memtable>>,
    newest: Memtable,
    /// Rows whose record cannot be read, with their hash: the record no longer says it, and runs
    /// are never changed.
    lost: BTreeMap<Row, Digest>,
    /// Rows whose record was written anew. Their runs have the old position.
    moved: BTreeMap<Row, Position>,
    tree: Tree,
    /// The last root that was computed, if no row of its set went or came back since. Most sessions
    /// ask for a root that is known.
    root: Option<Root>,
    /// Of all members but the unsketched ones; lost ones stay in it.
    sketch: Sketch,
    /// Members that wait until there are enough of them for one insertion.
    unsketched: Vec<ShortId>,
    /// The sketch under another key, while it is made: a new cluster key must not stop the node for
    /// as long as all hashes take.
    rekeying: Option<Rekeying>,
    /// Records without names that this build can read; health shows how many.
    opaque: u64,
    /// Where the last record that was applied ends: a start reads the log from there.
    end: Position,
}

impl Store {
    /// An empty store of a cluster without a key.
    pub fn new(seed: u64) -> Store {
        Store::with_key(seed, SketchKey::new(None))
    }

    /// An empty store. Without the seed a client could make names that share a fingerprint, without
    /// the key members that cancel each other in the sketch.
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
        // Known or not: a start that read from before it would apply it once more.
        self.end = self.end.max(Position(at.0 + frame_bytes(sealed.bytes().len()) as u64));
        if let Some(row) = self.row_of(&digest) {
            let before = self.recorded_at(row);
            if !self.lost.contains_key(&row) && bodies.digest_at(before) == Some(digest) {
                return Applied::Known;
            }
            // It may be that no reader has found the old one damaged before this one came.
            if self.lost.remove(&row).is_some() {
                self.tree.restore(&digest);
                self.root = None;
            }
            self.moved.insert(row, at);
            self.check();
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
        let names = RowNames::of(sealed, self.seed);
        self.opaque += u64::from(names.own.is_none());
        self.tree.insert(&digest);
        self.unsketched.push(short_id(&digest));
        self.rekeying.iter_mut().for_each(|rekeying| rekeying.note(&digest));
        let row = self.newest.push(&digest, at, names);
        if self.unsketched.len() >= SKETCHED_AT_ONCE {
            self.update_sketch();
        }
        self.check();
        row
    }

    /// Puts the rows added since the last call into the sketch: 64 at a time cost less than one by
    /// one.
    pub fn update_sketch(&mut self) {
        self.sketch.insert(&self.unsketched);
        self.unsketched.clear();
        self.check();
    }

    /// Whether an assertion is here.
    pub fn standing(&self, digest: &Digest, bodies: &dyn Bodies) -> Standing {
        match self.row_of(digest) {
            None => Standing::Unknown,
            Some(row) if self.is_there(row, digest, bodies) => Standing::Here,
            Some(_) => Standing::Damaged,
        }
    }

    /// Takes the record at a position out of index and tree, if it is one and cannot be read;
    /// returns what it was. It keeps its row: [`Store::apply`] gives that another record, when one
    /// comes.
    pub fn quarantine(&mut self, at: Position, bodies: &dyn Bodies) -> Option<Damage> {
        let row = self.row_at(at).filter(|row| !self.lost.contains_key(row))?;
        // The reader that reported it may have met a passing error.
        if bodies.sealed_at(at).is_some() {
            return None;
        }
        // Of the index, not of the record: its head may be what is damaged.
        let digest = self.digest_of(row);
        self.tree.remove(&digest);
        self.root = None;
        self.lost.insert(row, digest);
        let next = (row + 1 < self.end_row()).then(|| self.recorded_at(row + 1));
        let gap = next.and_then(|next| next.0.checked_sub(at.0));
        // Of the last record only the head is sure.
        let bytes = gap.unwrap_or(FRAME_HEAD_BYTES as u64);
        self.check();
        Some(Damage { at, bytes, digest: Some(digest) })
    }

    /// Whether an assertion seems to be here with a record that cannot be read.
    pub fn is_damaged(&self, digest: &Digest, bodies: &dyn Bodies) -> bool {
        self.row_of(digest)
            .is_some_and(|row| self.position(row).and_then(|at| bodies.sealed_at(at)).is_none())
    }

    /// The position of an assertion whose record says that it is there.
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
        debug_assert!(self.unsketched.is_empty(), "it is updated before it is looked at");
        &self.sketch
    }

    /// The position of a row's record; `None` while that is lost.
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

    /// How many rows there are, lost ones included.
    pub fn rows(&self) -> u64 {
        u64::from(self.end_row())
    }

    /// Distinguishes this numbering of rows from that of an index made anew, and of other nodes': a
    /// peer that goes on with a row of another numbering would leave assertions out.
    pub fn numbering(&self) -> u64 {
        // Peers see it. A hash, for the seed itself would let them make colliding names.
        let name = Digest::of(&[&b"stemedb-edge numbering"[..], &self.seed.to_le_bytes()].concat());
        short_id(&name).max(1)
    }

    /// The number that the next row will have.
    pub fn end_row(&self) -> Row {
        self.newest.first() + self.newest.len() as Row
    }

    /// The tables in memory, the newest first.
    fn tables(&self) -> impl Iterator<Item = &Memtable> {
        std::iter::once(&self.newest).chain(self.frozen.as_deref())
    }

    /// The row of a hash, lost or not.
    fn row_of(&self, digest: &Digest) -> Option<Row> {
        // The newest first: what is asked for again was written lately, and memory costs no read.
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
        // Rows are appended in log order, so that positions ascend with rows.
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

    /// What holds between any two calls.
    fn check(&self) {
        let end = self.end_row();
        let frozen = self.frozen.as_deref().unwrap_or(&self.newest);
        let in_runs = self.runs.last().map_or(0, |run| run.rows().end);
        debug_assert_eq!(in_runs, frozen.first(), "memory goes on where the runs end");
        debug_assert!(
            self.frozen.is_none() || frozen.first() + frozen.len() as Row == self.newest.first(),
            "the newest rows go on where the frozen ones end"
        );
        let counted = self.tree.len() + self.lost.len() as u64;
        debug_assert_eq!(counted, u64::from(end), "each row is in the tree or lost");
        debug_assert!(self.moved.last_key_value().is_none_or(|(row, _)| *row < end));
        debug_assert!(self.root.is_none_or(|root| root.rows <= u64::from(end)));
        debug_assert!(self.unsketched.len() < SKETCHED_AT_ONCE && self.opaque <= u64::from(end));
    }
}

const _: () = assert!(limits::ROWS_MAX < 1 << 31);

#[cfg(test)]
mod tests;
