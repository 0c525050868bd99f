//! What is known: an index by hash, subject and predicate, and the Merkle tree over the set.
//!
//! In: committed assertions, one [`Store::apply`] each, whatever way they came. Out: positions in
//! the log. Full hashes, names and bodies stay in the log and are read through [`Bodies`].
//!
//! Never: keeps a body, a name or a full hash.

mod merkle;
mod postings;
mod rows;
mod trie;

use std::hash::{DefaultHasher, Hasher};

use crate::base::stream::{self, Sink};
use crate::base::{Digest, limits};
use crate::journal::damage::Damage;
use crate::journal::record::frame_bytes;
use crate::journal::{Bodies, Committed, Position};
use crate::model::Sealed;
use crate::sketch::{Key, ShortId, Sketch, short_id};

use merkle::Known;
use postings::{Postings, Walk};
use rows::Rows;
use trie::{Node, Trie, WINDOW};

/// Number of an assertion in the order it was applied.
pub type Row = u32;

/// What became of a committed assertion.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Applied {
    /// It is new.
    New(Row),
    /// It was here, but its record was damaged: it has a new one. The damaged one lies here.
    Mended(Position),
    /// It was here.
    Known,
}

/// Records that lie together, for whoever reads them in one go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Window {
    /// Where they start; ascending, in one segment.
    pub places: Vec<Position>,
    /// Where the last one ends, if that is known.
    pub end: Option<Position>,
    /// The row to go on with.
    pub next: Row,
}

impl Window {
    /// Takes one more place in, if it follows and is near; else it may tell where the last ends.
    fn takes(&mut self, at: Position, bytes: u64) -> bool {
        let Some((first, last)) = self.places.first().zip(self.places.last()) else {
            self.places.push(at);
            return true;
        };
        let follows = *last < at && at.segment() == first.segment();
        if follows && at.0 - first.0 <= bytes {
            self.places.push(at);
            return true;
        }
        let is_next =
            at.0.saturating_sub(last.0) <= frame_bytes(limits::ASSERTION_BYTES_MAX) as u64;
        self.end = Some(at).filter(|_| follows && is_next);
        false
    }
}

/// Heap bytes by part, the allocator's own not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// Index by hash, and the Merkle tree, which share their pages.
    pub hashes: usize,
    /// Row to position.
    pub rows: usize,
    /// Index by subject.
    pub subjects: usize,
    /// Index by predicate.
    pub predicates: usize,
    /// The sketch, of one size whatever it holds.
    pub sketch: usize,
}

/// The index of one node.
#[derive(Debug)]
pub struct Store {
    seed: u64,
    hashes: Trie<Known, WINDOW>,
    rows: Rows,
    subjects: Postings,
    predicates: Postings,
    sketch: Sketch,
    opaque: u64,
}

/// A walk over candidates, newest first. It may name rows that have another subject or predicate
/// (fingerprints are short): whoever reads the bodies decides.
#[derive(Clone, Debug)]
pub struct Candidates(Source);

#[derive(Clone, Debug)]
enum Source {
    All { before: Row },
    Named { walk: Walk, subject: bool, before: Row },
}

impl Store {
    /// An empty store of a cluster without a key.
    pub fn new(seed: u64) -> Store {
        Store::with_key(seed, Key::new(None))
    }

    /// An empty store. The seed keeps strangers from making names that share a fingerprint, the key
    /// from making members that spoil the sketch.
    pub fn with_key(seed: u64, key: Key) -> Store {
        Store {
            seed,
            hashes: Trie::new(),
            rows: Rows::default(),
            subjects: Postings::new(),
            predicates: Postings::new(),
            sketch: Sketch::new(key),
            opaque: 0,
        }
    }

    /// Whether every record is where it was appended: only such a store can be written out.
    pub fn is_sound(&self) -> bool {
        self.rows.is_sound()
    }

    /// Writes out all that there is to it but the key. It has to be sound.
    pub fn save(&self, sink: &mut Sink) {
        sink.put_u64(self.seed);
        sink.put_u64(self.opaque);
        self.hashes.save(sink);
        self.rows.save(sink);
        self.subjects.save(sink);
        self.predicates.save(sink);
        self.sketch.save(sink);
    }

    /// The store that was written out. The bytes have to be the very ones: what they say is taken
    /// at its word. `None` if they end too early.
    pub fn load(key: Key, source: &mut stream::Source) -> Option<Store> {
        Some(Store {
            seed: source.u64()?,
            opaque: source.u64()?,
            hashes: Trie::load(source)?,
            rows: Rows::load(source)?,
            subjects: Postings::load(source)?,
            predicates: Postings::load(source)?,
            sketch: Sketch::load(key, source)?,
        })
    }

    /// Takes in a committed assertion; false if it is known already.
    pub fn apply(&mut self, committed: &Committed, bodies: &dyn Bodies) -> bool {
        matches!(self.place(committed, bodies), Applied::New(_))
    }

