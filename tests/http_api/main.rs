//! The HTTP API as a client sees it: every route, and every bad input that it may get.
//!
//! Drives the real server, driver and disk on a free port of the loopback. `Host:` is the shortest
//! that is one: it names no host.

mod batch;
mod clocks;
mod filters;
mod lenses;
mod node;
mod overload;
mod queries;
mod semantics;
mod statements;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use stemedb_edge::journal::Config;
use stemedb_edge::shell::http::Bounds;

use node::{Node, assert_request, read_all, split};

const CLAIM: &str = "{\"subject\":\"sky\",\"predicate\":\"color\",\"timestamp\":1700000000,\
    \"object\":{\"type\":\"Text\",\"value\":\"blue\"}}";

/// `answer` has this status, and a body with `part` in it; errors have their one shape.
fn check(what: &str, answer: &str, status: u16, part: &str) {
    let (found, body) = split(answer);
    assert_eq!(found, status, "{what}: {answer}");
    assert!(body.contains(part), "{what}: no {part:?} in {answer}");
    if status >= 400 {
        let shape = body.starts_with("{\"error\":{\"code\":\"") && body.ends_with("\"}}");
        assert!(shape && body.contains("\",\"message\":\""), "{what}: {answer}");
        assert!(answer.contains("content-type: application/json\r\n"), "{what}: {answer}");
    }
}

fn hash_of(body: &str) -> String {
    body.split("\"hash\":\"").nth(1).map(|rest| rest[..64].to_owned()).expect("a hash")
}

#[test]
fn a_claim_is_stored_once_and_found_by_every_route() {
    let node = Node::start();
    let (status, created) = node.post(CLAIM);
    assert_eq!(status, 201, "{created}");
    let hash = hash_of(&created);
    assert_eq!(created, format!("{{\"hash\":\"{hash}\",\"status\":\"created\"}}"));
    let (status, again) = node.post(CLAIM);
    assert_eq!((status, again), (200, created.replace("created", "exists")));
    let other = CLAIM.replace("blue", "red").replace("1700000000", "1700000001");
    assert_eq!(node.post(&other).0, 201);

    let (status, one) = node.ask(&format!("GET /v1/assertions/{hash}"));
    assert_eq!(status, 200);
    assert!(one.starts_with(&format!("{{\"hash\":\"{hash}\",\"subject\":\"sky\"")), "{one}");
    let rows = [
        ("/v1/query", "\"value\":\"red\""),
        ("/v1/query?subject=sky&predicate=color&limit=1", "\"next_cursor\":\""),
        ("/v1/cluster/status", "\"storage\":\"whole_set\""),
        ("/v1/admin/ranges", "\"meaning\":\"every node holds the whole set; "),
        ("/v1/query?subject=sea", "{\"assertions\":[]}"),
        ("/v1/query?subject=sky&predicate=color&lens=recency", "\"candidates_count\":2"),
        (
            "/v1/query?subject=sky&predicate=color&as_of=1700000000&lens=consensus",
            &format!("\"winner\":\"{hash}\""),
        ),
        (
            "/v1/skeptic?subject=sky&predicate=color",
            "{\"status\":\"Contested\",\"conflict_score\":1.0",
        ),
        ("/v1/layered?subject=sky&predicate=color", "{\"layers\":[{\"source_class\":3"),
        ("/v1/health", "{\"status\":\"ok\",\"node_id\":\"00112233445566778899aabbccddeeff\""),
        ("/v1/health", "\"assertions_count\":2"),
        ("/metrics", "\nstemedb_assertions_total 2\n"),
        ("/metrics", "\nstemedb_queries_total{endpoint=\"query\"} 5\n"),
        ("/metrics", "\nstemedb_open_connections{listener=\"http\"} 1\n"),
        ("/metrics", "\nstemedb_http_requests_total{status=\"201\"} 2\n"),
    ];
    for (target, part) in rows {
        let answer = node.send(format!("GET {target} HTTP/1.1\r\nHost:\r\n\r\n").as_bytes());
        check(target, &answer, 200, part);
    }
    let (status, synced) = node.ask("POST /v1/admin/sync");
    assert_eq!((status, synced.as_str()), (200, "{\"peers\":[]}"));
}

