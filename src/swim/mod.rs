//! Which nodes are alive: SWIM (Das, Gupta, Motivala, "SWIM: Scalable Weakly-consistent
//! Infection-style Process Group Membership Protocol", 2002) with Lifeguard's local health and
//! suspicion (Dadgar, Phillips, Currey, 2018), over calls that are answered, fail or are silent.
//!
//! In: pings of others, ends of our own calls, lost connections, time. Out: calls to make, and
//! events. Every message carries news of members, the least sent first, within a byte budget.
//!
//! Over TCP a dead process shows at once: its connections end and its port refuses. Such a probe is
//! evidence, not silence, and is disseminated without waiting for the next period.
//!
//! `probe`, `seeds`, `suspicion`, `hearsay`, `rumor`, `lists`, `duplicate`, `local_health`:
//! machines of their own. What [`Swim`] does with them stands in `probing` (which member is
//! pinged), `verdicts` (which is suspected or dead), `verification` (which hearsay is true),
//! `news`, `dissemination`, `list_exchange`, `call_ends` and `reach`.
//!
//! Never: opens a connection, reads a clock, trusts that an update about itself is true.

mod call_ends;
mod calls;
mod dissemination;
mod duplicate;
mod hearsay;
mod list_exchange;
mod lists;
mod local_health;
mod member;
mod news;
mod probe;
mod probing;
mod reach;
mod rumor;
mod seeds;
mod suspicion;
mod verdicts;
mod verification;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use crate::base::{Moment, NodeId, Random, limits};
pub use calls::{Ack, CallNumber, Event, Failure, Output};
use duplicate::Duplicates;
use hearsay::Hearsay;
use lists::Lists;
use litemap::LiteMap;
use local_health::LocalHealth;
pub use member::{Member, State, Update};
use probe::{Probes, Purpose};
use rumor::Rumors;
use seeds::Seeds;
use suspicion::Suspicion;

/// How the machine is tuned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// Time from one probe to the next: the protocol period of SWIM, section 3.1. A failure is
    /// found within some two rounds, that is intervals times members; each node sends about two
    /// messages an interval for it. It has to be several times the round trip: an answer is waited
    /// for half of it.
    pub probe_interval: Duration,
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
    /// What was refused of updates: what cannot be true, members beyond the bound.
    pub refused: u64,
}

/// The membership of one node.
#[derive(Debug)]
pub struct Swim {
    config: Config,
    /// This node as others hear of it. Its incarnation and Lamport time live here alone.
    me: Update,
    /// All others that are known, the dead included until they are forgotten: late news of a dead
    /// member has to find it dead.
    members: LiteMap<NodeId, Member>,
    /// One for each member in [`State::Suspect`]; apart from `members` since few are suspected.
    suspicions: LiteMap<NodeId, Suspicion>,
    /// Members that are dead or left: revisits and forgetting need no walk over the living.
    gone: Vec<NodeId>,
    /// What others say and what this node has yet to see for itself.
    hearsay: Hearsay,
    /// News that has to be sent some more times.
    rumors: Rumors,
    /// What finds the news that rumors did not bring.
    lists: Lists,
    /// When fresh news was last sent at once: bursts keep a pause.
    last_burst: Moment,
    /// When to send fresh news; `None` while there is none.
    next_burst: Option<Moment>,
    probes: Probes,
    seeds: Seeds,
    /// Whether this node is itself too slow to judge.
    local_health: LocalHealth,
    /// Another process under this node's id; no member, as it has no id of its own.
    duplicates: Duplicates,
    /// The order of probes and the choice of relays: seeded, so that a run can be repeated.
    random: Random,
    outbox: VecDeque<Output>,
    stats: Stats,
    /// Whether there was ever another member: a node that lost all others differs from one that
    /// never found any.
    has_had_members: bool,
}

/// How long the dead stay in the list, so that late news of them finds them dead.
const FORGET_AFTER: Duration = Duration::from_secs(600);
/// Members that are pinged with the news that this node leaves.
const LEAVE_FANOUT: usize = 6;

