//! A disk that misbehaves under the built program: short writes, writes and flushes that fail, no
//! space; and kill -9, again and again. What was acknowledged is there afterwards.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use vendor_tests::api::{self, Answer};
use vendor_tests::claims::claim;
use vendor_tests::faults::Faults;
use vendor_tests::node::{Node, command};
use vendor_tests::set::{self, Hash};
use vendor_tests::wait::until;

/// Rounds of writing and killing.
const KILLS: u64 = 25;
/// Clients that write at once.
const CLIENTS: u64 = 4;
/// The exit code after a failed write or flush.
const EXIT_DISK: i32 = 74;
/// The least disk budget, in bytes.
const BUDGET: u64 = 64 << 10;

async fn write(node: &Node, number: u64) -> std::io::Result<Answer> {
    api::post(node.http, "/v1/assert", &claim(number)).await
}

fn hash(answer: &Answer) -> Hash {
    set::unhex(answer.json()["hash"].as_str().unwrap_or_else(|| panic!("{}", answer.text)))
}

async fn write_all(node: &Node, numbers: std::ops::Range<u64>) -> BTreeSet<Hash> {
    let mut hashes = BTreeSet::new();
    for number in numbers {
        let answer = write(node, number).await.expect("an answer");
        assert_eq!(answer.status, 201, "{}", answer.text);
        hashes.insert(hash(&answer));
    }
    hashes
}

async fn assert_all_there(node: &Node, hashes: &BTreeSet<Hash>) {
    for hash in hashes {
        let found = api::get(node.http, &format!("/v1/assertions/{}", set::hex(hash))).await;
        let found = found.expect("an answer");
        assert_eq!(found.status, 200, "an acknowledged claim is gone: {}", found.text);
    }
}

fn check(node: &Node) -> String {
    let output = command().arg("check").arg(node.dir()).output().expect("the program runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[tokio::test]
async fn short_writes_are_finished() {
    let faults = Faults::new();
    let mut node = faults.start();
    faults.set("short");
    let hashes = write_all(&node, 0..30).await;
    assert!(faults.failures() > 30 * 20, "{} short writes", faults.failures());
    node.kill();
    assert!(check(&node).contains("30 records"), "{}", check(&node));
    let node = node.restart_with(&[]);
    assert_all_there(&node, &hashes).await;
}

#[tokio::test]
async fn a_failed_write_or_flush_ends_the_node_and_the_next_start_has_all_that_was_acknowledged() {
    for fault in ["write-eio", "sync-eio"] {
        let faults = Faults::new();
        let mut node = faults.start();
        let hashes = write_all(&node, 0..5).await;
        faults.set(fault);
        let answer = write(&node, 5).await;
        assert!(answer.is_err(), "{fault}: no answer may say that it is durable: {answer:?}");
        let code = node.ended().await.code();
        assert_eq!(code, Some(EXIT_DISK), "{fault}: {}", node.log());
        assert_eq!(faults.failures(), 1, "{fault}: it was tried again");
        let node = node.restart_with(&[]);
        assert_all_there(&node, &hashes).await;
        write_all(&node, 6..8).await;
    }
}

#[tokio::test]
async fn a_full_disk_refuses_serves_and_takes_writes_again_when_there_is_space() {
    let faults = Faults::new();
    let node = faults.start();
    let mut hashes = write_all(&node, 0..5).await;
    faults.set("full");
    for number in 5..8 {
        let answer = write(&node, number).await.expect("an answer");
        assert_eq!(answer.status, 507, "{}", answer.text);
    }
    assert_all_there(&node, &hashes).await;
    faults.set("none");
    hashes.append(&mut write_all(&node, 5..9).await);
    let node = node.restart_with(&[]);
    assert_all_there(&node, &hashes).await;
    assert!(check(&node).contains("9 records"), "{}", check(&node));
}

#[tokio::test]
async fn a_node_killed_again_and_again_loses_nothing_that_was_acknowledged() {
    let acknowledged: Arc<Mutex<BTreeSet<Hash>>> = Arc::default();
    let seen = || acknowledged.lock().expect("no thread panics with it").clone();
    let mut node = Node::start(&[]);
    for round in 0..KILLS {
        let before = seen().len();
        let http = node.http;
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let acknowledged = acknowledged.clone();
                tokio::spawn(async move {
                    for number in 0.. {
                        let number = (round * CLIENTS + client) * 1_000_000 + number;
                        let asked = api::post(http, "/v1/assert", &claim(number)).await;
                        let Ok(answer) = asked else { return };
                        if answer.status == 201 {
                            let mut all = acknowledged.lock().expect("no thread panics with it");
                            all.insert(hash(&answer));
                        }
                    }
                })
            })
            .collect();
        // Some rounds end at once, some after more writes.
        let enough = before + (round as usize * 7) % 40;
        until("writes go on", async || seen().len() >= enough).await;
        node.kill();
        for client in clients {
            client.await.expect("it ends with the node");
        }
        node = node.restart_dead();
        let new: BTreeSet<Hash> = seen();
        let count = node.get("/v1/health").await["assertions_count"].as_u64().expect("a number");
        assert!(count >= new.len() as u64, "round {round}: {count} of {}", new.len());
    }
    let all = seen();
    println!("{KILLS} kills, {} acknowledged claims", all.len());
    assert!(all.len() > 100);
    assert_all_there(&node, &all).await;
}