#[test]
fn pages_follow_one_another_to_the_end() {
    let node = Node::start();
    for number in 0..7 {
        let claim = CLAIM.replace("blue", &number.to_string());
        assert_eq!(node.post(&claim).0, 201);
    }
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let (status, page) = node.ask(&format!("GET /v1/query?subject=sky&limit=3{cursor}"));
        assert_eq!(status, 200, "{page}");
        found.extend(page.split("\"value\":\"").skip(1).map(|rest| rest[..1].to_owned()));
        let Some((_, rest)) = page.split_once("\"next_cursor\":\"") else { break };
        cursor = format!("&cursor={}", rest.split('"').next().expect("its end"));
    }
    assert_eq!(found.concat(), "6543210");
}

#[test]
fn a_reader_that_has_an_assertion_gets_no_second_copy() {
    let node = Node::start();
    let (_, created) = node.post(CLAIM);
    let (_, later) = node.post(CLAIM.replacen('{', "{\"expires\":253402300799,", 1));
    for (hash, cache) in
        [(hash_of(&created), "public, max-age=31536000, immutable"), (hash_of(&later), "no-cache")]
    {
        let ask = |address, more: &str| {
            let head = format!("GET /v1/assertions/{hash} HTTP/1.1\r\nHost:\r\n{more}\r\n");
            Node::send_at(address, head.as_bytes())
        };
        for address in [node.address, node.gateway] {
            let answer = ask(address, "");
            let validators = format!("etag: \"{hash}\"\r\ncache-control: {cache}\r\n");
            check("without a condition", &answer, 200, &hash);
            assert!(answer.contains(&validators), "{answer}");
            for tag in [format!("\"x\", W/\"{hash}\""), format!("\"{hash}\""), "*".into()] {
                let answer = ask(address, &format!("If-None-Match: {tag}\r\n"));
                let is_short = answer.starts_with("HTTP/1.1 304 ") && answer.ends_with("\r\n\r\n");
                assert!(is_short && answer.contains(&validators), "{tag}: {answer}");
                assert!(!answer.contains("content-type"), "{answer}");
            }
            let other = ask(address, &format!("If-None-Match: \"{}\"\r\n", "ab".repeat(32)));
            check("another tag", &other, 200, &hash);
        }
    }
}

#[test]
fn a_cursor_of_other_rows_is_gone() {
    let node = Node::start();
    for number in 0..3 {
        assert_eq!(node.post(CLAIM.replace("blue", &number.to_string())).0, 201);
    }
    let (_, page) = node.ask("GET /v1/query?limit=1");
    let (_, rest) = page.split_once("\"next_cursor\":\"").expect("two more");
    let given = rest.split('"').next().expect("its end");
    let [id, numbering, row] = given.split('-').collect::<Vec<_>>()[..] else { panic!("{given}") };
    let ask = |cursor: &str| node.ask(&format!("GET /v1/query?cursor={cursor}"));
    assert_eq!(ask(given).0, 200);
    let other = "ab".repeat(16);
    for (cursor, part) in [
        (format!("{id}-1-{row}"), "has numbered its rows anew".to_owned()),
        (format!("{other}-{numbering}-{row}"), format!("of the rows of node {other}")),
    ] {
        let (status, why) = ask(&cursor);
        assert_eq!(status, 410, "{why}");
        for part in ["\"cursor_gone\"", &part, "begin again without a cursor"] {
            assert!(why.contains(part), "{why}");
        }
    }
}

