//! Whole gRPC calls against a whole node, over a connection within the process.
//!
//! In: which methods are called, their requests, and how the DATA frames are cut. Out: a failed
//! assertion where a call has no end, a status that no rule gives, or an answer that is none; and
//! where the next good call is not answered. Never: reaches the network: nothing is called that
//! has the node call others (`ProbeFor`), nothing of what the cluster wants is carried out.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use async_executor::LocalExecutor;
use bytes::{Buf, Bytes};
use futures_lite::future;
use h2::client::SendRequest;
use http::{HeaderMap, Request};
use prost::Message;

use super::input::{Input, claim};
use super::log::Scratch;
use crate::base::{Digest, Moment, NodeId, limits};
use crate::cluster::{self, Cluster};
use crate::journal::{CommitQueue, Config};
use crate::model::Sealed;
use crate::replica::Replica;
use crate::shell::disk::{self, Checkpoint, Directory, Disk, Indexer, Reader};
use crate::shell::driver::Driver;
use crate::shell::driver::bulk::BulkReads;
use crate::shell::driver::verify::Verifier;
use crate::shell::grpc::{Answer, Bounds, Call, Server, Service};
use crate::shell::peers::anti_entropy::Peers;
use crate::shell::peers::key_holders::KeyHolders;
use crate::shell::peers::membership::Membership;
use crate::shell::peers::pool::Pool;
use crate::shell::runtime::rate_limit::RateLimiter;
use crate::shell::runtime::reactor::{self, Timer};
use crate::shell::runtime::socket::TcpStream;
use crate::shell::runtime::tasks::Tasks;
use crate::shell::services::edge::EdgeService;
use crate::shell::services::sync::SyncService;
use crate::sketch::SketchKey;
use crate::store::Store;
use crate::swim::{self, State, Update};
use crate::wire::frame;
use crate::wire::grpc::Code;
use crate::wire::pb::{edge, health, reflection, sync};

/// Calls of one input.
const CALLS_MAX: usize = 6;
/// DATA frames of one call. Beyond 257 of a byte each that wait unread, h2 ends the connection
/// ([`limits::DATA_FRAME_BUDGET`]).
const PIECES_MAX: usize = 200;
/// Far longer than a call takes on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(120);

const SYNC: &str = "/stemedb.sync.v1.SyncService/";
const EDGE: &str = "/stemedb.edge.v1.EdgeService/";

/// Service, method, and whether a message is an answer of it.
type Method = (&'static str, &'static str, fn(Bytes) -> bool);

const METHODS: [Method; 14] = [
    (SYNC, "Gossip", is::<sync::GossipResponse>),
    (SYNC, "ExchangeRoots", is::<sync::RootExchangeResponse>),
    (SYNC, "FetchAssertions", is::<sync::FetchResponse>),
    (SYNC, "Ping", is::<sync::PingResponse>),
    (SYNC, "GetLeaves", is::<sync::GetLeavesResponse>),
    (EDGE, "Sketch", is::<edge::SketchResponse>),
    (EDGE, "Digests", is::<edge::DigestsResponse>),
    (EDGE, "LeavesOf", is::<edge::LeavesOfResponse>),
    (EDGE, "Records", is::<edge::RecordsResponse>),
    (EDGE, "FetchShort", is::<edge::FetchShortResponse>),
    (EDGE, "Give", is::<edge::GiveResponse>),
    (EDGE, "None", is::<edge::GiveResponse>),
    ("/grpc.health.v1.Health/", "Check", is::<health::HealthCheckResponse>),
    ("/grpc.reflection.v1.ServerReflection/", "ServerReflectionInfo", is_reflection),
];

/// Those whose requests [`body`] can make.
const MADE: [&str; 6] = ["Gossip", "Give", "FetchAssertions", "FetchShort", "GetLeaves", "Digests"];

fn is<M: Message + Default>(message: Bytes) -> bool {
    M::decode(message).is_ok()
}

fn is_reflection(message: Bytes) -> bool {
    is::<reflection::ServerReflectionResponse>(message)
}

/// Inputs that a node is kept for: a start takes ten times as long as the calls of an input.
const INPUTS_MAX: u32 = 64;

thread_local! {
    static KEPT: RefCell<Option<ServedNode>> = const { RefCell::new(None) };
}

pub(super) fn grpc_call(input: &[u8]) {
    frame::fuzz(input);
    let mut node = KEPT.take().unwrap_or_else(ServedNode::start);
    let script = node.script(Input(input));
    let upkeep = async {
        let disk = async { panic!("the disk failed: {}", node.driver.run_disk().await) };
        future::or(disk, node.driver.run_deadlines()).await;
        unreachable!("deadlines are run for ever");
    };
    let late = async {
        Timer::after(PATIENCE).await;
        panic!("a call has no end");
    };
    let all = future::or(script, future::or(upkeep, late));
    reactor::current().expect("a reactor").block_on(&node.executor, all);
    assert_eq!(node.server.connections(), 0, "a connection ends with its client");
    node.inputs += 1;
    if node.inputs < INPUTS_MAX {
        KEPT.set(Some(node));
    }
}

