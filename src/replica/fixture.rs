//! A replica for unit tests, with its log in memory.
//!
//! Never: part of the node.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Output, Replica};
use crate::base::{Digest, HlcClock, Moment, NodeId, Ticket, Wall};
use crate::cluster::gossip::Origin;
use crate::cluster::{self, Cluster};
use crate::journal::{Bodies, CommitQueue, Config, Done, Position};
use crate::model::{Draft, Object, Sealed};
use crate::store::Store;
use crate::swim::{self, State, Update};

/// What can be read of the log, by position.
#[derive(Default)]
pub(super) struct Memory(pub(super) BTreeMap<u64, Sealed>);

impl Bodies for Memory {
    fn digest_at(&self, at: Position) -> Option<Digest> {
        self.0.get(&at.0).map(Sealed::digest)
    }

    fn sealed_at(&self, at: Position) -> Option<Sealed> {
        self.0.get(&at.0).cloned()
    }
}

pub(super) fn replica() -> Replica {
    let me = Update {
        node: NodeId([1; 16]),
        rpc_addr: "a:1".into(),
        api_addr: "a:2".into(),
        state: State::Alive,
        lamport: 0,
        incarnation: 1,
    };
    let swim = swim::Config { probe_interval: Duration::from_secs(1) };
    let config = cluster::Config { swim, shards: 4, replication_factor: 1, sync_interval: None };
    let queue = CommitQueue::new(Config::default(), Position::first_of(0), 0);
    Replica::new(Cluster::new(config, me, 1, Moment::ZERO), queue, Store::new(1))
}

pub(super) fn claim(number: u64) -> Sealed {
    let mut draft = Draft::new("s".into(), "p".into(), Object::Number(number as f64));
    draft.timestamp = Some(number);
    draft.check(&mut HlcClock::new(NodeId::NONE), Wall(0)).expect("a good draft").seal()
}

/// Offers a claim and writes it; its position.
pub(super) fn store(replica: &mut Replica, bodies: &mut Memory, number: u64) -> Position {
    store_sealed(replica, bodies, claim(number))
}

/// The same with an assertion.
pub(super) fn store_sealed(replica: &mut Replica, bodies: &mut Memory, it: Sealed) -> Position {
    let offer = (it.clone(), Origin::Here);
    replica.handle_offer(Ticket(1), offer, bodies);
    replica.handle_timeout(Moment::ZERO, bodies);
    let at = std::iter::from_fn(|| replica.poll_output()).find_map(|output| match output {
        Output::Disk(crate::journal::Work::Write(batch)) => Some(batch.position),
        _ => None,
    });
    let at = at.expect("it is new here");
    bodies.0.insert(at.0, it);
    replica.handle_disk(Moment::ZERO, Done::Well);
    while !replica.handle_completed(Moment::ZERO, 3, bodies) {}
    at
}
