//! The built program as a process: started on free ports, waited for, killed, cleared away.
//!
//! In: settings as environment variables. Out: bound addresses, clients. The program is what
//! `STEMEDB_NODE` says (words, such as `qemu-aarch64 target/.../stemedb-edge`), else the one that
//! `cargo build` makes beside the test. Never: waits a fixed time, leaves a process or a file.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};

use crate::api;
use crate::pb::sync_service_client::SyncServiceClient;
use crate::set::Hash;

/// Longest wait for anything a node is to do; met only when it fails.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Lines of the node's log kept for the message of a failed test.
const LINES_KEPT: usize = 200;

/// A running node.
pub struct Node {
    child: Child,
    dir: Option<TempDir>,
    wrapper: Vec<String>,
    settings: Vec<(String, String)>,
    lines: Arc<Mutex<Vec<String>>>,
    /// Where its HTTP API listens.
    pub http: SocketAddr,
    /// Where its gateway listens.
    pub gateway: SocketAddr,
    /// Where its gRPC listens.
    pub rpc: SocketAddr,
}

/// Nodes that run alone at first are of one cluster by it: an id of its own, which each would make
/// otherwise, keeps them apart.
pub const ONE_CLUSTER: (&str, &str) = ("STEMEDB_CLUSTER_ID", "c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1");

impl Node {
    /// A node with an empty data directory; settings are pairs such as `("STEMEDB_SEEDS", "...")`.
    pub fn start(settings: &[(&str, &str)]) -> Node {
        Node::start_under(&[], settings)
    }

    /// As [`Node::start`], by way of a program that ends by executing its arguments: `nice -n 15`.
    pub fn start_under(wrapper: &[String], settings: &[(&str, &str)]) -> Node {
        let dir = tempfile::Builder::new().prefix("stemedb-vendor-").tempdir().expect("a temp dir");
        let settings = settings.iter().map(|&(k, v)| (k.to_string(), v.to_string())).collect();
        Node::start_in(dir, wrapper.to_vec(), settings)
    }

    fn start_in(dir: TempDir, wrapper: Vec<String>, settings: Vec<(String, String)>) -> Node {
        let mut child = command_under(&wrapper)
            .env("STEMEDB_DATA_DIR", dir.path())
            .env("STEMEDB_BIND_ADDR", "127.0.0.1:0")
            .env("STEMEDB_GATEWAY_ADDR", "127.0.0.1:0")
            .env("STEMEDB_RPC_ADDR", "127.0.0.1:0")
            .env("STEMEDB_ANTI_ENTROPY_INTERVAL", "off")
            .envs(settings.iter().map(|(k, v)| (k, v)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the node starts");
        let lines = Arc::new(Mutex::new(Vec::new()));
        let log = child.stderr.take().expect("stderr is piped");
        let found = read_log(log, Arc::clone(&lines));
        let Ok([http, gateway, rpc]) = found.recv_timeout(PATIENCE) else {
            let _ = child.kill();
            let _ = child.wait();
            panic!("the node never said where it listens:\n{}", shown(&lines));
        };
        Node { child, dir: Some(dir), wrapper, settings, lines, http, gateway, rpc }
    }

    /// SIGKILL, as a power cut is to a process; then a start on the same directory.
    pub fn crash_and_restart(mut self) -> Node {
        self.kill();
        self.restart_dead()
    }

    /// SIGKILL, then a start on the same directory with other settings.
    pub fn restart_with(mut self, settings: &[(&str, &str)]) -> Node {
        self.kill();
        self.settings = settings.iter().map(|&(k, v)| (k.to_string(), v.to_string())).collect();
        self.restart_dead()
    }

    /// Starts a node that has ended on its directory again.
    pub fn restart_dead(mut self) -> Node {
        let dir = self.dir.take().expect("a running node has its directory");
        Node::start_in(dir, std::mem::take(&mut self.wrapper), std::mem::take(&mut self.settings))
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends a signal, such as `-TERM`.
    pub fn send(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(sent.expect("kill runs").success(), "gone already:\n{}", self.log());
    }

    /// SIGTERM; how the node ended. One that does not stop is killed, which its status shows.
    pub fn stop(&mut self) -> ExitStatus {
        let pid = self.child.id().to_string();
        let send = move |signal| Command::new("kill").args([signal, pid.as_str()]).status();
        assert!(send("-TERM").expect("kill runs").success(), "gone already:\n{}", self.log());
        let (ended, end) = mpsc::channel::<()>();
        let watchdog = thread::spawn(move || {
            if end.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                let _ = send("-KILL");
            }
        });
        let status = self.child.wait().expect("our child");
        drop(ended);
        watchdog.join().expect("it only waits");
        self.hear_out();
        status
    }

    /// How it ended by itself; one that does not is killed, which its status shows.
    pub async fn ended(&mut self) -> ExitStatus {
        let patience = tokio::time::Instant::now() + PATIENCE;
        while self.is_running() {
            if tokio::time::Instant::now() > patience {
                self.kill();
            }
            tokio::task::yield_now().await;
        }
        let status = self.child.wait().expect("our child");
        self.hear_out();
        status
    }

    /// Waits until the last line of a node that has ended is read: its reader is gone then.
    fn hear_out(&self) {
        let patience = std::time::Instant::now() + PATIENCE;
        while Arc::strong_count(&self.lines) > 1 && std::time::Instant::now() < patience {
            thread::yield_now();
        }
    }

    /// Has it ended by itself?
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("our child").is_none()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it logged last.
    pub fn log(&self) -> String {
        shown(&self.lines)
    }

    /// Its data directory.
    pub fn dir(&self) -> &Path {
        self.dir.as_ref().expect("a running node has its directory").path()
    }

    /// A connection of its own to the node.
    pub async fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.rpc)).expect("a good URI");
        endpoint.connect().await.expect("the node accepts")
    }

    /// A tonic client on a connection of its own.
    pub async fn client(&self) -> SyncServiceClient<Channel> {
        SyncServiceClient::new(self.channel().await)
    }

    /// GET that must be answered with 200.
    pub async fn get(&self, path: &str) -> Value {
        let answer = api::get(self.http, path).await.expect("the node answers");
        assert_eq!(answer.status, 200, "GET {path}: {}", answer.text);
        answer.json()
    }

    /// Asserts a claim over HTTP; its hash.
    pub async fn assert(&self, body: &Value) -> Hash {
        let answer = api::post(self.http, "/v1/assert", body).await.expect("the node answers");
        assert!(matches!(answer.status, 200 | 201), "{body}: {}", answer.text);
        crate::set::unhex(answer.json()["hash"].as_str().expect("a hash"))
    }

    /// Runs anti-entropy now; one report per peer.
    pub async fn sync(&self) -> Vec<Value> {
        let answer = api::post(self.http, "/v1/admin/sync", &Value::Null).await;
        let answer = answer.expect("the node answers");
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()["peers"].as_array().expect("a list of peers").clone()
    }

    /// Its id.
    pub async fn id(&self) -> String {
        self.get("/v1/health").await["node_id"].as_str().expect("an id").to_string()
    }

    /// The states it sees members in, by id.
    pub async fn members(&self) -> BTreeMap<String, String> {
        let status = self.get("/v1/cluster/status").await;
        let members = status["members"].as_array().expect("a list of members").clone();
        let text = |value: &Value| value.as_str().expect("text").to_string();
        members.iter().map(|it| (text(&it["node_id"]), text(&it["state"]))).collect()
    }

    /// Merkle root and count, as the health page shows them.
    pub async fn root(&self) -> (Hash, u64) {
        let health = self.get("/v1/health").await;
        let root = crate::set::unhex(health["merkle_root"].as_str().expect("a root"));
        (root, health["assertions_count"].as_u64().expect("a count"))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- log of the node at {}\n{}", self.http, self.log());
        }
    }
}

