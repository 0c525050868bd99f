//! A member that is this node's: the machine of `stemedb_edge::swim`, and around it what the shell
//! does: calls with their ends, probes on another's behalf, connections given up.
//!
//! In: messages, timers and resets of the world. Out: the machine's calls and beliefs. Bytes are
//! those of the protobuf messages, without HTTP/2 around them.

use std::collections::BTreeMap;
use std::time::Duration;

use stemedb_edge::base::{Moment, NodeId, Random};
use stemedb_edge::swim::{Ack, CallNumber, Config, Event, Failure, Output, State, Swim, Update};

use crate::world::{MILLI, Out, Peer, View};

/// Who waits for the answer to a ping.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Call {
    /// The machine.
    Own(CallNumber),
    /// Another member, for whom it was asked.
    Relayed(u64),
}

pub enum Message {
    Ping { call: Call, updates: Vec<Update>, digest: Option<u64> },
    Pong { call: Call, ack: Ack },
    Ask { number: CallNumber, target: NodeId, timeout: Duration, updates: Vec<Update> },
    Probed { number: CallNumber, acked: bool, updates: Vec<Update> },
}

pub enum Tick {
    Due,
    /// A call's time is over.
    Over(Call),
    /// A call's second try was refused.
    Refused(Call),
}

struct Relay {
    asker: usize,
    number: CallNumber,
    news: Vec<Update>,
}

pub struct Ours {
    swim: Swim,
    open: BTreeMap<Call, usize>,
    relays: BTreeMap<u64, Relay>,
    relayed: u64,
    /// When it is to be woken, the latest deadline that the machine gave.
    due: Option<u64>,
}

fn id(number: usize) -> NodeId {
    // Any, as real ones are; the last bytes hold the number.
    let any = Random::new(number as u64).bits();
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&any.to_be_bytes());
    bytes[8..].copy_from_slice(&(number as u64 + 1).to_be_bytes());
    NodeId(bytes)
}

fn number_of(id: NodeId) -> usize {
    let last: [u8; 8] = id.0[8..].try_into().expect("8 of 16");
    u64::from_be_bytes(last) as usize - 1
}

fn address(number: usize, port: u16) -> String {
    format!("10.0.{}.{}:{port}", number >> 8, number & 255)
}

fn number_at(address: &str) -> usize {
    let host = address.split(':').next().unwrap_or_default();
    let mut parts = host.split('.').skip(2).map(|part| part.parse().expect("an address of ours"));
    let mut part = || -> usize { parts.next().expect("an address of ours") };
    part() << 8 | part()
}

fn alive(number: usize) -> Update {
    Update {
        node: id(number),
        rpc_addr: address(number, 18182),
        api_addr: address(number, 18180),
        state: State::Alive,
        lamport: 0,
        // As the node's: Unix milliseconds.
        incarnation: 1_760_000_000_000,
    }
}

