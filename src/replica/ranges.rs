//! What this node remembers so that peers get ranges of its log instead of comparing.
//!
//! In: roots as they are computed, pulls as they go on. Out: where a peer that had one of those
//! roots has to begin, and where this node goes on with a pull that was cut off. Never: remembers
//! more of either than a few dozen.

use std::collections::{BTreeMap, VecDeque};

use crate::base::limits;
use crate::store::Root;
use crate::sync::{RowCursor, short_root};

/// Roots that this node had, and pulls that it began.
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
        // Rows that were known already leave the root as it is; the first count of rows is right.
        if self.roots.back().is_some_and(|(last, _)| *last == root) {
            return;
        }
        if self.roots.len() >= limits::ROOTS_KEPT {
            self.roots.pop_front();
        }
        self.roots.push_back((root, rows));
        self.check();
    }

    pub(super) fn note_pulled(&mut self, cursor: RowCursor) {
        let is_new = !self.pulled.contains_key(&cursor.numbering);
        if is_new && self.pulled.len() >= limits::PULLS_KEPT {
            self.pulled.pop_first();
        }
        self.pulled.insert(cursor.numbering, cursor.row);
        self.check();
    }

    fn check(&self) {
        debug_assert!(self.roots.len() <= limits::ROOTS_KEPT, "{} roots", self.roots.len());
        debug_assert!(self.pulled.len() <= limits::PULLS_KEPT, "{} pulls", self.pulled.len());
    }

    pub(super) fn pulled(&self) -> BTreeMap<u64, u64> {
        self.pulled.clone()
    }

    /// Rows at the last time that this was the root; 0 stands for none.
    pub(super) fn rows_at(&self, root: u64) -> Option<u64> {
        let mut newest_first = self.roots.iter().rev().filter(|_| root != 0);
        newest_first.find(|(known, _)| *known == root).map(|(_, rows)| *rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Digest;

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
            ranges.note_pulled(RowCursor { numbering: number + 1, row: 7 });
            ranges.note_pulled(RowCursor { numbering: number + 1, row: 8 });
        }
        assert_eq!(ranges.pulled().len(), limits::PULLS_KEPT);
        assert_eq!(ranges.pulled().last_key_value(), Some((&(limits::PULLS_KEPT as u64 + 1), &8)));
    }
}