#[test]
fn every_bad_request_gets_its_error_and_the_node_lives() {
    let node = Node::start();
    let unknown = format!("GET /v1/assertions/{}", "ab".repeat(32));
    let rows: Vec<(String, u16, &str)> = vec![
        ("GET /".into(), 404, "no_such_route"),
        ("GET /v2/query".into(), 404, "no_such_route"),
        (unknown.clone(), 404, "\"not_found\""),
        (unknown.replace("abab", "ab"), 400, "bad_hash"),
        (unknown.replace("abab", "xxab"), 400, "64 hex digits"),
        ("DELETE /v1/query".into(), 405, "this route takes GET, HEAD, OPTIONS"),
        ("GET /v1/assert".into(), 405, "this route takes POST, OPTIONS"),
        ("GET /v1/query?subject=".into(), 400, "subject is"),
        ("GET /v1/query?subject=%00".into(), 400, "subject is"),
        ("GET /v1/query?subject=%ff".into(), 400, "not UTF-8"),
        ("GET /v1/query?limit=0".into(), 400, "1 to 1000"),
        ("GET /v1/query?limit=1&limit=2".into(), 400, "twice"),
        ("GET /v1/query?lens=best".into(), 400, "recency, hlc"),
        ("GET /v1/query?cursor=1f".into(), 400, "next_cursor"),
        ("GET /v1/query?half_life=NaN".into(), 400, "half_life is"),
        ("GET /v1/query?nonsense=1".into(), 400, "there is no parameter"),
        ("GET /v1/query?subject=s&lens=hlc".into(), 400, "predicate is missing"),
        ("GET /v1/skeptic?subject=s".into(), 400, "predicate is missing"),
        ("POST /v1/assert".into(), 411, "length_required"),
    ];
    for (request, status, part) in rows {
        let answer = node.send(format!("{request} HTTP/1.1\r\nHost:\r\n\r\n").as_bytes());
        check(&request, &answer, status, part);
        assert_eq!(answer.contains("\r\nallow: "), status == 405, "{answer}");
    }
    assert_eq!(node.ask("GET /v1/health").0, 200);
}

#[test]
fn every_bad_body_gets_its_error_and_the_node_lives() {
    let node = Node::start();
    let text = |text: &str| text.as_bytes().to_vec();
    let number = |digits| CLAIM.replace("Text", "Number").replace("\"blue\"", digits);
    let rows: Vec<(Vec<u8>, u16, &str)> = vec![
        (text(""), 400, "the body takes an object, not the end"),
        (b"{\"subject\":\"\xff\xfe\"}".to_vec(), 400, "byte 0xff is not UTF-8"),
        (text(&CLAIM[..40]), 400, "bad_json"),
        (text(&format!("{CLAIM}]")), 400, "the value ends here"),
        (text(&CLAIM.replace("\"blue\"", "1e400")), 400, "object.value takes a string"),
        (text(&CLAIM.replace("Text", "Number").replace("\"blue\"", "1e400")), 400, "is 1e400"),
        (text(&number("9007199254740993")), 400, "an integer that no double is"),
        (text(&number("1e-400")), 400, "is 1e-400"),
        (text(&CLAIM.replace("Text", "Number").replace("\"blue\"", "NaN")), 400, "not NaN"),
        (text(&CLAIM.replace("1700000000", "-1")), 400, "timestamp takes a whole number"),
        (text(&CLAIM.replace("1700000000", "253402300800")), 400, "Unix seconds from 0 to"),
        (text(&CLAIM.replace("\"sky\"", "\"\"")), 400, "subject is empty"),
        (
            text(&CLAIM.replace("\"sky\"", "\"a\\u0000b\"")),
            400,
            "control character U+0000 at byte 1",
        ),
        (text(&CLAIM.replace("sky", &"x".repeat(4097))), 400, "at most 4096"),
        (text(&CLAIM.replace("blue", &"x".repeat((512 << 10) + 1))), 400, "at most 524288"),
        (text(&CLAIM.replacen('{', "{\"confidence\":1.5,", 1)), 400, "confidence is 1.5"),
        (text(&CLAIM.replacen('{', "{\"source_hash\":\"abcd\",", 1)), 400, "takes 64 hex digits"),
        (text(&CLAIM.replacen('{', "{\"subject\":\"twice\",", 1)), 400, "twice"),
        (text(&CLAIM.replacen('{', "{\"sbject\":\"x\",", 1)), 400, "has no field"),
        (text(&"[".repeat(100_000)), 400, "the body takes an object"),
        (text(&"{\"object\":".repeat(100_000)), 400, "object has no field"),
        (vec![b' '; 2 << 20], 413, "at most 1310720 bytes"),
        (signed(&"22".repeat(32), &"00".repeat(64)), 422, "bad_signature"),
    ];
    for (body, status, part) in rows {
        let answer = node.send(&assert_request(&body));
        check(&String::from_utf8_lossy(&body[..body.len().min(100)]), &answer, status, part);
    }
    assert_eq!(node.post(CLAIM).0, 201);
}

