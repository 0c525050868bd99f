//! The calls this node makes, in the words of the rooms.
//!
//! In: a peer and a wish. Out: what the peer answered, or why there is no answer; what it cost.
//! Assertions that come are held against their hashes and signatures.
//!
//! Never: decides what to ask, hands on what a peer only says of its bytes.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;

use crate::base::{Digest, NodeId, limits};
use crate::model::Sealed;
use crate::replica::SessionId;
use crate::shell::driver::Driver;
use crate::shell::driver::verify::Body;
use crate::shell::peers::addresses::note_refused;
use crate::shell::peers::peer::Peer;
use crate::shell::runtime::log_limit;
use crate::sketch::{Part, ShortId};
use crate::swim::{Ack, Update};
use crate::sync::{Records, Reply, Request, RowCursor, RowRange, SketchRequest, Span, WireBytes};
use crate::wire::bad_message::BadMessage;
use crate::wire::foreign;
use crate::wire::frame::PREFIX_BYTES;
use crate::wire::grpc::{EDGE_SERVICE, SYNC_SERVICE};
use crate::wire::membership::Sender;
use crate::wire::pb::edge;
use crate::wire::pb::sync as pb;
use crate::wire::status::{Code, Status};
use crate::wire::{membership, sketches};

/// Asks whoever is at the peer's address who it is, with news.
pub(crate) async fn ping(
    driver: &Driver,
    peer: &Rc<Peer>,
    updates: Vec<Update>,
    timeout: Duration,
) -> Result<Ack, Status> {
    let node = driver.read(|replica, _| replica.node());
    let node_id = Bytes::copy_from_slice(&node.0);
    let request = pb::PingRequest { node_id, updates: membership::updates(updates) };
    let answer: pb::PingResponse = unary(peer, SYNC_SERVICE, "Ping", &request, timeout).await?;
    let mut ack = membership::read_ack(answer).map_err(bad_answer)?;
    note_refused(
        driver,
        peer.address(),
        membership::screen_ack(&mut ack, Sender::at(peer.is_near())),
    );
    Ok(ack)
}

/// Has the peer ping another: whether that one answered, and news.
pub(crate) async fn probe_for(
    driver: &Driver,
    peer: &Rc<Peer>,
    target: &(NodeId, String),
    updates: Vec<Update>,
    timeout: Duration,
) -> Result<(bool, Vec<Update>), Status> {
    let node = driver.read(|replica, _| replica.node());
    let request = edge::ProbeForRequest {
        node_id: Bytes::copy_from_slice(&node.0),
        target_id: Bytes::copy_from_slice(&target.0.0),
        target_rpc_addr: target.1.clone(),
        updates: membership::updates(updates),
    };
    let answer: edge::ProbeForResponse =
        unary(peer, EDGE_SERVICE, "ProbeFor", &request, timeout).await?;
    let news = membership::read_updates(answer.updates);
    let mut news = news.map_err(bad_answer)?;
    note_refused(driver, peer.address(), membership::screen(&mut news, Sender::at(peer.is_near())));
    Ok((answer.acked, news))
}

fn bad_answer(why: BadMessage) -> Status {
    Status::new(Code::Internal, why.to_string())
}

fn text(why: BadMessage) -> String {
    why.to_string()
}

/// Pushes one assertion to the peer; false if it did not take it.
pub(crate) async fn push(
    driver: &Driver,
    peer: &Rc<Peer>,
    sealed: &Sealed,
    timeout: Duration,
) -> bool {
    let request = gossip_request(driver, sealed);
    let answer = unary::<pb::GossipResponse>(peer, SYNC_SERVICE, "Gossip", &request, timeout).await;
    match answer {
        Ok(answer) if answer.accepted => true,
        Ok(answer) => {
            let (address, why) = (peer.address(), foreign::shown(&answer.error));
            let line = format_args!("{address} refuses {}: {why}", sealed.digest());
            log_limit::warn((module_path!(), address, "refused pushes"), line);
            false
        }
        Err(status) => {
            log::debug!("{} does not take {}: {status}", peer.address(), sealed.digest());
            false
        }
    }
}

fn gossip_request(driver: &Driver, sealed: &Sealed) -> pb::GossipRequest {
    let wall = driver.wall();
    let stamp = driver.update(|replica, _, _| replica.stamp(wall));
    pb::GossipRequest {
        assertion_hash: Bytes::copy_from_slice(&sealed.digest().0),
        assertion_data: sealed.bytes().clone(),
        hlc_time: stamp.time,
        hlc_counter: stamp.counter,
        hlc_node_id: Bytes::copy_from_slice(&stamp.node.0),
    }
}

async fn unary<A: Message + Default>(
    peer: &Rc<Peer>,
    service: &str,
    method: &str,
    request: &impl Message,
    timeout: Duration,
) -> Result<A, Status> {
    let message = Bytes::from(request.encode_to_vec());
    let answer = peer.call(&format!("/{service}/{method}"), message, timeout).await?;
    A::decode(answer).map_err(|error| {
        Status::new(Code::Internal, format!("the peer's answer to {method} is none: {error}"))
    })
}

