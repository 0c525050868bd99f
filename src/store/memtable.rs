//! The newest rows, in memory until there are enough of them for a run.
//!
//! In: rows in ascending order, each with its hash, its place and its names. Out: the same as a
//! [`super::run::Run`] gives, for the rows it has. Never: holds a body.

use super::postings::Postings;
use super::rows::Rows;
use super::trie::{Trie, WINDOW};
use super::{NAMED_MAX, Name, Row};
use crate::base::Digest;
use crate::journal::Position;

/// Hashes per allocation.
const CHUNK: usize = 1024;
/// Positions told at a time.
const PLACES_MAX: Row = 512;

/// The rows.
#[derive(Debug)]
pub(super) struct Memtable {
    first: Row,
    digests: Vec<Vec<Digest>>,
    hashes: Trie<WINDOW>,
    rows: Rows,
    subjects: Postings,
    predicates: Postings,
}

impl Memtable {
    /// None yet; the first will have this number.
    pub(super) fn new(first: Row) -> Memtable {
        Memtable {
            first,
            digests: Vec::new(),
            hashes: Trie::new(),
            rows: Rows::default(),
            subjects: Postings::new(),
            predicates: Postings::new(),
        }
    }

    /// Takes in the next row; subject and predicate, where it has them.
    pub(super) fn push(&mut self, digest: &Digest, at: Position, names: Option<[Name; 2]>) -> Row {
        let place = self.rows.push(at);
        if self.digests.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.digests.push(Vec::with_capacity(CHUNK));
        }
        self.digests.last_mut().expect("just made").push(*digest);
        let digests = &self.digests;
        self.hashes.insert(digest, place, |place| *digest_in(digests, place));
        if let Some([subject, predicate]) = names {
            self.subjects.insert(&subject.key(), place);
            self.predicates.insert(&predicate.key(), place);
        }
        self.first + place
    }

    /// The number of the first row.
    pub(super) fn first(&self) -> Row {
        self.first
    }

    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The row with this hash.
    pub(super) fn find(&self, digest: &Digest) -> Option<Row> {
        let mut places = self.hashes.candidates(digest);
        places.find(|place| digest_in(&self.digests, *place) == digest).map(|it| self.first + it)
    }

    /// The rows whose hashes begin with these 8 bytes.
    pub(super) fn find_short(&self, front: &Digest) -> Option<Row> {
        let mut places = self.hashes.candidates(front);
        let is_it = |place: &Row| digest_in(&self.digests, *place).0[..8] == front.0[..8];
        places.find(is_it).map(|place| self.first + place)
    }

    /// The hash of a row that is here.
    pub(super) fn digest(&self, row: Row) -> Digest {
        *digest_in(&self.digests, row - self.first)
    }

    /// Where a row that is here was appended.
    pub(super) fn position(&self, row: Row) -> Position {
        self.rows.position(row - self.first).expect("a row of this table")
    }

    /// The same of it and of some that follow.
    pub(super) fn positions(&self, row: Row) -> Vec<Position> {
        let end = self.first + self.len() as Row;
        (row..end.min(row + PLACES_MAX)).map(|row| self.position(row)).collect()
    }

    /// Shows all hashes that agree with one in so many bits.
    pub(super) fn under(&self, prefix: &Digest, depth: usize, see: &mut dyn FnMut(Row, &Digest)) {
        self.hashes.under(prefix, depth, |place| {
            let digest = digest_in(&self.digests, place);
            if digest.agrees(prefix, depth) {
                see(self.first + place, digest);
            }
        });
    }

    /// How many rows have a name as their subject, or their predicate.
    pub(super) fn count(&self, name: Name, is_subject: bool) -> usize {
        self.postings(is_subject).walk(&name.key()).0 as usize
    }

    /// The newest of them before a row, [`NAMED_MAX`] at most, in ascending order.
    pub(super) fn named(&self, name: Name, is_subject: bool, before: Row) -> Vec<Row> {
        let postings = self.postings(is_subject);
        let before = before - self.first;
        let mut walk = postings.walk_before(&name.key(), before);
        let newest = std::iter::from_fn(|| postings.next(&mut walk));
        let mut rows: Vec<Row> = newest
            .filter(|place| *place < before)
            .take(NAMED_MAX)
            .map(|place| self.first + place)
            .collect();
        rows.reverse();
        rows
    }

    /// All rows, for a run: hashes with theirs, places, and both kinds of names with theirs.
    pub(super) fn digests(&self) -> impl Iterator<Item = (&Digest, Row)> {
        self.digests.iter().flatten().zip(self.first..)
    }

    /// Names with their rows, sorted by both.
    pub(super) fn names(&self, is_subject: bool) -> impl Iterator<Item = (Name, Row)> {
        let sorted = self.postings(is_subject).sorted();
        sorted.into_iter().map(|(name, place)| (Name(name), self.first + place))
    }

    /// Heap bytes, the allocator's own not counted.
    pub(super) fn bytes(&self) -> usize {
        self.digests.len() * CHUNK * size_of::<Digest>()
            + self.hashes.bytes()
            + self.rows.bytes()
            + self.subjects.bytes()
            + self.predicates.bytes()
    }

    fn postings(&self, is_subject: bool) -> &Postings {
        if is_subject { &self.subjects } else { &self.predicates }
    }
}

fn digest_in(digests: &[Vec<Digest>], place: Row) -> &Digest {
    &digests[place as usize / CHUNK][place as usize % CHUNK]
}
