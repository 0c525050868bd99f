//! Claims of times that have not come, stamps of wrong clocks, and what health says of the node's.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::node::{Node, split};
use crate::{CLAIM, check, hash_of};

/// 2099, in Unix seconds.
const FAR: u64 = 4_070_908_800;

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// A claim of another value, time and source class.
fn claim(value: &str, timestamp: u64, class: &str) -> String {
    let text = CLAIM.replace("blue", value).replace("1700000000", &timestamp.to_string());
    text.replacen('{', &format!("{{\"source_class\":\"{class}\","), 1)
}

#[test]
fn a_claim_whose_time_has_not_come_is_listed_so_and_counts_nowhere() {
    let node = Node::start();
    let (status, body) = node.post(claim("blue", now(), "Expert"));
    assert_eq!(status, 201, "{body}");
    let here = hash_of(&body);
    let (status, body) = node.post(claim("red", FAR, "Regulatory"));
    assert_eq!(status, 201, "{body}");
    let early = hash_of(&body);
    let pair = "subject=sky&predicate=color";
    for lens in ["recency", "hlc", "confidence", "consensus", "authority"] {
        let (_, page) = node.ask(&format!("GET /v1/query?{pair}&lens={lens}"));
        assert!(page.contains(&format!("\"winner\":\"{here}\",\"candidates_count\":1")), "{page}");
        assert_eq!(page.matches("\"not_yet\":true").count(), 1, "{page}");
        let (_, then) = node.ask(&format!("GET /v1/query?{pair}&lens={lens}&as_of={FAR}"));
        let at_its_time = "\"candidates_count\":2";
        assert!(then.contains(at_its_time) && !then.contains("not_yet"), "{then}");
    }
    let (_, claims) = node.ask(&format!("GET /v1/skeptic?{pair}"));
    assert!(claims.contains("\"Unanimous\"") && !claims.contains(&early), "{claims}");
    let (_, layers) = node.ask(&format!("GET /v1/layered?{pair}"));
    assert!(layers.contains("\"candidates_count\":1") && !layers.contains(&early), "{layers}");
    let (_, claims) = node.ask(&format!("GET /v1/skeptic?{pair}&as_of={FAR}"));
    assert!(claims.contains("\"Contested\"") && claims.contains(&early), "{claims}");
    let (_, layers) = node.ask(&format!("GET /v1/layered?{pair}&as_of={FAR}"));
    assert!(layers.contains(&format!("\"winner\":\"{early}\",\"candidates_count\":2")), "{layers}");
    let (_, one) = node.ask(&format!("GET /v1/assertions/{early}"));
    assert!(one.ends_with(",\"not_yet\":true}"), "{one}");
    let (_, other) = node.ask(&format!("GET /v1/assertions/{here}"));
    assert!(!other.contains("not_yet"), "{other}");
    // What is shown is a body.
    assert_eq!(node.post(&one), (200, format!("{{\"hash\":\"{early}\",\"status\":\"exists\"}}")));
    // Within the drift a claim counts at once.
    let (status, body) = node.post(claim("green", now() + 50, "Expert"));
    assert_eq!(status, 201, "{body}");
    let (_, page) = node.ask(&format!("GET /v1/query?{pair}&lens=recency"));
    assert!(page.contains(&format!("\"winner\":\"{}\"", hash_of(&body))), "{page}");
}

#[test]
fn a_stamp_of_a_wrong_clock_is_taken_and_moves_no_clock() {
    let node = Node::start();
    let body = CLAIM.replace("\"timestamp\":1700000000,", "");
    let stamp = format!("{}000-0-{}", FAR, "ab".repeat(16));
    let head = format!("X-Stemedb-Hlc: {stamp}\r\nContent-Type: application/json");
    let length = body.len();
    let request = format!(
        "POST /v1/assert HTTP/1.1\r\nHost: localhost\r\n{head}\r\nContent-Length: {length}\r\n\r\n\
         {body}"
    );
    check("by a gateway of 2099", &node.send(request.as_bytes()), 201, "created");
    let hlc =
        format!("\"hlc\":{{\"time\":{FAR}000,\"counter\":1,\"node\":\"{}\"}}", "ab".repeat(16));
    let imported = body.replacen('{', &format!("{{{hlc},"), 1);
    assert_eq!(node.post(&imported).0, 201);
    let (_, taken) = node.post(&body);
    let (_, shown) = node.ask(&format!("GET /v1/assertions/{}", hash_of(&taken)));
    let time = shown.split("\"timestamp\":").nth(1).and_then(|rest| rest.split(',').next());
    let time: u64 = time.and_then(|digits| digits.parse().ok()).expect("a timestamp");
    assert!(time < now() + 60, "{shown}");
    let (_, health) = node.ask("GET /v1/health");
    let counts =
        "\"drift_max_ms\":60000,\"set_back_count\":0,\"refused_count\":2,\"peers_skewed\":0";
    for part in ["\"clock\":{\"status\":\"", counts] {
        assert!(health.contains(part), "{health}");
    }
    let page = split(&node.send(b"GET /metrics HTTP/1.1\r\nHost:\r\n\r\n")).1;
    for line in ["stemedb_clock_readings_refused_total 2", "stemedb_clock_set_back_total 0"] {
        assert!(page.lines().any(|found| found == line), "{line}: {page}");
    }
}
