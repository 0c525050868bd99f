//! The calls that this node makes to another, each by name.
//!
//! In: a peer and what to ask it. Out: what the peer answered, or why there is no answer; what it
//! cost. Assertions that come are held against their hashes and signatures.
//!
//! Never: decides what to ask, hands on what a peer only says of its bytes.

use std::rc::Rc;
use std::time::Duration;

use crate::base::{Digest, Hlc, NodeId, limits};
use crate::cluster::gossip::PushEnd;
use crate::model::Sealed;
use crate::replica::SessionId;
use crate::shell::driver::Driver;
use crate::shell::peers::addresses::note_refused;
use crate::shell::peers::peer::Peer;
use crate::shell::runtime::log_limit;
use crate::swim::{Ack, Update};
use crate::sync::{Records, Reply, Request, RowRange, WireBytes};
use crate::wire::frame::PREFIX_BYTES;
use crate::wire::membership::{self, Sender};
use crate::wire::rpc::{CallError, ForeignBody, OutgoingCall, edge, sync};
use crate::wire::status::{Code, Status};

/// One call: what its answer says. `bytes` counts both messages.
async fn call<A>(
    peer: &Rc<Peer>,
    call: OutgoingCall<A>,
    timeout: Duration,
    bytes: &mut WireBytes,
) -> Result<A, CallError> {
    bytes.sent += (call.message.len() + PREFIX_BYTES) as u64;
    let answer = peer.call(call.path, call.message.clone(), timeout).await?;
    bytes.received += (answer.len() + PREFIX_BYTES) as u64;
    call.read(answer)
}

/// Asks the node at the peer's address who it is, with news and the digest of the member list. Out:
/// its ack, and the digest of its set.
pub(crate) async fn ping(
    driver: &Driver,
    peer: &Rc<Peer>,
    (news, digest): (Vec<Update>, Option<u64>),
    timeout: Duration,
) -> Result<(Ack, Option<u64>), Status> {
    let node = driver.read(|replica, _| replica.node());
    let request = sync::ping(node, news, digest);
    let (mut ack, set_digest) = call(peer, request, timeout, &mut WireBytes::default()).await?;
    let sender = Sender::at(peer.is_near());
    note_refused(driver, peer.address(), membership::screen_ack(&mut ack, sender));
    Ok((ack, set_digest))
}

/// Asks a peer who it is, for a session.
pub(crate) async fn greet(
    driver: &Driver,
    peer: &Rc<Peer>,
    bytes: &mut WireBytes,
) -> Result<NodeId, CallError> {
    let node = driver.read(|replica, _| replica.node());
    call(peer, sync::greet(node), limits::CALL_MAX, bytes).await
}

/// Has the peer ping another: whether that one answered, and news.
pub(crate) async fn probe_for(
    driver: &Driver,
    peer: &Rc<Peer>,
    target: &(NodeId, String),
    news: Vec<Update>,
    timeout: Duration,
) -> Result<(bool, Vec<Update>), Status> {
    let node = driver.read(|replica, _| replica.node());
    let request = edge::probe_for(node, target, news);
    let (acked, mut news) = call(peer, request, timeout, &mut WireBytes::default()).await?;
    let sender = Sender::at(peer.is_near());
    note_refused(driver, peer.address(), membership::screen(&mut news, sender));
    Ok((acked, news))
}

/// Pushes one assertion to the peer. Out: whether it took it, or why not.
pub(crate) async fn push(
    driver: &Driver,
    peer: &Rc<Peer>,
    sealed: &Sealed,
    timeout: Duration,
) -> PushEnd {
    let request = sync::gossip(sealed, stamp(driver));
    match call(peer, request, timeout, &mut WireBytes::default()).await {
        Ok(Ok(())) => PushEnd::Taken,
        Ok(Err(why)) => {
            let address = peer.address();
            let line = format_args!("{address} refuses {}: {why}", sealed.digest());
            log_limit::warn((module_path!(), address, "refused pushes"), line);
            PushEnd::Refused
        }
        Err(error) => {
            log::debug!("{} does not take {}: {error}", peer.address(), sealed.digest());
            match error {
                CallError::Status(Status { code: Code::DeadlineExceeded, .. }) => PushEnd::Failed,
                _ => PushEnd::Refused,
            }
        }
    }
}

/// A reading of this node's clock, to go with a message.
fn stamp(driver: &Driver) -> Hlc {
    let wall = driver.wall();
    driver.update(|replica, _, _| replica.stamp(wall))
}

/// Carries a session's request to the peer: the answer, and what it cost.
pub(crate) async fn ask(
    driver: Rc<Driver>,
    peer: Rc<Peer>,
    (session, number): (SessionId, u32),
    request: Request,
) -> (u32, Result<Reply, String>, WireBytes) {
    let mut bytes = WireBytes::default();
    let reply = reply_to(&driver, &peer, (session, number), request, &mut bytes).await;
    (number, reply.map_err(|error| error.to_string()), bytes)
}