fn signed(agent_id: &str, signature: &str) -> Vec<u8> {
    let signature =
        format!(r#"{{"agent_id":"{agent_id}","signature":"{signature}","timestamp":1}}"#);
    CLAIM.replacen('{', &format!("{{\"signatures\":[{signature}],"), 1).into_bytes()
}

#[test]
fn what_is_no_http_gets_an_error_too() {
    let node = Node::start();
    let large = format!("GET /v1/health HTTP/1.1\r\nHost:\r\nX: {}\r\n\r\n", "x".repeat(64 << 10));
    let many = format!("GET /v1/health HTTP/1.1\r\nHost:\r\n{}\r\n", "X: x\r\n".repeat(101));
    let line = format!("GET /v1/query?subject={} HTTP/1.1\r\nHost:\r\n\r\n", "x".repeat(64 << 10));
    let length = |value: &str| {
        format!("POST /v1/assert HTTP/1.1\r\nHost:\r\nContent-Length: {value}\r\n\r\n{CLAIM}")
    };
    let chunked = |chunks: &str| {
        format!("POST /v1/assert HTTP/1.1\r\nHost:\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}")
    };
    let rows = [
        ("\x16\x03\x01\x02\x00\x01 hello TLS".to_owned(), 400, "bad_request"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), 400, "bad_request"),
        ("GET /v1/health\r\n\r\n".into(), 400, "bad_request"),
        ("GET /v1/hea lth HTTP/1.1\r\nHost:\r\n\r\n".into(), 400, "bad_request"),
        ("GET /v1/health HTTP/1.1\r\nHost:\r\nbad header\r\n\r\n".into(), 400, "bad_request"),
        ("GET /v1/health HTTP/1.1\r\nHost:\r\nHos".into(), 400, "bad_request"),
        (large, 431, "head_too_large"),
        (many, 431, "head_too_large"),
        (line, 431, "head_too_large"),
        (length("x"), 400, "bad_request"),
        (length("-1"), 400, "bad_request"),
        (length("99999999999999999999999"), 400, "bad_request"),
        (length("5, 6"), 400, "bad_request"),
        (length(&(CLAIM.len() + 1).to_string()), 400, "bad_body"),
        (length("2000000"), 413, "body_too_large"),
        (chunked("zz\r\n"), 400, "bad_body"),
        (chunked(&format!("{:x}\r\n{CLAIM}\r\n", CLAIM.len())), 400, "bad_body"),
        (chunked(&format!("10000\r\n{}\r\n", " ".repeat(65536)).repeat(21)), 413, "body_too_la"),
    ];
    for (request, status, part) in rows {
        let what = &request[..request.len().min(80)];
        check(what, &node.send(request.as_bytes()), status, part);
    }
    let whole =
        chunked(&format!("1\r\n{{\r\n{:x}\r\n{}\r\n0\r\n\r\n", CLAIM.len() - 1, &CLAIM[1..]));
    check("chunked", &node.send(whole.as_bytes()), 201, "created");
}

#[test]
fn bodies_of_other_types_are_refused() {
    let node = Node::start();
    for (value, status) in [
        ("application/json; charset=utf-8", 201),
        ("application/ld+json", 200),
        ("application/x-www-form-urlencoded", 415),
        ("text/plain", 415),
        ("application/json; charset=utf-16", 415),
    ] {
        let length = CLAIM.len();
        let head = format!("Content-Type: {value}\r\nContent-Length: {length}");
        let request = format!("POST /v1/assert HTTP/1.1\r\nHost:\r\n{head}\r\n\r\n{CLAIM}");
        assert_eq!(split(&node.send(request.as_bytes())).0, status, "{value}");
    }
}

#[test]
fn requests_in_one_packet_are_answered_in_order() {
    let node = Node::start();
    let mut all = assert_request(CLAIM.as_bytes()).repeat(3);
    all.extend(b"GET /nowhere HTTP/1.1\r\nHost:\r\n\r\nGET /v1/health HTTP/1.1\r\nHost:\r\n\r\n");
    let answer = node.send(&all);
    let statuses: Vec<&str> = answer.split("HTTP/1.1 ").skip(1).map(|rest| &rest[..3]).collect();
    assert_eq!(statuses, ["201", "200", "200", "404", "200"], "{answer}");
}