    /// Takes in a committed assertion; one whose record was damaged gets this one.
    pub fn place(&mut self, committed: &Committed, bodies: &dyn Bodies) -> Applied {
        let sealed = committed.sealed();
        let digest = sealed.digest();
        if self.find_row(&digest, bodies).is_some() {
            return Applied::Known;
        }
        let damaged = self.damaged(&digest, bodies).find(|row| self.may_be(*row, sealed));
        if let Some(before) = damaged.and_then(|row| self.rows.mend(row, committed.position())) {
            self.hashes.unmark(&digest);
            return Applied::Mended(before);
        }
        let row = self.rows.push(committed.position());
        let rows = &self.rows;
        let digest_of = |other: Row| match rows.lost_name(other) {
            _ if other == row => digest,
            Some(name) => name,
            None => digest_of_row(rows, other, bodies),
        };
        self.hashes.insert(&digest, row, digest_of);
        self.sketch.insert(&digest);
        let Some((subject, predicate)) = sealed.names() else {
            self.opaque += 1;
            return Applied::New(row);
        };
        let seed = self.seed;
        self.subjects.insert(&fingerprint(seed, subject), row);
        self.predicates.insert(&fingerprint(seed, predicate), row);
        Applied::New(row)
    }

    /// Takes the record at a place out of index and tree, if it is one and cannot be read; the
    /// answer names it, if what is left does. It keeps its row: [`Store::place`] gives that another
    /// record, when one comes.
    pub fn lose(&mut self, at: Position, bodies: &dyn Bodies) -> Option<Damage> {
        let row = self.rows.row_at(at).filter(|row| self.rows.position(*row) == Some(at))?;
        if bodies.sealed_at(at).is_some() {
            return None;
        }
        let fits = |name: &Digest| self.hashes.candidates(name).any(|other| other == row);
        let name = bodies.name_at(at).filter(fits);
        match &name {
            Some(name) => self.hashes.unmark(name),
            None => self.hashes.unmark_all(),
        }
        self.rows.lose(row, name.unwrap_or(Digest::ZERO));
        Some(Damage { at, bytes: self.rows.bytes_at(row), digest: name })
    }

    /// Whether an assertion seems to be here with a record that cannot be read.
    pub fn is_damaged(&self, digest: &Digest, bodies: &dyn Bodies) -> bool {
        self.damaged(digest, bodies).next().is_some()
    }

    /// Rows without a readable record that may have this digest.
    fn damaged(&self, digest: &Digest, bodies: &dyn Bodies) -> impl Iterator<Item = Row> {
        let is_readable =
            |row: &Row| self.position(*row).and_then(|at| bodies.sealed_at(at)).is_some();
        self.hashes.candidates(digest).filter(move |row| !is_readable(row))
    }

    /// Whether a row may be this assertion's, as far as its names tell.
    fn may_be(&self, row: Row, sealed: &Sealed) -> bool {
        sealed.names().is_none_or(|(subject, predicate)| {
            self.subjects.has(&fingerprint(self.seed, subject), row)
                && self.predicates.has(&fingerprint(self.seed, predicate), row)
        })
    }

    /// Where an assertion lies.
    pub fn find(&self, digest: &Digest, bodies: &dyn Bodies) -> Option<Position> {
        self.position(self.find_row(digest, bodies)?)
    }

    /// The row of an assertion.
    pub fn find_row(&self, digest: &Digest, bodies: &dyn Bodies) -> Option<Row> {
        let mut candidates = self.hashes.candidates(digest);
        candidates.find(|row| digest_of_row(&self.rows, *row, bodies) == *digest)
    }

    /// The row of an assertion by its short id; of several with one id, any.
    pub fn find_short(&self, id: ShortId, bodies: &dyn Bodies) -> Option<Row> {
        let mut front = Digest::ZERO;
        front.0[..8].copy_from_slice(&id.to_be_bytes());
        let mut candidates = self.hashes.candidates(&front);
        candidates.find(|row| short_id(&digest_of_row(&self.rows, *row, bodies)) == id)
    }

    /// The sketch of the set.
    pub fn sketch(&self) -> &Sketch {
        &self.sketch
    }

    /// Where a row lies; `None` while its record is lost.
    pub fn position(&self, row: Row) -> Option<Position> {
        self.rows.position(row)
    }

    /// Records from a row on, within about so many bytes (one at least); `None` behind the last.
    pub fn window(&self, from: Row, bytes: u64) -> Option<Window> {
        let mut window = Window { places: Vec::new(), end: None, next: from };
        while (window.next as usize) < self.rows.len() {
            if let Some(at) = self.rows.position(window.next)
                && !window.takes(at, bytes)
            {
                break;
            }
            window.next += 1;
        }
        (!window.places.is_empty()).then_some(window)
    }

