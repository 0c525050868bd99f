//! Clusters of machines on a network that follows a plan.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::dissemination::{NEWS_BYTES_MAX, WELCOME_BYTES_MAX};
use super::*;
use crate::base::limits;

mod hearsay;
mod lists;
mod reach;

const SECOND: u64 = 1_000_000;

fn id(number: usize) -> NodeId {
    NodeId((number as u128 + 1).to_be_bytes())
}

fn address(number: usize) -> String {
    format!("node{number}:18182")
}

fn alive(number: usize, incarnation: u64) -> Update {
    Update {
        node: id(number),
        rpc_addr: address(number),
        api_addr: format!("node{number}:18180"),
        state: State::Alive,
        lamport: 0,
        incarnation,
    }
}

fn config() -> Config {
    Config { probe_interval: Duration::from_secs(1) }
}

/// One whose pings are answered until it knows these members.
fn among(others: impl Iterator<Item = usize>) -> (Swim, Moment) {
    let (mut swim, mut now) = (Swim::new(config(), alive(0, 1), 1, Moment(0)), Moment(0));
    let others: Vec<usize> = others.collect();
    swim.handle_ping(now, others.iter().map(|other| alive(*other, 1)).collect(), None);
    while swim.members().count() < others.len() {
        answer_all(&mut swim, now, |number| Some(alive(number, 1)));
        now = now + Duration::from_secs(1);
        swim.handle_timeout(now);
    }
    answer_all(&mut swim, now, |number| Some(alive(number, 1)));
    (swim, now)
}

/// Answers pings as `own_update` says, by the number of the node that is pinged; the others fail.
fn answer_all(swim: &mut Swim, now: Moment, own_update: impl Fn(usize) -> Option<Update>) -> usize {
    let mut pings = 0;
    while let Some(output) = swim.poll_output() {
        let Output::Ping { number, rpc_addr, .. } = output else { continue };
        pings += 1;
        let digits = rpc_addr.trim_start_matches("node").split(':').next();
        let said = digits.and_then(|digits| digits.parse().ok()).and_then(&own_update);
        match said {
            Some(said) => {
                let addresses = (said.rpc_addr.clone(), said.api_addr.clone());
                let ack = Ack { node: said.node, addresses, updates: vec![said], digest: None };
                swim.handle_ack(now, number, ack);
            }
            None => swim.handle_failed(now, number, Failure::Refused),
        }
    }
    pings
}

#[derive(Debug)]
enum Arrival {
    Ping { from: usize, number: CallNumber, updates: Vec<Update>, digest: Option<u64> },
    Ack { number: CallNumber, ack: Ack },
    Ask { from: usize, number: CallNumber, target: usize, updates: Vec<Update> },
    Probed { number: CallNumber, updates: Vec<Update> },
    Failed { number: CallNumber, failure: Failure },
}

/// Who can send to whom.
type Link = fn(usize, usize) -> bool;

struct World {
    now: u64,
    nodes: Vec<Option<Swim>>,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    arrivals: BTreeMap<u64, (usize, Arrival)>,
    sent: u64,
    events: Vec<(u64, usize, Event)>,
    link: Link,
    /// Who can call whom: an answer takes the way of its call.
    dial: Link,
    /// Messages lost, of a thousand.
    loss: u64,
    /// A dead node's port refuses; else it is silent.
    refuses: bool,
    random: Random,
}

impl World {
    fn new(count: usize, seed: u64) -> World {
        let mut world = World {
            now: 0,
            nodes: Vec::new(),
            queue: BinaryHeap::new(),
            arrivals: BTreeMap::new(),
            sent: 0,
            events: Vec::new(),
            link: |_, _| true,
            dial: |_, _| true,
            loss: 0,
            refuses: true,
            random: Random::new(seed),
        };
        for number in 0..count {
            world.start(number, 1);
        }
        world.run_for(40 * SECOND);
        assert_eq!(world.views(State::Alive), count * (count - 1), "all members know all");
        world
    }

    /// All have the first as their seed.
    fn start(&mut self, number: usize, incarnation: u64) {
        let (seed, now) = (self.random.bits(), Moment(self.now));
        let mut swim = Swim::new(config(), alive(number, incarnation), seed, now);
        swim.handle_seeds(now, vec![address(0)]);
        self.nodes.resize_with(self.nodes.len().max(number + 1), || None);
        self.nodes[number] = Some(swim);
        self.drain(number);
    }

    /// How many of all views of others are of this state.
    fn views(&self, state: State) -> usize {
        let live = self.nodes.iter().flatten();
        live.map(|swim| swim.members().filter(|member| member.news.state == state).count()).sum()
    }

