//! tonic's client against our node: every call of the service, on its good and its error paths.

use std::collections::BTreeSet;
use std::time::Duration;

use tonic::codec::CompressionEncoding;
use tonic::{Code, Request};
use vendor_tests::claims::{claim, fetch_all, fill, gossip, large, now, opaque};
use vendor_tests::node::Node;
use vendor_tests::pb::{
    FetchRequest, GetLeavesRequest, GossipRequest, MembershipUpdate, PingRequest,
    RootExchangeRequest,
};
use vendor_tests::set::{self, Hash};

/// What a default client accepts.
const ANSWER_BYTES_MAX: usize = 4 << 20;

fn digests(leaves: Vec<Vec<u8>>) -> Vec<Hash> {
    leaves.into_iter().map(|leaf| leaf.try_into().expect("leaves are 32 bytes")).collect()
}

#[tokio::test]
async fn gossip_takes_what_is_sound_once_and_says_why_it_refuses_the_rest() {
    let node = Node::start(&[]);
    let mut client = node.client().await;
    let sound = gossip(opaque(1));
    for _ in 0..2 {
        let answer = client.gossip(sound.clone()).await.unwrap().into_inner();
        assert!(answer.accepted && answer.error.is_empty(), "{answer:?}");
    }
    assert_eq!(node.root().await.1, 1, "a second arrival adds nothing");

    let with = |change: fn(&mut GossipRequest)| {
        let mut request = gossip(opaque(2));
        change(&mut request);
        request
    };
    let refused = [
        ("a short hash", with(|it| it.assertion_hash.truncate(31))),
        ("a long hash", with(|it| it.assertion_hash.push(0))),
        ("no hash", with(|it| it.assertion_hash.clear())),
        ("another hash", with(|it| it.assertion_hash[0] ^= 1)),
        ("no data", GossipRequest { assertion_data: Vec::new(), ..gossip(Vec::new()) }),
        ("a byte too many", gossip(large(3, (1 << 20) + 1))),
        ("a short node id", with(|it| it.hlc_node_id.truncate(15))),
    ];
    for (what, request) in refused {
        let answer = client.gossip(request).await.unwrap_or_else(|e| panic!("{what}: {e}"));
        let answer = answer.into_inner();
        assert!(!answer.accepted && answer.error.len() > 5, "{what}: {answer:?}");
    }
    let largest = client.gossip(gossip(large(3, 1 << 20))).await.unwrap().into_inner();
    assert!(largest.accepted, "{}", largest.error);
    let clocks = [0, now() + 300_000, now() + 3_600_000, u64::MAX];
    for (number, hlc_time) in (4..).zip(clocks) {
        let request = GossipRequest { hlc_time, hlc_counter: u32::MAX, ..gossip(opaque(number)) };
        let answer = client.gossip(request).await.unwrap().into_inner();
        assert!(answer.accepted, "data waits for no clock, {hlc_time}: {}", answer.error);
    }
    assert_eq!(node.root().await.1, 2 + clocks.len() as u64);
    let clock = node.get("/v1/health").await["clock"].clone();
    assert_eq!((&clock["refused_count"], &clock["set_back_count"]), (&3.into(), &0.into()));
    assert!(clock["hlc_ahead_ms"].as_u64().unwrap() <= 60_000, "{clock}");
    let logged = node.log().matches("the clock of a caller that is no member").count();
    assert_eq!(logged, 1, "{}", node.log());
}

#[tokio::test]
async fn a_message_past_the_size_limit_is_refused_and_the_connection_lives() {
    let node = Node::start(&[]);
    let mut client = node.client().await;
    let refusal = client.gossip(gossip(large(1, 5 << 20))).await.unwrap_err();
    assert_eq!(refusal.code(), Code::ResourceExhausted, "{refusal}");
    client.ping(PingRequest::default()).await.unwrap();
    assert_eq!(node.root().await.1, 0);
}

#[tokio::test]
async fn an_assertion_of_ours_travels_by_gossip_and_is_queried_where_it_arrives() {
    let (here, there) = (Node::start(&[]), Node::start(&[]));
    let hash = here.assert(&claim(7)).await;
    let bodies = fetch_all(&mut here.client().await, &[hash]).await;
    let answer = there.client().await.gossip(gossip(bodies[0].clone())).await.unwrap();
    assert!(answer.into_inner().accepted);
    let path = "/v1/query?subject=package/1&predicate=essential";
    let (ours, theirs) = (here.get(path).await, there.get(path).await);
    assert_eq!(ours["assertions"], theirs["assertions"]);
    assert_eq!(ours["assertions"].as_array().unwrap().len(), 1);
    assert_eq!(there.assert(&claim(7)).await, hash, "the same body has the same hash");
    assert_eq!(there.root().await, here.root().await);
}

