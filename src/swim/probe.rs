//! Whom to probe next, and what becomes of it: direct, by others, suspected (SWIM, sections 3 and
//! 4.3; Lifeguard, section IV.A).
//!
//! In: turns, answers, failures. Out: pings. Every member is probed once in each round, in an order
//! that is shuffled anew for every round. Never: has a member judged by one silence alone.

use std::collections::BTreeMap;
use std::time::Duration;

use super::member::State;
use super::{CallNumber, Failure, Output, Swim};
use crate::base::{Moment, NodeId, Random, limits};

/// Members asked to probe for us.
const ASKED: usize = 3;
/// One turn in so many also looks whether somebody dead is back, behind a partition that healed.
const REVISIT_PERIODS: u64 = 4;
/// Seeds without a member are pinged at first after this pause, which doubles.
const SEED_PAUSE_MIN: Duration = Duration::from_millis(500);
const SEED_PAUSE_MAX: Duration = Duration::from_secs(30);

/// What a call is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    /// To ask who is at an address, or to disseminate news; nobody is judged by it.
    Disseminate,
    /// To find out whether the target answers.
    Judge,
    /// The same, by another member.
    Indirect,
    /// To check what was said of the target.
    Check,
}

/// A call under way.
#[derive(Clone, Debug)]
pub(super) struct Probe {
    /// The member it is about; none where an address is asked who is there.
    pub(super) target: Option<NodeId>,
    /// Where it goes to, or the target is.
    pub(super) address: String,
    pub(super) purpose: Purpose,
    silent_at: Option<Moment>,
}

/// A member that did not answer, until others had time to reach it.
#[derive(Debug)]
struct Unreached {
    target: NodeId,
    deadline: Moment,
}

/// All probes of a node.
#[derive(Debug)]
pub(super) struct Probes {
    pub(super) next_period: Moment,
    periods: u64,
    next_number: CallNumber,
    open: BTreeMap<CallNumber, Probe>,
    unreached: Vec<Unreached>,
    order: Vec<NodeId>,
    at: usize,
}

impl Probes {
    pub(super) fn new(first_period: Moment) -> Probes {
        Probes {
            next_period: first_period,
            periods: 0,
            next_number: 0,
            open: BTreeMap::new(),
            unreached: Vec::new(),
            order: Vec::new(),
            at: 0,
        }
    }

    /// A member to probe from now on, at any place of the round.
    pub(super) fn add(&mut self, node: NodeId, random: &mut Random) {
        let slot = random.below(self.order.len() + 1);
        self.order.insert(slot, node);
        self.at += usize::from(slot < self.at);
    }

    /// How many there are to probe: all that take part.
    pub(super) fn present(&self) -> usize {
        self.order.len()
    }

    /// A member that is probed no more.
    pub(super) fn remove(&mut self, node: NodeId) {
        if let Some(slot) = self.order.iter().position(|known| *known == node) {
            self.order.remove(slot);
            self.at -= usize::from(slot < self.at);
        }
        self.reached(node);
    }

    /// The call has ended.
    pub(super) fn end(&mut self, number: CallNumber) -> Option<Probe> {
        self.open.remove(&number)
    }

    /// Another member reached the target of this call.
    pub(super) fn end_by_relay(&mut self, number: CallNumber) {
        if let Some(target) = self.end(number).and_then(|probe| probe.target) {
            self.reached(target);
        }
    }

    /// The member answers: nothing is open about it.
    pub(super) fn reached(&mut self, node: NodeId) {
        self.unreached.retain(|unreached| unreached.target != node);
        self.open.retain(|_, probe| probe.purpose == Purpose::Check || probe.target != Some(node));
    }

    /// Direct probes whose time is over; a late answer to them still counts.
    pub(super) fn take_silent(&mut self, now: Moment) -> Vec<Probe> {
        let late =
            self.open.values_mut().filter(|probe| probe.silent_at.is_some_and(|at| at <= now));
        let silent: Vec<Probe> = late
            .map(|probe| {
                probe.silent_at = None;
                probe.clone()
            })
            .collect();
        // An address without a member is waited for no longer.
        self.open.retain(|_, probe| probe.target.is_some() || probe.silent_at.is_some());
        silent
    }

