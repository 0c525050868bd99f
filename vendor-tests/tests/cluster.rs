//! Real clusters: processes that find each other by one seed, are killed, cut off, restarted
//! elsewhere, and stay one set.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde_json::{Value, json};
use vendor_tests::api;
use vendor_tests::claims::claim;
use vendor_tests::node::Node;
use vendor_tests::peer::{Manner, NODE_ID, Peer};
use vendor_tests::set::{self, Hash};
use vendor_tests::wait::until;

/// Quick probes; anti-entropy is off but where a test names an interval.
fn settings<'a>(seed: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let common = [("STEMEDB_SEEDS", seed), ("STEMEDB_PROBE_INTERVAL", "200ms")];
    common.into_iter().chain(more.iter().copied()).collect()
}

/// So many nodes, each of which knows the one before it alone.
async fn chain(count: usize, more: &[(&str, &str)]) -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::new();
    for _ in 0..count {
        let seed = nodes.last().map(|node| node.rpc.to_string()).unwrap_or_default();
        nodes.push(Node::start(&settings(&seed, more)));
    }
    all_see(&nodes, "Alive", count).await;
    nodes
}

async fn all_see(nodes: &[Node], state: &str, count: usize) {
    for node in nodes {
        until(&format!("{count} members {state} at {}", node.http), async || {
            let members = node.members().await;
            members.values().filter(|seen| *seen == state).count() == count
        })
        .await;
    }
}

async fn converge(nodes: &[Node], expected: &BTreeSet<Hash>) {
    let expected = (set::root(expected), expected.len() as u64);
    for node in nodes {
        until(&format!("{} claims at {}", expected.1, node.http), async || {
            node.root().await == expected
        })
        .await;
    }
}

/// Asserts through a gateway; the hash if it was taken.
async fn assert_at(gateway: SocketAddr, body: &Value) -> Option<Hash> {
    let answer = api::post(gateway, "/v1/assert", body).await.ok()?;
    matches!(answer.status, 200 | 201)
        .then(|| set::unhex(answer.json()["hash"].as_str().expect("a hash")))
}

#[tokio::test]
async fn one_seed_is_enough_and_what_is_new_is_pushed_to_all() {
    let nodes = chain(4, &[]).await;
    let mut all = BTreeSet::new();
    for number in 0..200 {
        let gateway = nodes[number as usize % 4].gateway;
        all.insert(assert_at(gateway, &claim(number)).await.expect("taken"));
    }
    // Anti-entropy is off.
    converge(&nodes, &all).await;
}

