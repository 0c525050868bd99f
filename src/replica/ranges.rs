//! What this node remembers so that peers get ranges of its log instead of comparing.
//!
//! In: roots as they are computed, pulls as they go on. Out: where a peer that had one of those
//! roots has to begin, and where this node goes on with a pull that was cut off. Never: remembers
//! more of either than a few dozen.

use std::collections::{BTreeMap, VecDeque};

use super::Replica;
use crate::base::limits;
use crate::store::Root;
use crate::sync::{Answering, Cursor, SketchReply, SketchRequest, short_root};

/// Roots and pulls.
#[derive(Debug, Default)]
pub(super) struct Ranges {
    /// Short roots of this node, with its rows at that time; the oldest first.
    roots: VecDeque<(u64, u64)>,
    /// By the numbering of a peer's rows: up to where they were taken.
    pulled: BTreeMap<u64, u64>,
}

impl Ranges {
    pub(super) fn note_root(&mut self, root: &Root) {
        let Root { digest, rows, .. } = root;
        let (root, rows) = (short_root(digest), *rows);
        if self.roots.back().is_some_and(|(last, _)| *last == root) {
            return;
        }
        if self.roots.len() >= limits::ROOTS_KEPT {
            self.roots.pop_front();
        }
        self.roots.push_back((root, rows));
    }

    pub(super) fn note_pulled(&mut self, cursor: Cursor) {
        let is_new = !self.pulled.contains_key(&cursor.numbering);
        if is_new && self.pulled.len() >= limits::PULLS_KEPT {
            self.pulled.pop_first();
        }
        self.pulled.insert(cursor.numbering, cursor.row);
    }

    pub(super) fn pulled(&self) -> BTreeMap<u64, u64> {
        self.pulled.clone()
    }

    /// Rows at the last time that this was the root; 0 stands for none.
    fn rows_at(&self, root: u64) -> Option<u64> {
        let mut newest_first = self.roots.iter().rev().filter(|_| root != 0);
        newest_first.find(|(known, _)| *known == root).map(|(_, rows)| *rows)
    }
}

impl Replica {
    /// Works on the Merkle root of the first `rows` rows or more: about `budget` member hashes are
    /// listed again. `None`: call again.
    pub fn root_step(&mut self, budget: usize, rows: u64) -> Option<Root> {
        let root = self.store.root_step(budget, rows)?;
        self.ranges.note_root(&root);
        Some(root)
    }

    /// Answers a peer that wants to know what differs; `Err`: it takes a while to say.
    pub fn answer_sketch(&self, request: SketchRequest) -> Result<SketchReply, Box<Answering>> {
        let count = self.store.len();
        let behind = self.ranges.rows_at(request.root).filter(|rows| *rows < self.store.rows());
        let is_first = request.from == 0 && request.counts.is_empty() && request.part.is_none();
        if let Some(row) = behind.filter(|_| is_first && request.low_counts.packed.is_empty()) {
            let since = Some(Cursor { numbering: self.store.numbering(), row });
            return Ok(SketchReply { count, since, ..SketchReply::default() });
        }
        let mut answering = Box::new(Answering::new(&self.store, request));
        answering.step(0, &self.store).ok_or(answering)
    }
}

#[cfg(test)]
mod tests {
    use super::super::stage::{Memory, replica, store};
    use super::*;
    use crate::base::Digest;
    use crate::sync::{Stretch, answer_records};

    fn root(replica: &mut Replica) -> Digest {
        let rows = replica.store().rows();
        let mut steps = std::iter::repeat_with(|| replica.root_step(1000, rows));
        steps.find_map(|root| root).expect("in the end").digest
    }

    fn first_question(root: &Digest) -> SketchRequest {
        SketchRequest { cells: 24, root: short_root(root), ..SketchRequest::default() }
    }

    fn at_once(replica: &Replica, request: SketchRequest) -> SketchReply {
        replica.answer_sketch(request).expect("not of a part")
    }

    #[test]
    fn who_comes_with_an_old_root_is_told_where_the_news_begin() {
        let (mut replica, mut bodies) = (replica(), Memory::default());
        for number in 0..3 {
            store(&mut replica, &mut bodies, number);
        }
        let old = root(&mut replica);
        for number in 3..5 {
            store(&mut replica, &mut bodies, number);
        }
        let reply = at_once(&replica, first_question(&old));
        let since = reply.since.expect("it had that root");
        assert_eq!((since.row, reply.cells.len(), reply.count), (3, 0, 5));
        let wanted = Stretch { from: since, until: u64::MAX };
        let records = answer_records(replica.store(), wanted, &bodies);
        assert_eq!((records.good.len(), records.span.next, records.span.rows), (2, 5, 5));

        let latest = root(&mut replica);
        for stranger in [latest, Digest::of(b"another")] {
            let reply = at_once(&replica, first_question(&stranger));
            assert_eq!((reply.since, reply.cells.len()), (None, 24), "nothing to tell by rows");
        }
        let later = SketchRequest { from: 24, ..first_question(&old) };
        assert_eq!(at_once(&replica, later).since, None, "it began with cells");
    }

    #[test]
    fn old_roots_and_pulls_are_forgotten() {
        let mut ranges = Ranges::default();
        let digest = |number: usize| Digest::of(&number.to_le_bytes());
        for number in 0..=limits::ROOTS_KEPT {
            let root = Root { digest: digest(number), rows: number as u64, count: 0 };
            ranges.note_root(&root);
            ranges.note_root(&Root { rows: root.rows + 1, ..root });
        }
        assert_eq!(ranges.roots.len(), limits::ROOTS_KEPT);
        assert_eq!(ranges.rows_at(short_root(&digest(0))), None);
        assert_eq!(ranges.rows_at(short_root(&digest(1))), Some(1));
        for number in 0..=limits::PULLS_KEPT as u64 {
            ranges.note_pulled(Cursor { numbering: number + 1, row: 7 });
            ranges.note_pulled(Cursor { numbering: number + 1, row: 8 });
        }
        assert_eq!(ranges.pulled().len(), limits::PULLS_KEPT);
        assert_eq!(ranges.pulled().last_key_value(), Some((&(limits::PULLS_KEPT as u64 + 1), &8)));
    }
}