    /// Members that nobody reached in time.
    pub(super) fn take_unreached(&mut self, now: Moment) -> Vec<NodeId> {
        let over = self.unreached.iter().filter(|unreached| unreached.deadline <= now);
        let targets: Vec<NodeId> = over.map(|unreached| unreached.target).collect();
        targets.iter().for_each(|target| self.reached(*target));
        targets
    }

    /// Nothing that is waited for is late before `at`.
    pub(super) fn postpone(&mut self, at: Moment) {
        let silent = self.open.values_mut().filter_map(|probe| probe.silent_at.as_mut());
        let unreached = self.unreached.iter_mut().map(|unreached| &mut unreached.deadline);
        silent.chain(unreached).for_each(|deadline| *deadline = at.max(*deadline));
    }

    pub(super) fn deadlines(&self) -> impl Iterator<Item = Moment> {
        let silent = self.open.values().filter_map(|probe| probe.silent_at);
        let unreached = self.unreached.iter().map(|unreached| unreached.deadline);
        silent.chain(unreached)
    }

    pub(super) fn under_way(&self) -> usize {
        self.open.len()
    }

    fn begin(&mut self, probe: Probe) -> CallNumber {
        self.next_number += 1;
        self.open.insert(self.next_number, probe);
        self.next_number
    }

    fn next_target(&mut self, random: &mut Random) -> Option<NodeId> {
        if self.at >= self.order.len() {
            random.shuffle(&mut self.order);
            self.at = 0;
        }
        let target = self.order.get(self.at).copied();
        self.at += 1;
        target
    }
}

/// Addresses that others may be found at.
#[derive(Debug, Default)]
pub(super) struct Seeds(Vec<Seed>);

#[derive(Clone, Debug)]
pub(super) struct Seed {
    pub(super) address: String,
    /// Who answered there, under whatever address it calls its own.
    pub(super) node: Option<NodeId>,
    /// The last call to it came back to this node.
    pub(super) is_own: bool,
    next: Moment,
    pause: Duration,
}

