//! Bits that flip on one of three nodes, asleep or awake: noticed, named, never served, and brought
//! back from a peer, after which all hold one set again.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde_json::Value;
use vendor_tests::api;
use vendor_tests::claims::claim;
use vendor_tests::node::{Node, command};
use vendor_tests::set::{self, Hash};
use vendor_tests::wait::until;

const HEAD_BYTES: usize = 40;
const CLAIMS: u64 = 120;

/// Three nodes that hold the same claims; anti-entropy and scrubber as given.
async fn three(interval: &str, scrub: &str, claims: u64) -> (Vec<Node>, BTreeSet<Hash>) {
    let mut nodes: Vec<Node> = Vec::new();
    for _ in 0..3 {
        let seed = nodes.last().map(|node| node.rpc.to_string()).unwrap_or_default();
        nodes.push(Node::start(&[
            ("STEMEDB_SEEDS", &seed),
            ("STEMEDB_PROBE_INTERVAL", "200ms"),
            ("STEMEDB_ANTI_ENTROPY_INTERVAL", interval),
            ("STEMEDB_SCRUB_RATE", scrub),
            ("STEMEDB_DURABILITY", "eventual"),
        ]));
    }
    for node in &nodes {
        until("three members", async || node.members().await.len() == 3).await;
    }
    let mut all = BTreeSet::new();
    for number in 0..claims {
        all.insert(nodes[0].assert(&claim(number)).await);
    }
    converge(&nodes, &all).await;
    (nodes, all)
}

async fn converge(nodes: &[Node], all: &BTreeSet<Hash>) {
    let expected = (set::root(all), all.len() as u64);
    for node in nodes {
        until("one set", async || node.root().await == expected).await;
    }
}

fn segment(dir: &Path) -> PathBuf {
    dir.join("log/0000000000.seg")
}

/// Bytes that a record takes.
fn frame_bytes(length: usize) -> usize {
    (HEAD_BYTES + length).next_multiple_of(8)
}

/// Offset, length of the payload and hash of each whole record, as docs/journal-format.md has them.
fn records(path: &Path) -> Vec<(usize, usize, Hash)> {
    let bytes = fs::read(path).expect("a segment");
    let mut found = Vec::new();
    let mut at = 32;
    while let Some(head) = bytes.get(at..at + HEAD_BYTES) {
        let length = u32::from_le_bytes(head[..4].try_into().expect("four")) as usize;
        let start = at + HEAD_BYTES;
        let payload = bytes.get(start..start.saturating_add(length)).filter(|_| length > 0);
        if payload.is_some_and(|payload| set::hash(payload)[..] == head[8..]) {
            found.push((at, length, head[8..].try_into().expect("32")));
            at += frame_bytes(length);
        } else {
            at += 8;
        }
    }
    found
}

fn flip(path: &Path, byte: usize, bit: u8) {
    let file = File::options().read(true).write(true).open(path).expect("a segment");
    let mut old = [0];
    file.read_exact_at(&mut old, byte as u64).expect("within the file");
    file.write_all_at(&[old[0] ^ 1 << bit], byte as u64).expect("a writable file");
}

fn check(dir: &Path) -> (bool, String) {
    let verdict = command().arg("check").arg(dir).output().expect("the program runs");
    (verdict.status.success(), String::from_utf8(verdict.stdout).expect("UTF-8"))
}

async fn metric(node: &Node, name: &str) -> u64 {
    let page = api::get(node.http, "/metrics").await.expect("an answer").text;
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name}:\n{page}")).parse().expect("a number")
}

/// The node says that it is whole again, after so much damage.
async fn whole(node: &Node, repaired: u64) {
    until("it is whole again", async || {
        let health = node.get("/v1/health").await;
        health["status"] == "ok" && health["repaired_count"] == repaired
    })
    .await;
    let health = node.get("/v1/health").await;
    assert_eq!((&health["damaged_count"], &health["damaged"]), (&0.into(), &Value::Array(vec![])));
    assert_eq!(metric(node, "stemedb_damaged_records").await, 0);
    assert_eq!(metric(node, "stemedb_damage_found_total").await, repaired);
    assert_eq!(metric(node, "stemedb_damage_repaired_total").await, repaired);
}

async fn serves(node: &Node, hash: &Hash) {
    let path = format!("/v1/assertions/{}", set::hex(hash));
    assert_eq!(node.get(&path).await["hash"], set::hex(hash));
}

#[tokio::test]
async fn records_damaged_while_the_node_was_down_come_back_by_their_names() {
    // Anti-entropy is off: what comes back was asked for by its hash.
    let (mut nodes, all) = three("off", "off", CLAIMS).await;
    nodes[2].kill();
    let path = segment(nodes[2].dir());
    let records = records(&path);
    let hit: Vec<_> = [3, 40, 60, 90].iter().map(|index| records[*index]).collect();
    // A bit of a payload, of a length, of a checksum, of a digest.
    for ((at, length, _), byte) in hit.iter().zip([HEAD_BYTES + 20, 1, 5, 30]) {
        assert!(byte < HEAD_BYTES + length);
        flip(&path, at + byte, 3);
    }
    let (is_whole, said) = check(nodes[2].dir());
    assert!(!is_whole);
    for (at, _, hash) in &hit {
        let named = format!("segment 0 offset {at}: ");
        let line = said.lines().find(|line| line.starts_with(&named)).unwrap_or(&said);
        assert!(line.contains(&set::hex(hash)), "{said}");
    }
    let dead = nodes.pop().expect("three of them");
    nodes.push(dead.restart_dead());
    whole(&nodes[2], 4).await;
    converge(&nodes, &all).await;
    for (at, _, hash) in &hit {
        serves(&nodes[2], hash).await;
        let (log, hash) = (nodes[2].log(), set::hex(hash));
        let line = log.lines().find(|line| line.contains(&format!("offset={at} ")));
        assert!(line.is_some_and(|line| line.contains(&hash)), "{log}");
    }
    let (is_whole, said) = check(nodes[2].dir());
    assert!(is_whole && said.contains("which is here again"), "{said}");
    // The damage is still there, and no harm.
    let again = nodes.pop().expect("three of them").crash_and_restart();
    whole(&again, 4).await;
    assert_eq!(again.root().await.0, set::root(&all));
}