/// Carries a session's wish to the peer: the answer, and what it cost.
pub(crate) async fn ask(
    driver: Rc<Driver>,
    peer: Rc<Peer>,
    (session, number): (SessionId, u32),
    request: Request,
) -> (u32, Result<Reply, String>, WireBytes) {
    let mut bytes = WireBytes::default();
    let reply = match request {
        Request::Roots { root, count } => roots(&peer, root, count, &mut bytes).await,
        Request::Leaves => leaves(&peer, &mut bytes).await,
        Request::Fetch(wanted) => fetch(&driver, &peer, &wanted, &mut bytes).await,
        Request::Gossip(sealed) => gossip(&driver, &peer, &sealed, &mut bytes).await,
        Request::Sketch(request) => sketch(&peer, request, &mut bytes).await,
        Request::Digests => digests(&peer, &mut bytes).await,
        Request::LeavesOf(part) => leaves_of(&peer, part, &mut bytes).await,
        Request::Records(range) => {
            records(&driver, &peer, range, (session, number), &mut bytes).await
        }
        Request::FetchShort(wanted) => fetch_short(&driver, &peer, &wanted, &mut bytes).await,
        Request::Give(given) => give(&driver, &peer, &given, &mut bytes).await,
    };
    (number, reply, bytes)
}

async fn roots(
    peer: &Rc<Peer>,
    root: Digest,
    count: u64,
    bytes: &mut WireBytes,
) -> Result<Reply, String> {
    let merkle_root = Bytes::copy_from_slice(&root.0);
    let request = pb::RootExchangeRequest { merkle_root, assertion_count: count };
    let answer: pb::RootExchangeResponse =
        call(peer, SYNC_SERVICE, "ExchangeRoots", &request, bytes).await?;
    Ok(Reply::Roots { matched: answer.roots_match, count: answer.assertion_count })
}

async fn leaves(peer: &Rc<Peer>, bytes: &mut WireBytes) -> Result<Reply, String> {
    let request = pb::GetLeavesRequest { max_leaves: limits::LEAVES_MAX as u64 };
    let answer: pb::GetLeavesResponse =
        call(peer, SYNC_SERVICE, "GetLeaves", &request, bytes).await?;
    let leaves = answer.leaves.iter().map(|leaf| {
        let length = leaf.len();
        Digest::from_slice(leaf).ok_or_else(|| format!("the peer gave a leaf of {length} bytes"))
    });
    Ok(Reply::Leaves { leaves: leaves.collect::<Result<_, _>>()?, truncated: answer.truncated })
}

/// What does not hash to what it is said to be, or is signed falsely, is counted and dropped.
pub(crate) async fn fetch(
    driver: &Driver,
    peer: &Rc<Peer>,
    wanted: &[Digest],
    bytes: &mut WireBytes,
) -> Result<Reply, String> {
    let hashes = wanted.iter().map(|digest| Bytes::copy_from_slice(&digest.0)).collect();
    let request = pb::FetchRequest { hashes };
    let answer: pb::FetchResponse =
        call(peer, SYNC_SERVICE, "FetchAssertions", &request, bytes).await?;
    let bodies = answer.assertions.into_iter();
    // What is claimed in other than 32 bytes, no bytes hash to.
    let claimed = |hash: &[u8]| Some(Digest::from_slice(hash).unwrap_or(Digest::ZERO));
    let bodies = bodies.map(|body| Body { claimed: claimed(&body.hash), bytes: body.data });
    let (good, bad) = open_all(driver, bodies.collect(), bytes).await;
    Ok(Reply::Fetched { good, bad })
}

async fn fetch_short(
    driver: &Driver,
    peer: &Rc<Peer>,
    wanted: &[ShortId],
    bytes: &mut WireBytes,
) -> Result<Reply, String> {
    let request = edge::FetchShortRequest { ids: sketches::short_ids(wanted) };
    let answer: edge::FetchShortResponse =
        call(peer, EDGE_SERVICE, "FetchShort", &request, bytes).await?;
    // The hash need not travel: it is that of the bytes.
    let (good, bad) = open_all(driver, unnamed(answer.assertions), bytes).await;
    Ok(Reply::Fetched { good, bad })
}

async fn records(
    driver: &Driver,
    peer: &Rc<Peer>,
    RowRange { from, until }: RowRange,
    call: (SessionId, u32),
    bytes: &mut WireBytes,
) -> Result<Reply, String> {
    // An open range ends behind the last row there can be.
    let until = until.unwrap_or(u64::MAX);
    let request = edge::RecordsRequest { from: from.row, numbering: from.numbering, until };
    let answer: edge::RecordsResponse =
        match try_call(peer, EDGE_SERVICE, "Records", &request, bytes).await {
            Ok(answer) => answer,
            Err(status) if status.code == Code::Unimplemented => return Ok(Reply::Unsupported),
            Err(status) => return Err(status.to_string()),
        };
    let from = RowCursor { numbering: answer.numbering, row: answer.from };
    let span = Span { from, next: answer.next, rows: answer.rows };
    driver.records_came(call, span);
    let (good, bad) = open_all(driver, unnamed(answer.assertions), bytes).await;
    Ok(Reply::Records(Records { span, good, bad }))
}