#[test]
fn a_refused_body_does_not_cost_the_connection() {
    let node = Node::start();
    let mut stream = node.dial();
    let mut all = String::new();
    for _ in 0..3 {
        let long = " ".repeat(100_000);
        let request =
            format!("POST /nowhere HTTP/1.1\r\nHost:\r\nContent-Length: 100000\r\n\r\n{long}");
        stream.write_all(request.as_bytes()).expect("the node reads");
    }
    stream
        .write_all(b"GET /v1/health HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n")
        .expect("open");
    all.push_str(&read_all(&mut stream));
    assert_eq!(all.matches("HTTP/1.1 404 ").count(), 3, "{all}");
    check("after them", &all, 200, "ok");
}

#[test]
fn a_client_that_sends_all_of_a_large_body_first_sees_the_refusal() {
    let node = Node::start();
    let mut stream = node.dial();
    let head = "POST /v1/assert HTTP/1.1\r\nHost:\r\nContent-Length: 6000000\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("the node reads");
    stream.write_all(&vec![b' '; 6_000_000]).expect("the node hears it out");
    check("6 MB", &read_all(&mut stream), 413, "body_too_large");
}

#[test]
fn expect_continue_is_asked_for_only_where_the_body_is_wanted() {
    let node = Node::start();
    let head = |length: usize| {
        format!(
            "POST /v1/assert HTTP/1.1\r\nHost:\r\nExpect: 100-continue\r\n\
             Content-Length: {length}\r\n\r\n"
        )
    };
    let mut stream = node.dial();
    stream.write_all(head(CLAIM.len()).as_bytes()).expect("the node reads");
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).expect("an interim answer");
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(CLAIM.as_bytes()).expect("the node reads");
    stream.shutdown(Shutdown::Write).expect("open until now");
    check("continued", &read_all(&mut stream), 201, "created");
    let mut stream = node.dial();
    stream.write_all(head(9_000_000).as_bytes()).expect("the node reads");
    let answer = read_all(&mut stream);
    assert!(!answer.contains("100 Continue"), "{answer}");
    check("refused", &answer, 413, "body_too_large");
}

#[test]
fn head_is_get_without_the_body() {
    let node = Node::start();
    for target in ["/v1/health", "/v1/query", "/metrics"] {
        let answer = node.send(format!("HEAD {target} HTTP/1.1\r\nHost:\r\n\r\n").as_bytes());
        let (status, body) = split(&answer);
        assert_eq!((status, body.as_str()), (200, ""), "{answer}");
        assert!(answer.contains("content-length: ") && !answer.contains("length: 0"), "{answer}");
    }
}

