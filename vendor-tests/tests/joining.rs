//! Nodes that do not find their cluster say why, once a minute, on both sides where there are two.

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use vendor_tests::api;
use vendor_tests::claims::claim;
use vendor_tests::node::{self, Node};
use vendor_tests::wait::until;

/// Waits for a line with all these parts; all lines with them are one.
async fn says(node: &Node, parts: &[&str]) {
    let has = |line: &&str| parts.iter().all(|part| line.contains(part));
    until(&format!("a line with {parts:?}"), async || node.log().lines().any(|line| has(&line)))
        .await;
    assert_eq!(node.log().lines().filter(has).count(), 1, "{}", node.log());
}

async fn has_joined(node: &Node) -> bool {
    node.get("/v1/health").await["joined"].as_bool().expect("a truth value")
}

#[tokio::test]
async fn a_seed_that_cannot_be_reached_is_named_with_the_reason() {
    let other = Node::start(&[]);
    assert!(has_joined(&other).await, "without seeds there is no peer to reach");
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let closed = free.local_addr().expect("bound").to_string();
    drop(free);
    let (http, gateway) = (other.http.to_string(), other.gateway.to_string());
    let seeds = format!("{closed},{http},{gateway},a..b:1");
    let node = Node::start(&[("STEMEDB_SEEDS", &seeds)]);
    says(&node, &["WARN", &format!("seed {closed}: refuses connections"), "18182"]).await;
    for port in [http, gateway] {
        says(&node, &["WARN", &format!("seed {port}: what answers there is no gRPC"), "18182"])
            .await;
    }
    says(&node, &["WARN", "seed a..b:1: no name can have an empty"]).await;
    assert!(!has_joined(&node).await);
    let shown = node::command().args(["status", &node.http.to_string()]).output();
    let shown = shown.expect("the program runs");
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(text.contains("NOT JOINED") && !shown.status.success(), "{text}");
    // The first seed that answers ends it.
    let seeds = format!("{seeds},{}", other.rpc);
    let node = node.restart_with(&[("STEMEDB_SEEDS", &seeds)]);
    until("it has joined", async || has_joined(&node).await).await;
}

#[tokio::test]
async fn a_wrong_cluster_key_is_logged_on_both_sides() {
    let cases = [
        (Some("correct-horse"), Some("battery-staple"), "has another cluster key", "is not this"),
        (
            Some("correct-horse"),
            None,
            "asks for a cluster key, which this node lacks",
            "is missing",
        ),
    ];
    for (theirs, ours, here, there) in cases {
        let set = |key: Option<&'static str>| key.map(|key| ("STEMEDB_CLUSTER_KEY", key));
        let other = Node::start(&Vec::from_iter(set(theirs)));
        let seed = other.rpc.to_string();
        let mut settings = vec![("STEMEDB_SEEDS", &*seed)];
        settings.extend(set(ours));
        let node = Node::start(&settings);
        says(&node, &["WARN", &format!("seed {seed}: {here}")]).await;
        says(&other, &["WARN", "gRPC call from 127.0.0.1 refused", there]).await;
        assert!(!has_joined(&node).await);
        assert!(!node.log().contains("correct") && !other.log().contains("battery"));
    }
}

#[tokio::test]
async fn other_settings_than_a_members_are_logged_with_both_values() {
    let one = Node::start(&[("STEMEDB_SHARDS", "32")]);
    let seed = one.rpc.to_string();
    let settings = [("STEMEDB_SEEDS", &*seed), ("STEMEDB_REPLICATION_FACTOR", "2")];
    let two = Node::start(&settings);
    let (first, second) = (one.id().await, two.id().await);
    says(&one, &["WARN", &second, "--shards 64, this node has 32"]).await;
    says(&one, &["WARN", &second, "--replication-factor 2, this node has 3"]).await;
    says(&two, &["WARN", &first, "--shards 32, this node has 64"]).await;
    says(&two, &["WARN", &first, "--replication-factor 3, this node has 2"]).await;
    let like = Node::start(&settings);
    until("they are members", async || like.members().await.len() == 3).await;
    let second = format!("member {second} has --");
    assert!(!like.log().contains(&second), "{}", like.log());
}

#[tokio::test]
async fn a_peer_that_moves_again_and_again_is_one_series() {
    let fast = ("STEMEDB_PROBE_INTERVAL", "100ms");
    let one = Node::start(&[fast]);
    let seed = one.rpc.to_string();
    let mut two = Node::start(&[fast, ("STEMEDB_SEEDS", &seed)]);
    let id = two.id().await;
    let mut ports = std::collections::BTreeSet::new();
    for _ in 0..25 {
        let address = two.rpc.to_string();
        until("it is known where it is", async || {
            let status = one.get("/v1/cluster/status").await;
            status["members"]
                .as_array()
                .expect("a list")
                .iter()
                .any(|member| member["rpc_addr"] == address.as_str() && member["state"] == "Alive")
        })
        .await;
        assert_eq!(one.sync().await.len(), 1);
        ports.insert(address);
        two = two.crash_and_restart();
    }
    assert!(ports.len() > 12, "it did move: {ports:?}");
    let text = api::get(one.http, "/metrics").await.expect("an answer").text;
    let series: Vec<&str> = text.lines().filter(|line| line.contains("{peer=")).collect();
    assert_eq!(series.len(), 2, "{series:?}");
    assert!(series.iter().all(|line| line.contains(&format!("peer=\"{id}\""))), "{series:?}");
}

