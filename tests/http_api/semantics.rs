//! What HTTP and browsers ask of a server before any route is looked at, at API and gateway alike.

use std::io::Write;
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use stemedb_edge::journal::Config;
use stemedb_edge::shell::http::Bounds;

use crate::node::{Node, read_all, split};
use crate::{CLAIM, check};

/// The lines of a request without its request line, at both listeners of a node.
fn at_both(node: &Node, lines: &str, status: u16, part: &str) {
    for listener in [node.address, node.gateway] {
        let what = format!("{listener}: {}", &lines[..lines.len().min(200)]);
        check(&what, &Node::send_at(listener, lines.as_bytes()), status, part);
    }
}

/// Nothing of what was refused is there.
fn assert_empty(node: &Node) {
    let (status, health) = node.ask("GET /v1/health");
    assert!(status == 200 && health.contains("\"assertions_count\":0"), "{health}");
}

/// A POST of `chunks`, each a size and what follows it.
fn chunked(chunks: &str) -> String {
    let head = "POST /v1/assert HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked";
    format!("{head}\r\n\r\n{chunks}")
}

/// Blank chunks of 64 KiB, then a claim: a server that stops reading the chunks may take the rest
/// for a body.
fn with_valid_tail(chunks: usize) -> String {
    let blank = format!("10000\r\n{}\r\n", " ".repeat(0x10000)).repeat(chunks);
    chunked(&format!("{blank}{:x}\r\n{CLAIM}\r\n0\r\n\r\n", CLAIM.len()))
}

#[test]
fn a_body_that_failed_stays_failed_with_the_same_error() {
    let node = Node::start();
    at_both(&node, &with_valid_tail(21), 413, "body_too_large");
    let half = format!("{:x}\r\n{CLAIM}\r\n", CLAIM.len());
    at_both(&node, &chunked(&half), 400, "bad_body");
    at_both(&node, &chunked(&format!("zz\r\n{half}0\r\n\r\n")), 400, "bad_body");
    at_both(&node, &chunked(&format!("1\r\n \rzz\r\n{half}0\r\n\r\n")), 400, "bad_body");
    let head = "POST /v1/assert HTTP/1.1\r\nHost: localhost\r\nContent-Length:";
    at_both(&node, &format!("{head} {}\r\n\r\n{CLAIM}", CLAIM.len() + 1), 400, "bad_body");
    assert_empty(&node);
    let bounds = Bounds { held_max: 1_000_000, ..Bounds::default() };
    let node = Node::with(bounds, Config::default());
    at_both(&node, &with_valid_tail(18), 429, "\"busy\"");
    assert_empty(&node);
}

/// Sends half of a body to `listener`, and the rest when a later one to the API is late.
fn answer_to_late_tail(node: &Node, listener: SocketAddr) -> (u16, String) {
    let front = "what comes before";
    let length = front.len() + CLAIM.len();
    let head =
        format!("POST /v1/assert HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n");
    let mut late = Node::dial_at(listener);
    late.write_all(format!("{head}{front}").as_bytes()).expect("the node reads");
    let mut later = node.dial();
    later.write_all(format!("{head}{front}").as_bytes()).expect("the node reads");
    check("half a body", &read_all(&mut later), 408, "\"timeout\"");
    // If its own time is not up by a tick yet, the body is whole, and no JSON. Writing fails where
    // the node has hung up.
    let _ = late.write_all(CLAIM.as_bytes()).and_then(|()| late.shutdown(Shutdown::Write));
    split(&read_all(&mut late))
}

#[test]
fn a_late_body_is_not_waited_for_twice() {
    let read_max = Duration::from_millis(200);
    let node = Node::with(Bounds { read_max, ..Bounds::default() }, Config::default());
    for listener in [node.address, node.gateway].repeat(3) {
        let (status, body) = answer_to_late_tail(&node, listener);
        let is_late = status == 408 && body.contains("\"timeout\"");
        let is_whole = status == 400 && body.contains("\"bad_json\"");
        assert!(is_late || is_whole, "{listener}: {status} {body}");
    }
    assert_empty(&node);
}

