//! Who a node is: two processes under one id, a seed that leads back, one cluster or another.

use std::net::TcpListener;
use std::path::Path;

use serde_json::Value;
use vendor_tests::claims::claim;
use vendor_tests::node::{Node, command};
use vendor_tests::wait::until;

const QUICK: (&str, &str) = ("STEMEDB_PROBE_INTERVAL", "200ms");

/// An address that no process listens at.
fn free() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound").to_string()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        match entry.file_type().expect("a kind").is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).expect("copied")),
        }
    }
}

/// What `stemedb-edge status` says, and its exit code.
fn status(of: &Node) -> (String, Option<i32>) {
    let shown = command().args(["status", &of.http.to_string()]).output().expect("it runs");
    (String::from_utf8_lossy(&shown.stdout).into_owned(), shown.status.code())
}

async fn cluster_of(node: &Node) -> Option<String> {
    let id = node.get("/v1/health").await["cluster_id"].as_str().map(str::to_owned)?;
    assert_eq!(node.get("/v1/cluster/status").await["cluster_id"], id.as_str());
    Some(id)
}

/// The id that all of them come to.
async fn settled(nodes: &[&Node]) -> String {
    let mut first = None;
    for node in nodes {
        until("a cluster id is settled", async || cluster_of(node).await.is_some()).await;
        let id = cluster_of(node).await;
        assert_eq!(first.get_or_insert(id.clone()), &id);
    }
    first.flatten().expect("there are nodes")
}

async fn knows_the_other(node: &Node) {
    until("a duplicate node id is noticed", async || {
        let health = node.get("/v1/health").await;
        health["status"] == "duplicate_node_id" && health["duplicate_node_id"].is_string()
    })
    .await;
    assert!(node.log().contains("another live node has this node's id"), "{}", node.log());
    let (shown, code) = status(node);
    assert!(shown.contains("DUPLICATE node id"), "{shown}");
    assert!(!shown.contains("roots: equal"), "{shown}");
    assert_eq!(code, Some(1));
    let metrics = vendor_tests::api::get(node.http, "/metrics").await.expect("an answer").text;
    assert!(metrics.contains("stemedb_duplicate_node_id 1\n"));
}

#[tokio::test]
async fn a_copied_directory_is_noticed_on_both_sides_in_a_cluster_of_two() {
    let mut one = Node::start(&[QUICK]);
    one.assert(&claim(1)).await;
    assert!(one.stop().success());
    let folder = tempfile::tempdir().expect("a temp dir");
    let copied = folder.path().join("copy");
    copy(one.dir(), &copied);
    let one = one.restart_dead();
    let seed = one.rpc.to_string();
    let dir = copied.to_str().expect("a plain path");
    let two = Node::start(&[("STEMEDB_DATA_DIR", dir), ("STEMEDB_SEEDS", &seed), QUICK]);
    for node in [&one, &two] {
        knows_the_other(node).await;
        let (shown, _) = status(node);
        assert!(shown.contains("roots: not compared"), "{shown}");
    }
    drop(two);
    until("it is over", async || one.get("/v1/health").await["status"] == "ok").await;
}

#[tokio::test]
async fn one_id_for_all_replicas_is_noticed_by_all() {
    let id = ("STEMEDB_NODE_ID", "00112233445566778899aabbccddeeff");
    let one = Node::start(&[id, QUICK]);
    let first = one.rpc.to_string();
    let two = Node::start(&[id, QUICK, ("STEMEDB_SEEDS", &first)]);
    let both = format!("{first},{}", two.rpc);
    let three = Node::start(&[id, QUICK, ("STEMEDB_SEEDS", &both)]);
    for node in [&one, &two, &three] {
        knows_the_other(node).await;
    }
}

#[tokio::test]
async fn a_seed_that_is_the_node_itself_is_no_duplicate() {
    let own = free();
    let node = Node::start(&[("STEMEDB_RPC_ADDR", &own), ("STEMEDB_SEEDS", &own), QUICK]);
    let line = format!("the seed {own} is this node itself");
    until("it says so", async || node.log().contains(&line)).await;
    let health = node.get("/v1/health").await;
    assert_eq!((&health["status"], &health["duplicate_node_id"]), (&"ok".into(), &Value::Null));
    assert_eq!(node.sync().await, Vec::<Value>::new());
    let (shown, code) = status(&node);
    assert!(shown.contains("roots: not compared") && code == Some(0), "{shown}");
}

#[tokio::test]
async fn the_first_node_makes_a_cluster_id_and_the_others_learn_and_keep_it() {
    let one = Node::start(&[QUICK]);
    let made = cluster_of(&one).await.expect("the first node has one at once");
    let seed = one.rpc.to_string();
    let two = Node::start(&[QUICK, ("STEMEDB_SEEDS", &seed)]);
    assert_eq!(settled(&[&one, &two]).await, made);
    let kept = std::fs::read_to_string(two.dir().join("cluster-id")).expect("it is kept");
    assert_eq!(kept.trim(), made);
    let two = two.crash_and_restart();
    assert_eq!(cluster_of(&two).await.as_ref(), Some(&made));
    let (shown, _) = status(&two);
    assert!(shown.contains(&format!("cluster: {made}")), "{shown}");
    // A directory from before has none, and learns it again.
    let mut two = two;
    assert!(two.stop().success());
    std::fs::remove_file(two.dir().join("cluster-id")).expect("it is there");
    let two = two.restart_dead();
    assert_eq!(settled(&[&one, &two]).await, made);
    until("both are members", async || {
        one.members().await.values().filter(|state| *state == "Alive").count() == 2
    })
    .await;
}

