//! What clients read through gateways, while nodes have not all of it or number it otherwise.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde_json::json;
use vendor_tests::api::{self, Answer};
use vendor_tests::claims::claim;
use vendor_tests::node::Node;
use vendor_tests::wait::until;

async fn ask(to: SocketAddr, path: &str) -> Answer {
    api::get(to, path).await.expect("an answer")
}

async fn are_all_alive(nodes: &[Node]) {
    for node in nodes {
        until("all see all", async || {
            let members = node.members().await;
            members.len() == nodes.len() && members.values().all(|state| state == "Alive")
        })
        .await;
    }
}

/// The hashes and the cursor of a page.
fn page(answer: &Answer) -> (Vec<String>, Option<String>) {
    assert_eq!(answer.status, 200, "{}", answer.text);
    let page = answer.json();
    let found = page["assertions"].as_array().expect("a list");
    let hash = |it: &serde_json::Value| it["hash"].as_str().expect("a hash").to_owned();
    (found.iter().map(hash).collect(), page["next_cursor"].as_str().map(str::to_owned))
}

#[tokio::test]
async fn pages_stay_with_the_node_that_gave_the_first() {
    let one = Node::start(&[("STEMEDB_PROBE_INTERVAL", "200ms")]);
    let seed = one.rpc.to_string();
    let settings = [("STEMEDB_SEEDS", &*seed), ("STEMEDB_PROBE_INTERVAL", "200ms")];
    let mut nodes = vec![one, Node::start(&settings), Node::start(&settings)];
    are_all_alive(&nodes).await;
    // From both sides at once, so that no two nodes have them in one order.
    let posted = (0..300).map(|number| {
        let to = nodes[number as usize % 2].http;
        tokio::spawn(async move { api::post(to, "/v1/assert", &claim(number)).await })
    });
    for answer in posted.collect::<Vec<_>>() {
        assert_eq!(answer.await.expect("it ends").expect("an answer").status, 201);
    }
    for node in &nodes {
        until("all have all", async || node.root().await.1 == 300).await;
    }
    let (mut found, mut cursor) = page(&ask(nodes[0].gateway, "/v1/query?limit=50").await);
    let mut turn = 0;
    let mut last = String::new();
    while let Some(at) = cursor {
        turn += 1;
        let path = format!("/v1/query?limit=50&cursor={at}");
        let elsewhere = ask(nodes[1].http, &path).await;
        assert_eq!(elsewhere.status, 410, "{}", elsewhere.text);
        let (more, next) = page(&ask(nodes[turn % 3].gateway, &path).await);
        found.extend(more);
        (last, cursor) = (path, next);
    }
    assert_eq!(found.len(), 300, "no row twice");
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>().len(), 300, "and none left out");
    nodes[0].kill();
    until("its node is known to be gone", async || {
        ask(nodes[1].gateway, &last).await.status != 502
    })
    .await;
    let gone = ask(nodes[1].gateway, &last).await;
    assert_eq!(gone.status, 410, "{}", gone.text);
    assert!(gone.text.contains("begin again without a cursor"), "{}", gone.text);
}

/// A gateway that no other node can call, and another node: each subject has one owner of the two,
/// and nothing that the other node takes is pushed to the gateway's.
async fn apart() -> (Node, Node) {
    let common = [("STEMEDB_REPLICATION_FACTOR", "1")];
    let other = Node::start(&common);
    let seed = other.rpc.to_string();
    // Port 9 is `discard`, at which nothing listens.
    let own = [("STEMEDB_SEEDS", &*seed), ("STEMEDB_ADVERTISE_RPC_ADDR", "127.0.0.1:9")];
    let gateway = Node::start(&[&common[..], &own[..]].concat());
    until("both have shards", async || {
        let ranges = gateway.get("/v1/admin/ranges").await;
        let ranges = ranges["ranges"].as_array().expect("a list");
        let owners = ranges.iter().map(|range| range["replicas"].to_string());
        owners.collect::<BTreeSet<_>>().len() == 2
    })
    .await;
    (gateway, other)
}

/// Posts a claim; its hash and the node that took it, if that is not the gateway's.
async fn post(gateway: &Node, subject: &str) -> (String, Option<String>) {
    let body = json!({ "subject": subject, "predicate": "p",
                       "object": { "type": "Boolean", "value": true } });
    let answer = api::post(gateway.gateway, "/v1/assert", &body).await.expect("an answer");
    assert_eq!(answer.status, 201, "{}", answer.text);
    let by = answer.head.lines().find_map(|line| line.strip_prefix("x-stemedb-node: "));
    (answer.json()["hash"].as_str().expect("a hash").to_owned(), by.map(str::to_owned))
}

