//! The attacked node, a member that watches it, and what `/proc` shows of it.
//!
//! In: settings, processors. Out: running nodes, resident memory, the states that the member saw.
//! Never: leaves a task behind.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use vendor_tests::api;
use vendor_tests::node::Node;
use vendor_tests::wait::until;

use crate::normal::Targets;
use crate::report::Memory;

/// The cluster key, of the attacks that know of one.
pub(crate) const KEY: &str = "the-key-of-the-cluster";
/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// Attacked node and member. Later fields outlive earlier ones.
pub(crate) struct Stage {
    watch: JoinHandle<()>,
    seen: Arc<Seen>,
    pub(crate) node: Node,
    peer: Node,
    pub(crate) targets: Targets,
}

#[derive(Default)]
struct Seen {
    /// Looks at which the member thought the node gone, and looks in all.
    gone: AtomicU64,
    looks: AtomicU64,
    peak_kib: AtomicU64,
}

/// How to start the two.
#[derive(Clone, Default)]
pub(crate) struct Setup {
    /// The node runs at `nice` 15 on the first processor, where the attackers are, too.
    pub(crate) is_slow: bool,
    /// Both have the cluster key.
    pub(crate) has_key: bool,
    pub(crate) settings: Vec<(&'static str, &'static str)>,
    /// Settings of the attacked node alone.
    pub(crate) own: Vec<(&'static str, String)>,
}

/// The words that start a node on a processor of slow attackers' choice.
pub(crate) fn slow_words() -> Vec<String> {
    ["taskset", "-c", "0", "nice", "-n", "15"].map(str::to_string).to_vec()
}

impl Stage {
    pub(crate) async fn start(setup: &Setup) -> Stage {
        let mut settings = setup.settings.clone();
        if setup.has_key {
            settings.push(("STEMEDB_CLUSTER_KEY", KEY));
        }
        let words = if setup.is_slow { slow_words() } else { Vec::new() };
        let own = setup.own.iter().map(|(name, value)| (*name, value.as_str()));
        let node =
            Node::start_under(&words, &settings.iter().copied().chain(own).collect::<Vec<_>>());
        let seed = node.rpc.to_string();
        settings.push(("STEMEDB_SEEDS", &seed));
        let peer = Node::start(&settings);
        for (one, other) in [(&node, &peer), (&peer, &node)] {
            let id = other.id().await;
            until("the two see each other", async || {
                one.members().await.get(&id).is_some_and(|state| state == "Alive")
            })
            .await;
        }
        let point = r#"{"subject":"point","predicate":"p","object":{"type":"Number","value":1}}"#;
        node.assert(&serde_json::from_str(point).expect("JSON")).await;
        let targets = Targets {
            http: Some(node.http),
            rpc: node.rpc,
            path: "/v1/query?subject=point&predicate=p".to_string(),
            key: setup.has_key.then_some(KEY),
        };
        let seen = Arc::new(Seen::default());
        let watch = tokio::spawn(watch(peer.http, node.id().await, node.pid(), seen.clone()));
        Stage { watch, seen, node, peer, targets }
    }

    /// Starts a new count of peak memory and of looks at which the node was gone.
    pub(crate) fn start_count(&self) -> u64 {
        self.seen.gone.store(0, Ordering::Relaxed);
        self.seen.looks.store(0, Ordering::Relaxed);
        let before = resident_kib(self.node.pid());
        self.seen.peak_kib.store(before, Ordering::Relaxed);
        before
    }

    /// Looks since then, and at how many of them the member did not think the node alive.
    pub(crate) fn gone(&self) -> (u64, u64) {
        (self.seen.looks.load(Ordering::Relaxed), self.seen.gone.load(Ordering::Relaxed))
    }

    pub(crate) fn memory(&self, before: u64) -> Memory {
        Memory { before, peak: self.seen.peak_kib.load(Ordering::Relaxed), after: 0 }
    }

    /// Until the member holds what the node holds, and the node has nothing left to push.
    pub(crate) async fn wait_for_member(&self) {
        let _ = self.peer.sync().await;
        let root = self.node.root().await;
        until("the member holds it all", async || self.peer.root().await == root).await;
        until("nothing waits to be pushed", async || {
            self.node.get("/v1/cluster/status").await["gossip"]["waiting"] == 0
        })
        .await;
    }

    /// The member.
    pub(crate) fn peer(&self) -> &Node {
        &self.peer
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

async fn watch(peer: std::net::SocketAddr, id: String, pid: u32, seen: Arc<Seen>) {
    let mut looks = tokio::time::interval(LOOK);
    loop {
        looks.tick().await;
        seen.peak_kib.fetch_max(resident_kib(pid), Ordering::Relaxed);
        let Ok(answer) = api::get(peer, "/v1/cluster/status").await else { continue };
        let status = answer.json();
        let members = status["members"].as_array().expect("a list of members");
        let state = members.iter().find(|it| it["node_id"] == id.as_str());
        let is_alive = state.is_some_and(|it| it["state"] == "Alive");
        seen.looks.fetch_add(1, Ordering::Relaxed);
        seen.gone.fetch_add(u64::from(!is_alive), Ordering::Relaxed);
    }
}

/// Resident memory of a process; 0 when it is gone.
pub(crate) fn resident_kib(pid: u32) -> u64 {
    status_kib(pid, "VmRSS:")
}

/// The most that it ever was.
pub(crate) fn peak_kib(pid: u32) -> u64 {
    status_kib(pid, "VmHWM:")
}

fn status_kib(pid: u32, name: &str) -> u64 {
    let path = PathBuf::from(format!("/proc/{pid}/status"));
    let status = std::fs::read_to_string(path).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

/// Puts the calling thread on a processor.
pub(crate) fn pin(processor: usize) {
    let mut set = rustix::thread::CpuSet::new();
    set.set(processor);
    rustix::thread::sched_setaffinity(None, &set).expect("the processor exists");
}

/// The number of the last processor.
pub(crate) fn last_processor() -> usize {
    std::thread::available_parallelism().map_or(0, |count| count.get() - 1)
}