fn varint_bytes(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// A field of protobuf; one of no value is left out.
fn field_bytes(length: usize) -> usize {
    if length == 0 { 0 } else { 1 + varint_bytes(length as u64) + length }
}

/// A fixed64 whose tag takes two bytes.
fn digest_bytes(digest: Option<u64>) -> usize {
    if digest.is_some() { 10 } else { 0 }
}

fn number_bytes(value: u64) -> usize {
    if value == 0 { 0 } else { 1 + varint_bytes(value) }
}

fn updates_bytes(updates: &[Update]) -> usize {
    let one = |it: &Update| {
        let numbers = [it.state as u64, it.lamport, it.incarnation].map(number_bytes);
        let addresses = field_bytes(it.rpc_addr.len()) + field_bytes(it.api_addr.len());
        field_bytes(16) + addresses + numbers.iter().sum::<usize>()
    };
    updates.iter().map(|update| field_bytes(one(update))).sum()
}

impl Message {
    fn bytes(&self) -> usize {
        match self {
            Message::Ping { updates, digest, .. } => {
                field_bytes(16) + updates_bytes(updates) + digest_bytes(*digest)
            }
            Message::Pong { ack, .. } => {
                let addresses =
                    field_bytes(ack.addresses.0.len()) + field_bytes(ack.addresses.1.len());
                field_bytes(16) + addresses + updates_bytes(&ack.updates) + digest_bytes(ack.digest)
            }
            Message::Ask { target, updates, .. } => {
                let address = address(number_of(*target), 18182);
                2 * field_bytes(16) + field_bytes(address.len()) + updates_bytes(updates)
            }
            Message::Probed { acked, updates, .. } => {
                2 * usize::from(*acked) + updates_bytes(updates)
            }
        }
    }
}

impl Ours {
    fn ask(
        &mut self,
        to: usize,
        call: Call,
        message: Message,
        timeout: Duration,
        out: &mut Out<Self>,
    ) {
        self.open.insert(call, to);
        out.wake_at(out.now + timeout.as_micros() as u64, Tick::Over(call));
        let bytes = message.bytes();
        out.send(to, message, bytes, false);
    }

    fn answer(&self, to: usize, message: Message, out: &mut Out<Self>) {
        let bytes = message.bytes();
        out.send(to, message, bytes, true);
    }

    /// Pings for another member.
    fn relay(&mut self, relay: Relay, target: NodeId, timeout: Duration, out: &mut Out<Self>) {
        self.relayed += 1;
        let call = Call::Relayed(self.relayed);
        self.relays.insert(self.relayed, relay);
        let updates = self.swim.news_for(Some(target));
        let ping = Message::Ping { call, updates, digest: None };
        self.ask(number_of(target), call, ping, timeout, out);
    }

    fn end_relay(&mut self, number: u64, acked: bool, out: &mut Out<Self>) {
        let Some(relay) = self.relays.remove(&number) else { return };
        let probed = Message::Probed { number: relay.number, acked, updates: relay.news };
        self.answer(relay.asker, probed, out);
    }

    fn fail(&mut self, call: Call, failure: Failure, out: &mut Out<Self>) {
        match call {
            Call::Own(number) => self.swim.handle_failed(moment(out), number, failure),
            Call::Relayed(number) => self.end_relay(number, false, out),
        }
    }

    fn drain(&mut self, out: &mut Out<Self>) {
        while let Some(output) = self.swim.poll_output() {
            match output {
                Output::Ping { number, rpc_addr, updates, digest, timeout } => {
                    let call = Call::Own(number);
                    let ping = Message::Ping { call, updates, digest };
                    self.ask(number_at(&rpc_addr), call, ping, timeout, out);
                }
                Output::AskProbe { number, via, target, updates, timeout } => {
                    let ask = Message::Ask { number, target: target.0, timeout, updates };
                    self.ask(number_at(&via), Call::Own(number), ask, timeout, out);
                }
                Output::Event(Event::Changed(node, Some(state))) => {
                    self.note_view(node, state, out)
                }
                Output::Event(_) => {}
            }
        }
        let due = self.swim.next_deadline();
        let due = due.map(|due| due.0.saturating_sub(STARTED).max(out.now));
        if due.is_some_and(|due| self.due.is_none_or(|armed| due < armed)) {
            self.due = due;
            out.wake_at(due.unwrap_or(out.now), Tick::Due);
        }
    }

    fn note_view(&self, node: NodeId, state: State, out: &mut Out<Self>) {
        let view = match state {
            State::Suspect => View::Suspect,
            State::Dead => View::Dead,
            State::Alive | State::Left => return,
        };
        let life = self.swim.member(node).map_or(0, |member| member.news.incarnation);
        out.believes(number_of(node), life, view);
    }
}

/// When the machine's clock shows, at the start of the world: it met the others before.
const STARTED: u64 = 60_000_000;

fn moment<P: Peer>(out: &Out<P>) -> Moment {
    Moment(out.now + STARTED)
}

/// Has the machine hear of all others, which all answer it.
fn meet_all(swim: &mut Swim, number: usize, count: usize) {
    let others = (0..count).filter(|other| *other != number).map(alive).collect();
    swim.handle_ping(Moment(0), others, None);
    for step in 0..=STARTED / 100_000 {
        swim.handle_timeout(Moment(step * 100_000));
        while let Some(output) = swim.poll_output() {
            if let Output::Ping { number, rpc_addr, .. } = output {
                let word = alive(number_at(&rpc_addr));
                let addresses = (word.rpc_addr.clone(), word.api_addr.clone());
                let ack = Ack { node: word.node, addresses, updates: vec![word], digest: None };
                swim.handle_ack(Moment(step * 100_000), number, ack);
            }
        }
    }
    assert_eq!(swim.present().count(), count - 1);
}

impl Peer for Ours {
    type Message = Message;
    type Timer = Tick;

    fn start(number: usize, count: usize, seed: u64, out: &mut Out<Self>) -> Self {
        let config = Config { probe_interval: Duration::from_secs(1) };
        let mut swim = Swim::new(config, alive(number), seed, Moment(0));
        meet_all(&mut swim, number, count);
        // All of it is known to all.
        while swim.rumors() > 0 {
            swim.news_for(None);
        }
        let (open, relays) = (BTreeMap::new(), BTreeMap::new());
        let mut peer = Ours { swim, open, relays, relayed: 0, due: None };
        peer.drain(out);
        peer
    }

    fn handle_message(&mut self, from: usize, message: Message, out: &mut Out<Self>) {
        let now = moment(out);
        match message {
            Message::Ping { call, updates, digest } => {
                let updates = self.swim.handle_ping(now, updates, digest);
                let (me, digest) = (self.swim.me(), digest.and_then(|_| self.swim.digest()));
                let addresses = (me.rpc_addr.clone(), me.api_addr.clone());
                let ack = Ack { node: me.node, addresses, updates, digest };
                self.answer(from, Message::Pong { call, ack }, out);
            }
            Message::Pong { call, ack } => {
                if self.open.remove(&call).is_some() {
                    match call {
                        Call::Own(number) => self.swim.handle_ack(now, number, ack),
                        Call::Relayed(number) => {
                            let address = ack.addresses.0.clone();
                            self.swim.handle_answer(now, &address, ack);
                            self.end_relay(number, true, out);
                        }
                    }
                }
            }
            Message::Ask { number, target, timeout, updates } => {
                let news = self.swim.handle_ping(now, updates, None);
                self.relay(Relay { asker: from, number, news }, target, timeout, out);
            }
            Message::Probed { number, acked, updates } => {
                if self.open.remove(&Call::Own(number)).is_some() {
                    self.swim.handle_probed(now, number, acked, updates);
                }
            }
        }
        self.drain(out);
    }

    fn handle_timer(&mut self, timer: Tick, out: &mut Out<Self>) {
        match timer {
            Tick::Due if self.due.is_none_or(|due| due > out.now) => return,
            Tick::Due => {
                self.due = None;
                self.swim.handle_timeout(moment(out));
            }
            Tick::Over(call) => {
                let Some(to) = self.open.remove(&call) else { return };
                out.closes(to);
                self.fail(call, Failure::Silent, out);
            }
            Tick::Refused(call) => {
                let Some(_) = self.open.remove(&call) else { return };
                self.fail(call, Failure::Refused, out);
            }
        }
        self.drain(out);
    }

    fn handle_reset(&mut self, to: usize, was_open: bool, out: &mut Out<Self>) {
        let calls = self.open.iter().filter(|(_, callee)| **callee == to);
        // What was under way is tried once more, which the other's machine refuses.
        let at = out.now + if was_open { 2 * MILLI } else { 0 };
        calls.for_each(|(call, _)| out.wake_at(at, Tick::Refused(*call)));
        if was_open {
            self.swim.handle_lost(moment(out), &address(to, 18182));
        }
        self.drain(out);
    }
}
