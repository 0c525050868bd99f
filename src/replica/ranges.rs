//! What this node remembers so that peers get ranges of its log instead of comparing.
//!
//! In: roots as they are computed, pulls as they go on. Out: where a peer that had one of those
//! roots has to begin, and where this node goes on with a pull that was cut off. Never: remembers
//! more of either than a few dozen.

use std::collections::{BTreeMap, VecDeque};

use super::Replica;
use crate::base::{Digest, limits};
use crate::sync::{Cursor, SketchReply, SketchRequest, answer_sketch, short_root};

/// Roots and pulls.
#[derive(Debug, Default)]
pub(super) struct Ranges {
    /// Short roots of this node, with its rows at that time; the oldest first.
    roots: VecDeque<(u64, u64)>,
    /// By the numbering of a peer's rows: up to where they were taken.
    pulled: BTreeMap<u64, u64>,
}

impl Ranges {
    pub(super) fn note_root(&mut self, root: &Digest, rows: u64) {
        let root = short_root(root);
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
    /// Answers a peer that wants to know what differs.
    pub fn answer_sketch(&self, request: &SketchRequest) -> SketchReply {
        let count = self.store.len();
        let behind = self.ranges.rows_at(request.root).filter(|rows| *rows < self.store.rows());
        if let Some(row) = behind.filter(|_| request.from == 0 && request.counts.is_empty()) {
            let since = Some(Cursor { numbering: self.store.numbering(), row });
            return SketchReply { count, since, ..SketchReply::default() };
        }
        answer_sketch(self.store.sketch(), count, request)
    }
}
