//! Assertions that the peer has and this node lacks.
//!
//! In: hashes and short ids, as sketches, buckets and leaves list them. Out: those for the next
//! call. A hash leaves the queue when it is asked for; if the peer does not give it, the session
//! puts it back or drops it.
//!
//! Never: hands out more than [`FETCH_MAX`] for one call, looks whether an id came meanwhile.

use std::collections::VecDeque;

use super::calls::FETCH_MAX;
use crate::base::Digest;
use crate::sketch::ShortId;

/// What to ask the peer for.
#[derive(Debug, Default)]
pub(super) struct Missing {
    /// From leaves and buckets: whole hashes, which name one assertion each.
    hashes: VecDeque<Digest>,
    /// From sketches: the first 8 bytes of a hash are all that a sketch decodes to.
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

    /// Hashes for one call; none if none is missing.
    pub(super) fn take(&mut self) -> Vec<Digest> {
        let count = self.hashes.len().min(FETCH_MAX);
        self.hashes.drain(..count).collect()
    }

    /// Short ids for one call; none if none is missing.
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

    /// Drops what sketches decoded to: the leaves are going to list it again.
    pub(super) fn abandon_short(&mut self) {
        self.short_ids.clear();
    }

    /// Drops everything: the session ends.
    pub(super) fn abandon(&mut self) {
        self.hashes.clear();
        self.short_ids.clear();
    }
}