    fn changes(&self, state: State) -> usize {
        let is_it = |event: &Event| matches!(event, Event::Changed(_, Some(to)) if *to == state);
        self.events.iter().filter(|(_, _, event)| is_it(event)).count()
    }

    fn send(&mut self, from: usize, to: usize, arrival: Arrival) {
        let is_call = matches!(arrival, Arrival::Ping { .. } | Arrival::Ask { .. });
        if is_call && !(self.dial)(from, to) {
            return self.fail(from, &arrival);
        }
        if !(self.link)(from, to) || self.random.bits() % 1000 < self.loss {
            return;
        }
        let delay = 500 + self.random.below(1000) as u64;
        self.sent += 1;
        self.queue.push(Reverse((self.now + delay, self.sent)));
        self.arrivals.insert(self.sent, (to, arrival));
    }

    /// A call that nothing answers is refused, or silent.
    fn fail(&mut self, from: usize, arrival: &Arrival) {
        let (Arrival::Ping { number, .. }, true) = (arrival, self.refuses) else { return };
        self.sent += 1;
        self.queue.push(Reverse((self.now + 1000, self.sent)));
        self.arrivals.insert(
            self.sent,
            (from, Arrival::Failed { number: *number, failure: Failure::Refused }),
        );
    }

    fn drain(&mut self, number: usize) {
        while let Some(output) = self.nodes[number].as_mut().and_then(Swim::poll_output) {
            match output {
                Output::Event(event) => self.events.push((self.now, number, event)),
                Output::Ping { number: call, rpc_addr, updates, digest, .. } => {
                    let bytes: usize = updates.iter().map(Update::wire_bytes).sum();
                    assert!(bytes <= WELCOME_BYTES_MAX + 2 * NEWS_BYTES_MAX);
                    let to = (0..self.nodes.len()).find(|to| address(*to) == rpc_addr);
                    let to = to.expect("an address of ours");
                    let arrival = match to == number {
                        true => Arrival::Failed { number: call, failure: Failure::Own },
                        false => Arrival::Ping { from: number, number: call, updates, digest },
                    };
                    self.send(number, to, arrival);
                }
                Output::AskProbe { number: call, via, target, updates, .. } => {
                    let to = (0..self.nodes.len()).find(|to| address(*to) == via);
                    let target = (0..self.nodes.len()).find(|to| id(*to) == target.0);
                    let target = target.expect("one of ours");
                    let arrival = Arrival::Ask { from: number, number: call, target, updates };
                    self.send(number, to.expect("an address of ours"), arrival);
                }
            }
        }
    }

    fn run_for(&mut self, span: u64) {
        let end = self.now + span;
        loop {
            let deadlines = self
                .nodes
                .iter()
                .enumerate()
                .filter_map(|(number, node)| Some((node.as_ref()?.next_deadline()?.0, number)));
            let timer = deadlines.min();
            let arrival = self.queue.peek().map(|Reverse((at, _))| *at);
            let next = timer.map(|(at, _)| at).into_iter().chain(arrival).min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            if arrival == Some(next) {
                let Reverse((_, key)) = self.queue.pop().expect("peeked");
                let (to, arrival) = self.arrivals.remove(&key).expect("queued once");
                self.arrive(to, arrival);
            } else if let Some((_, number)) = timer {
                let now = Moment(self.now);
                self.nodes[number].as_mut().expect("it has a deadline").handle_timeout(now);
                self.drain(number);
            }
        }
        self.now = end;
    }

    fn arrive(&mut self, to: usize, arrival: Arrival) {
        let now = Moment(self.now);
        let Some(swim) = self.nodes[to].as_mut() else {
            if let (Arrival::Ping { from, number, .. }, true) = (arrival, self.refuses) {
                let failure = Failure::Refused;
                self.send(to, from, Arrival::Failed { number, failure });
            }
            return;
        };
        match arrival {
            Arrival::Ping { from, number, updates, digest } => {
                let updates = swim.handle_ping(now, updates, digest);
                let (me, digest) = (swim.me(), digest.and_then(|_| swim.digest()));
                let addresses = (me.rpc_addr.clone(), me.api_addr.clone());
                let ack = Ack { node: me.node, addresses, updates, digest };
                self.send(to, from, Arrival::Ack { number, ack });
            }
            Arrival::Ack { number, ack } => swim.handle_ack(now, number, ack),
            Arrival::Ask { from, number, target, updates } => {
                let updates = swim.handle_ping(now, updates, None);
                let may_call = (self.link)(to, target) && (self.dial)(to, target);
                let reached = self.nodes[target].is_some() && may_call;
                if reached && self.random.bits() % 1000 >= 2 * self.loss {
                    self.send(to, from, Arrival::Probed { number, updates });
                }
            }
            Arrival::Probed { number, updates } => swim.handle_probed(now, number, true, updates),
            Arrival::Failed { number, failure } => swim.handle_failed(now, number, failure),
        }
        self.drain(to);
    }
}

