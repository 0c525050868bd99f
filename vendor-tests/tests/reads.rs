//! What clients read through gateways, while nodes have not all of it or number it otherwise.

use std::collections::BTreeSet;
use std::net::SocketAddr;

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
