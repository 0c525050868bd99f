//! Requests, and what the rules of a listener say to them.

use http::{HeaderValue, Request};

use super::*;

/// A request as its lines: method and target, then headers. HTTP/1.1 unless it says otherwise.
fn head(lines: &str) -> Parts {
    let mut lines = lines.lines();
    let mut start = lines.next().expect("a request line").split(' ');
    let mut word = || start.next();
    let (method, target) = (word().expect("a method"), word().expect("a target"));
    let version = if word() == Some("HTTP/1.0") { Version::HTTP_10 } else { Version::HTTP_11 };
    let mut builder = Request::builder().method(method).uri(target).version(version);
    for line in lines {
        let (name, value) = line.split_once(':').expect("a header");
        let value = HeaderValue::from_bytes(value.trim().as_bytes()).expect("a value");
        builder = builder.header(name, value);
    }
    builder.body(()).expect("a request").into_parts().0
}

fn check(policy: &Policy, rows: &[(&str, Result<(), Violation>)]) {
    for (lines, expected) in rows {
        assert_eq!(policy.check(&head(lines)), *expected, "{lines}");
    }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn bound(address: &str) -> IpAddr {
    address.parse().expect("an address")
}

fn origins(all: &[&str]) -> Cors {
    Cors { origins: Some(owned(all)) }
}

#[test]
fn a_request_has_one_host_that_is_one() {
    let bad = Err(Violation::Host);
    check(
        &Policy::default(),
        &[
            ("GET /", bad.clone()),
            ("GET / HTTP/1.0", Ok(())),
            ("GET / HTTP/1.0\nHost: a b", bad.clone()),
            ("GET /\nHost: a\nHost: a", Err(Violation::Twice(HOST))),
            ("GET / HTTP/1.0\nHost: a\nHost: b", Err(Violation::Twice(HOST))),
            ("GET /\nHost: a b", bad.clone()),
            ("GET /\nHost: a, b", bad.clone()),
            ("GET /\nHost: a,b", bad.clone()),
            ("GET /\nHost: user@a", bad.clone()),
            ("GET /\nHost: http://a", bad.clone()),
            ("GET /\nHost: a/", bad.clone()),
            ("GET /\nHost: a:x", bad.clone()),
            ("GET /\nHost: a:+1", bad.clone()),
            ("GET /\nHost: a:65536", bad.clone()),
            ("GET /\nHost: ::1", bad.clone()),
            ("GET /\nHost: [::1", bad.clone()),
            ("GET /\nHost: [::1]x", bad.clone()),
            ("GET /\nHost: [a]", bad.clone()),
            ("GET /\nHost: \u{e4}", bad.clone()),
            ("GET /\nHost:", Ok(())),
            ("GET /\nHost: a", Ok(())),
            ("GET /\nHost: a.example_b.org.:1", Ok(())),
            ("GET /\nHost: a:", Ok(())),
            ("GET /\nHost: 10.0.0.7:18180", Ok(())),
            ("GET /\nHost: [::1]:18180", Ok(())),
            // The target in absolute form does not make up for a bad Host.
            ("GET http://a/", bad.clone()),
            ("GET http://a/\nHost: a b", bad.clone()),
            ("GET http://a:1/\nHost: b", Ok(())),
            ("GET HTTP://a/\nHost: a", Ok(())),
            ("GET http://user@a/\nHost: a", bad),
            ("GET https://a/\nHost: a", Err(Violation::Scheme)),
            ("GET ftp://a/\nHost: a", Err(Violation::Scheme)),
        ],
    );
}

#[test]
fn a_loopback_listener_knows_its_names() {
    let foreign = |name: &str| Err(Violation::Misdirected(name.to_owned()));
    let allowed = owned(&["db.example.org", "node1."]);
    let known =
        ["localhost:1", "LOCALHOST.", "127.0.0.1:18180", "192.0.2.7", "[2001:db8::1]:1", ""];
    for address in ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"] {
        let hosts = Hosts::new(None, Some("me.example.org"), bound(address));
        let policy = Policy { hosts, ..Policy::default() };
        for host in known.into_iter().chain(["me.example.org", "Me.Example.Org.:18180"]) {
            check(&policy, &[(&format!("GET /\nHost: {host}"), Ok(()))]);
        }
        check(
            &policy,
            &[
                ("GET /\nHost: evil.example:18180", foreign("evil.example")),
                ("OPTIONS /\nHost: evil.example", foreign("evil.example")),
                ("GET /\nHost: localhost.evil.example", foreign("localhost.evil.example")),
                ("GET /\nHost: 127.0.0.1.evil.example", foreign("127.0.0.1.evil.example")),
                ("GET /\nHost: 0x7f.1", foreign("0x7f.1")),
                // The target names whom the request is for.
                ("GET http://evil.example/\nHost: localhost", foreign("evil.example")),
                ("GET http://localhost/\nHost: evil.example", Ok(())),
                ("CONNECT evil.example:443\nHost: localhost", foreign("evil.example")),
                ("GET / HTTP/1.0", Ok(())),
                ("GET / HTTP/1.0\nHost: evil.example", foreign("evil.example")),
            ],
        );
    }
    let any = Hosts::new(None, None, bound("0.0.0.0"));
    check(&Policy { hosts: any, ..Policy::default() }, &[("GET /\nHost: evil.example", Ok(()))]);
    for address in ["127.0.0.1", "0.0.0.0", "::"] {
        let hosts = Hosts::new(Some(&allowed), Some("me"), bound(address));
        let policy = Policy { hosts, ..Policy::default() };
        for host in known.into_iter().chain(["me", "DB.example.org:1", "node1"]) {
            check(&policy, &[(&format!("GET /\nHost: {host}"), Ok(()))]);
        }
        check(&policy, &[("GET /\nHost: example.org", foreign("example.org"))]);
    }
}

