//! Who has seen which part of the leaves.
//!
//! In: connections, and how far each was served. Out: where to go on. Never: remembers more
//! connections than may be open.

use std::collections::BTreeMap;

use crate::base::{Digest, limits};

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
