//! What news does: members met, suspected, believed dead, back again; objections to one's own
//! death.
//!
//! In: updates of others, and what our own probes say. Out: members in a new state, rumors. Never:
//! lets anybody but the member itself raise its incarnation.

use super::member::{Member, State, Update};
use super::{Ack, Event, Output, Swim, UNHEALTH_MAX};
use crate::base::{Moment, NodeId, limits};

/// Members that ask a new suspect themselves, of all that hear of the suspicion.
const OPINIONS: usize = 5;
/// Objections in a row to another node with this id before it is called a duplicate.
const CLASHES_MAX: u32 = 3;

impl Swim {
    pub(super) fn take_updates(&mut self, now: Moment, from: NodeId, updates: Vec<Update>) {
        for update in updates {
            self.me.lamport = self.me.lamport.max(update.lamport);
            if update.node == self.me.node {
                self.hear_of_myself(now, &update);
            } else {
                self.take_update(now, from, update);
            }
        }
        self.me.lamport += 1;
    }

    /// Whoever is believed dead and lives says so by a higher incarnation (SWIM, section 4.2). An
    /// old address of this node's earlier life is objected to in the same way.
    fn hear_of_myself(&mut self, now: Moment, update: &Update) {
        let is_own = update.state == self.me.state && update.rpc_addr == self.me.rpc_addr;
        if update.incarnation < self.me.incarnation || is_own || self.me.state == State::Left {
            return;
        }
        if update.state == State::Alive && update.incarnation > self.me.incarnation {
            return self.object_to_twin(now, update.rpc_addr.clone());
        }
        self.object(now, update.incarnation);
    }

    fn object(&mut self, now: Moment, incarnation: u64) {
        self.me.incarnation = incarnation.saturating_add(1);
        self.me.lamport += 1;
        self.stats.refuted += 1;
        self.unhealth = (self.unhealth + 1).min(UNHEALTH_MAX);
        self.tell_of(now, self.me.node, None);
    }

    /// Somebody alive elsewhere uses this node's id: once may be news of its own earlier life,
    /// again and again is a twin.
    pub(super) fn object_to_twin(&mut self, now: Moment, rpc_addr: String) {
        let recent = now.since(self.clashes.0) < self.config.probe_interval * 30;
        self.clashes = (now, if recent { self.clashes.1 + 1 } else { 1 });
        if self.clashes.1 == CLASHES_MAX {
            self.outbox.push_back(Output::Event(Event::Duplicate(rpc_addr)));
        }
        if self.clashes.1 < CLASHES_MAX {
            self.object(now, self.me.incarnation);
        }
    }

    fn take_update(&mut self, now: Moment, from: NodeId, mut update: Update) {
        let node = update.node;
        let Some(member) = self.members.get_mut(&node) else {
            return self.meet(now, from, update);
        };
        if update.rpc_addr.is_empty() {
            update.rpc_addr.clone_from(&member.news.rpc_addr);
        }
        if !update.beats(&member.news) {
            let is_confirmation =
                update.state == State::Suspect && update.incarnation == member.news.incarnation;
            let suspicion = self.suspicions.get_mut(&node).filter(|_| is_confirmation);
            if suspicion.is_some_and(|suspicion| suspicion.confirm(update.lamport)) {
                member.news.lamport = update.lamport;
                self.tell_of(now, node, Some(from));
            }
            return;
        }
        let (was, moved) = (member.news.state, member.news.rpc_addr != update.rpc_addr);
        let state = update.state;
        if moved && state == State::Alive {
            let event = Event::Moved(node, update.rpc_addr.clone());
            self.outbox.push_back(Output::Event(event));
        }
        member.news = update;
        self.tell_of(now, node, Some(from));
        self.enter(now, node, was, state);
        if state == State::Suspect && self.random.below(self.probes.present()) < OPINIONS {
            self.probe(now, node);
        }
    }

    /// A stranger, if there is room. Strangers that are gone already, or nowhere, are not met.
    fn meet(&mut self, now: Moment, from: NodeId, update: Update) {
        if !update.state.is_present() || update.rpc_addr.is_empty() {
            return;
        }
        if self.members.len() >= limits::MEMBERS_MAX {
            self.stats.refused += 1;
            return;
        }
        let (node, state) = (update.node, update.state);
        self.members.insert(node, Member { news: update, since: now });
        self.tell_of(now, node, Some(from));
        self.enter(now, node, State::Left, state);
    }

    /// What goes with a member's new state.
    pub(super) fn enter(&mut self, now: Moment, node: NodeId, was: State, state: State) {
        let Some(member) = self.members.get_mut(&node) else { return };
        let lamport = member.news.lamport;
        if was != state {
            member.since = now;
            match (was.is_present(), state.is_present()) {
                (true, false) => self.lose(node),
                (false, true) => self.welcome(node),
                _ => {}
            }
            self.outbox.push_back(Output::Event(Event::Changed(node, Some(state))));
        }
        self.suspicions.remove(&node);
        if state == State::Suspect {
            self.begin_suspicion(now, node, lamport);
        }
    }

    fn lose(&mut self, node: NodeId) {
        self.probes.forget(node);
        self.gone.push(node);
    }

    fn welcome(&mut self, node: NodeId) {
        self.gone.retain(|gone| *gone != node);
        self.probes.welcome(node, &mut self.random);
    }

    /// The very node answered. One of ours speaks for itself in its news; for a node that sends
    /// none, which the standard allows, its answer is its word.
    pub(super) fn hear_from(&mut self, now: Moment, ack: &Ack) {
        if ack.updates.iter().any(|update| update.node == ack.node) {
            return;
        }
        let known = self.members.get(&ack.node).map(|member| &member.news);
        let is_level = known
            .is_some_and(|news| news.state == State::Alive && news.rpc_addr == ack.addresses.0);
        if is_level {
            return;
        }
        let incarnation = known.map_or(0, |news| news.incarnation.saturating_add(1));
        let (rpc_addr, api_addr) = ack.addresses.clone();
        let (node, state, lamport) = (ack.node, State::Alive, self.me.lamport);
        let update = Update { node, rpc_addr, api_addr, state, lamport, incarnation };
        self.take_update(now, ack.node, update);
    }
}
