//! A node's HTTP half on a thread of its own, and a client that sends exactly the bytes given.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use async_executor::LocalExecutor;
use futures_lite::{FutureExt, future};
use rustix::net::{self, AddressFamily, SocketType, sockopt};
use stemedb_edge::base::{Moment, NodeId};
use stemedb_edge::cluster::{self, Cluster};
use stemedb_edge::journal::{CommitQueue, Config};
use stemedb_edge::model::RootAgents;
use stemedb_edge::replica::Replica;
use stemedb_edge::shell::api::api_key::ApiKeyCheck;
use stemedb_edge::shell::api::gateway::Gateway;
use stemedb_edge::shell::api::readiness::Readiness;
use stemedb_edge::shell::api::{Api, Context};
use stemedb_edge::shell::disk::{self, Checkpoint, Directory, Disk, Indexer, Reader};
use stemedb_edge::shell::driver::Driver;
use stemedb_edge::shell::driver::bulk::BulkReads;
use stemedb_edge::shell::driver::verify::Verifier;
use stemedb_edge::shell::http::policed::Policed;
use stemedb_edge::shell::http::{Bounds, Counts, Server};
use stemedb_edge::shell::peers::anti_entropy::Peers;
use stemedb_edge::shell::peers::key_holders::KeyHolders;
use stemedb_edge::shell::peers::membership::Membership;
use stemedb_edge::shell::peers::pool::Pool;
use stemedb_edge::shell::runtime::rate_limit::RateLimiter;
use stemedb_edge::shell::runtime::reactor;
use stemedb_edge::shell::runtime::socket::TcpListener;
use stemedb_edge::shell::runtime::tasks::Tasks;
use stemedb_edge::sketch::SketchKey;
use stemedb_edge::store::Store;
use stemedb_edge::swim::{self, State, Update};
use stemedb_edge::wire::http::Cors;
use stemedb_edge::wire::http::policy::{Hosts, Policy};

/// What a test may wait for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A node's HTTP half on a thread of its own; gone with its data when dropped.
pub(crate) struct Node {
    pub(crate) address: SocketAddr,
    pub(crate) gateway: SocketAddr,
    folder: PathBuf,
    stop: async_channel::Sender<()>,
    thread: Option<JoinHandle<()>>,
}

impl Node {
    pub(crate) fn start() -> Node {
        Node::with(Bounds::default(), Config::default())
    }

    pub(crate) fn with(bounds: Bounds, config: Config) -> Node {
        Node::with_origins(bounds, config, None)
    }

    /// `origins`: whose pages may call, if not all.
    pub(crate) fn with_origins(bounds: Bounds, config: Config, origins: Option<&str>) -> Node {
        let cors = Cors { origins: origins.map(|origin| vec![origin.to_owned()]) };
        Node::with_all(bounds, config, cors, RootAgents::default())
    }

    /// With these root agents.
    pub(crate) fn trusting(roots: Vec<[u8; 32]>) -> Node {
        let (bounds, config) = (Bounds::default(), Config::default());
        Node::with_all(bounds, config, Cors::default(), RootAgents::new(roots))
    }