impl Seeds {
    /// Those that were known keep their pause.
    pub(super) fn replace(&mut self, now: Moment, addresses: Vec<String>) {
        self.0.retain(|seed| addresses.contains(&seed.address));
        for address in addresses {
            if !self.0.iter().any(|seed| seed.address == address) {
                let (node, is_own, pause) = (None, false, SEED_PAUSE_MIN);
                self.0.push(Seed { address, node, is_own, next: now, pause });
            }
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Seed> {
        self.0.iter()
    }

    /// `node` answered at `address`.
    pub(super) fn answered(&mut self, address: &str, node: NodeId) {
        if let Some(seed) = self.0.iter_mut().find(|seed| seed.address == address) {
            (seed.node, seed.is_own, seed.pause) = (Some(node), false, SEED_PAUSE_MIN);
        }
    }

    /// A call to `address` failed, because it came back to this node or for another reason; true if
    /// it is news that this seed is the node itself. An own seed is asked again with back-off: its
    /// address may become another node's, or be a service's that leads to any node.
    pub(super) fn failed(&mut self, address: &str, is_own: bool) -> bool {
        let seed = self.0.iter_mut().find(|seed| seed.address == address);
        seed.is_some_and(|seed| {
            if is_own {
                seed.node = None;
            }
            !std::mem::replace(&mut seed.is_own, is_own) && is_own
        })
    }

    pub(super) fn deadline(&self) -> Option<Moment> {
        self.0.iter().map(|seed| seed.next).min()
    }

    fn take_due(&mut self, now: Moment, random: &mut Random) -> Vec<Seed> {
        let due = self.0.iter_mut().filter(|seed| seed.next <= now);
        due.map(|seed| {
            seed.next = now + seed.pause.mul_f64(0.75 + 0.5 * random.fraction());
            seed.pause = (seed.pause * 2).min(SEED_PAUSE_MAX);
            seed.clone()
        })
        .collect()
    }
}

impl Swim {
    /// Probes the next member, now and then also one that is believed dead.
    pub(super) fn begin_period(&mut self, now: Moment) {
        self.probes.next_period = now + self.period();
        self.probes.periods += 1;
        if let Some(target) = self.probes.next_target(&mut self.random) {
            self.stats.probes += 1;
            self.probe(now, target);
        }
        self.retry_check(now);
        if self.gone.is_empty() {
            return;
        }
        self.forget(now);
        if self.probes.periods.is_multiple_of(REVISIT_PERIODS) && !self.gone.is_empty() {
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

    /// Pings a member to tell it something; nobody is judged.
    pub(super) fn ping_member(&mut self, now: Moment, node: NodeId) {
        self.call(now, node, None);
    }

    fn call(&mut self, now: Moment, node: NodeId, judged: Option<NodeId>) {
        let Some(member) = self.members.get(&node) else { return };
        let address = member.news.rpc_addr.clone();
        let updates = self.news_for(Some(node));
        let purpose = if judged.is_some() { Purpose::Judge } else { Purpose::Disseminate };
        self.ping(now, (purpose, judged), address, updates);
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

    /// Seeds at whose address nobody is known.
    pub(super) fn ping_seeds(&mut self, now: Moment) {
        for seed in self.seeds.take_due(now, &mut self.random) {
            if seed.is_own || !self.is_found(&seed) {
                let updates = self.news_for(None);
                self.ping(now, (Purpose::Disseminate, None), seed.address, updates);
            }
        }
    }

    /// A member does not answer. Silence is asked about among others; a refusal speaks for itself.
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
            // Others asked around already.
            return self.suspect(now, target, false);
        }
        if self.probes.unreached.iter().any(|unreached| unreached.target == target) {
            return;
        }
        let timeout = self.period() / 2;
        let deadline = now + timeout;
        self.probes.unreached.push(Unreached { target, deadline });
        self.probe(now, target);
        for via in self.pick(ASKED, Some(target)) {
            if self.probes.under_way() >= limits::PROBES_MAX {
                return;
            }
            let address = probe.address.clone();
            let (purpose, silent_at) = (Purpose::Indirect, None);
            let probe = Probe { target: Some(target), address, purpose, silent_at };
            let target = (target, probe.address.clone());
            let number = self.probes.begin(probe);
            let updates = self.news_for(Some(via));
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
        updates: Vec<super::Update>,
    ) -> bool {
        if self.probes.under_way() >= limits::PROBES_MAX {
            return false;
        }
        // A suspect is asked as often as there is time for, however slow this node is.
        let is_suspect = node.is_some_and(|node| self.suspicions.contains_key(&node));
        let turn = if is_suspect { self.config.probe_interval } else { self.period() };
        let timeout = turn / 2;
        let (address, silent_at) = (rpc_addr.clone(), Some(now + timeout));
        let probe = Probe { target: node, address, purpose, silent_at };
        let number = self.probes.begin(probe);
        // An answer after the time still shows life, so the call may go on until the next turn.
        let timeout = timeout * 2;
        self.outbox.push_back(Output::Ping { number, rpc_addr, updates, timeout });
        true
    }

    /// A turn's length; longer while this node itself is slow.
    fn period(&self) -> Duration {
        self.config.probe_interval * (1 + self.local_health)
    }

    /// Some of those who take part, any: the order of probes is shuffled anew for every round.
    pub(super) fn pick(&mut self, count: usize, except: Option<NodeId>) -> Vec<NodeId> {
        let order = &self.probes.order;
        let first = self.random.below(order.len().max(1));
        let nodes = order[first..].iter().chain(&order[..first]).copied();
        let is_reachable =
            |node: &NodeId| self.members.get(node).is_some_and(|member| member.is_reachable);
        let is_fit = |node: &NodeId| {
            Some(*node) != except && !self.suspicions.contains_key(node) && is_reachable(node)
        };
        nodes.filter(is_fit).take(count).collect()
    }
}
