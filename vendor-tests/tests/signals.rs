//! Signals at the built program: what reloads, what is ignored.

use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request};
use vendor_tests::api;
use vendor_tests::claims::claim;
use vendor_tests::node::{Node, ONE_CLUSTER};
use vendor_tests::pb::PingRequest;
use vendor_tests::wait::until;

fn send(node: &Node, signal: Signal) {
    let id = i32::try_from(node.pid()).ok().and_then(Pid::from_raw).expect("a process");
    kill_process(id, signal).expect("our child");
}

fn count(node: &Node, text: &str) -> usize {
    node.log().lines().filter(|line| line.contains(text)).count()
}

/// Has the node reload, and waits until it said so.
async fn reload(node: &Node) {
    let before = count(node, "INFO reload: SIGHUP: ");
    send(node, Signal::HUP);
    let said = async || count(node, "INFO reload: SIGHUP: ") > before;
    until("it says what it reloaded", said).await;
}

#[tokio::test]
async fn stray_signals_end_nothing() {
    let mut node = Node::start(&[]);
    for signal in [
        Signal::USR1,
        Signal::USR2,
        Signal::ALARM,
        Signal::VTALARM,
        Signal::PROF,
        Signal::IO,
        Signal::POWER,
        Signal::STKFLT,
        Signal::PIPE,
        Signal::XFSZ,
        Signal::HUP,
    ] {
        send(&node, signal);
        node.get("/v1/health").await;
        assert!(node.is_running(), "{signal:?}");
    }
    until("it says that there is nothing", async || count(&node, "no setting comes from") == 1)
        .await;
    assert!(node.stop().success());
}

/// Files of settings.
struct Files(TempDir);

impl Files {
    fn new() -> Files {
        Files(tempfile::tempdir().expect("a temp dir"))
    }

    fn put(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.to_str().expect("a plain path").to_owned()
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

#[tokio::test]
async fn a_hang_up_takes_the_log_level_and_the_api_key_from_their_files() {
    let files = Files::new();
    let peer = Node::start(&[]);
    let node = Node::start(&[
        ("STEMEDB_LOG_LEVEL_FILE", &files.put("level", "info\n")),
        ("STEMEDB_AUTH_ENABLED", "true"),
        ("STEMEDB_ROOT_API_KEY_FILE", &files.put("key", "open-sesame\n")),
        ("STEMEDB_SEEDS", &peer.rpc.to_string()),
    ]);
    let status = async |key: &str, body: Option<&Value>| {
        let header = format!("x-api-key: {key}\r\n");
        let path = if body.is_some() { "/v1/admin/sync" } else { "/v1/query" };
        api::ask(node.http, path, body, &header).await.expect("an answer").status
    };
    let logs_syncs = async |key: &str| {
        let before = count(&node, "DEBUG anti_entropy: sync with");
        assert_eq!(status(key, Some(&Value::Null)).await, 200);
        // What is said next, whatever the level, comes after it.
        reload(&node).await;
        count(&node, "DEBUG anti_entropy: sync with") > before
    };
    until("it has met the other", async || node.log().contains("is Alive")).await;
    assert!(!logs_syncs("open-sesame").await);
    assert_eq!(count(&node, "SIGHUP: nothing is new"), 1, "{}", node.log());

    files.put("level", "debug");
    files.put("key", "open-barley");
    reload(&node).await;
    let news = "SIGHUP: the log level is debug, another root API key";
    assert_eq!(count(&node, news), 1, "{}", node.log());
    assert_eq!([status("open-sesame", None).await, status("open-barley", None).await], [403, 200]);
    assert!(logs_syncs("open-barley").await, "{}", node.log());

    // What cannot be used changes nothing, and is logged.
    files.put("level", "loud");
    std::fs::remove_file(files.path().join("key")).expect("it is there");
    reload(&node).await;
    assert_eq!(status("open-barley", None).await, 200);
    let log = node.log();
    let errors: Vec<_> = log.lines().filter(|line| line.starts_with("ERROR reload: ")).collect();
    assert_eq!(errors.len(), 2, "{log}");
    assert!(errors[0].contains("STEMEDB_LOG_LEVEL_FILE") && errors[0].contains("takes error"));
    assert!(errors[1].contains("STEMEDB_ROOT_API_KEY_FILE") && errors[1].contains("No such file"));
    assert!(errors.iter().all(|line| line.ends_with("; the old value stays")), "{log}");
    assert!(!log.contains("sesame") && !log.contains("barley"), "{log}");
    files.put("level", "info");
    files.put("key", "open-barley");
    reload(&node).await;
    assert!(!logs_syncs("open-barley").await, "{}", node.log());
}

/// What a member is answered that calls with a key.
async fn ping(node: &Node, key: &'static str) -> Code {
    let mut request = Request::new(PingRequest::default());
    request.metadata_mut().insert("x-stemedb-cluster-key", MetadataValue::from_static(key));
    let answer = node.client().await.ping(request).await;
    answer.map_or_else(|status| status.code(), |_| Code::Ok)
}

#[tokio::test]
async fn a_hang_up_takes_the_cluster_key_from_its_file_and_sets_are_compared_under_it() {
    const SHARED: u64 = 600;
    let files = Files::new();
    let key = files.put("key", "correct-horse");
    let one = Node::start(&[ONE_CLUSTER, ("STEMEDB_CLUSTER_KEY_FILE", &key)]);
    let seeds = one.rpc.to_string();
    let two = Node::start(&[("STEMEDB_CLUSTER_KEY_FILE", &key), ("STEMEDB_SEEDS", &seeds)]);
    for number in 0..SHARED {
        one.assert(&claim(number)).await;
    }
    let error = async || two.sync().await[0]["error"].clone();
    until("they converge", async || {
        error().await.is_null() && one.root().await == two.root().await
    })
    .await;

    files.put("key", "battery-staple");
    reload(&one).await;
    assert_eq!(count(&one, "SIGHUP: another cluster key"), 1, "{}", one.log());
    assert_eq!(ping(&one, "correct-horse").await, Code::Unauthenticated);
    assert_eq!(ping(&one, "battery-staple").await, Code::Ok);
    assert!(error().await.to_string().contains("UNAUTHENTICATED"));
    reload(&two).await;
    until("they talk again", async || error().await.is_null()).await;

    // One that was started with the key finds out what differs for the price of the difference.
    let three = Node::start(&[ONE_CLUSTER, ("STEMEDB_CLUSTER_KEY", "battery-staple")]);
    for number in 0..SHARED + 10 {
        three.assert(&claim(number)).await;
    }
    let settings =
        [ONE_CLUSTER, ("STEMEDB_CLUSTER_KEY", "battery-staple"), ("STEMEDB_SEEDS", &*seeds)];
    let three = three.restart_with(&settings);
    let report = three.sync().await[0].clone();
    assert!(report["error"].is_null() && report["sent"] == 10, "{report}");
    let count = |field: &str| report[field].as_u64().expect("a number");
    let compared = count("bytes_in") + count("bytes_out") - count("body_bytes");
    assert!(compared < SHARED * 32 / 4, "{report}");
    assert_eq!(one.root().await, three.root().await);
    assert!(!one.log().contains("horse") && !one.log().contains("staple"), "{}", one.log());
}
