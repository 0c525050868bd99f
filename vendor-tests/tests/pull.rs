//! Our client against tonic's server: anti-entropy with a peer built from the same proto and
//! nothing else, honest, of another kind, or bad.

use std::collections::BTreeSet;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use vendor_tests::api;
use vendor_tests::claims::{claim, fetch_all, large, opaque};
use vendor_tests::node::Node;
use vendor_tests::pb::PingRequest;
use vendor_tests::peer::{Manner, NODE_ID, Peer};
use vendor_tests::set::{self, Hash};

fn bodies(numbers: std::ops::Range<u64>) -> Vec<Vec<u8>> {
    numbers.map(opaque).collect()
}

fn seeds(addresses: &[std::net::SocketAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

async fn node_with(peer: &Peer) -> Node {
    Node::start(&[("STEMEDB_SEEDS", &seeds(&[peer.address]))])
}

/// A node that had its claims before it met the peer.
async fn node_with_claims(peer: &Peer, count: u64) -> (Node, Vec<Hash>) {
    let node = Node::start(&[]);
    let mut own = Vec::new();
    for at in 0..count {
        own.push(node.assert(&claim(at)).await);
    }
    (node.restart_with(&[("STEMEDB_SEEDS", &seeds(&[peer.address]))]), own)
}

/// The report on the only peer.
async fn report(node: &Node) -> Value {
    let mut peers = node.sync().await;
    assert_eq!(peers.len(), 1, "{peers:?}");
    peers.remove(0)
}

fn number(report: &Value, field: &str) -> u64 {
    report[field].as_u64().unwrap_or_else(|| panic!("no {field} in {report}"))
}

fn error(report: &Value) -> &str {
    report["error"].as_str().unwrap_or_else(|| panic!("no error in {report}"))
}

async fn expect_equal(node: &Node, peer: &Peer) {
    let theirs: BTreeSet<Hash> = peer.assertions().into_keys().collect();
    assert_eq!(node.root().await, (set::root(&theirs), theirs.len() as u64));
}

#[tokio::test]
async fn a_difference_both_ways_converges() {
    let peer = Peer::start(Manner::Honest, bodies(0..50)).await;
    let (node, _) = node_with_claims(&peer, 30).await;
    let first = report(&node).await;
    assert!(first["error"].is_null(), "{first}");
    assert_eq!((number(&first, "received"), number(&first, "sent")), (50, 30), "{first}");
    let body: u64 = peer.assertions().values().map(|body| body.len() as u64).sum();
    assert_eq!(number(&first, "body_bytes"), body);
    assert!(number(&first, "bytes_in") > 50 * 32 && number(&first, "bytes_out") > 30 * 32);
    assert!(number(&first, "rounds") >= 2, "roots, then leaves: {first}");
    assert_eq!(first["node_id"], set::hex(&NODE_ID), "{first}");
    expect_equal(&node, &peer).await;

    let second = report(&node).await;
    assert_eq!((number(&second, "received"), number(&second, "sent")), (0, 0), "{second}");
    assert_eq!(number(&second, "rounds"), 1, "equal roots need nothing more: {second}");
}

#[tokio::test]
async fn a_peer_with_another_kind_of_tree_converges_all_the_same() {
    let peer = Peer::start(Manner::OtherTree, bodies(0..40)).await;
    let (node, _) = node_with_claims(&peer, 5).await;
    let first = report(&node).await;
    assert!(first["error"].is_null(), "{first}");
    expect_equal(&node, &peer).await;
    let second = report(&node).await;
    assert!(second["error"].is_null(), "{second}");
    assert_eq!((number(&second, "received"), number(&second, "sent")), (0, 0), "{second}");
}

#[tokio::test]
async fn a_peer_that_shows_few_leaves_and_assertions_at_a_time_converges() {
    let peer = Peer::start(Manner::Paged(7), bodies(0..100)).await;
    let (node, _) = node_with_claims(&peer, 10).await;
    let report = report(&node).await;
    assert_eq!((number(&report, "received"), number(&report, "sent")), (100, 10), "{report}");
    expect_equal(&node, &peer).await;
}

#[tokio::test]
async fn more_leaves_than_one_answer_holds_are_all_fetched() {
    let peer = Peer::start(Manner::Paged(10_000), bodies(0..12_000)).await;
    let node = Node::start(&[
        ("STEMEDB_SEEDS", &seeds(&[peer.address])),
        ("STEMEDB_DURABILITY", "batched"),
    ]);
    let report = report(&node).await;
    assert_eq!(number(&report, "received"), 12_000, "{report}");
    expect_equal(&node, &peer).await;
}

#[tokio::test]
async fn large_assertions_come_a_few_at_a_time() {
    let peer = Peer::start(Manner::Honest, (0..9).map(|at| large(at, 1 << 20))).await;
    let node = node_with(&peer).await;
    let report = report(&node).await;
    assert_eq!(number(&report, "received"), 9, "{report}");
    assert!(peer.calls("FetchAssertions") >= 3, "nine of 1 MiB do not fit in two answers");
    expect_equal(&node, &peer).await;
}

#[tokio::test]
async fn bad_peers_are_reported_and_nothing_false_is_kept() {
    let rows = [
        (Manner::FalseBytes, "hash"),
        (Manner::EmptyHanded, ""),
        (Manner::NewLeavesForEver, ""),
        (Manner::ShortLeaves, "31 bytes"),
        (Manner::TooLarge, ""),
        (Manner::Unimplemented, "nimplemented"),
        (Manner::Failing, "on fire"),
        (Manner::Refusing, "the shelf is full"),
    ];
    for (manner, said) in rows {
        let length = if manner == Manner::TooLarge { 1 << 20 } else { 64 };
        let peer = Peer::start(manner, (0..20).map(|at| large(at, length))).await;
        let (mut node, own) = node_with_claims(&peer, 1).await;
        let report = report(&node).await;
        let error = report["error"].as_str().unwrap_or_else(|| panic!("{manner:?}: {report}"));
        let lower = error.to_lowercase();
        assert!(lower.contains(&said.to_lowercase()), "{manner:?}: {error}");
        assert!(node.is_running(), "{manner:?}:\n{}", node.log());
        let received = number(&report, "received");
        assert_eq!(node.root().await.1, 1 + received, "{manner:?}");
        let expected = if manner == Manner::Refusing { 20 } else { 0 };
        assert_eq!(received, expected, "{manner:?}: {report}");
        fetch_all(&mut node.client().await, &own).await;
        let is_byzantine =
            matches!(manner, Manner::FalseBytes | Manner::NewLeavesForEver | Manner::EmptyHanded);
        // One that does not answer who it is has no series.
        let Some(id) = report["node_id"].as_str() else { continue };
        let counted =
            format!("stemedb_sync_useless_total{{peer=\"{id}\"}} {}", u8::from(is_byzantine));
        let metrics = api::get(node.http, "/metrics").await.expect("an answer").text;
        assert!(metrics.contains(&counted), "{manner:?}: no {counted} in {metrics}");
    }
}

#[tokio::test]
async fn a_peer_that_shows_its_first_page_for_ever_is_left_with_what_it_gave() {
    let peer = Peer::start(Manner::FirstPageForEver, bodies(0..20)).await;
    let node = node_with(&peer).await;
    let report = report(&node).await;
    assert_eq!(number(&report, "received"), 20, "{report}");
    assert!(peer.calls("GetLeaves") < 20, "{} calls of GetLeaves", peer.calls("GetLeaves"));
}

#[tokio::test]
async fn a_peer_that_never_answers_holds_up_no_other() {
    let hanging = Peer::start(Manner::Hanging, []).await;
    let honest = Peer::start(Manner::Honest, bodies(0..10)).await;
    let node = Node::start(&[("STEMEDB_SEEDS", &seeds(&[hanging.address, honest.address]))]);
    let mut client = node.client().await;
    let sync = node.sync();
    tokio::pin!(sync);
    let mut served = 0;
    let peers = loop {
        tokio::select! {
            peers = &mut sync => break peers,
            answer = client.ping(PingRequest::default()) => {
                answer.expect("the node serves while it waits");
                served += 1;
            }
        }
    };
    assert!(served > 0);
    let received: u64 = peers.iter().map(|peer| number(peer, "received")).sum();
    assert_eq!(received, 10, "{peers:?}");
    let errors = peers.iter().filter(|peer| peer["error"].is_string()).count();
    assert_eq!((peers.len(), errors), (2, 1), "{peers:?}");
}

#[tokio::test]
async fn peers_that_speak_no_grpc_are_reported() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = listener.local_addr().unwrap();
    drop(listener);
    let answers: [&'static [u8]; 3] =
        [b"", b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n", &[0xff; 200]];
    let mut addresses = vec![gone];
    for answer in answers {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        addresses.push(listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut first = [0; 64];
                let _ = stream.read(&mut first).await;
                let _ = stream.write_all(answer).await;
            }
        });
    }
    let mut node = Node::start(&[("STEMEDB_SEEDS", &seeds(&addresses))]);
    let peers = node.sync().await;
    assert_eq!(peers.len(), 4, "{peers:?}");
    for peer in &peers {
        assert!(!error(peer).is_empty(), "{peer}");
    }
    assert!(node.is_running());
    node.assert(&claim(1)).await;
}