#[test]
fn browsers_and_tracers_find_their_headers() {
    let node = Node::start();
    let preflight = "OPTIONS /v1/assert HTTP/1.1\r\nHost:\r\nOrigin: http://a\r\n\
                     Access-Control-Request-Method: POST\r\n\r\n";
    let answer = node.send(preflight.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 204 "), "{answer}");
    for header in [
        "\r\naccess-control-allow-origin: *\r\n",
        "\r\naccess-control-allow-methods: POST, OPTIONS\r\n",
        "\r\naccess-control-allow-headers: content-type, ",
    ] {
        assert!(answer.contains(header), "{header}: {answer}");
    }
    let request = "GET /nowhere HTTP/1.1\r\nHost:\r\nOrigin: http://a\r\nX-Request-Id: r-1\r\n\r\n";
    let answer = node.send(request.as_bytes());
    check("an error", &answer, 404, "no_such_route");
    assert!(answer.contains("\r\nx-request-id: r-1\r\n"), "{answer}");
    assert!(answer.contains("\r\naccess-control-allow-origin: *\r\n"), "{answer}");
    let long =
        format!("GET /v1/health HTTP/1.1\r\nHost:\r\nX-Request-Id: {}\r\n\r\n", "x".repeat(257));
    assert!(!node.send(long.as_bytes()).contains("x-request-id"));
}

fn hurried() -> Node {
    let span = Duration::from_millis(200);
    let bounds = Bounds { read_max: span, idle_max: span, ..Bounds::default() };
    Node::with(bounds, Config::default())
}

#[test]
fn slow_clients_get_an_error_and_are_closed() {
    let node = hurried();
    let rows = [
        ("GET /v1/health HTT", "HTTP/1.1 408 "),
        ("POST /v1/assert HTTP/1.1\r\nHost:\r\nContent-Length: 10\r\n\r\n{\"su", "HTTP/1.1 408 "),
        ("POST /nowhere HTTP/1.1\r\nHost:\r\nContent-Length: 10\r\n\r\n{\"su", "HTTP/1.1 404 "),
        (
            "POST /v1/assert HTTP/1.1\r\nHost:\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
            "HTTP/1.1 408 ",
        ),
        ("", ""),
        ("GET /v1/health HTTP/1.1\r\nHost:\r\n\r\n", "HTTP/1.1 200 "),
    ];
    for (request, start) in rows {
        let mut stream = node.dial();
        stream.write_all(request.as_bytes()).expect("the node reads");
        let asked = Instant::now();
        let answer = read_all(&mut stream);
        assert!(answer.starts_with(start) && answer.is_empty() == start.is_empty(), "{answer}");
        if start.contains("408") {
            check(request, &answer, 408, "\"timeout\"");
        }
        assert!(asked.elapsed() >= Duration::from_millis(150), "{request}: too soon");
    }
    // One that goes on byte by byte is as late as one that does not.
    let mut stream = node.dial();
    stream.set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout");
    let mut answer = Vec::new();
    while !answer.starts_with(b"HTTP/1.1 408 ") {
        // Once it is refused, writing may fail.
        let _ = stream.write_all(b"G");
        let mut some = [0; 64];
        if let Ok(count) = stream.read(&mut some) {
            answer.extend_from_slice(&some[..count]);
        }
    }
    assert_eq!(node.ask("GET /v1/health").0, 200);
}

#[test]
fn a_full_house_sends_off_who_idles_and_serves_the_next() {
    let bounds = Bounds { connections_max: 3, patience: Duration::ZERO, ..Bounds::default() };
    let node = Node::with(bounds, Config::default());
    let mut first = node.dial();
    first.write_all(b"GET /v1/health HTTP/1.1\r\nHost:\r\n\r\n").expect("the node reads");
    let mut some = [0; 12];
    first.read_exact(&mut some).expect("an answer");
    let others: Vec<_> = (0..20).map(|_| node.dial()).collect();
    assert_eq!(node.ask("GET /v1/health").0, 200);
    drop(others);
    assert!(!read_all(&mut first).is_empty());
    assert_eq!(node.ask("GET /v1/health").0, 200);
}

#[test]
fn a_full_log_refuses_writes_and_goes_on_reading() {
    let config = Config { bytes_max: Some(8192), ..Config::default() };
    let node = Node::with(Bounds::default(), config);
    assert_eq!(node.post(CLAIM).0, 201);
    let long = CLAIM.replace("blue", &"x".repeat(8192));
    check("past the budget", &node.send(&assert_request(long.as_bytes())), 507, "disk_budget");
    assert_eq!(node.post(CLAIM).0, 200);
    assert_eq!(node.ask("GET /v1/query?subject=sky").0, 200);
}

#[test]
fn running_requests_end_before_the_node_does() {
    let node = Node::start();
    let mut idle = node.dial();
    let mut waiting = node.dial();
    let request = assert_request(CLAIM.as_bytes());
    let (front, back) = request.split_at(request.len() - 10);
    waiting.write_all(front).expect("the node reads");
    // Both are accepted once a later one is answered.
    assert_eq!(node.ask("GET /v1/health").0, 200);
    node.stop();
    waiting.write_all(back).expect("the node reads on");
    let answer = read_all(&mut waiting);
    check("in the drain", &answer, 201, "created");
    assert!(answer.contains("connection: close"), "{answer}");
    assert_eq!(read_all(&mut idle), "");
}

#[test]
fn half_sent_bodies_share_a_budget() {
    // One address may hold half of the budget; no connection gives way.
    let patience = Duration::from_secs(3600);
    let bounds = Bounds { held_max: 3_000_000, patience, ..Bounds::default() };
    let node = Node::with(bounds, Config::default());
    let head = "POST /v1/assert HTTP/1.1\r\nHost:\r\nContent-Length: 1300000\r\n\r\n";
    let whole = [head.as_bytes(), &vec![b' '; 1_300_000]].concat();
    let (front, back) = whole.split_at(1_200_000);
    // Each half may come late, or be the one that is refused: until a whole one is.
    let mut half_sent = Vec::new();
    let refused = std::iter::repeat_with(|| {
        let mut stream = node.dial();
        stream.write_all(front).expect("the node reads");
        half_sent.push(stream);
        node.send(&whole)
    });
    let refused = refused.take(50).find(|answer| split(answer).0 == 429);
    let refused = refused.expect("the budget does not hold a second one");
    check("a second one", &refused, 429, "\"busy\"");
    assert!(refused.contains("retry-after: 1\r\n"), "{refused}");
    let answers = half_sent.iter_mut().map(|stream| {
        stream.write_all(back).expect("the node reads on");
        stream.shutdown(Shutdown::Write).expect("open until now");
        split(&read_all(stream))
    });
    let taken = answers.filter(|(status, body)| *status == 400 && body.contains("\"bad_json\""));
    assert!(taken.count() > 0, "none was taken, yet the budget was used");
    check("one more", &node.send(&whole), 400, "\"bad_json\"");
}

#[test]
fn answers_that_are_not_fetched_share_a_budget() {
    let bounds = Bounds { unsent_max: 1 << 20, ..Bounds::default() };
    let node = Node::with(bounds, Config::default());
    let (status, created) = node.post(CLAIM.replace("blue", &"x".repeat(500_000)));
    assert_eq!(status, 201, "{created}");
    let request = format!("GET /v1/assertions/{} HTTP/1.1\r\nHost:\r\n\r\n", hash_of(&created));
    // More on each than the system's buffers take.
    let streams: Vec<_> = (0..4).map(|_| node.dial_narrowly(&request.repeat(12))).collect();
    let mut answers = 0;
    while split(&node.send(request.as_bytes())).0 != 429 {
        answers += 1;
        assert!(answers < 100, "no request is refused");
    }
    assert_eq!(node.ask("GET /v1/health").0, 200);
    drop(streams);
    let gone = |_: &i32| split(&node.send(request.as_bytes())).0 == 200;
    assert!((0..1000).any(|attempt| gone(&attempt)), "the budget never comes back");
}

/// `text` without white space outside of names and values that matter, and without what differs
/// from run to run.
fn comparable(text: &str) -> String {
    let mut kept: String = text.chars().filter(|letter| !letter.is_whitespace()).collect();
    for name in
        ["\"uptime_seconds\":", "\"clock\":{\"status\":", "\"wall_ms\":", "\"next_cursor\":"]
    {
        if let Some(start) = kept.find(name) {
            let value = start + name.len();
            let end = kept[value..].find(',').map_or(kept.len(), |length| value + length);
            kept.replace_range(value..end, "");
        }
    }
    kept
}

#[test]
fn the_examples_of_the_page_are_true() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/http.md");
    let page = std::fs::read_to_string(path).expect("the page");
    let node = Node::start();
    let examples: Vec<&str> = page
        .split("```http\n")
        .skip(1)
        .map(|rest| rest.split("\n```").next().expect("the example"))
        .collect();
    assert!(examples.len() >= 10, "the examples were not found");
    for example in examples {
        let (request, answer) = example.split_once("\n\n").expect("request and answer");
        let (line, body) = request.split_once('\n').unwrap_or((request, ""));
        let (status, expected) = answer.split_once('\n').expect("status and body");
        let length = body.len();
        let asked = format!("{line} HTTP/1.1\r\nHost:\r\nContent-Length: {length}\r\n\r\n{body}");
        let (found, got) = split(&node.send(asked.as_bytes()));
        assert_eq!(found.to_string(), status, "{line}: {got}");
        assert_eq!(comparable(&got), comparable(expected), "{line}");
    }
}

#[test]
fn the_page_names_every_code() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/http.md");
    let page = std::fs::read_to_string(path).expect("the page");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/wire/rejection.rs");
    let source = std::fs::read_to_string(source).expect("the table");
    let codes = source.split(", \"").skip(1).filter_map(|rest| rest.split_once("\")"));
    let codes: Vec<&str> = codes.map(|(code, _)| code).filter(|code| !code.contains(' ')).collect();
    assert!(codes.len() > 15, "{codes:?}");
    for code in codes {
        assert!(page.contains(&format!("`{code}`")), "docs/http.md does not name {code}");
    }
}
