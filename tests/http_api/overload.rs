//! Clients that are slow, many or both, and what the others see of them.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::time::{Duration, Instant};

use stemedb_edge::journal::Config;
use stemedb_edge::shell::http::Bounds;

use crate::node::{Node, PATIENCE, read_all, split};
use crate::{CLAIM, check, hash_of};

/// Longer than any test.
const AGES: Duration = Duration::from_secs(3600);
const HALF_A_HEAD: &str = "GET /v1/health HTTP/1.1\r\nHos";
const HALF_A_BODY: &str = "POST /v1/assert HTTP/1.1\r\nHost:\r\nContent-Length: 10\r\n\r\n{";
/// What a whole request of 1.3 MB is answered with: it is read, and it is no JSON.
const READ: u16 = 400;

fn dial_with(node: &Node, sent: &str) -> TcpStream {
    let mut stream = node.dial();
    stream.write_all(sent.as_bytes()).expect("the node reads");
    stream
}

fn large_request() -> Vec<u8> {
    let head = "POST /v1/assert HTTP/1.1\r\nHost:\r\nContent-Length: 1300000\r\n\r\n";
    [head.as_bytes(), &vec![b' '; 1_300_000]].concat()
}

fn metric(node: &Node, name: &str) -> u64 {
    let (status, page) = node.ask("GET /metrics");
    assert_eq!(status, 200, "{page}");
    let line = page.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("no {name} in {page}")).trim().parse().expect("a count")
}

/// What has come on a connection that may still be open: what a node does before it answers another
/// connection has arrived when that answer has.
fn read_now(stream: &mut TcpStream) -> String {
    stream.set_nonblocking(true).expect("a socket");
    let mut answer = Vec::new();
    // Ends with an error where nothing more has come.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).expect("answers are text")
}

/// Repeats `attempt` until it is true.
fn until(what: &str, mut attempt: impl FnMut() -> bool) {
    let start = Instant::now();
    while !attempt() {
        assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
    }
}

#[test]
fn a_head_has_one_limit_however_it_is_cut() {
    const MAX: usize = 32 << 10;
    let node = Node::start();
    let head = |line: &str, length: usize| {
        let start = format!("{line} HTTP/1.1\r\nHost:\r\nX-Padding: ");
        format!("{start}{}\r\n\r\n", "x".repeat(length - start.len() - 4))
    };
    for (length, status) in [(MAX, 200), (MAX + 1, 431), (40_000, 431), (64 << 10, 431)] {
        let request = head("GET /v1/health", length);
        for cut in [length, 1, 16_000, MAX - 1, MAX, length - 1] {
            let mut stream = node.dial();
            stream.set_nodelay(true).expect("a socket");
            let (front, back) = request.as_bytes().split_at(cut.min(length));
            // The node may have refused what came first.
            let _ = stream.write_all(front);
            // The node has read it when it has answered another client.
            assert_eq!(node.ask("GET /v1/health").0, 200);
            let _ = stream.write_all(back);
            let _ = stream.shutdown(Shutdown::Write);
            let answer = read_all(&mut stream);
            assert_eq!(split(&answer).0, status, "{length} bytes, cut at {cut}: {answer}");
        }
    }
    // What counts is the head alone, not what comes with it, nor what came before it.
    let body = " ".repeat(100_000);
    let start = "POST /nowhere HTTP/1.1\r\nHost:\r\nContent-Length: 100000\r\nX-Padding: ";
    let padded = format!("{start}{}\r\n\r\n{body}", "x".repeat(MAX - start.len() - 4));
    let answer = node.send(padded.repeat(3).as_bytes());
    assert_eq!(answer.matches("HTTP/1.1 404 ").count(), 3, "{answer}");
}