/// Those that are what they are said to be, and how many are not.
async fn open_all(driver: &Driver, bodies: Vec<Body>, bytes: &mut WireBytes) -> (Vec<Sealed>, u64) {
    bytes.body += bodies.iter().map(|body| body.bytes.len() as u64).sum::<u64>();
    let opened = driver.open_all(bodies).await;
    (opened.good, opened.malformed + opened.falsely_signed)
}

fn unnamed(bodies: Vec<Bytes>) -> Vec<Body> {
    bodies.into_iter().map(|bytes| Body { claimed: None, bytes }).collect()
}

async fn sketch(
    peer: &Rc<Peer>,
    request: SketchRequest,
    bytes: &mut WireBytes,
) -> Result<Reply, String> {
    match try_call(peer, EDGE_SERVICE, "Sketch", &sketches::sketch_request(request), bytes).await {
        Ok(answer) => sketches::read_sketch_response(&answer).map(Reply::Sketch).map_err(text),
        Err(status) if status.code == Code::Unimplemented => Ok(Reply::Unsupported),
        Err(status) => Err(status.to_string()),
    }
}

async fn digests(peer: &Rc<Peer>, bytes: &mut WireBytes) -> Result<Reply, String> {
    let request = edge::DigestsRequest {};
    match try_call::<edge::DigestsResponse>(peer, EDGE_SERVICE, "Digests", &request, bytes).await {
        Ok(answer) => sketches::read_digests(&answer.digests).map(Reply::Digests).map_err(text),
        Err(status) if status.code == Code::Unimplemented => Ok(Reply::Unsupported),
        Err(status) => Err(status.to_string()),
    }
}

async fn leaves_of(peer: &Rc<Peer>, part: Part, bytes: &mut WireBytes) -> Result<Reply, String> {
    let request = edge::LeavesOfRequest { part_bits: part.bits, part: part.number };
    let answer: edge::LeavesOfResponse =
        call(peer, EDGE_SERVICE, "LeavesOf", &request, bytes).await?;
    let leaves = sketches::read_leaves(&answer.leaves).map_err(text)?;
    Ok(Reply::Leaves { leaves, truncated: false })
}

async fn give(
    driver: &Driver,
    peer: &Rc<Peer>,
    given: &[Sealed],
    bytes: &mut WireBytes,
) -> Result<Reply, String> {
    let wall = driver.wall();
    let stamp = driver.update(|replica, _, _| replica.stamp(wall));
    let request = edge::GiveRequest {
        assertions: given.iter().map(|sealed| sealed.bytes().clone()).collect(),
        hlc_time: stamp.time,
        hlc_counter: stamp.counter,
        hlc_node_id: Bytes::copy_from_slice(&stamp.node.0),
    };
    bytes.body += given.iter().map(|sealed| sealed.bytes().len() as u64).sum::<u64>();
    let answer: edge::GiveResponse = call(peer, EDGE_SERVICE, "Give", &request, bytes).await?;
    Ok(Reply::Given { taken: answer.taken, refusal: foreign::shown(&answer.error) })
}

/// Gives the peer one assertion.
pub(crate) async fn gossip(
    driver: &Driver,
    peer: &Rc<Peer>,
    sealed: &Sealed,
    bytes: &mut WireBytes,
) -> Result<Reply, String> {
    let request = gossip_request(driver, sealed);
    bytes.body += sealed.bytes().len() as u64;
    let answer: pb::GossipResponse = call(peer, SYNC_SERVICE, "Gossip", &request, bytes).await?;
    let refusal = match (answer.accepted, answer.error) {
        (true, _) => String::new(),
        (false, error) if error.is_empty() => "no reason given".into(),
        (false, error) => foreign::shown(&error),
    };
    Ok(Reply::Gossiped { refusal })
}

/// One unary call; a failure reads as code and message.
pub(crate) async fn call<A: Message + Default>(
    peer: &Rc<Peer>,
    service: &str,
    method: &str,
    request: &impl Message,
    bytes: &mut WireBytes,
) -> Result<A, String> {
    let answer = try_call(peer, service, method, request, bytes).await;
    answer.map_err(|status| status.to_string())
}

async fn try_call<A: Message + Default>(
    peer: &Rc<Peer>,
    service: &str,
    method: &str,
    request: &impl Message,
    bytes: &mut WireBytes,
) -> Result<A, Status> {
    let message = Bytes::from(request.encode_to_vec());
    bytes.sent += (message.len() + PREFIX_BYTES) as u64;
    let answer = peer.call(&format!("/{service}/{method}"), message, limits::CALL_MAX).await?;
    bytes.received += (answer.len() + PREFIX_BYTES) as u64;
    A::decode(answer).map_err(|error| {
        Status::new(Code::Internal, format!("the peer's answer to {method} is none: {error}"))
    })
}
