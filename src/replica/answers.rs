//! What peers ask of the set: its root, a sketch of it, its leaves.
//!
//! In: their questions, a budget of work. Out: answers, whole or to be continued. Never: changes
//! the set.

use super::Replica;
use crate::base::{Digest, limits};
use crate::sketch::SketchKey;
use crate::store::{LeafScan, Root, Store};
use crate::sync::{Answering, RowCursor, SketchReply, SketchRequest};

/// A page of leaves, being listed for a connection.
#[derive(Debug)]
pub struct LeafPage {
    scan: LeafScan,
    /// Leaves that the peer takes: fewer of them show the end of the set.
    count: usize,
    /// Whether the set has more leaves than one page, as the answer says.
    truncated: bool,
    /// Whether it goes on where another page ended, so that it may be past the last leaf.
    is_continued: bool,
}

impl LeafPage {
    /// Lists about `budget` leaves more; true when all are there.
    pub fn step(&mut self, budget: usize, store: &Store) -> bool {
        let is_over = self.scan.step(budget, store);
        if is_over && self.is_continued && self.scan.is_empty() {
            // The walk ended with the page before: an empty page would look like an empty set.
            self.is_continued = false;
            self.scan = LeafScan::after(None, self.count);
            return false;
        }
        is_over
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

    /// Begins to make the sketch under another key; [`Replica::rekey_step`] does the work.
    pub fn begin_rekey(&mut self, key: SketchKey) {
        self.store.begin_rekey(key);
    }

    /// Lists about `budget` hashes more; true when the sketch is the new one.
    pub fn rekey_step(&mut self, budget: usize) -> bool {
        self.store.rekey_step(budget)
    }

    /// Answers a peer that wants to know what differs; `Err`: it takes a while to say.
    pub fn answer_sketch(&self, request: SketchRequest) -> Result<SketchReply, Box<Answering>> {
        let count = self.store.len();
        let behind = self.ranges.rows_at(request.root).filter(|rows| *rows < self.store.rows());
        let is_first = request.from == 0 && request.part.is_none();
        // A peer that had this node's own root of some time ago lacks rows from there on: their
        // numbers say it all, and no cells need to travel.
        if let Some(row) = behind.filter(|_| is_first && request.low_counts.packed.is_empty()) {
            let since = Some(RowCursor { numbering: self.store.numbering(), row });
            return Ok(SketchReply { count, since, ..SketchReply::default() });
        }
        let mut answering = Box::new(Answering::new(&self.store, request));
        answering.step(0, &self.store).ok_or(answering)
    }

    /// The next page of leaves for a connection: at most `max` (0 or more than the cap: the cap).
    pub fn begin_leaves(&self, connection: u64, max: u64) -> LeafPage {
        let cap = limits::LEAVES_MAX as u64;
        let max = if max == 0 { cap } else { max.min(cap) };
        let truncated = self.store.len() > max;
        let after = if truncated { self.walks.position(connection) } else { None };
        let count = usize::try_from(max).expect("at most the cap");
        let scan = LeafScan::after(after, count);
        LeafPage { scan, count, truncated, is_continued: after.is_some() }
    }

    /// A page is listed. Out: its leaves, and whether the set holds more than that.
    pub fn end_leaves(&mut self, connection: u64, page: LeafPage) -> (Vec<Digest>, bool) {
        let leaves = page.scan.into_leaves();
        let reached_end = leaves.len() < page.count;
        self.walks.advance(connection, leaves.last().copied().filter(|_| !reached_end));
        (leaves, page.truncated)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Memory, replica, store};
    use super::*;
    use crate::base::Digest;
    use crate::sync::{RowRange, answer_records, short_root};

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
    fn a_peer_with_an_old_root_gets_the_row_where_news_begins() {
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
        let wanted = RowRange { from: since, until: None };
        let records = answer_records(replica.store(), wanted, &bodies);
        assert_eq!((records.good.len(), records.span.next, records.span.rows), (2, 5, 5));

        let latest = root(&mut replica);
        for stranger in [latest, Digest::of(b"another")] {
            let reply = at_once(&replica, first_question(&stranger));
            assert_eq!(
                (reply.since, reply.cells.len()),
                (None, 24),
                "no rows stand for the difference"
            );
        }
        let later = SketchRequest { from: 24, ..first_question(&old) };
        assert_eq!(at_once(&replica, later).since, None, "it began with cells");
    }
}