/// Sends `start`, then `drip` again and again until the node answers.
fn drip(node: &Node, start: &str, drip: &[u8]) -> String {
    let mut stream = dial_with(node, start);
    stream.set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout");
    let mut answer = Vec::new();
    until("an answer to a drip", || {
        // Once it is refused, writing may fail.
        let _ = stream.write_all(drip);
        let mut some = [0; 1024];
        let count = stream.read(&mut some).unwrap_or(0);
        answer.extend_from_slice(&some[..count]);
        answer.ends_with(b"}}")
    });
    String::from_utf8(answer).expect("text")
}

#[test]
fn a_body_that_drips_is_late_and_so_is_one_that_never_ends() {
    let chunked = "POST /v1/assert HTTP/1.1\r\nHost:\r\nTransfer-Encoding: chunked\r\n\r\n";
    let known = "POST /v1/assert HTTP/1.1\r\nHost:\r\nContent-Length: 1000000\r\n\r\n";
    let hurried = Bounds { read_max: Duration::from_millis(200), ..Bounds::default() };
    let node = Node::with(hurried, Config::default());
    // The last one is fast, but what comes is no body: a size with zeros in front of it.
    for (start, bytes) in [(known, "x"), (chunked, "1\r\nx\r\n"), (chunked, &"0".repeat(4096))] {
        check("a drip", &drip(&node, start, bytes.as_bytes()), 408, "\"timeout\"");
    }
    assert!(
        metric(&node, "stemedb_connections_ended_total{listener=\"http\",reason=\"late\"}") >= 3
    );
    let short = Duration::from_millis(500);
    let bounds = Bounds { transfer_max: short, rate_min: 1, ..hurried };
    let node = Node::with(bounds, Config::default());
    check("in all", &drip(&node, known, b"xxxx"), 408, "\"timeout\"");
}

/// A node with an assertion of 500 KB, and the request for it.
fn node_with_a_large_answer(bounds: Bounds) -> (Node, String) {
    let node = Node::with(bounds, Config::default());
    let (status, created) = node.post(CLAIM.replace("blue", &"x".repeat(500_000)));
    assert_eq!(status, 201, "{created}");
    let hash = hash_of(&created);
    (node, format!("GET /v1/assertions/{hash} HTTP/1.1\r\nHost:\r\n\r\n"))
}

#[test]
fn an_answer_that_is_fetched_byte_by_byte_is_given_up() {
    let hurried = Bounds { read_max: Duration::from_millis(200), ..Bounds::default() };
    let (node, request) = node_with_a_large_answer(hurried);
    let mut stream = node.dial_narrowly(&request.repeat(12));
    let open = "stemedb_open_connections{listener=\"http\"}";
    until("the end of the connection", || {
        stream.read_exact(&mut [0]).expect("more than one answer is there");
        metric(&node, open) == 1
    });
    assert!(
        metric(&node, "stemedb_connections_ended_total{listener=\"http\",reason=\"late\"}") >= 1
    );
}

#[test]
fn slow_connections_give_way_to_newcomers() {
    // What a newcomer needs for its request, on a machine that is busy.
    let patience = Duration::from_millis(50);
    let bounds = Bounds { connections_max: 8, reserve_max: 4, patience, ..Bounds::default() };
    let (node, large) = node_with_a_large_answer(bounds);
    let unread = large.repeat(12);
    let asked = "GET /v1/health HTTP/1.1\r\nHost:\r\n\r\n";
    for (kind, is_answered) in
        [("", false), (asked, false), (HALF_A_HEAD, true), (HALF_A_BODY, true), (&unread, false)]
    {
        let slow: Vec<_> = (0..40).map(|_| node.dial_narrowly(kind)).collect();
        for _ in 0..50 {
            let (status, body) = node.ask("GET /v1/query?subject=sea");
            assert_eq!(status, 200, "beside {kind:.30}: {body}");
        }
        let answers = slow.into_iter().map(|mut stream| read_now(&mut stream));
        let answers: Vec<_> = answers.filter(|answer| answer.contains("\"at_capacity\"")).collect();
        // All but those that still have a slot or wait for one.
        assert!(
            !is_answered || answers.len() >= 40 - 12,
            "{} answers of {kind:.30}",
            answers.len()
        );
        for answer in answers {
            check(kind, &answer, 503, "\"at_capacity\"");
            assert!(answer.contains("retry-after: 1\r\n"), "{answer}");
        }
    }
    let ended = "stemedb_connections_ended_total{listener=\"http\",reason=";
    for reason in ["idle", "slow"] {
        assert!(metric(&node, &format!("{ended}\"{reason}\"}}")) >= 8, "{reason}");
    }
}

