//! What the peer is known to lack, and how it takes what it is given.
//!
//! In: rows that only this node has, answers to `Give` and `Gossip`. Out: assertions to give.
//!
//! Never: keeps a body, gives on to a peer that took nothing of the calls under way at once.

use std::collections::VecDeque;

use crate::journal::Bodies;
use crate::model::Sealed;
use crate::store::{Row, Store};

/// Assertions for the peer.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    /// RowSet that the peer lacks, as sketches or buckets showed.
    to_send: VecDeque<Row>,
    /// Calls in a row of which the peer took nothing: its disk is full, or it wants nothing.
    refused: usize,
    /// The peer knows short ids, and takes many assertions in one call. It may turn out that two
    /// of its assertions share a short id: then whole hashes are asked for.
    pub(super) takes_many: bool,
}

impl Exchange {
    /// The peer lacks this one.
    pub(super) fn push(&mut self, row: Row) {
        self.to_send.push_back(row);
    }

    /// The next one that the peer lacks; a row whose record was lost meanwhile is passed over.
    pub(super) fn next(&mut self, store: &Store, bodies: &dyn Bodies) -> Option<Sealed> {
        loop {
            let row = self.to_send.pop_front()?;
            let sealed = store.position(row).and_then(|at| bodies.sealed_at(at));
            if sealed.is_some() {
                return sealed;
            }
        }
    }

    /// The peer took so many of one call, where `most` calls may be under way at once. True: it
    /// took nothing of more calls in a row than that, so that none of them is left to be taken.
    pub(super) fn is_refused_by(&mut self, taken: u64, most: usize) -> bool {
        self.refused = if taken > 0 { 0 } else { self.refused + 1 };
        self.refused > most
    }

    pub(super) fn len(&self) -> usize {
        self.to_send.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.to_send.is_empty()
    }

    /// What is known does not count any more.
    pub(super) fn abandon(&mut self) {
        self.to_send.clear();
    }
}
