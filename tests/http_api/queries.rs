//! Long queries beside short ones, and clients that do not wait for their answers.
//!
//! In: claims so large that a query over some dozen of them is long. Out: what was answered before
//! what, by the node's own counts. Never: by a clock.

use std::io::Write;
use std::net::{Shutdown, TcpStream};

use stemedb_edge::journal::{Config, Durability};
use stemedb_edge::shell::http::Bounds;

use crate::check;
use crate::node::{Node, assert_request, read_all};

/// Claims of the long subject, and their bytes.
const CLAIMS: usize = 80;
const CLAIM_BYTES: usize = 300_000;

const LONG: &str =
    "GET /v1/query?subject=long&predicate=p&lens=recency&limit=1 HTTP/1.1\r\nHost:\r\n\r\n";
const SHORT: &str = "GET /v1/query?subject=short&predicate=p&lens=recency";

fn claim(subject: &str, number: usize, length: usize) -> Vec<u8> {
    let value = "x".repeat(length);
    let text = format!(
        r#"{{"subject":"{subject}","predicate":"p","object":{{"type":"Text","value":"{value}"}},
            "timestamp":{number}}}"#
    );
    assert_request(text.as_bytes())
}

fn node() -> Node {
    let config = Config { durability: Durability::Eventual, ..Config::default() };
    let node = Node::with(Bounds::default(), config);
    check("short", &node.send(&claim("short", 1, 1)), 201, "created");
    for number in 0..CLAIMS {
        check("long", &node.send(&claim("long", number, CLAIM_BYTES)), 201, "created");
    }
    node
}

fn start_long(node: &Node) -> TcpStream {
    let mut stream = node.dial();
    stream.write_all(LONG.as_bytes()).expect("the node reads");
    stream
}

/// The value of a metric, by its whole name.
fn metric(node: &Node, name: &str) -> usize {
    let (_, page) = node.ask("GET /metrics");
    let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let value = value.unwrap_or_else(|| panic!("no {name}: {page}"));
    value.parse().expect("a number")
}

fn answered(node: &Node) -> usize {
    metric(node, "stemedb_queries_total{endpoint=\"query\"}")
}

fn wait_for(node: &Node, name: &str, wanted: usize) {
    while metric(node, name) != wanted {
        std::thread::yield_now();
    }
}

#[test]
fn a_short_query_is_answered_before_long_ones_that_came_first() {
    let node = node();
    let mut long: Vec<TcpStream> = (0..16).map(|_| start_long(&node)).collect();
    wait_for(&node, "stemedb_open_connections{listener=\"http\"}", 17);
    for _ in 0..5 {
        assert_eq!(node.ask(SHORT).0, 200);
    }
    let first = answered(&node) - 5;
    assert!(first <= 8, "{first} of 16 long queries were answered first");
    // The others are answered, too.
    for stream in &mut long {
        let last = b"GET /nothing HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n";
        stream.write_all(last).expect("the node reads");
        assert!(read_all(stream).contains("candidates_count\":80"), "an answer is missing");
    }
}

#[test]
fn queries_of_clients_that_hang_up_are_given_up() {
    let node = node();
    let long: Vec<TcpStream> = (0..40).map(|_| start_long(&node)).collect();
    wait_for(&node, "stemedb_open_connections{listener=\"http\"}", 41);
    drop(long);
    wait_for(&node, "stemedb_open_connections{listener=\"http\"}", 1);
    assert_eq!(node.ask(SHORT).0, 200);
    let done = answered(&node);
    assert!(done <= 10, "{done} of 41 queries ran to their ends");
    assert_eq!(metric(&node, "stemedb_queries_waiting"), 0);
    let seen = metric(&node, "stemedb_query_candidates_total");
    assert!(seen <= 20 * CLAIMS, "{seen} candidates were looked at for clients that had gone");
    let abandoned = metric(&node, "stemedb_queries_abandoned_total");
    assert_eq!(abandoned, 41 - done);
}

#[test]
fn a_client_that_closes_its_sending_half_gets_short_answers_and_no_long_ones() {
    let node = node();
    let ask = |request: &str, close: bool| {
        let mut stream = node.dial();
        stream.write_all(request.as_bytes()).expect("the node reads");
        if close {
            stream.shutdown(Shutdown::Write).expect("open until now");
        }
        read_all(&mut stream)
    };
    let short = format!("{SHORT} HTTP/1.1\r\nHost:\r\n\r\n");
    check("a short one", &ask(&short, true), 200, "candidates_count\":1,");
    check("a long one", &ask(LONG, true), 499, "client_closed");
    let open = LONG.replace("Host:", "Host:\r\nConnection: close");
    check("a long one that is waited for", &ask(&open, false), 200, "candidates_count\":80");
}