/// A node that is served by one connection at a time.
struct ServedNode {
    executor: Rc<LocalExecutor<'static>>,
    driver: Rc<Driver>,
    server: Server,
    inputs: u32,
    _membership: Rc<Membership>,
    _directory: Directory,
    _folder: Scratch,
}

impl Drop for ServedNode {
    fn drop(&mut self) {
        self.driver.stop();
    }
}

impl ServedNode {
    fn start() -> ServedNode {
        let executor = Rc::new(LocalExecutor::new());
        let folder = Scratch::new();
        let directory = Directory::open(&folder.0).expect("a directory");
        let recovered = disk::recover(directory.log(), true, |_| {}).expect("an empty log");
        let disk = Disk::start(&directory, recovered.tail).expect("a thread");
        let queue = CommitQueue::new(Config::default(), recovered.tail, recovered.bytes);
        let replica = Replica::new(cluster(), queue, Store::new(1));
        let reader = Reader::new(directory.log());
        let indexer = Indexer::new(Checkpoint::new(&folder.0, SketchKey::new(None)));
        let driver = Driver::new(replica, (disk, indexer, reader), Verifier::new(false));
        let tasks = Tasks::new(executor.clone());
        let pool = Pool::new(tasks.clone(), None);
        let peers = Peers::new(driver.clone(), pool.clone(), tasks.clone(), RateLimiter::new(None));
        let reads = BulkReads::new(driver.clone());
        let node = (driver.clone(), reads.clone());
        let membership = Membership::start(node, pool, peers, tasks);
        // From here on nothing of what the cluster wants is carried out.
        driver.observe_cluster(Box::new(drop));
        let edge = EdgeService::new(driver.clone(), reads.clone(), membership.clone());
        let holders = Rc::new(KeyHolders::new(false));
        let services: Vec<Box<dyn Service>> = vec![
            Box::new(SyncService::new(driver.clone(), reads, holders)),
            Box::new(Silent(edge)),
        ];
        ServedNode {
            executor,
            driver,
            server: Server::new(services, None, Bounds::default()),
            inputs: 0,
            _membership: membership,
            _directory: directory,
            _folder: folder,
        }
    }

    async fn script(&self, mut input: Input<'_>) {
        let (far, near) = TcpStream::pair().expect("two descriptors");
        let server = self.server.clone();
        let serving = self.executor.spawn(async move { server.serve_stream(1, far).await });
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(1 << 20);
        let (mut send, connection) = builder.handshake(near).await.expect("the server speaks h2");
        let driving = self.executor.spawn(async move { drop(connection.await) });
        for _ in 0..CALLS_MAX {
            if input.is_over() {
                break;
            }
            one_call(&mut send, &mut input).await;
        }
        let roots = sync::RootExchangeRequest {
            merkle_root: Bytes::from_static(&[0; 32]),
            assertion_count: 0,
        };
        let framed = framed(&roots.encode_to_vec());
        let good = Sent { method: 1, pieces: vec![framed.into()], timeout: None };
        assert_eq!(call(&mut send, good).await, Code::Ok, "the node goes on");
        drop(send);
        driving.await;
        serving.await;
    }
}

fn cluster() -> Cluster {
    let me = Update {
        node: NodeId([1; 16]),
        rpc_addr: "127.0.0.1:1".into(),
        api_addr: "127.0.0.1:2".into(),
        state: State::Alive,
        lamport: 0,
        incarnation: 1,
    };
    let config = cluster::Config {
        swim: swim::Config { probe_interval: limits::INTERVAL_MAX },
        shards: 4,
        replication_factor: 1,
        sync_interval: None,
    };
    Cluster::new(config, me, 1, Moment::ZERO)
}

/// A service without the method that has the node call others.
struct Silent(EdgeService);

impl Service for Silent {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn methods(&self) -> &'static [&'static str] {
        let (first, rest) = self.0.methods().split_first().expect("methods");
        assert_eq!(*first, "ProbeFor");
        rest
    }

    fn call(&self, method: &'static str, call: &Call) -> Answer {
        self.0.call(method, call)
    }
}

/// A call as it is sent.
struct Sent {
    method: usize,
    pieces: Vec<Bytes>,
    timeout: Option<&'static str>,
}

