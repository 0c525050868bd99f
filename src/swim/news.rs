//! What updates of others do: members suspected, believed dead, back again; refutations of this
//! node's own death (SWIM, section 4.2).
//!
//! In: updates of others. Out: members in a new state, rumors, hearsay that needs proof. Never:
//! lets an update that another node passes on raise a member's incarnation by more than a step in a
//! probe interval.

use super::Swim;
use super::calls::{Event, Output};
use super::duplicate::{Due, Finding};
use super::member::{Member, STEPS_MAX, State, Update, Weight};
use super::probe::Purpose;
use super::suspicion::Suspicion;
use crate::base::{Moment, NodeId, limits};

/// Members that ask a new suspect themselves, of all that hear of the suspicion: enough for the
/// confirmations that Lifeguard, section IV.B, counts, and not all n at once.
const SECOND_OPINIONS: usize = 5;

impl Swim {
    /// Takes what `from` passes on. All of it is hearsay, what `from` says of itself included,
    /// since any process may write any id into a ping.
    pub(super) fn take_updates(&mut self, now: Moment, from: NodeId, updates: Vec<Update>) {
        for update in updates {
            // Lamport times only distinguish accusations: one far ahead moves no clock, or one
            // update would bring it to its end.
            if update.lamport.saturating_sub(self.me.lamport) > limits::LAMPORT_AHEAD_MAX {
                self.stats.refused += 1;
            } else {
                self.me.lamport = self.me.lamport.max(update.lamport);
            }
            if update.incarnation > limits::INCARNATION_MAX {
                self.stats.refused += 1;
            } else if update.node == self.me.node && from == self.me.node {
                self.verify_duplicate(now, from, update);
            } else if update.node == self.me.node {
                self.take_update_of_self(now, update);
            } else {
                self.take_update(now, from, update);
            }
        }
        self.me.lamport = self.me.lamport.saturating_add(1);
    }

    /// A node that is believed dead and lives says so by a higher incarnation (SWIM, section 4.2).
    fn take_update_of_self(&mut self, now: Moment, update: Update) {
        if update.incarnation < self.me.incarnation || self.me.state == State::Left {
            return;
        }
        if update.state != State::Alive {
            return self.refute_update(now, &update);
        }
        // News of an earlier life, or another node with this id: the address distinguishes them.
        if !update.rpc_addr.is_empty() && update.rpc_addr != self.me.rpc_addr {
            self.verify(now, update, false);
        }
    }

    /// Refutes an update about this node, unless its incarnation is too far ahead to be of this
    /// node. A member that pings it follows its own incarnation in that case, so it need not run
    /// after one that was made up.
    pub(super) fn refute_update(&mut self, now: Moment, update: &Update) {
        match update.incarnation.checked_sub(self.me.incarnation) {
            None => {}
            Some(ahead) if ahead > STEPS_MAX => self.stats.refused += 1,
            Some(_) => self.refute(now, update.incarnation),
        }
    }

    fn refute(&mut self, now: Moment, incarnation: u64) {
        if !self.local_health.take_refutation(now, self.config.probe_interval) {
            self.stats.refused += 1;
            return;
        }
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
            // Unknown nodes that are gone already, or without an address, are of no interest.
            if update.state.is_present() && !update.rpc_addr.is_empty() {
                self.verify(now, update, node == from);
            }
            return;
        };
        // A node of the standard sends no addresses: that it is elsewhere does not follow.
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
                    // Lifeguard, section IV.B: the first K confirmations are gossiped on as if they
                    // were new, so that the timeouts of all members shrink together.
                    member.news.lamport = update.lamport;
                    self.disseminate(now, node, Some(from));
                }
            }
            Weight::Unproven => self.verify(now, update, node == from),
            Weight::Stands => self.apply_update(now, from, &update),
        }
    }

    /// Believes an update about a member; its addresses stay as it gave them itself.
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
            self.verify_suspicion(now, node);
            if self.random.below(self.probes.present()) < SECOND_OPINIONS {
                self.probe(now, node);
            }
        }
    }

    /// A node introduces itself under this node's id.
    fn verify_duplicate(&mut self, now: Moment, from: NodeId, update: Update) {
        let is_somewhere = update.state == State::Alive && !update.rpc_addr.is_empty();
        if is_somewhere && !self.duplicates.is_at(&update.rpc_addr) {
            self.verify(now, update, from == self.me.node);
        }
    }

    /// Another process answered under this node's id at that address.
    pub(super) fn note_duplicate(&mut self, now: Moment, address: &str) {
        match self.duplicates.handle_answer(now, address) {
            Finding::Known => {}
            Finding::Refute => self.refute(now, self.me.incarnation),
            Finding::Certain(address) => {
                self.outbox.push_back(Output::Event(Event::Duplicate(Some(address))));
            }
        }
    }

    /// Looks whether the duplicate is still there.
    pub(super) fn ping_duplicate(&mut self, now: Moment) {
        match self.duplicates.handle_timeout(now) {
            None | Some(Due::Gone(false)) => {}
            Some(Due::Gone(true)) => {
                self.outbox.push_back(Output::Event(Event::Duplicate(None)));
            }
            Some(Due::Ping(address)) => {
                let updates = self.news(None);
                self.ping(now, (Purpose::Disseminate, None), address, updates);
            }
        }
    }
}
