//! The set as its hashes: the Merkle root, leaves in order, the sketch of a part.
//!
//! In: how much may be listed in one go. Out: what is made of hashes alone. Never: reads a record,
//! lists all hashes at once.

use super::Store;
use super::rekey::Rekeying;
use super::row::Row;
use super::tree::Root;
use crate::base::Digest;
use crate::sketch::{Part, ShortId, Sketch, SketchKey, short_id};

impl Store {
    /// Works on the Merkle root (`docs/wire.md`) of a set that has the first `rows` rows at least:
    /// lists about `budget` hashes again at most, never fewer than one bucket. `None`: call again.
    pub fn root_step(&mut self, budget: usize, rows: u64) -> Option<Root> {
        if let Some(root) = self.root.filter(|root| root.rows >= rows) {
            return Some(root);
        }
        // Apart while it works, for it lists rows of the store that it is a part of.
        let mut tree = std::mem::take(&mut self.tree);
        let end = self.end_row();
        let list = |prefix: &Digest, depth, end| self.hashes_under(prefix, depth, end);
        self.root = tree.root(budget, end, list).or(self.root);
        self.tree = tree;
        self.check();
        self.root.filter(|root| root.rows >= rows)
    }

    /// Hashes in ascending order, strictly after `after`, at most `max`.
    pub fn leaves(&self, after: Option<Digest>, max: usize) -> Vec<Digest> {
        let mut scan = LeafScan::after(after, max);
        scan.step(usize::MAX, self);
        scan.into_leaves()
    }

    /// Begins to make the sketch under another key; [`Store::rekey_step`] does the work.
    pub fn begin_rekey(&mut self, key: SketchKey) {
        self.rekeying = Some(Rekeying::new(key));
    }

    /// Lists about `budget` hashes more; true when the sketch is the new one. Lost rows are in it,
    /// as they stay in the one before.
    pub fn rekey_step(&mut self, budget: usize) -> bool {
        let Some(mut rekeying) = self.rekeying.take() else { return true };
        let is_whole = rekeying.step(budget, |prefix, depth| {
            let mut ids = Vec::new();
            self.rows_under(prefix, depth, &mut |_, hash| ids.push(short_id(hash)));
            ids
        });
        if is_whole {
            // What waits for the old sketch is a row, and so in the new one.
            self.unsketched.clear();
            self.sketch = rekeying.into_sketch();
        } else {
            self.rekeying = Some(rekeying);
        }
        self.check();
        is_whole
    }

    /// All hashes of readable records before a row that agree with one in so many bits, in no
    /// order.
    pub(super) fn hashes_under(&self, prefix: &Digest, depth: usize, end: Row) -> Vec<Digest> {
        let mut hashes = Vec::new();
        self.rows_under(prefix, depth, &mut |row: Row, hash: &Digest| {
            // Hardly a node has lost records: the look-up is for those that have.
            if row < end && (self.lost.is_empty() || !self.lost.contains_key(&row)) {
                hashes.push(*hash);
            }
        });
        hashes
    }

    /// All rows whose hashes agree with one in so many bits, in no order.
    pub(super) fn rows_under(
        &self,
        prefix: &Digest,
        depth: usize,
        mut see: &mut dyn FnMut(Row, &Digest),
    ) {
        self.tables().for_each(|table| table.under(prefix, depth, &mut see));
        self.runs.iter().for_each(|run| run.under(prefix, depth, &mut see));
    }
}

/// Hashes in ascending order, being listed. What comes or goes meanwhile may be among them or not.
#[derive(Debug)]
pub struct LeafScan {
    /// The bucket to go on with. A prefix, for the buckets that have hashes change meanwhile.
    next: Digest,
    /// Hashes up to this one are on pages that were sent before.
    after: Option<Digest>,
    part: Option<Part>,
    /// The hashes that one answer holds.
    max: usize,
    /// May be more than `max`: a bucket is listed whole, for it is in no order.
    leaves: Vec<Digest>,
}