/// The states in which a node sees others, and whether it can call them, by id.
async fn seen(node: &Node, id: &str) -> (String, bool) {
    let status = node.get("/v1/cluster/status").await;
    let members = status["members"].as_array().expect("a list").clone();
    let found = members.iter().find(|member| member["node_id"] == id);
    found.map_or(("unknown".into(), false), |member| {
        let state = member["state"].as_str().expect("a state").to_owned();
        (state, member["reachable"].as_bool().expect("a truth value"))
    })
}

async fn probes(node: &Node) -> u64 {
    let text = api::get(node.http, "/metrics").await.expect("an answer").text;
    let line = text.lines().find_map(|line| line.strip_prefix("stemedb_swim_probes_total "));
    line.expect("a count").parse().expect("a number")
}

async fn holds(node: &Node, hash: &vendor_tests::set::Hash) -> bool {
    let path = format!("/v1/assertions/{}", vendor_tests::set::hex(hash));
    api::get(node.http, &path).await.is_ok_and(|answer| answer.status == 200)
}

/// Forwards connections to `to`; when the guard is dropped, all of them end, and the port refuses.
async fn forward() -> (std::net::SocketAddr, watch::Sender<Option<std::net::SocketAddr>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let (sender, mut to) = watch::channel(None::<std::net::SocketAddr>);
    tokio::spawn(async move {
        let mut links = tokio::task::JoinSet::new();
        loop {
            tokio::select! {
                changed = to.changed() => if changed.is_err() { return },
                Ok((mut inside, _)) = listener.accept() => {
                    let Some(target) = *to.borrow() else { continue };
                    links.spawn(async move {
                        let mut outside = TcpStream::connect(target).await.ok()?;
                        tokio::io::copy_bidirectional(&mut inside, &mut outside).await.ok()
                    });
                }
            }
        }
    });
    (address, sender)
}

/// A node that calls the others and cannot be called stays a member, its claims travel both ways,
/// and that is logged once.
#[tokio::test]
async fn a_member_that_cannot_be_called_is_alive_by_its_calls() {
    let (address, forwarding) = forward().await;
    let fast = [("STEMEDB_PROBE_INTERVAL", "100ms"), ("STEMEDB_ANTI_ENTROPY_INTERVAL", "500ms")];
    let one = Node::start(&fast);
    let (seed, address) = (one.rpc.to_string(), address.to_string());
    let with = |more: &[(&'static str, &str)]| {
        let mut settings: Vec<(&str, String)> =
            fast.iter().map(|&(name, value)| (name, value.to_owned())).collect();
        settings.push(("STEMEDB_SEEDS", seed.clone()));
        settings.extend(more.iter().map(|&(name, value)| (name, value.to_owned())));
        let settings: Vec<(&str, &str)> = settings.iter().map(|(k, v)| (*k, &**v)).collect();
        Node::start(&settings)
    };
    let two = with(&[]);
    let mut three = with(&[("STEMEDB_ADVERTISE_RPC_ADDR", &address)]);
    let id = three.id().await;
    forwarding.send(Some(three.rpc)).expect("it forwards");
    for node in [&one, &two] {
        let is_there = async || seen(node, &id).await == ("Alive".into(), true);
        until("it is a member", is_there).await;
    }
    drop(forwarding);
    let unreachable = "is reached only by its own calls";
    for node in [&one, &two] {
        let is_unreachable = async || seen(node, &id).await == ("Alive".into(), false);
        until("it is known to be unreachable", is_unreachable).await;
        let logged = async || node.log().contains(unreachable);
        until("that is logged", logged).await;
    }
    // 45 probe intervals: nothing more is logged.
    let before = [one.log(), two.log()];
    let start = probes(&one).await;
    until("45 intervals have passed", async || probes(&one).await >= start + 45).await;
    for (node, before) in [&one, &two].into_iter().zip(&before) {
        let new: Vec<String> =
            node.log().lines().skip(before.lines().count()).map(str::to_owned).collect();
        assert!(new.is_empty(), "{new:?}");
        assert_eq!(seen(node, &id).await, ("Alive".into(), false));
        assert_eq!(node.log().matches(unreachable).count(), 1);
    }
    let (here, there) = (one.assert(&claim(1)).await, three.assert(&claim(2)).await);
    until("claims travel both ways", async || {
        holds(&three, &here).await && holds(&one, &there).await && holds(&two, &there).await
    })
    .await;
    three.kill();
    until("it is dead when its calls end", async || seen(&one, &id).await.0 == "Dead").await;
}

#[tokio::test]
async fn a_newcomer_that_cannot_be_called_is_no_member_and_that_is_logged_once() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let closed = free.local_addr().expect("bound").to_string();
    drop(free);
    let fast = [("STEMEDB_PROBE_INTERVAL", "100ms"), ("STEMEDB_ANTI_ENTROPY_INTERVAL", "500ms")];
    let one = Node::start(&fast);
    let seed = one.rpc.to_string();
    let more = [("STEMEDB_SEEDS", &*seed), ("STEMEDB_ADVERTISE_RPC_ADDR", &*closed)];
    let two = Node::start(&[&fast[..], &more[..]].concat());
    let id = two.id().await;
    says(&one, &["WARN", &format!("node {id} calls and is no member"), &closed]).await;
    let start = probes(&two).await;
    until("45 intervals have passed", async || probes(&two).await >= start + 45).await;
    says(&one, &["WARN", &id]).await;
    let (here, there) = (one.assert(&claim(1)).await, two.assert(&claim(2)).await);
    until("claims travel both ways", async || {
        holds(&two, &here).await && holds(&one, &there).await
    })
    .await;
}