#[test]
fn one_seed_is_enough_and_rumors_end() {
    let mut world = World::new(16, 1);
    world.run_for(60 * SECOND);
    assert!(world.nodes.iter().flatten().all(|swim| swim.rumors() == 0), "all news has ended");
    assert_eq!((world.changes(State::Suspect), world.changes(State::Dead)), (0, 0));
}

#[test]
fn a_killed_member_is_suspected_at_the_next_call_and_dead_soon_after() {
    for seed in 0..20 {
        let mut world = World::new(3, seed);
        world.nodes[2] = None;
        // Its connections end.
        for number in 0..2 {
            let now = Moment(world.now);
            world.nodes[number].as_mut().expect("alive").handle_lost(now, &address(2));
            world.drain(number);
        }
        world.run_for(SECOND / 10);
        assert_eq!(world.views(State::Suspect), 2, "seed {seed}");
        world.run_for(SECOND * 3 / 2);
        assert_eq!(world.views(State::Dead), 2, "seed {seed}");
    }
}

#[test]
fn a_silent_member_is_dead_for_all_and_no_other_is() {
    let mut world = World::new(16, 2);
    world.refuses = false;
    world.nodes[7] = None;
    world.run_for(15 * SECOND);
    assert_eq!((world.views(State::Dead), world.views(State::Alive)), (15, 15 * 14));
}

#[test]
fn a_suspect_that_lives_refutes_it() {
    let mut world = World::new(8, 3);
    world.link = |from, to| from != 5 && to != 5;
    let is_it = |news: &Update| news.node == id(5) && news.state == State::Suspect;
    while !world.nodes[..5].iter().flatten().any(|swim| swim.present().any(is_it)) {
        world.run_for(SECOND / 10);
        assert!(world.now < 60 * SECOND, "no suspicion of a member that is cut off");
    }
    world.link = |_, _| true;
    world.run_for(20 * SECOND);
    assert_eq!(world.views(State::Alive), 8 * 7);
    assert!(world.nodes[5].as_ref().expect("alive").stats().refuted > 0);
}

#[test]
fn halves_that_called_each_other_dead_find_together_again() {
    let mut world = World::new(8, 4);
    world.link = |from, to| (from < 4) == (to < 4);
    world.run_for(60 * SECOND);
    assert_eq!(world.views(State::Dead), 2 * 4 * 4);
    world.link = |_, _| true;
    world.run_for(60 * SECOND);
    assert_eq!(world.views(State::Alive), 8 * 7);
}

#[test]
fn two_that_lost_each_other_find_together_again() {
    let mut world = World::new(2, 4);
    world.link = |_, _| false;
    world.run_for(60 * SECOND);
    assert_eq!(world.views(State::Dead), 2);
    world.link = |_, _| true;
    world.run_for(60 * SECOND);
    assert_eq!(world.views(State::Alive), 2);
}

#[test]
fn a_caller_without_an_id_gets_the_member_list_and_uses_no_rumor_up() {
    let (mut swim, now) = among(1..3);
    for _ in 0..100 {
        assert_eq!(swim.handle_ping(now, Vec::new(), None).len(), 3);
    }
    assert_eq!(swim.rumors(), 2);
}

#[test]
fn a_seed_is_matched_by_the_node_that_answers_there() {
    let mut swim = Swim::new(config(), alive(0, 1), 1, Moment(0));
    swim.handle_seeds(Moment(0), vec!["10.0.0.7:18182".into()]);
    assert_eq!(swim.unmatched_seeds().count(), 1);
    let Some(Output::Ping { number, .. }) = swim.poll_output() else {
        panic!("a ping to the seed")
    };
    let (addresses, updates) = ((address(1), String::new()), vec![alive(1, 1)]);
    swim.handle_ack(Moment(1), number, Ack { node: id(1), addresses, updates, digest: None });
    // It says that it has another address, and answers there.
    answer_all(&mut swim, Moment(2), |number| Some(alive(number, 1)));
    assert_eq!(swim.unmatched_seeds().count(), 0);
}

#[test]
fn a_cut_in_one_direction_between_two_kills_no_member() {
    let mut world = World::new(8, 5);
    world.link = |from, to| (from, to) != (1, 2);
    world.run_for(120 * SECOND);
    assert_eq!(world.changes(State::Dead), 0);
}