impl Swim {
    /// A node alone. Its incarnation has to be higher than in its life before; Unix milliseconds
    /// are.
    pub fn new(config: Config, mut me: Update, seed: u64, now: Moment) -> Swim {
        // A wall clock centuries ahead must leave space for refutations below the bound.
        me.incarnation = me.incarnation.min(limits::INCARNATION_MAX / 2);
        let mut random = Random::new(seed);
        // Nodes that start together must not all probe at one moment of each interval.
        let first = now + config.probe_interval.mul_f64(random.fraction());
        let mut swim = Swim {
            config,
            me,
            members: LiteMap::new_vec(),
            suspicions: LiteMap::new_vec(),
            gone: Vec::new(),
            hearsay: Hearsay::new(config.probe_interval),
            rumors: Rumors::default(),
            lists: Lists::new(config.probe_interval),
            last_burst: Moment::ZERO,
            next_burst: None,
            probes: Probes::new(first),
            seeds: Seeds::default(),
            local_health: LocalHealth::new(),
            duplicates: Duplicates::default(),
            random,
            outbox: VecDeque::new(),
            stats: Stats::default(),
            has_had_members: false,
        };
        swim.recount(swim.me.node);
        swim
    }

    /// Addresses to find others at; those that no member has are pinged, with back-off.
    pub fn handle_seeds(&mut self, now: Moment, addresses: Vec<String>) {
        self.seeds.replace(now, addresses);
        self.ping_seeds(now);
        self.check();
    }

    /// Another node pinged, with news, and with the digest of its member list if it wants lists
    /// compared. Out: news for the answer. A newcomer of another kind is sent the member list once
    /// it has answered a ping of this node.
    pub fn handle_ping(
        &mut self,
        now: Moment,
        updates: Vec<Update>,
        digest: Option<u64>,
    ) -> Vec<Update> {
        // A caller that does not say which node it is gets the member list; no update names the
        // node that could answer for its news.
        let Some(said) = updates.first() else { return self.member_list() };
        let (node, rank) = (said.node, said.rank());
        self.note_call(now, said);
        // A caller that says something of this node has its member list already.
        let is_check = updates.iter().any(|update| update.node == self.me.node);
        self.take_updates(now, node, updates);
        match digest.filter(|_| !is_check) {
            Some(digest) if self.owes_list(now, (node, rank.0), digest) => {
                self.check();
                return self.member_list();
            }
            Some(_) => {}
            None if !is_check => self.note_newcomer(node),
            None => {}
        }
        let mut news = self.news(Some(node));
        // A higher incarnation that is believed of the caller goes back to it, accused or not: its
        // clock was set back, and no member would follow it before it knows.
        let other = self.members.get(&node).map(|member| &member.news);
        let other = other.filter(|news| news.rank() > rank && news.state == State::Alive);
        news.extend(other.cloned());
        self.check();
        news
    }

    /// A connection to this address ended.
    pub fn handle_lost(&mut self, now: Moment, rpc_addr: &str) {
        let target = self.present().find(|news| news.rpc_addr == rpc_addr).map(|news| news.node);
        if let Some(target) = target {
            self.probe(now, target);
        }
        self.check();
    }

    /// Others reach this node at these addresses from now on: gRPC, HTTP API. Empty is unknown.
    pub fn handle_addresses(&mut self, now: Moment, (rpc_addr, api_addr): (String, String)) {
        let me = &mut self.me;
        let is_news = (&me.rpc_addr, &me.api_addr) != (&rpc_addr, &api_addr);
        if is_news && me.state != State::Left {
            (me.rpc_addr, me.api_addr) = (rpc_addr, api_addr);
            // At equal incarnation the old addresses would stand.
            me.incarnation = (me.incarnation + 1).min(limits::INCARNATION_MAX);
            self.disseminate(now, self.me.node, None);
        }
        self.check();
    }

    /// A peer sent so many addresses that this node could not dial.
    pub fn count_refused(&mut self, addresses: u64) {
        self.stats.refused += addresses;
    }