#[tokio::test]
async fn opaque_bytes_are_kept_counted_served_and_shown_as_opaque() {
    let node = Node::start(&[]);
    let mut client = node.client().await;
    let hashes = fill(&client, (0..3).map(opaque)).await;
    let bodies = fetch_all(&mut client, &hashes).await;
    assert_eq!(bodies, (0..3).map(opaque).collect::<Vec<_>>());
    let shown = node.get(&format!("/v1/assertions/{}", set::hex(&hashes[0]))).await;
    assert!(shown.to_string().contains("opaque"), "{shown}");
    assert_eq!(node.root().await, (set::root(&hashes.into_iter().collect()), 3));
}

#[tokio::test]
async fn exchange_roots_matches_exactly_for_the_same_set() {
    let node = Node::start(&[]);
    let mut client = node.client().await;
    let mut set = BTreeSet::new();
    for (from, to) in [(0, 0), (0, 1), (1, 64), (64, 65), (65, 300)] {
        set.extend(fill(&client, (from..to).map(opaque)).await);
        let (merkle_root, assertion_count) = (set::root(&set).to_vec(), set.len() as u64);
        let ours = RootExchangeRequest { merkle_root, assertion_count };
        let answer = client.exchange_roots(ours.clone()).await.unwrap().into_inner();
        assert_eq!(answer.merkle_root, ours.merkle_root, "the root of {to} assertions");
        assert_eq!(answer.assertion_count, ours.assertion_count);
        assert!(answer.roots_match);

        let other = RootExchangeRequest { merkle_root: vec![0xab; 32], ..ours.clone() };
        let more = RootExchangeRequest { assertion_count: assertion_count + 1, ..ours };
        for other in [other, more] {
            let answer = client.exchange_roots(other).await.unwrap().into_inner();
            assert!(!answer.roots_match);
        }
        // A count that is left out says nothing against the root.
        let (merkle_root, assertion_count) = (set::root(&set).to_vec(), 0);
        let bare = RootExchangeRequest { merkle_root, assertion_count };
        assert!(client.exchange_roots(bare).await.unwrap().into_inner().roots_match);
        // What proto3 sends for a set without members.
        let nothing = RootExchangeRequest { merkle_root: Vec::new(), assertion_count: 0 };
        let answer = client.exchange_roots(nothing).await.unwrap().into_inner();
        assert_eq!(answer.roots_match, set.is_empty());
    }
    for (length, assertion_count) in [(31, 0), (0, 1)] {
        let bad = RootExchangeRequest { merkle_root: vec![0; length], assertion_count };
        let refusal = client.exchange_roots(bad).await.unwrap_err();
        assert_eq!(refusal.code(), Code::InvalidArgument, "{refusal}");
    }
}

#[tokio::test]
async fn fetch_answers_what_it_has_and_refuses_too_many_hashes() {
    let node = Node::start(&[]);
    let mut client = node.client().await;
    let hashes = fill(&client, (0..3).map(opaque)).await;
    let mut wanted: Vec<Vec<u8>> = (10..1007).map(|n| set::hash(&opaque(n)).to_vec()).collect();
    wanted.extend(hashes.iter().map(|hash| hash.to_vec()));
    assert_eq!(wanted.len(), 1000);
    let all = FetchRequest { hashes: wanted.clone() };
    let answer = client.fetch_assertions(all).await.unwrap().into_inner();
    assert_eq!(answer.assertions.len(), 3);

    wanted.push(vec![0; 32]);
    let refusal = client.fetch_assertions(FetchRequest { hashes: wanted }).await.unwrap_err();
    assert_eq!(refusal.code(), Code::InvalidArgument, "{refusal}");
    let short = FetchRequest { hashes: vec![vec![0; 20]] };
    let refusal = client.fetch_assertions(short).await.unwrap_err();
    assert_eq!(refusal.code(), Code::InvalidArgument, "{refusal}");
    let none = client.fetch_assertions(FetchRequest::default()).await.unwrap().into_inner();
    assert!(none.assertions.is_empty());
}

