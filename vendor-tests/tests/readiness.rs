//! Liveness, readiness and the drain of the built program, over HTTP and gRPC.

use std::net::SocketAddr;

use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use vendor_tests::api;
use vendor_tests::claims::claim;
use vendor_tests::node::{Node, ONE_CLUSTER};
use vendor_tests::wait::until;

/// Status and body.
async fn ask(at: SocketAddr, path: &str) -> (u16, String) {
    let answer = api::get(at, path).await.expect("the node answers");
    (answer.status, answer.text)
}

/// Liveness is given; readiness has this status and these words, at both ports.
async fn expect(node: &Node, status: u16, words: &str) {
    for at in [node.http, node.gateway] {
        let live = (200, "{\"status\":\"live\"}".to_owned());
        assert_eq!(ask(at, "/v1/health/live").await, live);
        let (found, text) = ask(at, "/v1/health/ready").await;
        assert_eq!(found, status, "{text}");
        assert!(text.contains(words), "{text}");
    }
}

async fn grpc_health(node: &Node) -> ServingStatus {
    let mut health = HealthClient::new(node.channel().await);
    let answer = health.check(HealthCheckRequest::default()).await;
    answer.expect("an answer").into_inner().status()
}

#[tokio::test]
async fn a_node_with_seeds_is_ready_once_it_has_met_another() {
    let node = Node::start(&[ONE_CLUSTER, ("STEMEDB_SEEDS", "127.0.0.1:1")]);
    expect(&node, 503, "\"code\":\"not_joined\"").await;
    let mut health = HealthClient::new(node.channel().await);
    until("gRPC says so, too", async || grpc_health(&node).await == ServingStatus::NotServing)
        .await;
    let watch = health.watch(HealthCheckRequest::default()).await.expect("an answer");
    let mut watch = watch.into_inner();
    let first = watch.message().await.expect("a whole stream").expect("a message");
    assert_eq!(first.status(), ServingStatus::NotServing);
    // Not ready is no reason to refuse.
    node.assert(&claim(1)).await;
    let other = Node::start(&[ONE_CLUSTER, ("STEMEDB_SEEDS", &node.rpc.to_string())]);
    let next = watch.message().await.expect("a whole stream").expect("a message");
    assert_eq!(next.status(), ServingStatus::Serving);
    for node in [&node, &other] {
        let is_ready = async || ask(node.http, "/v1/health/ready").await.0 == 200;
        until("both have joined", is_ready).await;
        expect(node, 200, "{\"status\":\"ready\",\"writes\":\"ok\"}").await;
    }
}

#[tokio::test]
async fn a_drain_serves_everything_and_a_second_signal_ends_it() {
    let mut node = Node::start(&[("STEMEDB_DRAIN_DELAY", "1h")]);
    expect(&node, 200, "{\"status\":\"ready\",\"writes\":\"ok\"}").await;
    let mut health = HealthClient::new(node.channel().await);
    let watch = health.watch(HealthCheckRequest::default()).await.expect("an answer");
    let mut watch = watch.into_inner();
    let mut next = async || watch.message().await.expect("a whole stream").expect("one").status();
    assert_eq!(next().await, ServingStatus::Serving);
    node.send("-TERM");
    assert_eq!(next().await, ServingStatus::NotServing);
    expect(&node, 503, "\"code\":\"draining\"").await;
    assert_eq!(grpc_health(&node).await, ServingStatus::NotServing);
    let hash = node.assert(&claim(1)).await;
    assert_eq!(node.root().await.1, 1);
    assert!(node.client().await.ping(vendor_tests::pb::PingRequest::default()).await.is_ok());
    assert!(node.is_running());
    node.send("-TERM");
    assert!(node.ended().await.success(), "{}", node.log());
    let node = node.restart_with(&[]);
    let path = format!("/v1/assertions/{}", vendor_tests::set::hex(&hash));
    assert_eq!(ask(node.http, &path).await.0, 200);
}

#[tokio::test]
async fn a_drain_ends_by_itself_and_probes_need_no_key() {
    let mut node = Node::start(&[
        ("STEMEDB_DRAIN_DELAY", "200ms"),
        ("STEMEDB_AUTH_ENABLED", "true"),
        ("STEMEDB_ROOT_API_KEY", "open-sesame"),
    ]);
    expect(&node, 200, "ready").await;
    assert_eq!(ask(node.http, "/v1/query").await.0, 401);
    assert!(node.stop().success());
    assert!(node.log().contains("draining for 200ms"), "{}", node.log());
}
