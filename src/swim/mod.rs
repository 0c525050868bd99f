//! Who is there: SWIM (Das, Gupta, Motivala, 2002) with Lifeguard's local health and suspicion
//! (Dadgar, Phillips, Currey, 2017), over calls that are answered, fail or are silent.
//!
//! In: pings of others, ends of our own calls, lost connections, time. Out: calls to make, and
//! events. Every message carries news of members, the least told first, within a byte budget.
//!
//! Over TCP a dead process shows at once: its connections end and its port refuses. Such a probe is
//! evidence, not silence, and is told to others without waiting for the next turn.
//!
//! Never: opens a connection, reads a clock, trusts that an update about itself is true.

mod dissemination;
mod duplicate;
mod hearsay;
mod member;
mod news;
mod probe;
mod reach;
mod rumor;
mod suspicion;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::base::exact::log2;
use crate::base::{Moment, NodeId, Random, limits};
use duplicate::Duplicate;
use hearsay::Checks;
pub use member::{Member, State, Update};
use probe::{Probes, Purpose, Seed, Seeds};
use rumor::Rumors;
use suspicion::Suspicion;

/// Names one call; never used twice.
pub type CallNumber = u64;

/// How the machine is tuned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// Time from one probe to the next. Shorter finds failures sooner and costs more messages.
    pub probe_interval: Duration,
}

/// What the node wants done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// `Ping` whoever is at this address.
    Ping {
        /// For [`Swim::handle_ack`] or [`Swim::handle_failed`].
        number: CallNumber,
        /// Where.
        rpc_addr: String,
        /// News to carry.
        updates: Vec<Update>,
        /// When an answer is of no use any more.
        timeout: Duration,
    },
    /// Ask another member whether it reaches the target.
    AskProbe {
        /// For [`Swim::handle_probed`] or [`Swim::handle_failed`].
        number: CallNumber,
        /// Whom to ask.
        via: String,
        /// Who is to be reached, and where.
        target: (NodeId, String),
        /// News to carry.
        updates: Vec<Update>,
        /// When an answer is of no use any more.
        timeout: Duration,
    },
    /// Something changed.
    Event(Event),
}

/// Something that the rest of the node, or its operator, wants to hear of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A member has a new state; `None`: it is forgotten.
    Changed(NodeId, Option<State>),
    /// A member is at another address.
    Moved(NodeId, String),
    /// Another live node has this node's id and answers at that address; `None`: no more.
    Duplicate(Option<String>),
    /// The seed at that address is this node itself.
    OwnSeed(String),
    /// A member calls this node and cannot be called; `true`: it can be again.
    Reachable(NodeId, bool),
    /// A node that is no member introduced itself, and does not answer at that address.
    Unanswered(NodeId, String),
}

/// How a call ended without an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// Nothing came within the time.
    Silent,
    /// The connection was refused or reset, or the answer was of another node.
    Refused,
    /// The call came back to this process: the address is one of its own.
    Own,
}

/// Who answered, and what it knows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ack {
    /// Its id.
    pub node: NodeId,
    /// Its addresses: gRPC, HTTP API.
    pub addresses: (String, String),
    /// News it sent along.
    pub updates: Vec<Update>,
}

/// Counts since the start, for `/metrics`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Probes sent.
    pub probes: u64,
    /// Probes that had no answer, direct or by others.
    pub failed: u64,
    /// Times this node had to refute its own death.
    pub refuted: u64,
    /// What was refused of updates: what cannot be true, members for which there is no room.
    pub refused: u64,
}

/// The membership of one node.
#[derive(Debug)]
pub struct Swim {
    config: Config,
    me: Update,
    members: BTreeMap<NodeId, Member>,
    suspicions: BTreeMap<NodeId, Suspicion>,
    /// Members that are dead or left.
    gone: Vec<NodeId>,
    checks: Checks,
    rumors: Rumors,
    /// When news was told at once, and when it is to be.
    last_burst: Moment,
    next_burst: Option<Moment>,
    probes: Probes,
    seeds: Seeds,
    /// Lifeguard's local health: 0 is well; each step makes this node slower to judge.
    local_health: u32,
    duplicate: Option<Duplicate>,
    /// When this node first objected within a probe interval, and how often since.
    refutations: (Moment, u32),
    random: Random,
    outbox: VecDeque<Output>,
    stats: Stats,
    has_had_members: bool,
}

/// Local health is at most this bad.
const LOCAL_HEALTH_MAX: u32 = 8;
/// Steps that a member's incarnation may be ahead of what it says itself. Within them the higher
/// one stands, and the member catches up; a few refutations may be under way at a time. Beyond them
/// its own answer stands: its clock was set back, or the other one was made up.
const STEPS_MAX: u64 = 16;
/// Members told in person that this node goes.
const LEAVE_FANOUT: usize = 6;

