//! From silence to death: members suspected, declared dead, forgotten (SWIM, section 4.2).
//!
//! ```text
//! Alive --silent or accused--> Suspect --deadline, silent for this node--> Dead --600 s--> none
//!   ^                             |                                          |
//!   +---- higher incarnation -----+                                          |
//!   +---- answers at its address (verification.rs) --------------------------+
//! ```
//!
//! In: silence and refusals, accusations by others, time. Out: states. Never: counts time in which
//! this node itself did not run as silence of others.

use std::time::Duration;

use super::calls::{Event, Output};
use super::member::State;
use super::suspicion::Suspicion;
use super::{FORGET_AFTER, Swim};
use crate::base::{Moment, NodeId};

/// An accusation is known by its Lamport time, so accusations of different members at one time
/// would count as one: each is a random step ahead of its maker's time.
const ACCUSATION_STEP_MAX: usize = 1024;

impl Swim {
    /// This node finds that a member does not answer. `is_certain`: its port is closed.
    pub(super) fn suspect(&mut self, now: Moment, target: NodeId, is_certain: bool) {
        if self.is_calling(now, target) {
            return self.note_unreachable(target);
        }
        self.note_silent(now, target);
        let Some(member) = self.members.get_mut(&target) else { return };
        let step = 1 + self.random.below(ACCUSATION_STEP_MAX) as u64;
        self.me.lamport = self.me.lamport.saturating_add(step);
        let (was, lamport) = (member.news.state, self.me.lamport);
        if was == State::Alive {
            member.news.state = State::Suspect;
            member.news.lamport = lamport;
            self.disseminate(now, target, None);
            self.enter(now, target, was, State::Suspect);
        }
        let Some(suspicion) = self.suspicions.get_mut(&target) else { return };
        if is_certain {
            suspicion.cap(self.config.probe_interval);
        }
        if suspicion.accuse(now, lamport) {
            if let Some(member) = self.members.get_mut(&target) {
                member.news.lamport = lamport;
            }
            self.disseminate(now, target, None);
        }
        if !is_certain {
            // Lifeguard, section IV.C: the ping carries the accusation, so that the suspect can
            // refute it before it is declared dead.
            self.probe(now, target);
        }
    }

    /// A member is suspected from now on.
    pub(super) fn begin_suspicion(&mut self, now: Moment, node: NodeId, lamport: u64) {
        let sizes = (self.members.len(), self.probes.present());
        let suspicion = Suspicion::new(now, lamport, self.config.probe_interval, sizes);
        self.suspicions.insert(node, suspicion);
    }

    /// Suspects whose time is over are dead; those that this node knows only by hearsay, it asks
    /// first.
    pub(super) fn declare_dead(&mut self, now: Moment) {
        let (mut over, mut heard_of) = (Vec::new(), Vec::new());
        let due = self.suspicions.iter().filter(|(_, it)| it.deadline <= now);
        let due: Vec<(NodeId, bool)> =
            due.map(|(node, _)| (*node, self.is_calling(now, *node))).collect();
        for (node, is_calling) in due {
            let Some(suspicion) = self.suspicions.get_mut(&node) else { continue };
            // A member that calls reads the accusation in the answer to its next call at the
            // latest, and refutes it.
            if suspicion.is_own && !is_calling {
                over.push(node);
            } else {
                suspicion.extend(now);
                heard_of.push(node);
            }
        }
        heard_of.into_iter().for_each(|node| self.probe(now, node));
        over.into_iter().for_each(|node| self.declare(now, node, State::Dead));
    }

    /// A member is dead, or has left: this node found it gone itself.
    pub(super) fn declare(&mut self, now: Moment, node: NodeId, state: State) {
        let Some(member) = self.members.get_mut(&node) else { return };
        let was = std::mem::replace(&mut member.news.state, state);
        self.me.lamport = self.me.lamport.saturating_add(1);
        member.news.lamport = self.me.lamport;
        self.disseminate(now, node, None);
        self.enter(now, node, was, state);
    }

    /// What goes with a member's new state.
    pub(super) fn enter(&mut self, now: Moment, node: NodeId, was: State, state: State) {
        let Some(member) = self.members.get_mut(&node) else { return };
        let lamport = member.news.lamport;
        if was != state {
            member.since = now;
            match (was.is_present(), state.is_present()) {
                (true, false) => self.mark_gone(now, node),
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

    fn mark_gone(&mut self, now: Moment, node: NodeId) {
        if let Some(member) = self.members.get(&node) {
            self.seeds.missed(now, node, &member.news.rpc_addr);
        }
        self.probes.remove(node);
        self.hearsay.remove(node);
        self.gone.push(node);
    }

    fn mark_present(&mut self, node: NodeId) {
        self.gone.retain(|gone| *gone != node);
        self.probes.add(node, &mut self.random);
    }

    /// Forgets members that are gone for longer than [`FORGET_AFTER`].
    pub(super) fn forget(&mut self, now: Moment) {
        let is_old = |node: &NodeId| {
            self.members.get(node).is_none_or(|member| now.since(member.since) > FORGET_AFTER)
        };
        let (old, gone) = std::mem::take(&mut self.gone).into_iter().partition(is_old);
        self.gone = gone;
        Vec::into_iter(old).for_each(|node| self.drop_member(node));
    }

    /// Forgets the member that is gone longest, for a new one; false if none is gone.
    pub(super) fn drop_longest_gone(&mut self) -> bool {
        let since = |node: &NodeId| self.members.get(node).map(|member| member.since);
        let Some(node) = self.gone.iter().copied().min_by_key(since) else { return false };
        self.gone.retain(|gone| *gone != node);
        self.drop_member(node);
        true
    }

    fn drop_member(&mut self, node: NodeId) {
        self.members.remove(&node);
        self.hearsay.remove(node);
        // A rumor is a name: without the member there would be nothing to send under it.
        self.rumors.stop(node);
        self.outbox.push_back(Output::Event(Event::Changed(node, None)));
    }

    /// This node did not run for a while. Acks that reached it meanwhile are still to be read, so
    /// no member is judged before.
    pub(super) fn absorb_stall(&mut self, now: Moment) {
        let interval = self.config.probe_interval;
        let is_late = |due: Moment| now.since(due) > interval / 4;
        if !self.next_deadline().is_some_and(is_late) {
            return;
        }
        // A stall is the slowness that Lifeguard, section IV.A, finds by missed acks.
        self.local_health.worsen();
        self.probes.postpone(now + interval / 2);
        for (_, suspicion) in self.suspicions.iter_mut() {
            suspicion.extend(now);
        }
    }

    /// The length of a protocol period: longer while this node itself is slow.
    pub(super) fn period(&self) -> Duration {
        self.local_health.stretch(self.config.probe_interval)
    }
}
