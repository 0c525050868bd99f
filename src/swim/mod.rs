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

mod member;
mod news;
mod probe;
mod rumor;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::base::{Moment, NodeId, Random};
use member::Suspicion;
pub use member::{Member, State, Update};
use probe::{Probes, Seeds};
use rumor::Rumors;

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
    /// Another live node has this node's id and answers at that address.
    Duplicate(String),
}

/// How a call ended without an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// Nothing came within the time.
    Silent,
    /// The connection was refused or reset, or the answer was of another node.
    Refused,
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
    /// Times this node had to object to its own death.
    pub refuted: u64,
    /// Updates of strangers refused because the list of members is full.
    pub refused: u64,
}

/// The membership of one node.
#[derive(Debug)]
pub struct Swim {
    config: Config,
    me: Update,
    members: BTreeMap<NodeId, Member>,
    rumors: Rumors,
    probes: Probes,
    seeds: Seeds,
    /// Lifeguard's local health: 0 is well; each step makes this node slower to judge.
    unhealth: u32,
    /// When this node last objected to another with its own id, and how often in a row.
    clashes: (Moment, u32),
    random: Random,
    outbox: VecDeque<Output>,
    stats: Stats,
}

/// Local health is at most this bad.
const UNHEALTH_MAX: u32 = 8;
/// Bytes of news in an ordinary message.
const NEWS_BYTES_MAX: usize = 1200;
/// Bytes of news in the answer to somebody who is new here.
const WELCOME_BYTES_MAX: usize = 256 << 10;
/// How long the dead stay in the list, so that late news of them finds them dead.
const FORGET_AFTER: Duration = Duration::from_secs(600);
/// Members told at once of what a refused probe says.
const TOLD_AT_ONCE: usize = 3;

impl Swim {
    /// A node alone. Its incarnation has to be higher than in its life before; Unix milliseconds
    /// are.
    pub fn new(config: Config, me: Update, seed: u64, now: Moment) -> Swim {
        let mut random = Random::new(seed);
        let first = now + config.probe_interval.mul_f64(random.fraction());
        Swim {
            config,
            me,
            members: BTreeMap::new(),
            rumors: Rumors::default(),
            probes: Probes::new(first),
            seeds: Seeds::default(),
            unhealth: 0,
            clashes: (now, 0),
            random,
            outbox: VecDeque::new(),
            stats: Stats::default(),
        }
    }

    /// Addresses to find others at; those that no member has are pinged, with back-off.
    pub fn handle_seeds(&mut self, now: Moment, addresses: Vec<String>) {
        self.seeds.replace(now, addresses);
        self.ping_seeds(now);
    }

    /// Somebody pinged with news. Out: news for the answer; all that is known for a newcomer.
    pub fn handle_ping(&mut self, now: Moment, updates: Vec<Update>) -> Vec<Update> {
        // Who does not say who it is learns all, and takes no news from those who spread it.
        let Some(said) = updates.first().cloned() else { return self.everything_for(None) };
        let was_known = self.is_present(said.node);
        self.take_updates(now, updates);
        let mut news = match was_known {
            true => self.news_for(Some(said.node)),
            false => self.everything_for(Some(said.node)),
        };
        // What stands against its own word it has to hear, whatever that is.
        let other = self.members.get(&said.node).map(|member| &member.news);
        let other = other.filter(|news| news.beats(&said) && news.state == State::Alive);
        news.extend(other.cloned());
        news
    }

