//! Nodes that do not find their cluster say why, once a minute, on both sides where there are two.

use vendor_tests::api;
use vendor_tests::node::{self, Node};
use vendor_tests::wait::until;

/// Waits for a line with all these parts; all lines with them are one.
async fn says(node: &Node, parts: &[&str]) {
    let has = |line: &&str| parts.iter().all(|part| line.contains(part));
    until(&format!("a line with {parts:?}"), async || node.log().lines().any(|line| has(&line)))
        .await;
    assert_eq!(node.log().lines().filter(has).count(), 1, "{}", node.log());
}

async fn has_joined(node: &Node) -> bool {
    node.get("/v1/health").await["joined"].as_bool().expect("a truth value")
}

#[tokio::test]
async fn a_seed_that_cannot_be_reached_is_named_with_the_reason() {
    let other = Node::start(&[]);
    assert!(has_joined(&other).await, "without seeds there is nobody to reach");
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let closed = free.local_addr().expect("bound").to_string();
    drop(free);
    let (http, gateway) = (other.http.to_string(), other.gateway.to_string());
    let seeds = format!("{closed},{http},{gateway},a..b:1");
    let node = Node::start(&[("STEMEDB_SEEDS", &seeds)]);
    says(&node, &["WARN", &format!("seed {closed} refuses connections"), "18182"]).await;
    for port in [http, gateway] {
        says(&node, &["WARN", &format!("seed {port} what answers there is no gRPC"), "18182"])
            .await;
    }
    says(&node, &["WARN", "seed a..b:1 no name can have an empty"]).await;
    assert!(!has_joined(&node).await);
    let shown = node::command().args(["status", &node.http.to_string()]).output();
    let shown = shown.expect("the program runs");
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(text.contains("NOT JOINED") && !shown.status.success(), "{text}");
    // The first seed that answers ends it.
    let seeds = format!("{seeds},{}", other.rpc);
    let node = node.restart_with(&[("STEMEDB_SEEDS", &seeds)]);
    until("it has joined", async || has_joined(&node).await).await;
}

#[tokio::test]
async fn a_wrong_cluster_key_is_told_on_both_sides() {
    let cases = [
        (Some("correct-horse"), Some("battery-staple"), "has another cluster key", "is not this"),
        (
            Some("correct-horse"),
            None,
            "asks for a cluster key, which this node lacks",
            "is missing",
        ),
    ];
    for (theirs, ours, here, there) in cases {
        let set = |key: Option<&'static str>| key.map(|key| ("STEMEDB_CLUSTER_KEY", key));
        let other = Node::start(&Vec::from_iter(set(theirs)));
        let seed = other.rpc.to_string();
        let mut settings = vec![("STEMEDB_SEEDS", &*seed)];
        settings.extend(set(ours));
        let node = Node::start(&settings);
        says(&node, &["WARN", &format!("seed {seed} {here}")]).await;
        says(&other, &["WARN", "gRPC call from 127.0.0.1 refused", there]).await;
        assert!(!has_joined(&node).await);
        assert!(!node.log().contains("correct") && !other.log().contains("battery"));
    }
}

#[tokio::test]
async fn other_settings_than_a_members_are_told_with_both_values() {
    let one = Node::start(&[("STEMEDB_SHARDS", "32")]);
    let seed = one.rpc.to_string();
    let settings = [("STEMEDB_SEEDS", &*seed), ("STEMEDB_REPLICATION_FACTOR", "2")];
    let two = Node::start(&settings);
    let (first, second) = (one.id().await, two.id().await);
    says(&one, &["WARN", &second, "--shards 64, this node has 32"]).await;
    says(&one, &["WARN", &second, "--replication-factor 2, this node has 3"]).await;
    says(&two, &["WARN", &first, "--shards 32, this node has 64"]).await;
    says(&two, &["WARN", &first, "--replication-factor 3, this node has 2"]).await;
    let like = Node::start(&settings);
    until("they are members", async || like.members().await.len() == 3).await;
    let second = format!("member {second} has --");
    assert!(!like.log().contains(&second), "{}", like.log());
}

#[tokio::test]
async fn a_peer_that_moves_again_and_again_is_one_series() {
    let fast = ("STEMEDB_PROBE_INTERVAL", "100ms");
    let one = Node::start(&[fast]);
    let seed = one.rpc.to_string();
    let mut two = Node::start(&[fast, ("STEMEDB_SEEDS", &seed)]);
    let id = two.id().await;
    let mut ports = std::collections::BTreeSet::new();
    for _ in 0..25 {
        let address = two.rpc.to_string();
        until("it is known where it is", async || {
            let status = one.get("/v1/cluster/status").await;
            status["members"]
                .as_array()
                .expect("a list")
                .iter()
                .any(|member| member["rpc_addr"] == address.as_str() && member["state"] == "Alive")
        })
        .await;
        assert_eq!(one.sync().await.len(), 1);
        ports.insert(address);
        two = two.crash_and_restart();
    }
    assert!(ports.len() > 12, "it did move: {ports:?}");
    let text = api::get(one.http, "/metrics").await.expect("an answer").text;
    let series: Vec<&str> = text.lines().filter(|line| line.contains("{peer=")).collect();
    assert_eq!(series.len(), 2, "{series:?}");
    assert!(series.iter().all(|line| line.contains(&format!("peer=\"{id}\""))), "{series:?}");
}