impl LeafScan {
    /// Hashes strictly after `after`, at most `max`.
    pub fn after(after: Option<Digest>, max: usize) -> LeafScan {
        let next = after.unwrap_or(Digest::ZERO);
        LeafScan { next, after, part: None, max, leaves: Vec::new() }
    }

    /// Hashes of a part, at most `max`.
    pub fn of_part(part: Part, max: usize) -> LeafScan {
        LeafScan { next: part.start(), part: Some(part), ..LeafScan::after(None, max) }
    }

    /// Lists about `budget` more, those of one bucket at least; true when all are there.
    pub fn step(&mut self, budget: usize, store: &Store) -> bool {
        let (mut left, from) = (budget, self.next);
        for (prefix, depth) in store.tree.buckets_from(&from) {
            // A part smaller than a bucket begins within one, whose prefix is before it.
            let is_beyond = |part: Part| prefix > part.start() && !part.has(&prefix);
            if self.leaves.len() >= self.max || self.part.is_some_and(is_beyond) {
                return true;
            }
            if left == 0 {
                self.next = prefix;
                return false;
            }
            let mut hashes = store.hashes_under(&prefix, depth, store.end_row());
            // Of an empty bucket, too: all buckets may be lost ones'.
            left = left.saturating_sub(hashes.len().max(1));
            hashes.retain(|hash| {
                self.after.is_none_or(|after| *hash > after)
                    && self.part.is_none_or(|part| part.has(hash))
            });
            // Memory and runs each list their own.
            hashes.sort_unstable();
            self.leaves.append(&mut hashes);
        }
        true
    }

    /// Whether nothing was listed.
    pub fn is_empty(&self) -> bool {
        self.leaves.is_empty()
    }

    /// What was listed, once it is all.
    pub fn into_leaves(mut self) -> Vec<Digest> {
        self.leaves.truncate(self.max);
        self.leaves
    }
}

/// The sketch of a part, being made. What comes or goes meanwhile may be in it or not; the rest
/// is.
#[derive(Debug)]
pub struct PartScan {
    part: Part,
    sketch: Sketch,
    /// The bucket to go on with. A prefix, for the buckets that have hashes change meanwhile.
    next: Digest,
    /// The part's last bucket is in. `next` cannot say so: the last part ends where no digest is.
    is_over: bool,
}

impl PartScan {
    /// The first cells of a part's sketch; `None` if it has more than `most` members.
    pub fn new(store: &Store, part: Part, cells: usize, most: u64) -> Option<PartScan> {
        // Counted before anything is listed: a part that is too large costs nothing.
        let sketch = Sketch::of_cells(store.sketch.key(), cells);
        let scan = PartScan { part, sketch, next: part.start(), is_over: false };
        (store.tree.len_of(part) <= most).then_some(scan)
    }

    /// The part that it is of.
    pub fn part(&self) -> Part {
        self.part
    }

    /// Lists about `budget` members more, those of one bucket at least; true when it is whole.
    pub fn step(&mut self, budget: usize, store: &Store) -> bool {
        let mut left = budget;
        let from = self.next;
        let mut buckets = store.tree.buckets_from(&from);
        while !self.is_over {
            let bucket = buckets.next();
            let of_part = |prefix: &Digest| *prefix <= self.part.start() || self.part.has(prefix);
            let Some((prefix, depth)) = bucket.filter(|(prefix, _)| of_part(prefix)) else {
                self.is_over = true;
                break;
            };
            if left == 0 {
                self.next = prefix;
                break;
            }
            let hashes = store.hashes_under(&prefix, depth, store.end_row());
            left = left.saturating_sub(hashes.len().max(1));
            let of_part = hashes.iter().filter(|hash| self.part.has(hash));
            let ids: Vec<ShortId> = of_part.map(short_id).collect();
            self.sketch.insert(&ids);
        }
        self.is_over
    }

    /// What is made so far.
    pub fn sketch(&self) -> &Sketch {
        &self.sketch
    }

    /// Whether all members of the part are in it.
    pub fn is_over(&self) -> bool {
        self.is_over
    }
}
