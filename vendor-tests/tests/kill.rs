//! kill -9 in the middle of acknowledged writes: what was acknowledged is there after the restart.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use vendor_tests::api;
use vendor_tests::claims::{claim, fetch_all, gossip, opaque};
use vendor_tests::node::{Node, PATIENCE, command};
use vendor_tests::set::{self, Hash};

/// Acknowledged writes, and under which number.
type Acknowledged = Arc<Mutex<BTreeMap<Hash, u64>>>;

/// Writers that go on until the node is gone: half by gRPC, half by HTTP.
async fn write(node: &Node, round: u64, acknowledged: &Acknowledged) -> JoinSet<()> {
    let mut writers = JoinSet::new();
    for writer in 0..8 {
        let numbers = (round * 1_000_000 + writer * 100_000)..;
        let acknowledged = Arc::clone(acknowledged);
        let http = node.http;
        let mut client = node.client().await;
        writers.spawn(async move {
            for number in numbers {
                let hash = if writer % 2 == 0 {
                    let body = opaque(number);
                    let hash = set::hash(&body);
                    let Ok(answer) = client.gossip(gossip(body)).await else { return };
                    assert!(answer.into_inner().accepted);
                    hash
                } else {
                    let answer = api::post(http, "/v1/assert", &claim(number)).await;
                    let Ok(answer) = answer else { return };
                    assert_eq!(answer.status, 201, "{}", answer.text);
                    set::unhex(answer.json()["hash"].as_str().unwrap())
                };
                acknowledged.lock().unwrap().insert(hash, number);
            }
        });
    }
    writers
}

async fn survive(durability: &str) {
    let acknowledged: Acknowledged = Arc::default();
    let mut node = Node::start(&[("STEMEDB_DURABILITY", durability)]);
    for round in 0..4 {
        let goal = acknowledged.lock().unwrap().len() + 150;
        let mut writers = write(&node, round, &acknowledged).await;
        let deadline = Instant::now() + PATIENCE;
        while acknowledged.lock().unwrap().len() < goal {
            assert!(Instant::now() < deadline, "writes do not go on:\n{}", node.log());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        node.kill();
        while let Some(writer) = writers.join_next().await {
            writer.expect("a writer ends when the node does");
        }
        check(&node);
        node = node.restart_dead();
        let hashes: Vec<Hash> = acknowledged.lock().unwrap().keys().copied().collect();
        let bodies = fetch_all(&mut node.client().await, &hashes).await;
        assert_eq!(bodies.len(), hashes.len());
        let (_, count) = node.root().await;
        let unanswered = count - hashes.len() as u64;
        assert!(unanswered <= 8 * (round + 1), "{unanswered} that were not acknowledged");
    }
}

/// The program's own verdict on the directory that a killed node left.
fn check(node: &Node) {
    let verdict = command().arg("check").arg(node.dir()).output().expect("the program runs");
    assert!(verdict.status.success(), "{verdict:?}");
}

#[tokio::test]
async fn immediate_writes_survive_a_kill() {
    survive("immediate").await;
}

#[tokio::test]
async fn batched_writes_survive_a_kill() {
    survive("batched").await;
}

#[tokio::test]
async fn eventual_writes_survive_a_kill_of_the_process() {
    survive("eventual").await;
}

#[tokio::test]
async fn a_second_node_on_the_same_directory_is_refused() {
    let node = Node::start(&[]);
    let mut second = command()
        .env("STEMEDB_DATA_DIR", node.dir())
        .env("STEMEDB_BIND_ADDR", "127.0.0.1:0")
        .env("STEMEDB_GATEWAY_ADDR", "127.0.0.1:0")
        .env("STEMEDB_RPC_ADDR", "127.0.0.1:0")
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the program runs");
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = second.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > deadline {
            let _ = second.kill();
            let _ = second.wait();
            panic!("a second node runs on the same directory");
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert!(!status.success());
    node.assert(&claim(1)).await;
}