impl Swim {
    /// A node alone. Its incarnation has to be higher than in its life before; Unix milliseconds
    /// are.
    pub fn new(config: Config, mut me: Update, seed: u64, now: Moment) -> Swim {
        // A clock that is beside itself leaves room for refutations all the same.
        me.incarnation = me.incarnation.min(limits::INCARNATION_MAX / 2);
        let mut random = Random::new(seed);
        let first = now + config.probe_interval.mul_f64(random.fraction());
        Swim {
            config,
            me,
            members: BTreeMap::new(),
            suspicions: BTreeMap::new(),
            gone: Vec::new(),
            checks: Checks::new(config.probe_interval),
            rumors: Rumors::default(),
            last_burst: Moment::ZERO,
            next_burst: None,
            probes: Probes::new(first),
            seeds: Seeds::default(),
            local_health: 0,
            duplicate: None,
            refutations: (Moment::ZERO, 0),
            random,
            outbox: VecDeque::new(),
            stats: Stats::default(),
            has_had_members: false,
        }
    }

    /// Addresses to find others at; those that no member has are pinged, with back-off.
    pub fn handle_seeds(&mut self, now: Moment, addresses: Vec<String>) {
        self.seeds.replace(now, addresses);
        self.ping_seeds(now);
    }

    /// Somebody pinged with news. Out: news for the answer. A newcomer is told everything, once it
    /// has answered a ping in turn.
    pub fn handle_ping(&mut self, now: Moment, updates: Vec<Update>) -> Vec<Update> {
        // Who does not say who it is learns all, and takes no news from those who spread it.
        let Some(said) = updates.first() else { return self.everything_for(None) };
        let (node, rank) = (said.node, said.rank());
        self.note_call(now, said);
        // Who says something of this node knows it already.
        let is_newcomer = updates.iter().all(|update| update.node != self.me.node);
        self.take_updates(now, node, updates);
        if is_newcomer {
            self.note_newcomer(node);
        }
        let mut news = self.news_for(Some(node));
        // What stands against its own word it has to hear, whatever that is.
        let other = self.members.get(&node).map(|member| &member.news);
        let other = other.filter(|news| news.rank() > rank && news.state == State::Alive);
        news.extend(other.cloned());
        news
    }

    /// A ping was answered.
    pub fn handle_ack(&mut self, now: Moment, number: CallNumber, ack: Ack) {
        let Some(probe) = self.probes.end(number) else { return self.take_news(now, ack) };
        if ack.node != self.me.node {
            self.seeds.answered(&probe.address, ack.node);
        }
        let node = ack.node;
        self.handle_answer(now, &probe.address, ack);
        let is_it = probe.target == Some(node);
        match probe.purpose {
            Purpose::Judge if is_it => self.local_health = self.local_health.saturating_sub(1),
            // Another node has the address now: the one that was meant is gone from there.
            Purpose::Judge => self.probe_failed(now, probe, Failure::Refused),
            Purpose::Check => self.check_failed(now, &probe, Failure::Refused),
            Purpose::Disseminate | Purpose::Indirect => {}
        }
        self.start_checks(now);
    }

    /// Whoever is at this address answered, to a ping of this node for whatever reason.
    pub fn handle_answer(&mut self, now: Moment, address: &str, mut ack: Ack) {
        // Who does not say where it is, is where it was found.
        if ack.addresses.0.is_empty() {
            ack.addresses.0 = address.to_owned();
        }
        if ack.node != self.me.node {
            if self.take_answer(now, address, &ack) {
                ack.updates.retain(|update| update.node != ack.node);
            }
            return self.take_news(now, ack);
        }
        self.checks.end(ack.node, address);
        self.note_duplicate(now, address);
    }

    /// An answer that came too late to prove anything still brings news.
    fn take_news(&mut self, now: Moment, ack: Ack) {
        if ack.node != self.me.node {
            self.take_updates(now, ack.node, ack.updates);
        }
    }

    /// Another member answered whether it reached the target.
    pub fn handle_probed(
        &mut self,
        now: Moment,
        number: CallNumber,
        acked: bool,
        news: Vec<Update>,
    ) {
        if let Some(said) = news.first() {
            self.take_updates(now, said.node, news);
        }
        if acked {
            self.probes.end_by_relay(number);
        } else {
            self.handle_failed(now, number, Failure::Silent);
        }
    }

    /// A call failed.
    pub fn handle_failed(&mut self, now: Moment, number: CallNumber, failure: Failure) {
        let Some(probe) = self.probes.end(number) else { return };
        let is_own = failure == Failure::Own;
        if self.seeds.failed(&probe.address, is_own) {
            self.outbox.push_back(Output::Event(Event::OwnSeed(probe.address.clone())));
        }
        // Whoever was meant is not there if this node is.
        let failure = if is_own { Failure::Refused } else { failure };
        match probe.purpose {
            Purpose::Judge => self.probe_failed(now, probe, failure),
            Purpose::Check => {
                self.check_failed(now, &probe, failure);
                self.start_checks(now);
            }
            Purpose::Disseminate | Purpose::Indirect => {}
        }
    }

