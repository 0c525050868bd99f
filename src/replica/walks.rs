//! Who has seen which part of the leaves.
//!
//! In: connections, and how far each was served. Out: where to go on. Never: remembers more
//! connections than may be open.

use std::collections::BTreeMap;

use super::Replica;
use crate::base::{Digest, limits};
use crate::store::{LeafScan, Store};

/// Connections whose walk through the leaves is remembered: as many as may be open.
const WALKS_MAX: usize = limits::CONNECTIONS_MAX;

/// Where each connection stands in its walk through the leaves. A new one goes on where the last
/// page served to anyone ended, so that a client that dials anew for each call walks on too.
#[derive(Debug, Default)]
pub(super) struct Walks {
    by_connection: BTreeMap<u64, Option<Digest>>,
    latest: Option<Digest>,
}

impl Walks {
    pub(super) fn position(&self, connection: u64) -> Option<Digest> {
        self.by_connection.get(&connection).copied().unwrap_or(self.latest)
    }

    pub(super) fn advance(&mut self, connection: u64, reached: Option<Digest>) {
        self.latest = reached;
        if self.by_connection.len() >= WALKS_MAX && !self.by_connection.contains_key(&connection) {
            self.by_connection.pop_first();
        }
        self.by_connection.insert(connection, reached);
    }
}

/// A page of leaves, being listed for a connection.
#[derive(Debug)]
pub struct LeafPage {
    scan: LeafScan,
    count: usize,
    truncated: bool,
    /// Whether it goes on where another page ended, so that it may be past the last leaf.
    is_continued: bool,
}

impl LeafPage {
    /// Lists about `budget` leaves more; true when all are there.
    pub fn step(&mut self, budget: usize, store: &Store) -> bool {
        let is_over = self.scan.step(budget, store);
        if is_over && self.is_continued && self.scan.is_empty() {
            self.is_continued = false;
            self.scan = LeafScan::after(None, self.count);
            return false;
        }
        is_over
    }
}

impl Replica {
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

    /// A page is listed: its leaves, and whether the set holds more than that.
    pub fn end_leaves(&mut self, connection: u64, page: LeafPage) -> (Vec<Digest>, bool) {
        let leaves = page.scan.into_leaves();
        let reached_end = leaves.len() < page.count;
        self.walks.advance(connection, leaves.last().copied().filter(|_| !reached_end));
        (leaves, page.truncated)
    }

    /// A page of leaves, listed in one go.
    pub fn handle_leaves(&mut self, connection: u64, max: u64) -> (Vec<Digest>, bool) {
        let mut page = self.begin_leaves(connection, max);
        while !page.step(usize::MAX, &self.store) {}
        self.end_leaves(connection, page)
    }
}