#[tokio::test]
async fn the_disk_budget_is_kept_to_one_record() {
    let node = Node::start(&[("STEMEDB_MAX_LOG_BYTES", "64K")]);
    let mut hashes = BTreeSet::new();
    let refused = loop {
        let number = hashes.len() as u64;
        let answer = write(&node, number).await.expect("an answer");
        if answer.status != 201 {
            break answer;
        }
        hashes.insert(hash(&answer));
    };
    assert_eq!(refused.status, 507, "{}", refused.text);
    assert!(refused.text.contains(&BUDGET.to_string()), "it names the budget: {}", refused.text);
    let health = node.get("/v1/health").await;
    assert_eq!(
        (&health["status"], &health["writes"]),
        (&"disk_budget".into(), &"disk_budget".into())
    );
    let metrics = api::get(node.http, "/metrics").await.expect("an answer").text;
    let metric = |name: &str| -> u64 {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name}: {metrics}")).parse().expect("a number")
    };
    assert_eq!(metric("stemedb_writes_refused{reason=\"disk_budget\"}"), 1);
    let (used, budget) = (metric("stemedb_log_bytes"), metric("stemedb_log_bytes_max"));
    let record = used / hashes.len() as u64;
    assert_eq!(budget, BUDGET);
    assert!(used <= BUDGET && BUDGET - used < record + 32, "{used} of {BUDGET}, {record} each");
    let log = std::fs::read(node.dir().join("log/0000000000.seg")).expect("a segment");
    // The last payload may end in zeros of its own.
    let written = log.iter().rposition(|byte| *byte != 0).expect("it is used") as u64 + 1;
    assert!((written..written + 32).contains(&used), "{used} counted, {written} written");
    assert_all_there(&node, &hashes).await;
    let node = node.crash_and_restart();
    assert_eq!(
        write(&node, hashes.len() as u64).await.expect("an answer").status,
        507,
        "as before"
    );
    assert_all_there(&node, &hashes).await;
}

#[tokio::test]
async fn an_import_shares_slow_flushes_and_names_what_a_full_disk_left_out() {
    const LINES: u64 = 20_000;
    let faults = Faults::new();
    let node = faults.start();
    faults.set("slow-sync");
    let folder = tempfile::tempdir().expect("a temp dir");
    let file = folder.path().join("claims.ndjson");
    let lines = |numbers: std::ops::Range<u64>| -> String {
        numbers.map(|number| format!("{}\n", claim(number))).collect()
    };
    std::fs::write(&file, lines(0..LINES)).expect("written");
    let to = format!("http://{}", node.http);
    let import = async |file: std::path::PathBuf| {
        let mut import = tokio::process::Command::from(command());
        import.arg("import").arg(file).args(["--to", &to]);
        import.output().await.expect("the program runs")
    };
    let output = import(file.clone()).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let page = api::get(node.http, "/metrics").await.expect("an answer").text;
    let name = "stemedb_wal_fsync_latency_seconds_count ";
    let flushes = page.lines().find_map(|line| line.strip_prefix(name)).expect("it is there");
    // With 64 requests at a time they were 313.
    let flushes: u64 = flushes.parse().expect("a count");
    assert!(flushes <= LINES / 500, "{flushes} flushes for {LINES} lines");

    faults.set("full");
    let more = [claim(LINES), claim(0), claim(LINES + 1)];
    let answer = api::post_lines(node.http, "/v1/assert/batch", &more).await.expect("an answer");
    let parts =
        ["{\"line\":1,\"error\":{\"code\":\"disk_full\"", "{\"line\":2,\"hash\":", "{\"line\":3,"];
    for (line, part) in answer.text.lines().zip(parts) {
        assert!(line.starts_with(part), "{}", answer.text);
    }
    std::fs::write(&file, lines(LINES..LINES + 10)).expect("written");
    let output = import(file).await;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{error}");
    assert!(error.contains("line 1 is the first without an answer"), "{error}");
    assert!(error.ends_with("it answers disk_full: the disk is full\n"), "{error}");
}
