//! What new assertions cost and how soon they are everywhere.
//!
//! In: messages as they arrive, rows as nodes store them. Out: counts and times. Never: changes a
//! run.

use std::collections::BTreeMap;

use stemedb_edge::base::Digest;
use stemedb_edge::journal::Bodies;
use stemedb_edge::model::Sealed;
use stemedb_edge::sync::{Reply, Request};

use crate::disk::Disk;
use crate::node::{Answer, Message, Node};

/// A call or an answer of anti-entropy without its ids, cells and bodies: fields, frame, headers.
const CALL_BYTES: u64 = 60;
/// A `Gossip` beside its body: hash, stamp, frame, headers.
const PUSH_BYTES: u64 = 110;
/// A cell of a sketch, and a body beside its bytes.
const CELL_BYTES: u64 = 12;

/// The counts of one node.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Received {
    /// Bodies of assertions, whether they were known or not.
    pub(crate) bodies: u64,
    /// Bytes of pushes and of anti-entropy, about.
    pub(crate) bytes: u64,
    /// Calls of anti-entropy.
    pub(crate) syncs: u64,
}

/// The watch over all nodes, from when it is set.
pub(crate) struct Watch {
    pub(crate) received: Vec<Received>,
    /// Rows that each node had when it was last looked at.
    rows: Vec<u64>,
    /// When each node stored an assertion, in the order in which they did.
    pub(crate) stored: BTreeMap<Digest, Vec<u64>>,
}

impl Watch {
    pub(crate) fn new(nodes: usize) -> Watch {
        let received = vec![Received::default(); nodes];
        Watch { received, rows: vec![0; nodes], stored: BTreeMap::new() }
    }

    /// Of all nodes together.
    pub(crate) fn total(&self) -> Received {
        let add = |sum: Received, one: &Received| Received {
            bodies: sum.bodies + one.bodies,
            bytes: sum.bytes + one.bytes,
            syncs: sum.syncs + one.syncs,
        };
        self.received.iter().fold(Received::default(), add)
    }

    /// A request reached a node.
    pub(crate) fn note_request(&mut self, to: usize, message: &Message) {
        let received = &mut self.received[to];
        match message {
            Message::Push(sealed, _) => received.take(std::slice::from_ref(sealed), PUSH_BYTES),
            Message::Sync(request) => {
                received.syncs += 1;
                match request {
                    Request::Gossip(sealed) => {
                        received.take(std::slice::from_ref(sealed), PUSH_BYTES);
                    }
                    Request::Give(given) => received.take(given, CALL_BYTES),
                    Request::Fetch(ids) => received.bytes += CALL_BYTES + 34 * ids.len() as u64,
                    Request::FetchShort(ids) => received.bytes += CALL_BYTES + 8 * ids.len() as u64,
                    _ => received.bytes += CALL_BYTES,
                }
            }
            _ => {}
        }
    }

    /// An answer reached a node.
    pub(crate) fn note_answer(&mut self, to: usize, answer: &Answer) {
        let received = &mut self.received[to];
        match answer {
            Answer::Sync(Reply::Fetched { good, .. }) => received.take(good, CALL_BYTES),
            Answer::Sync(Reply::Records(records)) => received.take(&records.good, CALL_BYTES),
            Answer::Sync(Reply::Sketch(reply)) => {
                received.bytes += CALL_BYTES + CELL_BYTES * reply.cells.len() as u64;
            }
            Answer::Sync(_) => received.bytes += CALL_BYTES,
            _ => {}
        }
    }

    /// A node may have stored something.
    pub(crate) fn note_stored(&mut self, now: u64, of: usize, node: &Node, disk: &Disk) {
        let store = node.replica.store();
        for row in self.rows[of]..store.rows() {
            let digest = store.position(row as u32).and_then(|at| disk.digest_at(at));
            self.stored.entry(digest.expect("a whole record")).or_default().push(now);
        }
        self.rows[of] = store.rows();
    }
}

impl Received {
    fn take(&mut self, bodies: &[Sealed], beside: u64) {
        self.bodies += bodies.len() as u64;
        self.bytes += beside + bodies.iter().map(|it| it.bytes().len() as u64 + 4).sum::<u64>();
    }
}
