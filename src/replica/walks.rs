//! How far each connection has walked through the leaves, which no message says.
//!
//! In: connections, and how far each was served. Out: where to go on. Never: remembers more
//! connections than may be open.

use std::collections::BTreeMap;

use crate::base::{Digest, limits};

/// Connections whose walk through the leaves is remembered: as many as may be open.
const WALKS_MAX: usize = limits::CONNECTIONS_MAX;

/// How far each connection got. A new one goes on where the last page served to any of them ended,
/// so that a client that dials anew for each call walks on too.
#[derive(Debug, Default)]
pub(super) struct Walks {
    /// The last leaf served on each; `None`: the walk begins anew.
    by_connection: BTreeMap<u64, Option<Digest>>,
    /// The same of the last page served on any.
    latest: Option<Digest>,
}

impl Walks {
    pub(super) fn position(&self, connection: u64) -> Option<Digest> {
        self.by_connection.get(&connection).copied().unwrap_or(self.latest)
    }

    pub(super) fn advance(&mut self, connection: u64, reached: Option<Digest>) {
        self.latest = reached;
        if self.by_connection.len() >= WALKS_MAX && !self.by_connection.contains_key(&connection) {
            // Numbers rise, so the first is of the oldest connection.
            self.by_connection.pop_first();
        }
        self.by_connection.insert(connection, reached);
        debug_assert!(self.by_connection.len() <= WALKS_MAX, "more walks than connections");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_walks_are_remembered_as_connections_may_be_open() {
        let (mut walks, leaf) = (Walks::default(), Digest::of(b"leaf"));
        for connection in 0..=WALKS_MAX as u64 {
            walks.advance(connection, Some(leaf));
        }
        assert_eq!(walks.by_connection.len(), WALKS_MAX);
        walks.advance(1, None);
        assert_eq!((walks.position(0), walks.position(2)), (None, Some(leaf)), "a new walk");
    }
}
