//! The cluster key: strangers are refused, members and orchestrators are not.

use tonic::metadata::MetadataValue;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use vendor_tests::api;
use vendor_tests::claims::{claim, gossip, opaque};
use vendor_tests::node::{self, Node};
use vendor_tests::pb::{FetchRequest, GetLeavesRequest, PingRequest, RootExchangeRequest};
use vendor_tests::peer::{Manner, Peer};
use vendor_tests::wait::until;

const KEY: &str = "x-stemedb-cluster-key";

/// What each of the five calls answers to a client that sends `key`.
async fn codes(node: &Node, key: Option<&str>) -> Vec<Code> {
    let mut client = node.client().await;
    let root = RootExchangeRequest { merkle_root: vec![0; 32], ..Default::default() };
    let mut codes = Vec::new();
    macro_rules! call {
        ($method:ident, $message:expr) => {
            let mut request = Request::new($message);
            if let Some(key) = key {
                request.metadata_mut().insert(KEY, MetadataValue::try_from(key).unwrap());
            }
            codes.push(
                client.$method(request).await.map_or_else(|error| error.code(), |_| Code::Ok),
            );
        };
    }
    call!(gossip, gossip(opaque(1)));
    call!(exchange_roots, root);
    call!(fetch_assertions, FetchRequest::default());
    call!(ping, PingRequest::default());
    call!(get_leaves, GetLeavesRequest::default());
    codes
}

#[tokio::test]
async fn strangers_are_refused_and_change_nothing() {
    let node = Node::start(&[("STEMEDB_CLUSTER_KEY", "correct-horse")]);
    for stranger in [None, Some("battery-staple"), Some("correct-hors"), Some("")] {
        assert_eq!(codes(&node, stranger).await, [Code::Unauthenticated; 5], "{stranger:?}");
    }
    assert_eq!(node.root().await.1, 0);
    assert_eq!(codes(&node, Some("correct-horse")).await, [Code::Ok; 5]);
    assert_eq!(node.root().await.1, 1);
    let mut health = HealthClient::new(node.channel().await);
    health.check(HealthCheckRequest::default()).await.expect("orchestrators have no key");
    assert!(!node.log().contains("correct-horse"));
}

#[tokio::test]
async fn nodes_with_one_key_level_and_others_say_why_not() {
    let file = tempfile::NamedTempFile::new().expect("a temp file");
    std::fs::write(file.path(), "correct-horse\n").expect("writable");
    let first = Node::start(&[("STEMEDB_CLUSTER_KEY", "correct-horse")]);
    first.assert(&claim(1)).await;
    let seeds = first.rpc.to_string();
    let path = file.path().to_str().expect("UTF-8");
    let member = Node::start(&[("STEMEDB_CLUSTER_KEY_FILE", path), ("STEMEDB_SEEDS", &seeds)]);
    assert!(member.sync().await[0]["error"].is_null());
    assert_eq!(member.root().await, first.root().await);
    let stranger = Node::start(&[("STEMEDB_CLUSTER_KEY", "another"), ("STEMEDB_SEEDS", &seeds)]);
    let error = stranger.sync().await[0]["error"].to_string();
    assert!(error.contains("UNAUTHENTICATED") && error.contains(KEY), "{error}");
}

#[test]
fn api_keys_without_a_cluster_key_start_on_loopback_alone() {
    let start = |rpc: &str| {
        let mut command = node::command();
        command.env("STEMEDB_DATA_DIR", "/nonexistent").env("STEMEDB_RPC_ADDR", rpc);
        command.env("STEMEDB_AUTH_ENABLED", "true").env("STEMEDB_ROOT_API_KEY", "open-sesame");
        let output = command.arg("--print-settings").output().expect("the program runs");
        (output.status.code(), String::from_utf8(output.stderr).expect("UTF-8"))
    };
    let (code, error) = start("0.0.0.0:0");
    assert_eq!((code, error.lines().count()), (Some(2), 1), "{error}");
    assert!(error.contains("STEMEDB_CLUSTER_KEY") && !error.contains("sesame"), "{error}");
    assert_eq!(start("127.0.0.1:0").0, Some(0));
}

/// A node of the standard alone is a member, but has never shown the cluster key.
#[tokio::test]
async fn clients_keys_are_kept_from_members_that_did_not_show_the_cluster_key() {
    let thief = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let thief_at = thief.local_addr().expect("bound").to_string();
    let peer = Peer::start_with_api(Manner::Honest, [], thief_at).await;
    let node = Node::start(&[
        ("STEMEDB_AUTH_ENABLED", "true"),
        ("STEMEDB_ROOT_API_KEY", "open-sesame"),
        ("STEMEDB_CLUSTER_KEY", "correct-horse"),
        ("STEMEDB_REPLICATION_FACTOR", "1"),
        ("STEMEDB_SEEDS", &peer.address.to_string()),
    ]);
    let key = "x-api-key: open-sesame\r\n";
    until("the peer is a member", async || {
        let answer = api::ask(node.http, "/v1/cluster/status", None, key).await;
        answer.expect("an answer").json()["members"].as_array().is_some_and(|it| it.len() == 2)
    })
    .await;
    let asking = async {
        for number in 0..40 {
            let path = format!("/v1/query?subject=s{number}");
            let answer = api::ask(node.gateway, &path, None, key).await.expect("an answer");
            assert_eq!(answer.status, 200, "{}", answer.text);
        }
    };
    tokio::select! {
        () = asking => {}
        _ = thief.accept() => panic!("the gateway calls the thief"),
    }
}
