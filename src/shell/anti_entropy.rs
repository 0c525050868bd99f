//! Runs sessions of anti-entropy: carries a session's calls to its peer and the answers back.
//!
//! In: a peer, and what the session wants asked. Out: a report. Calls under way are as many as the
//! session asks for, each with its deadline. Never: decides what to ask.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_channel::Sender;
use bytes::Bytes;
use prost::Message;

use super::driver::{Driver, Errand};
use super::peers::Peer;
use super::pool::Pool;
use super::reactor::Timer;
use super::tasks::Tasks;
use crate::base::{Digest, NodeId, limits};
use crate::config::Endpoint;
use crate::model::Sealed;
use crate::sketch::ShortId;
use crate::sync::{Reply, Report, Request, SketchRequest, WireBytes};
use crate::wire::edge as words;
use crate::wire::frame::PREFIX_BYTES;
use crate::wire::pb::edge;
use crate::wire::pb::sync as pb;
use crate::wire::status::{Code, Status};

const SYNC: &str = "stemedb.sync.v1.SyncService";
const EDGE: &str = words::SERVICE;

type Asked = Pin<Box<dyn Future<Output = (u32, Result<Reply, String>, WireBytes)>>>;

/// What one peer gave and took in a round.
#[derive(Clone, Debug)]
pub struct PeerReport {
    /// The peer's address, as configured.
    pub address: String,
    /// What came of it.
    pub report: Report,
}

/// What earlier sessions with a peer taught.
#[derive(Clone, Copy, Default)]
struct Habits {
    /// It has no sketches.
    lacks_sketch: bool,
    /// With this root of ours the sketches showed no difference, although there was one: two
    /// assertions that differ share a short id, and only the leaves tell.
    blind_at: Option<Digest>,
}

/// The peers this node was told of, and the one round of anti-entropy that may be under way.
pub struct Peers {
    driver: Rc<Driver>,
    peers: Vec<Rc<Peer>>,
    tasks: Tasks,
    round: RefCell<Vec<Sender<Vec<PeerReport>>>>,
    habits: RefCell<BTreeMap<String, Habits>>,
    cycles: RefCell<BTreeMap<String, u64>>,
}

impl Peers {
    /// Nothing is dialled before the first round.
    pub fn new(driver: Rc<Driver>, seeds: &[Endpoint], pool: &Rc<Pool>, tasks: Tasks) -> Rc<Peers> {
        let peers = seeds.iter().map(|seed| pool.peer(&seed.to_string())).collect();
        let (round, cycles, habits) = Default::default();
        Rc::new(Peers { driver, peers, tasks, round, habits, cycles })
    }

    /// Levels with every peer now. Who asks while a round is under way gets that round's reports;
    /// a round goes on when who asked has gone.
    pub async fn sync_now(self: &Rc<Self>) -> Vec<PeerReport> {
        let (reports, answer) = async_channel::bounded(1);
        let first = self.round.borrow().is_empty();
        self.round.borrow_mut().push(reports);
        if first {
            let peers = self.clone();
            self.tasks.spawn(async move { peers.run_round().await });
        }
        answer.recv().await.unwrap_or_default()
    }

    /// Starts a round now and then; `None` is only when asked.
    pub fn keep_level(self: &Rc<Self>, interval: Option<Duration>) {
        let Some(interval) = interval.filter(|_| !self.peers.is_empty()) else { return };
        let peers = self.clone();
        self.tasks.spawn(async move {
            loop {
                // Nodes that started together must not all ask at one time.
                Timer::after(interval.mul_f64(0.75 + 0.5 * fastrand::f64())).await;
                peers.sync_now().await;
            }
        });
    }

    /// Rounds by peer since the start.
    pub fn cycles(&self) -> Vec<(String, u64)> {
        self.cycles.borrow().iter().map(|(peer, count)| (peer.clone(), *count)).collect()
    }

    async fn run_round(&self) {
        let mut reports = Vec::new();
        for peer in &self.peers {
            let address = peer.address().to_owned();
            let mut habits = self.habits.borrow().get(&address).copied().unwrap_or_default();
            let report = level(&self.driver, peer, &mut habits).await;
            self.habits.borrow_mut().insert(address.clone(), habits);
            match &report.error {
                Some(error) => log::warn!("sync with {address}: {error}"),
                None => log::debug!("sync with {address}: {report:?}"),
            }
            *self.cycles.borrow_mut().entry(address.clone()).or_default() += 1;
            reports.push(PeerReport { address, report });
        }
        for waiting in self.round.take() {
            // Whoever asked may have gone.
            let _ = waiting.try_send(reports.clone());
        }
    }
}

