//! Hearsay is put to the proof: the node that it is about is pinged, and its own answer decides. An
//! answer from where a member is known to be can be made up only by a process that sits there.
//!
//! In: updates that [`super::member::Member::weigh`] does not let stand, ends of the pings. Out:
//! pings, new members, deaths that this node found true itself.
//!
//! Never: counts a node that has not answered as a member.

use super::calls::{Ack, Event, Failure, Output};
use super::hearsay::{Check, Rank};
use super::member::{Member, STEPS_MAX, State, Update};
use super::probe::{Probe, Purpose};
use super::{FORGET_AFTER, Swim};
use crate::base::{Moment, NodeId, limits};

/// One member is pinged so many times in a probe interval, however often hearsay asks for it: else
/// a stranger could have all members ping a victim of its choice.
const CHECKS_OF_ONE: u32 = 10;

impl Swim {
    /// Hearsay needs proof: its node is pinged, at once if the rate allows. The latest stands for
    /// all before, but what a node said of itself.
    pub(super) fn verify(&mut self, now: Moment, update: Update, is_introduced: bool) {
        let node = update.node;
        let (mut rank, mut due, mut heard) = (Rank::Member, now, now);
        match self.members.get(&node) {
            Some(member) => {
                let pause = self.config.probe_interval / CHECKS_OF_ONE;
                due = member.checked.map_or(now, |at| now.max(at + pause));
            }
            None if node == self.me.node => {}
            None => rank = if is_introduced { Rank::Introduced } else { Rank::Named },
        }
        if let Some(check) = self.hearsay.get_mut(node) {
            if check.rank < rank {
                return;
            }
            if check.asked.is_some() {
                check.update = update;
                return;
            }
            heard = if is_introduced { now } else { check.heard };
            due = if is_introduced { now } else { due.min(check.due) };
        } else if rank != Rank::Member && !self.hearsay.reserve(rank) {
            self.stats.refused += 1;
            return;
        }
        self.hearsay.insert(node, Check::new(update, rank, heard, due));
        self.start_verifications(now);
    }

    /// An unknown node introduced itself, and asked for everything: it gets the member list when it
    /// has answered. Its address may be made up, and a list of 256 KiB is worth amplifying.
    pub(super) fn note_newcomer(&mut self, node: NodeId) {
        if let Some(check) = self.hearsay.get_mut(node) {
            check.is_newcomer = true;
        }
    }

    /// A member is suspected by hearsay: before it can be declared dead, it is pinged.
    pub(super) fn verify_suspicion(&mut self, now: Moment, node: NodeId) {
        let suspicion = self.suspicions.get(&node).filter(|suspicion| !suspicion.is_seen());
        let (Some(suspicion), Some(member)) = (suspicion, self.members.get(&node)) else { return };
        if self.hearsay.get(node).is_none() {
            let (update, due) = (member.news.clone(), suspicion.verify_at());
            self.hearsay.insert(node, Check::new(update, Rank::Member, now, due));
        }
    }

    /// Pings those that are due, as many as the bounds allow.
    pub(super) fn start_verifications(&mut self, now: Moment) {
        while let Some(node) = self.hearsay.next_ready(now) {
            self.start_verification(now, node);
        }
    }

    fn start_verification(&mut self, now: Moment, node: NodeId) {
        let Some(check) = self.hearsay.get(node) else { return };
        if self.is_outdated(&check.update) {
            self.hearsay.remove(node);
            return;
        }
        let known = self.members.get_mut(&node).map(|member| {
            member.checked = Some(now);
            member.news.rpc_addr.clone()
        });
        // A member is asked where it is known to be, wherever hearsay puts it: only its silence
        // there makes another address worth a ping.
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
        let Some(check) = self.hearsay.get(node) else { return };
        let updates = vec![self.me.clone(), check.update.clone()];
        if self.ping(now, (Purpose::Verify, Some(node)), address.clone(), updates) {
            self.hearsay.begin(now, node, address);
        } else {
            self.hearsay.postpone(node, now + self.config.probe_interval / CHECKS_OF_ONE);
        }
    }

