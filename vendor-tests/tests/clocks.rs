//! Nodes whose wall clocks are wrong: in 1970, in 2099, five minutes ahead. The claims that they
//! take are everywhere at once, and a clock that is set right is followed.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use vendor_tests::api;
use vendor_tests::claims::{fetch_all, gossip, now};
use vendor_tests::clock::WallClock;
use vendor_tests::node::Node;
use vendor_tests::set::{Hash, hex, unhex};
use vendor_tests::wait::until;

const YEAR: i64 = 365 * 24 * 3600;
/// Clocks may drift apart by so many milliseconds.
const DRIFT: u64 = 60_000;

/// A claim without a time of its own.
fn claim(number: u64) -> Value {
    let value = json!({ "type": "Number", "value": number });
    json!({ "subject": format!("s{number}"), "predicate": "p", "object": value })
}

/// What takes the clock to 1970.
fn to_1970() -> i64 {
    -i64::try_from(now() / 1000).expect("small") + 1000
}

/// The HLC time of a claim made here and now.
async fn stamp_of(node: &Node, number: u64) -> u64 {
    let hash = node.assert(&claim(number)).await;
    let shown = node.get(&format!("/v1/assertions/{}", hex(&hash))).await;
    shown["hlc"]["time"].as_u64().expect("a time")
}

fn is_now(time: u64) -> bool {
    time.abs_diff(now()) <= DRIFT
}

fn start(clock: &WallClock, more: &[(&str, &str)]) -> Node {
    let settings = clock.settings();
    let mut all: Vec<(&str, &str)> = settings.iter().map(|(name, text)| (*name, &**text)).collect();
    all.extend(more);
    Node::start(&all)
}

fn lines(node: &Node, part: &str) -> usize {
    node.log().lines().filter(|line| line.contains(part)).count()
}

/// Waits for the line, which stands there once.
async fn is_logged_once(node: &Node, part: &str) {
    until(part, async || lines(node, part) > 0).await;
    assert_eq!(lines(node, part), 1, "{}", node.log());
}

#[tokio::test]
async fn a_clock_that_said_2099_is_followed_back() {
    let clock = WallClock::new(0);
    let node = start(&clock, &[]);
    assert!(is_now(stamp_of(&node, 0).await));
    clock.set(73 * YEAR);
    assert!(stamp_of(&node, 1).await > now() + 72 * 365 * 24 * 3_600_000);
    clock.set(0);
    for number in 2..5 {
        let time = stamp_of(&node, number).await;
        assert!(is_now(time), "{time}: {}", node.log());
    }
    is_logged_once(&node, "the clock was set back by 2664").await;
    let shown = node.get("/v1/health").await["clock"].clone();
    assert_eq!((&shown["status"], &shown["set_back_count"]), (&"ok".into(), &1.into()), "{shown}");
    let node = node.crash_and_restart();
    assert!(is_now(stamp_of(&node, 5).await), "{}", node.log());
    assert_eq!(lines(&node, "ERROR"), 0, "{}", node.log());
}

#[tokio::test]
async fn a_start_does_not_go_on_after_stamps_of_2099() {
    let clock = WallClock::new(73 * YEAR);
    let node = start(&clock, &[]);
    for number in 0..3 {
        stamp_of(&node, number).await;
    }
    clock.set(0);
    let node = node.crash_and_restart();
    is_logged_once(&node, "stamps of this node that are 2664").await;
    assert!(is_now(stamp_of(&node, 3).await), "{}", node.log());
    let page = node.get("/v1/query?limit=10").await;
    let shown = page["assertions"].as_array().expect("a list").iter();
    assert_eq!(shown.filter(|it| it["not_yet"] == true).count(), 3, "{page}");
}

#[tokio::test]
async fn an_invented_row_of_the_year_9999_moves_no_clock() {
    let (victim, other) = (Node::start(&[]), Node::start(&[]));
    let mut body = claim(0);
    body["hlc"] =
        json!({ "time": 253_402_300_799_000_u64, "counter": 9, "node": victim.id().await });
    let hash = other.assert(&body).await;
    let bodies = fetch_all(&mut other.client().await, &[hash]).await;
    let answer = victim.client().await.gossip(gossip(bodies[0].clone())).await.expect("an answer");
    assert!(answer.into_inner().accepted);
    let victim = victim.crash_and_restart();
    let time = stamp_of(&victim, 1).await;
    assert!(is_now(time), "{time}: {}", victim.log());
}

#[tokio::test]
async fn a_node_that_boots_in_1970_says_so_until_its_clock_is_set() {
    let clock = WallClock::new(0);
    let node = start(&clock, &[]);
    assert!(is_now(stamp_of(&node, 0).await));
    assert_eq!(lines(&node, "WARN"), 0, "{}", node.log());
    clock.set(to_1970());
    let node = node.crash_and_restart();
    for line in ["before the release of this version", "before the last write to the log"] {
        is_logged_once(&node, line).await;
    }
    assert_eq!(node.get("/v1/health").await["clock"]["status"], "behind");
    assert!(stamp_of(&node, 1).await < 10_000_000);
    clock.set(0);
    assert!(is_now(stamp_of(&node, 2).await));
    assert_eq!(node.get("/v1/health").await["clock"]["status"], "ok");
}

