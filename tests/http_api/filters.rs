//! Filters of queries, and lists of names, as a client sees them at the API and at the gateway.

use std::net::SocketAddr;

use crate::lenses::{signed, store};
use crate::node::{Node, split};
use crate::{check, hash_of};

/// Unix seconds at which the first claim is made.
const THEN: u64 = 1_700_000_000;

/// A body whose timestamp is so many seconds later, with more fields.
fn body(names: [&str; 2], object: [&str; 2], later: u64, fields: &str) -> String {
    let ([subject, predicate], [kind, value]) = (names, object);
    let names = format!(r#""subject":"{subject}","predicate":"{predicate}""#);
    let object = format!(r#""object":{{"type":"{kind}","value":"{value}"}}"#);
    format!(r#"{{{names},{object},"timestamp":{}{fields}}}"#, THEN + later)
}

fn get(listener: SocketAddr, target: &str) -> (u16, String) {
    let request = format!("GET /v1/{target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    split(&Node::send_at(listener, request.as_bytes()))
}

/// The hashes of a page, in its order.
fn listed(answer: &str) -> Vec<String> {
    answer.split("{\"hash\":").skip(1).map(|rest| rest[1..65].to_owned()).collect()
}

/// Four claims; the hashes of them, and the key of the agent who signed the second.
fn node() -> (Node, [String; 4], String) {
    let node = Node::start();
    let source = format!(r#","source_hash":"{}""#, "ab".repeat(32));
    let first = body(["Moon", "orbits"], ["Reference", "Earth"], 0, &source);
    let first = store(&node, &first);
    let second = signed(7, &body(["ISS", "orbits"], ["Reference", "Earth"], 10, ""));
    let agent = second.split(r#""agent_id":""#).nth(1).expect("it is signed")[..64].to_owned();
    let second = store(&node, &second);
    let third = store(&node, &body(["Mars", "orbits"], ["Reference", "Sun"], 20, ""));
    let parent = format!(r#","parent_hash":"{first}""#);
    let fourth = store(&node, &body(["Moon", "note"], ["Text", "Earth"], 30, &parent));
    (node, [first, second, third, fourth], agent)
}

#[test]
fn each_filter_finds_its_claims_alone_and_with_others() {
    let (node, hashes, agent) = node();
    let (source, zeros) = ("AB".repeat(32), "0".repeat(64));
    let parent = &hashes[0];
    let span = format!("since={}&as_of={}", THEN + 10, THEN + 20);
    // Which claims, the newest first, and whether an index finds them.
    let rows: [(&str, &[usize], bool); 16] = [
        ("object=Reference:Earth", &[1, 0], true),
        ("object=Text:Earth", &[3], false),
        ("object=Reference:Venus", &[], true),
        (&format!("agent_id={agent}"), &[1], true),
        (&format!("source_hash={source}"), &[0], true),
        (&format!("source_hash={zeros}"), &[3, 2, 1], false),
        (&format!("parent_hash={parent}"), &[3], true),
        (&span, &[2, 1], false),
        (&format!("since={}", THEN + 31), &[], false),
        ("subject_prefix=Moo", &[3, 0], false),
        ("subject_prefix=M&object=Reference%3AEarth", &[0], true),
        (&format!("{span}&object=Reference:Earth"), &[1], true),
        (&format!("subject=Moon&parent_hash={parent}&predicate=orbits"), &[], true),
        (&format!("agent_id={agent}&object=Reference:Earth&{span}"), &[1], true),
        (&format!("agent_id={agent}&source_hash={source}"), &[], true),
        ("subject=Moon&subject_prefix=Moon", &[3, 0], true),
    ];
    for listener in [node.address, node.gateway] {
        for (target, claims, is_indexed) in &rows {
            let (status, answer) = get(listener, &format!("query?{target}"));
            assert_eq!(status, 200, "{target}: {answer}");
            let expected: Vec<&String> = claims.iter().map(|claim| &hashes[*claim]).collect();
            assert_eq!(listed(&answer).iter().collect::<Vec<_>>(), expected, "{target}: {answer}");
            assert_eq!(answer.contains("\"scanned\":4"), !is_indexed, "{target}: {answer}");
        }
    }
    // A page that is full is not looked beyond.
    let (_, page) = get(node.address, &format!("query?since={}&limit=1", THEN + 20));
    assert!(page.contains("\"next_cursor\"") && page.contains("\"scanned\":1}"), "{page}");
    let (_, all) = get(node.address, "query");
    assert!(listed(&all).len() == 4 && !all.contains("scanned"), "{all}");
}

#[test]
fn pages_of_a_filter_go_on_at_their_cursor() {
    let (node, hashes, _) = node();
    for listener in [node.address, node.gateway] {
        for filter in ["object=Reference:Earth", "subject_prefix=M", "since=0"] {
            let (_, all) = get(listener, &format!("query?{filter}"));
            let (mut pages, mut cursor) = (Vec::new(), String::new());
            for _ in 0..=hashes.len() {
                let (status, page) = get(listener, &format!("query?{filter}&limit=1{cursor}"));
                assert_eq!(status, 200, "{page}");
                pages.extend(listed(&page));
                let Some((_, next)) = page.split_once("\"next_cursor\":\"") else { break };
                cursor = format!("&cursor={}", next.split('"').next().expect("its end"));
            }
            assert_eq!(pages, listed(&all), "{filter}");
        }
    }
}

#[test]
fn lenses_judge_what_the_filters_let_through() {
    let (node, _, agent) = node();
    let claim = |object: [&str; 2], later, fields: &str| body(["s", "p"], object, later, fields);
    let source = format!(r#","source_hash":"{}""#, "cd".repeat(32));
    let old = store(&node, &claim(["Reference", "a"], 100, &source));
    let mine = hash_of(&node.post(signed(7, &claim(["Text", "a"], 110, ""))).1);
    let new = store(&node, &claim(["Text", "b"], 120, ""));
    for listener in [node.address, node.gateway] {
        let winner = |filter: &str, hash: &str, count: usize| {
            let target = format!("query?subject=s&predicate=p&lens=recency{filter}");
            let (_, answer) = get(listener, &target);
            let found = format!("\"winner\":\"{hash}\",\"candidates_count\":{count},");
            assert!(answer.contains(&found), "{target}: no {found} in {answer}");
        };
        winner("", &new, 3);
        winner("&object=Reference:a", &old, 1);
        winner(&format!("&agent_id={agent}"), &mine, 1);
        winner(&format!("&source_hash={}", "cd".repeat(32)), &old, 1);
        winner(&format!("&since={}", THEN + 105), &new, 2);
        let views = [("skeptic", "\"status\":\"Unanimous\""), ("layered", &*mine)];
        for (view, part) in views {
            let target = format!("{view}?subject=s&predicate=p&agent_id={agent}");
            let (status, answer) = get(listener, &target);
            assert!(status == 200 && answer.contains(part), "{target}: {answer}");
        }
    }
}

#[test]
fn a_filter_that_is_none_is_refused_with_what_would_be_right() {
    let node = Node::start();
    for (target, part) in [
        ("object=Earth", "object is \\\"Earth\\\", it takes a type, a colon and a value"),
        ("object=Number:9007199254740993", "a number that a double holds"),
        ("object=Reference:", "Reference:Moon"),
        ("agent_id=7", "agent_id is \\\"7\\\", it takes 64 hex digits"),
        ("source_hash=", "it takes 64 hex digits"),
        ("parent_hash=zz", "it takes 64 hex digits"),
        ("since=yesterday", "since is \\\"yesterday\\\", it takes Unix seconds"),
        ("subject_prefix=", "it takes 1 to 4096 bytes without control characters"),
        ("since=1&since=2", "the parameter since is there twice"),
    ] {
        for listener in [node.address, node.gateway] {
            let request = format!("GET /v1/query?{target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
            check(target, &Node::send_at(listener, request.as_bytes()), 400, part);
        }
    }
}

#[test]
fn names_are_listed_page_by_page_with_counts_and_newest_timestamps() {
    let (node, _, _) = node();
    store(&node, &body(["M\u{e4}rz", "note"], ["Text", "\u{e4}"], 40, ""));
    store(&node, &body(["Moon", "a \\\"note\\\""], ["Text", "x"], 5, ""));
    let name = |name: &str, count: u64, later: u64| {
        let newest = THEN + later;
        format!(r#"{{"name":"{name}","assertions_count":{count},"newest_timestamp":{newest}}}"#)
    };
    let (iss, mars, moon) = (name("ISS", 1, 10), name("Mars", 1, 20), name("Moon", 3, 30));
    let (march, quoted) = (name("M\u{e4}rz", 1, 40), name("a \\\"note\\\"", 1, 5));
    let rows = [
        ("subjects", format!("[{iss},{mars},{moon},{march}],\"scanned\":6}}")),
        ("subjects?prefix=M", format!("[{mars},{moon},{march}],\"scanned\":6}}")),
        ("subjects?prefix=Venus", "[],\"scanned\":6}".to_owned()),
        ("subjects?limit=2", format!("[{iss},{mars}],\"next_cursor\":\"4d617273\",")),
        ("subjects?limit=2&cursor=4d617273", format!("[{moon},{march}],\"scanned\":6}}")),
        (
            "predicates?subject=Moon",
            format!("[{quoted},{},{}]}}", name("note", 1, 30), name("orbits", 1, 0)),
        ),
        ("predicates?prefix=o", format!("[{}],\"scanned\":6}}", name("orbits", 3, 20))),
        ("predicates?subject=Venus", "[]}".to_owned()),
    ];
    for listener in [node.address, node.gateway] {
        for (target, part) in &rows {
            let (status, answer) = get(listener, target);
            let kind = &target[..target.find('?').unwrap_or(target.len())];
            let part = format!("{{\"{kind}\":{part}");
            assert!(status == 200 && answer.starts_with(&part), "{target}: {answer}, not {part}");
        }
    }
    for (target, part) in [
        ("subjects?cursor=4d6", "cursor is \\\"4d6\\\", it takes the next_cursor of an earlier"),
        ("subjects?prefix=", "prefix is \\\"\\\", it takes 1 to 4096 bytes"),
        ("subjects?limit=1001", "it takes 1 to 1000"),
        ("subjects?subject=Moon", "there are prefix, limit and cursor"),
        ("predicates?lens=hlc", "there are subject, prefix, limit and cursor"),
    ] {
        let request = format!("GET /v1/{target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        check(target, &node.send(request.as_bytes()), 400, part);
    }
    let (_, metrics) = node.ask("GET /metrics");
    let counted = "stemedb_queries_total{endpoint=\"predicates\"} 6";
    assert!(metrics.contains(counted), "{metrics}");
}

#[test]
fn names_that_come_meanwhile_disturb_no_later_page() {
    let node = Node::start();
    let add = |subject: &str, later| {
        store(&node, &body([subject, "p"], ["Text", "x"], later, ""));
    };
    (0..20).for_each(|number| add(&format!("name {number:02}"), number));
    let (mut names, mut cursor) = (Vec::new(), String::new());
    for page in 0..30 {
        let (_, answer) = get(node.address, &format!("subjects?limit=3{cursor}"));
        let found = answer.split("\"name\":\"").skip(1);
        names.extend(found.map(|rest| rest.split('"').next().expect("its end").to_owned()));
        // One before the cursor, and one at the very end.
        add(&format!("a {page}"), 100);
        add("zzz", 200 + page);
        let Some((_, next)) = answer.split_once("\"next_cursor\":\"") else { break };
        cursor = format!("&cursor={}", next.split('"').next().expect("its end"));
    }
    let mut expected: Vec<String> = (0..20).map(|number| format!("name {number:02}")).collect();
    expected.push("zzz".into());
    assert_eq!(names, expected);
}
