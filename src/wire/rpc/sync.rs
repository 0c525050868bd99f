//! `stemedb.sync.v1.SyncService`: its five methods.
//!
//! In: values to send, or messages of another node. Out: the other form. Never: reads a field as
//! something else than `proto/sync.proto` says.

use bytes::Bytes;
use prost::Message;

use super::{ForeignBody, OutgoingCall, decode, encode, encode_extended, invalid, read_stamp};
use crate::base::{Digest, Hlc, NodeId, limits};
use crate::model::Sealed;
use crate::swim::{Ack, Update};
use crate::wire::bad_message::BadMessage;
use crate::wire::foreign;
use crate::wire::membership;
use crate::wire::pb::edge::PingExtension;
use crate::wire::pb::sync as pb;
use crate::wire::status::Status;

/// The full name of the service.
pub const SERVICE: &str = "stemedb.sync.v1.SyncService";
/// The methods of `SyncService`.
pub const METHODS: [&str; 5] = ["Gossip", "ExchangeRoots", "FetchAssertions", "Ping", "GetLeaves"];

const PING: &str = "/stemedb.sync.v1.SyncService/Ping";
const GOSSIP: &str = "/stemedb.sync.v1.SyncService/Gossip";
const EXCHANGE_ROOTS: &str = "/stemedb.sync.v1.SyncService/ExchangeRoots";
const FETCH: &str = "/stemedb.sync.v1.SyncService/FetchAssertions";
const GET_LEAVES: &str = "/stemedb.sync.v1.SyncService/GetLeaves";

/// What an assertion takes in an answer beside its bytes: its hash, and tags and lengths of up to
/// 4 MiB.
pub const ENTRY_BYTES: usize = 5 + 34 + 5;
/// A hash with its tag and length.
pub const LEAF_BYTES: usize = 34;

/// What the caller of `Ping` says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hello {
    /// Who it is, if it says so: health checks do not.
    pub caller: Option<NodeId>,
    /// What it knows of members.
    pub news: Vec<Update>,
    /// The digest of its member list, if it wants lists compared.
    pub digest: Option<u64>,
}

/// What the caller of `Gossip` pushes.
#[derive(Clone, Debug)]
pub struct Push {
    /// The node whose clock came along.
    pub sender: Option<NodeId>,
    /// The assertion and that clock, or why it is refused.
    pub assertion: Result<(Sealed, Option<Hlc>), BadMessage>,
}

/// A set of assertions, as `ExchangeRoots` names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NamedSet {
    /// The Merkle root of the set; all zeros for the empty one.
    pub root: Digest,
    /// How many there are; 0 also if that was left out.
    pub count: u64,
}

/// Asks a peer who it is, with news, and with the digest of the member list where lists are to be
/// compared. Out: its ack, and the digest of its set of assertions if it has one.
pub fn ping(
    node: NodeId,
    news: Vec<Update>,
    digest: Option<u64>,
) -> OutgoingCall<(Ack, Option<u64>)> {
    let extension = PingExtension { member_list: digest, set_digest: None };
    let message = encode_extended(&ping_request(node, news), &extension);
    OutgoingCall::extended(PING, message, |answer| {
        let PingExtension { member_list, set_digest } = PingExtension::decode(answer.clone())?;
        let ack = membership::read_ack(pb::PingResponse::decode(answer)?, member_list)?;
        Ok((ack, set_digest))
    })
}

/// Asks a peer who it is, and reads nothing else of its answer.
pub fn greet(node: NodeId) -> OutgoingCall<NodeId> {
    let request = ping_request(node, Vec::new());
    OutgoingCall::new(PING, &request, |answer| {
        let id = pb::PingResponse::decode(answer)?.node_id;
        Ok(NodeId::from_slice(&id).ok_or(BadMessage::PeerId { bytes: id.len() })?)
    })
}

fn ping_request(node: NodeId, news: Vec<Update>) -> pb::PingRequest {
    let node_id = Bytes::copy_from_slice(&node.0);
    pb::PingRequest { node_id, updates: membership::updates(news) }
}

/// What a caller of `Ping` says.
pub fn read_ping(message: &Bytes) -> Result<Hello, Status> {
    let request: pb::PingRequest = decode(message)?;
    let caller = NodeId::from_slice(&request.node_id);
    if caller.is_none() && !request.node_id.is_empty() {
        return Err(invalid(BadMessage::CallerId { bytes: request.node_id.len() }));
    }
    let news = membership::read_updates(request.updates).map_err(invalid)?;
    let digest = decode::<PingExtension>(message)?.member_list;
    Ok(Hello { caller, news, digest })
}

