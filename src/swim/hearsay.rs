//! Hearsay that needs proof: the member it is about is pinged, and its own answer decides.
//!
//! In: updates that [`super::member::Member::weigh`] does not let stand, ends of the pings. Out:
//! pings, members that answered, deaths that this node found true itself. Anybody who reaches the
//! port may make updates up, under any id; an answer from where a member is known to be cannot be
//! made up by anybody who does not sit there.
//!
//! Never: counts a node that has not answered as a member, keeps more than a bounded number of
//! them, pings faster than a bounded rate.

use std::collections::{BTreeMap, BTreeSet};

use super::member::{Member, State, Update};
use super::probe::{Probe, Purpose};
use super::suspicion::FORGET_AFTER;
use super::{Ack, Event, Failure, Output, STEPS_MAX, Swim};
use crate::base::{Moment, NodeId, limits};

/// One member is checked so many times in a probe interval, however often hearsay asks for it.
const CHECKS_OF_ONE: u32 = 10;

/// Whose check comes first. Whoever introduces itself passes those that others only name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Rank {
    /// A member, or this node itself.
    Member,
    /// An unknown node that introduced itself.
    Introduced,
    /// An unknown node that others named.
    Named,
    /// An unknown node that did not answer.
    Failed,
}

impl Rank {
    /// Its share of what [`limits`] allow, in thirds: a flood of names leaves room for members.
    fn share(self) -> u64 {
        3_u64.saturating_sub(self as u64)
    }
}

/// Introductions without an answer after which the operator is informed.
const UNANSWERED_REPORTED: u32 = 3;

/// Hearsay of one node.
#[derive(Debug)]
pub(super) struct Check {
    update: Update,
    rank: Rank,
    /// It knows nobody: once it has answered, it is told everything.
    is_newcomer: bool,
    heard: Moment,
    /// When to ping.
    due: Moment,
    /// Where a ping is under way.
    asked: Option<String>,
    /// How often it introduced itself and did not answer.
    unanswered: u32,
}

/// All hearsay that waits for proof.
#[derive(Debug, Default)]
pub(super) struct Checks {
    about: BTreeMap<NodeId, Check>,
    /// Those that no ping is under way for.
    waiting: BTreeSet<(Rank, Moment, NodeId)>,
    /// Of unknown nodes.
    unproven: usize,
    /// The rate: each check moves this on by its cost (the generic cell rate algorithm, ITU-T
    /// I.371).
    theoretical_arrival: Moment,
    cost: u64,
}

impl Checks {
    pub(super) fn new(interval: std::time::Duration) -> Checks {
        let cost = interval.as_micros() as u64 / limits::CHECKS_PER_INTERVAL;
        Checks { cost, ..Checks::default() }
    }

    pub(super) fn unproven(&self) -> usize {
        self.unproven
    }

    pub(super) fn remove(&mut self, node: NodeId) -> Option<Check> {
        let check = self.about.remove(&node)?;
        self.waiting.remove(&(check.rank, check.due, node));
        self.unproven -= usize::from(check.rank != Rank::Member);
        Some(check)
    }

    fn insert(&mut self, node: NodeId, check: Check) {
        self.remove(node);
        self.unproven += usize::from(check.rank != Rank::Member);
        if check.asked.is_none() {
            self.waiting.insert((check.rank, check.due, node));
        }
        self.about.insert(node, check);
    }

    /// Whether there is room for one more unknown node; the least of those that wait makes it.
    fn reserve(&mut self, rank: Rank) -> bool {
        if self.unproven < limits::UNPROVEN_MAX {
            return true;
        }
        let mut last = [Rank::Failed, Rank::Named, Rank::Introduced].into_iter();
        let oldest = last.find_map(|rank| self.of_rank(rank).next());
        let weaker = oldest.filter(|oldest| oldest.0 > rank || oldest.0 == Rank::Introduced);
        weaker.and_then(|(_, _, node)| self.remove(node)).is_some()
    }

    fn of_rank(&self, rank: Rank) -> impl DoubleEndedIterator<Item = (Rank, Moment, NodeId)> {
        let last = (rank, Moment(u64::MAX), NodeId([u8::MAX; 16]));
        self.waiting.range((rank, Moment::ZERO, NodeId::NONE)..=last).copied()
    }

    /// The one due first; of those who introduced themselves the last, who still waits for it.
    fn first(&self, rank: Rank) -> Option<(Rank, Moment, NodeId)> {
        match rank {
            Rank::Introduced => self.of_rank(rank).next_back(),
            _ => self.of_rank(rank).next(),
        }
    }

