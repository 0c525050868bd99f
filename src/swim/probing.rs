//! The failure detector: one member a period, directly and then by relays (SWIM, section 3.1), in
//! an order that is shuffled for every round (section 4.3).
//!
//! In: periods, answers, failures. Out: pings. Never: has a member judged by one silence alone.

use litemap::LiteMap;

use super::Swim;
use super::calls::{Failure, Output};
use super::member::{Member, State, Update};
use super::probe::{Probe, Purpose};
use super::seeds::Seed;
use crate::base::{Moment, NodeId};

/// Members asked to probe for this node: the k of SWIM, section 3.1.
const RELAYS: usize = 3;
/// One period in so many also revisits a dead member: both sides of a healed partition have each
/// other as dead, and no news crosses until one of them asks.
const REVISIT_PERIODS: u64 = 4;

impl Swim {
    /// Probes the next member, and in one of [`REVISIT_PERIODS`] also one that is believed dead.
    pub(super) fn begin_period(&mut self, now: Moment) {
        let next = now + self.period();
        let number = self.probes.begin_period(next);
        self.drop_known_news();
        if let Some(target) = self.probes.next_target(&mut self.random) {
            self.stats.probes += 1;
            self.probe(now, target);
        }
        self.retry_verification(now);
        if self.gone.is_empty() {
            return;
        }
        self.forget(now);
        if number.is_multiple_of(REVISIT_PERIODS) && !self.gone.is_empty() {
            let node = self.gone[self.random.below(self.gone.len())];
            if self.members.get(&node).is_some_and(|member| member.news.state == State::Dead) {
                self.ping_member(now, node);
            }
        }
    }

    /// Pings a member; its silence or its answer will be judged.
    pub(super) fn probe(&mut self, now: Moment, node: NodeId) {
        self.call(now, node, Some(node));
    }

    /// Pings a member to disseminate news; no member is judged.
    pub(super) fn ping_member(&mut self, now: Moment, node: NodeId) {
        self.call(now, node, None);
    }

    fn call(&mut self, now: Moment, node: NodeId, judged: Option<NodeId>) {
        let Some(member) = self.members.get(&node) else { return };
        let address = member.news.rpc_addr.clone();
        let updates = self.news(Some(node));
        let purpose = if judged.is_some() { Purpose::Judge } else { Purpose::Disseminate };
        self.ping(now, (purpose, judged), address, updates);
    }

    /// Pings the seeds at whose address no member is known.
    pub(super) fn ping_seeds(&mut self, now: Moment) {
        let members = &self.members;
        let is_found = |seed: &Seed| is_found(members, seed);
        for seed in self.seeds.take_due(now, &mut self.random, is_found) {
            let updates = self.news(None);
            self.ping(now, (Purpose::Greet, None), seed.address, updates);
        }
    }

    /// Whether the seed is this node, or the node that is there, or was when it was last asked,
    /// takes part.
    pub(super) fn is_found(&self, seed: &Seed) -> bool {
        seed.is_own || is_found(&self.members, seed)
    }

    /// A member does not answer. Relays are asked whether it is silent for them too; a refusal
    /// needs no relay, as its host answered that no process listens.
    pub(super) fn probe_failed(&mut self, now: Moment, probe: Probe, failure: Failure) {
        let Some(target) = probe.target.filter(|node| self.is_present(*node)) else { return };
        if self.is_calling(now, target) {
            self.probes.reached(target);
            self.stats.failed += 1;
            return self.note_unreachable(target);
        }
        if failure == Failure::Refused {
            self.probes.reached(target);
            self.stats.failed += 1;
            return self.suspect(now, target, true);
        }
        if self.suspicions.contains_key(&target) {
            // The one that suspects it has asked relays already.
            return self.suspect(now, target, false);
        }
        if !self.probes.is_relayed(target) {
            self.ask_relays(now, probe.address, target);
        }
    }

    fn ask_relays(&mut self, now: Moment, address: String, target: NodeId) {
        let timeout = self.period() / 2;
        self.probes.begin_relay(target, now + timeout);
        // Its own path may have lost one message: a second ping costs less than a suspicion.
        self.probe(now, target);
        for via in self.pick(RELAYS, Some(target)) {
            if !self.probes.has_capacity() {
                return;
            }
            let (purpose, silent_at) = (Purpose::Indirect, None);
            let address = address.clone();
            let probe = Probe { target: Some(target), address, purpose, silent_at };
            let target = (target, probe.address.clone());
            let number = self.probes.begin(probe);
            let updates = self.news(Some(via));
            let via = self.members[&via].news.rpc_addr.clone();
            self.outbox.push_back(Output::AskProbe { number, via, target, updates, timeout });
        }
    }

    /// Pings an address; false if too many calls are under way.
    pub(super) fn ping(
        &mut self,
        now: Moment,
        (purpose, node): (Purpose, Option<NodeId>),
        rpc_addr: String,
        updates: Vec<Update>,
    ) -> bool {
        if !self.probes.has_capacity() {
            return false;
        }
        // A suspect is asked as often as there is time for, however slow this node is: a stretched
        // period would leave it fewer chances to refute.
        let is_suspect = node.is_some_and(|node| self.suspicions.contains_key(&node));
        let period = if is_suspect { self.config.probe_interval } else { self.period() };
        let timeout = period / 2;
        let (address, silent_at) = (rpc_addr.clone(), Some(now + timeout));
        let number = self.probes.begin(Probe { target: node, address, purpose, silent_at });
        // An answer after the time still shows life, so the call may go on until the next period.
        let timeout = timeout * 2;
        let digest = self.digest().filter(|_| purpose.compares_lists());
        self.outbox.push_back(Output::Ping { number, rpc_addr, updates, digest, timeout });
        true
    }

    /// Up to `count` members that take part, at random: reachable, not suspected.
    pub(super) fn pick(&mut self, count: usize, except: Option<NodeId>) -> Vec<NodeId> {
        let (members, suspicions) = (&self.members, &self.suspicions);
        let is_reachable =
            |node: &NodeId| members.get(node).is_some_and(|member| member.is_reachable);
        let is_fit = |node: &NodeId| {
            Some(*node) != except && !suspicions.contains_key(node) && is_reachable(node)
        };
        self.probes.shuffled(&mut self.random).filter(is_fit).take(count).collect()
    }
}

fn is_found(members: &LiteMap<NodeId, Member>, seed: &Seed) -> bool {
    let mut present = members.values().map(|it| &it.news).filter(|news| news.state.is_present());
    let is_present = |node| members.get(&node).is_some_and(|it| it.news.state.is_present());
    seed.node.is_some_and(is_present) || present.any(|news| news.rpc_addr == seed.address)
}