#[tokio::test]
async fn a_gateway_counts_votes_that_it_had_taken() {
    let (gateway, _other) = apart().await;
    for number in 0..40 {
        let subject = format!("s{number}");
        let mut hashes = Vec::new();
        for at in [1_700_000_000, 1_700_000_001] {
            let body = json!({ "subject": subject, "predicate": "p", "timestamp": at,
                               "object": { "type": "Number", "value": at } });
            let answer = api::post(gateway.gateway, "/v1/assert", &body).await.expect("an answer");
            hashes.push(answer.json()["hash"].as_str().expect("a hash").to_owned());
        }
        // The subject of a vote is a hash: another node may own it than the claims' subject.
        let vote = json!({ "assertion_hash": hashes[0], "weight": 1 });
        let answer = api::post(gateway.gateway, "/v1/vote", &vote).await.expect("an answer");
        assert_eq!(answer.status, 201, "{}", answer.text);
        let path = format!("/v1/query?subject={subject}&predicate=p&lens=votes");
        let found = ask(gateway.gateway, &path).await;
        assert_eq!(found.status, 200, "{}", found.text);
        let resolution = &found.json()["resolution"];
        assert_eq!(resolution["winner"], *hashes[0], "claim {number}: {resolution}");
        assert_eq!(resolution["candidates_count"], 2, "claim {number}: {resolution}");
    }
}

#[tokio::test]
async fn a_gateway_finds_by_hash_what_it_had_taken() {
    let (gateway, other) = apart().await;
    let id = format!("x-stemedb-node: {}", other.id().await);
    let mut elsewhere = Vec::new();
    for number in 0..200 {
        let (hash, _) = post(&gateway, &format!("s{number}")).await;
        let path = format!("/v1/assertions/{hash}");
        let found = ask(gateway.gateway, &path).await;
        assert_eq!(found.status, 200, "claim {number}: {}", found.text);
        assert_eq!(found.json()["hash"], *hash);
        if found.head.contains(&id) {
            elsewhere.push(path);
        }
    }
    assert!(elsewhere.len() > 20, "{} of 200 were elsewhere", elsewhere.len());
    // As soon as it is here, it is answered here.
    gateway.sync().await;
    let found = ask(gateway.gateway, &elsewhere[0]).await;
    assert!(found.status == 200 && !found.head.contains("x-stemedb-node"), "{}", found.head);
}

#[tokio::test]
async fn a_gateway_finds_by_query_what_it_had_taken() {
    let (gateway, _other) = apart().await;
    let mut all = BTreeSet::new();
    let mut elsewhere = 0;
    for number in 0..60 {
        let subject = format!("s{}", number / 2);
        let (hash, by) = post(&gateway, &subject).await;
        elsewhere += usize::from(by.is_some());
        all.insert(hash.clone());
        let query = format!("/v1/query?subject={subject}");
        let (found, _) = page(&ask(gateway.gateway, &query).await);
        assert_eq!((found.len(), &found[0]), (number % 2 + 1, &hash), "{query}");
        if number % 7 == 0 {
            let (found, _) = page(&ask(gateway.gateway, "/v1/query").await);
            assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), all, "after claim {number}");
        }
    }
    assert!(elsewhere > 5, "{elsewhere} of 60 are elsewhere");
    assert!(!gateway.log().contains("answers without"), "{}", gateway.log());
}

#[tokio::test]
async fn a_gateway_shows_what_it_took_by_the_line() {
    let (gateway, _other) = apart().await;
    let claims: Vec<_> = (0..60)
        .map(|number| {
            json!({ "subject": format!("s{number}"), "predicate": "p",
                    "object": { "type": "Number", "value": number } })
        })
        .collect();
    let answer = api::post_lines(gateway.gateway, "/v1/assert/batch", &claims).await;
    let answer = answer.expect("an answer");
    assert_eq!((answer.status, answer.text.lines().count()), (200, 60), "{}", answer.text);
    for (number, line) in answer.text.lines().enumerate() {
        let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert_eq!((&line["line"], &line["status"]), (&json!(number + 1), &json!("created")));
        let query = format!("/v1/query?subject=s{number}");
        let (found, _) = page(&ask(gateway.gateway, &query).await);
        assert_eq!(found, [line["hash"].as_str().expect("a hash")], "{query}");
    }
}

#[tokio::test]
async fn a_batch_of_which_nothing_is_taken_changes_no_way() {
    let (gateway, _other) = apart().await;
    let mut ways = Vec::new();
    for _ in 0..2 {
        let mut answered = Vec::new();
        for number in 0..20 {
            let answer = ask(gateway.gateway, &format!("/v1/query?subject=s{number}")).await;
            let line = answer.head.lines().find(|line| line.starts_with("x-stemedb-node:"));
            // None: the gateway's own node.
            answered.push(line.map(str::to_owned));
        }
        ways.push(answered);
        let refused = [json!({}), json!({ "subject": "s" })];
        let answer = api::post_lines(gateway.gateway, "/v1/assert/batch", &refused).await;
        assert_eq!(answer.expect("an answer").text.matches("bad_json").count(), 2);
    }
    let nodes: BTreeSet<&Option<String>> = ways[0].iter().collect();
    assert_eq!((nodes.len(), ways[0] == ways[1]), (2, true), "{ways:?}");
}
