//! Suspects, and how long they have to refute that: shorter with each independent confirmation
//! (Lifeguard, section IV.B).
//!
//! In: silence and refusals, accusations by others, time. Out: members suspected, believed dead,
//! forgotten. Never: takes time in which this node itself did not run for silence of others.

use std::time::Duration;

use super::member::State;
use super::{Event, LOCAL_HEALTH_MAX, Output, Swim, scale};
use crate::base::exact::log2;
use crate::base::{Moment, NodeId};

/// Confirmations that shorten a suspicion to its shortest.
const CONFIRMATIONS: usize = 3;
/// Probe intervals that the shortest suspicion takes in a cluster of ten; it grows as rounds of
/// gossip do.
const SHORTEST: f64 = 1.65;
/// How many times the shortest a suspicion lasts that nobody confirms.
const SPAN: u64 = 5;
/// Accusations of different members at one Lamport time would count as one, so each is a step of
/// its own ahead of its maker's time.
const ACCUSATION_STEP_MAX: usize = 1024;
/// How long the dead stay in the list, so that late news of them finds them dead.
pub(super) const FORGET_AFTER: Duration = Duration::from_secs(600);

/// Why a member is suspected, and until when.
#[derive(Clone, Debug)]
pub(super) struct Suspicion {
    began: Moment,
    /// When those who said so of their own knowledge did, in Lamport time: that tells them apart.
    accusations: heapless::Vec<u64, { CONFIRMATIONS + 1 }>,
    /// Whether one of them is this node's.
    is_own: bool,
    /// Whether a ping of this node's, by which it checked the hearsay, was not answered.
    pub(super) is_silent: bool,
    /// Bounds of its length, in microseconds.
    shortest: u64,
    longest: u64,
    /// Confirmations that bring it down to the shortest.
    enough: usize,
    /// However often it is confirmed, it is not over before.
    floor: Moment,
    /// When it is over.
    pub(super) deadline: Moment,
}

impl Suspicion {
    fn new(began: Moment, lamport: u64, shortest: u64, enough: usize) -> Self {
        let mut new = Suspicion {
            began,
            accusations: heapless::Vec::from_array([lamport]),
            is_own: false,
            is_silent: false,
            shortest,
            longest: SPAN * shortest,
            enough,
            floor: began,
            deadline: began,
        };
        new.set_deadline();
        new
    }

    /// False if that accusation is counted, or enough are.
    pub(super) fn confirm(&mut self, lamport: u64) -> bool {
        let is_news = self.accusations.len() <= self.enough
            && !self.accusations.contains(&lamport)
            && self.accusations.push(lamport).is_ok();
        if is_news {
            self.set_deadline();
        }
        is_news
    }

    /// This node's own accusation counts once, and leaves time to refute it; false if it did, or
    /// enough are.
    fn accuse(&mut self, now: Moment, lamport: u64) -> bool {
        if std::mem::replace(&mut self.is_own, true) {
            return false;
        }
        self.extend(now);
        self.confirm(lamport)
    }

    /// Whether this node found the member silent itself.
    pub(super) fn is_seen(&self) -> bool {
        self.is_own || self.is_silent
    }

    /// When this node checks for itself whether the member answers: late enough for a refutation to
    /// have come, and before others can have declared it dead.
    pub(super) fn check_at(&self) -> Moment {
        Moment(self.began.0 + self.shortest / 2)
    }

    /// The member is known to be gone but for its word: nothing more has to confirm it.
    fn cap(&mut self, length: Duration) {
        self.longest = self.longest.min(length.as_micros() as u64);
        self.shortest = self.longest.min(self.shortest);
        self.set_deadline();
    }

    /// It lasts as long as the shortest from `now` on.
    fn extend(&mut self, now: Moment) {
        self.floor = Moment(now.0 + self.shortest);
        self.set_deadline();
    }

    fn set_deadline(&mut self) {
        let confirmations = (self.accusations.len() - 1) as f64;
        let part = match self.enough {
            0 => 1.0,
            enough => (log2(confirmations + 1.0) / log2(enough as f64 + 1.0)).min(1.0),
        };
        let length = self.longest as f64 - part * (self.longest - self.shortest) as f64;
        self.deadline = Moment(self.began.0 + length as u64).max(self.floor);
    }
}

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
            // It hears what is held against it, and may refute it, until it is called dead.
            self.probe(now, target);
        }
    }

    /// A member is suspected from now on.
    pub(super) fn begin_suspicion(&mut self, now: Moment, node: NodeId, lamport: u64) {
        let enough = CONFIRMATIONS.min(self.probes.present().saturating_sub(2));
        let interval = self.config.probe_interval.as_micros() as f64;
        let shortest = (interval * SHORTEST * scale(self.members.len())) as u64;
        self.suspicions.insert(node, Suspicion::new(now, lamport, shortest, enough));
    }

    /// Suspects whose time is over are dead; whom this node knows by hearsay only, it asks first.
    pub(super) fn declare_dead(&mut self, now: Moment) {
        let (mut over, mut heard_of) = (Vec::new(), Vec::new());
        let due = self.suspicions.iter().filter(|(_, it)| it.deadline <= now);
        let due: Vec<(NodeId, bool)> =
            due.map(|(node, _)| (*node, self.is_calling(now, *node))).collect();
        for (node, is_calling) in due {
            let Some(suspicion) = self.suspicions.get_mut(&node) else { continue };
            // One that calls has heard of it by now, or does at its next call, and refutes it.
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

    /// The dead of long ago are forgotten.
    pub(super) fn forget(&mut self, now: Moment) {
        let is_old = |node: &NodeId| {
            self.members.get(node).is_none_or(|member| now.since(member.since) > FORGET_AFTER)
        };
        let (old, gone) = std::mem::take(&mut self.gone).into_iter().partition(is_old);
        self.gone = gone;
        Vec::into_iter(old).for_each(|node| self.drop_member(node));
    }

    /// Makes room for one more member by the one that is gone longest; false if nobody is gone.
    pub(super) fn drop_longest_gone(&mut self) -> bool {
        let since = |node: &NodeId| self.members.get(node).map(|member| member.since);
        let Some(node) = self.gone.iter().copied().min_by_key(since) else { return false };
        self.gone.retain(|gone| *gone != node);
        self.drop_member(node);
        true
    }

    fn drop_member(&mut self, node: NodeId) {
        self.members.remove(&node);
        self.checks.remove(node);
        self.rumors.stop(node);
        self.outbox.push_back(Output::Event(Event::Changed(node, None)));
    }

    /// This node did not run for a while: what reached it meanwhile is still to be read, so nobody
    /// is judged before it had time to.
    pub(super) fn absorb_stall(&mut self, now: Moment) {
        let interval = self.config.probe_interval;
        let is_late = |due: Moment| now.since(due) > interval / 4;
        if !self.next_deadline().is_some_and(is_late) {
            return;
        }
        self.local_health = (self.local_health + 1).min(LOCAL_HEALTH_MAX);
        self.probes.postpone(now + interval / 2);
        for suspicion in self.suspicions.values_mut() {
            suspicion.extend(now);
        }
    }
}
