//! Claims by the line: each line has its answer, however the body comes and whatever is wrong.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use stemedb_edge::base::limits;
use stemedb_edge::journal::Config;
use stemedb_edge::shell::http::Bounds;

use crate::node::{Node, PATIENCE, read_all, split};
use crate::{CLAIM, check, hash_of};

const HEAD: &str =
    "POST /v1/assert/batch HTTP/1.1\r\nHost:\r\nContent-Type: application/x-ndjson\r\n";

fn claim(number: usize) -> String {
    CLAIM.replace("blue", &format!("blue {number}"))
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

fn in_chunks(lines: &str, size: usize) -> String {
    let pieces = lines.as_bytes().chunks(size);
    let chunks = pieces.map(|piece| chunk(std::str::from_utf8(piece).expect("ASCII")));
    format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n", chunks.collect::<String>())
}

fn in_one(lines: &str) -> String {
    format!("{HEAD}Content-Length: {}\r\n\r\n{lines}", lines.len())
}

/// The lines of an answer.
fn lines_of(answer: &str) -> Vec<String> {
    let (status, body) = split(answer);
    assert_eq!(status, 200, "{answer}");
    assert!(answer.contains("content-type: application/x-ndjson\r\n"), "{answer}");
    body.lines().map(str::to_owned).collect()
}

fn batch_at(address: SocketAddr, request: &str) -> Vec<String> {
    lines_of(&Node::send_at(address, request.as_bytes()))
}

fn metric(node: &Node, name: &str) -> u64 {
    let (status, page) = node.ask("GET /metrics");
    assert_eq!(status, 200, "{page}");
    let line = page.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("no {name} in {page}")).trim().parse().expect("a count")
}

#[test]
fn each_line_has_its_own_answer_however_the_body_comes() {
    let signature = format!(
        "{{\"agent_id\":\"{}\",\"signature\":\"{}\",\"timestamp\":1}}",
        "22".repeat(32),
        "00".repeat(64)
    );
    let signed = CLAIM.replacen('{', &format!("{{\"signatures\":[{signature}],"), 1);
    let data = "{\"data\": \"78797a\"}";
    let lines = [
        CLAIM,
        "{\"subject\": 7}",
        "",
        CLAIM,
        "  \t\r",
        &signed,
        &CLAIM.replace("sky", ""),
        data,
        &format!("{CLAIM}\r"),
        &claim(7),
    ];
    let body = lines.join("\n");
    for at_gateway in [false, true] {
        let forms = [in_one(&body), in_one(&format!("{body}\n")), in_chunks(&body, 1 << 10)];
        for form in forms.iter().chain(&[in_chunks(&body, 7), in_chunks(&body, 1)]) {
            let node = Node::start();
            let address = if at_gateway { node.gateway } else { node.address };
            let answer = batch_at(address, form);
            let parts = [
                (1, "\"status\":\"created\"}"),
                (2, "\"code\":\"bad_json\",\"message\":\"line 2 column 13: "),
                (4, "\"status\":\"exists\"}"),
                (6, "\"code\":\"bad_signature\""),
                (7, "\"code\":\"invalid_assertion\",\"message\":\"subject is empty"),
                (8, "\"status\":\"created\"}"),
                (9, "\"status\":\"exists\"}"),
                (10, "\"status\":\"created\"}"),
            ];
            assert_eq!(answer.len(), parts.len(), "{answer:?}");
            for (line, (number, part)) in answer.iter().zip(parts) {
                let start = format!("{{\"line\":{number},");
                assert!(line.starts_with(&start) && line.contains(part), "{part}: {line}");
            }
            let (status, one) = node.post(CLAIM);
            assert_eq!((status, hash_of(&one)), (200, hash_of(&answer[0])));
            assert_eq!(metric(&node, "stemedb_assertions_total "), 3);
        }
    }
}

