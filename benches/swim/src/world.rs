//! A simulated network of members of one kind: virtual time, delays, loss, stalls, kills.
//!
//! In: what members send, and what is done to them. Out: messages at their time; what members
//! believe of each other, counted. Chance comes from one seed, so a run repeats itself exactly.
//!
//! Never: reads a clock, knows which protocol runs.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use stemedb_edge::base::Random;

pub const MILLI: u64 = 1000;
pub const SECOND: u64 = 1_000_000;
/// One way takes from 0.2 to 2 ms.
const DELAY: (u64, u64) = (200, 1800);
/// First retransmission of TCP; each next one takes twice as long.
const RETRANSMISSION: u64 = 200 * MILLI;
/// Connections that a member keeps to others, as the node does.
const CONNECTIONS_MAX: usize = 64;

/// What one member believes of another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum View {
    Suspect,
    Dead,
}

/// A protocol's member.
pub trait Peer: Sized {
    type Message;
    type Timer;

    /// One of `count`, all of whom know each other.
    fn start(number: usize, count: usize, seed: u64, out: &mut Out<Self>) -> Self;
    fn handle_message(&mut self, from: usize, message: Self::Message, out: &mut Out<Self>);
    fn handle_timer(&mut self, timer: Self::Timer, out: &mut Out<Self>);
    /// The connection to that member was reset, or could not be made.
    fn handle_reset(&mut self, to: usize, was_open: bool, out: &mut Out<Self>);
}

/// What a member wants done.
pub struct Out<P: Peer> {
    pub now: u64,
    sends: Vec<Send<P::Message>>,
    timers: Vec<(u64, P::Timer)>,
    views: Vec<(usize, u64, View)>,
    closed: Vec<usize>,
}

struct Send<M> {
    to: usize,
    message: M,
    bytes: usize,
    is_answer: bool,
}

impl<P: Peer> Out<P> {
    fn new() -> Self {
        Out { now: 0, sends: vec![], timers: vec![], views: vec![], closed: vec![] }
    }

    /// An answer takes the connection that the question came by.
    pub fn send(&mut self, to: usize, message: P::Message, bytes: usize, is_answer: bool) {
        self.sends.push(Send { to, message, bytes, is_answer });
    }

    pub fn wake_at(&mut self, at: u64, timer: P::Timer) {
        self.timers.push((at, timer));
    }

    /// `life` separates what may be believed twice: it changes when the other member refutes.
    pub fn believes(&mut self, about: usize, life: u64, view: View) {
        self.views.push((about, life, view));
    }

    /// The connection to that member is abandoned.
    pub fn closes(&mut self, to: usize) {
        self.closed.push(to);
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Net {
    /// A lost message is lost.
    Datagram,
    /// A lost segment comes later, and what was sent after it waits. Killed processes reset their
    /// connections.
    Stream,
    /// The same, but a process is killed with its machine: no connection is reset.
    StreamPowerOff,
}

#[derive(Clone, Copy, Debug)]
pub struct Weather {
    pub net: Net,
    pub loss: f64,
}

/// What was seen.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub messages: u64,
    pub bytes: u64,
    /// Live members that were suspected or believed dead by any other, by number and life.
    pub suspected: BTreeSet<(usize, u64)>,
    pub died: BTreeSet<(usize, u64)>,
    /// Of the member that was killed.
    pub first_suspect: Option<u64>,
    pub first_dead: Option<u64>,
    pub all_dead: Option<u64>,
    mourners: BTreeSet<usize>,
}

enum Event<P: Peer> {
    Deliver { from: usize, message: P::Message },
    Timer(P::Timer),
    Reset { by: usize, was_open: bool },
}

/// A connection, by who dialled it.
struct Connection {
    to: usize,
    used: u64,
    last_there: u64,
    last_back: u64,
}

pub struct World<P: Peer> {
    pub now: u64,
    pub seen: Seen,
    peers: Vec<Option<P>>,
    /// The last that was killed.
    victim: Option<usize>,
    /// Until when each does nothing.
    stalled: Vec<u64>,
    queue: BinaryHeap<Reverse<(u64, u64, usize)>>,
    slots: Vec<Option<(usize, Event<P>)>>,
    free: Vec<usize>,
    pushed: u64,
    connections: Vec<Vec<Connection>>,
    weather: Weather,
    random: Random,
    out: Out<P>,
}

impl<P: Peer> World<P> {
    pub fn new(count: usize, weather: Weather, seed: u64) -> Self {
        let mut world = World {
            now: 0,
            seen: Seen::default(),
            peers: Vec::new(),
            victim: None,
            stalled: vec![0; count],
            queue: BinaryHeap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            pushed: 0,
            connections: (0..count).map(|_| Vec::new()).collect(),
            weather,
            random: Random::new(seed),
            out: Out::new(),
        };
        for number in 0..count {
            let seed = world.random.bits();
            world.peers.push(Some(P::start(number, count, seed, &mut world.out)));
            world.carry_out(number);
        }
        world
    }

    /// Forgets what was seen; what is measured begins here.
    pub fn measure(&mut self) {
        self.seen = Seen::default();
    }

    pub fn kill(&mut self, number: usize) {
        self.peers[number] = None;
        self.victim = Some(number);
        self.measure();
        for dialer in 0..self.connections.len() {
            let held = &mut self.connections[dialer];
            let Some(at) = held.iter().position(|connection| connection.to == number) else {
                continue;
            };
            if self.weather.net == Net::Stream {
                held.remove(at);
                let at = self.now + self.travel();
                self.push(at, dialer, Event::Reset { by: number, was_open: true });
            }
        }
    }

