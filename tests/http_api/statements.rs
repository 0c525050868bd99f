//! Votes as claims, as a client writes them and as lenses count them.

use crate::lenses::{PAIR, THEN, ask, body, signed, stamp, store};
use crate::node::{Node, split};
use crate::{check, hash_of};

fn request(path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}");
    format!("{head}\r\n\r\n{body}").into_bytes()
}

/// A vote as an assert body.
fn as_claim(of: &str, weight: f64, fields: &str) -> String {
    let names = format!(r#""subject":"{of}","predicate":"stemedb:vote""#);
    format!(r#"{{{names},"object":{{"type":"Number","value":{weight}}}{fields}}}"#)
}

/// A vote of an agent, as `POST /v1/vote` takes it.
fn vote(agent: u8, of: &str, weight: f64, fields: &str) -> String {
    let claim = signed(agent, &as_claim(of, weight, fields));
    let (_, rest) = claim.split_once(&format!(r#""value":{weight}}}"#)).expect("its object");
    format!(r#"{{"assertion_hash":"{of}","weight":{weight}{rest}"#)
}

fn cast(node: &Node, vote: &str) -> String {
    let (status, answer) = split(&node.send(&request("/v1/vote", vote)));
    assert_eq!(status, 201, "{vote}: {answer}");
    hash_of(&answer)
}

#[test]
fn a_vote_is_a_claim_that_the_lens_counts() {
    let node = Node::start();
    let old = store(&node, &body("old", ""));
    let new = store(&node, &body("new", &stamp(9)));
    let winner = |hash: &str, share: &str| {
        let found = format!(r#""lens":"votes","winner":"{hash}","candidates_count":2"#);
        format!(r#"{found},"resolution_confidence":{share},"#)
    };
    let lens = format!("query?{PAIR}&lens=votes");
    ask(&node, &lens, &[&winner(&new, "0.0")]);
    let first = cast(&node, &vote(1, &old, 0.5, &stamp(20)));
    cast(&node, &vote(2, &old, 0.25, &stamp(20)));
    cast(&node, &vote(3, &new, 0.25, &stamp(20)));
    ask(&node, &lens, &[&winner(&old, "0.75")]);
    // The newest of each agent counts, whichever route it came by.
    let claim = signed(1, &as_claim(&old, 0.125, &stamp(30)));
    let hash = store(&node, &claim);
    ask(&node, &lens, &[&winner(&old, "0.6")]);
    let again = node.send(&request("/v1/vote", &vote(1, &old, 0.125, &stamp(30))));
    check("the same vote", &again, 200, &hash);
    ask(&node, &format!("{lens}&as_of={}", THEN + 29), &[&winner(&old, "0.75")]);
    let shown = [
        format!("\"subject\":\"{old}\",\"predicate\":\"stemedb:vote\""),
        "\"object\":{\"type\":\"Number\",\"value\":0.5}".into(),
    ];
    ask(&node, &format!("assertions/{first}"), &[&shown[0], &shown[1]]);
    let votes = format!("query?subject={old}&predicate=stemedb:vote");
    ask(&node, &votes, &[&first, &hash]);
}

#[test]
fn a_gateway_takes_votes_and_counts_them() {
    let node = Node::start();
    let old = store(&node, &body("old", ""));
    let new = store(&node, &body("new", &stamp(9)));
    let cast = Node::send_at(node.gateway, &request("/v1/vote", &vote(1, &old, 1.0, &stamp(9))));
    check("a vote", &cast, 201, "created");
    let request = format!("GET /v1/query?{PAIR}&lens=votes HTTP/1.1\r\nHost:\r\n\r\n");
    let answer = Node::send_at(node.gateway, request.as_bytes());
    check("the lens", &answer, 200, &format!("\"winner\":\"{old}\""));
    assert!(!answer.contains(&format!("\"winner\":\"{new}\"")));
}

#[test]
fn what_is_no_vote_is_refused() {
    let node = Node::start();
    let hash = "ab".repeat(32);
    let plain = format!(r#"{{"assertion_hash":"{hash}","weight":1}}"#);
    let rows = [
        (plain.replace(":1}", ":1.5}"), 400, "weight is 1.5, it takes 0 to 1"),
        (plain.replace(":1}", ":-1}"), 400, "it takes 0 to 1"),
        (plain.replace(":1}", ":\"1\"}"), 400, "weight takes a number from 0 to 1"),
        (plain.replace(",\"weight\":1", ""), 400, "weight is missing"),
        (plain.replacen("ab", "", 1), 400, "assertion_hash takes 64 hex digits"),
        (plain.replacen('{', "{\"subject\":\"s\",", 1), 400, "the vote has no field"),
        (vote(1, &hash, 0.5, &stamp(0)).replace(":0.5,", ":0.25,"), 422, "bad_signature"),
        ("[]".into(), 400, "the vote takes an object"),
    ];
    for (body, status, part) in rows {
        check(&body, &node.send(&request("/v1/vote", &body)), status, part);
    }
    // An unsigned one is the vote of its source, and the hash need not be known here yet.
    check("unsigned", &node.send(&request("/v1/vote", &plain)), 201, "created");
    check("GET", &node.send(b"GET /v1/vote HTTP/1.1\r\nHost:\r\n\r\n"), 405, "takes POST");
}
