//! Membership under arbitrary updates, answers, failures and times.
//!
//! In: what happens to a node, one step after the other, as the input says. Out: a failed assertion
//! where an invariant breaks. Never: carries out a call that the machine asks for.

use std::time::Duration;

use prost::Message;

use super::input::Input;
use crate::base::{Moment, NodeId, limits};
use crate::swim::{Ack, CallNumber, Config, Failure, Output, State, Swim, Update};
use crate::wire::membership::{read_ack, read_updates, updates};
use crate::wire::pb::sync as pb;

/// No deadline lies further ahead: suspicions and pauses take minutes at this interval.
const AHEAD_MAX: Duration = Duration::from_secs(3600);
const ME: NodeId = NodeId([1; 16]);
const STEPS_MAX: usize = 100;
/// Each of them goes through all members, of which crowds make thousands.
const LARGE_STEPS_MAX: usize = 12;

struct SwimNode {
    swim: Swim,
    now: Moment,
    calls: Vec<CallNumber>,
    incarnation: u64,
    lamport: u64,
}

pub(super) fn membership(input: &[u8]) {
    let mut input = Input(input);
    let me = Update {
        node: ME,
        rpc_addr: "me:1".into(),
        api_addr: "me:2".into(),
        state: State::Alive,
        lamport: 0,
        incarnation: input.number(),
    };
    let config = Config { probe_interval: Duration::from_secs(1) };
    let swim = Swim::new(config, me, input.number(), Moment::ZERO);
    let incarnation = swim.me().incarnation;
    let mut node = SwimNode { swim, now: Moment::ZERO, calls: Vec::new(), incarnation, lamport: 0 };
    let (mut steps, mut large_steps) = (0, 0);
    while !input.is_over() && steps < STEPS_MAX && large_steps < LARGE_STEPS_MAX {
        node.step(&mut input);
        steps += 1;
        large_steps += usize::from(node.swim.members().count() > 100);
    }
}

impl SwimNode {
    fn step(&mut self, input: &mut Input<'_>) {
        let known = self.swim.members().count();
        let brought = self.happen(input);
        let mut outputs = 0;
        while let Some(output) = self.swim.poll_output() {
            outputs += 1;
            self.check_output(output);
        }
        // Each update may change a member twice and have it asked; the rest is one pass over all.
        let most = 8 * (brought + 1) + 2 * known + 2 * limits::PROBES_MAX;
        assert!(outputs <= most, "{outputs} outputs of {brought} updates");
        self.check();
    }

    fn happen(&mut self, input: &mut Input<'_>) -> usize {
        let now = self.now;
        match input.byte() % 12 {
            0 | 1 => {
                let news = news(input);
                return self.ping(news);
            }
            2 => {
                let message = pb::PingRequest::decode(input.bytes());
                let news = message.ok().and_then(|it| read_updates(it.updates).ok());
                return self.ping(news.unwrap_or_default());
            }
            3 => {
                let answer = pb::PingResponse::decode(input.bytes());
                let Some(ack) = answer.ok().and_then(|it| read_ack(it, None).ok()) else {
                    return 0;
                };
                return self.ack(input, ack);
            }
            4 | 5 => {
                let (node, updates) = (node(input), news(input));
                let addresses = (address(input), address(input));
                let digest = self.digest(updates.len());
                let ack = Ack { node, addresses, updates, digest };
                return self.ack(input, ack);
            }
            6 => {
                let (number, acked, news) = (self.call(input), input.byte() & 1 == 0, news(input));
                let brought = news.len();
                self.swim.handle_probed(now, number, acked, news);
                return brought;
            }
            7 => {
                let is_silent = input.byte() & 1 == 0;
                let failure = if is_silent { Failure::Silent } else { Failure::Refused };
                let number = self.call(input);
                self.swim.handle_failed(now, number, failure);
            }
            8 => self.swim.handle_lost(now, &address(input)),
            9 => {
                let seeds = (0..input.byte() % 4).map(|_| address(input));
                // Seeds are addresses that were looked up.
                let seeds = seeds.filter(|seed| !seed.is_empty()).collect();
                self.swim.handle_seeds(now, seeds);
            }
            10 if input.byte() > 250 => self.swim.handle_leave(now),
            _ => self.pass_time(input),
        }
        0
    }

    /// A digest of another node's list: none, an equal one, another one.
    fn digest(&self, updates: usize) -> Option<u64> {
        let own = self.swim.digest()?;
        (!updates.is_multiple_of(3)).then_some(own ^ u64::from(updates % 3 == 2))
    }