    /// One of the unknown nodes that did not answer is asked again: a partition may have hidden it
    /// at the first try, and a rumor about it ends everywhere without coming twice.
    pub(super) fn retry_verification(&mut self, now: Moment) {
        while let Some(node) = self.hearsay.first_failed() {
            let heard = self.hearsay.get(node).map(|check| check.heard);
            if heard.is_some_and(|heard| now.since(heard) <= FORGET_AFTER) {
                return self.start_verification(now, node);
            }
            self.hearsay.remove(node);
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
        let is_checked = self.hearsay.is_asked(node, address) && is_own_address;
        let is_plain = ack.updates.iter().all(|update| update.node != node);
        match known {
            None if is_own_address => self.add_member(now, own),
            // It is a member when it answers at the address that it gives.
            None => self.verify(now, own, true),
            Some(is_known_address) if is_known_address || is_checked => {
                self.apply_own_update(now, Update { rpc_addr: address.to_owned(), ..own.clone() });
                self.probes.reached(node);
                self.note_reached(node);
                if let Some(suspicion) = self.suspicions.get_mut(&node) {
                    suspicion.is_silent = false;
                }
                self.hearsay.end(node, address);
                if !is_own_address {
                    self.verify_elsewhere(now, own);
                }
            }
            Some(_) => return false,
        }
        if let Some(member) = self.members.get_mut(&node) {
            member.is_plain = is_plain;
            self.recount(node);
        }
        true
    }

    /// A member answers here, and says that it is elsewhere.
    fn verify_elsewhere(&mut self, now: Moment, own: Update) {
        let (node, address) = (own.node, own.rpc_addr.clone());
        if self.hearsay.get(node).is_none() {
            self.hearsay.insert(node, Check::new(own, Rank::Member, now, now));
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
        // Such a node has no incarnation, so one step is made for it where it refutes or moves:
        // nothing else would beat what is known.
        let step = u64::from(!is_same);
        let incarnation = known.map_or(0, |news| news.incarnation.saturating_add(step));
        let (node, state, lamport) = (ack.node, State::Alive, self.me.lamport);
        Update { node, rpc_addr, api_addr, state, lamport, incarnation }
    }

    /// Applies what a member says of itself. An incarnation far behind what is known is of a clock
    /// that was set back, or what is known was made up: it stands as well.
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

    /// An unknown node answered at the address that it gives: a member, if the list has capacity.
    fn add_member(&mut self, now: Moment, own: Update) {
        let (node, address) = (own.node, own.rpc_addr.clone());
        let is_newcomer = self.hearsay.remove(node).is_some_and(|check| check.is_newcomer);
        let is_good = own.state == State::Alive && own.incarnation <= limits::INCARNATION_MAX;
        let has_capacity = self.members.len() < limits::MEMBERS_MAX;
        if !is_good || !(has_capacity || self.drop_longest_gone()) {
            self.stats.refused += 1;
            return;
        }
        self.has_had_members = true;
        self.members.insert(node, Member::new(own, now));
        self.disseminate(now, node, Some(node));
        self.enter(now, node, State::Left, State::Alive);
        if is_newcomer {
            let updates = self.member_list();
            self.ping(now, (Purpose::Disseminate, None), address, updates);
        }
    }

    /// A ping that was to verify hearsay was not answered by the node that it is about.
    pub(super) fn verification_failed(&mut self, now: Moment, probe: &Probe, failure: Failure) {
        let Some(node) = probe.target.filter(|node| self.hearsay.is_asked(*node, &probe.address))
        else {
            return;
        };
        if node == self.me.node {
            // No node uses this node's id there, yet a member believes it: a refutation corrects
            // that member.
            let Some(check) = self.hearsay.remove(node) else { return };
            return self.refute_update(now, &check.update);
        }
        match self.members.get(&node) {
            None => self.unknown_failed(now, node, &probe.address),
            Some(_) => self.member_failed(now, node, probe, failure),
        }
    }

    fn unknown_failed(&mut self, now: Moment, node: NodeId, address: &str) {
        let pause = self.config.probe_interval / CHECKS_OF_ONE;
        let given = self.hearsay.get(node).map(|check| check.update.rpc_addr.clone());
        if self.hearsay.fail(now, node, address, pause) {
            let event = Event::Unanswered(node, given.unwrap_or_default());
            self.outbox.push_back(Output::Event(event));
        }
    }

    /// A member of which something was said did not answer at `probe.address`.
    fn member_failed(&mut self, now: Moment, node: NodeId, probe: &Probe, failure: Failure) {
        let Some(member) = self.members.get(&node) else { return };
        let is_known_address = member.news.rpc_addr == probe.address;
        let is_dead = member.news.state == State::Dead;
        if let Some(suspicion) = self.suspicions.get_mut(&node).filter(|_| is_known_address) {
            suspicion.is_silent = true;
        }
        let said = self.hearsay.get(node).map(|check| check.update.clone());
        let elsewhere = said.as_ref().filter(|update| {
            let is_elsewhere = update.rpc_addr != probe.address && !update.rpc_addr.is_empty();
            is_known_address && update.state == State::Alive && is_elsewhere
        });
        if let Some(update) = elsewhere {
            return self.ask(now, node, update.rpc_addr.clone());
        }
        self.hearsay.remove(node);
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

    /// A member is said to be gone, and does not answer. Without an earlier suspicion one silence
    /// is not enough: a lost message and a made-up death would make one.
    fn confirm_gone(&mut self, now: Moment, probe: &Probe, state: State, failure: Failure) {
        let Some(node) = probe.target.filter(|node| self.is_present(*node)) else { return };
        if failure == Failure::Refused || self.suspicions.contains_key(&node) {
            self.declare(now, node, state);
        } else {
            self.probe_failed(now, probe.clone(), failure);
        }
    }
}
