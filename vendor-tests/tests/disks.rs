//! Disks that lose files, and an index that cannot be written: said aloud, and repaired from what
//! is left and from other nodes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde_json::Value;
use vendor_tests::api;
use vendor_tests::claims::{claim, fill, opaque};
use vendor_tests::faults::Faults;
use vendor_tests::node::{Node, ONE_CLUSTER, command};
use vendor_tests::set;
use vendor_tests::wait::until;

/// Assertions of a set whose index has many pages.
const INDEXED: u64 = 10_000;
/// The exit code after a failed write or flush.
const EXIT_DISK: i32 = 74;

fn segment(node: &Node) -> PathBuf {
    node.dir().join("log/0000000000.seg")
}

/// Exit code, output and errors of a command.
fn run(words: &[&str]) -> (i32, String, String) {
    let output = command().args(words).output().expect("the program runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code().expect("no signal"), text(output.stdout), text(output.stderr))
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

/// A node with an index, stopped.
async fn stopped(settings: &[(&str, &str)]) -> Node {
    stopped_with(INDEXED, settings).await
}

async fn stopped_with(count: u64, settings: &[(&str, &str)]) -> Node {
    let settings = [settings, &[("STEMEDB_DURABILITY", "eventual")]].concat();
    let mut node = Node::start(&settings);
    fill(&node.client().await, (0..count).map(opaque)).await;
    assert!(node.stop().success());
    assert!(node.dir().join("index/manifest").exists());
    node
}

#[tokio::test]
async fn a_log_that_was_cut_is_damaged_and_comes_back_by_the_names_in_the_index() {
    let peer = Node::start(&[ONE_CLUSTER, ("STEMEDB_DURABILITY", "eventual")]);
    fill(&peer.client().await, (0..INDEXED).map(opaque)).await;
    let whole = peer.root().await;
    let seed = peer.rpc.to_string();
    // Anti-entropy is off: what comes back was asked for by its hash.
    let node = stopped(&[ONE_CLUSTER, ("STEMEDB_SCRUB_RATE", "off")]).await;
    let file = File::options().write(true).open(segment(&node)).expect("a segment");
    let length = file.metadata().expect("it is there").len();
    file.set_len(length - 40_000).expect("cut");
    let (code, said, _) = run(&["check", path(node.dir())]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("was here and is lost"), "{said}");

    let mut node = node.restart_dead();
    let health = node.get("/v1/health").await;
    let lost = INDEXED - health["assertions_count"].as_u64().expect("a number");
    assert!(lost > 100 && health["status"] == "damaged", "{health}");
    assert_eq!(health["damaged_count"], lost, "{health}");
    assert!(node.log().contains("are not there any more"), "{}", node.log());
    // It knows them in its next life, too, though the index was made anew.
    node.kill();
    let node = node.restart_dead();
    assert_eq!(node.get("/v1/health").await["damaged_count"], lost);
    let url = format!("http://{}", node.http);
    let (code, said, _) = run(&["status", &url]);
    assert!(code == 1 && said.contains("DAMAGED"), "{code}: {said}");
    let (code, _, why) = run(&["export", &url]);
    assert!(code == 1 && why.contains("not all"), "{code}: {why}");

    let settings = [ONE_CLUSTER, ("STEMEDB_SEEDS", &*seed), ("STEMEDB_SCRUB_RATE", "off")];
    let mut node = node.restart_with(&settings);
    until("it is whole again", async || node.root().await == whole).await;
    until("and says so", async || node.get("/v1/health").await["status"] == "ok").await;
    assert!(node.stop().success());
    let (code, said, _) = run(&["check", path(node.dir())]);
    assert_eq!(code, 0, "{said}");
    let mut node = node.restart_dead();
    assert_eq!(node.get("/v1/health").await["damaged_count"], 0);
    assert!(!node.dir().join("lost").exists());
    assert!(node.stop().success());
}

#[tokio::test]
async fn an_empty_log_beside_an_index_is_damaged() {
    let spoils = [("cut to nothing", INDEXED), ("removed", INDEXED), ("cut to nothing", 3)];
    for (spoil, count) in spoils {
        let node = stopped_with(count, &[]).await;
        match spoil {
            "removed" => fs::remove_file(segment(&node)).expect("removed"),
            _ => drop(File::create(segment(&node)).expect("cut")),
        }
        assert_eq!(run(&["check", path(node.dir())]).0, 1, "{spoil}");
        let node = node.restart_dead();
        let health = node.get("/v1/health").await;
        assert_eq!(health["damaged_count"], count, "{spoil}: {health}");
        assert_eq!(health["status"], "damaged", "{spoil}: {health}");
        let log = node.log();
        assert!(
            log.contains("ERROR") && log.contains(&format!("{count} records")),
            "{spoil}: {log}"
        );
        node.assert(&claim(1)).await;
    }
}

/// The file of a run of the index.
fn a_run(node: &Node) -> PathBuf {
    let index = fs::read_dir(node.dir().join("index")).expect("an index");
    let mut runs = index.map(|file| file.expect("read").path());
    runs.find(|path| path.extension().is_some_and(|it| it == "run")).expect("a run")
}

/// One bit of a file, the other way round.
fn flip(file: &Path, at: usize) {
    let mut bytes = fs::read(file).expect("read");
    bytes[at] ^= 1;
    fs::write(file, bytes).expect("written");
}

#[tokio::test]
async fn a_bad_page_of_the_index_is_made_again_while_the_node_runs() {
    let mut node = stopped(&[]).await.restart_dead();
    let whole = node.root().await;
    let run = a_run(&node);
    let written = fs::read(&run).expect("read");
    // Hashes first, then positions: each hash is 35 bytes, behind a head of 28.
    for at in [5000, 28 + 35 * INDEXED as usize + 100] {
        flip(&run, at);
        // All are there already: to know that, each is looked for.
        fill(&node.client().await, (0..INDEXED).map(opaque)).await;
        assert_eq!(node.root().await, whole, "{}", node.log());
        assert!(node.log().contains("was made again"), "{}", node.log());
        assert_eq!(fs::read(&run).expect("read"), written, "{}", node.log());
    }
    assert!(node.stop().success(), "{}", node.log());
}

#[tokio::test]
async fn an_index_that_cannot_be_written_is_done_without() {
    for word in ["index-eio", "index-eperm"] {
        let faults = Faults::new();
        let settings = faults.settings();
        let mut settings: Vec<(&str, &str)> =
            settings.iter().map(|(name, text)| (*name, &**text)).collect();
        settings.push(("STEMEDB_DURABILITY", "eventual"));
        // None was kept, and none can be; at a start it would be made anew.
        let mut node = Node::start(&settings);
        fill(&node.client().await, (0..INDEXED).map(opaque)).await;
        node.kill();
        faults.set(word);
        let mut node = node.restart_dead();
        assert!(node.log().contains("stays in memory"), "{word}: {}", node.log());
        assert_eq!(node.root().await.1, INDEXED, "{word}");
        node.assert(&claim(1)).await;
        assert!(node.stop().success(), "{word}: {}", node.log());
        // It can be written again, and is.
        faults.set("none");
        let mut node = node.restart_dead();
        assert!(node.dir().join("index/manifest").exists(), "{word}: {}", node.log());
        assert!(node.stop().success());
        // One is kept, and nothing of it can be changed: it is read.
        faults.set(word);
        let mut node = node.restart_dead();
        assert!(node.log().contains("10001 by the kept index"), "{word}: {}", node.log());
        node.assert(&claim(2)).await;
        let whole = node.root().await;
        assert!(node.stop().success(), "{word}: {}", node.log());
        // Nor can a damaged one be removed: it is not believed.
        flip(&a_run(&node), 5000);
        let mut node = node.restart_dead();
        assert!(node.log().contains(" 0 by the kept index"), "{word}: {}", node.log());
        assert_eq!(node.root().await, whole, "{word}");
        assert!(node.stop().success(), "{word}: {}", node.log());
        assert!(faults.failures() > 0);
    }
}

#[tokio::test]
async fn a_directory_that_is_removed_under_a_node_ends_it_and_nothing_is_acknowledged() {
    for at_work in [true, false] {
        let mut node = Node::start(&[("STEMEDB_DURABILITY", "eventual")]);
        for number in 0..20 {
            node.assert(&claim(number)).await;
        }
        fs::remove_dir_all(node.dir()).expect("removed");
        if at_work {
            let answer = api::post(node.http, "/v1/assert", &claim(20)).await;
            assert!(answer.is_err(), "no answer may say that it is durable: {answer:?}");
        }
        assert_eq!(node.ended().await.code(), Some(EXIT_DISK), "{}", node.log());
        let log = node.log();
        assert!(log.contains("ERROR") && log.contains("was removed"), "{log}");
    }
    // Moved away, and another in its folder: what is written is in no directory that can be opened.
    let mut node = Node::start(&[]);
    node.assert(&claim(0)).await;
    let away = node.dir().with_extension("away");
    fs::rename(node.dir(), &away).expect("moved");
    fs::create_dir(node.dir()).expect("made");
    assert_eq!(node.ended().await.code(), Some(EXIT_DISK), "{}", node.log());
    fs::remove_dir_all(&away).expect("removed");
}

#[tokio::test]
async fn copies_and_exports_of_a_damaged_node_report_the_damage() {
    let folder = tempfile::tempdir().expect("a temp dir");
    let mut node = Node::start(&[("STEMEDB_SCRUB_RATE", "off")]);
    for number in 0..30 {
        node.assert(&claim(number)).await;
    }
    let mut bytes = fs::read(segment(&node)).expect("read");
    // A bit of a record under the running node, which only a read finds.
    bytes[2000] ^= 1;
    fs::write(segment(&node), &bytes).expect("written");
    let url = format!("http://{}", node.http);
    let (code, lines, why) = run(&["export", &url]);
    assert_eq!((code, lines.lines().count()), (1, 29), "{why}");
    assert!(why.contains("not all"), "{why}");
    let (code, said, _) = run(&["status", &url]);
    assert!(code == 1 && said.contains("DAMAGED: 1"), "{said}");
    assert!(node.stop().success());
    let copy = folder.path().join("copy");
    let (code, said, _) = run(&["backup", path(node.dir()), path(&copy)]);
    assert!(code == 1 && said.contains("1 damaged, 0 of them repaired"), "{code}: {said}");
    let (code, lines, why) = run(&["export", path(node.dir())]);
    assert_eq!((code, lines.lines().count()), (1, 29), "{why}");
}

#[tokio::test]
async fn a_backup_is_as_damaged_as_its_original() {
    for length in [0, 5_000] {
        let folder = tempfile::tempdir().expect("a temp dir");
        let node = stopped_with(200, &[]).await;
        let file = File::options().write(true).open(segment(&node)).expect("a segment");
        file.set_len(length).expect("cut");
        let copy = folder.path().join("copy");
        let (code, said, _) = run(&["backup", path(node.dir()), path(&copy)]);
        assert_eq!(code, 1, "{said}");
        let (again, output, _) = run(&["check", path(&copy)]);
        assert!(again == 1 && output.contains("was here and is lost"), "{again}: {output}");
        let started = Node::start(&[("STEMEDB_DATA_DIR", path(&copy))]);
        let health = started.get("/v1/health").await;
        let lost = 200 - health["assertions_count"].as_u64().expect("a number");
        assert_eq!(
            (&health["status"], &health["damaged_count"]),
            (&"damaged".into(), &lost.into())
        );
    }
}

#[tokio::test]
async fn a_damaged_head_is_said_under_a_running_node_and_made_anew_by_a_start() {
    let mut node = Node::start(&[("STEMEDB_SCRUB_RATE", "1G")]);
    for number in 0..5 {
        node.assert(&claim(number)).await;
    }
    let mut bytes = fs::read(segment(&node)).expect("read");
    bytes[9] ^= 1;
    fs::write(segment(&node), &bytes).expect("written");
    until("the scrubber finds it", async || node.get("/v1/health").await["status"] == "damaged")
        .await;
    let health = node.get("/v1/health").await;
    let damaged = &health["damaged"][0];
    assert_eq!((&damaged["offset"], &damaged["hash"]), (&0.into(), &Value::Null), "{health}");
    assert_eq!(health["assertions_count"], 5, "no record is lost by it");
    assert_eq!(run(&["check", path(node.dir())]).0, 1);
    assert!(node.stop().success());
    let mut node = node.restart_dead();
    until("the start logs it", async || {
        let log = node.log();
        log.contains("damage segment=0 offset=0") && log.contains("repaired")
    })
    .await;
    assert_eq!(node.get("/v1/health").await["status"], "ok");
    assert!(node.stop().success());
    assert_eq!(run(&["check", path(node.dir())]).0, 0);
}

#[tokio::test]
async fn a_new_segment_without_a_descriptor_is_503_and_comes_later() {
    let faults = Faults::new();
    let node = faults.start();
    faults.set("emfile");
    let answer = api::post(node.http, "/v1/assert", &claim(1)).await.expect("an answer");
    assert_eq!(answer.status, 503, "{}", answer.text);
    assert_eq!(answer.json()["error"]["code"], "no_descriptors");
    until("it is logged", async || node.log().contains("no file descriptor is left")).await;
    let (log, line) = (node.log(), "no file descriptor is left");
    let logged = log.lines().find(|it| it.contains(line)).expect("just seen");
    assert!(logged.starts_with("WARN"), "{log}");
    assert_eq!(node.get("/v1/health").await["writes"], "no_descriptors");
    // It serves reads: clients are sent to it all the same.
    assert_eq!(node.get("/v1/health/ready").await["writes"], "no_descriptors");
    faults.set("none");
    let hash = node.assert(&claim(1)).await;
    node.get(&format!("/v1/assertions/{}", set::hex(&hash))).await;
}

#[tokio::test]
async fn idle_connections_give_way_to_others_however_few_descriptors_there_are() {
    let few = ["sh", "-c", "ulimit -n 60; exec \"$@\"", "sh"].map(str::to_owned);
    let node = Node::start_under(&few, &[]);
    let mut idle = Vec::new();
    for _ in 0..50 {
        idle.push(tokio::net::TcpStream::connect(node.http).await.expect("it listens"));
    }
    until("a newcomer is answered", async || api::get(node.http, "/v1/health").await.is_ok()).await;
    assert!(api::get(node.gateway, "/v1/health").await.is_ok(), "{}", node.log());
    drop(idle);
}