async fn reply_to(
    driver: &Driver,
    peer: &Rc<Peer>,
    id: (SessionId, u32),
    request: Request,
    bytes: &mut WireBytes,
) -> Result<Reply, CallError> {
    let within = limits::CALL_MAX;
    match request {
        Request::Roots { root, count } => {
            let request = sync::exchange_roots(sync::NamedSet { root, count });
            let (matched, count) = call(peer, request, within, bytes).await?;
            Ok(Reply::Roots { matched, count })
        }
        Request::Leaves => {
            let (leaves, truncated) = call(peer, sync::get_leaves(), within, bytes).await?;
            Ok(Reply::Leaves { leaves, truncated })
        }
        Request::Fetch(wanted) => fetch(driver, peer, &wanted, bytes).await,
        Request::Gossip(sealed) => gossip(driver, peer, &sealed, bytes).await,
        Request::Sketch(request) => {
            let answer = call(peer, edge::sketch(request), within, bytes).await;
            or_unsupported(answer, Reply::Sketch)
        }
        Request::Digests => {
            let answer = call(peer, edge::digests(), within, bytes).await;
            or_unsupported(answer, Reply::Digests)
        }
        Request::LeavesOf(part) => {
            let leaves = call(peer, edge::leaves_of(part), within, bytes).await?;
            Ok(Reply::Leaves { leaves, truncated: false })
        }
        Request::Records(range) => records(driver, peer, range, id, bytes).await,
        Request::FetchShort(wanted) => {
            let bodies = call(peer, edge::fetch_short(&wanted), within, bytes).await?;
            let (good, bad) = open_all(driver, bodies, bytes).await;
            Ok(Reply::Fetched { good, bad })
        }
        Request::Give(given) => give(driver, peer, &given, bytes).await,
    }
}

/// A peer that lacks the method gets another kind of session.
fn or_unsupported<A>(
    answer: Result<A, CallError>,
    reply: impl FnOnce(A) -> Reply,
) -> Result<Reply, CallError> {
    match answer {
        Ok(answer) => Ok(reply(answer)),
        Err(error) if error.is_unimplemented() => Ok(Reply::Unsupported),
        Err(error) => Err(error),
    }
}

/// What does not hash to what it is said to be, or is signed falsely, is counted and dropped.
pub(crate) async fn fetch(
    driver: &Driver,
    peer: &Rc<Peer>,
    wanted: &[Digest],
    bytes: &mut WireBytes,
) -> Result<Reply, CallError> {
    let bodies = call(peer, sync::fetch(wanted), limits::CALL_MAX, bytes).await?;
    let (good, bad) = open_all(driver, bodies, bytes).await;
    Ok(Reply::Fetched { good, bad })
}

async fn records(
    driver: &Driver,
    peer: &Rc<Peer>,
    range: RowRange,
    id: (SessionId, u32),
    bytes: &mut WireBytes,
) -> Result<Reply, CallError> {
    let (span, bodies) = match call(peer, edge::records(range), limits::CALL_MAX, bytes).await {
        Ok(answer) => answer,
        Err(error) if error.is_unimplemented() => return Ok(Reply::Unsupported),
        Err(error) => return Err(error),
    };
    // Before the bodies are judged: the session asks for the next rows meanwhile.
    driver.records_came(id, span);
    let (good, bad) = open_all(driver, bodies, bytes).await;
    Ok(Reply::Records(Records { span, good, bad }))
}

/// Those that are what they are said to be, and how many are not.
async fn open_all(
    driver: &Driver,
    bodies: Vec<ForeignBody>,
    bytes: &mut WireBytes,
) -> (Vec<Sealed>, u64) {
    bytes.body += bodies.iter().map(|body| body.bytes.len() as u64).sum::<u64>();
    let opened = driver.open_all(bodies).await;
    (opened.good, opened.malformed + opened.falsely_signed)
}

async fn give(
    driver: &Driver,
    peer: &Rc<Peer>,
    given: &[Sealed],
    bytes: &mut WireBytes,
) -> Result<Reply, CallError> {
    let request = edge::give(given, stamp(driver));
    bytes.body += given.iter().map(|sealed| sealed.bytes().len() as u64).sum::<u64>();
    let (taken, refusal) = call(peer, request, limits::CALL_MAX, bytes).await?;
    Ok(Reply::Given { taken, refusal })
}

/// Gives the peer one assertion.
async fn gossip(
    driver: &Driver,
    peer: &Rc<Peer>,
    sealed: &Sealed,
    bytes: &mut WireBytes,
) -> Result<Reply, CallError> {
    let request = sync::gossip(sealed, stamp(driver));
    bytes.body += sealed.bytes().len() as u64;
    let refusal = match call(peer, request, limits::CALL_MAX, bytes).await? {
        Ok(()) => String::new(),
        Err(why) if why.is_empty() => "no reason given".into(),
        Err(why) => why,
    };
    Ok(Reply::Gossiped { refusal })
}
