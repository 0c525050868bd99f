//! What nodes want of the world, carried out; what is looked at after each of their steps.
//!
//! In: effects. Out: calls, answers, work for disks, timers; the first bound that does not hold.
//! Never: decides for a node.

use stemedb_edge::base::{Moment, limits};
use stemedb_edge::swim::{self, State};

use super::events::{Event, event_number};
use super::{SECOND, World};
use crate::byzantine::false_answer;
use crate::node::{Answer, Effect};

impl World {
    /// Carries out what a node wants, and looks at its bounds.
    pub(super) fn serve(&mut self, from: usize) {
        let now = Moment(self.now);
        let member = &mut self.members[from];
        let Some(node) = &mut member.node else { return };
        let effects = node.take_effects(now, &mut member.disk);
        for effect in effects {
            match effect {
                Effect::Call(call) => self.call(from, call),
                Effect::Answer(request, answer) => {
                    let answer = match answer {
                        Answer::Sync(reply) if self.members[from].is_byzantine => {
                            Answer::Sync(false_answer(reply, &mut self.random))
                        }
                        honest => honest,
                    };
                    if let Some((caller, _)) = self.requests.remove(&request) {
                        let node = self.members[from].node.as_ref().expect("it answers");
                        let tag = node.tag();
                        let event = Event::Answer { to: caller, call: request, answer, tag };
                        self.send(from, caller, event);
                    }
                }
                Effect::Work => {
                    let slow = self.members[from].slow_disk;
                    let usual = self.flush + self.random.below(5000) as u64;
                    let took = if slow { SECOND } else { usual };
                    let life = self.members[from].life;
                    self.schedule(self.now + took, Event::DiskDone { node: from, life });
                }
                Effect::Answered(number, is_taken) => {
                    let digest = self.pending.remove(&number).expect("a claim of ours");
                    if is_taken {
                        self.acknowledged.insert(digest);
                    }
                }
                Effect::Event(event) => {
                    self.accusations += u64::from(self.accuses_the_living(&event));
                    self.harms += u64::from(self.harms_the_living(&event));
                    self.say(from, &event);
                    self.note(event_number(&event), from);
                }
                Effect::Tagged(tag) => {
                    self.say(from, &tag);
                    self.note(7, from);
                    let kept = &mut self.members[from].cluster;
                    if kept.is_some() && *kept != tag.settled() {
                        self.broken = Some(format!("node {from} changes from {kept:?} to {tag:?}"));
                    }
                    *kept = tag.settled();
                }
                Effect::Accused(address, why) if !self.had_byzantine => {
                    self.broken = Some(format!("node {from} accuses {address}: {why:?}"));
                }
                Effect::Accused(..) => {}
                Effect::Sealed(request, digest) => self.note_sealed(request, digest),
                Effect::Vouched(digest) => self.note_vouched(from, digest),
                Effect::Replied(request, answer) => self.replied(from, request, answer),
            }
        }
        self.check_bounds(from);
        self.set_timer(from);
    }

    /// Whether this is held against a node that runs. Of the dead a last message may still come.
    pub(super) fn accuses_the_living(&self, event: &swim::Event) -> bool {
        let swim::Event::Changed(id, Some(State::Suspect | State::Dead)) = event else {
            return false;
        };
        self.members.iter().any(|member| member.id == *id && member.node.is_some())
    }

    /// Whether a node that runs is given up, or looked for where it is not.
    pub(super) fn harms_the_living(&self, event: &swim::Event) -> bool {
        let (id, address) = match event {
            swim::Event::Changed(id, Some(State::Dead | State::Left) | None) => (id, None),
            swim::Event::Moved(id, address) => (id, Some(address)),
            _ => return false,
        };
        let mut living = self.members.iter().filter(|member| member.node.is_some());
        living.any(|member| member.id == *id && Some(&member.address) != address)
    }

    pub(super) fn set_timer(&mut self, of: usize) {
        let member = &mut self.members[of];
        let Some(node) = &member.node else { return };
        let is_due = node.replica.wants_write(Moment(self.now)).then_some(Moment::ZERO);
        let Some(deadline) = is_due.or(node.next_deadline()) else { return };
        let at = deadline.0.max(self.now + 1);
        if at < member.timer {
            member.timer = at;
            let life = member.life;
            self.schedule(at, Event::Timer { node: of, life });
        }
    }

    pub(super) fn check_bounds(&mut self, of: usize) {
        let stalled_until = self.members[of].stalled_until;
        let count = self.members.len();
        let Some(node) = &mut self.members[of].node else { return };
        if let Some((why, since)) = node.take_broken()
            && since.is_none_or(|since| since.0 > stalled_until)
        {
            self.broken = Some(format!("node {of}: {why}"));
        }
        let cluster = node.replica.cluster();
        let bounds = [
            ("claims waiting for the disk", node.replica.queue().len(), limits::COMMIT_QUEUE_MAX),
            ("members", cluster.swim().members().count(), count),
            ("rumors", cluster.swim().rumors(), count),
            ("pushes waiting", cluster.gossip().waiting(), count * limits::GOSSIP_QUEUE_MAX),
            ("probes under way", cluster.swim().calls_under_way(), limits::PROBES_MAX),
        ];
        if let Some(stamp) = node.far_stamp {
            self.broken = Some(format!("node {of} made a stamp far ahead of its clock: {stamp:?}"));
        }
        for (what, is, may_be) in bounds {
            if is > may_be {
                self.broken = Some(format!("node {of}: {is} {what}, at most {may_be}"));
            }
        }
    }
}