#[test]
fn loss_and_stalls_kill_no_member() {
    let mut world = World::new(16, 6);
    world.loss = 100;
    world.run_for(600 * SECOND);
    assert_eq!(world.changes(State::Dead), 0);
}

#[test]
fn a_restart_under_the_same_id_is_followed_to_its_new_address() {
    let mut world = World::new(4, 7);
    let mut moved = alive(3, 2);
    moved.rpc_addr = address(9);
    world.nodes.resize_with(10, || None);
    world.nodes[3] = None;
    let now = Moment(world.now);
    let mut swim = Swim::new(config(), moved, 9, now);
    swim.handle_seeds(now, vec![address(0)]);
    world.nodes[9] = Some(swim);
    world.drain(9);
    world.run_for(10 * SECOND);
    let others = world.nodes[..3].iter().flatten();
    let known: Vec<_> = others.flat_map(Swim::present).filter(|it| it.node == id(3)).collect();
    assert_eq!(known.len(), 3);
    assert!(known.iter().all(|news| news.rpc_addr == address(9)));
    let moves = world.events.iter().filter(|(_, _, event)| matches!(event, Event::Moved(..)));
    assert_eq!(moves.count(), 3);
}

#[test]
fn two_live_nodes_with_one_id_are_reported() {
    let mut world = World::new(3, 8);
    let mut other = alive(2, 5);
    other.rpc_addr = address(4);
    world.nodes.resize_with(5, || None);
    let now = Moment(world.now);
    let mut swim = Swim::new(config(), other, 9, now);
    swim.handle_seeds(now, vec![address(0)]);
    world.nodes[4] = Some(swim);
    world.drain(4);
    world.run_for(10 * SECOND);
    for number in [2, 4] {
        let swim = world.nodes[number].as_ref().expect("it lives");
        assert!(swim.duplicate().is_some(), "node {number}: {:?}", world.events);
    }
}

/// One is the other's seed, and there is no third node; whatever their incarnations.
#[test]
fn two_nodes_alone_with_one_id_notice_it_and_when_it_is_over() {
    for (first, second) in [(1, 5), (1 << 40, 5)] {
        let mut world = World::new(1, first);
        let now = Moment(world.now);
        let alone = Swim::new(config(), alive(0, first), 3, now);
        world.nodes[0] = Some(alone);
        let other = Update { rpc_addr: address(4), ..alive(0, second) };
        let mut swim = Swim::new(config(), other, 9, now);
        swim.handle_seeds(now, vec![address(0)]);
        world.nodes.resize_with(5, || None);
        world.nodes[4] = Some(swim);
        world.drain(4);
        world.run_for(10 * SECOND);
        let at = |world: &World, number: usize| {
            let swim = world.nodes[number].as_ref().expect("it lives");
            assert_eq!(swim.members().count(), 0);
            swim.duplicate().map(str::to_owned)
        };
        assert_eq!((at(&world, 0), at(&world, 4)), (Some(address(4)), Some(address(0))));
        let seeds = world.nodes[4].as_ref().expect("it lives").unmatched_seeds().count();
        assert_eq!(seeds, 1, "no other node is found");
        world.nodes[4] = None;
        world.run_for(30 * SECOND);
        assert_eq!(at(&world, 0), None);
        let over = world.events.iter().filter(|event| event.2 == Event::Duplicate(None));
        assert_eq!(over.count(), 1);
    }
}

#[test]
fn a_seed_that_is_the_node_itself_is_reported_once() {
    let mut swim = Swim::new(config(), alive(0, 1), 1, Moment(0));
    let mut now = Moment(0);
    swim.handle_seeds(now, vec![address(7)]);
    assert_eq!(swim.unmatched_seeds().count(), 1);
    let (mut reported, mut asked) = (0, 0);
    for _ in 0..100 {
        while let Some(output) = swim.poll_output() {
            match output {
                Output::Ping { number, .. } => {
                    asked += 1;
                    swim.handle_failed(now, number, Failure::Own);
                }
                Output::Event(event) => {
                    assert_eq!(event, Event::OwnSeed(address(7)));
                    reported += 1;
                }
                Output::AskProbe { .. } => panic!("no relay is there"),
            }
        }
        now = now + Duration::from_secs(1);
        swim.handle_timeout(now);
    }
    assert_eq!((reported, swim.unmatched_seeds().count()), (1, 0));
    assert!((6..12).contains(&asked), "its address may become another's: {asked} times");
}