#[tokio::test]
async fn nodes_that_start_at_once_with_each_other_as_seeds_become_one_cluster() {
    let addresses = [free(), free(), free()];
    let seeds = addresses.join(",");
    let nodes: Vec<Node> = addresses
        .iter()
        .map(|address| {
            Node::start(&[("STEMEDB_RPC_ADDR", address), ("STEMEDB_SEEDS", &seeds), QUICK])
        })
        .collect();
    settled(&[&nodes[0], &nodes[1], &nodes[2]]).await;
    for node in &nodes {
        until("all are members", async || node.members().await.len() == 3).await;
    }
}

#[tokio::test]
async fn another_cluster_is_refused_on_both_sides_until_it_is_merged_on_purpose() {
    let one = Node::start(&[QUICK]);
    one.assert(&claim(1)).await;
    let mut two = Node::start(&[QUICK]);
    two.assert(&claim(2)).await;
    let (ours, theirs) = (settled(&[&one]).await, settled(&[&two]).await);
    let seed = one.rpc.to_string();
    two = two.restart_with(&[QUICK, ("STEMEDB_SEEDS", &seed)]);
    for node in [&one, &two] {
        until("it says so", async || {
            let log = node.log();
            log.contains("is of another cluster") && log.contains(&ours) && log.contains(&theirs)
        })
        .await;
        assert_eq!((node.members().await.len(), node.root().await.1), (1, 1));
    }
    let reports = two.sync().await;
    let why = reports[0]["error"].as_str().expect("it fails");
    assert!(why.contains(&ours) && why.contains(&theirs), "{why}");
    // A setting alone changes nothing of what is kept.
    let adopt = |dir: &Path| {
        let dir = dir.to_str().expect("a plain path");
        command().args(["adopt-cluster", dir, &ours]).output().expect("it runs")
    };
    let busy = adopt(two.dir());
    assert_eq!(busy.status.code(), Some(1), "it runs");
    assert!(two.stop().success());
    let dir = two.dir().to_str().expect("a plain path").to_owned();
    let refused = command().args(["--cluster-id", &ours, "--data-dir", &dir]).output();
    let refused = refused.expect("it runs");
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{why}");
    assert!(why.contains(&theirs) && why.contains("adopt-cluster"), "{why}");
    let adopted = adopt(two.dir());
    assert!(adopted.status.success(), "{adopted:?}");
    let two = two.restart_dead();
    until("they are members", async || two.members().await.len() == 2).await;
    two.sync().await;
    assert_eq!((one.root().await.1, two.root().await.1), (2, 2));
    assert_eq!(cluster_of(&two).await, Some(ours));
}

#[tokio::test]
async fn a_dead_members_address_that_is_another_clusters_now_changes_nothing() {
    let address = free();
    let one = Node::start(&[QUICK]);
    let seed = one.rpc.to_string();
    let settings = [("STEMEDB_RPC_ADDR", &*address), ("STEMEDB_SEEDS", &seed), QUICK];
    let mut two = Node::start(&settings);
    let ours = settled(&[&one, &two]).await;
    until("two members", async || one.members().await.len() == 2).await;
    let dead = two.id().await;
    two.kill();
    let other = Node::start(&[("STEMEDB_RPC_ADDR", &address), QUICK]);
    other.assert(&claim(7)).await;
    until("it is called there", async || other.log().contains("is of another cluster")).await;
    until("it is dead", async || one.members().await.get(&dead).is_some_and(|it| it == "Dead"))
        .await;
    assert_eq!((other.members().await.len(), one.root().await.1), (1, 0));
    assert_eq!(settled(&[&one]).await, ours);
    assert!(one.log().contains(&settled(&[&other]).await), "{}", one.log());
}

#[tokio::test]
async fn foreign_programs_are_let_in_and_another_id_is_not() {
    let node = Node::start(&[("STEMEDB_CLUSTER_ID", "00112233-4455-6677-8899-aabbccddeeff")]);
    let id = "00112233445566778899aabbccddeeff";
    assert_eq!(cluster_of(&node).await.as_deref(), Some(id));
    let mut client = node.client().await;
    let ping = |cluster: Option<&'static str>| {
        let message = vendor_tests::pb::PingRequest { node_id: vec![9; 16], updates: vec![] };
        let mut request = tonic::Request::new(message);
        if let Some(cluster) = cluster {
            let value = cluster.parse().expect("visible");
            request.metadata_mut().insert("stemedb-cluster-id", value);
        }
        request
    };
    let answer = client.ping(ping(None)).await.expect("it is let in");
    assert!(answer.metadata().get("stemedb-cluster-id").is_none(), "it did not ask");
    let answer = client.ping(ping(Some(id))).await.expect("it is of this cluster");
    let said = answer.metadata().get("stemedb-cluster-id").expect("it is a node");
    assert_eq!(said.to_str().ok(), Some(id));
    let refused = client.ping(ping(Some("ffeeddccbbaa99887766554433221100"))).await;
    let refused = refused.expect_err("another cluster");
    assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
    assert!(refused.message().contains(id), "{refused}");
}
