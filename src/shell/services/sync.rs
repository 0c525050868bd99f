//! `stemedb.sync.v1.SyncService`: the five calls other nodes make.
//!
//! In: decoded frames from the gRPC server. Out: answers, at once where nothing has to be waited
//! for. What each call promises stands in `proto/sync.proto` and `docs/wire.md`.
//!
//! Never: trusts a length, keeps state of its own.

use std::future::Future;
use std::rc::Rc;

use bytes::Bytes;
use prost::Message;

use crate::base::{Digest, Hlc, NodeId, limits};
use crate::cluster::gossip::Origin;
use crate::model::Sealed;
use crate::shell::driver::bulk::BulkReads;
use crate::shell::driver::{Driver, Refusal};
use crate::shell::grpc::{Answer, Call, Service};
use crate::shell::peers::addresses::note_refused;
use crate::shell::peers::key_holders::KeyHolders;
use crate::store::Root;
use crate::wire::grpc::SYNC_SERVICE;
use crate::wire::membership::{self, Sender};
use crate::wire::pb::sync as pb;
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
        SYNC_SERVICE
    }

    fn methods(&self) -> &'static [&'static str] {
        &["Gossip", "ExchangeRoots", "FetchAssertions", "Ping", "GetLeaves"]
    }

    fn call(&self, method: &'static str, call: &Call) -> Answer {
        match method {
            "Gossip" => self.gossip(call),
            "ExchangeRoots" => self.exchange_roots(call),
            "FetchAssertions" => self.fetch(call).unwrap_or_else(|status| Answer::Now(Err(status))),
            "Ping" => Answer::Now(self.ping(call)),
            "GetLeaves" => self.leaves(call).unwrap_or_else(|status| Answer::Now(Err(status))),
            _ => unreachable!("the server calls only what `methods` lists"),
        }
    }
}

impl SyncService {
    fn ping(&self, call: &Call) -> Result<Bytes, Status> {
        let request: pb::PingRequest = decode(call)?;
        if !matches!(request.node_id.len(), 0 | 16) {
            return Err(invalid(format!(
                "node_id has {} bytes, it takes 16",
                request.node_id.len()
            )));
        }
        let mut news = membership::read_updates(request.updates).map_err(invalid)?;
        if let refused @ Some(_) = membership::screen(&mut news, Sender::at(call.is_near())) {
            note_refused(&self.driver, &call.caller(), refused);
        }
        let introduction = news.first().filter(|first| first.node.0[..] == request.node_id[..]);
        if let Some(introduction) = introduction {
            self.holders.note(introduction);
        }
        let (me, news, assertion_count) = self.driver.update(|replica, now, _| {
            let answer = replica.handle_ping(now, news);
            (replica.cluster().swim().me().clone(), answer, replica.store().len())
        });
        Ok(encode(&pb::PingResponse {
            node_id: Bytes::copy_from_slice(&me.node.0),
            assertion_count,
            rpc_addr: me.rpc_addr,
            api_addr: me.api_addr,
            updates: membership::updates(news),
        }))
    }

    /// A refusal is an answer (`accepted` false), not a failed call.
    fn gossip(&self, call: &Call) -> Answer {
        let request = match decode::<pb::GossipRequest>(call) {
            Ok(request) => request,
            Err(status) => return Answer::Now(Err(status)),
        };
        // The clock that comes with it is its sender's.
        let origin = Origin::Gossip(NodeId::from_slice(&request.hlc_node_id));
        let sealed = match self.gossiped(request) {
            Ok(sealed) => sealed,
            Err(reason) => return Answer::Now(Ok(gossip_answer(Err(reason)))),
        };
        let driver = self.driver.clone();
        Answer::Later(Box::pin(async move {
            match driver.offer(sealed, origin).await {
                Ok(_) => Ok(gossip_answer(Ok(()))),
                Err(Refusal::Log(refusal)) => {
                    Err(Status::new(Code::ResourceExhausted, refusal.to_string()))
                }
                Err(refusal) => Ok(gossip_answer(Err(refusal.to_string()))),
            }
        }))
    }

    fn gossiped(&self, request: pb::GossipRequest) -> Result<Sealed, String> {
        let claimed = Digest::from_slice(&request.assertion_hash).ok_or_else(|| {
            format!("assertion_hash has {} bytes, it takes 32", request.assertion_hash.len())
        })?;
        let sealed =
            Sealed::open(claimed, request.assertion_data).map_err(|error| error.to_string())?;
        let stamp = read_stamp(request.hlc_time, request.hlc_counter, &request.hlc_node_id)?;
        stamp.into_iter().for_each(|stamp| observe_clock(&self.driver, stamp));
        Ok(sealed)
    }

