//! Member lists compared and exchanged. Never: has a rumor bring what a list is to bring.

use super::super::lists::{UPDATES_PER_INTERVAL, entry};
use super::*;

fn update(number: u8, incarnation: u64) -> Update {
    let address = format!("node{number}:18182");
    Update {
        node: NodeId([number; 16]),
        rpc_addr: address.clone(),
        api_addr: address,
        state: State::Alive,
        lamport: 0,
        incarnation,
    }
}

/// Node 0, which these answered.
fn among(others: impl Iterator<Item = u8>) -> Swim {
    let config = Config { probe_interval: Duration::from_secs(1) };
    let mut swim = Swim::new(config, update(0, 1), 1, Moment::ZERO);
    others.for_each(|number| answer(&mut swim, number, vec![update(number, 1)]));
    swim
}

fn answer(swim: &mut Swim, number: u8, updates: Vec<Update>) {
    let Update { node, rpc_addr, api_addr, .. } = update(number, 1);
    let address = rpc_addr.clone();
    let ack = Ack { node, addresses: (rpc_addr, api_addr), updates, digest: None };
    swim.handle_answer(Moment::ZERO, &address, ack);
}

#[test]
fn a_digest_is_of_the_set_and_its_list_sums_up_to_it() {
    let (one, other) = (among(1..5), among((1..5).rev()));
    assert_eq!(one.digest(), other.digest());
    assert_eq!(one.digest(), Some(one.digest_of(&one.member_list())));
    assert_ne!(one.digest(), among(1..4).digest());
    let mut moved = among(1..5);
    answer(&mut moved, 2, vec![update(2, 2)]);
    assert_ne!(one.digest(), moved.digest(), "a later life is another one");
}

#[test]
fn a_node_of_the_standard_counts_without_the_incarnation_that_others_make_up() {
    let (mut one, mut other) = (among(1..3), among(1..3));
    for swim in [&mut one, &mut other] {
        answer(swim, 3, Vec::new());
    }
    assert_eq!(one.digest(), other.digest());
    one.suspect(Moment::ZERO, NodeId([3; 16]), true);
    answer(&mut one, 3, Vec::new());
    assert_eq!(one.member(NodeId([3; 16])).map(|member| member.news.incarnation), Some(1));
    assert_eq!(one.digest(), other.digest());
    assert_eq!(other.digest(), Some(other.digest_of(&one.member_list())));
}

#[test]
fn a_newcomer_gets_each_list_and_others_as_many_as_the_rate_allows() {
    let mut swim = among(1..64);
    let all = swim.members.len() + 1;
    let mut lists = |now, digest| {
        let pings = 0..1000;
        let answers = pings.map(|_| swim.handle_ping(now, vec![update(9, 1)], Some(digest)));
        answers.filter(|answer| answer.len() >= all).count()
    };
    let new = entry(NodeId([9; 16]), 1);
    assert_eq!(lists(Moment::ZERO, new), 1000);
    assert_eq!(lists(Moment::ZERO, 7), limits::MEMBERS_MAX / all);
    let later = Moment::ZERO + Duration::from_secs(8);
    assert_eq!(lists(later, 7), 8 * UPDATES_PER_INTERVAL as usize / all);
    let equal = swim.digest().expect("it does not leave");
    assert!(swim.handle_ping(later, vec![update(9, 1)], Some(equal)).len() < all);
}

#[test]
fn a_caller_sends_back_what_the_callees_list_lacks() {
    let mut swim = among(1..5);
    swim.handle_seeds(Moment::ZERO, vec!["seed:1".into()]);
    let pings = std::iter::from_fn(|| swim.poll_output());
    let number = pings.filter_map(|output| match output {
        Output::Ping { number, digest: Some(_), .. } => Some(number),
        _ => None,
    });
    let number = number.last().expect("a seed is asked with a digest");
    // The callee is node 4; it knows node 1, and an earlier life of node 2.
    let updates = vec![update(4, 1), update(1, 1), update(2, 0)];
    let digest = Some(swim.digest_of(&updates));
    let addresses = ("node4:18182".to_owned(), String::new());
    let ack = Ack { node: NodeId([4; 16]), addresses, updates, digest };
    swim.handle_ack(Moment::ZERO, number, ack);
    let sent = std::iter::from_fn(|| swim.poll_output()).find_map(|output| match output {
        Output::Ping { rpc_addr, updates, digest, .. } if rpc_addr == "seed:1" => {
            Some((updates, digest))
        }
        _ => None,
    });
    let (updates, digest) = sent.expect("what is missing");
    let nodes: Vec<u8> = updates.iter().map(|update| update.node.0[0]).collect();
    assert_eq!((nodes, digest), (vec![0, 2, 3], None));
}
