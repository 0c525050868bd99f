//! Votes, trust and epochs as claims, as a client writes them and as lenses count them.

use stemedb_edge::base::digest::hex;
use stemedb_edge::model::signature::Signer;

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

fn key(agent: u8) -> [u8; 32] {
    Signer::new(&[agent; 32]).agent_id()
}

/// A claim about a key or an epoch.
fn about(of: &[u8; 32], predicate: &str, object: &str, fields: &str) -> String {
    let names = format!(r#""subject":"{}","predicate":"{predicate}""#, hex(of));
    format!(r#"{{{names},"object":{{{object}}}{fields}}}"#)
}

fn trust(of: u8, number: f64) -> String {
    let object = format!(r#""type":"Number","value":{number}"#);
    about(&key(of), "stemedb:trust", &object, &stamp(20))
}

#[test]
fn trust_counts_that_a_root_agent_gives() {
    let node = Node::trusting(vec![key(9), key(8)]);
    let one = store(&node, &signed(1, &body("v", r#","confidence":0.9"#)));
    let two = store(&node, &signed(2, &body("v", r#","confidence":0.8"#)));
    let lens = format!("query?{PAIR}&lens=trust");
    let winner = |hash: &str, confidence: &str| {
        let found = format!(r#""lens":"trust","winner":"{hash}","candidates_count":2"#);
        format!(r#"{found},"resolution_confidence":{confidence},"#)
    };
    ask(&node, &lens, &[&winner(&one, "0.45")]);
    for spoken in [trust(2, 1.0), signed(2, &trust(2, 1.0)), signed(3, &trust(2, 1.0))] {
        store(&node, &spoken);
    }
    ask(&node, &lens, &[&winner(&one, "0.45")]);
    store(&node, &signed(9, &trust(2, 1.0)));
    ask(&node, &lens, &[&winner(&two, "0.8")]);
    store(&node, &signed(8, &trust(2, 0.25)));
    ask(&node, &lens, &[&winner(&one, "0.45")]);
    ask(&node, &format!("{lens}&as_of={}", THEN + 19), &[&winner(&one, "0.45")]);
}

#[test]
fn without_root_agents_every_signer_is_trusted_alike() {
    let node = Node::start();
    let one = store(&node, &signed(1, &body("v", r#","confidence":0.9"#)));
    store(&node, &signed(2, &body("v", r#","confidence":0.8"#)));
    store(&node, &signed(9, &trust(1, 0.0)));
    let winner = format!(r#""winner":"{one}","candidates_count":2,"resolution_confidence":0.45,"#);
    ask(&node, &format!("query?{PAIR}&lens=trust"), &[&winner]);
}

#[test]
fn claims_of_epochs_that_a_root_agent_superseded_can_be_left_out() {
    let node = Node::trusting(vec![key(9)]);
    let (first, next) = ([1; 32], [2; 32]);
    let of_epoch = |epoch: &[u8; 32]| format!(r#","epoch":"{}""#, hex(epoch));
    let old = store(&node, &body("old", &format!("{}{}", of_epoch(&first), stamp(5))));
    let new = store(&node, &body("new", &of_epoch(&next)));
    let object = format!(r#""type":"Reference","value":"{}""#, hex(&next));
    let over = about(&first, "stemedb:superseded_by", &object, &stamp(9));
    let winner = |hash: &str| format!("\"winner\":\"{hash}\"");
    let [all, current] = ["all", "current"].map(|it| format!("{PAIR}&epochs={it}"));
    for spoken in [over.clone(), signed(1, &over)] {
        store(&node, &spoken);
        ask(&node, &format!("query?{current}&lens=recency"), &[&winner(&old)]);
    }
    store(&node, &signed(9, &over));
    ask(&node, &format!("query?{current}&lens=recency"), &[&winner(&new), &old]);
    ask(&node, &format!("query?{current}&lens=consensus"), &[&winner(&new)]);
    ask(&node, &format!("query?{all}&lens=recency"), &[&winner(&old)]);
    ask(&node, &format!("skeptic?{current}"), &["\"claims_count\":1,"]);
    ask(&node, &format!("skeptic?{all}"), &["\"claims_count\":2,"]);
    ask(&node, &format!("layered?{current}"), &["\"candidates_count\":1"]);
    let request = format!("GET /v1/skeptic?{current} HTTP/1.1\r\nHost:\r\n\r\n");
    let answer = Node::send_at(node.gateway, request.as_bytes());
    check("at the gateway", &answer, 200, "\"claims_count\":1,");
}

#[test]
fn two_nodes_with_the_same_claims_in_another_order_answer_alike() {
    let mut bodies = vec![
        signed(1, &body("a", r#","confidence":0.9"#)),
        signed(2, &body("b", r#","confidence":0.7"#)),
        body("c", ""),
        signed(9, &trust(1, 0.125)),
        signed(8, &trust(2, 0.75)),
        signed(1, &trust(2, 0.0)),
    ];
    let hashes: Vec<String> = {
        let node = Node::start();
        bodies.iter().take(3).map(|body| store(&node, body)).collect()
    };
    let votes = [(1, 0, 0.5), (2, 0, 0.25), (3, 1, 0.5), (3, 0, 0.0), (4, 2, 0.125)];
    for (agent, of, weight) in votes {
        bodies.push(signed(agent, &as_claim(&hashes[of], weight, &stamp(20))));
        bodies.push(signed(agent, &as_claim(&hashes[of], weight / 2.0, &stamp(21))));
    }
    let answers = [false, true].map(|is_reversed| {
        let node = Node::trusting(vec![key(8), key(9)]);
        if is_reversed {
            bodies.reverse();
        }
        bodies.iter().for_each(|body| drop(store(&node, body)));
        ["votes", "trust"].map(|lens| {
            let (_, answer) = node.ask(&format!("GET /v1/query?{PAIR}&lens={lens}&limit=1"));
            answer.split_once("\"resolution\":").map(|(_, rest)| rest.to_owned())
        })
    });
    assert!(answers[0].iter().all(Option::is_some) && answers[0] == answers[1], "{answers:?}");
}