#[tokio::test]
async fn a_range_of_garbage_comes_back_by_anti_entropy_at_once_after_the_start() {
    // No round is due for hours.
    let (mut nodes, all) = three("10h", "off", CLAIMS).await;
    nodes[2].kill();
    let path = segment(nodes[2].dir());
    let records = records(&path);
    let file = File::options().write(true).open(&path).expect("a segment");
    let (from, _, _) = records[30];
    file.write_all_at(&[0xa5; 4096], from as u64 + 16).expect("a writable file");
    let dead = nodes.pop().expect("three of them");
    nodes.push(dead.restart_dead());
    converge(&nodes, &all).await;
    whole(&nodes[2], 1).await;
    assert!(nodes[2].log().contains(&format!("offset={from} ")), "{}", nodes[2].log());
}

#[tokio::test]
async fn a_record_damaged_under_a_running_node_is_never_served_wrong_and_is_repaired() {
    let (nodes, all) = three("off", "off", CLAIMS).await;
    let node = &nodes[1];
    let path = segment(node.dir());
    let records = records(&path);
    let bodies: Vec<Value> = {
        let mut bodies = Vec::new();
        for (_, _, hash) in &records {
            bodies.push(node.get(&format!("/v1/assertions/{}", set::hex(hash))).await);
        }
        bodies
    };
    // A bit of a payload, of a length, of a checksum, of each end of a digest.
    for (repaired, byte) in [HEAD_BYTES + 11, 2, 6, 8, 39].into_iter().enumerate() {
        let index = 10 + 9 * repaired;
        let (at, _, hash) = records[index];
        flip(&path, at + byte, 5);
        let url = format!("/v1/assertions/{}", set::hex(&hash));
        until("it is served again", async || {
            let answer = api::get(node.http, &url).await.expect("an answer");
            match answer.status {
                200 => assert_eq!(answer.json(), bodies[index], "a wrong one"),
                503 => assert_eq!(answer.json()["error"]["code"], "damaged"),
                status => panic!("{status}: {}", answer.text),
            }
            answer.status == 200
        })
        .await;
        whole(node, repaired as u64 + 1).await;
        converge(&nodes, &all).await;
    }
    let query = node.get("/v1/query?limit=1000").await;
    assert_eq!(query["assertions"].as_array().expect("a list").len(), CLAIMS as usize);
}

#[tokio::test]
async fn the_scrubber_finds_what_no_query_reads() {
    let (nodes, all) = three("off", "1G", CLAIMS).await;
    let node = &nodes[0];
    let path = segment(node.dir());
    let records = records(&path);
    // The first, the last, and two neighbours.
    let hit = [0, 50, 51, records.len() - 1];
    for index in hit {
        flip(&path, records[index].0 + HEAD_BYTES + 9, 1);
    }
    whole(node, hit.len() as u64).await;
    converge(&nodes, &all).await;
    for index in hit {
        serves(node, &records[index].2).await;
    }
    let passes = metric(node, "stemedb_scrub_passes_total").await;
    until("it goes on", async || metric(node, "stemedb_scrub_passes_total").await > passes).await;
    assert!(metric(node, "stemedb_scrub_found_total").await >= hit.len() as u64);
    assert!(metric(node, "stemedb_scrub_bytes_total").await > 0);
    assert_eq!(metric(node, "stemedb_damaged_records").await, 0);
    let (is_whole, said) = check(node.dir());
    assert!(is_whole, "{said}");
}

#[tokio::test]
async fn any_bit_of_a_record_may_flip() {
    const BITS: usize = HEAD_BYTES * 8 + 100;
    let (mut nodes, all) = three("off", "off", 2 * BITS as u64 + 1).await;
    nodes[2].kill();
    let path = segment(nodes[2].dir());
    // Each bit in another record, between two whole ones.
    let hit = records(&path).into_iter().skip(1).step_by(2);
    for ((at, _, _), bit) in hit.zip(0..BITS) {
        flip(&path, at + bit / 8, (bit % 8) as u8);
    }
    let (_, said) = check(nodes[2].dir());
    assert!(said.contains(&format!("; {BITS} damaged, 0 of them repaired")), "{said}");
    let dead = nodes.pop().expect("three of them");
    nodes.push(dead.restart_dead());
    whole(&nodes[2], BITS as u64).await;
    converge(&nodes, &all).await;
    // Copies are damaged like anything else, and come back as well.
    let mut node = nodes.pop().expect("three of them");
    node.kill();
    let copies = records(&path).split_off(records(&path).len() - BITS);
    copies.iter().step_by(2).for_each(|(at, _, _)| flip(&path, at + HEAD_BYTES, 0));
    nodes.push(node.restart_dead());
    whole(&nodes[2], (BITS + BITS / 2) as u64).await;
    converge(&nodes, &all).await;
}