#[tokio::test]
async fn a_fetch_stays_under_what_a_default_client_accepts() {
    let node = Node::start(&[]);
    let mut client = node.client().await;
    let hashes = fill(&client, (0..7).map(|n| large(n, 1 << 20))).await;
    let wanted = hashes.iter().map(|hash| hash.to_vec()).collect();
    let first = client.fetch_assertions(FetchRequest { hashes: wanted }).await.unwrap();
    let bytes: usize = first.into_inner().assertions.iter().map(|it| it.data.len()).sum();
    assert!((1 << 20..ANSWER_BYTES_MAX).contains(&bytes), "{bytes} bytes in one answer");
    assert_eq!(fetch_all(&mut client, &hashes).await.len(), 7);

    let same = vec![hashes[0].to_vec(); 1000];
    client.fetch_assertions(FetchRequest { hashes: same }).await.expect("a small enough answer");
}

#[tokio::test]
async fn ping_tells_who_and_where_the_node_is() {
    let node = Node::start(&[("STEMEDB_NODE_ID", "000102030405060708090a0b0c0d0e0f")]);
    let mut client = node.client().await;
    fill(&client, (0..2).map(opaque)).await;
    let update = |node_id| MembershipUpdate { node_id, state: 99, ..Default::default() };
    let odd = PingRequest {
        node_id: vec![1; 5],
        updates: vec![update(vec![]), update(vec![2; 16]), update(vec![3; 300])],
    };
    let sound = PingRequest { node_id: vec![1; 16], updates: Vec::new() };
    let _ = client.ping(odd).await;
    let answer = client.ping(sound).await.unwrap().into_inner();
    assert_eq!(answer.node_id, (0..16).collect::<Vec<u8>>());
    assert_eq!(answer.assertion_count, 2);
    assert_eq!(answer.rpc_addr, node.rpc.to_string());
    assert_eq!(answer.api_addr, node.http.to_string());
    let health = node.get("/v1/health").await;
    assert_eq!(health["node_id"], "000102030405060708090a0b0c0d0e0f");
}

#[tokio::test]
async fn successive_calls_of_get_leaves_walk_through_more_than_one_answer_holds() {
    const COUNT: u64 = 10_010;
    let node = Node::start(&[("STEMEDB_DURABILITY", "batched")]);
    let mut client = node.client().await;
    let all: BTreeSet<Hash> = fill(&client, (0..COUNT).map(opaque)).await.into_iter().collect();
    for (max_leaves, pages) in [(10_001, 2), (0, 2), (u64::MAX, 2), (4_000, 3)] {
        let mut client = node.client().await;
        let mut seen = BTreeSet::new();
        for _ in 0..=pages {
            let answer = client.get_leaves(GetLeavesRequest { max_leaves }).await.unwrap();
            let answer = answer.into_inner();
            assert!(answer.truncated, "{} leaves of {COUNT}", answer.leaves.len());
            let cap = if max_leaves == 0 { 10_000 } else { max_leaves.min(10_000) };
            assert!((1..=cap).contains(&(answer.leaves.len() as u64)));
            seen.extend(digests(answer.leaves));
        }
        assert!(
            seen == all,
            "{} of {COUNT} leaves after {pages} pages of {max_leaves}",
            seen.len()
        );
    }

    let mut seen = BTreeSet::new();
    for _ in 0..4 {
        let request = GetLeavesRequest { max_leaves: 5_000 };
        let answer = node.client().await.get_leaves(request).await.unwrap().into_inner();
        seen.extend(digests(answer.leaves));
    }
    assert!(seen == all, "a client that dials anew for each call saw {} leaves", seen.len());

    let (merkle_root, assertion_count) = (set::root(&all).to_vec(), COUNT);
    let roots = RootExchangeRequest { merkle_root, assertion_count };
    assert!(client.exchange_roots(roots).await.unwrap().into_inner().roots_match);
}