/// The program with no settings from the environment of the test.
pub fn command() -> Command {
    command_under(&[])
}

fn command_under(wrapper: &[String]) -> Command {
    let mut words = wrapper.iter().chain(program());
    let mut command = Command::new(words.next().expect("the program has a name"));
    command.args(words);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("STEMEDB_") {
            command.env_remove(name);
        }
    }
    command
}

static PROGRAM: OnceLock<Vec<String>> = OnceLock::new();

/// Takes this program, before the first node starts.
pub fn use_program(path: &str) {
    PROGRAM.set(vec![path.to_string()]).expect("no node runs yet");
}

fn program() -> &'static [String] {
    PROGRAM.get_or_init(|| match std::env::var("STEMEDB_NODE") {
        Ok(words) => words.split(' ').map(str::to_string).collect(),
        Err(_) => vec![build().to_string_lossy().into_owned()],
    })
}

/// Builds the node as it stands, so that no test runs against an old one.
fn build() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    // target/PROFILE/deps/TEST, or target/PROFILE/PROGRAM.
    let folder = test.parent().expect("a program lies in a folder");
    let profile =
        if folder.ends_with("deps") { folder.parent().expect("target/PROFILE") } else { folder };
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--bin", "stemedb-edge", "--manifest-path"]);
    cargo.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml"));
    cargo.arg("--target-dir").arg(profile.parent().expect("target"));
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    assert!(cargo.status().expect("cargo runs").success(), "the node does not build");
    profile.join("stemedb-edge")
}

/// Reads the log to its end, keeps its last lines, and sends the addresses when they are named.
fn read_log(
    log: impl Read + Send + 'static,
    lines: Arc<Mutex<Vec<String>>>,
) -> mpsc::Receiver<[SocketAddr; 3]> {
    let (addresses, found) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(log).lines().map_while(Result::ok) {
            let line = without_time(line);
            let found = ["api", "gateway", "rpc"].map(|key| address(&line, key));
            {
                let mut lines = lines.lock().expect("no thread panics with the lock");
                if lines.len() == LINES_KEPT {
                    lines.remove(0);
                }
                lines.push(line);
            }
            // What was said before the addresses is there when they are.
            if let [Some(http), Some(gateway), Some(rpc)] = found {
                let _ = addresses.send([http, gateway, rpc]);
            }
        }
    });
    found
}

/// The line from its level on: what the tests compare.
fn without_time(line: String) -> String {
    match line.split_once("Z ") {
        Some((time, rest)) if time.len() == "2026-11-27T00:10:25.123".len() => rest.to_owned(),
        _ => line,
    }
}

/// The value of `key=IP:PORT` in a log line.
fn address(line: &str, key: &str) -> Option<SocketAddr> {
    let mut words = line.split_whitespace();
    words.find_map(|word| word.strip_prefix(key)?.strip_prefix('=')?.parse().ok())
}

fn shown(lines: &Mutex<Vec<String>>) -> String {
    lines.lock().expect("no thread panics with the lock").join("\n")
}