#[test]
fn a_request_has_one_host_that_is_one() {
    let node = Node::start();
    let claim = format!("Content-Length: {}\r\n\r\n{CLAIM}", CLAIM.len());
    for (line, rest) in [
        ("GET /v1/health", "\r\n"),
        ("GET /metrics", "\r\n"),
        ("HEAD /v1/query", "\r\n"),
        ("OPTIONS /v1/assert", "\r\n"),
        ("GET /nowhere", "\r\n"),
        ("GET http://localhost/v1/health", "\r\n"),
        ("POST /v1/assert", &claim),
        ("POST /v1/admin/sync", "\r\n"),
    ] {
        for (hosts, code) in [
            ("", "bad_host"),
            ("Host: localhost\r\nHost: localhost\r\n", "header_twice"),
            ("Host: a b\r\n", "bad_host"),
            ("Host: localhost/\r\n", "bad_host"),
        ] {
            let request = format!("{line} HTTP/1.1\r\n{hosts}{rest}");
            if line.starts_with("HEAD") {
                assert_eq!(split(&node.send(request.as_bytes())).0, 400, "{request}");
                continue;
            }
            at_both(&node, &request, 400, code);
        }
    }
    assert_empty(&node);
    for good in [
        "GET /v1/health HTTP/1.1\r\nHost:\r\n\r\n",
        "GET /v1/health HTTP/1.1\r\nHost: [::1]:18180\r\n\r\n",
        "GET http://localhost/v1/health HTTP/1.1\r\nHost: b\r\n\r\n",
    ] {
        at_both(&node, good, 200, "\"ok\"");
    }
    let answer = node.send(b"GET /v1/health HTTP/1.0\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.0 200 "), "{answer}");
    // The request is whole: its refusal costs no connection.
    let all = "GET /v1/health HTTP/1.1\r\n\r\nGET /v1/health HTTP/1.1\r\nHost:\r\n\r\n";
    at_both(&node, all, 200, "\"ok\"");
}

#[test]
fn a_foreign_name_is_not_answered_on_a_loopback_address() {
    let node = Node::start();
    let claim = format!("Content-Length: {}\r\n\r\n{CLAIM}", CLAIM.len());
    for (line, rest) in [
        ("GET /v1/health", "\r\n"),
        ("GET /metrics", "\r\n"),
        ("GET /v1/query?subject=sky", "\r\n"),
        ("OPTIONS /v1/assert", "\r\n"),
        ("POST /v1/assert", &claim),
        ("POST /v1/admin/sync", "\r\n"),
    ] {
        let request = format!("{line} HTTP/1.1\r\nHost: evil.example:18180\r\n{rest}");
        at_both(&node, &request, 421, "\"misdirected\"");
        let (method, path) = line.split_once(' ').expect("a target");
        let host = "Host: localhost";
        let request = format!("{method} http://evil.example{path} HTTP/1.1\r\n{host}\r\n{rest}");
        at_both(&node, &request, 421, "evil.example");
    }
    assert_empty(&node);
}

#[test]
fn a_coded_body_is_refused_by_its_coding() {
    let node = Node::start();
    let body = format!("Content-Length: {}\r\n\r\n{CLAIM}", CLAIM.len());
    let chunk = format!("{:x}\r\n{CLAIM}\r\n0\r\n\r\n", CLAIM.len());
    // gzip's first bytes, as they come, and a claim that only pretends.
    for body in ["Content-Length: 3\r\n\r\n\x1f\x0b\x08", &body] {
        for coding in ["gzip", "identity, br", "identity\r\nContent-Encoding: zstd"] {
            let head = "POST /v1/assert HTTP/1.1\r\nHost: localhost\r\nContent-Encoding";
            let request = format!("{head}: {coding}\r\n{body}");
            at_both(&node, &request, 415, "\"content_encoding\"");
            let answer = node.send(request.as_bytes());
            assert!(answer.contains("\r\naccept-encoding: identity\r\n"), "{answer}");
        }
    }
    for coding in ["gzip, chunked", "gzip\r\nTransfer-Encoding: chunked", "chunked, chunked"] {
        let head = format!("HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: {coding}\r\n\r\n");
        at_both(&node, &format!("POST /v1/assert {head}{chunk}"), 501, "\"transfer_encoding\"");
        at_both(&node, &format!("GET /v1/health {head}{chunk}"), 501, "\"transfer_encoding\"");
    }
    // Where the body of such a request ends is not known (RFC 9112 6.3).
    let head = "POST /v1/assert HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip";
    at_both(&node, &format!("{head}\r\n\r\n{chunk}"), 400, "bad_request");
    assert_empty(&node);
    let head = "POST /v1/assert HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: identity";
    check("identity", &node.send(format!("{head}\r\n{body}").as_bytes()), 201, "created");
}

