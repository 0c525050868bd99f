//! What an operator does to keep the data: copies of a directory in use, lines that come
//! back to the same hashes.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio::io::AsyncWriteExt;
use vendor_tests::api;
use vendor_tests::claims::{claim, fill, gossip, large, opaque};
use vendor_tests::node::{Node, command};
use vendor_tests::pb::GetLeavesRequest;
use vendor_tests::set::{self, Hash};
use vendor_tests::wait::until;

fn run(arguments: &[&str]) -> (i32, String, String) {
    let output = command().args(arguments).output().expect("the program runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code().expect("no signal"), text(output.stdout), text(output.stderr))
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

/// All hashes of a node, which has no more than one page of leaves.
async fn hashes(node: &Node) -> BTreeSet<Hash> {
    let answer = node.client().await.get_leaves(GetLeavesRequest { max_leaves: 0 }).await;
    let answer = answer.expect("the node answers").into_inner();
    assert!(!answer.truncated);
    answer.leaves.iter().map(|leaf| leaf[..].try_into().expect("32 bytes")).collect()
}

/// Writes until it is aborted; what was acknowledged so far is seen from outside.
fn write(node: &Node, acknowledged: &Arc<Mutex<BTreeSet<Hash>>>) -> tokio::task::JoinHandle<()> {
    let (http, acknowledged) = (node.http, acknowledged.clone());
    tokio::spawn(async move {
        for number in 0.. {
            let answer = api::post(http, "/v1/assert", &claim(number)).await.expect("an answer");
            let hash = set::unhex(answer.json()["hash"].as_str().expect("a hash"));
            acknowledged.lock().expect("no thread panics with it").insert(hash);
        }
    })
}

#[tokio::test]
async fn a_backup_of_a_node_at_work_holds_all_that_was_acknowledged_before() {
    let node = Node::start(&[("STEMEDB_DURABILITY", "eventual")]);
    // More than one segment holds.
    let client = node.client().await;
    for number in 0..70 {
        fill(&client, std::iter::once(large(number, 1_000_000))).await;
    }
    let acknowledged = Arc::default();
    let writer = write(&node, &acknowledged);
    let seen = || acknowledged.lock().expect("no thread panics with it").clone();
    until("writes go on", async || seen().len() > 50).await;
    let folder = tempfile::tempdir().expect("a temp dir");
    let copy = folder.path().join("copy");
    let before = seen();
    let (from, to) = (path(node.dir()).to_string(), path(&copy).to_string());
    let backup = tokio::task::spawn_blocking(move || run(&["backup", &from, &to]));
    let (code, said, why) = backup.await.expect("it ends");
    assert_eq!(code, 0, "{why}");
    assert!(said.contains("2 segments, 1 of them linked"), "{said}");
    let links = |number: u32| {
        let file = copy.join(format!("log/{number:010}.seg"));
        std::fs::metadata(file).expect("a segment").nlink()
    };
    assert_eq!((links(0), links(1)), (2, 1), "only what is closed is shared");
    let (code, said, _) = run(&["check", path(&copy)]);
    assert_eq!(code, 0, "{said}");
    assert!(!said.contains("unfinished"), "{said}");

    let written = seen().len();
    until("writes go on", async || seen().len() > written + 20).await;
    let restored = Node::start(&[("STEMEDB_DATA_DIR", path(&copy))]);
    assert_ne!(restored.id().await, node.id().await, "both may live");
    let in_copy = hashes(&restored).await;
    assert!(in_copy.is_superset(&before), "{} of {}", in_copy.len(), before.len());
    writer.abort();
    let _ = writer.await;
    assert!(in_copy.is_subset(&hashes(&node).await));
    // The copy goes its own way.
    let own = restored.assert(&claim(9_999_999)).await;
    assert!(hashes(&restored).await.contains(&own) && !hashes(&node).await.contains(&own));
    assert_eq!(run(&["check", path(node.dir())]).0, 0);
}

#[tokio::test]
async fn what_is_exported_comes_back_to_the_same_hashes() {
    let folder = tempfile::tempdir().expect("a temp dir");
    let node = Node::start(&[("STEMEDB_DURABILITY", "eventual")]);
    let http = format!("http://{}", node.http);
    for number in 0..1500 {
        node.assert(&claim(number)).await;
    }
    // Stamped by the node's clock; odd texts and numbers.
    for text in ["", "\"]}\\{[", "\u{0}\u{7f}\u{fffd}\u{1f980}", "line\nline"] {
        let object = json!({ "type": "Text", "value": text });
        node.assert(&json!({ "subject": "odd \"]}", "predicate": "p", "object": object,
            "visual_hash": "0123456789abcdef", "epoch": "ef".repeat(32), "expires": 5,
            "parent_hash": "ab".repeat(32),
            "source_class": 5, "lifecycle": "Rejected", "confidence": 0.1 }))
            .await;
    }
    for value in [5e-324, f64::MAX, 0.1 + 0.2, -0.0, 1e21] {
        let object = json!({ "type": "Number", "value": value });
        node.assert(&json!({ "subject": "n", "predicate": "p", "object": object })).await;
    }
    let key = folder.path().join("key");
    assert_eq!(run(&["keygen", path(&key)]).0, 0);
    let signed = folder.path().join("signed.ndjson");
    std::fs::write(&signed, format!("{}\n", claim(99_999))).expect("a file");
    assert_eq!(run(&["import", path(&signed), "--to", &http, "--key", path(&key)]).0, 0);
    let mut client = node.client().await;
    for number in 0..3 {
        let answer = client.gossip(gossip(opaque(number))).await.expect("an answer");
        assert!(answer.into_inner().accepted);
    }

    let whole = node.root().await;
    assert_eq!(whole.1, 1500 + 4 + 5 + 1 + 3);
    let (code, by_node, why) = run(&["export", &http]);
    assert_eq!((code, why.as_str()), (0, "stemedb-edge: 1513 assertions exported\n"));
    let (code, by_directory, _) = run(&["export", path(node.dir())]);
    assert_eq!(code, 0);
    let sorted = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    assert_eq!(sorted(&by_node), sorted(&by_directory), "either way the same lines");
    for lines in [by_node, by_directory] {
        let other = Node::start(&[("STEMEDB_DURABILITY", "eventual")]);
        let to = format!("http://{}", other.http);
        let mut import = tokio::process::Command::from(command());
        import.args(["import", "-", "--to", &to]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut import = import.spawn().expect("the program runs");
        let mut pipe = import.stdin.take().expect("piped");
        pipe.write_all(lines.as_bytes()).await.expect("it reads");
        drop(pipe);
        let report = import.wait_with_output().await.expect("it ends");
        assert!(report.status.success(), "{}", String::from_utf8_lossy(&report.stdout));
        assert_eq!(other.root().await, whole);
    }
}

#[tokio::test]
async fn an_index_kept_at_a_stop_is_the_next_starts_and_hides_no_damage() {
    let mut node = Node::start(&[("STEMEDB_DURABILITY", "eventual")]);
    fill(&node.client().await, (0..10_000).map(opaque)).await;
    let whole = node.root().await;
    assert!(node.stop().success());
    let index = node.dir().join("index/manifest");
    assert!(index.exists());
    let mut node = node.restart_dead();
    assert!(node.log().contains("10000 by the kept index"), "{}", node.log());
    assert_eq!(node.root().await, whole);
    fill(&node.client().await, (10_000..10_100).map(opaque)).await;
    let more = node.root().await;
    node.kill();
    let mut node = node.restart_dead();
    assert!(node.log().contains("10000 by the kept index"), "{}", node.log());
    assert_eq!(node.root().await, more, "what came since is read from the log");
    assert!(node.stop().success());
    let segment = node.dir().join("log/0000000000.seg");
    let mut bytes = std::fs::read(&segment).expect("read");
    bytes[5000] ^= 1;
    std::fs::write(&segment, bytes).expect("written");
    for start in 0..2 {
        node = node.restart_dead();
        let damaged = node.get("/v1/health").await["damaged_count"].clone();
        assert_eq!(damaged, 1, "start {start}: {}", node.log());
        assert!(node.stop().success());
        assert!(!index.exists(), "it would hide the damage");
    }
}

/// Bytes of a run's head; pages of hashes follow.
const RUN_HEAD_BYTES: usize = 32;

#[tokio::test]
async fn damaged_hashes_and_positions_end_the_node_and_the_log_makes_the_index_anew() {
    let mut node = Node::start(&[("STEMEDB_DURABILITY", "eventual")]);
    fill(&node.client().await, (0..10_000).map(opaque)).await;
    let whole = node.root().await;
    assert!(node.stop().success());
    let index = node.dir().join("index");
    let files = std::fs::read_dir(&index).expect("an index").map(|file| file.expect("read").path());
    let run = files.into_iter().find(|path| path.extension().is_some_and(|it| it == "run"));
    let run = run.expect("one run");
    let mut bytes = std::fs::read(&run).expect("read");
    // Positions follow 10,000 hashes of 35 bytes; a start reads the last of them.
    bytes[RUN_HEAD_BYTES..][..360_000].iter_mut().for_each(|byte| *byte ^= 1);
    std::fs::write(&run, bytes).expect("written");
    let mut node = node.restart_dead();
    assert!(node.log().contains("10000 by the kept index"), "{}", node.log());
    // No answer comes, for a page of the index has to be looked at.
    let wanted = format!("/v1/assertions/{}", set::hex(&set::hash(&opaque(7))));
    assert!(api::get(node.http, &wanted).await.is_err(), "{}", node.log());
    until("the node has ended", async || !node.is_running()).await;
    assert!(node.log().contains("is not what was written"), "{}", node.log());
    assert!(!index.join("manifest").exists());
    let mut node = node.restart_dead();
    assert!(node.log().contains(" 0 by the kept index"), "{}", node.log());
    assert_eq!(node.root().await, whole);
    assert!(node.stop().success());
}