/// What this node answers: who it is, what it holds, as a number and a digest, what it knows of
/// members, and the digest of its member list to a caller that compares lists.
pub fn ping_response(
    me: Update,
    (assertion_count, set_digest): (u64, u64),
    news: Vec<Update>,
    digest: Option<u64>,
) -> Bytes {
    let response = pb::PingResponse {
        node_id: Bytes::copy_from_slice(&me.node.0),
        assertion_count,
        rpc_addr: me.rpc_addr,
        api_addr: me.api_addr,
        updates: membership::updates(news),
    };
    let extension = PingExtension { member_list: digest, set_digest: Some(set_digest) };
    encode_extended(&response, &extension)
}

/// Gives a peer one assertion: why it was not taken, if it was not.
pub fn gossip(sealed: &Sealed, stamp: Hlc) -> OutgoingCall<Result<(), String>> {
    let request = pb::GossipRequest {
        assertion_hash: Bytes::copy_from_slice(&sealed.digest().0),
        assertion_data: sealed.bytes().clone(),
        hlc_time: stamp.time,
        hlc_counter: stamp.counter,
        hlc_node_id: Bytes::copy_from_slice(&stamp.node.0),
    };
    OutgoingCall::new(GOSSIP, &request, |answer| {
        let answer = pb::GossipResponse::decode(answer)?;
        Ok(if answer.accepted { Ok(()) } else { Err(foreign::shown(&answer.error)) })
    })
}

/// What a peer pushes. Only a message of another kind is an error of the call: what is wrong with
/// an assertion is an answer.
pub fn read_gossip(message: &Bytes) -> Result<Push, Status> {
    let request: pb::GossipRequest = decode(message)?;
    let sender = NodeId::from_slice(&request.hlc_node_id);
    Ok(Push { sender, assertion: read_pushed(request) })
}

fn read_pushed(request: pb::GossipRequest) -> Result<(Sealed, Option<Hlc>), BadMessage> {
    let bytes = request.assertion_hash.len();
    let claimed = Digest::from_slice(&request.assertion_hash);
    let claimed = claimed.ok_or(BadMessage::AssertionHash { bytes })?;
    let sealed = Sealed::open(claimed, request.assertion_data).map_err(BadMessage::Body)?;
    Ok((sealed, read_stamp(request.hlc_time, request.hlc_counter, &request.hlc_node_id)?))
}

/// That an assertion was taken, or why it was not.
pub fn gossip_response(refusal: Option<String>) -> Bytes {
    let accepted = refusal.is_none();
    encode(&pb::GossipResponse { accepted, error: refusal.unwrap_or_default() })
}

/// Asks a peer whether it holds this set: whether it does, and how many assertions it holds.
pub fn exchange_roots(ours: NamedSet) -> OutgoingCall<(bool, u64)> {
    let merkle_root = Bytes::copy_from_slice(&ours.root.0);
    let request = pb::RootExchangeRequest { merkle_root, assertion_count: ours.count };
    OutgoingCall::new(EXCHANGE_ROOTS, &request, |answer| {
        let answer = pb::RootExchangeResponse::decode(answer)?;
        Ok((answer.roots_match, answer.assertion_count))
    })
}

/// The set that a peer holds; `None` if it holds nothing.
pub fn read_roots(message: &Bytes) -> Result<Option<NamedSet>, Status> {
    let request: pb::RootExchangeRequest = decode(message)?;
    // A message that names neither root nor count says "I have nothing": proto3 sends no zeros.
    let is_nothing = request.merkle_root.is_empty() && request.assertion_count == 0;
    match Digest::from_slice(&request.merkle_root) {
        Some(root) => Ok(Some(NamedSet { root, count: request.assertion_count })),
        None if is_nothing => Ok(None),
        None => Err(invalid(BadMessage::Root { bytes: request.merkle_root.len() })),
    }
}

/// The set that this node holds, and whether it is the peer's.
pub fn roots_response(ours: NamedSet, roots_match: bool) -> Bytes {
    let merkle_root = Bytes::copy_from_slice(&ours.root.0);
    encode(&pb::RootExchangeResponse { merkle_root, assertion_count: ours.count, roots_match })
}

