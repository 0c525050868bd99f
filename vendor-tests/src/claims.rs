//! Things to store: claims as JSON, opaque bytes, and the requests that carry them.
//!
//! In: numbers. Out: distinct, repeatable claims and bodies. Never: random ones.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tonic::transport::Channel;

use crate::pb::sync_service_client::SyncServiceClient;
use crate::pb::{FetchRequest, GossipRequest};
use crate::set::{self, Hash};

/// A claim with a timestamp, so that the same number gives the same hash at every node.
pub fn claim(number: u64) -> Value {
    json!({
        "subject": format!("package/{}", number / 4),
        "predicate": (["version", "section", "size", "essential"][(number % 4) as usize]),
        "object": match number % 4 {
            0 | 1 => json!({ "type": "Text", "value": format!("value {number}") }),
            2 => json!({ "type": "Number", "value": number as f64 * 0.5 }),
            _ => json!({ "type": "Boolean", "value": number % 8 == 3 }),
        },
        "confidence": 0.75,
        "timestamp": 1_700_000_000 + number,
    })
}

/// Bytes that are no assertion of ours, and no two alike.
pub fn opaque(number: u64) -> Vec<u8> {
    format!("a body of another kind, number {number}").into_bytes()
}

/// Opaque bytes of a given length.
pub fn large(number: u64, length: usize) -> Vec<u8> {
    let mut body = opaque(number);
    body.resize(length, b'.');
    body
}

/// Milliseconds since 1970.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    u64::try_from(since.as_millis()).expect("and before the year 500 million")
}

/// An honest Gossip of these bytes.
pub fn gossip(body: Vec<u8>) -> GossipRequest {
    GossipRequest {
        assertion_hash: set::hash(&body).to_vec(),
        assertion_data: body,
        hlc_time: now(),
        hlc_counter: 0,
        hlc_node_id: vec![0x11; 16],
    }
}

/// Gossips bodies, many at a time, all of which must be accepted; their hashes.
pub async fn fill(
    client: &SyncServiceClient<Channel>,
    bodies: impl Iterator<Item = Vec<u8>>,
) -> Vec<Hash> {
    const AT_ONCE: usize = 64;
    let mut calls = tokio::task::JoinSet::new();
    let mut hashes = Vec::new();
    for body in bodies {
        while calls.len() >= AT_ONCE {
            calls.join_next().await.expect("there are calls").expect("no call panics");
        }
        hashes.push(set::hash(&body));
        let mut client = client.clone();
        calls.spawn(async move {
            let answer = client.gossip(gossip(body)).await.expect("the node answers").into_inner();
            assert!(answer.accepted, "{}", answer.error);
        });
    }
    while let Some(call) = calls.join_next().await {
        call.expect("no call panics");
    }
    hashes
}

/// Fetches all of these, asking again for what did not fit into an answer.
pub async fn fetch_all(client: &mut SyncServiceClient<Channel>, hashes: &[Hash]) -> Vec<Vec<u8>> {
    let mut bodies = Vec::new();
    for thousand in hashes.chunks(1000) {
        let mut wanted: Vec<Hash> = thousand.to_vec();
        while !wanted.is_empty() {
            let hashes = wanted.iter().map(|hash| hash.to_vec()).collect();
            let answer = client.fetch_assertions(FetchRequest { hashes }).await;
            let assertions = answer.expect("the node answers").into_inner().assertions;
            assert!(!assertions.is_empty(), "{} hashes are not there", wanted.len());
            for assertion in assertions {
                assert_eq!(set::hash(&assertion.data)[..], assertion.hash, "false bytes");
                let before = wanted.len();
                wanted.retain(|hash| hash[..] != assertion.hash);
                assert_eq!(wanted.len() + 1, before, "an assertion that was not asked for");
                bodies.push(assertion.data);
            }
        }
    }
    bodies
}