/// Levels this node with one peer.
async fn level(driver: &Rc<Driver>, peer: &Rc<Peer>, habits: &mut Habits) -> Report {
    let start = Instant::now();
    let mut report = Report::default();
    match greet(driver, peer).await {
        (Ok(node_id), bytes) => {
            report = run(driver, peer, habits).await;
            report.node_id = Some(node_id);
            report.bytes_out += bytes.sent;
            report.bytes_in += bytes.received;
        }
        (Err(reason), bytes) => {
            report.error = Some(reason);
            report.bytes_out = bytes.sent;
        }
    }
    report.ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    report
}

/// Asks a peer who it is.
async fn greet(driver: &Driver, peer: &Rc<Peer>) -> (Result<NodeId, String>, WireBytes) {
    let node_id = Bytes::copy_from_slice(&driver.read(|replica, _| replica.node()).0);
    let request = pb::PingRequest { node_id, updates: Vec::new() };
    let mut bytes = WireBytes::default();
    let answer = call::<pb::PingResponse>(peer, SYNC, "Ping", &request, &mut bytes).await;
    let node_id = answer.and_then(|answer| {
        NodeId::from_slice(&answer.node_id)
            .ok_or_else(|| format!("the peer's node_id has {} bytes, not 16", answer.node_id.len()))
    });
    let own = driver.read(|replica, _| replica.node());
    let other = node_id.and_then(|node_id| match node_id == own {
        true => Err("the peer has this node's own id".to_owned()),
        false => Ok(node_id),
    });
    (other, bytes)
}

async fn run(driver: &Rc<Driver>, peer: &Rc<Peer>, habits: &mut Habits) -> Report {
    // Everything a session wants at one time fits, so that the driver never finds it full.
    let (errands, inbox) = async_channel::bounded(2 * limits::CALLS_IN_FLIGHT_MAX);
    let by_sketch = !habits.lacks_sketch;
    let (session, root) = driver.start_session(errands, by_sketch, habits.blind_at).await;
    let mut asked: Vec<Asked> = Vec::new();
    let report = loop {
        let mut next = std::pin::pin!(inbox.recv());
        let event = poll_fn(|context| match poll_any(&mut asked, context) {
            Poll::Ready(answered) => Poll::Ready(Ok(answered)),
            Poll::Pending => next.as_mut().poll(context).map(Err),
        });
        match event.await {
            Ok((number, reply, bytes)) => {
                habits.lacks_sketch |= matches!(reply, Ok(Reply::Unsupported));
                driver.peer_answered((session, number), reply, bytes);
            }
            Err(Ok(Errand::Call(number, request))) => {
                asked.push(Box::pin(ask(driver.clone(), peer.clone(), number, request)));
            }
            Err(Ok(Errand::Done(report))) => break report,
            Err(Err(_)) => return Report::default(),
        }
    };
    habits.blind_at = report.is_blind.then_some(root);
    report
}

fn poll_any(
    asked: &mut Vec<Asked>,
    context: &mut Context<'_>,
) -> Poll<(u32, Result<Reply, String>, WireBytes)> {
    for index in 0..asked.len() {
        if let Poll::Ready(answered) = asked[index].as_mut().poll(context) {
            drop(asked.swap_remove(index));
            return Poll::Ready(answered);
        }
    }
    Poll::Pending
}

