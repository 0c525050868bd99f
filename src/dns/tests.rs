use std::net::IpAddr;
use std::time::Duration;

use super::lookup::{Lookup, NotFound, Output, Trouble};
use super::message::{AddressKind, NameAnswer, Question};
use super::settings::{ResolverSettings, hosts_line, loopback};
use crate::base::{Moment, Random, limits};

fn settings(text: &str) -> ResolverSettings {
    ResolverSettings::read(text, "")
}

#[test]
fn resolv_conf_is_read_as_the_c_library_reads_it() {
    let text = "# nameserver 9.9.9.9\n; domain no\nsearch x.example\nnameserver 10.0.0.1 # first\n \
                nameserver fe80::1%eth0\nnameserver bad\nnameserver\nnameserver ::1\n\
                nameserver 10.0.0.4\ndomain late.example other\noptions ndots:5 timeout:99 \
                attempts:0 edns0\noptions timeout:x rotate\noption\n";
    let read = settings(text);
    let servers: Vec<String> = read.servers.iter().map(ToString::to_string).collect();
    assert_eq!(servers, ["10.0.0.1", "fe80::1%eth0", "::1"]);
    assert_eq!((read.search, read.ndots, read.attempts), (vec!["late.example".into()], 5, 1));
    assert_eq!(read.timeout, Duration::from_secs(30));
    let empty = ResolverSettings::read("", "node7.site.example");
    assert_eq!((empty.ndots, empty.attempts, empty.timeout.as_secs()), (1, 2, 5));
    assert_eq!(
        (empty.search, empty.servers[0].to_string()),
        (vec!["site.example".into()], "127.0.0.1".into())
    );
    assert!(settings("").search.is_empty());
    let many = settings(&format!("search {}", "a ".repeat(1000)));
    assert_eq!(many.search.len(), limits::SEARCH_MAX);
}

#[test]
fn the_search_list_comes_first_for_names_of_few_dots() {
    let pod = settings("search ns.svc.cluster.local. svc.cluster.local .\noptions ndots:5");
    let full = ["seed.ns.svc.cluster.local", "seed.svc.cluster.local", "seed"];
    assert_eq!(pod.candidates("seed"), full);
    assert_eq!(pod.candidates("seed.ns").last().map(String::as_str), Some("seed.ns"));
    assert_eq!(pod.candidates("a.b.c.d.e.f")[0], "a.b.c.d.e.f");
    assert_eq!(pod.candidates("seed.example."), ["seed.example"]);
    let plain = settings("search example");
    assert_eq!(plain.candidates("seed"), ["seed.example", "seed"]);
    assert_eq!(plain.candidates("seed.example"), ["seed.example", "seed.example.example"]);
}

#[test]
fn the_hosts_file_has_aliases_and_localhost_needs_none() {
    let line = "10.0.0.1\tseed.example Seed # other";
    assert_eq!(hosts_line(line, "SEED"), Some(IpAddr::from([10, 0, 0, 1])));
    assert_eq!(hosts_line(line, "seed.example."), hosts_line(line, "seed"));
    for (line, name) in [(line, "other"), (line, "10.0.0.1"), ("# 10.0.0.1 seed", "seed"), ("", "")]
    {
        assert_eq!(hosts_line(line, name), None, "{line:?}");
    }
    assert_eq!(loopback("localhost").len(), 2);
    assert_eq!(loopback("a.LocalHost.").len(), 2);
    assert!(loopback("localhost.example").is_empty() && loopback("mylocalhost").is_empty());
}

fn question() -> Question {
    Question::new(7, "Seed.example", AddressKind::V4).expect("a good name")
}

/// The answer to [`question`] with these records.
fn answer(records: &[&[u8]]) -> Vec<u8> {
    let mut packet = question().packet();
    packet[2] |= 0x80;
    packet[7] = records.len() as u8;
    packet.extend(records.concat());
    packet
}

/// A record: owner, type, data.
fn record(owner: &[u8], kind: u8, data: &[u8]) -> Vec<u8> {
    let mut record = owner.to_vec();
    record.extend_from_slice(&[0, kind, 0, 1, 0, 0, 0, 9, 0, data.len() as u8]);
    record.extend_from_slice(data);
    record
}

/// The name of the question, by a pointer.
const ASKED: &[u8] = &[0xc0, 12];
const OTHER: &[u8] = b"\x05other\xc0\x11";