#[tokio::test]
async fn get_leaves_of_a_small_set_is_the_whole_set() {
    let node = Node::start(&[]);
    let mut client = node.client().await;
    let empty = client.get_leaves(GetLeavesRequest { max_leaves: 0 }).await.unwrap().into_inner();
    assert!(empty.leaves.is_empty() && !empty.truncated);
    let all: BTreeSet<Hash> = fill(&client, (0..9).map(opaque)).await.into_iter().collect();
    for max_leaves in [0, 9, 10, 10_001] {
        let answer = client.get_leaves(GetLeavesRequest { max_leaves }).await.unwrap();
        let answer = answer.into_inner();
        assert!(!answer.truncated, "{max_leaves} asked for");
        assert_eq!(digests(answer.leaves).into_iter().collect::<BTreeSet<_>>(), all);
    }
    let two = client.get_leaves(GetLeavesRequest { max_leaves: 2 }).await.unwrap().into_inner();
    assert!(two.truncated && two.leaves.len() == 2, "{two:?}");
}

/// A `PingRequest` from a later version of the definition.
#[derive(Clone, PartialEq, prost::Message)]
struct LaterPing {
    #[prost(bytes = "vec", tag = "1")]
    node_id: Vec<u8>,
    #[prost(string, tag = "3")]
    zone: String,
    #[prost(uint64, tag = "500")]
    load: u64,
    #[prost(fixed64, repeated, tag = "501")]
    history: Vec<u64>,
    #[prost(message, optional, tag = "502")]
    parent: Option<Box<LaterPing>>,
}

#[tokio::test]
async fn fields_of_a_later_definition_are_ignored() {
    let node = Node::start(&[]);
    let mut grpc = tonic::client::Grpc::new(node.channel().await);
    let inner = LaterPing { zone: "north".into(), ..Default::default() };
    let ping = LaterPing {
        node_id: vec![9; 16],
        zone: "south".into(),
        load: u64::MAX,
        history: vec![1, 2, 3],
        parent: Some(Box::new(inner)),
    };
    let codec = tonic_prost::ProstCodec::<LaterPing, vendor_tests::pb::PingResponse>::default();
    let path = http::uri::PathAndQuery::from_static("/stemedb.sync.v1.SyncService/Ping");
    grpc.ready().await.unwrap();
    let answer = grpc.unary(Request::new(ping), path, codec).await.unwrap().into_inner();
    assert_eq!(answer.node_id.len(), 16);
}

#[tokio::test]
async fn unknown_methods_and_services_are_unimplemented() {
    let node = Node::start(&[]);
    let mut grpc = tonic::client::Grpc::new(node.channel().await);
    for path in ["/stemedb.sync.v1.SyncService/Flood", "/stemedb.sync.v9.SyncService/Ping", "/x"] {
        let codec = tonic_prost::ProstCodec::<PingRequest, PingRequest>::default();
        let path = http::uri::PathAndQuery::from_static(path);
        grpc.ready().await.unwrap();
        let refusal = grpc.unary(Request::new(PingRequest::default()), path, codec).await;
        assert_eq!(refusal.unwrap_err().code(), Code::Unimplemented);
    }
}

#[tokio::test]
async fn a_deadline_in_time_is_met() {
    let node = Node::start(&[]);
    let mut request = Request::new(PingRequest::default());
    request.set_timeout(Duration::from_secs(20));
    node.client().await.ping(request).await.unwrap();
}

#[tokio::test]
async fn compressed_messages_are_refused_and_plain_answers_given_to_who_would_take_them() {
    let node = Node::start(&[]);
    let client = node.client().await;
    let mut sends = client.clone().send_compressed(CompressionEncoding::Gzip);
    let refusal = sends.ping(PingRequest { node_id: vec![1; 16], ..Default::default() }).await;
    let refusal = refusal.unwrap_err();
    assert_eq!(refusal.code(), Code::Unimplemented, "{refusal}");
    let accepted = refusal.metadata().get("grpc-accept-encoding").expect("what is accepted");
    assert_eq!(accepted, "identity");
    let mut accepts = client.accept_compressed(CompressionEncoding::Gzip);
    accepts.ping(PingRequest::default()).await.unwrap();
}

#[tokio::test]
async fn two_hundred_calls_at_once_on_one_connection_are_all_answered() {
    let node = Node::start(&[]);
    let client = node.client().await;
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..200u64 {
        let mut client = client.clone();
        calls.spawn(async move {
            if number % 2 == 0 {
                client.ping(PingRequest::default()).await.map(|_| ())
            } else {
                client.gossip(gossip(opaque(number))).await.map(|_| ())
            }
        });
    }
    while let Some(call) = calls.join_next().await {
        call.unwrap().unwrap();
    }
    assert_eq!(node.root().await.1, 100);
}