/// A write to `path` with these header lines, and a claim if it is to be stored.
fn write(path: &str, headers: &str) -> String {
    let body = if path == "/v1/assert" { CLAIM } else { "" };
    let length = body.len();
    let head = format!("POST {path} HTTP/1.1\r\nHost: localhost:18180\r\n{headers}");
    format!("{head}Content-Length: {length}\r\n\r\n{body}")
}

const AS_JSON: &str = "Content-Type: application/json\r\n";

#[test]
fn pages_of_other_origins_cannot_write() {
    let app = "http://app.example";
    let node = Node::with_origins(Bounds::default(), Config::default(), Some(app));
    for path in ["/v1/assert", "/v1/admin/sync", "/nowhere"] {
        for origin in ["http://evil.example", "null", "http://localhost:18181"] {
            for kind in ["", "Content-Type: text/plain\r\n", AS_JSON] {
                let request = write(path, &format!("Origin: {origin}\r\n{kind}"));
                at_both(&node, &request, 403, "\"origin_not_allowed\"");
            }
        }
        // Without a type, or with a form's, a browser sends no preflight request.
        for origin in [app, "http://localhost:18180"] {
            for kind in ["", "Content-Type: text/plain\r\n"] {
                let request = write(path, &format!("Origin: {origin}\r\n{kind}"));
                at_both(&node, &request, 415, "\"not_json\"");
            }
        }
        let twice = format!("Origin: {app}\r\nOrigin: http://evil.example\r\n{AS_JSON}");
        at_both(&node, &write(path, &twice), 400, "\"header_twice\"");
    }
    assert_empty(&node);
    for origin in [app, "http://localhost:18180"] {
        let headers = format!("Origin: {origin}\r\n{AS_JSON}");
        at_both(&node, &write("/v1/admin/sync", &headers), 200, "{\"peers\":[]}");
        let (status, body) = split(&node.send(write("/v1/assert", &headers).as_bytes()));
        assert!(matches!(status, 200 | 201), "{origin}: {status} {body}");
    }
    // A program that names no origin is no page.
    at_both(&node, &write("/v1/admin/sync", ""), 200, "{\"peers\":[]}");
    at_both(&node, &write("/v1/assert", ""), 200, "exists");
}

#[test]
fn without_a_list_of_origins_a_page_still_has_to_ask_first() {
    let node = Node::start();
    for origin in ["http://evil.example", "null"] {
        for path in ["/v1/assert", "/v1/admin/sync"] {
            let headers = format!("Origin: {origin}\r\n");
            at_both(&node, &write(path, &headers), 415, "\"not_json\"");
        }
        assert_empty(&node);
        let headers = format!("Origin: {origin}\r\n{AS_JSON}");
        at_both(&node, &write("/v1/admin/sync", &headers), 200, "{\"peers\":[]}");
    }
    let answer = node.send(write("/v1/assert", "Origin: null\r\nX-Request-Id: r-1\r\n").as_bytes());
    for header in ["\r\naccess-control-allow-origin: *\r\n", "\r\nx-request-id: r-1\r\n"] {
        assert!(answer.contains(header), "{header}: {answer}");
    }
    assert_eq!(split(&node.send(write("/v1/assert", AS_JSON).as_bytes())).0, 201);
}

#[test]
fn headers_that_decide_are_there_once() {
    let node = Node::start();
    let stamp = "X-Stemedb-Hlc: 1-1-00112233445566778899aabbccddeeff\r\n";
    for line in [AS_JSON, "X-API-Key: a\r\n", "X-Agent-Id: a\r\n", stamp] {
        at_both(&node, &write("/v1/assert", &line.repeat(2)), 400, "\"header_twice\"");
    }
    let lengths = format!("Content-Length: {}\r\n", CLAIM.len() + 1);
    at_both(&node, &write("/v1/assert", &lengths), 400, "bad_request");
    assert_empty(&node);
}