#[test]
fn the_longest_idle_goes_first() {
    let patience = Duration::ZERO;
    let bounds = Bounds { connections_max: 3, patience, ..Bounds::default() };
    let node = Node::with(bounds, Config::default());
    let ask = |stream: &mut TcpStream| {
        stream.write_all(b"HEAD /v1/query HTTP/1.1\r\nHost:\r\n\r\n").expect("open");
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("an answer");
            answer.push(byte[0]);
        }
    };
    let mut streams: Vec<_> = (0..3).map(|_| node.dial()).collect();
    for which in [0, 1, 2, 1, 0] {
        ask(&mut streams[which]);
    }
    let mut newcomers: Vec<_> = (0..2).map(|_| node.dial()).collect();
    newcomers.iter_mut().for_each(&ask);
    for which in [2, 1] {
        assert_eq!(read_all(&mut streams[which]), "", "connection {which} has idled longest");
    }
    ask(&mut streams[0]);
}

/// A node whose two slots are taken by requests that nothing may displace.
fn full_node() -> (Node, [TcpStream; 2]) {
    let slots = Bounds { connections_max: 2, reserve_max: 4, ..Bounds::default() };
    let bounds = Bounds { patience: AGES, slot_wait_max: Duration::ZERO, ..slots };
    let node = Node::with(bounds, Config::default());
    let busy = [(); 2].map(|()| dial_with(&node, HALF_A_BODY));
    (node, busy)
}

#[test]
fn a_full_node_answers_for_its_health_and_refuses_the_rest() {
    let (node, busy) = full_node();
    for _ in 0..20 {
        let answer = node.send(b"GET /v1/query HTTP/1.1\r\nHost:\r\n\r\n");
        check("a query", &answer, 503, "\"at_capacity\"");
        assert!(answer.contains("retry-after: 1\r\n"), "{answer}");
        assert!(answer.contains("connection: close\r\n"), "{answer}");
        assert_eq!(node.ask("GET /v1/health").0, 200);
    }
    let large = node.send(&large_request());
    check("a large body", &large, 503, "\"at_capacity\"");
    assert!(
        metric(&node, "stemedb_connections_ended_total{listener=\"http\",reason=\"refused\"}") > 20
    );
    for mut stream in busy {
        stream.write_all(b"\"a\": 1}  ").expect("the node reads on");
        stream.shutdown(Shutdown::Write).expect("open until now");
        check("a busy one", &read_all(&mut stream), 400, "\"bad_json\"");
    }
    until("a slot", || node.ask("GET /v1/query").0 == 200);
}

#[test]
fn a_full_reserve_takes_the_next_one_all_the_same() {
    let (node, busy) = full_node();
    let asking = "GET /v1/health HTTP/1.1\r\n";
    let kinds = ["", HALF_A_HEAD, HALF_A_BODY, asking];
    let mut waiting: Vec<_> =
        kinds.iter().cycle().take(40).map(|kind| dial_with(&node, kind)).collect();
    assert_eq!(node.ask("GET /v1/health").0, 200);
    assert_eq!(read_all(&mut waiting[0]), "", "the first has waited longest");
    check("half a head", &read_all(&mut waiting[1]), 503, "\"at_capacity\"");
    drop(busy);
}

