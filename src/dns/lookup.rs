//! One name looked up: which full name is asked for, at which server, for how long.
//!
//! In: packets, failures and time. Out: what to send, and the end. Both kinds of address are asked
//! for at once. The servers are asked one after the other, `attempts` times; the full names one
//! after the other, until one has an address.
//!
//! ```text
//! name -> round (one server) -> both kinds settled -> addresses: the end
//!   ^          |     ^ |                          \-> none: the next name
//!   |          v     | +-- refused, silent, unreachable: the next round
//!   +---- no more rounds
//! ```
//!
//! Never: waits for one kind of address while the other is there, but for a bounded time.

use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::message::{AddressKind, NameAnswer, Question};
use super::settings::ResolverSettings;
use crate::base::{Digest, Moment, limits};

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Send the packet from a socket that takes answers of this server alone.
    Datagram {
        /// The address of the name server, with its port.
        server: SocketAddr,
        /// The question as a packet (RFC 1035, section 4.1).
        packet: Vec<u8>,
    },
    /// Ask by TCP, as the answer is too large.
    Stream {
        /// The address of the name server, with its port.
        server: SocketAddr,
        /// The question, without the length before it.
        packet: Vec<u8>,
    },
    /// The addresses, or why there are none. Nothing follows.
    Found(Result<Vec<IpAddr>, NotFound>),
}

/// Why a name has no address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NotFound {
    /// There can be no such name.
    BadName,
    /// Name servers answer that none of these has an address.
    Unknown(Vec<String>),
    /// The last name server that was asked did not answer the question.
    Server(SocketAddr, Trouble),
}

/// Why a server's answer is of no use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// It answered with this code.
    Code(u8),
    /// It sent something else than an answer.
    Malformed,
    /// It did not answer in time.
    Silent,
    /// No server listens there, or no route leads there.
    Unreachable,
}

impl fmt::Display for NotFound {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotFound::BadName => write!(out, "no name can have an empty, long or non-ASCII part"),
            NotFound::Unknown(names) => {
                write!(out, "name servers know no address of {}", names.join(", "))
            }
            NotFound::Server(server, trouble) => write!(out, "name server {server} {trouble}"),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Code(1) => out.write_str("answers FORMERR"),
            Trouble::Code(2) => out.write_str("answers SERVFAIL"),
            Trouble::Code(5) => out.write_str("answers REFUSED"),
            Trouble::Code(code) => write!(out, "answers with code {code}"),
            Trouble::Malformed => out.write_str("sends answers that cannot be read"),
            Trouble::Silent => out.write_str("does not answer"),
            Trouble::Unreachable => out.write_str("cannot be reached"),
        }
    }
}

/// What is known of one kind of address of the name.
#[derive(Debug)]
enum QuestionState {
    /// Asked at the server of this round.
    Asked,
    /// Asked by TCP; these came before.
    Streaming(Vec<IpAddr>),
    /// The server answered: these are all addresses of this kind.
    Settled(Vec<IpAddr>),
    /// The server of this round does not answer it.
    Failed,
}

#[derive(Debug)]
struct Asking {
    question: Question,
    state: QuestionState,
}

/// A name that is looked up.
#[derive(Debug)]
pub struct Lookup {
    settings: ResolverSettings,
    /// In the order in which rounds go through them.
    servers: Vec<SocketAddr>,
    /// As it was given: it is asked for even if the names of the search list get no answer.
    given: String,
    /// Names of the search list that are left to try.
    names: VecDeque<String>,
    /// Those that were asked for, for the error.
    tried: Vec<String>,
    /// The questions of this name, one for each kind of address: one may be settled before the
    /// other.
    asking: Vec<Asking>,
    /// Servers asked for this name until now, counted.
    round: usize,
    /// The end of the round.
    deadline: Moment,
    /// The end of the whole.
    end: Moment,
    /// The last server that gave no answer, for the error: a broken server is no missing name.
    trouble: Option<(SocketAddr, Trouble)>,
    /// What makes the ids of questions: an attacker who cannot see the questions must not guess
    /// them.
    secret: [u8; 16],
    outbox: VecDeque<Output>,
    is_over: bool,
}

impl Lookup {
    /// Starts to look a name up at `servers`, of which there is one at least.
    pub fn new(
        (settings, servers): (ResolverSettings, Vec<SocketAddr>),
        name: &str,
        secret: [u8; 16],
        now: Moment,
    ) -> Lookup {
        let names = settings.candidates(name).into();
        let mut lookup = Lookup {
            settings,
            servers,
            given: name.to_owned(),
            names,
            tried: Vec::new(),
            asking: Vec::new(),
            round: 0,
            deadline: now,
            end: now + limits::LOOK_UP_MAX,
            trouble: None,
            secret,
            outbox: VecDeque::new(),
            is_over: false,
        };
        lookup.start_name(now);
        lookup
    }

    /// A packet came from the server of this round, by UDP or TCP.
    pub fn handle_packet(&mut self, now: Moment, packet: &[u8]) {
        let Some(server) = self.server() else { return };
        for number in 0..self.asking.len() {
            let Asking { question, state } = &mut self.asking[number];
            let is_stream = matches!(state, QuestionState::Streaming(_));
            if !(is_stream || matches!(state, QuestionState::Asked)) {
                continue;
            }
            let Some(answer) = question.read(packet) else { continue };
            match answer {
                NameAnswer::Truncated(some) if !is_stream => {
                    let packet = question.packet();
                    *state = QuestionState::Streaming(some);
                    self.outbox.push_back(Output::Stream { server, packet });
                    self.deadline = self.end.min(now + self.settings.timeout);
                }
                NameAnswer::Whole(found) | NameAnswer::Truncated(found) => {
                    *state = QuestionState::Settled(found)
                }
                NameAnswer::Refused(code) => self.fail(number, Trouble::Code(code)),
                NameAnswer::Malformed => self.fail(number, Trouble::Malformed),
            }
            return self.step(now);
        }
    }