#[test]
fn a_member_at_this_nodes_own_address_is_gone_from_there() {
    let (mut swim, now) = among(1..3);
    swim.handle_lost(now, &address(1));
    let number = std::iter::from_fn(|| swim.poll_output()).find_map(|output| match output {
        Output::Ping { number, rpc_addr, .. } if rpc_addr == address(1) => Some(number),
        _ => None,
    });
    swim.handle_failed(now, number.expect("a probe"), Failure::Own);
    assert_eq!(swim.member(id(1)).map(|member| member.news.state), Some(State::Suspect));
}

#[test]
fn an_address_found_late_is_disseminated_and_a_node_without_one_is_no_member() {
    let nowhere = Update { rpc_addr: String::new(), api_addr: String::new(), ..alive(1, 1) };
    let (mut swim, now) = (Swim::new(config(), nowhere.clone(), 1, Moment(0)), Moment(0));
    let (mut other, _) = among(2..3);
    other.handle_ping(now, vec![nowhere], None);
    assert_eq!((other.poll_output(), other.members().count()), (None, 1));
    swim.handle_addresses(now, (address(1), address(1)));
    assert_eq!((swim.me().incarnation, &*swim.me().rpc_addr), (2, &*address(1)));
    swim.handle_addresses(now, (address(1), address(1)));
    assert_eq!(swim.me().incarnation, 2, "that is no news");
    other.handle_ping(now, vec![swim.me().clone()], None);
    answer_all(&mut other, now, |_| Some(swim.me().clone()));
    assert!(other.present().any(|news| news.node == id(1) && news.rpc_addr == address(1)));
    // A node that never says where it is, is where it answers.
    let (mut word, mut third) = (alive(3, 1), Swim::new(config(), alive(4, 1), 1, now));
    word.rpc_addr.clear();
    third.handle_seeds(now, vec![address(3)]);
    answer_all(&mut third, now, |_| Some(word.clone()));
    assert!(third.present().any(|news| news.node == id(3) && news.rpc_addr == address(3)));
}

#[test]
fn a_node_that_leaves_is_left_and_not_dead() {
    let mut world = World::new(5, 9);
    let now = Moment(world.now);
    world.nodes[4].as_mut().expect("alive").handle_leave(now);
    world.drain(4);
    world.run_for(SECOND / 10);
    world.nodes[4] = None;
    world.run_for(10 * SECOND);
    assert_eq!((world.views(State::Left), world.views(State::Alive)), (4, 4 * 3));
    assert_eq!(world.changes(State::Dead), 0);
    world.run_for(700 * SECOND);
    assert_eq!(world.views(State::Left), 0, "they are forgotten");
}

#[test]
fn the_list_is_bounded() {
    let (mut swim, now) = among(1..limits::MEMBERS_MAX + 1);
    swim.handle_ping(now, vec![alive(limits::MEMBERS_MAX + 9, 1)], None);
    answer_all(&mut swim, now, |number| Some(alive(number, 1)));
    assert_eq!(swim.members().count(), limits::MEMBERS_MAX);
    assert_eq!(swim.stats().refused, 1);
    let answer = swim.handle_ping(now, Vec::new(), None);
    let bytes: usize = answer.iter().map(Update::wire_bytes).sum();
    assert!(bytes <= WELCOME_BYTES_MAX + 2 * NEWS_BYTES_MAX);
}

#[test]
fn calls_under_way_are_bounded() {
    let (mut swim, now) = among(1..2 * limits::PROBES_MAX);
    for number in 1..2 * limits::PROBES_MAX {
        swim.handle_lost(now, &address(number));
        assert!(swim.calls_under_way() <= limits::PROBES_MAX);
    }
    assert_eq!(swim.calls_under_way(), limits::PROBES_MAX);
}

#[test]
fn a_node_of_the_standard_is_a_member_by_its_answers() {
    let mut swim = Swim::new(config(), alive(0, 1), 1, Moment(0));
    swim.handle_seeds(Moment(0), vec![address(1)]);
    let Some(Output::Ping { number, .. }) = swim.poll_output() else {
        panic!("a ping to the seed")
    };
    let nowhere = (String::new(), String::new());
    let mut ack = Ack { node: id(1), addresses: nowhere, updates: Vec::new(), digest: None };
    swim.handle_ack(Moment(1), number, ack.clone());
    let found: Vec<_> = swim.present().map(|news| (news.node, news.rpc_addr.clone())).collect();
    assert_eq!(found, [(id(1), address(1))]);
    ack.addresses.0 = address(1);
    swim.suspect(Moment(2), id(1), true);
    swim.handle_answer(Moment(3), &address(1), ack);
    assert!(swim.present().all(|news| news.state == State::Alive));
}
