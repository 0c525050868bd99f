//! Our whole node as a child process.
//!
//! In: records. Out: `Gossip` and `FetchAssertions` over gRPC on loopback: the one way in which a
//! node takes the very bytes that the others take. A body that is no claim is kept unread, under
//! the hash that the node makes of it. Never: other settings than the node's own.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ChildStderr, Command, Stdio};
use std::thread;

use prost::Message;
use stemedb_edge::wire::pb::sync as pb;

use super::Engine;
use crate::client::{self, Connection, Protocol};
use crate::http2::Grpc;
use crate::process::{Server, command};
use crate::record::{Record, Work};

/// Names a program that was built before.
pub const PROGRAM: &str = "NODE";

pub struct Node {
    server: Server,
    at: SocketAddr,
    connections: Vec<Connection<Gossip>>,
}

/// Builds the node; its path.
pub fn build() -> Result<PathBuf, String> {
    if let Some(program) = std::env::var_os(PROGRAM) {
        return Ok(program.into());
    }
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.toml");
    let mut command = Command::new("cargo");
    command.args(["build", "--release", "--locked", "--bin", "stemedb-edge"]);
    command.arg("--message-format=json-render-diagnostics").arg("--manifest-path").arg(manifest);
    let built = command.stderr(Stdio::inherit()).output();
    let built = built.map_err(|fault| format!("cargo cannot be started: {fault}"))?;
    let text = String::from_utf8_lossy(&built.stdout);
    let path = text.rsplit_once("\"executable\":\"").and_then(|(_, rest)| rest.split_once('"'));
    path.map(|(path, _)| path.into()).ok_or_else(|| "the node cannot be built".to_owned())
}

impl Node {
    pub fn open(dir: &Path) -> Node {
        let program = std::env::var_os(PROGRAM).expect("the parent sets the path of the node");
        let mut command = command(Path::new(&program));
        command.arg("--data-dir").arg(dir.join("node"));
        for listener in ["--bind-addr", "--rpc-addr", "--gateway-addr"] {
            command.args([listener, "127.0.0.1:0"]);
        }
        let mut child = command.stderr(Stdio::piped()).spawn().expect("this very program");
        let output = child.stderr.take().expect("it was asked for");
        let server = Server(child);
        let at = rpc_address(output);
        Node { server, at, connections: Vec::new() }
    }
}

/// Where it takes calls, which it prints when it has read its log; later lines are not kept.
fn rpc_address(output: ChildStderr) -> SocketAddr {
    let mut output = BufReader::new(output).lines().map_while(Result::ok);
    let mut seen = String::new();
    let found = output.by_ref().find_map(|line| {
        let rest = line.split_once(" rpc=").map(|(_, rest)| rest.to_owned());
        seen = seen.clone() + &line + "\n";
        rest
    });
    let address = found.as_ref().and_then(|rest| rest.split(' ').next());
    let address = address.and_then(|address| address.parse().ok());
    let address = address.unwrap_or_else(|| panic!("the node did not start:\n{seen}"));
    thread::spawn(move || output.for_each(drop));
    address
}

impl Engine for Node {
    fn expect(&mut self, writers: usize) {
        let opened = (0..writers).map(|_| Connection::open(self.at));
        self.connections = opened.map(|one| one.expect("it listens")).collect();
        let ping = pb::PingRequest::default().encode_to_vec();
        for connection in &mut self.connections {
            connection.call(|protocol, out| protocol.0.ask(PING, &ping, out));
        }
    }

    fn write(&mut self, _: usize, work: &Work) {
        client::write(&mut self.connections, work);
    }

    fn read(&mut self, record: &Record) -> Option<Vec<u8>> {
        let mut connection = Connection::<Gossip>::open(self.at).expect("it listens");
        let request = pb::FetchRequest { hashes: vec![record.key.to_vec().into()] };
        let request = request.encode_to_vec();
        connection.call(|protocol, out| protocol.0.ask(FETCH, &request, out));
        let answer = pb::FetchResponse::decode(&connection.protocol.0.answer[..]);
        let found = answer.expect("the node's own message").assertions.pop();
        found.map(|found| found.data.to_vec())
    }

    fn pid(&self) -> u32 {
        self.server.0.id()
    }

    fn answered(&self) -> u64 {
        self.connections.iter().map(|connection| connection.received).sum()
    }

    fn close(self: Box<Self>) {
        drop(self.connections);
        self.server.stop();
    }
}

const PING: &str = "/stemedb.sync.v1.SyncService/Ping";
const FETCH: &str = "/stemedb.sync.v1.SyncService/FetchAssertions";
const GOSSIP: &str = "/stemedb.sync.v1.SyncService/Gossip";

/// A connection that gives records.
#[derive(Default)]
struct Gossip(Grpc);

impl Protocol for Gossip {
    fn greet(&mut self, out: &mut Vec<u8>) {
        self.0.greet(out);
    }

    fn put(&mut self, record: &Record, out: &mut Vec<u8>) {
        let request = pb::GossipRequest {
            assertion_hash: record.key.to_vec().into(),
            assertion_data: record.body.clone(),
            ..Default::default()
        };
        self.0.ask(GOSSIP, &request.encode_to_vec(), out);
    }

    fn take(&mut self, input: &mut Vec<u8>, out: &mut Vec<u8>) -> bool {
        let is_whole = self.0.take(input, out);
        if is_whole && self.0.path == GOSSIP {
            let answer = pb::GossipResponse::decode(&self.0.answer[..]);
            let answer = answer.expect("the node's own message");
            assert!(answer.accepted, "{}", answer.error);
        }
        is_whole
    }
}