    /// A ping was answered.
    pub fn handle_ack(&mut self, now: Moment, number: CallNumber, mut ack: Ack) {
        let probe = self.probes.end(number);
        if let Some(probe) = &probe {
            self.seeds.answered(&probe.address, ack.node);
            // Who does not say where it is, is where it was found.
            if ack.addresses.0.is_empty() {
                ack.addresses.0.clone_from(&probe.address);
            }
        }
        if ack.node == self.me.node {
            if ack.addresses.0 != self.me.rpc_addr {
                self.object_to_twin(now, ack.addresses.0);
            }
            return;
        }
        self.hear_from(now, &ack);
        self.take_updates(now, ack.updates);
        match probe {
            Some(probe) if probe.target.is_some_and(|node| node != ack.node) => {
                // Another node has the address now: the one that was meant is gone from there.
                self.probe_failed(now, probe, Failure::Refused);
            }
            Some(probe) if probe.target.is_some() => {
                self.unhealth = self.unhealth.saturating_sub(1);
                self.probes.reached(ack.node);
            }
            _ => {}
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
        self.take_updates(now, news);
        if acked {
            self.probes.end_all_like(number);
        } else {
            self.handle_failed(now, number, Failure::Silent);
        }
    }

    /// A call failed.
    pub fn handle_failed(&mut self, now: Moment, number: CallNumber, failure: Failure) {
        let Some(probe) = self.probes.end(number) else { return };
        if !probe.is_indirect {
            self.probe_failed(now, probe, failure);
        }
    }

    /// A connection to this address ended.
    pub fn handle_lost(&mut self, now: Moment, rpc_addr: &str) {
        let member = self
            .members
            .values()
            .find(|member| member.news.rpc_addr == rpc_addr && member.news.state.is_present());
        if let Some(target) = member.map(|member| member.news.node) {
            self.probe(now, target);
        }
    }

    /// This node goes: says so to a few.
    pub fn handle_leave(&mut self, now: Moment) {
        self.me.state = State::Left;
        self.rumors.start(self.me.node);
        self.tell_at_once(now, 2 * TOLD_AT_ONCE, None);
    }

    /// Time passed; safe to call early or late.
    pub fn handle_timeout(&mut self, now: Moment) {
        for probe in self.probes.take_silent(now) {
            self.probe_failed(now, probe, Failure::Silent);
        }
        for target in self.probes.take_unreached(now) {
            self.stats.failed += 1;
            self.unhealth = (self.unhealth + 1).min(UNHEALTH_MAX);
            self.suspect(now, target, false);
        }
        self.bury(now);
        self.ping_seeds(now);
        if self.probes.next_turn <= now {
            self.take_turn(now);
        }
    }

    /// When [`Swim::handle_timeout`] wants to be called next.
    pub fn next_deadline(&self) -> Option<Moment> {
        let suspicions = self.members.values().filter_map(|member| member.suspicion.as_ref());
        let deadlines = suspicions.map(Suspicion::deadline);
        // The dead have their turns too.
        let turn = (!self.members.is_empty()).then_some(self.probes.next_turn);
        deadlines.chain(self.probes.deadlines()).chain(self.seeds.deadline()).chain(turn).min()
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

    /// The others that take part.
    pub fn present(&self) -> impl Iterator<Item = &Update> {
        self.members.values().map(|member| &member.news).filter(|news| news.state.is_present())
    }

    /// Seeds at whose address nobody who takes part is known.
    pub fn lonely_seeds(&self) -> impl Iterator<Item = &str> {
        let lonely = self.seeds.iter().filter(|seed| !self.is_found(&seed.address, seed.node));
        lonely.map(|seed| seed.address.as_str())
    }

    /// Counts since the start.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Pings whose end is not known yet.
    pub fn calls_under_way(&self) -> usize {
        self.probes.under_way()
    }

    /// News that is being told.
    pub fn rumors(&self) -> usize {
        self.rumors.len()
    }

    /// News for a message to `to`, as a call on another's behalf carries it.
    pub fn news_for(&mut self, to: Option<NodeId>) -> Vec<Update> {
        let mut news = vec![self.me.clone()];
        // What is held against somebody, it hears first of all, so that it can object.
        let accused = to.and_then(|to| self.members.get(&to));
        news.extend(
            accused.map(|member| member.news.clone()).filter(|it| it.state != State::Alive),
        );
        let mut bytes: usize = news.iter().map(Update::wire_bytes).sum();
        let limit = 3 * scale(self.members.len()).ceil() as u32;
        for node in self.rumors.by_need() {
            let Some(update) = self.news_of(node).filter(|_| Some(node) != to) else { continue };
            bytes += update.wire_bytes();
            if bytes > NEWS_BYTES_MAX {
                break;
            }
            if node != self.me.node {
                news.push(update);
            }
            self.rumors.count_told(node, limit);
        }
        news
    }

    fn news_of(&self, node: NodeId) -> Option<Update> {
        if node == self.me.node {
            return Some(self.me.clone());
        }
        self.members.get(&node).map(|member| member.news.clone())
    }

    /// As much of all that is known as fits; who takes part comes first. Counts as telling nobody.
    fn everything_for(&self, to: Option<NodeId>) -> Vec<Update> {
        let mut news = vec![self.me.clone()];
        let others = self.members.values().map(|member| &member.news);
        let is_due = |it: &&Update| Some(it.node) != to || it.state != State::Alive;
        let mut others: Vec<&Update> = others.filter(is_due).collect();
        others.sort_by_key(|update| update.state);
        let mut bytes = 0;
        news.extend(others.into_iter().cloned().take_while(|update| {
            bytes += update.wire_bytes();
            bytes <= WELCOME_BYTES_MAX
        }));
        news
    }

    /// Suspects whose time is over are dead; the dead of long ago are forgotten.
    fn bury(&mut self, now: Moment) {
        let is_over = |member: &&Member| {
            let deadline = member.suspicion.as_ref().map(Suspicion::deadline);
            deadline.is_some_and(|deadline| deadline <= now)
        };
        let over: Vec<NodeId> =
            self.members.values().filter(is_over).map(|member| member.news.node).collect();
        for node in over {
            let Some(member) = self.members.get_mut(&node) else { continue };
            let was = std::mem::replace(&mut member.news.state, State::Dead);
            self.me.lamport += 1;
            member.news.lamport = self.me.lamport;
            self.rumors.start(node);
            self.enter(now, node, was, State::Dead);
        }
        let gone = self.members.iter().filter(|(_, member)| {
            !member.news.state.is_present() && now.since(member.since) > FORGET_AFTER
        });
        for node in gone.map(|(node, _)| *node).collect::<Vec<_>>() {
            self.members.remove(&node);
            self.rumors.stop(node);
            self.outbox.push_back(Output::Event(Event::Changed(node, None)));
        }
    }

    fn is_present(&self, node: NodeId) -> bool {
        self.members.get(&node).is_some_and(|member| member.news.state.is_present())
    }

    /// Whether who is at `address`, or was when it was last asked, takes part.
    fn is_found(&self, address: &str, node: Option<NodeId>) -> bool {
        let is_it = |news: &Update| news.rpc_addr == address || Some(news.node) == node;
        is_it(&self.me) || self.present().any(is_it)
    }
}

/// What grows with the size of a cluster: rounds of gossip until everybody knows.
fn scale(others: usize) -> f64 {
    ((others + 1) as f64).log10().max(1.0)
}