#[test]
fn lines_are_answered_while_the_client_still_sends() {
    let node = Node::start();
    let mut stream = node.dial();
    let head = format!("{HEAD}Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("the node reads");
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).expect("an interim answer");
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    let mut answer = String::new();
    for number in 1..=3 {
        let line = claim(number) + "\n";
        stream.write_all(chunk(&line).as_bytes()).expect("the node reads");
        while !answer.contains(&format!("{{\"line\":{number},\"hash\":")) {
            let mut some = [0; 1024];
            let count = stream.read(&mut some).expect("an answer");
            assert!(count > 0, "it ends early: {answer}");
            answer.push_str(std::str::from_utf8(&some[..count]).expect("text"));
        }
    }
    // The same connection goes on with another request.
    stream
        .write_all(b"0\r\n\r\nGET /v1/health HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n")
        .expect("open");
    answer.push_str(&read_all(&mut stream));
    let (batch, health) = answer.split_at(answer.rfind("HTTP/1.1 ").expect("another answer"));
    assert_eq!(lines_of(batch).len(), 3, "{batch}");
    check("after it", health, 200, "\"assertions_count\":3");
}

#[test]
fn thousands_of_lines_share_flushes() {
    const LINES: usize = 20_000;
    let node = Node::start();
    let body: String = (0..LINES).map(|number| claim(number) + "\n").collect();
    let mut stream = node.dial();
    let mut reader = stream.try_clone().expect("a second hand");
    let sender = std::thread::spawn(move || {
        stream.write_all(in_one(&body).as_bytes()).expect("the node reads");
        stream.shutdown(std::net::Shutdown::Write).expect("open until now");
    });
    let answer = lines_of(&read_all(&mut reader));
    sender.join().expect("all was sent");
    assert_eq!(answer.len(), LINES);
    for (index, line) in answer.iter().enumerate() {
        let is_it = line.starts_with(&format!("{{\"line\":{},\"hash\":\"", index + 1));
        assert!(is_it && line.ends_with("\"status\":\"created\"}"), "{index}: {line}");
    }
    // One by one there would be one for each.
    let flushes = metric(&node, "stemedb_wal_fsync_latency_seconds_count ");
    assert!(flushes <= LINES as u64 / 32, "{flushes} flushes for {LINES} lines");
}

#[test]
fn a_full_log_names_the_lines_that_were_stored() {
    let config = Config { bytes_max: Some(64 << 10), ..Config::default() };
    let node = Node::with(Bounds::default(), config);
    let body: String = (0..1000).map(|number| claim(number) + "\n").collect();
    let answer = batch_at(node.address, &in_chunks(&body, 5000));
    assert_eq!(answer.len(), 1000);
    let stored = answer.iter().take_while(|line| line.contains("\"status\":\"created\"")).count();
    assert!((100..500).contains(&stored), "{stored} of 1,000");
    for line in &answer[stored..] {
        assert!(line.contains("\"error\":{\"code\":\"disk_budget\""), "{line}");
    }
    assert_eq!(metric(&node, "stemedb_assertions_total ") as usize, stored);
    for line in &answer[..stored] {
        let target = format!("GET /v1/assertions/{}", hash_of(line));
        assert_eq!(node.ask(&target).0, 200, "{line}");
    }
}

#[test]
fn what_is_no_batch_gets_its_error() {
    let node = Node::start();
    let rows = [
        ("GET /v1/assert/batch HTTP/1.1\r\nHost:\r\n\r\n".to_owned(), 405, "POST, OPTIONS"),
        ("POST /v1/assert/batch HTTP/1.1\r\nHost:\r\n\r\n".into(), 411, "length_required"),
        ("POST /v1/assert/batch?x=1 HTTP/1.1\r\nHost:\r\n\r\n".into(), 400, "no parameter"),
        (in_one("{}").replace("x-ndjson", "xml"), 415, "application/x-ndjson"),
        (in_one("{}").replace("application/x-ndjson", "text/plain"), 415, "not_json"),
    ];
    for (request, status, part) in rows {
        check(&request, &node.send(request.as_bytes()), status, part);
    }
    assert_eq!(batch_at(node.address, &in_one("")), [""; 0]);
    assert_eq!(batch_at(node.address, &in_one("\n\n \n")), [""; 0]);
    for name in ["application/json", "application/jsonl; charset=utf-8"] {
        let request = in_one(CLAIM).replace("application/x-ndjson", name);
        assert_eq!(batch_at(node.address, &request).len(), 1, "{name}");
    }
}