    /// When the first of this rank may be pinged; `None` before a ping under way has ended.
    fn ready_at(&self, rank: Rank) -> Option<(Moment, NodeId)> {
        let (_, due, node) = self.first(rank)?;
        let under_way = (self.about.len() - self.waiting.len()) as u64;
        let ahead = limits::CHECKS_BURST * self.cost * rank.share() / 3;
        let paid = Moment(self.theoretical_arrival.0.saturating_sub(ahead));
        (under_way < limits::CHECKS_MAX * rank.share() / 3).then_some((due.max(paid), node))
    }

    fn ready(&self) -> impl Iterator<Item = (Moment, NodeId)> {
        let ranks = [Rank::Member, Rank::Introduced, Rank::Named].into_iter();
        ranks.filter_map(|rank| self.ready_at(rank))
    }

    pub(super) fn deadline(&self) -> Option<Moment> {
        self.ready().map(|(at, _)| at).min()
    }

    /// The node answered at this address.
    pub(super) fn end(&mut self, node: NodeId, address: &str) {
        if self.is_asked(node, address) {
            self.remove(node);
        }
    }

    fn is_asked(&self, node: NodeId, address: &str) -> bool {
        self.about.get(&node).is_some_and(|check| check.asked.as_deref() == Some(address))
    }
}

impl Swim {
    /// Hearsay needs proof: its member is pinged, at once if the rate allows. The latest stands for
    /// all before, but what a node said of itself.
    pub(super) fn check(&mut self, now: Moment, update: Update, is_introduced: bool) {
        let node = update.node;
        let (mut rank, mut due, mut heard) = (Rank::Member, now, now);
        let (mut is_newcomer, mut unanswered) = (false, 0);
        match self.members.get(&node) {
            Some(member) => {
                let pause = self.config.probe_interval / CHECKS_OF_ONE;
                due = member.checked.map_or(now, |at| now.max(at + pause));
            }
            None if node == self.me.node => {}
            None => rank = if is_introduced { Rank::Introduced } else { Rank::Named },
        }
        if let Some(check) = self.checks.about.get_mut(&node) {
            if check.rank < rank {
                return;
            }
            if check.asked.is_some() {
                check.update = update;
                return;
            }
            (is_newcomer, unanswered) = (check.is_newcomer, check.unanswered);
            heard = if is_introduced { now } else { check.heard };
            due = if is_introduced { now } else { due.min(check.due) };
        } else if rank != Rank::Member && !self.checks.reserve(rank) {
            self.stats.refused += 1;
            return;
        }
        let check = Check { update, rank, is_newcomer, heard, due, asked: None, unanswered };
        self.checks.insert(node, check);
        self.start_checks(now);
    }

    /// An unknown node introduced itself, and asked for everything: it gets that when it has
    /// answered, as it may be nobody.
    pub(super) fn note_newcomer(&mut self, node: NodeId) {
        if let Some(check) = self.checks.about.get_mut(&node) {
            check.is_newcomer = true;
        }
    }

    /// A member is suspected by hearsay: before it can be declared dead, it is pinged.
    pub(super) fn check_suspect(&mut self, now: Moment, node: NodeId) {
        let suspicion = self.suspicions.get(&node).filter(|suspicion| !suspicion.is_seen());
        let (Some(suspicion), Some(member)) = (suspicion, self.members.get(&node)) else { return };
        if !self.checks.about.contains_key(&node) {
            let (update, due) = (member.news.clone(), suspicion.check_at());
            let (rank, is_newcomer, asked, unanswered) = (Rank::Member, false, None, 0);
            let check = Check { update, rank, is_newcomer, heard: now, due, asked, unanswered };
            self.checks.insert(node, check);
        }
    }

    /// Pings those that are due, as many as the bounds allow.
    pub(super) fn start_checks(&mut self, now: Moment) {
        loop {
            let next = self.checks.ready().find(|(at, _)| *at <= now);
            let Some((_, node)) = next else { return };
            self.start_check(now, node);
        }
    }

    fn start_check(&mut self, now: Moment, node: NodeId) {
        let Some(check) = self.checks.about.get(&node) else { return };
        if self.is_outdated(&check.update) {
            self.checks.remove(node);
            return;
        }
        let known = self.members.get_mut(&node).map(|member| {
            member.checked = Some(now);
            member.news.rpc_addr.clone()
        });
        let address = known.unwrap_or_else(|| check.update.rpc_addr.clone());
        self.ask(now, node, address);
    }

    /// Whether the update says nothing any more that is not known.
    fn is_outdated(&self, update: &Update) -> bool {
        let Some(Member { news, .. }) = self.members.get(&update.node) else { return false };
        let is_far_behind = update.incarnation.saturating_add(STEPS_MAX) < news.incarnation;
        let suspicion = self.suspicions.get(&update.node).filter(|it| !it.is_seen());
        let is_suspect = suspicion.is_some() && update.rank() == news.rank();
        !(update.beats(news) || is_far_behind || is_suspect)
    }

