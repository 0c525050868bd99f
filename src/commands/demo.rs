//! `stemedb-edge demo`: three nodes on free ports of this machine, one of them killed and brought
//! back, a line for each thing that happens.
//!
//! In: this very program, as child processes. Out: lines on standard output until Ctrl-C. Never:
//! leaves a process or a file behind.

use std::fmt;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};
use async_executor::LocalExecutor;
use futures_lite::future;
use http::Method;

use crate::commands::client::{self, ApiError};
use crate::commands::output;
use crate::commands::status::{Cluster, Health};
use crate::shell::runtime::reactor::{self, Timer};
use crate::shell::runtime::signals::{Signal, Signals};

/// How long a step may take before the demo gives up.
const STEP_MAX: Duration = Duration::from_secs(30);
/// How often a node is asked whether the step is done.
const LOOK_PAUSE: Duration = Duration::from_millis(20);
/// Log lines of the nodes that wait to be printed.
const LINES_MAX: usize = 256;
const NAMES: [&str; 3] = ["a", "b", "c"];
/// Subject, predicate, value, confidence, source class: two of them disagree.
const CLAIMS: [(&str, &str, &str, f64, u8); 6] = [
    ("Moon", "made_of", "rock", 0.99, 1),
    ("Moon", "made_of", "cheese", 0.3, 5),
    ("Moon", "orbits", "Earth", 0.99, 0),
    ("aspirin", "treats", "headache", 0.9, 1),
    ("gateway-7", "firmware", "2.4.1", 0.8, 2),
    ("gateway-7", "firmware", "2.4.0", 0.6, 4),
];

/// A child that ends with the process that started it, however that ends.
struct Process(Child);