    fn exchange_roots(&self, call: &Call) -> Answer {
        let request = match decode::<pb::RootExchangeRequest>(call) {
            Ok(request) => request,
            Err(status) => return Answer::Now(Err(status)),
        };
        // A message that says nothing of either says "I have nothing" in proto3.
        let is_nothing = request.merkle_root.is_empty() && request.assertion_count == 0;
        let theirs = match Digest::from_slice(&request.merkle_root) {
            Some(theirs) => Some((theirs, request.assertion_count)),
            None if is_nothing => None,
            None => {
                let length = request.merkle_root.len();
                return Answer::Now(Err(invalid(format!(
                    "merkle_root has {length} bytes, not 32"
                ))));
            }
        };
        let driver = self.driver.clone();
        Answer::Later(Box::pin(async move {
            let Root { digest: ours, count, .. } = driver.root().await;
            // A root names a set, so that a caller may leave its count out.
            let is_ours = |(root, said)| root == ours && (said == count || said == 0);
            let roots_match = theirs.map_or(count == 0, is_ours);
            Ok(encode(&pb::RootExchangeResponse {
                merkle_root: Bytes::copy_from_slice(&ours.0),
                assertion_count: count,
                roots_match,
            }))
        }))
    }

    /// Answers what is here, up to what a default client accepts; the caller asks again for the
    /// rest.
    fn fetch(&self, call: &Call) -> Result<Answer, Status> {
        let request: pb::FetchRequest = decode(call)?;
        if request.hashes.len() > limits::FETCH_HASHES_MAX {
            let (count, allowed) = (request.hashes.len(), limits::FETCH_HASHES_MAX);
            return Err(invalid(format!("{count} hashes in one request, at most {allowed}")));
        }
        let mut digests = Vec::with_capacity(request.hashes.len());
        for hash in &request.hashes {
            let digest = Digest::from_slice(hash);
            digests.push(digest.ok_or_else(|| {
                invalid(format!("a hash has {} bytes, each takes 32", hash.len()))
            })?);
        }
        let reads = self.reads.clone();
        Ok(large(limits::GRPC_MESSAGE_BYTES_MAX, move |room| async move {
            let found = reads.find_all(digests, room, ENTRY_BYTES).await;
            let entry = |sealed: &Sealed| pb::AssertionData {
                hash: Bytes::copy_from_slice(&sealed.digest().0),
                data: sealed.bytes().clone(),
            };
            Ok(encode(&pb::FetchResponse { assertions: found.iter().map(entry).collect() }))
        }))
    }

    fn leaves(&self, call: &Call) -> Result<Answer, Status> {
        let request: pb::GetLeavesRequest = decode(call)?;
        let (reads, connection) = (self.reads.clone(), call.connection);
        Ok(large(limits::LEAVES_MAX * LEAF_BYTES, move |_| async move {
            let (leaves, truncated) = reads.leaves(connection, request.max_leaves).await;
            let leaves = leaves.iter().map(|leaf| Bytes::copy_from_slice(&leaf.0)).collect();
            Ok(encode(&pb::GetLeavesResponse { leaves, truncated }))
        }))
    }
}

/// What an assertion takes beside its bytes: its hash, and tags and lengths of up to 4 MiB.
const ENTRY_BYTES: usize = 5 + 34 + 5;
/// A hash with its tag and length.
pub(crate) const LEAF_BYTES: usize = 34;

/// An answer of up to `most` bytes, made when there is room; `work` is told for how many.
pub(crate) fn large<F: Future<Output = Result<Bytes, Status>> + 'static>(
    most: usize,
    work: impl FnOnce(usize) -> F + 'static,
) -> Answer {
    Answer::Large(most, Box::new(|room| Box::pin(work(room))))
}

/// The sender's clock, where it came along.
pub(crate) fn read_stamp(time: u64, counter: u32, node: &[u8]) -> Result<Option<Hlc>, String> {
    if node.is_empty() && time == 0 {
        return Ok(None);
    }
    match NodeId::from_slice(node) {
        Some(node) => Ok(Some(Hlc { time, counter, node })),
        None => Err(format!("hlc_node_id has {} bytes, it takes 16", node.len())),
    }
}

/// A reading that is far off refuses nothing: what came with it is taken.
pub(crate) fn observe_clock(driver: &Driver, reading: Hlc) {
    let wall = driver.wall();
    driver.update(|replica, now, _| replica.handle_stamp(now, reading, wall));
}

pub(crate) fn decode<M: Message + Default>(call: &Call) -> Result<M, Status> {
    M::decode(call.message.clone())
        .map_err(|error| invalid(format!("the message is not the method's: {error}")))
}

pub(crate) fn encode(message: &impl Message) -> Bytes {
    Bytes::from(message.encode_to_vec())
}

pub(crate) fn invalid(reason: impl ToString) -> Status {
    Status::new(Code::InvalidArgument, reason.to_string())
}

fn gossip_answer(outcome: Result<(), String>) -> Bytes {
    let accepted = outcome.is_ok();
    encode(&pb::GossipResponse { accepted, error: outcome.err().unwrap_or_default() })
}