async fn ask(
    driver: Rc<Driver>,
    peer: Rc<Peer>,
    number: u32,
    request: Request,
) -> (u32, Result<Reply, String>, WireBytes) {
    let mut bytes = WireBytes::default();
    let reply = match request {
        Request::Roots { root, count } => roots(&peer, root, count, &mut bytes).await,
        Request::Leaves => leaves(&peer, &mut bytes).await,
        Request::Fetch(wanted) => fetch(&driver, &peer, &wanted, &mut bytes).await,
        Request::Gossip(sealed) => gossip(&driver, &peer, &sealed, &mut bytes).await,
        Request::Sketch(request) => sketch(&peer, request, &mut bytes).await,
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
        call(peer, SYNC, "ExchangeRoots", &request, bytes).await?;
    Ok(Reply::Roots { matched: answer.roots_match, count: answer.assertion_count })
}

async fn leaves(peer: &Rc<Peer>, bytes: &mut WireBytes) -> Result<Reply, String> {
    let request = pb::GetLeavesRequest { max_leaves: limits::LEAVES_MAX as u64 };
    let answer: pb::GetLeavesResponse = call(peer, SYNC, "GetLeaves", &request, bytes).await?;
    let leaves = answer.leaves.iter().map(|leaf| {
        let length = leaf.len();
        Digest::from_slice(leaf).ok_or_else(|| format!("the peer gave a leaf of {length} bytes"))
    });
    Ok(Reply::Leaves { leaves: leaves.collect::<Result<_, _>>()?, truncated: answer.truncated })
}

/// What does not hash to what it is said to be, or is signed falsely, is counted and dropped.
async fn fetch(
    driver: &Driver,
    peer: &Rc<Peer>,
    wanted: &[Digest],
    bytes: &mut WireBytes,
) -> Result<Reply, String> {
    let hashes = wanted.iter().map(|digest| Bytes::copy_from_slice(&digest.0)).collect();
    let request = pb::FetchRequest { hashes };
    let answer: pb::FetchResponse = call(peer, SYNC, "FetchAssertions", &request, bytes).await?;
    let bodies = answer.assertions.into_iter();
    let claimed = bodies.map(|body| (Digest::from_slice(&body.hash), body.data)).collect();
    Ok(open_all(driver, claimed, bytes).await)
}

async fn fetch_short(
    driver: &Driver,
    peer: &Rc<Peer>,
    wanted: &[ShortId],
    bytes: &mut WireBytes,
) -> Result<Reply, String> {
    let request = edge::FetchShortRequest { ids: words::short_ids(wanted) };
    let answer: edge::FetchShortResponse = call(peer, EDGE, "FetchShort", &request, bytes).await?;
    // The hash need not travel: it is that of the bytes.
    let hashed = answer.assertions.into_iter().map(|data| (Some(Digest::of(&data)), data));
    Ok(open_all(driver, hashed.collect(), bytes).await)
}

async fn open_all(
    driver: &Driver,
    bodies: Vec<(Option<Digest>, Bytes)>,
    bytes: &mut WireBytes,
) -> Reply {
    let mut opened = Vec::with_capacity(bodies.len());
    let mut false_bodies = 0;
    for (claimed, data) in bodies {
        bytes.body += data.len() as u64;
        match claimed.and_then(|claimed| Sealed::open(claimed, data).ok()) {
            Some(sealed) => opened.push(sealed),
            None => false_bodies += 1,
        }
    }
    let (good, falsely_signed) = driver.verify_all(opened).await;
    Reply::Fetched { good, bad: false_bodies + falsely_signed }
}

async fn sketch(
    peer: &Rc<Peer>,
    request: SketchRequest,
    bytes: &mut WireBytes,
) -> Result<Reply, String> {
    match try_call(peer, EDGE, "Sketch", &words::sketch_request(request), bytes).await {
        Ok(answer) => words::read_sketch_response(&answer).map(Reply::Sketch),
        Err(status) if status.code == Code::Unimplemented => Ok(Reply::Unsupported),
        Err(status) => Err(status.to_string()),
    }
}

async fn give(
    driver: &Driver,
    peer: &Rc<Peer>,
    given: &[Sealed],
    bytes: &mut WireBytes,
) -> Result<Reply, String> {
    let wall = driver.wall();
    let stamp = driver.touch(|replica, _, _| replica.stamp(wall));
    let request = edge::GiveRequest {
        assertions: given.iter().map(|sealed| sealed.bytes().clone()).collect(),
        hlc_time: stamp.time,
        hlc_counter: stamp.counter,
        hlc_node_id: Bytes::copy_from_slice(&stamp.node.0),
    };
    bytes.body += given.iter().map(|sealed| sealed.bytes().len() as u64).sum::<u64>();
    let answer: edge::GiveResponse = call(peer, EDGE, "Give", &request, bytes).await?;
    Ok(Reply::Given { taken: answer.taken, refusal: answer.error })
}

async fn gossip(
    driver: &Driver,
    peer: &Rc<Peer>,
    sealed: &Sealed,
    bytes: &mut WireBytes,
) -> Result<Reply, String> {
    let wall = driver.wall();
    let stamp = driver.touch(|replica, _, _| replica.stamp(wall));
    let request = pb::GossipRequest {
        assertion_hash: Bytes::copy_from_slice(&sealed.digest().0),
        assertion_data: sealed.bytes().clone(),
        hlc_time: stamp.time,
        hlc_counter: stamp.counter,
        hlc_node_id: Bytes::copy_from_slice(&stamp.node.0),
    };
    bytes.body += sealed.bytes().len() as u64;
    let answer: pb::GossipResponse = call(peer, SYNC, "Gossip", &request, bytes).await?;
    let refusal = match (answer.accepted, answer.error) {
        (true, _) => String::new(),
        (false, error) if error.is_empty() => "no reason given".into(),
        (false, error) => error,
    };
    Ok(Reply::Gossiped { refusal })
}

/// One unary call; a failure reads as code and message.
async fn call<A: Message + Default>(
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