    /// Pings a node, with what is said of it, so that it can refute it.
    fn ask(&mut self, now: Moment, node: NodeId, address: String) {
        let Some(mut check) = self.checks.about.remove(&node) else { return };
        self.checks.waiting.remove(&(check.rank, check.due, node));
        let updates = vec![self.me.clone(), check.update.clone()];
        if self.ping(now, (Purpose::Check, Some(node)), address.clone(), updates) {
            let start = self.checks.theoretical_arrival.max(now);
            self.checks.theoretical_arrival = Moment(start.0 + self.checks.cost);
            check.asked = Some(address);
        } else {
            check.asked = None;
            check.due = now + self.config.probe_interval / CHECKS_OF_ONE;
            self.checks.waiting.insert((check.rank, check.due, node));
        }
        self.checks.about.insert(node, check);
    }

    /// One of the unknown nodes that did not answer is asked again: at its first try a partition
    /// may have hidden it, and nobody tells of it twice.
    pub(super) fn retry_check(&mut self, now: Moment) {
        while let Some((_, _, node)) = self.checks.first(Rank::Failed) {
            let heard = self.checks.about.get(&node).map(|check| check.heard);
            if heard.is_some_and(|heard| now.since(heard) <= FORGET_AFTER) {
                return self.start_check(now, node);
            }
            self.checks.remove(node);
        }
    }

    /// A node answered: what it says of itself decides if it was pinged where it is known to be,
    /// or where it is after it did not answer there. True if that is settled, so that it is not
    /// hearsay any more.
    pub(super) fn take_answer(&mut self, now: Moment, address: &str, ack: &Ack) -> bool {
        let node = ack.node;
        let own = self.own_update_of(ack);
        let is_own_address = own.rpc_addr == address;
        let known = self.members.get(&node).map(|member| member.news.rpc_addr == address);
        let is_checked = self.checks.is_asked(node, address) && is_own_address;
        match known {
            None if is_own_address => self.add_member(now, own),
            // It is a member when it answers where it says that it is.
            None => self.check(now, own, true),
            Some(is_known_address) if is_known_address || is_checked => {
                self.apply_own_update(now, Update { rpc_addr: address.to_owned(), ..own.clone() });
                self.probes.reached(node);
                self.note_reached(node);
                if let Some(suspicion) = self.suspicions.get_mut(&node) {
                    suspicion.is_silent = false;
                }
                self.checks.end(node, address);
                if !is_own_address {
                    self.check_elsewhere(now, own);
                }
            }
            Some(_) => return false,
        }
        true
    }

    /// A member says that it is elsewhere, too.
    fn check_elsewhere(&mut self, now: Moment, own: Update) {
        let (node, address) = (own.node, own.rpc_addr.clone());
        if !self.checks.about.contains_key(&node) {
            let (rank, is_newcomer, asked, unanswered) = (Rank::Member, false, None, 0);
            let (update, heard, due) = (own, now, now);
            let check = Check { update, rank, is_newcomer, heard, due, asked, unanswered };
            self.checks.insert(node, check);
            self.ask(now, node, address);
        }
    }

    /// What a node says of itself. One that sends no updates, as the standard allows, speaks by
    /// its answer.
    fn own_update_of(&self, ack: &Ack) -> Update {
        if let Some(own) = ack.updates.iter().find(|update| update.node == ack.node) {
            let mut own = own.clone();
            if own.rpc_addr.is_empty() {
                own.rpc_addr.clone_from(&ack.addresses.0);
            }
            return own;
        }
        let (rpc_addr, api_addr) = ack.addresses.clone();
        let known = self.members.get(&ack.node).map(|member| &member.news);
        let is_same = known.is_some_and(|news| {
            news.state == State::Alive && news.rpc_addr == rpc_addr && news.api_addr == api_addr
        });
        let step = u64::from(!is_same);
        let incarnation = known.map_or(0, |news| news.incarnation.saturating_add(step));
        let (node, state, lamport) = (ack.node, State::Alive, self.me.lamport);
        Update { node, rpc_addr, api_addr, state, lamport, incarnation }
    }