    fn ping(&mut self, news: Vec<Update>) -> usize {
        let brought = news.len();
        let answer = self.swim.handle_ping(self.now, news, self.digest(brought));
        let message = pb::PingResponse { updates: updates(answer), ..Default::default() };
        assert!(message.encoded_len() <= limits::GRPC_MESSAGE_BYTES_MAX / 4);
        brought
    }

    fn ack(&mut self, input: &mut Input<'_>, ack: Ack) -> usize {
        let (brought, number) = (ack.updates.len() + 1, self.call(input));
        self.swim.handle_ack(self.now, number, ack);
        brought
    }

    /// One that is under way, most of the time.
    fn call(&mut self, input: &mut Input<'_>) -> CallNumber {
        let at = input.below(self.calls.len() + 1);
        if at < self.calls.len() { self.calls.swap_remove(at) } else { input.number() }
    }

    /// To the next deadline, or as far as the input says; then nothing is due any more.
    fn pass_time(&mut self, input: &mut Input<'_>) {
        let span = Duration::from_micros(u64::from(input.byte()) << (input.byte() % 24));
        self.now = match self.swim.next_deadline() {
            Some(deadline) if span.is_zero() => deadline.max(self.now),
            _ => self.now + span,
        };
        self.swim.handle_timeout(self.now);
        let is_due = |swim: &Swim| swim.next_deadline().is_some_and(|due| due <= self.now);
        for _ in 0..2 {
            if is_due(&self.swim) {
                self.swim.handle_timeout(self.now);
            }
        }
        assert!(!is_due(&self.swim), "what is due is done");
    }

    fn check_output(&mut self, output: Output) {
        let (number, updates, timeout) = match output {
            Output::Ping { number, updates, timeout, .. } => (number, updates, timeout),
            Output::AskProbe { number, updates, timeout, .. } => (number, updates, timeout),
            Output::Event(_) => return,
        };
        assert!(timeout <= AHEAD_MAX);
        assert!(updates.len() <= limits::MEMBERS_MAX + 2);
        if self.calls.len() < limits::PROBES_MAX {
            self.calls.push(number);
        }
    }

    fn check(&mut self) {
        let swim = &self.swim;
        let me = swim.me();
        assert_eq!((me.node, &*me.rpc_addr, &*me.api_addr), (ME, "me:1", "me:2"));
        assert!(matches!(me.state, State::Alive | State::Left));
        assert!(me.incarnation >= self.incarnation && me.lamport >= self.lamport);
        (self.incarnation, self.lamport) = (me.incarnation, me.lamport);
        assert!(swim.members().count() <= limits::MEMBERS_MAX);
        assert!(swim.members().all(|member| member.news.node != ME));
        assert!(swim.present().all(|news| !news.rpc_addr.is_empty()));
        assert!(swim.rumors() <= limits::MEMBERS_MAX + 1);
        assert!(swim.calls_under_way() <= limits::PROBES_MAX);
        let deadline = swim.next_deadline().unwrap_or(self.now);
        assert!(deadline.since(self.now) <= AHEAD_MAX, "{deadline:?} is far from {:?}", self.now);
    }
}

/// Few members, so that updates are about the same ones; now and then hundreds at once.
fn node(input: &mut Input<'_>) -> NodeId {
    NodeId([input.byte() % 16 + 1; 16])
}

fn address(input: &mut Input<'_>) -> String {
    match input.byte() % 16 {
        0 => String::new(),
        1 => "me:1".into(),
        number => format!("node{number}:1"),
    }
}

fn news(input: &mut Input<'_>) -> Vec<Update> {
    let count = input.byte();
    if count == 255 {
        return crowd(input);
    }
    (0..count % 8)
        .map(|_| Update {
            node: node(input),
            rpc_addr: address(input),
            api_addr: address(input),
            state: State::ALL[input.below(State::ALL.len())],
            lamport: input.number(),
            incarnation: input.number(),
        })
        .collect()
}

fn crowd(input: &mut Input<'_>) -> Vec<Update> {
    let (from, state) = (input.number(), State::ALL[input.below(State::ALL.len())]);
    let one = |number: u64| {
        let mut node = [2; 16];
        node[..8].copy_from_slice(&from.wrapping_add(number).to_le_bytes());
        Update {
            node: NodeId(node),
            rpc_addr: format!("crowd{number}:1"),
            api_addr: String::new(),
            state,
            lamport: 0,
            incarnation: 1,
        }
    };
    (0..1000).map(one).collect()
}