#[test]
fn a_page_writes_from_an_allowed_origin_and_says_json() {
    let json = "Content-Type: application/json";
    let refused = |origin: &str| Err(Violation::Origin(origin.to_owned()));
    let listed = Policy { cors: origins(&["http://app.example"]), ..Policy::default() };
    for (origin, path) in [("http://app.example", "/v1/assert"), ("HTTP://APP.example", "/x")] {
        let write = format!("POST {path}\nHost: a\nOrigin: {origin}");
        check(
            &listed,
            &[
                (&format!("{write}\n{json}"), Ok(())),
                (&write, Err(Violation::Form)),
                (&format!("{write}\nContent-Type:"), Err(Violation::Form)),
                (&format!("{write}\nContent-Type: text/plain"), Err(Violation::Form)),
                (
                    &format!("{write}\n{json}\nContent-Type: text/plain"),
                    Err(Violation::Twice(CONTENT_TYPE)),
                ),
            ],
        );
    }
    for origin in ["http://evil.example", "null", "", "http://app.example:81", "http://app"] {
        let write = format!("POST /v1/admin/sync\nHost: a\nOrigin: {origin}");
        check(
            &listed,
            &[(&write, refused(origin)), (&format!("{write}\n{json}"), refused(origin))],
        );
        // Whom nothing is written by may read what the browser lets it.
        for method in ["GET", "HEAD", "OPTIONS"] {
            check(&listed, &[(&format!("{method} /\nHost: a\nOrigin: {origin}"), Ok(()))]);
        }
        check(&listed, &[(&format!("DELETE /\nHost: a\nOrigin: {origin}"), refused(origin))]);
        let open = Policy::default();
        check(&open, &[(&write, Err(Violation::Form)), (&format!("{write}\n{json}"), Ok(()))]);
    }
    let twice = "POST /\nHost: a\nOrigin: http://app.example\nOrigin: http://evil.example";
    check(&listed, &[(twice, Err(Violation::Twice(ORIGIN)))]);
    check(&listed, &[("POST /v1/admin/sync\nHost: a", Ok(()))]);
}

#[test]
fn pages_of_the_node_itself_may_write_if_its_name_is_known() {
    let write = |host: &str, origin: &str| {
        format!("POST /\nHost: {host}\nOrigin: {origin}\nContent-Type: application/json")
    };
    let allowed = owned(&["db.example"]);
    let hosts = Hosts::new(Some(&allowed), None, bound("0.0.0.0"));
    let policy = Policy { hosts, cors: origins(&[]) };
    for (host, origin) in [
        ("localhost:18180", "http://localhost:18180"),
        ("127.0.0.1:18180", "http://127.0.0.1:18180"),
        ("[::1]:80", "http://[::1]"),
        ("db.example", "http://DB.example:80"),
    ] {
        check(&policy, &[(&write(host, origin), Ok(()))]);
    }
    let rebound = Policy { hosts: Hosts::default(), cors: origins(&[]) };
    for (policy, host, origin) in [
        (&policy, "localhost:18180", "http://localhost:18181"),
        (&policy, "localhost", "http://127.0.0.1"),
        // The node speaks no TLS: what does so in front of it is listed.
        (&policy, "db.example", "https://db.example"),
        (&policy, "localhost", "null"),
        // A name that resolves to the node for this page alone.
        (&rebound, "evil.example:18180", "http://evil.example:18180"),
    ] {
        let expected = Err(Violation::Origin(origin.to_owned()));
        check(policy, &[(&write(host, origin), expected)]);
    }
}

#[test]
fn bodies_come_as_they_are_or_in_chunks() {
    let post = |line: &str| format!("POST /v1/assert\nHost: a\n{line}");
    for line in [
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: , Chunked",
        "Content-Encoding: identity",
        "Content-Encoding: Identity, identity",
        "Content-Encoding:",
    ] {
        check(&Policy::default(), &[(&post(line), Ok(()))]);
    }
    for line in [
        "Content-Encoding: gzip",
        "Content-Encoding: identity, x-gzip",
        "Content-Encoding: identity\nContent-Encoding: br",
        "Content-Encoding: \u{e4}",
    ] {
        check(&Policy::default(), &[(&post(line), Err(Violation::ContentCoding))]);
        // Nothing is read of a body that a question may have.
        check(&Policy::default(), &[(&post(line).replace("POST", "GET"), Ok(()))]);
    }
    for line in [
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: gzip\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: identity, chunked",
    ] {
        check(&Policy::default(), &[(&post(line), Err(Violation::TransferCoding))]);
        let get = post(line).replace("POST", "GET");
        check(&Policy::default(), &[(&get, Err(Violation::TransferCoding))]);
    }
}

#[test]
fn headers_that_decide_are_there_once() {
    for name in SINGLE {
        let lines = format!("GET /v1/health\nHost: a\n{name}: a\n{name}: a");
        check(&Policy::default(), &[(&lines, Err(Violation::Twice(name)))]);
    }
}