    /// Takes a member at its word. An incarnation far behind what is known is of a clock that was
    /// set back, or what is known was made up: it stands as well.
    fn apply_own_update(&mut self, now: Moment, own: Update) {
        let node = own.node;
        let Some(member) = self.members.get_mut(&node) else { return };
        let news = &member.news;
        let is_possible = matches!(own.state, State::Alive | State::Left);
        if own.incarnation > limits::INCARNATION_MAX || !is_possible {
            self.stats.refused += 1;
            return;
        }
        let is_far_behind = own.incarnation.saturating_add(STEPS_MAX) < news.incarnation;
        let has_moved = news.rpc_addr != own.rpc_addr;
        if !(own.beats(news) || is_far_behind || has_moved) {
            return;
        }
        if has_moved {
            let event = Event::Moved(node, own.rpc_addr.clone());
            self.outbox.push_back(Output::Event(event));
        }
        let (was, state) = (news.state, own.state);
        member.news = own;
        self.disseminate(now, node, Some(node));
        self.enter(now, node, was, state);
    }

    /// An unknown node answered where it says that it is: a member, if there is room.
    fn add_member(&mut self, now: Moment, own: Update) {
        let (node, address) = (own.node, own.rpc_addr.clone());
        let is_newcomer = self.checks.remove(node).is_some_and(|check| check.is_newcomer);
        let is_good = own.state == State::Alive && own.incarnation <= limits::INCARNATION_MAX;
        let has_room = self.members.len() < limits::MEMBERS_MAX;
        if !is_good || !(has_room || self.drop_longest_gone()) {
            self.stats.refused += 1;
            return;
        }
        self.has_had_members = true;
        self.members.insert(node, Member::new(own, now));
        self.disseminate(now, node, Some(node));
        self.enter(now, node, State::Left, State::Alive);
        if is_newcomer {
            let updates = self.everything_for(Some(node));
            self.ping(now, (Purpose::Disseminate, None), address, updates);
        }
    }

    /// A ping that was to check hearsay was not answered by whom it is about.
    pub(super) fn check_failed(&mut self, now: Moment, probe: &Probe, failure: Failure) {
        let Some(node) = probe.target.filter(|node| self.checks.is_asked(*node, &probe.address))
        else {
            return;
        };
        if node == self.me.node {
            // Nobody uses this node's id there; who believes it has to be told better.
            let Some(check) = self.checks.remove(node) else { return };
            return self.refute_update(now, &check.update);
        }
        let Some(member) = self.members.get(&node) else {
            let Some(mut check) = self.checks.about.remove(&node) else { return };
            // One that starts may refuse the first pings: it waits for its seeds.
            check.unanswered += u32::from(check.rank == Rank::Introduced);
            if check.rank == Rank::Introduced && check.unanswered == UNANSWERED_REPORTED {
                let event = Event::Unanswered(node, check.update.rpc_addr.clone());
                self.outbox.push_back(Output::Event(event));
            }
            (check.rank, check.due, check.asked) = (Rank::Failed, now, None);
            if check.update.rpc_addr != probe.address {
                // It answered there, and said that it is elsewhere.
                let pause = self.config.probe_interval / CHECKS_OF_ONE;
                (check.rank, check.due) = (Rank::Named, now + pause);
            }
            self.checks.waiting.insert((check.rank, check.due, node));
            self.checks.about.insert(node, check);
            return;
        };
        let is_known_address = member.news.rpc_addr == probe.address;
        let is_dead = member.news.state == State::Dead;
        if let Some(suspicion) = self.suspicions.get_mut(&node).filter(|_| is_known_address) {
            suspicion.is_silent = true;
        }
        let said = self.checks.about.get(&node).map(|check| check.update.clone());
        let elsewhere = said.as_ref().filter(|update| {
            let is_elsewhere = update.rpc_addr != probe.address && !update.rpc_addr.is_empty();
            is_known_address && update.state == State::Alive && is_elsewhere
        });
        if let Some(update) = elsewhere {
            return self.ask(now, node, update.rpc_addr.clone());
        }
        self.checks.remove(node);
        if is_known_address && self.is_calling(now, node) {
            // Its own calls prove more than a ping that fails: nothing that is said of it does.
            self.note_unreachable(node);
            if let Some(own) = said.filter(|own| is_dead && own.state == State::Alive) {
                self.apply_own_update(now, Update { rpc_addr: probe.address.clone(), ..own });
            }
            return;
        }
        if is_known_address {
            self.note_silent(now, node);
        }
        let is_gone = |update: &Update| !update.state.is_present();
        if let Some(update) = said.filter(|update| is_known_address && is_gone(update)) {
            self.confirm_gone(now, probe, update.state, failure);
        }
    }

    /// A member is said to be gone, and does not answer. Where nothing spoke against it before,
    /// one silence is not enough.
    fn confirm_gone(&mut self, now: Moment, probe: &Probe, state: State, failure: Failure) {
        let Some(node) = probe.target.filter(|node| self.is_present(*node)) else { return };
        if failure == Failure::Refused || self.suspicions.contains_key(&node) {
            self.declare(now, node, state);
        } else {
            self.probe_failed(now, probe.clone(), failure);
        }
    }
}