    /// How many assertions there are, those whose record is lost not counted.
    pub fn len(&self) -> u64 {
        (self.rows.len() - self.rows.lost()) as u64
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many of them cannot be read as ours.
    pub fn opaque(&self) -> u64 {
        self.opaque
    }

    /// Works on the Merkle root (`docs/wire.md`): reads at most about `budget` hashes again, never
    /// fewer than one page. `None`: call again.
    pub fn root_step(&mut self, budget: usize, bodies: &dyn Bodies) -> Option<Digest> {
        let rows = &self.rows;
        let budget = budget.max(trie::PAGE_MAX);
        merkle::root(&mut self.hashes, budget, |row| digest_of_row(rows, row, bodies))
    }

    /// Hashes in ascending order, strictly after `after`, at most `max`.
    pub fn leaves(&self, after: Option<Digest>, max: usize, bodies: &dyn Bodies) -> Vec<Digest> {
        let mut leaves = Vec::with_capacity(max.min(self.rows.len()));
        self.collect_leaves(self.hashes.root(), 0, after.as_ref(), max, &mut leaves, bodies);
        leaves
    }

    /// Rows that may have this subject and this predicate, before a row.
    pub fn select(
        &self,
        subject: Option<&str>,
        predicate: Option<&str>,
        before: Option<Row>,
    ) -> Candidates {
        let before = before.unwrap_or(Row::MAX);
        let walk = |postings: &Postings, name: &str| postings.walk(&fingerprint(self.seed, name));
        let subjects = subject.map(|subject| walk(&self.subjects, subject));
        let predicates = predicate.map(|predicate| walk(&self.predicates, predicate));
        Candidates(match (subjects, predicates) {
            (None, None) => Source::All { before: before.min(self.rows.len() as Row) },
            (Some((count, walk)), other) if other.as_ref().is_none_or(|other| count <= other.0) => {
                Source::Named { walk, subject: true, before }
            }
            (_, Some((_, walk))) | (Some((_, walk)), None) => {
                Source::Named { walk, subject: false, before }
            }
        })
    }

    /// The next candidate of a walk.
    pub fn next_candidate(&self, candidates: &mut Candidates) -> Option<(Row, Position)> {
        loop {
            let row = match &mut candidates.0 {
                Source::All { before } => {
                    *before = before.checked_sub(1)?;
                    *before
                }
                Source::Named { walk, subject, before } => {
                    let postings = if *subject { &self.subjects } else { &self.predicates };
                    std::iter::from_fn(|| postings.next(walk)).find(|row| *row < *before)?
                }
            };
            if let Some(at) = self.rows.position(row) {
                return Some((row, at));
            }
        }
    }

    /// Where the memory goes.
    pub fn memory(&self) -> MemoryUse {
        MemoryUse {
            hashes: self.hashes.bytes(),
            rows: self.rows.bytes(),
            subjects: self.subjects.bytes(),
            predicates: self.predicates.bytes(),
            sketch: self.sketch.bytes(),
        }
    }

    /// `after` is given only along its own path: beside it, everything is before or behind it.
    fn collect_leaves(
        &self,
        node: Node,
        depth: usize,
        after: Option<&Digest>,
        max: usize,
        leaves: &mut Vec<Digest>,
        bodies: &dyn Bodies,
    ) {
        match node {
            Node::Inner(inner) => {
                let [left, right] = self.hashes.children(inner);
                let past_left = after.is_some_and(|after| after.bit(depth));
                if !past_left {
                    self.collect_leaves(left, depth + 1, after, max, leaves, bodies);
                }
                if leaves.len() < max {
                    let after = after.filter(|_| past_left);
                    self.collect_leaves(right, depth + 1, after, max, leaves, bodies);
                }
            }
            Node::Page(page) => {
                let entries = self.hashes.entries(page).iter();
                let mut hashes: Vec<Digest> = entries
                    .map(|entry| digest_of_row(&self.rows, entry.value(), bodies))
                    .filter(|hash| *hash != Digest::ZERO)
                    .filter(|hash| after.is_none_or(|after| hash > after))
                    .collect();
                hashes.sort_unstable();
                hashes.truncate(max - leaves.len());
                leaves.append(&mut hashes);
            }
            Node::Empty => {}
        }
    }
}

/// The digest of a row. One that cannot be read any more reads as zeros: it matches nothing, and
/// the root shows that the set is not whole.
fn digest_of_row(rows: &Rows, row: Row, bodies: &dyn Bodies) -> Digest {
    rows.position(row).and_then(|at| bodies.digest_at(at)).unwrap_or(Digest::ZERO)
}

/// 32 bits that stand for a name, at the front of a trie key.
fn fingerprint(seed: u64, name: &str) -> Digest {
    let mut hasher = DefaultHasher::new();
    hasher.write_u64(seed);
    hasher.write(name.as_bytes());
    hasher.write_u64(seed);
    let mut key = Digest::ZERO;
    key.0[..4].copy_from_slice(&hasher.finish().to_be_bytes()[..4]);
    key
}

const _: () = assert!(limits::ROWS_MAX < 1 << 31);

#[cfg(test)]
mod tests;