    /// A connection to this address ended.
    pub fn handle_lost(&mut self, now: Moment, rpc_addr: &str) {
        let target = self.present().find(|news| news.rpc_addr == rpc_addr).map(|news| news.node);
        if let Some(target) = target {
            self.probe(now, target);
        }
    }

    /// Others reach this node at these addresses from now on: gRPC, HTTP API. Empty is unknown.
    pub fn handle_addresses(&mut self, now: Moment, (rpc_addr, api_addr): (String, String)) {
        let me = &mut self.me;
        if (&me.rpc_addr, &me.api_addr) == (&rpc_addr, &api_addr) || me.state == State::Left {
            return;
        }
        (me.rpc_addr, me.api_addr) = (rpc_addr, api_addr);
        me.incarnation = (me.incarnation + 1).min(limits::INCARNATION_MAX);
        self.disseminate(now, self.me.node, None);
    }

    /// A peer sent so many addresses that nobody here could dial.
    pub fn count_refused(&mut self, addresses: u64) {
        self.stats.refused += addresses;
    }

    /// This node goes: says so to a few.
    pub fn handle_leave(&mut self, now: Moment) {
        self.me.state = State::Left;
        self.rumors.start(self.me.node, None);
        for node in self.pick(LEAVE_FANOUT, None) {
            self.ping_member(now, node);
        }
    }

    /// Time passed; safe to call early or late.
    pub fn handle_timeout(&mut self, now: Moment) {
        self.absorb_stall(now);
        for probe in self.probes.take_silent(now) {
            match probe.purpose {
                Purpose::Check => self.check_failed(now, &probe, Failure::Silent),
                _ => self.probe_failed(now, probe, Failure::Silent),
            }
        }
        self.start_checks(now);
        for target in self.probes.take_unreached(now) {
            self.stats.failed += 1;
            self.local_health = (self.local_health + 1).min(LOCAL_HEALTH_MAX);
            self.suspect(now, target, false);
        }
        self.declare_dead(now);
        self.ping_seeds(now);
        self.ping_duplicate(now);
        if self.probes.next_period <= now {
            self.begin_period(now);
        }
        if self.next_burst.is_some_and(|due| due <= now) {
            self.burst(now);
        }
    }

    /// When [`Swim::handle_timeout`] wants to be called next.
    pub fn next_deadline(&self) -> Option<Moment> {
        let deadlines = self.suspicions.values().map(|suspicion| suspicion.deadline);
        // Dead members are revisited too.
        let period = (!self.members.is_empty()).then_some(self.probes.next_period);
        let own = [period, self.next_burst, self.seeds.deadline(), self.checks.deadline()];
        let duplicate = self.duplicate.as_ref().map(Duplicate::deadline);
        let own = own.into_iter().chain([duplicate]).flatten();
        deadlines.chain(self.probes.deadlines()).chain(own).min()
    }

    /// The next thing to do; drain until `None` after every other call.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outbox.pop_front()
    }

    /// This node as others hear of it.
    pub fn me(&self) -> &Update {
        &self.me
    }

    /// All other members, the dead that are not forgotten included, by id.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// What is known of one.
    pub fn member(&self, node: NodeId) -> Option<&Member> {
        self.members.get(&node)
    }

    /// The others that take part.
    pub fn present(&self) -> impl Iterator<Item = &Update> {
        self.members.values().map(|member| &member.news).filter(|news| news.state.is_present())
    }

    /// Seeds at whose address nobody who takes part is known.
    pub fn unmatched_seeds(&self) -> impl Iterator<Item = &str> {
        let unmatched = self.seeds.iter().filter(|seed| !self.is_found(seed));
        unmatched.map(|seed| seed.address.as_str())
    }

    /// Whether there was ever another member.
    pub fn has_had_members(&self) -> bool {
        self.has_had_members
    }

    /// Counts since the start.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Pings whose end is not known yet.
    pub fn calls_under_way(&self) -> usize {
        self.probes.under_way()
    }

    /// Nodes that others named and that have not answered this node: no members yet.
    pub fn unproven(&self) -> usize {
        self.checks.unproven()
    }

    /// News that is being told.
    pub fn rumors(&self) -> usize {
        self.rumors.len()
    }

    fn is_present(&self, node: NodeId) -> bool {
        self.members.get(&node).is_some_and(|member| member.news.state.is_present())
    }

    /// Whether the seed is this node, or who is there, or was when it was last asked, takes part.
    fn is_found(&self, seed: &Seed) -> bool {
        seed.is_own
            || seed.node.is_some_and(|node| self.is_present(node))
            || self.present().any(|news| news.rpc_addr == seed.address)
    }
}

/// What grows with the size of a cluster: rounds of gossip until everybody knows.
fn scale(others: usize) -> f64 {
    (log2((others + 1) as f64) / std::f64::consts::LOG2_10).max(1.0)
}