    /// This node leaves, and pings a few members with that: silence would cost them a suspicion.
    pub fn handle_leave(&mut self, now: Moment) {
        self.me.state = State::Left;
        self.rumors.start(self.me.node, None);
        for node in self.pick(LEAVE_FANOUT, None) {
            self.ping_member(now, node);
        }
        self.check();
    }

    /// Time passed; safe to call early or late.
    pub fn handle_timeout(&mut self, now: Moment) {
        self.absorb_stall(now);
        for probe in self.probes.take_silent(now) {
            match probe.purpose {
                Purpose::Verify => self.verification_failed(now, &probe, Failure::Silent),
                _ => self.probe_failed(now, probe, Failure::Silent),
            }
        }
        self.start_verifications(now);
        for target in self.probes.take_unreached(now) {
            self.stats.failed += 1;
            // Lifeguard, section IV.A: each failed probe is a sign that this node is slow, too.
            self.local_health.worsen();
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
        self.check();
    }

    /// When [`Swim::handle_timeout`] wants to be called next.
    pub fn next_deadline(&self) -> Option<Moment> {
        let deadlines = self.suspicions.values().map(|suspicion| suspicion.deadline);
        // A cluster of dead members has periods too: they are revisited and forgotten.
        let period = (!self.members.is_empty()).then_some(self.probes.next_period);
        let own = [period, self.next_burst, self.seeds.deadline(), self.hearsay.deadline()];
        let own = own.into_iter().chain([self.duplicates.deadline()]).flatten();
        deadlines.chain(self.probes.deadlines()).chain(own).min()
    }

    /// The next thing to do; drain until `None` after every other call.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outbox.pop_front()
    }

    /// News for a ping to `to` on another member's behalf.
    pub fn news_for(&mut self, to: Option<NodeId>) -> Vec<Update> {
        let news = self.news(to);
        self.check();
        news
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

    /// Seeds at whose address no member that takes part is known.
    pub fn unmatched_seeds(&self) -> impl Iterator<Item = &str> {
        let unmatched = self.seeds.iter().filter(|seed| !self.is_found(seed));
        unmatched.map(|seed| seed.address.as_str())
    }

    /// Whether a seed is at that address, or this node answered at a seed's.
    pub fn is_seed(&self, node: NodeId, address: &str) -> bool {
        self.seeds.iter().any(|seed| seed.address == address || seed.node == Some(node))
    }

    /// Whether there are seeds, and all of them are this node itself.
    pub fn are_seeds_own(&self) -> bool {
        let mut seeds = self.seeds.iter().peekable();
        seeds.peek().is_some() && seeds.all(|seed| seed.is_own)
    }

    /// Whether there was ever another member.
    pub fn has_had_members(&self) -> bool {
        self.has_had_members
    }

    /// Where another live node answers under this node's id, if that is certain.
    pub fn duplicate(&self) -> Option<&str> {
        self.duplicates.certain()
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
        self.hearsay.unproven()
    }

    /// News that is still sent.
    pub fn rumors(&self) -> usize {
        self.rumors.len()
    }

    fn is_present(&self, node: NodeId) -> bool {
        self.members.get(&node).is_some_and(|member| member.news.state.is_present())
    }

    /// The invariants; cheap, since the simulator runs them after every event.
    fn check(&self) {
        debug_assert!(self.members.len() <= limits::MEMBERS_MAX, "{} members", self.members.len());
        debug_assert!(!self.members.contains_key(&self.me.node), "this node is no other one");
        let (present, gone) = (self.probes.present(), self.gone.len());
        debug_assert_eq!(present + gone, self.members.len(), "a member is present or gone");
        debug_assert!(self.rumors.len() <= self.members.len() + 1, "a rumor without a member");
        debug_assert!(self.me.incarnation <= limits::INCARNATION_MAX);
        for (node, suspicion) in &self.suspicions {
            let state = self.members.get(node).map(|member| member.news.state);
            debug_assert_eq!(state, Some(State::Suspect), "a suspicion of {node}");
            suspicion.check();
        }
        self.check_lists();
        self.probes.check();
        self.seeds.check();
        self.hearsay.check();
        self.local_health.check();
        self.duplicates.check();
    }
}
