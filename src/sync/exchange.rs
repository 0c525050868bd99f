//! What the peer is known to lack, and how it takes what it is given.
//!
//! In: rows that only this node has, answers to `Give` and `Gossip`. Out: assertions to give.
//!
//! ```text
//! Standard --the peer answers cells--> Extended --two assertions share a short id--> Standard
//! ```
//!
//! Never: keeps a body, gives on to a peer that took nothing of the calls in flight at once, gives
//! a row twice.

use std::collections::VecDeque;

use super::calls::{GIVES_MAX, PUSHES_MAX};
use crate::journal::Bodies;
use crate::model::Sealed;
use crate::store::{Row, Store};

/// The calls by which assertions travel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum CallSet {
    /// The five standard ones: `Gossip` of one assertion, `FetchAssertions` by whole hashes.
    #[default]
    Standard,
    /// `Give` of many assertions, `FetchShort` by short ids.
    Extended,
}

impl CallSet {
    /// Calls that may be in flight at once to give the peer something.
    pub(super) fn gives_max(self) -> usize {
        match self {
            CallSet::Standard => PUSHES_MAX,
            CallSet::Extended => GIVES_MAX,
        }
    }
}

/// Rows that the peer lacks, and by which calls it takes them.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    /// Rows that the peer lacks, as sketches or buckets showed. Rows, because bodies of 45,000
    /// assertions would not fit in a session's memory.
    to_send: VecDeque<Row>,
    /// Calls in a row of which the peer took nothing: its disk is full, or it wants nothing.
    refused: usize,
    /// What the peer understands. A peer that answered cells has all of our calls.
    calls: CallSet,
}

impl Exchange {
    /// The peer lacks this row's assertion.
    pub(super) fn push(&mut self, row: Row) {
        self.to_send.push_back(row);
    }

    /// The next assertion that the peer lacks.
    pub(super) fn next(&mut self, store: &Store, bodies: &dyn Bodies) -> Option<Sealed> {
        loop {
            let row = self.to_send.pop_front()?;
            let sealed = store.position(row).and_then(|at| bodies.sealed_at(at));
            // A record that was lost meanwhile is passed over: the rest can be given.
            if sealed.is_some() {
                return sealed;
            }
        }
    }

    /// The peer took so many of one call. True if it took nothing of more calls in a row than may
    /// be in flight, so that it refused them one after the other and not all at once.
    pub(super) fn is_refused_by(&mut self, taken: u64) -> bool {
        // One that it takes ends the count: a peer may refuse some by its own rules.
        self.refused = if taken > 0 { 0 } else { self.refused + 1 };
        self.check();
        self.refused > self.calls.gives_max()
    }

    pub(super) fn calls(&self) -> CallSet {
        self.calls
    }

    pub(super) fn set_calls(&mut self, calls: CallSet) {
        self.calls = calls;
    }

    pub(super) fn len(&self) -> usize {
        self.to_send.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.to_send.is_empty()
    }

    /// Drops what is known: the leaves are going to show it again, or the session ends.
    pub(super) fn abandon(&mut self) {
        self.to_send.clear();
    }

    /// A peer that refused too often is given nothing more: only calls in flight are counted on.
    fn check(&self) {
        debug_assert!(self.refused <= 2 * PUSHES_MAX + 1);
    }
}
