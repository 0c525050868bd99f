//! Assertions that the peer has and this node lacks.
//!
//! In: hashes and short ids, as sketches, buckets and leaves tell them. Out: which to ask for in
//! the next call. Never: asks for more in one call than fits in the commit queue four times.

use std::collections::VecDeque;

use super::FETCH_MAX;
use crate::base::Digest;
use crate::sketch::ShortId;

/// What to ask the peer for.
#[derive(Debug, Default)]
pub(super) struct Missing {
    hashes: VecDeque<Digest>,
    /// Where a sketch told, their first 8 bytes are all that is known.
    short_ids: VecDeque<ShortId>,
}

impl Missing {
    pub(super) fn push(&mut self, hash: Digest) {
        self.hashes.push_back(hash);
    }

    pub(super) fn extend(&mut self, hashes: impl IntoIterator<Item = Digest>) {
        self.hashes.extend(hashes);
    }

    pub(super) fn push_short(&mut self, id: ShortId) {
        self.short_ids.push_back(id);
    }

    pub(super) fn extend_short(&mut self, ids: impl IntoIterator<Item = ShortId>) {
        self.short_ids.extend(ids);
    }

    /// Hashes for one call; none, where none is wanted.
    pub(super) fn take(&mut self) -> Vec<Digest> {
        let count = self.hashes.len().min(FETCH_MAX);
        self.hashes.drain(..count).collect()
    }

    /// As [`Missing::take`], short ids.
    pub(super) fn take_short(&mut self) -> Vec<ShortId> {
        let count = self.short_ids.len().min(FETCH_MAX);
        self.short_ids.drain(..count).collect()
    }

    pub(super) fn hashes(&self) -> usize {
        self.hashes.len()
    }

    pub(super) fn short_ids(&self) -> usize {
        self.short_ids.len()
    }

    /// What sketches told does not count any more.
    pub(super) fn abandon_short(&mut self) {
        self.short_ids.clear();
    }

    /// Nothing is wanted any more.
    pub(super) fn abandon(&mut self) {
        self.hashes.clear();
        self.short_ids.clear();
    }
}