    pub fn stall(&mut self, number: usize, span: u64) {
        self.stalled[number] = self.now + span;
    }

    pub fn run_for(&mut self, span: u64) {
        let end = self.now + span;
        while let Some(&Reverse((at, _, slot))) = self.queue.peek() {
            if at > end {
                break;
            }
            self.queue.pop();
            self.now = at;
            let (to, event) = self.slots[slot].take().expect("queued once");
            self.free.push(slot);
            if self.stalled[to] > at {
                self.push(self.stalled[to], to, event);
            } else {
                self.happen(to, event);
            }
        }
        self.now = end;
    }

    fn happen(&mut self, to: usize, event: Event<P>) {
        let Some(peer) = self.peers[to].as_mut() else { return };
        self.out.now = self.now;
        match event {
            Event::Deliver { from, message } => peer.handle_message(from, message, &mut self.out),
            Event::Timer(timer) => peer.handle_timer(timer, &mut self.out),
            Event::Reset { by, was_open } => peer.handle_reset(by, was_open, &mut self.out),
        }
        self.carry_out(to);
    }

    fn carry_out(&mut self, by: usize) {
        let mut out = std::mem::replace(&mut self.out, Out::new());
        for to in out.closed.drain(..) {
            self.connections[by].retain(|connection| connection.to != to);
        }
        for send in out.sends.drain(..) {
            self.send(by, send);
        }
        for (at, timer) in out.timers.drain(..) {
            self.push(at, by, Event::Timer(timer));
        }
        for (about, life, view) in out.views.drain(..) {
            self.note(by, about, life, view);
        }
        self.out = out;
    }

    fn note(&mut self, by: usize, about: usize, life: u64, view: View) {
        let seen = &mut self.seen;
        if self.peers[about].is_some() {
            let those = if view == View::Dead { &mut seen.died } else { &mut seen.suspected };
            those.insert((about, life));
        } else if self.victim == Some(about) {
            self.mourn(by, view);
        }
    }

    fn mourn(&mut self, by: usize, view: View) {
        let live = self.peers.iter().flatten().count();
        let seen = &mut self.seen;
        seen.first_suspect.get_or_insert(self.now);
        if view == View::Dead {
            seen.first_dead.get_or_insert(self.now);
            seen.mourners.insert(by);
            if seen.mourners.len() == live {
                seen.all_dead.get_or_insert(self.now);
            }
        }
    }

    fn send(&mut self, from: usize, send: Send<P::Message>) {
        let Send { to, message, bytes, is_answer } = send;
        self.seen.messages += 1;
        self.seen.bytes += bytes as u64;
        let arrival = match (self.weather.net, is_answer) {
            (Net::Datagram, _) if self.random.fraction() < self.weather.loss => return,
            (Net::Datagram, _) => self.now + self.travel(),
            (_, false) => match self.dial(from, to) {
                Some(arrival) => arrival,
                None => return,
            },
            (_, true) => self.answer(from, to),
        };
        self.push(arrival, to, Event::Deliver { from, message });
    }

    /// When a question arrives. One that finds no connection waits for a round trip first.
    fn dial(&mut self, from: usize, to: usize) -> Option<u64> {
        let mut arrival = self.now + self.travel() + self.retransmissions();
        let held = self.connections[from].iter().position(|connection| connection.to == to);
        let at = match held {
            Some(at) => at,
            None => {
                let there = self.travel() + self.retransmissions();
                let back = self.travel() + self.retransmissions();
                if self.peers[to].is_none() {
                    if self.weather.net == Net::Stream {
                        let at = self.now + there + back;
                        self.push(at, from, Event::Reset { by: to, was_open: false });
                    }
                    return None;
                }
                arrival += there + back;
                self.connect(from, to)
            }
        };
        let connection = &mut self.connections[from][at];
        connection.used = self.now;
        connection.last_there = arrival.max(connection.last_there + 1);
        Some(connection.last_there)
    }

    fn connect(&mut self, from: usize, to: usize) -> usize {
        let held = &mut self.connections[from];
        if held.len() == CONNECTIONS_MAX {
            let oldest = (0..held.len()).min_by_key(|at| held[*at].used).unwrap_or(0);
            held.swap_remove(oldest);
        }
        held.push(Connection { to, used: self.now, last_there: 0, last_back: 0 });
        held.len() - 1
    }

    fn answer(&mut self, from: usize, to: usize) -> u64 {
        let arrival = self.now + self.travel() + self.retransmissions();
        let held = self.connections[to].iter_mut().find(|connection| connection.to == from);
        held.map_or(arrival, |connection| {
            connection.last_back = arrival.max(connection.last_back + 1);
            connection.last_back
        })
    }

    fn travel(&mut self) -> u64 {
        DELAY.0 + self.random.below(DELAY.1 as usize) as u64
    }

    fn retransmissions(&mut self) -> u64 {
        let (mut late, mut next) = (0, RETRANSMISSION);
        while self.random.fraction() < self.weather.loss {
            late += next;
            next *= 2;
        }
        late
    }

    fn push(&mut self, at: u64, to: usize, event: Event<P>) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[slot] = Some((to, event));
        self.pushed += 1;
        self.queue.push(Reverse((at, self.pushed, slot)));
    }
}