#[test]
fn a_line_too_long_and_a_body_that_breaks_off_are_named_by_their_lines() {
    let node = Node::start();
    let long = "x".repeat(limits::HTTP_BODY_BYTES_MAX + 1);
    let answer = batch_at(node.address, &in_one(&format!("{long}\n{CLAIM}\n{long}")));
    for (line, part) in answer.iter().zip([
        "{\"line\":1,\"error\":{\"code\":\"body_too_large\"",
        "{\"line\":2,\"hash\":",
        "{\"line\":3,\"error\":{\"code\":\"body_too_large\"",
    ]) {
        assert!(line.starts_with(part), "{line}");
    }
    // The line that was under way is not one, though its front is a claim.
    let broken = format!(
        "{HEAD}Transfer-Encoding: chunked\r\n\r\n{}{}zz\r\n",
        chunk(&format!("{}\n", claim(1))),
        chunk(&claim(2))
    );
    let answer = batch_at(node.address, &broken);
    assert!(answer[0].contains("\"status\":\"created\""), "{answer:?}");
    assert!(answer[1].starts_with("{\"line\":2,\"error\":{\"code\":\"bad_body\""), "{answer:?}");
    assert_eq!((answer.len(), metric(&node, "stemedb_assertions_total ")), (2, 2));
}

/// Writes until the node takes no more or hangs up; the bytes that it took.
fn send_blindly(stream: &mut TcpStream) -> usize {
    let line = CLAIM.to_owned() + "\n";
    let piece = chunk(&line.repeat(100));
    let (mut sent, start) = (0, Instant::now());
    while start.elapsed() < PATIENCE {
        match stream.write(piece.as_bytes()) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return sent,
        }
    }
    panic!("the node keeps a client that reads nothing, {sent} bytes were sent");
}

#[test]
fn a_client_that_reads_no_answer_is_read_from_no_more_and_is_cut_off() {
    let read_max = Duration::from_millis(400);
    let node = Node::with(Bounds { read_max, ..Bounds::default() }, Config::default());
    let head = format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n");
    let mut stream = node.dial_narrowly(&head);
    stream.set_write_timeout(Some(Duration::from_millis(20))).expect("a timeout");
    // A whole line a chunk, cut anywhere: what was not written whole makes the rest no chunks.
    let sent = send_blindly(&mut stream);
    // Buffers of both systems, and what the window of the batch holds.
    let most = 16 << 20;
    assert!(sent < most, "{sent} bytes were taken");
    let ended = "stemedb_connections_ended_total{listener=\"http\",reason=\"late\"}";
    let start = Instant::now();
    while metric(&node, ended) == 0 {
        assert!(start.elapsed() < PATIENCE, "it was not the server that ended it");
    }
    assert_eq!(node.post(CLAIM).0, 200, "the others are served");
}

#[test]
fn a_batch_that_drips_is_late_and_names_the_line() {
    let read_max = Duration::from_millis(300);
    let node = Node::with(Bounds { read_max, ..Bounds::default() }, Config::default());
    let mut stream = node.dial();
    let head =
        format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n{}", chunk(&format!("{CLAIM}\n{{")));
    stream.write_all(head.as_bytes()).expect("the node reads");
    let answer = lines_of(&read_all(&mut stream));
    assert!(answer[0].contains("\"status\":\"created\""), "{answer:?}");
    assert!(answer[1].starts_with("{\"line\":2,\"error\":{\"code\":\"timeout\""), "{answer:?}");
    assert_eq!(answer.len(), 2);
}