    /// No datagram reaches the server of this round.
    pub fn handle_unreachable(&mut self, now: Moment) {
        for number in 0..self.asking.len() {
            if matches!(self.asking[number].state, QuestionState::Asked) {
                self.fail(number, Trouble::Unreachable);
            }
        }
        self.step(now);
    }

    /// The server of this round did not answer by TCP.
    pub fn handle_stream_failed(&mut self, now: Moment) {
        for number in 0..self.asking.len() {
            if matches!(self.asking[number].state, QuestionState::Streaming(_)) {
                self.fail(number, Trouble::Unreachable);
            }
        }
        self.step(now);
    }

    /// Time has passed; safe early or late.
    pub fn handle_timeout(&mut self, now: Moment) {
        if now < self.deadline || self.is_over {
            return;
        }
        for number in 0..self.asking.len() {
            if !matches!(self.asking[number].state, QuestionState::Settled(_)) {
                self.fail(number, Trouble::Silent);
            }
        }
        self.step(now);
    }

    /// What to do next; `None` while an answer or the deadline is waited for.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outbox.pop_front()
    }

    /// When [`Lookup::handle_timeout`] is due; `None` after the end.
    pub fn next_deadline(&self) -> Option<Moment> {
        (!self.is_over).then_some(self.deadline)
    }

    fn server(&self) -> Option<SocketAddr> {
        (!self.is_over).then(|| self.servers[self.round % self.servers.len()])
    }

    /// The part of a truncated answer that came is better than none.
    fn fail(&mut self, number: usize, trouble: Trouble) {
        self.trouble = self.server().map(|server| (server, trouble));
        let state = &mut self.asking[number].state;
        *state = match std::mem::replace(state, QuestionState::Failed) {
            QuestionState::Streaming(some) if !some.is_empty() => QuestionState::Settled(some),
            _ => QuestionState::Failed,
        };
    }

    fn step(&mut self, now: Moment) {
        if self.is_over {
            return;
        }
        let is_open =
            |it: &Asking| matches!(it.state, QuestionState::Asked | QuestionState::Streaming(_));
        let has_address =
            |it: &Asking| matches!(&it.state, QuestionState::Settled(found) if !found.is_empty());
        let is_open = self.asking.iter().any(is_open);
        match self.asking.iter().any(has_address) {
            true if is_open => self.deadline = self.deadline.min(now + limits::OTHER_KIND_MAX),
            true => self.finish_found(),
            false if is_open => {}
            false if self.asking.iter().any(|it| matches!(it.state, QuestionState::Failed)) => {
                self.round += 1;
                self.start_round(now);
            }
            false => self.start_name(now),
        }
    }

    fn finish_found(&mut self) {
        let settled = std::mem::take(&mut self.asking).into_iter().flat_map(|it| match it.state {
            QuestionState::Settled(found) => found,
            _ => Vec::new(),
        });
        let found = settled.collect();
        self.finish(Ok(found));
    }

    fn finish(&mut self, found: Result<Vec<IpAddr>, NotFound>) {
        self.is_over = true;
        self.outbox.clear();
        self.outbox.push_back(Output::Found(found));
    }

    /// The next full name; one that cannot be is passed over.
    fn start_name(&mut self, now: Moment) {
        while let Some(name) = self.names.pop_front() {
            let random = Digest::of(&[&self.secret[..], name.as_bytes()].concat());
            let id = |at: usize| u16::from_be_bytes([random.0[at], random.0[at + 1]]);
            let questions = [(AddressKind::V4, id(0)), (AddressKind::V6, id(2))]
                .into_iter()
                .filter_map(|(kind, id)| Question::new(id, &name, kind));
            self.asking = questions
                .map(|question| Asking { question, state: QuestionState::Asked })
                .collect();
            if !self.asking.is_empty() {
                self.tried.push(name);
                self.round = 0;
                return self.start_round(now);
            }
        }
        let why = match self.trouble {
            Some((server, trouble)) => NotFound::Server(server, trouble),
            None if self.tried.is_empty() => NotFound::BadName,
            None => NotFound::Unknown(std::mem::take(&mut self.tried)),
        };
        self.finish(Err(why));
    }

    /// Asks the next server what is not settled. If all were asked, the name gets no answer.
    fn start_round(&mut self, now: Moment) {
        self.outbox.clear();
        if now >= self.end {
            self.names.clear();
            return self.start_name(now);
        }
        if self.round == self.servers.len() * self.settings.attempts {
            // Servers that are silent stay so, whatever the suffix; those that refuse one may know
            // another (glibc's `res_search` does the same).
            if matches!(self.trouble, Some((_, Trouble::Silent | Trouble::Unreachable))) {
                let given = std::mem::take(&mut self.given);
                self.names.retain(|name| *name == given);
            }
            return self.start_name(now);
        }
        self.deadline = self.end.min(now + self.settings.timeout);
        let server = self.servers[self.round % self.servers.len()];
        for asking in &mut self.asking {
            if !matches!(asking.state, QuestionState::Settled(_)) {
                asking.state = QuestionState::Asked;
                let packet = asking.question.packet();
                self.outbox.push_back(Output::Datagram { server, packet });
            }
        }
    }
}
