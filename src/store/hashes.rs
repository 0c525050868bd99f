//! The set as its hashes: the Merkle root, leaves in order, the sketch of a part.
//!
//! In: how much may be listed in one go. Out: what is made of hashes alone. Never: reads a record,
//! lists all hashes at once.

use super::{Row, Store};
use crate::base::{Digest, limits};
use crate::sketch::{Part, Sketch};

/// A Merkle root, and the set that it is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Root {
    /// The root itself.
    pub digest: Digest,
    /// It is of the rows before this one.
    pub rows: u64,
    /// How many assertions these are, those whose record is lost not counted.
    pub count: u64,
}

impl Store {
    /// Works on the Merkle root (`docs/wire.md`) of a set that has the first `rows` rows at least:
    /// lists about `budget` hashes again at most, never fewer than one bucket. `None`: call again.
    pub fn root_step(&mut self, budget: usize, rows: u64) -> Option<Root> {
        if let Some(root) = self.root.filter(|root| root.rows >= rows) {
            return Some(root);
        }
        let mut tree = std::mem::take(&mut self.tree);
        let end = self.end_row();
        let list = |prefix: &Digest, depth, end| self.hashes_under(prefix, depth, end);
        self.root = tree.root(budget, end, list).or(self.root);
        self.tree = tree;
        self.root.filter(|root| root.rows >= rows)
    }

    /// Hashes in ascending order, strictly after `after`, at most `max`.
    pub fn leaves(&self, after: Option<Digest>, max: usize) -> Vec<Digest> {
        let mut leaves = Vec::new();
        for (prefix, depth) in self.tree.buckets_from(&after.unwrap_or(Digest::ZERO)) {
            if leaves.len() >= max {
                break;
            }
            let mut hashes = self.hashes_under(&prefix, depth, Row::MAX);
            hashes.retain(|hash| after.is_none_or(|after| *hash > after));
            hashes.sort_unstable();
            leaves.append(&mut hashes);
        }
        leaves.truncate(max);
        leaves
    }

    /// The sketch of a part; `None` if it is too large to be made at once.
    pub fn sketch_of(&self, part: Part) -> Option<Sketch> {
        let (mut sketch, mut members) = (Sketch::new(self.sketch.key()), 0);
        for (prefix, depth) in self.tree.buckets_from(&part.start()) {
            if !part.has(&prefix) && prefix > part.start() {
                break;
            }
            let hashes = self.hashes_under(&prefix, depth, Row::MAX);
            for hash in hashes.iter().filter(|hash| part.has(hash)) {
                members += 1;
                sketch.insert(hash);
            }
            if members > limits::PART_MAX {
                return None;
            }
        }
        Some(sketch)
    }

    /// All hashes of readable records before a row that agree with one in so many bits, in no
    /// order.
    fn hashes_under(&self, prefix: &Digest, depth: usize, end: Row) -> Vec<Digest> {
        let mut hashes = Vec::new();
        let mut see = |row: Row, hash: &Digest| {
            if row < end && (self.lost.is_empty() || !self.lost.contains_key(&row)) {
                hashes.push(*hash);
            }
        };
        self.tables().for_each(|table| table.under(prefix, depth, &mut see));
        self.runs.iter().for_each(|run| run.under(prefix, depth, &mut see));
        hashes
    }
}