#[tokio::test]
async fn every_node_deals_the_shards_alike_and_the_gateway_keeps_to_it() {
    let nodes = chain(3, &[("STEMEDB_REPLICATION_FACTOR", "1")]).await;
    let ranges = nodes[0].get("/v1/admin/ranges").await;
    for node in &nodes {
        assert_eq!(node.get("/v1/admin/ranges").await, ranges);
        assert_eq!(node.get("/v1/shards/5").await, ranges["ranges"][5]);
    }
    let own = nodes[0].id().await;
    let mut answered = BTreeSet::new();
    for number in 0..40 {
        let body = json!({ "subject": format!("s{number}"), "predicate": "p",
                           "object": { "type": "Number", "value": number } });
        let headers = "x-request-id: seven\r\n";
        let answer = api::ask(nodes[0].gateway, "/v1/assert", Some(&body), headers).await;
        let answer = answer.expect("the gateway answers");
        assert_eq!(answer.status, 201, "{}", answer.text);
        assert!(answer.head.contains("x-request-id: seven"), "{}", answer.head);
        let by = answer.head.lines().find_map(|line| line.strip_prefix("x-stemedb-node: "));
        answered.insert(by.unwrap_or(&own).to_string());
    }
    let ids = nodes[0].members().await.into_keys().collect();
    assert_eq!(answered, ids, "each node holds some of forty subjects");
    let metrics = api::get(nodes[0].gateway, "/metrics").await.expect("an answer");
    assert_eq!(metrics.status, 200);
    assert!(metrics.text.contains("stemedb_cluster_members{state=\"Alive\"} 3"));
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill_and_a_restart_elsewhere() {
    let mut nodes = chain(3, &[("STEMEDB_ANTI_ENTROPY_INTERVAL", "1s")]).await;
    let first = nodes[0].rpc.to_string();
    let gateway = nodes[0].gateway;
    let writer = tokio::spawn(async move {
        let mut taken = BTreeSet::new();
        for number in 0..600 {
            taken.extend(assert_at(gateway, &claim(number)).await);
        }
        taken
    });
    let mut killed = nodes.pop().expect("three of them");
    let (id, old) = (killed.id().await, killed.rpc);
    until("some claims at the one to be killed", async || killed.root().await.1 > 20).await;
    killed.kill();
    all_see(&nodes, "Dead", 1).await;
    let back = killed.restart_with(&settings(&first, &[("STEMEDB_ANTI_ENTROPY_INTERVAL", "1s")]));
    assert_ne!(back.rpc, old, "it took other ports");
    assert_eq!(back.id().await, id);
    nodes.push(back);
    all_see(&nodes, "Alive", 3).await;
    let status = nodes[1].get("/v1/cluster/status").await;
    let members = status["members"].as_array().expect("a list");
    let moved = members.iter().find(|it| it["node_id"] == id.as_str()).expect("it is listed");
    assert_eq!(moved["rpc_addr"], nodes[2].rpc.to_string());
    let taken = writer.await.expect("the writer ends");
    assert_eq!(taken.len(), 600, "the gateway lost none");
    converge(&nodes, &taken).await;
}

#[tokio::test]
async fn no_request_is_lost_while_a_dead_nodes_shards_are_assigned_to_others() {
    let mut nodes = chain(3, &[("STEMEDB_REPLICATION_FACTOR", "1")]).await;
    nodes[2].kill();
    // All at once: the first to find the node dead would spare the others their retries.
    let gateway = nodes[0].gateway;
    let claims =
        (0..40).map(|number| tokio::spawn(async move { assert_at(gateway, &claim(number)).await }));
    for (number, claim) in claims.collect::<Vec<_>>().into_iter().enumerate() {
        assert!(claim.await.expect("it ends").is_some(), "claim {number}");
    }
    let metrics = api::get(nodes[0].gateway, "/metrics").await.expect("an answer").text;
    let retries = metrics.lines().find(|line| line.starts_with("stemedb_gateway_retries_total "));
    assert_ne!(retries, Some("stemedb_gateway_retries_total 0"));
}

#[tokio::test]
async fn who_stops_has_left_and_a_stopped_process_comes_back() {
    let mut nodes = chain(3, &[]).await;
    let mut leaving = nodes.pop().expect("three of them");
    let id = leaving.id().await;
    assert!(leaving.stop().success());
    for node in &nodes {
        until("it has left", async || node.members().await[&id] == "Left").await;
    }
    let pid = nodes[1].pid().to_string();
    let signal = |name: &str| {
        let sent = std::process::Command::new("kill").args([name, pid.as_str()]).status();
        assert!(sent.expect("kill runs").success());
    };
    signal("-STOP");
    all_see(&nodes[..1], "Dead", 1).await;
    signal("-CONT");
    all_see(&nodes, "Alive", 2).await;
}

#[tokio::test]
async fn a_member_that_knows_the_standard_alone_is_one_of_the_cluster() {
    // A runtime of its own, so that its connections end with it.
    let own = tokio::runtime::Runtime::new().expect("a runtime");
    let peer = own.spawn(Peer::start(Manner::Honest, [])).await.expect("the peer starts");
    let seed = peer.address.to_string();
    let one = Node::start(&settings(&seed, &[]));
    let first = one.rpc.to_string();
    let two = Node::start(&settings(&first, &[]));
    let nodes = [one, two];
    all_see(&nodes, "Alive", 3).await;
    let mut all = BTreeSet::new();
    for number in 0..50 {
        all.insert(nodes[(number % 2) as usize].assert(&claim(number)).await);
    }
    converge(&nodes, &all).await;
    until("the standard member has them too", async || {
        peer.assertions().into_keys().collect::<BTreeSet<_>>() == all
    })
    .await;
    own.shutdown_background();
    all_see(&nodes, "Dead", 1).await;
    assert_eq!(nodes[0].members().await[&set::hex(&NODE_ID)], "Dead");
}

#[tokio::test]
async fn two_live_nodes_with_one_id_are_reported() {
    let same_id = ("STEMEDB_NODE_ID", "00112233445566778899aabbccddeeff");
    let one = Node::start(&settings("", &[same_id]));
    let first = one.rpc.to_string();
    let other = Node::start(&settings(&first, &[]));
    let second = other.rpc.to_string();
    let two = Node::start(&settings(&second, &[same_id]));
    until("one of them says so", async || {
        [&one, &two].iter().any(|node| node.log().contains("another live node has this node's id"))
    })
    .await;
}

#[tokio::test]
async fn api_and_gateway_ask_for_the_key_and_hand_it_on() {
    let dir = tempfile::tempdir().expect("a temp dir");
    let file = dir.path().join("key");
    std::fs::write(&file, "open-sesame\n").expect("a writable folder");
    let file = file.to_str().expect("a plain path");
    let auth = [
        ("STEMEDB_AUTH_ENABLED", "true"),
        ("STEMEDB_ROOT_API_KEY_FILE", file),
        ("STEMEDB_REPLICATION_FACTOR", "1"),
        ("STEMEDB_PROBE_INTERVAL", "200ms"),
    ];
    let one = Node::start(&auth);
    let seed = one.rpc.to_string();
    let two = Node::start(&[&auth[..], &[("STEMEDB_SEEDS", &seed)]].concat());
    let status = async |to: SocketAddr, path: &str, headers: &str| {
        api::ask(to, path, None, headers).await.expect("an answer").status
    };
    let good = "x-api-key: open-sesame\r\n";
    until("two members", async || {
        let answer = api::ask(one.http, "/v1/cluster/status", None, good).await;
        let members = answer.expect("an answer").json()["members"].clone();
        members.as_array().is_some_and(|list| list.len() == 2)
    })
    .await;
    for listener in [one.http, one.gateway, two.http, two.gateway] {
        assert_eq!(status(listener, "/v1/health", "").await, 200);
        for path in ["/v1/query?subject=a", "/metrics", "/v1/cluster/status"] {
            assert_eq!(status(listener, path, "").await, 401, "{path}");
            assert_eq!(status(listener, path, "x-api-key: sesame\r\n").await, 403, "{path}");
            assert_eq!(status(listener, path, good).await, 200, "{path}");
        }
    }
    for number in 0..20 {
        let answer = api::ask(one.gateway, "/v1/assert", Some(&claim(number)), good).await;
        assert_eq!(answer.expect("an answer").status, 201, "some of them at the other node");
    }
    for node in [&one, &two] {
        assert!(!node.log().contains("open-sesame"));
        let page = api::ask(node.http, "/metrics", None, good).await.expect("an answer");
        assert!(!page.text.contains("open-sesame"));
    }
}

#[tokio::test]
async fn a_node_is_asked_by_the_names_that_it_was_given() {
    let plain = Node::start(&[("STEMEDB_ADVERTISE_API_ADDR", "node1.example:18180")]);
    let named = Node::start(&[("STEMEDB_ALLOWED_HOSTS", "db.example, db2.example")]);
    for (node, name, status) in [
        (&plain, "node1.example:18180", 200),
        (&plain, "localhost", 200),
        (&plain, "db.example", 421),
        (&named, "db.example:18180", 200),
        (&named, "DB2.example", 200),
        (&named, "192.0.2.1", 200),
        (&named, "node1.example", 421),
    ] {
        for listener in [node.http, node.gateway] {
            for path in ["/v1/health", "/metrics", "/v1/query?subject=a"] {
                // In absolute form the target comes before `Host`.
                let target = format!("http://{name}{path}");
                let answer = api::ask(listener, &target, None, "").await.expect("an answer");
                assert_eq!(answer.status, status, "{target}: {}", answer.text);
            }
        }
    }
}