/// Asks a peer for assertions.
pub fn fetch(wanted: &[Digest]) -> OutgoingCall<Vec<ForeignBody>> {
    let hashes = wanted.iter().map(|digest| Bytes::copy_from_slice(&digest.0)).collect();
    OutgoingCall::new(FETCH, &pb::FetchRequest { hashes }, |answer| {
        let bodies = pb::FetchResponse::decode(answer)?.assertions.into_iter();
        // What is claimed in other than 32 bytes, no bytes hash to.
        let claimed = |hash: &[u8]| Some(Digest::from_slice(hash).unwrap_or(Digest::ZERO));
        let body =
            |it: pb::AssertionData| ForeignBody { claimed: claimed(&it.hash), bytes: it.data };
        Ok(bodies.map(body).collect())
    })
}

/// Which assertions a peer wants.
pub fn read_fetch(message: &Bytes) -> Result<Vec<Digest>, Status> {
    let hashes = decode::<pb::FetchRequest>(message)?.hashes;
    if hashes.len() > limits::FETCH_HASHES_MAX {
        return Err(invalid(BadMessage::HashCount(hashes.len())));
    }
    let digest = |hash: &Bytes| {
        let bytes = hash.len();
        Digest::from_slice(hash).ok_or_else(|| invalid(BadMessage::Hash { bytes }))
    };
    hashes.iter().map(digest).collect()
}

/// The assertions that were wanted and are here.
pub fn fetch_response(found: &[Sealed]) -> Bytes {
    let entry = |sealed: &Sealed| pb::AssertionData {
        hash: Bytes::copy_from_slice(&sealed.digest().0),
        data: sealed.bytes().clone(),
    };
    encode(&pb::FetchResponse { assertions: found.iter().map(entry).collect() })
}

/// Asks a peer for its hashes, and whether there are more than one answer holds.
pub fn get_leaves() -> OutgoingCall<(Vec<Digest>, bool)> {
    let request = pb::GetLeavesRequest { max_leaves: limits::LEAVES_MAX as u64 };
    OutgoingCall::new(GET_LEAVES, &request, |answer| {
        let answer = pb::GetLeavesResponse::decode(answer)?;
        let leaf =
            |leaf: &Bytes| Digest::from_slice(leaf).ok_or(BadMessage::Leaf { bytes: leaf.len() });
        let leaves = answer.leaves.iter().map(leaf).collect::<Result<_, _>>()?;
        Ok((leaves, answer.truncated))
    })
}

/// How many hashes a peer wants at most; 0 is as many as one answer holds.
pub fn read_get_leaves(message: &Bytes) -> Result<u64, Status> {
    Ok(decode::<pb::GetLeavesRequest>(message)?.max_leaves)
}

/// Hashes, and whether there are more.
pub fn leaves_response(leaves: &[Digest], truncated: bool) -> Bytes {
    let leaves = leaves.iter().map(|leaf| Bytes::copy_from_slice(&leaf.0)).collect();
    encode(&pb::GetLeavesResponse { leaves, truncated })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_goes_behind_a_ping_and_others_pass_it_by() {
        let node = NodeId([7; 16]);
        for digest in [None, Some(0), Some(u64::MAX)] {
            let call = ping(node, Vec::new(), digest);
            let hello = Hello { caller: Some(node), news: Vec::new(), digest };
            assert_eq!(read_ping(&call.message), Ok(hello));
            let known = pb::PingRequest::decode(call.message.clone()).expect("a request");
            assert_eq!(known, ping_request(node, Vec::new()), "what a node of the standard reads");
            let me = Update {
                node,
                rpc_addr: "a:1".into(),
                api_addr: "a:2".into(),
                state: crate::swim::State::Alive,
                lamport: 0,
                incarnation: 1,
            };
            let answer = ping_response(me, (3, 5), Vec::new(), digest);
            let known = pb::PingResponse::decode(answer.clone()).expect("an answer");
            assert_eq!((known.assertion_count, &*known.rpc_addr), (3, "a:1"));
            let read = call.read(answer).map(|(ack, set_digest)| (ack.digest, set_digest));
            assert_eq!(read, Ok((digest, Some(5))));
        }
        // Without a digest the bytes are those of `sync.proto` alone.
        assert_eq!(ping(node, Vec::new(), None).message.len(), 18);
    }
}
