//! Stamps of wrong clocks, and what health says of the node's.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::node::{Node, split};
use crate::{CLAIM, check, hash_of};

/// 2099, in Unix seconds.
const FAR: u64 = 4_070_908_800;

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
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