    fn with_all(bounds: Bounds, config: Config, cors: Cors, roots: RootAgents) -> Node {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("stemedb-http-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        let (stop, stopped) = async_channel::bounded::<()>(1);
        let (bound_to, address) = std::sync::mpsc::channel();
        let own = folder.clone();
        let thread = std::thread::spawn(move || {
            let reactor = reactor::current().expect("a reactor");
            let executor = Rc::new(LocalExecutor::new());
            let loopback = "127.0.0.1:0".parse().expect("an address");
            let [listener, at_gateway] =
                [(); 2].map(|()| TcpListener::bind(loopback).expect("a free port"));
            let bound = |listener: &TcpListener| listener.local_addr().expect("bound");
            bound_to.send((bound(&listener), bound(&at_gateway))).expect("the test waits");
            let directory = Directory::open(&own).expect("a directory");
            let recovered = disk::recover(directory.log(), true, |_| {}).expect("an empty log");
            let disk = Disk::start(&directory, recovered.tail).expect("a disk");
            let queue = CommitQueue::new(config, recovered.tail, recovered.bytes);
            let me = Update {
                node: NodeId::parse("00112233445566778899aabbccddeeff").expect("an id"),
                rpc_addr: "127.0.0.1:1".into(),
                api_addr: "127.0.0.1:2".into(),
                state: State::Alive,
                lamport: 0,
                incarnation: 1,
            };
            let cluster = cluster::Config {
                swim: swim::Config { probe_interval: Duration::from_secs(1) },
                shards: 64,
                replication_factor: 3,
                sync_interval: None,
            };
            let cluster = Cluster::new(cluster, me, 1, Moment::ZERO);
            let replica = Replica::new(cluster, queue, Store::new(1));
            let reader = Reader::new(directory.log());
            let indexer = Indexer::new(Checkpoint::new(&own, SketchKey::new(None)));
            let driver = Driver::new(replica, (disk, indexer, reader), Verifier::new(false));
            let tasks = Tasks::new(executor.clone());
            let (pool, limiter) = (Pool::new(tasks.clone(), None), RateLimiter::new(None));
            let peers = Peers::new(driver.clone(), pool.clone(), tasks.clone(), limiter);
            let state = (driver.clone(), BulkReads::new(driver.clone()));
            let _membership = Membership::start(state, pool.clone(), peers.clone(), tasks);
            let counts: Rc<Counts> = Rc::default();
            let api_key_check = ApiKeyCheck::new(None, false);
            let context = context(&counts, &driver, roots);
            let api = Api::new(driver.clone(), peers, api_key_check, context);
            let policy = Policy { hosts: Hosts::new(None, None, loopback.ip()), cors };
            let calls = (pool, Rc::new(KeyHolders::new(false)), bounds.unsent_max);
            let gateway = Gateway::new(api.clone(), driver.clone(), calls);
            let gateway = Server::new(Policed::new(gateway, policy.clone()), bounds, Rc::default());
            let server = Server::new(Policed::new(api, policy), bounds, counts);
            let until = || async {
                let _ = stopped.recv().await; // A closed channel means the same.
            };
            let serve = async {
                let serve = server.serve(&executor, listener, until());
                let gateway = gateway.serve(&executor, at_gateway, until());
                future::zip(serve, gateway).await;
            };
            let disk = async { panic!("the disk failed: {}", driver.run_disk().await) };
            let upkeep = driver.run_deadlines().or(driver.run_scans()).or(disk);
            reactor.block_on(&executor, future::or(serve, upkeep));
            driver.stop();
        });
        let (address, gateway) = address.recv_timeout(PATIENCE).expect("the node starts");
        Node { address, gateway, folder, stop, thread: Some(thread) }
    }

    /// Asks the node to stop; dropping it waits for that.
    pub(crate) fn stop(&self) {
        self.stop.close();
    }

    pub(crate) fn dial(&self) -> TcpStream {
        Node::dial_at(self.address)
    }

    /// To [`Node::address`] or [`Node::gateway`].
    pub(crate) fn dial_at(address: SocketAddr) -> TcpStream {
        let stream = TcpStream::connect(address).expect("the node listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        stream
    }

    /// A connection from another address of this machine.
    pub(crate) fn dial_from(&self, own: Ipv4Addr) -> TcpStream {
        self.connect(own, None)
    }

    /// Sends a request on a connection that takes hardly anything of an answer.
    pub(crate) fn dial_narrowly(&self, request: &str) -> TcpStream {
        self.dial_narrowly_from(Ipv4Addr::LOCALHOST, request)
    }

    pub(crate) fn dial_narrowly_from(&self, own: Ipv4Addr, request: &str) -> TcpStream {
        let mut stream = self.connect(own, Some(4096));
        stream.write_all(request.as_bytes()).expect("the node reads");
        stream
    }

    fn connect(&self, own: Ipv4Addr, buffer: Option<usize>) -> TcpStream {
        let socket = net::socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
        if let Some(bytes) = buffer {
            sockopt::set_socket_recv_buffer_size(&socket, bytes).expect("a size");
        }
        net::bind(&socket, &SocketAddr::from((own, 0))).expect("a loopback address");
        net::connect(&socket, &self.address).expect("the node listens");
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        stream
    }

    /// Sends `request` as it is on a connection of its own; all that comes back until the end.
    pub(crate) fn send(&self, request: &[u8]) -> String {
        Node::send_at(self.address, request)
    }

    /// The same, to [`Node::address`] or [`Node::gateway`].
    pub(crate) fn send_at(address: SocketAddr, request: &[u8]) -> String {
        let mut stream = Node::dial_at(address);
        stream.write_all(request).expect("the node reads");
        stream.shutdown(Shutdown::Write).expect("open until now");
        read_all(&mut stream)
    }

    /// One request in one answer.
    pub(crate) fn ask(&self, request: &str) -> (u16, String) {
        let answer = self.send(format!("{request} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
        split(&answer)
    }

    pub(crate) fn post(&self, body: impl AsRef<[u8]>) -> (u16, String) {
        let answer = self.send(&assert_request(body.as_ref()));
        split(&answer)
    }
}

fn context(counts: &Rc<Counts>, driver: &Rc<Driver>, root_agents: RootAgents) -> Context {
    Context {
        readiness: Readiness::new(driver.clone(), false),
        memory_bytes: 0,
        ended: Box::new(Vec::new),
        http_connections: counts.clone(),
        gateway_connections: Rc::default(),
        scrubbed: Default::default(),
        root_agents,
        grpc_connections: Box::new(|| 0),
        peer_connections: Box::new(|| 0),
        grpc_counts: Box::new(Vec::new),
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop();
        let ended = self.thread.take().map(JoinHandle::join);
        // Best effort: the folder is in the system's temporary directory.
        let _ = std::fs::remove_dir_all(&self.folder);
        if !std::thread::panicking() {
            ended.expect("joined once").expect("the node ends well");
        }
    }
}

pub(crate) fn assert_request(body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST /v1/assert HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

pub(crate) fn read_all(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("the node neither answers nor hangs up: {error}"),
    }
    String::from_utf8(answer).expect("answers are text")
}

/// Status and body of the last answer in `text`.
pub(crate) fn split(text: &str) -> (u16, String) {
    let starts = text.match_indices("HTTP/1.1 ").map(|(start, _)| start);
    let is_answer =
        |start: &usize| text[start + 9..].starts_with(|letter: char| letter.is_ascii_digit());
    let start = starts.filter(is_answer).last().unwrap_or_else(|| panic!("no answer: {text:?}"));
    let (head, body) = text[start..].split_once("\r\n\r\n").expect("a whole head");
    let status = head[9..12].parse().expect("a status");
    let is_chunked = head.to_lowercase().contains("\r\ntransfer-encoding: chunked");
    (status, if is_chunked { unchunked(body) } else { body.to_owned() })
}

/// A body that came in chunks, all of which are here.
fn unchunked(mut rest: &str) -> String {
    let mut body = String::new();
    loop {
        let (size, after) = rest.split_once("\r\n").unwrap_or_else(|| panic!("cut: {rest}"));
        let size = usize::from_str_radix(size, 16).expect("the size of a chunk");
        if size == 0 {
            return body;
        }
        body.push_str(&after[..size]);
        rest = &after[size + 2..];
    }
}
