//! What news does: members suspected, believed dead, back again; refutations to one's own death.
//!
//! In: updates of others. Out: members in a new state, rumors, hearsay that needs proof. Never:
//! lets anybody but the member itself move its incarnation by more than a step.

use super::member::{Member, State, Update, Weight};
use super::suspicion::Suspicion;
use super::{Event, LOCAL_HEALTH_MAX, Output, STEPS_MAX, Swim};
use crate::base::{Moment, NodeId, limits};

/// Members that ask a new suspect themselves, of all that hear of the suspicion.
const SECOND_OPINIONS: usize = 5;

impl Swim {
    /// Takes what `from` passes on: hearsay, what it says of itself included, since anybody may
    /// write any id into a ping.
    pub(super) fn take_updates(&mut self, now: Moment, from: NodeId, updates: Vec<Update>) {
        for update in updates {
            // Lamport times only tell accusations apart: one far ahead moves no clock.
            if update.lamport.saturating_sub(self.me.lamport) > limits::LAMPORT_AHEAD_MAX {
                self.stats.refused += 1;
            } else {
                self.me.lamport = self.me.lamport.max(update.lamport);
            }
            if update.incarnation > limits::INCARNATION_MAX {
                self.stats.refused += 1;
            } else if update.node == self.me.node && from == self.me.node {
                self.check_duplicate(now, from, update);
            } else if update.node == self.me.node {
                self.take_update_of_self(now, update);
            } else {
                self.take_update(now, from, update);
            }
        }
        self.me.lamport = self.me.lamport.saturating_add(1);
    }

    /// Whoever is believed dead and lives says so by a higher incarnation (SWIM, section 4.2).
    fn take_update_of_self(&mut self, now: Moment, update: Update) {
        if update.incarnation < self.me.incarnation || self.me.state == State::Left {
            return;
        }
        if update.state != State::Alive {
            return self.refute_update(now, &update);
        }
        // News of an earlier life, or another node with this id: the address tells.
        if !update.rpc_addr.is_empty() && update.rpc_addr != self.me.rpc_addr {
            self.check(now, update, false);
        }
    }

    /// Objects to an update about this node. Those who ping it take it at its word where an
    /// incarnation is far from its own, so it need not run after one that was made up.
    pub(super) fn refute_update(&mut self, now: Moment, update: &Update) {
        match update.incarnation.checked_sub(self.me.incarnation) {
            None => {}
            Some(ahead) if ahead > STEPS_MAX => self.stats.refused += 1,
            Some(_) => self.refute(now, update.incarnation),
        }
    }

    pub(super) fn refute(&mut self, now: Moment, incarnation: u64) {
        if now.since(self.refutations.0) >= self.config.probe_interval {
            self.refutations = (now, 0);
            self.local_health = (self.local_health + 1).min(LOCAL_HEALTH_MAX);
        }
        if self.refutations.1 >= limits::REFUTATIONS_MAX {
            self.stats.refused += 1;
            return;
        }
        self.refutations.1 += 1;
        self.me.incarnation = (incarnation + 1).min(limits::INCARNATION_MAX);
        self.me.lamport = self.me.lamport.saturating_add(1);
        self.stats.refuted += 1;
        self.disseminate(now, self.me.node, None);
    }

    fn take_update(&mut self, now: Moment, from: NodeId, mut update: Update) {
        let node = update.node;
        let is_silent = self.suspicions.get(&node).is_some_and(Suspicion::is_seen);
        let is_calling = is_silent && self.is_calling(now, node);
        let Some(member) = self.members.get_mut(&node) else {
            // Unknown nodes that are gone already, or nowhere, are of no interest.
            if update.state.is_present() && !update.rpc_addr.is_empty() {
                self.check(now, update, node == from);
            }
            return;
        };
        if update.rpc_addr.is_empty() {
            update.rpc_addr.clone_from(&member.news.rpc_addr);
            update.api_addr.clone_from(&member.news.api_addr);
        }
        let is_silent = is_silent && !is_calling;
        match member.weigh(now, self.config.probe_interval, &update, is_silent) {
            Weight::Old => {}
            Weight::Confirms => {
                let suspicion = self.suspicions.get_mut(&node);
                if suspicion.is_some_and(|suspicion| suspicion.confirm(update.lamport)) {
                    member.news.lamport = update.lamport;
                    self.disseminate(now, node, Some(from));
                }
            }
            Weight::Unproven => self.check(now, update, node == from),
            Weight::Stands => self.apply_update(now, from, &update),
        }
    }

    /// Believes an update about a member; where the member is stays as it told itself.
    fn apply_update(&mut self, now: Moment, from: NodeId, update: &Update) {
        let (node, state) = (update.node, update.state);
        let Some(Member { news, stepped, .. }) = self.members.get_mut(&node) else { return };
        if update.incarnation > news.incarnation {
            *stepped = Some(now);
        }
        let was = news.state;
        (news.state, news.incarnation, news.lamport) = (state, update.incarnation, update.lamport);
        self.disseminate(now, node, Some(from));
        self.enter(now, node, was, state);
        if state == State::Suspect {
            self.check_suspect(now, node);
            if self.random.below(self.probes.present()) < SECOND_OPINIONS {
                self.probe(now, node);
            }
        }
    }

    /// What goes with a member's new state.
    pub(super) fn enter(&mut self, now: Moment, node: NodeId, was: State, state: State) {
        let Some(member) = self.members.get_mut(&node) else { return };
        let lamport = member.news.lamport;
        if was != state {
            member.since = now;
            match (was.is_present(), state.is_present()) {
                (true, false) => self.mark_gone(node),
                (false, true) => self.mark_present(node),
                _ => {}
            }
            self.outbox.push_back(Output::Event(Event::Changed(node, Some(state))));
        }
        self.suspicions.remove(&node);
        if state == State::Suspect {
            self.begin_suspicion(now, node, lamport);
        }
    }

    fn mark_gone(&mut self, node: NodeId) {
        self.probes.remove(node);
        self.checks.remove(node);
        self.gone.push(node);
    }

    fn mark_present(&mut self, node: NodeId) {
        self.gone.retain(|gone| *gone != node);
        self.probes.add(node, &mut self.random);
    }
}
