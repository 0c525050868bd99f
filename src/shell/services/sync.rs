//! `stemedb.sync.v1.SyncService`: the five calls other nodes make.
//!
//! In: requests from the gRPC server. Out: answers, at once where nothing has to be waited for.
//! What each call promises stands in `proto/sync.proto` and `docs/wire.md`.
//!
//! Never: reads a message itself, keeps state of its own.

use std::rc::Rc;

use bytes::Bytes;

use crate::base::{Hlc, limits};
use crate::cluster::gossip::Origin;
use crate::shell::driver::bulk::BulkReads;
use crate::shell::driver::{Driver, Refusal};
use crate::shell::grpc::{Answer, Call, Service};
use crate::shell::peers::addresses::note_refused;
use crate::shell::peers::key_holders::KeyHolders;
use crate::wire::membership::{self, Sender};
use crate::wire::rpc::sync::{self, NamedSet};
use crate::wire::status::{Code, Status};

/// The service over one node.
pub struct SyncService {
    driver: Rc<Driver>,
    reads: Rc<BulkReads>,
    holders: Rc<KeyHolders>,
}

impl SyncService {
    /// Serves the node behind `driver`, whose longer reads are `reads`. Callers have shown the
    /// cluster key, where there is one.
    pub fn new(driver: Rc<Driver>, reads: Rc<BulkReads>, holders: Rc<KeyHolders>) -> SyncService {
        SyncService { driver, reads, holders }
    }
}

impl Service for SyncService {
    fn name(&self) -> &'static str {
        sync::SERVICE
    }

    fn methods(&self) -> &'static [&'static str] {
        &sync::METHODS
    }

    fn call(&self, method: &'static str, call: &Call) -> Answer {
        match method {
            "Gossip" => self.gossip(call),
            "ExchangeRoots" => self.exchange_roots(call),
            "FetchAssertions" => self.fetch(call),
            "Ping" => Ok(Answer::Now(self.ping(call))),
            "GetLeaves" => self.leaves(call),
            _ => Err(Status::new(Code::Unimplemented, format!("no method {method}"))),
        }
        .unwrap_or_else(|status| Answer::Now(Err(status)))
    }
}

impl SyncService {
    fn ping(&self, call: &Call) -> Result<Bytes, Status> {
        let hello = sync::read_ping(&call.message)?;
        let mut news = hello.news;
        if let refused @ Some(_) = membership::screen(&mut news, Sender::at(call.is_near())) {
            note_refused(&self.driver, &call.caller(), refused);
        }
        // A node names itself first; only then it has shown the key as the node that it says it is.
        if let Some(own) = news.first().filter(|first| Some(first.node) == hello.caller) {
            self.holders.note(own);
        }
        let (me, news, set, digest) = self.driver.update(|replica, now, _| {
            let answer = replica.handle_ping(now, news, hello.digest);
            let swim = replica.cluster().swim();
            let digest = hello.digest.and_then(|_| swim.digest());
            let store = replica.store();
            let set = (store.len(), store.sketch().digest());
            (swim.me().clone(), answer, set, digest)
        });
        Ok(sync::ping_response(me, set, news, digest))
    }

    /// A refusal is an answer (`accepted` false), not a failed call.
    fn gossip(&self, call: &Call) -> Result<Answer, Status> {
        let push = sync::read_gossip(&call.message)?;
        let (sealed, stamp) = match push.assertion {
            Ok(assertion) => assertion,
            Err(bad) => return Ok(Answer::Now(Ok(sync::gossip_response(Some(bad.to_string()))))),
        };
        stamp.into_iter().for_each(|stamp| observe_clock(&self.driver, stamp));
        // The clock that comes with it is its sender's.
        let origin = Origin::Gossip(push.sender);
        let driver = self.driver.clone();
        Ok(Answer::Later(Box::pin(async move {
            match driver.offer(sealed, origin).await {
                Ok(_) => Ok(sync::gossip_response(None)),
                // The peer tries again later: its data is good, and there is no space for it now.
                Err(Refusal::Log(refusal)) => {
                    Err(Status::new(Code::ResourceExhausted, refusal.to_string()))
                }
                Err(refusal) => Ok(sync::gossip_response(Some(refusal.to_string()))),
            }
        })))
    }

    fn exchange_roots(&self, call: &Call) -> Result<Answer, Status> {
        let theirs = sync::read_roots(&call.message)?;
        let driver = self.driver.clone();
        Ok(Answer::Later(Box::pin(async move {
            let own = driver.root().await;
            let roots_match = own.is_matched_by(theirs.map(|it| (it.root, it.count)));
            Ok(sync::roots_response(NamedSet { root: own.digest, count: own.count }, roots_match))
        })))
    }

    /// Answers what is here, up to what a default client accepts; the caller asks again for the
    /// rest.
    fn fetch(&self, call: &Call) -> Result<Answer, Status> {
        let wanted = sync::read_fetch(&call.message)?;
        let reads = self.reads.clone();
        Ok(Answer::large(limits::GRPC_MESSAGE_BYTES_MAX, move |granted| async move {
            let found = reads.find_all(wanted, granted, sync::ENTRY_BYTES).await;
            Ok(sync::fetch_response(&found))
        }))
    }

    fn leaves(&self, call: &Call) -> Result<Answer, Status> {
        let max = sync::read_get_leaves(&call.message)?;
        let (reads, connection) = (self.reads.clone(), call.connection);
        Ok(Answer::large(limits::LEAVES_MAX * sync::LEAF_BYTES, move |_| async move {
            let (leaves, truncated) = reads.leaves(connection, max).await;
            Ok(sync::leaves_response(&leaves, truncated))
        }))
    }
}

/// A reading that is far off refuses nothing: what came with it is taken.
pub(crate) fn observe_clock(driver: &Driver, reading: Hlc) {
    let wall = driver.wall();
    driver.update(|replica, now, _| replica.handle_stamp(now, reading, wall));
}