#[test]
fn aliases_are_followed_and_other_names_are_not_taken() {
    let alias = record(ASKED, 5, OTHER);
    let further = record(OTHER, 5, b"\x04last\x00");
    let last = record(b"\x04LAST\x00", 1, &[10, 0, 0, 1]);
    let stray = record(OTHER, 1, &[6, 6, 6, 6]);
    let text = record(ASKED, 16, b"\x02hi");
    let found = |packet: &[u8]| question().read(packet);
    let whole = |ip: [u8; 4]| Some(NameAnswer::Whole(vec![ip.into()]));
    assert_eq!(found(&answer(&[&text, &alias, &further, &stray, &last])), whole([10, 0, 0, 1]));
    assert_eq!(found(&answer(&[&stray])), Some(NameAnswer::Whole(Vec::new())));
    let circle = record(ASKED, 5, ASKED);
    assert_eq!(found(&answer(&[&circle, &circle])), Some(NameAnswer::Whole(Vec::new())));
}

#[test]
fn an_answer_to_something_else_is_none_and_a_broken_one_is_malformed() {
    let good = answer(&[&record(ASKED, 1, &[10, 0, 0, 1])]);
    let changed = |at: usize, value: u8| {
        let mut packet = good.clone();
        packet[at] = value;
        question().read(&packet)
    };
    // Another id, a question, another operation, two questions, another name, kind and class.
    for (at, value) in [(1, 8), (2, 1), (2, 0x91), (5, 2), (13, b'x'), (27, 28), (29, 3)] {
        assert_eq!(changed(at, value), None, "{at}");
    }
    assert_eq!(changed(13, b'S'), question().read(&good));
    assert_eq!(changed(3, 3), Some(NameAnswer::Whole(Vec::new())));
    assert_eq!(changed(3, 5), Some(NameAnswer::Refused(5)));
    assert_eq!(changed(7, 2), Some(NameAnswer::Malformed), "a record is missing");
    assert_eq!(changed(31, 30), Some(NameAnswer::Malformed), "a pointer to itself");
    assert_eq!(changed(2, 0x82 | 1), Some(NameAnswer::Truncated(vec![[10, 0, 0, 1].into()])));
    let head = [&good[..3], &[2, 0, 0, 0, 0, 0, 0, 0, 0]].concat();
    assert_eq!(question().read(&head), Some(NameAnswer::Refused(2)));
}

#[test]
fn names_that_cannot_be_are_not_asked_for() {
    let long = "x".repeat(64);
    for bad in ["", "a..b", ".a", &long, &"x.".repeat(200), "n\u{f6}de"] {
        assert!(Question::new(7, bad, AddressKind::V6).is_none(), "{bad:?}");
    }
    let servers = vec![([10, 0, 0, 1], 53).into()];
    let mut lookup = Lookup::new((settings(""), servers), "a..b", [0; 16], Moment(0));
    assert_eq!(lookup.poll_output(), Some(Output::Found(Err(NotFound::BadName))));
    assert_eq!(lookup.next_deadline(), None);
}

#[test]
fn foreign_packets_are_read_without_a_panic() {
    let good = answer(&[&record(ASKED, 5, OTHER), &record(OTHER, 1, &[10, 0, 0, 1])]);
    let mut random = Random::new(5);
    for _ in 0..50_000 {
        let mut packet = good.clone();
        for _ in 0..random.below(4) {
            let at = random.below(packet.len());
            packet[at] = random.bits() as u8;
        }
        packet.truncate(random.below(packet.len() + 1));
        let _ = question().read(&packet);
    }
}

/// Silent servers: each is asked as often as it may be, the name with a suffix and the name as it
/// is, and the whole ends in time.
#[test]
fn silent_servers_cost_a_bounded_time() {
    let text = "search a.example b.example c.example\noptions timeout:2 attempts:3";
    let servers: Vec<_> = [1, 2].map(|last| ([10, 0, 0, last], 53).into()).to_vec();
    let mut lookup = Lookup::new((settings(text), servers.clone()), "seed", [0; 16], Moment(0));
    let (mut asked, mut now) = (0, Moment(0));
    let found = loop {
        match lookup.poll_output() {
            Some(Output::Datagram { .. }) => asked += 1,
            Some(Output::Found(found)) => break found,
            Some(Output::Stream { .. }) => panic!("nothing was truncated"),
            None => {
                now = lookup.next_deadline().expect("it is not over");
                lookup.handle_timeout(now);
            }
        }
    };
    assert_eq!(found, Err(NotFound::Server(servers[1], Trouble::Silent)));
    assert_eq!((asked, now), (2 * 2 * 3 * 2, Moment(24_000_000)));
    let mut slow = settings("options timeout:30 attempts:5");
    slow.search = vec!["x".into()];
    let mut lookup = Lookup::new((slow, servers), "seed", [0; 16], Moment(0));
    while let Some(deadline) = lookup.next_deadline() {
        now = deadline;
        lookup.handle_timeout(now);
    }
    assert_eq!(now, Moment::ZERO + limits::LOOK_UP_MAX);
}
