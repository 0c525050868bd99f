//! Two of our nodes that know each other: equal roots after one run, whatever each had.

use std::collections::BTreeSet;

use vendor_tests::claims::{claim, fetch_all, fill, large, opaque};
use vendor_tests::node::{Node, ONE_CLUSTER};
use vendor_tests::set::{self, Hash};
use vendor_tests::wait::until;

#[tokio::test]
async fn two_nodes_are_in_sync_after_one_run() {
    let one = Node::start(&[ONE_CLUSTER]);
    let two = Node::start(&[ONE_CLUSTER]);
    let mut all: BTreeSet<Hash> = BTreeSet::new();
    for number in 0..120 {
        all.insert(one.assert(&claim(number)).await);
    }
    for number in 80..200 {
        all.insert(two.assert(&claim(number)).await);
    }
    all.extend(fill(&one.client().await, (0..300).map(opaque)).await);
    all.extend(fill(&two.client().await, (200..500).map(opaque)).await);
    assert_ne!(one.root().await, two.root().await);

    let two = two.restart_with(&[ONE_CLUSTER, ("STEMEDB_SEEDS", &one.rpc.to_string())]);
    let peers = two.sync().await;
    assert!(peers.len() == 1 && peers[0]["error"].is_null(), "{peers:?}");
    assert_eq!((&peers[0]["received"], &peers[0]["sent"]), (&(80 + 200).into(), &280.into()));
    let expected = (set::root(&all), all.len() as u64);
    assert_eq!(one.root().await, expected);
    assert_eq!(two.root().await, expected);

    let path = "/v1/query?subject=package/25&limit=50";
    let newest = |answer: serde_json::Value| {
        let list = answer["assertions"].as_array().expect("a list").clone();
        list.iter().map(|it| it["hash"].as_str().unwrap().to_string()).collect::<BTreeSet<_>>()
    };
    let (here, there) = (newest(one.get(path).await), newest(two.get(path).await));
    assert_eq!((here.len(), &here), (4, &there));
}

#[tokio::test]
async fn a_pair_in_sync_stays_so_over_restarts() {
    let one = Node::start(&[]);
    let hashes = fill(&one.client().await, (0..200).map(opaque)).await;
    let two = Node::start(&[("STEMEDB_SEEDS", &one.rpc.to_string())]);
    two.sync().await;
    let before = two.root().await;
    assert_eq!(before, one.root().await);
    let two = two.crash_and_restart();
    assert_eq!(two.root().await, before);
    fetch_all(&mut two.client().await, &hashes).await;
    let again = two.sync().await;
    assert_eq!(again[0]["rounds"], 1, "{again:?}");
    until("one is a member", async || two.members().await.len() == 2).await;
    let again = two.sync().await;
    let bytes = |field: &str| again[0][field].as_u64().expect("a number");
    // Root and count each way: a member need not be asked who it is.
    assert!(bytes("bytes_in") + bytes("bytes_out") < 100, "{again:?}");
    assert!(again[0]["node_id"].is_string(), "{again:?}");
}

#[tokio::test]
async fn a_node_that_catches_up_at_a_set_pace_answers_meanwhile() {
    let one = Node::start(&[]);
    fill(&one.client().await, (0..400).map(|number| large(number, 1000))).await;
    let seed = one.rpc.to_string();
    let two = Node::start(&[("STEMEDB_SEEDS", &seed), ("STEMEDB_SYNC_RATE", "200K")]);
    let (sync, mut answers, mut shown) = (two.sync(), 0, Vec::new());
    tokio::pin!(sync);
    let peers = loop {
        tokio::select! {
            peers = &mut sync => break peers,
            health = two.get("/v1/health") => {
                answers += u32::from(health["status"] == "ok");
                let status = two.get("/v1/cluster/status").await;
                shown.extend(status["syncs"].get(0).cloned());
            }
        }
    };
    // 400 KB at 200 KiB a second, less what may come ahead.
    assert_eq!(peers[0]["received"], 400, "{peers:?}");
    assert!(peers[0]["ms"].as_u64().expect("a number") > 1500, "{peers:?}");
    assert!(answers > 10, "{answers} answers");
    let pulled = |sync: &serde_json::Value| sync["phase"] == "pull" && sync["bytes_in"] != 0;
    assert!(shown.iter().any(pulled), "no progress in {shown:?}");
    assert_eq!(two.get("/v1/cluster/status").await["syncs"], serde_json::json!([]));
}