async fn one_call(send: &mut SendRequest<Bytes>, input: &mut Input<'_>) {
    let method = input.below(METHODS.len());
    let how = input.byte();
    let timeout = ["0n", "9M", "99999999H", "x"].get(usize::from(how >> 3 & 15)).copied();
    let body = body(how & 7, method, input);
    let step = usize::from(input.byte()).max(1);
    let step = if how & 128 == 0 { step } else { body.len().max(1) };
    let mut pieces: Vec<Bytes> =
        body.chunks(step).take(PIECES_MAX).map(Bytes::copy_from_slice).collect();
    if pieces.is_empty() {
        pieces.push(Bytes::new());
    }
    let is_made = how & 7 == 1 && MADE.contains(&METHODS[method].1);
    let is_whole = how & 7 == 0 && pieces.len() == 1 && timeout.is_none();
    let code = call(send, Sent { method, pieces, timeout }).await;
    let allowed = match code {
        Code::Ok => method != 11,
        Code::Unimplemented => method == 11 || !is_whole,
        Code::InvalidArgument => !is_made && method != 11,
        Code::NotFound => method == 12,
        Code::ResourceExhausted | Code::Internal => !is_whole,
        Code::DeadlineExceeded => timeout == Some("0n"),
        _ => false,
    };
    assert!(allowed, "{code} of {} for {how}", METHODS[method].1);
}

/// As it came, framed, or a request that gets past the first checks.
fn body(kind: u8, method: usize, input: &mut Input<'_>) -> Vec<u8> {
    let bytes = match input.byte() {
        length @ 0..=191 => input.take(usize::from(length)).to_vec(),
        _ => std::mem::take(&mut input.0).to_vec(),
    };
    match (kind, METHODS[method].1) {
        (1, "Gossip") => {
            let hash = Bytes::copy_from_slice(&Digest::of(&bytes).0);
            let request = sync::GossipRequest {
                assertion_hash: hash,
                assertion_data: bytes.into(),
                ..Default::default()
            };
            framed(&request.encode_to_vec())
        }
        (1, "Give") => {
            let claims = bytes.split(|byte| *byte == 0).map(Bytes::copy_from_slice);
            let assertions = claims.chain(claim(input).map(|it: Sealed| it.bytes().clone()));
            let request =
                edge::GiveRequest { assertions: assertions.collect(), ..Default::default() };
            framed(&request.encode_to_vec())
        }
        (1, "FetchAssertions") => {
            let hashes = bytes.chunks(40).map(|chunk| Bytes::copy_from_slice(&Digest::of(chunk).0));
            framed(&sync::FetchRequest { hashes: hashes.collect() }.encode_to_vec())
        }
        (1, "FetchShort") => {
            let ids = bytes.as_chunks::<8>().0.concat().into();
            framed(&edge::FetchShortRequest { ids }.encode_to_vec())
        }
        (1, "GetLeaves" | "Digests") => framed(&[]),
        (0 | 2, _) => framed(&bytes),
        (3, _) => [framed(&bytes), framed(&bytes)].concat(),
        _ => bytes,
    }
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&frame::prefix(message.len()), message].concat()
}

/// Sends it, and reads to its end; the answers must be whole and of the method's kind.
async fn call(send: &mut SendRequest<Bytes>, sent: Sent) -> Code {
    let (service, method, is_answer) = METHODS[sent.method];
    let mut request = Request::post(format!("http://node{service}{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    if let Some(timeout) = sent.timeout {
        request = request.header("grpc-timeout", timeout);
    }
    let request = request.body(()).expect("a request");
    future::poll_fn(|context| send.poll_ready(context)).await.expect("an open connection");
    let (response, mut body) = send.send_request(request, false).expect("an open connection");
    let last = sent.pieces.len() - 1;
    for (index, piece) in sent.pieces.into_iter().enumerate() {
        // Who is refused early need not send the rest.
        if body.send_data(piece, index == last).is_err() {
            break;
        }
    }
    let (head, mut stream) = response.await.expect("an answer").into_parts();
    assert_eq!(head.status, 200);
    let mut answer = Vec::new();
    while let Some(piece) = stream.data().await {
        let piece = piece.expect("a whole answer");
        stream.flow_control().release_capacity(piece.len()).expect("an open stream");
        answer.extend_from_slice(&piece);
    }
    let trailers = stream.trailers().await.expect("a whole answer").unwrap_or(head.headers);
    let code = code(&trailers);
    let mut reader = frame::FrameReader::new(limits::GRPC_MESSAGE_BYTES_MAX);
    let mut answer = Bytes::from(answer);
    let mut count = 0;
    while let Some(message) = reader.read(&mut answer).expect("well framed") {
        assert!(is_answer(message), "the answer of {method}");
        count += 1;
    }
    assert_eq!((reader.finish(), answer.remaining()), (Ok(()), 0));
    let is_stream = method == "ServerReflectionInfo";
    assert!(is_stream || count == usize::from(code == Code::Ok), "{count} answers, and {code}");
    code
}

fn code(trailers: &HeaderMap) -> Code {
    let message = trailers.get("grpc-message").map_or(0, |message| message.len());
    assert!(message < 4096, "an error takes a line or two");
    Code::parse(trailers.get("grpc-status").expect("each call has a status").as_bytes())
}
