//! What lenses make of claims, as a client sees it: weights, voices, reviews, successors, expiry.

use stemedb_edge::base::digest::hex;
use stemedb_edge::base::{HlcClock, NodeId, Wall};
use stemedb_edge::model::signature::Signer;
use stemedb_edge::wire::json::parse_draft;

use crate::node::Node;
use crate::{check, hash_of};

pub(crate) const PAIR: &str = "subject=s&predicate=p";
/// Unix seconds at which the claims are made.
pub(crate) const THEN: u64 = 1_700_000_000;

/// A body of a value with more fields.
pub(crate) fn body(value: &str, fields: &str) -> String {
    let object = format!(r#"{{"type":"Text","value":"{value}"}}"#);
    let timestamp = if fields.contains("timestamp") { String::new() } else { stamp(0) };
    format!(r#"{{"subject":"s","predicate":"p","object":{object}{timestamp}{fields}}}"#)
}

pub(crate) fn stamp(later: u64) -> String {
    format!(r#","timestamp":{}"#, THEN + later)
}

/// A body that an agent signed.
pub(crate) fn signed(agent: u8, body: &str) -> String {
    let draft = parse_draft(body.as_bytes()).expect("a good body");
    let claim = draft.check(&mut HlcClock::new(NodeId::NONE), Wall(0)).expect("keeps the rules");
    let signature = Signer::new(&[agent; 32]).sign(&claim, THEN);
    let (agent, bytes) = (hex(&signature.agent_id), hex(&signature.signature));
    let fields = format!(r#""agent_id":"{agent}","signature":"{bytes}","timestamp":{THEN}"#);
    format!(r#"{},"signatures":[{{{fields}}}]}}"#, body.strip_suffix('}').expect("an object"))
}

/// Stores it; its hash comes out.
pub(crate) fn store(node: &Node, body: &str) -> String {
    let (status, answer) = node.post(body);
    assert_eq!(status, 201, "{body}: {answer}");
    hash_of(&answer)
}

pub(crate) fn ask(node: &Node, target: &str, parts: &[&str]) {
    let (status, answer) = node.ask(&format!("GET /v1/{target}"));
    assert_eq!(status, 200, "{target}: {answer}");
    for part in parts {
        assert!(answer.contains(part), "{target}: no {part} in {answer}");
    }
}

#[test]
fn shares_stay_what_they_were_however_old_claims_are() {
    let node = Node::start();
    store(&node, &body("a", r#","confidence":0.9"#));
    store(&node, &body("b", r#","confidence":0.1"#));
    for half_lives in [0, 60, 63, 70] {
        let as_of = THEN + 3600 * half_lives;
        let target = format!("skeptic?{PAIR}&half_life=3600&as_of={as_of}");
        ask(&node, &target, &["\"status\":\"Agreed\"", "\"weight_share\":0.9,"]);
    }
}

#[test]
fn confidences_count_as_the_numbers_say() {
    let node = Node::start();
    store(&node, &body("a", r#","confidence":1e-20"#));
    store(&node, &body("b", r#","confidence":5e-324"#));
    ask(&node, &format!("skeptic?{PAIR}"), &["\"weight_share\":1.0,", "\"weight_share\":0.0,"]);
}

#[test]
fn an_integer_between_two_doubles_is_no_claim() {
    let node = Node::start();
    let number = |digits: &str| {
        body("x", "").replace(r#""Text","value":"x""#, &format!(r#""Number","value":{digits}"#))
    };
    store(&node, &number("9007199254740992"));
    for digits in ["9007199254740993", "1e-400"] {
        let (status, answer) = node.post(number(digits));
        assert!(status == 400 && answer.contains(digits), "{status} {answer}");
    }
}

#[test]
fn what_was_rejected_does_not_win_unless_it_is_asked_for() {
    let node = Node::start();
    let good = store(&node, &body("good", ""));
    let later = |lifecycle: &str| format!(r#","lifecycle":"{lifecycle}"{}"#, stamp(9));
    let bad = store(&node, &body("bad", &later("Rejected")));
    let old = store(&node, &body("old", &later("deprecated").replace("09,", "08,")));
    let winner = |hash: &str| format!("\"winner\":\"{hash}\"");
    let lens = format!("query?{PAIR}&lens=recency");
    ask(&node, &lens, &[&winner(&good), "\"candidates_count\":1,", &bad, &old]);
    ask(&node, &format!("{lens}&history=true"), &["\"candidates_count\":3,"]);
    ask(&node, &format!("{lens}&lifecycle=any"), &["\"candidates_count\":3,"]);
    ask(&node, &format!("{lens}&lifecycle=rejected"), &[&winner(&bad)]);
    ask(&node, &format!("{lens}&lifecycle=!Rejected"), &["\"candidates_count\":2,"]);
    ask(&node, &format!("{lens}&lifecycle=Proposed,under_review"), &[&winner(&good)]);
}

#[test]
fn lifecycles_are_taken_in_the_letters_of_stemedb_too() {
    let node = Node::start();
    for (small, name) in [
        ("proposed", "Proposed"),
        ("under_review", "UnderReview"),
        ("approved", "Approved"),
        ("deprecated", "Deprecated"),
        ("rejected", "Rejected"),
    ] {
        let hash = store(&node, &body("v", &format!(r#","lifecycle":"{small}""#)));
        let shown = format!(r#""lifecycle":"{name}""#);
        ask(&node, &format!("assertions/{hash}"), &[&shown]);
        for asked in [small, name] {
            let target = format!("query?{PAIR}&lens=recency&lifecycle={asked}");
            ask(&node, &target, &[&format!(r#""winner":"{hash}","candidates_count":1,"#)]);
        }
    }
    ask(&node, &format!("skeptic?{PAIR}&lifecycle=any"), &[r#""assertions_count":5,"#]);
}

#[test]
fn a_claim_counts_by_its_authors_successor() {
    let node = Node::start();
    let first = store(&node, &signed(1, &body("first", "")));
    let parent = format!(r#","parent_hash":"{first}""#);
    store(&node, &signed(2, &body("reply", &parent)));
    ask(&node, &format!("skeptic?{PAIR}"), &["\"claims_count\":2,", "first", "reply"]);
    let lower = format!(r#"{parent},"confidence":0.1"#);
    store(&node, &signed(1, &body("second", &lower)));
    ask(&node, &format!("skeptic?{PAIR}"), &["\"claims_count\":2,", "second", "reply"]);
    ask(&node, &format!("skeptic?{PAIR}&history=true"), &["\"claims_count\":3,"]);
}

#[test]
fn an_agent_has_one_voice_for_a_value() {
    let node = Node::start();
    for later in 0..5 {
        store(&node, &signed(1, &body("red", &stamp(later))));
    }
    store(&node, &signed(2, &body("blue", "")));
    let blue = store(&node, &signed(3, &body("blue", "")));
    let red = store(&node, &signed(1, &body("red", &stamp(7))));
    let lens = format!("query?{PAIR}&lens=consensus");
    let (_, answer) = node.ask(&format!("GET /v1/{lens}"));
    assert!(!answer.contains(&format!("\"winner\":\"{red}\"")), "{answer}");
    assert!(answer.contains("\"voices_count\":3,") && answer.contains(&blue), "{answer}");
    ask(&node, &format!("{lens}&voices=claims"), &[&format!("\"winner\":\"{red}\"")]);
}

#[test]
fn a_conflict_is_active_where_sources_of_authority_disagree_much() {
    let node = Node::start();
    let skeptic = |class: &str| {
        let part = format!("\"conflict_class\":\"{class}\",\"claims\":");
        ask(&node, &format!("skeptic?{PAIR}"), &[&part]);
    };
    skeptic("none");
    store(&node, &body("a", r#","source_class":2"#));
    skeptic("none");
    store(&node, &body("b", r#","source_class":3"#));
    skeptic("disagreement");
    let weak = store(&node, &body("c", r#","source_class":"Regulatory","confidence":0.01"#));
    skeptic("active_disagreement");
    let score = format!("skeptic?{PAIR}&source_class=Regulatory");
    ask(&node, &score, &["\"conflict_class\":\"none\"", &weak]);
}

#[test]
fn a_small_conflict_is_not_active() {
    let node = Node::start();
    store(&node, &body("a", r#","source_class":0"#));
    store(&node, &body("b", r#","source_class":0,"confidence":0.05"#));
    let parts = ["\"conflict_score\":0.276195,", "\"conflict_class\":\"disagreement\","];
    ask(&node, &format!("skeptic?{PAIR}"), &parts);
}

/// What `explain=true` adds to the answer of a lens.
fn explanation(node: &Node, lens: &str) -> String {
    let target = format!("GET /v1/query?{PAIR}&limit=1&explain=true&lens={lens}");
    let (status, answer) = node.ask(&target);
    assert_eq!(status, 200, "{answer}");
    let (_, found) = answer.split_once("\"explanation\":").unwrap_or_else(|| panic!("{answer}"));
    found.strip_suffix("}}").expect("it comes last").to_owned()
}

#[test]
fn a_lens_says_why_its_winner_wins() {
    let node = Node::start();
    assert!(!node.ask(&format!("GET /v1/query?{PAIR}&lens=hlc&explain=true")).1.contains("expl"));
    let first = store(&node, &body("a", r#","confidence":0.75,"source_class":2"#));
    let order = r#""order":["weight","timestamp","hlc","hash"]"#;
    let alone = r#""runner_up":null,"decided_by":null,"winner_has":null,"runner_up_has":null"#;
    assert_eq!(explanation(&node, "confidence"), format!("{{{order},{alone}}}"));
    let next = store(&node, &body("b", &format!(r#","confidence":0.5{}"#, stamp(1))));
    let why = |by: &str, has: [&str; 2], runner_up: &str| {
        let [winner_has, runner_up_has] = has;
        let had = format!(r#""winner_has":{winner_has},"runner_up_has":{runner_up_has}}}"#);
        format!(r#","runner_up":"{runner_up}","decided_by":"{by}",{had}"#)
    };
    let found = explanation(&node, "confidence");
    assert_eq!(found, format!("{{{order}{}", why("weight", ["0.75", "0.5"], &next)));
    let [early, late] = [0, 1].map(|later| (THEN + later).to_string());
    for (lens, expected) in [
        ("recency", why("timestamp", [&late, &early], &first)),
        ("authority", why("source_class", ["2", "3"], &next)),
        ("consensus", why("weight", ["0.75", "0.5"], &next)),
        ("votes", why("timestamp", [&late, &early], &first)),
        ("trust", why("weight", ["0.375", "0.25"], &next)),
    ] {
        let found = explanation(&node, lens);
        assert!(found.ends_with(&expected), "{lens}: {found} not {expected}");
    }
    let found = explanation(&node, "hlc");
    let parts = format!(r#""decided_by":"hlc","winner_has":{{"time":{late}000,"counter":0,"#);
    assert!(found.contains(&parts), "{found}");
    store(&node, &signed(1, &body("b", "")));
    store(&node, &signed(2, &body("b", "")));
    let found = explanation(&node, "consensus");
    assert!(found.ends_with(&why("voices", ["3", "1"], &first)), "{found}");
}

#[test]
fn the_skeptic_says_who_stands_behind_each_value() {
    let node = Node::start();
    let mut agents: Vec<String> = Vec::new();
    for agent in 1..=20 {
        let claim = signed(agent, &body("a", ""));
        let (_, key) = claim.split_once("\"agent_id\":\"").expect("it is signed");
        agents.push(key[..64].to_owned());
        store(&node, &claim);
    }
    agents.sort();
    let source = "cd".repeat(32);
    store(&node, &body("b", &format!(r#","source_hash":"{source}""#)));
    store(&node, &signed(7, &body("b", "")));
    let seventh = signed(7, &body("b", ""));
    let (_, key) = seventh.split_once("\"agent_id\":\"").expect("it is signed");
    let (of_a, of_b) = (agents[..16].join("\",\""), &key[..64]);
    let listed = format!(r#""agents":["{of_a}"],"sources":[],"voices_left_out":4}}"#);
    let both = format!(r#""agents":["{of_b}"],"sources":["{source}"],"voices_left_out":0}}"#);
    ask(&node, &format!("skeptic?{PAIR}&explain=true"), &[&listed, &both]);
    let (_, plain) = node.ask(&format!("GET /v1/skeptic?{PAIR}"));
    assert!(!plain.contains("agents") && !plain.contains("voices_left_out"), "{plain}");
}

#[test]
fn conflicts_are_listed_the_worst_first() {
    let node = Node::start();
    let about = |subject: &str, value: &str, fields: &str| {
        let body = body(value, fields);
        store(&node, &body.replace(r#""subject":"s""#, &format!(r#""subject":"{subject}""#)))
    };
    let hash = about("mild", "a", "");
    about("mild", "b", r#","confidence":0.25"#);
    about("hard", "a", r#","source_class":0"#);
    about("hard", "b", r#","source_class":2"#);
    about("agreed", "a", "");
    about("agreed", "a", r#","source_class":1"#);
    for weight in [0.25, 0.75] {
        let vote = format!(r#"{{"subject":"{hash}","predicate":"stemedb:vote","object":"#);
        let object = format!(r#"{{"type":"Number","value":{weight}}},"timestamp":{THEN}}}"#);
        store(&node, &format!("{vote}{object}"));
    }
    let counts = r#""claims_count":2,"candidates_count":2,"voices_count":2,"sampled":false}"#;
    let names = |subject: &str| format!(r#"{{"subject":"{subject}","predicate":"p""#);
    let active = r#""conflict_score":1.0,"conflict_class":"active_disagreement""#;
    let hard = format!(r#"{},{active},"status":"Contested",{counts}"#, names("hard"));
    let slight = r#""conflict_score":0.721928,"conflict_class":"disagreement""#;
    let mild = format!(r#"{},{slight},"status":"Agreed",{counts}"#, names("mild"));
    let list = |all: &[&str]| format!("{{\"conflicts\":[{}]}}", all.join(","));
    for (parameters, expected) in [
        ("", list(&[&hard, &mild])),
        ("?limit=1", list(&[&hard])),
        ("?min_score=0.8", list(&[&hard])),
        ("?prefix=mi", list(&[&mild])),
        ("?prefix=x", list(&[])),
        ("?source_class=0", list(&[])),
    ] {
        let target = format!("GET /v1/conflicts{parameters}");
        assert_eq!(node.ask(&target), (200, expected.clone()), "{parameters}");
        let request = format!("{target} HTTP/1.1\r\nHost:\r\n\r\n");
        check(parameters, &Node::send_at(node.gateway, request.as_bytes()), 200, &expected);
    }
}

#[test]
fn a_lens_is_asked_of_one_thing() {
    let node = Node::start();
    for (target, missing) in [("subject=s", "predicate"), ("predicate=p", "subject")] {
        let request = format!("GET /v1/query?{target}&lens=recency HTTP/1.1\r\nHost:\r\n\r\n");
        let answer = node.send(request.as_bytes());
        check(target, &answer, 400, &format!("the parameter {missing} is missing"));
    }
}

#[test]
fn an_epoch_has_32_bytes_and_a_claim_may_end() {
    let node = Node::start();
    let epoch = "e7".repeat(32);
    let ends = THEN + 10;
    let fields = format!(r#","epoch":"{epoch}","expires":{ends}"#);
    let short = store(&node, &signed(1, &body("short", &fields)));
    let shown = [&*format!("\"epoch\":\"{epoch}\",\"expires\":{ends},"), "\"expired\":true"];
    ask(&node, &format!("assertions/{short}"), &shown);
    ask(&node, &format!("query?{PAIR}&lens=recency"), &["\"winner\":null", "\"expired\":true"]);
    let before = format!("query?{PAIR}&lens=recency&as_of={}", ends - 1);
    ask(&node, &before, &[&format!("\"winner\":\"{short}\"")]);
    // What is shown is the same claim again.
    let (_, text) = node.ask(&format!("GET /v1/assertions/{short}"));
    assert_eq!(node.post(text).0, 200);
    let (status, answer) = node.post(body("x", r#","epoch":7"#));
    assert!(status == 400 && answer.contains("epoch takes a string of hex"), "{answer}");
}