#[test]
fn a_connection_of_the_reserve_gets_a_slot_when_one_is_free() {
    let (node, busy) = full_node();
    let mut waiting = node.dial();
    assert_eq!(node.ask("GET /v1/query").0, 503);
    drop(busy);
    until("the end of the busy ones", || {
        metric(&node, "stemedb_open_connections{listener=\"http\"}") == 2
    });
    waiting.write_all(b"GET /v1/query HTTP/1.1\r\nHost:\r\n\r\n").expect("open");
    waiting.shutdown(Shutdown::Write).expect("open until now");
    check("the one that waited", &read_all(&mut waiting), 200, "assertions");
}

#[test]
fn one_address_takes_half_of_the_budgets() {
    let bounds =
        Bounds { held_max: 3_000_000, unsent_max: 4 << 20, patience: AGES, ..Bounds::default() };
    let (node, request) = node_with_a_large_answer(bounds);
    let other = Ipv4Addr::new(127, 0, 0, 2);
    let whole = large_request();
    let mut taken = Vec::new();
    for _ in 0..8 {
        let mut stream = node.dial_from(other);
        stream.write_all(&whole[..1_200_000]).expect("the node reads");
        taken.push(stream);
        let mut stream = node.dial_narrowly_from(other, &request.repeat(12));
        stream.flush().expect("open");
        taken.push(stream);
    }
    for _ in 0..10 {
        assert_eq!(split(&node.send(&whole)).0, READ);
        assert_eq!(split(&node.send(request.as_bytes())).0, 200);
    }
}

#[test]
fn slow_transfers_give_way_when_a_budget_is_full() {
    let patience = Duration::ZERO;
    let bounds = Bounds { held_max: 3_000_000, unsent_max: 4 << 20, patience, ..Bounds::default() };
    let (node, request) = node_with_a_large_answer(bounds);
    let whole = large_request();
    let mut slow = Vec::new();
    until("a full budget", || {
        let mut stream = node.dial();
        stream.write_all(&whole[..1_200_000]).expect("the node reads");
        slow.push(stream);
        split(&node.send(&whole)).0 == 429
    });
    let mut refused = 0;
    while split(&node.send(&whole)).0 != READ {
        refused += 1;
        assert!(refused <= slow.len(), "the slow ones keep it");
    }
    let mut answers = slow.iter_mut().map(read_now);
    let answer = answers.find(|answer| answer.contains("\"at_capacity\"")).expect("one gave way");
    check("the slow one", &answer, 503, "\"at_capacity\"");
    let unread: Vec<_> = (0..8).map(|_| node.dial_narrowly(&request.repeat(12))).collect();
    until("a full budget", || split(&node.send(request.as_bytes())).0 == 429);
    let mut refused = 0;
    while split(&node.send(request.as_bytes())).0 == 429 {
        refused += 1;
        assert!(refused <= unread.len(), "the slow ones keep it");
    }
}

#[test]
fn a_request_waits_until_a_slow_connection_may_be_evicted() {
    let patience = Duration::from_millis(100);
    let bounds = Bounds { patience, slot_wait_max: AGES, connections_max: 2, ..Bounds::default() };
    let node = Node::with(bounds, Config::default());
    let _slow = [(); 2].map(|()| dial_with(&node, HALF_A_HEAD));
    assert_eq!(node.ask("GET /v1/query").0, 200);
}

#[test]
fn requests_that_wait_for_a_slot_give_way_to_later_ones() {
    let slots = Bounds { connections_max: 2, reserve_max: 4, ..Bounds::default() };
    let bounds = Bounds { patience: AGES, slot_wait_max: AGES, ..slots };
    let node = Node::with(bounds, Config::default());
    let _busy = [(); 2].map(|()| dial_with(&node, HALF_A_BODY));
    let query = "GET /v1/query HTTP/1.1\r\nHost:\r\n\r\n";
    let mut waiting: Vec<_> = (0..40).map(|_| dial_with(&node, query)).collect();
    assert_eq!(node.ask("GET /v1/health").0, 200);
    check("the first", &read_all(&mut waiting[0]), 503, "\"at_capacity\"");
}