#[tokio::test]
async fn a_node_in_1970_judges_what_was_claimed_before() {
    let clock = WallClock::new(0);
    let node = start(&clock, &[]);
    let mut sensor = claim(0);
    // After the release, so that only the log says that it has come.
    sensor["timestamp"] = (now() / 1000).into();
    let hash = node.assert(&sensor).await;
    clock.set(to_1970());
    let node = node.crash_and_restart();
    let mut early = claim(0);
    early["object"]["value"] = 1.into();
    node.assert(&early).await;
    let path = "/v1/query?subject=s0&predicate=p&lens=recency";
    let page = node.get(path).await;
    assert_eq!(page["resolution"]["winner"], hex(&hash), "{page}");
    assert_eq!(page["resolution"]["candidates_count"], 2, "{page}");
    let one = node.get(&format!("/v1/assertions/{}", hex(&hash))).await;
    assert_eq!(one["not_yet"], Value::Null, "{one}");
}

async fn all_see_each_other(nodes: &[Node]) {
    for node in nodes {
        until("all members", async || {
            let members = node.members().await;
            members.values().filter(|state| *state == "Alive").count() == nodes.len()
        })
        .await;
    }
}

#[tokio::test]
async fn claims_of_nodes_with_wrong_clocks_are_everywhere_at_once() {
    let clocks = [0, 300, to_1970(), 73 * YEAR].map(WallClock::new);
    let mut nodes: Vec<Node> = Vec::new();
    for clock in &clocks {
        let seed = nodes.first().map(|node| node.rpc.to_string()).unwrap_or_default();
        // One replica for each shard, so that gateways have to forward.
        let more = [("STEMEDB_SEEDS", &*seed), ("STEMEDB_REPLICATION_FACTOR", "1")];
        nodes.push(start(clock, &more));
    }
    all_see_each_other(&nodes).await;
    let mut all: BTreeSet<Hash> = BTreeSet::new();
    for number in 0..80 {
        let by = nodes[number as usize % nodes.len()].gateway;
        let answer = api::post(by, "/v1/assert", &claim(number)).await.expect("an answer");
        assert_eq!(answer.status, 201, "{}", answer.text);
        all.insert(unhex(answer.json()["hash"].as_str().expect("a hash")));
    }
    // Anti-entropy is off.
    let expected = (vendor_tests::set::root(&all), all.len() as u64);
    for node in &nodes {
        let what = format!("all claims at {}", node.http);
        until(&what, async || node.root().await == expected).await;
    }
    let page = api::get(nodes[0].http, "/metrics").await.expect("an answer").text;
    for (node, ahead) in nodes[1..].iter().zip([300.0, to_1970() as f64, 73.0 * YEAR as f64]) {
        let id = node.id().await;
        let skew = format!("stemedb_peer_clock_skew_seconds{{peer=\"{id}\"}} ");
        let skew = page.lines().find_map(|line| line.strip_prefix(&skew)).expect(&id);
        let skew: f64 = skew.parse().expect("a number");
        assert!((skew - ahead).abs() < 60.0, "{skew} instead of {ahead}");
        is_logged_once(&nodes[0], &format!("the clock of {id}")).await;
    }
    // What clocks say of each other follows a clock that is set, without a word from them.
    assert_eq!(nodes[3].get("/v1/health").await["clock"]["status"], "ahead");
    clocks[3].set(0);
    assert_eq!(nodes[3].get("/v1/health").await["clock"]["status"], "ok");
}

#[tokio::test]
async fn a_fast_node_that_cannot_be_dialled_is_heard_at_once() {
    let clock = WallClock::new(300);
    let right = Node::start(&[]);
    let seed = right.rpc.to_string();
    let more = [("STEMEDB_SEEDS", &*seed), ("STEMEDB_ADVERTISE_RPC_ADDR", "127.0.0.1:1")];
    let fast = start(&clock, &more);
    until("the fast one knows the other", async || fast.members().await.len() == 2).await;
    for number in 0..5 {
        fast.assert(&claim(number)).await;
    }
    until("all claims by pushes alone", async || right.root().await == fast.root().await).await;
    assert_eq!(right.root().await.1, 5);
}

#[tokio::test]
async fn anti_entropy_waits_for_no_clock() {
    let clock = WallClock::new(73 * YEAR);
    let wrong = start(&clock, &[]);
    for number in 0..3 {
        wrong.assert(&claim(number)).await;
    }
    let seed = wrong.rpc.to_string();
    let right = Node::start(&[("STEMEDB_SEEDS", &seed)]);
    until("they know each other", async || wrong.members().await.len() == 2).await;
    let reports = wrong.sync().await;
    assert_eq!(
        (&reports[0]["sent"], &reports[0]["error"]),
        (&3.into(), &Value::Null),
        "{reports:?}"
    );
    assert_eq!(right.root().await, wrong.root().await);
    assert!(is_now(stamp_of(&right, 9).await));
}
