//! The golden vectors through the APIs of a running node: bytes by gRPC, claims by HTTP.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use vendor_tests::api;
use vendor_tests::claims::gossip;
use vendor_tests::node::Node;
use vendor_tests::set::{self, Hash};

/// Bytes of one signature: agent id, signature, timestamp; the root of an assertion follows them.
const SIGNATURE_BYTES: usize = 104;
const ROOT_BYTES: usize = 195;

fn vectors() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/vectors.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn rows<'a>(vectors: &'a Value, list: &str) -> impl Iterator<Item = &'a Value> {
    vectors[list].as_array().expect("a list").iter()
}

fn bytes(row: &Value) -> Vec<u8> {
    let text = row["bytes"].as_str().unwrap();
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

fn signatures(row: &Value) -> usize {
    row["claim"]["signatures"].as_array().map_or(0, Vec::len)
}

/// A claim as a body of `POST /v1/assert`: without what is absent, and without the stamp.
fn body(claim: &Value) -> Value {
    let fields = claim.as_object().unwrap().iter();
    let said = fields.filter(|(name, value)| !value.is_null() && *name != "hlc");
    Value::Object(said.map(|(name, value)| (name.clone(), value.clone())).collect::<Map<_, _>>())
}

#[tokio::test]
async fn golden_bytes_arrive_and_are_shown_as_what_they_are() {
    let vectors = vectors();
    let node = Node::start(&[("STEMEDB_UNSAFE_SKIP_SIGNATURES", "true")]);
    let mut client = node.client().await;
    let mut ids: BTreeSet<Hash> = BTreeSet::new();
    for (list, row) in ["assertions", "opaque"]
        .iter()
        .flat_map(|list| rows(&vectors, list).map(move |row| (*list, row)))
    {
        let name = &row["name"];
        let request = gossip(bytes(row));
        assert_eq!(set::hex(&request.assertion_hash), row["id"], "{name}");
        let answer = client.gossip(request).await.unwrap().into_inner();
        assert!(answer.accepted, "{name}: {}", answer.error);
        ids.insert(set::unhex(row["id"].as_str().unwrap()));

        let shown = node.get(&format!("/v1/assertions/{}", row["id"].as_str().unwrap())).await;
        assert_eq!(shown["opaque"] == true, list == "opaque", "{name}: {shown}");
        if list == "assertions" {
            for field in ["subject", "predicate", "object", "lifecycle", "timestamp", "hlc"] {
                assert_eq!(shown[field], row["claim"][field], "{name}: {field}");
            }
        }
    }
    assert_eq!(node.root().await, (set::root(&ids), ids.len() as u64));
}

#[tokio::test]
async fn golden_verdicts_are_given_over_http() {
    let vectors = vectors();
    let node = Node::start(&[]);
    for row in rows(&vectors, "verdicts") {
        let answer = api::post(node.http, "/v1/assert", &body(&row["claim"])).await.unwrap();
        let expected = if row["good"] == true { 201 } else { 422 };
        assert_eq!(answer.status, expected, "{}: {}", row["name"], answer.text);
    }
}

#[tokio::test]
async fn a_false_signature_is_refused_by_every_api() {
    let vectors = vectors();
    let (node, lenient) =
        (Node::start(&[]), Node::start(&[("STEMEDB_UNSAFE_SKIP_SIGNATURES", "true")]));
    let good = rows(&vectors, "verdicts").find(|row| row["good"] == true).unwrap();
    let hash = node.assert(&body(&good["claim"])).await;
    let sound = vendor_tests::claims::fetch_all(&mut node.client().await, &[hash]).await.remove(0);
    let mut forged = sound.clone();
    let at = forged.len() - ROOT_BYTES - SIGNATURE_BYTES * signatures(good) + 40;
    forged[at] ^= 1;
    let request = gossip(forged.clone());
    let answer = node.client().await.gossip(request.clone()).await.unwrap().into_inner();
    assert!(!answer.accepted && answer.error.contains("signature"), "{answer:?}");
    let answer = lenient.client().await.gossip(request).await.unwrap().into_inner();
    assert!(answer.accepted, "{}", answer.error);

    let strict = Node::start(&[("STEMEDB_SEEDS", &lenient.rpc.to_string())]);
    let peers = strict.sync().await;
    assert!(peers[0]["error"].as_str().unwrap().contains("signature"), "{peers:?}");
    assert_eq!(strict.root().await.1, 0);
}