impl Process {
    fn end(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// A node of the demo.
struct Node {
    name: &'static str,
    data: PathBuf,
    process: Process,
    id: String,
    api: String,
    gateway: String,
    rpc: String,
}

/// All of it; ends with what it started.
struct Demo {
    folder: PathBuf,
    nodes: Vec<Node>,
    lines: Sender<(&'static str, String)>,
    log: Receiver<(&'static str, String)>,
}

/// Runs until it is interrupted.
pub fn run() -> ExitCode {
    // Its nodes live on when their terminal goes: the demo has to end them.
    let prepared = reactor::current().and_then(|reactor| Ok((reactor, Signals::new(Signal::ALL)?)));
    let (reactor, signals) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => return output::fail(&error.to_string(), 1),
    };
    let mut demo = match Demo::prepare() {
        Ok(demo) => demo,
        Err(error) => return output::fail(&error.to_string(), 1),
    };
    let interrupted = async {
        // However the wait ends, the demo does.
        let _ = signals.next().await;
        Ok(())
    };
    let log = demo.log.clone();
    let showing = async {
        loop {
            show(&log).await;
        }
    };
    let walking = async {
        demo.walk().await?;
        future::pending().await
    };
    let ended = future::or(interrupted, future::or(walking, showing));
    let result: Result<(), DemoError> = reactor.block_on(&LocalExecutor::new(), ended);
    drop(demo);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => output::fail(&why.to_string(), 1),
    }
}

/// A closed output is no reason to stop.
fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// What nodes say of their members and shards.
async fn show(log: &Receiver<(&'static str, String)>) {
    let Ok((name, line)) = log.recv().await else { return future::pending().await };
    if let Some((_, news)) = line.split_once(" INFO membership: ") {
        say(&format!("  [{name}] {news}"));
    }
}

/// Why the demo ends before its end.
#[derive(Debug)]
enum DemoError {
    /// This program cannot be started once more, or signals cannot be waited for.
    System(io::Error),
    /// The node of this name ended before it listened.
    NotStarted(&'static str),
    /// A node's API gave no answer.
    Api(ApiError),
    /// A gateway refused a claim with this answer.
    Refused(String),
    /// This did not come to pass within [`STEP_MAX`]; how the last look failed, if it did.
    Late(String, Option<ApiError>),
}

impl fmt::Display for DemoError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DemoError::System(error) => error.fmt(out),
            DemoError::NotStarted(name) => write!(out, "{name} did not start"),
            DemoError::Api(error) => error.fmt(out),
            DemoError::Refused(answer) => out.write_str(answer),
            DemoError::Late(what, None) => write!(out, "not within {STEP_MAX:?}: {what}"),
            DemoError::Late(what, Some(why)) => {
                write!(out, "not within {STEP_MAX:?}: {what}: {why}")
            }
        }
    }
}

impl From<io::Error> for DemoError {
    fn from(error: io::Error) -> DemoError {
        DemoError::System(error)
    }
}

impl From<ApiError> for DemoError {
    fn from(error: ApiError) -> DemoError {
        DemoError::Api(error)
    }
}

impl Demo {
    fn prepare() -> io::Result<Demo> {
        let folder = std::env::temp_dir().join(format!("stemedb-demo-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let (lines, log) = async_channel::bounded(LINES_MAX);
        Ok(Demo { folder, nodes: Vec::new(), lines, log })
    }

    async fn walk(&mut self) -> Result<(), DemoError> {
        say("Three nodes, of which b and c know nothing but the address of a:");
        for name in NAMES {
            let data = self.folder.join(name);
            let seed = self.nodes.first().map(|node| node.rpc.clone());
            let node = start(name, data, seed, &self.lines).await?;
            say(&format!(
                "{name}: {}  api http://{}  gateway http://{}  grpc {}",
                cut(&node.id),
                node.api,
                node.gateway,
                node.rpc
            ));
            self.nodes.push(node);
        }
        self.all_see("Alive", 3).await?;
        say("Each of them knows all three. Claims go in through the gateways, one after another:");
        for (number, claim) in CLAIMS.iter().enumerate() {
            self.claim(&self.nodes[number % 3], claim).await?;
        }
        let root = self.all_hold(CLAIMS.len() as u64).await?;
        say(&format!("All hold the same {} claims, root {}.", CLAIMS.len(), cut(&root)));
        self.kill_and_restart().await?;
        let node = &self.nodes[0];
        say("It goes on until Ctrl-C. Try:");
        say(&format!(
            "  curl -s 'http://{}/v1/skeptic?subject=Moon&predicate=made_of'",
            node.gateway
        ));
        say(&format!(
            "  curl -s 'http://{}/v1/query?subject=gateway-7&predicate=firmware&lens=authority'",
            node.api
        ));
        say(&format!("  stemedb-edge status {}", node.api));
        say(&format!("  grpcurl -plaintext {} list", node.rpc));
        say(&format!("  kill -9 {}    # that is b", self.nodes[1].process.0.id()));
        Ok(())
    }

    async fn kill_and_restart(&mut self) -> Result<(), DemoError> {
        let mut gone = self.nodes.pop().expect("three were started");
        say(&format!("kill -9 {} ({}):", gone.name, cut(&gone.id)));
        let begun = Instant::now();
        gone.process.end();
        self.all_see("Dead", 1).await?;
        say(&format!("a and b know that it is dead after {} ms.", begun.elapsed().as_millis()));
        let late = ("Moon", "visited_by", "Apollo 11", 1.0, 0);
        self.claim(&self.nodes[0], &late).await?;
        say("A claim that c misses is taken meanwhile, and c comes back on other ports:");
        let seed = self.nodes.first().map(|node| node.rpc.clone());
        let begun = Instant::now();
        self.nodes.push(start(gone.name, gone.data, seed, &self.lines).await?);
        self.all_see("Alive", 3).await?;
        let root = self.all_hold(CLAIMS.len() as u64 + 1).await?;
        let took = begun.elapsed().as_millis();
        say(&format!("c has what it missed {took} ms after its start, root {}.", cut(&root)));
        Ok(())
    }

    async fn claim(
        &self,
        node: &Node,
        (subject, predicate, value, confidence, class): &(&str, &str, &str, f64, u8),
    ) -> Result<(), DemoError> {
        let body = format!(
            "{{\"subject\":\"{subject}\",\"predicate\":\"{predicate}\",\"object\":\
             {{\"type\":\"Text\",\"value\":\"{value}\"}},\"confidence\":{confidence},\
             \"source_class\":{class}}}"
        );
        let (status, answer) =
            client::ask(&node.gateway, Method::POST, "/v1/assert", body, None).await?;
        say(&format!("  [{}] {subject} {predicate} {value}: {status}", node.name));
        if status.is_success() { Ok(()) } else { Err(DemoError::Refused(answer)) }
    }

    async fn all_see(&self, state: &str, count: usize) -> Result<(), DemoError> {
        for node in &self.nodes {
            let seen = async || {
                let cluster: Cluster = client::get(&node.api, "/v1/cluster/status", None).await?;
                let members = cluster.members.iter().filter(|it| it.state == state).count();
                Ok((members == count).then_some(()))
            };
            until(&format!("{} sees {count} members {state}", node.name), seen).await?;
        }
        Ok(())
    }

    /// Waits until all hold so many claims under one root.
    async fn all_hold(&self, count: u64) -> Result<String, DemoError> {
        let root = async || {
            let mut roots = Vec::new();
            for node in &self.nodes {
                let health: Health = client::get(&node.api, "/v1/health", None).await?;
                if health.assertions_count != count {
                    return Ok(None);
                }
                roots.push(health.merkle_root);
            }
            roots.dedup();
            Ok((roots.len() == 1).then(|| roots.remove(0)))
        };
        until("all roots are equal", root).await
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        self.nodes.clear();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Looks again and again until there is something to see.
async fn until<T>(
    what: &str,
    mut look: impl AsyncFnMut() -> Result<Option<T>, ApiError>,
) -> Result<T, DemoError> {
    let begun = Instant::now();
    loop {
        let why = match look().await {
            Ok(Some(seen)) => return Ok(seen),
            Ok(None) => None,
            Err(why) => Some(why),
        };
        if begun.elapsed() > STEP_MAX {
            return Err(DemoError::Late(what.to_owned(), why));
        }
        Timer::after(LOOK_PAUSE).await;
    }
}

/// Starts a node and waits until it says where it listens.
async fn start(
    name: &'static str,
    data: PathBuf,
    seed: Option<String>,
    lines: &Sender<(&'static str, String)>,
) -> Result<Node, DemoError> {
    let program = std::env::current_exe()?;
    let mut command = Command::new(program);
    // The demo's settings are its own, not those of a node that is to run here.
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("STEMEDB_") {
            command.env_remove(variable);
        }
    }
    command.arg("--data-dir").arg(&data);
    for flag in ["--bind-addr", "--gateway-addr", "--rpc-addr"] {
        command.args([flag, "127.0.0.1:0"]);
    }
    if let Some(seed) = seed {
        command.args(["--seeds", &seed]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let log = BufReader::new(child.stderr.take().expect("it is piped"));
    let process = Process(child);
    let (found, ready) = async_channel::bounded(1);
    let lines = lines.clone();
    thread::spawn(move || {
        for line in log.lines().map_while(Result::ok) {
            if line.contains(": listening ") {
                let _ = found.try_send(line.clone());
            }
            // A line that waits unread is enough.
            let _ = lines.try_send((name, line));
        }
    });
    let line = ready.recv().await.map_err(|_| DemoError::NotStarted(name))?;
    let value = |key: &str| {
        let mut words = line.split_whitespace();
        let found = words.find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
        found.unwrap_or_default().to_owned()
    };
    let (id, api, gateway, rpc) = (value("node"), value("api"), value("gateway"), value("rpc"));
    Ok(Node { name, data, process, id, api, gateway, rpc })
}

fn cut(hex: &str) -> &str {
    hex.get(..12).unwrap_or(hex)
}
