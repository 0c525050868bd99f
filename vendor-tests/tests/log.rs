//! What others can do to the log.

use std::io::{BufRead, BufReader, PipeReader};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Stdio};

use rustix::pipe::fcntl_setpipe_size;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use vendor_tests::api;
use vendor_tests::claims::claim;
use vendor_tests::node::{self, Node};
use vendor_tests::peer::{Manner, Peer};
use vendor_tests::wait::until;

/// Each claim is pushed to the peer, which refuses each with a text that starts lines of its own.
#[tokio::test]
async fn a_peer_that_refuses_everything_is_one_line_and_writes_none_itself() {
    let peer = Peer::start(Manner::Refusing, []).await;
    let node = Node::start(&[("STEMEDB_SEEDS", &peer.address.to_string())]);
    until("the peer is a member", async || node.members().await.len() == 2).await;
    let mut number = 0;
    until("many pushes are refused", async || {
        for _ in 0..10 {
            node.assert(&claim(number)).await;
            number += 1;
        }
        peer.calls("Gossip") >= 100
    })
    .await;
    let log = node.log();
    let refusals: Vec<_> = log.lines().filter(|line| line.contains(" refuses ")).collect();
    assert_eq!(refusals.len(), 1, "{log}");
    let forged = "the shelf is full\\nERROR node: forged \\u{1b}[2J";
    assert!(refusals[0].starts_with("WARN client: ") && refusals[0].ends_with(forged), "{log}");
    // The report of a session is for terminals, too.
    let report = node.sync().await[0]["error"].to_string();
    assert!(!report.contains('\u{1b}') && report.contains("forged \\\\u{1b}"), "{report}");
}

/// Two nodes, of which the log of the first is at the other end of a pipe of one page.
struct Unread {
    child: Child,
    log: PipeReader,
    at: SocketAddr,
    _peer: Node,
    _dir: TempDir,
}

impl Unread {
    async fn start() -> Unread {
        let peer = Node::start(&[]);
        let (log, end) = std::io::pipe().expect("a pipe");
        fcntl_setpipe_size(&end, 4096).expect("a page at least");
        let dir = tempfile::tempdir().expect("a temp dir");
        let at = free_address();
        let mut command = node::command();
        command.env("STEMEDB_DATA_DIR", dir.path()).env("STEMEDB_BIND_ADDR", at.to_string());
        command.env("STEMEDB_GATEWAY_ADDR", "127.0.0.1:0").env("STEMEDB_RPC_ADDR", "127.0.0.1:0");
        command.env("STEMEDB_SEEDS", peer.rpc.to_string()).env("STEMEDB_LOG", "debug");
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(end).spawn();
        let child = child.expect("the node starts");
        until("it has met the other", async || {
            let status = api::get(at, "/v1/cluster/status").await.ok();
            status.is_some_and(|it| it.json()["members"].as_array().is_some_and(|it| it.len() > 1))
        })
        .await;
        Unread { child, log, at, _peer: peer, _dir: dir }
    }

    async fn dropped(&self) -> u64 {
        let page = api::get(self.at, "/metrics").await.expect("it answers").text;
        let line = page.lines().find_map(|it| it.strip_prefix("stemedb_log_lines_dropped_total "));
        line.expect("a metric").parse().expect("a number")
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address that was free a moment ago.
fn free_address() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound")
}

/// Each sync is a line of some hundred bytes.
#[tokio::test]
async fn a_log_that_is_not_read_holds_nothing_up_and_what_is_lost_is_counted_and_logged() {
    let mut node = Unread::start().await;
    until("more lines came than the buffers hold", async || {
        for _ in 0..20 {
            let answer = api::post(node.at, "/v1/admin/sync", &Value::Null).await;
            assert_eq!(answer.expect("it answers").status, 200);
        }
        node.dropped().await > 100
    })
    .await;
    // The test reads again: what waited comes, then how much is missing, then what is new.
    let mut log = BufReader::new(node.log.try_clone().expect("a descriptor")).lines();
    let mut read = 0;
    let dropped = log.by_ref().map(|line| line.expect("UTF-8")).find_map(|line| {
        read += line.len();
        let (_, notice) = line.split_once("WARN logger: ")?;
        notice.split_once(" log lines were dropped")?.0.parse().ok()
    });
    assert!(read > 64 << 10, "{read} bytes waited");
    assert_eq!(dropped, Some(node.dropped().await));
    api::post(node.at, "/v1/admin/sync", &Value::Null).await.expect("it answers");
    assert!(log.next().expect("a line").expect("UTF-8").contains("sync with"));
    // At the end the log is not read, and the node ends all the same.
    let id = Pid::from_child(&node.child);
    for _ in 0..100 {
        api::post(node.at, "/v1/admin/sync", &Value::Null).await.expect("it answers");
    }
    kill_process(id, Signal::TERM).expect("our child");
    assert!(node.child.wait().expect("our child").success());
}

/// The lines of a start, as they come, of a node that may be given their place.
fn first_lines(settings: &[(&str, &str)], stream: impl Fn(u64, u64) -> String) -> Vec<String> {
    let (log, end) = std::io::pipe().expect("a pipe");
    let pipe = std::fs::metadata(format!("/proc/self/fd/{}", end.as_raw_fd())).expect("it is open");
    let dir = tempfile::tempdir().expect("a temp dir");
    let mut command = node::command();
    command.env("STEMEDB_DATA_DIR", dir.path()).env("STEMEDB_BIND_ADDR", "127.0.0.1:0");
    command.env("STEMEDB_GATEWAY_ADDR", "127.0.0.1:0").env("STEMEDB_RPC_ADDR", "127.0.0.1:0");
    command.env("JOURNAL_STREAM", stream(pipe.dev(), pipe.ino())).envs(settings.iter().copied());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(end);
    let mut child = command.spawn().expect("the node starts");
    drop(command);
    let mut lines = Vec::new();
    for line in BufReader::new(log).lines().map(|line| line.expect("UTF-8")) {
        let is_last = line.contains("listening api=");
        lines.push(line);
        if is_last {
            break;
        }
    }
    let _ = child.kill();
    let _ = child.wait();
    assert!(lines.last().is_some_and(|line| line.contains("listening")), "{lines:?}");
    lines
}

/// `2026-11-27T00:10:25.123Z`, of this day.
fn is_time(text: &str) -> bool {
    let shape: String = text.chars().map(|it| if it.is_ascii_digit() { '0' } else { it }).collect();
    shape == "0000-00-00T00:00:00.000Z" && &text[..2] == "20"
}

#[test]
fn lines_have_a_time_which_journald_adds_itself() {
    // A stream of another program: the variable is inherited.
    for line in first_lines(&[], |device, inode| format!("{device}:{}", inode + 1)) {
        let words: Vec<_> = line.splitn(3, ' ').collect();
        assert!(is_time(words[0]) && words[1] == "INFO", "{line}");
    }
    let journal = |device, inode| format!("{device}:{inode}");
    let lines = first_lines(&[("STEMEDB_SEED", "a:1"), ("STEMEDB_OPEN_METRICS", "1")], journal);
    assert!(lines.iter().all(|line| line.starts_with("<6>") || line.starts_with("<4>")));
    assert!(lines.iter().any(|line| line.starts_with("<6>node: listening api=")), "{lines:?}");
}

#[tokio::test]
async fn json_lines_are_objects_whatever_others_send() {
    for journal in [false, true] {
        let stream = |device, inode| if journal { format!("{device}:{inode}") } else { "".into() };
        for line in first_lines(&[("STEMEDB_LOG_FORMAT", "json")], stream) {
            let text = if journal { line.strip_prefix("<6>").expect("a priority") } else { &line };
            let object: Value = serde_json::from_str(text).expect("JSON");
            let keys: Vec<_> = object.as_object().expect("an object").keys().collect();
            assert_eq!(keys, ["level", "message", "target", "time"], "{line}");
            assert!(is_time(object["time"].as_str().expect("text")), "{line}");
        }
    }
    let peer = Peer::start(Manner::Refusing, []).await;
    let seeds = peer.address.to_string();
    let node = Node::start(&[("STEMEDB_SEEDS", &seeds), ("STEMEDB_LOG_FORMAT", "json")]);
    let mut number = 0;
    until("the peer refuses", async || {
        node.assert(&claim(number)).await;
        number += 1;
        node.log().contains(" refuses ")
    })
    .await;
    let log = node.log();
    let objects = log.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let refusal = objects.into_iter().find(|it| it["target"] == "client").expect("a refusal");
    let message = refusal["message"].as_str().expect("text");
    assert!(message.ends_with("the shelf is full\\nERROR node: forged \\u{1b}[2J"), "{message}");
}

#[tokio::test]
async fn each_risky_setting_is_one_warning_at_the_start() {
    const ADDRESSES: [&str; 3] = ["STEMEDB_BIND_ADDR", "STEMEDB_GATEWAY_ADDR", "STEMEDB_RPC_ADDR"];
    let open = ADDRESSES.map(|name| (name, "0.0.0.0:0"));
    let keys = [
        ("STEMEDB_AUTH_ENABLED", "true"),
        ("STEMEDB_ROOT_API_KEY", "open-sesame"),
        ("STEMEDB_CLUSTER_KEY", "correct-horse"),
    ];
    let skip = [("STEMEDB_UNSAFE_SKIP_SIGNATURES", "true")];
    for (settings, expected) in [
        (vec![], vec![]),
        ([&open[..], &keys].concat(), vec![]),
        (skip.to_vec(), vec!["STEMEDB_UNSAFE_SKIP_SIGNATURES"]),
        (open.to_vec(), vec!["API at 0.0.0.0:0", "gateway at 0.0.0.0:0", "gRPC at 0.0.0.0:0"]),
    ] {
        let mut node = Node::start(&settings);
        assert!(node.stop().success());
        let log = node.log();
        let warnings: Vec<_> = log.lines().filter(|line| line.starts_with("WARN ")).collect();
        assert_eq!(warnings.len(), expected.len(), "{log}");
        assert!(warnings.iter().zip(expected).all(|(line, words)| line.contains(words)), "{log}");
    }
}
