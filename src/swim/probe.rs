//! The probes of one node: calls under way, members that did not answer, and the order in which
//! members are probed.
//!
//! ```text
//! open --ack--> over                        silent_at passes
//! open ---------------------------------------------------> open, silent (a late ack still counts)
//!                        a member was meant: unreached --ack, direct or relayed--> over
//!                                            unreached --deadline--> suspected
//! ```
//!
//! In: calls begun and ended, time. Out: probes that are late, members that no path reached. Never:
//! judges a member, opens a call.

use litemap::LiteMap;

use super::calls::CallNumber;
use crate::base::{Moment, NodeId, Random, limits};

/// What a call is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    /// To find out which node is at a seed's address; no member is judged by it.
    Greet,
    /// To disseminate news; no member is judged by it.
    Disseminate,
    /// To find out whether the target answers: the direct ping of SWIM, section 3.1.
    Judge,
    /// The same, by another member: the `ping-req` of SWIM, section 3.1.
    Indirect,
    /// To verify what was said of the target.
    Verify,
}

impl Purpose {
    /// Whether member lists are compared on the way. A burst or a check would compare what has just
    /// changed, and find differences that rumors are about to end.
    pub(super) fn compares_lists(self) -> bool {
        matches!(self, Purpose::Greet | Purpose::Judge)
    }
}

/// A call under way.
#[derive(Clone, Debug)]
pub(super) struct Probe {
    /// The member it is about; none where an address is asked which node is there.
    pub(super) target: Option<NodeId>,
    /// The address of the target, which may answer there under another id.
    pub(super) address: String,
    /// Decides what a failure means.
    pub(super) purpose: Purpose,
    /// When no answer becomes a failure; `None` when it has, or when only the relay can say so.
    pub(super) silent_at: Option<Moment>,
}

/// A member that did not answer, until others had time to reach it.
#[derive(Debug)]
struct Unreached {
    target: NodeId,
    /// When the relays had their time and the member is suspected.
    deadline: Moment,
}

/// All probes of a node.
#[derive(Debug)]
pub(super) struct Probes {
    /// When the next member is probed. Kept apart from `open`, since a period begins whether or not
    /// the probe of the last one has ended.
    pub(super) next_period: Moment,
    /// Periods since the start; one in a few also revisits a dead member.
    periods: u64,
    /// The last number given to a call: a late end must not be taken for another call's.
    next_number: CallNumber,
    /// Calls whose end is not known, by number.
    open: LiteMap<CallNumber, Probe>,
    /// Members that did not answer and for which relays are asked.
    unreached: Vec<Unreached>,
    /// The members that take part, in this round's order.
    order: Vec<NodeId>,
    /// Index in `order` of the next one to probe.
    at: usize,
}

impl Probes {
    pub(super) fn new(first_period: Moment) -> Probes {
        Probes {
            next_period: first_period,
            periods: 0,
            next_number: 0,
            open: LiteMap::new_vec(),
            unreached: Vec::new(),
            order: Vec::new(),
            at: 0,
        }
    }

    /// A period begins; the next one at `next`. The count of periods so far.
    pub(super) fn begin_period(&mut self, next: Moment) -> u64 {
        self.next_period = next;
        self.periods += 1;
        self.periods
    }

    /// The member to probe in this period. SWIM, section 4.3: each is probed once in a round and
    /// the order is shuffled for every round, which bounds the time to the first detection.
    pub(super) fn next_target(&mut self, random: &mut Random) -> Option<NodeId> {
        if self.at >= self.order.len() {
            random.shuffle(&mut self.order);
            self.at = 0;
        }
        let target = self.order.get(self.at).copied();
        self.at += 1;
        target
    }

    /// A member to probe from now on. SWIM, section 4.3: a new member is put in at a random index,
    /// so that those who learn of it together do not all probe it in one period.
    pub(super) fn add(&mut self, node: NodeId, random: &mut Random) {
        let slot = random.below(self.order.len() + 1);
        self.order.insert(slot, node);
        self.at += usize::from(slot < self.at);
    }

    /// A member that is probed no more.
    pub(super) fn remove(&mut self, node: NodeId) {
        if let Some(slot) = self.order.iter().position(|known| *known == node) {
            self.order.remove(slot);
            // Else the round would pass by the member behind it.
            self.at -= usize::from(slot < self.at);
        }
        self.reached(node);
    }

    /// How many there are to probe: all that take part.
    pub(super) fn present(&self) -> usize {
        self.order.len()
    }

    /// The members that take part, from a random one on: their order is itself random.
    pub(super) fn shuffled(&self, random: &mut Random) -> impl Iterator<Item = NodeId> {
        let first = random.below(self.order.len().max(1));
        self.order[first..].iter().chain(&self.order[..first]).copied()
    }

    /// A call begins; its end is reported by the number.
    pub(super) fn begin(&mut self, probe: Probe) -> CallNumber {
        self.next_number += 1;
        self.open.insert(self.next_number, probe);
        self.next_number
    }

    /// Whether one more call may begin: each holds a connection and a timer of the shell.
    pub(super) fn has_capacity(&self) -> bool {
        self.open.len() < limits::PROBES_MAX
    }

    /// The call has ended.
    pub(super) fn end(&mut self, number: CallNumber) -> Option<Probe> {
        self.open.remove(&number)
    }

    /// A relay reached the target of this call.
    pub(super) fn end_by_relay(&mut self, number: CallNumber) {
        if let Some(target) = self.end(number).and_then(|probe| probe.target) {
            self.reached(target);
        }
    }

    /// The member answers: nothing is open about it but the verification of hearsay, which asks
    /// what it says of itself, not whether it answers.
    pub(super) fn reached(&mut self, node: NodeId) {
        self.unreached.retain(|unreached| unreached.target != node);
        self.open.retain(|_, probe| probe.purpose == Purpose::Verify || probe.target != Some(node));
    }

    /// Relays are asked for a member, until `deadline`.
    pub(super) fn begin_relay(&mut self, target: NodeId, deadline: Moment) {
        self.unreached.push(Unreached { target, deadline });
    }

    /// Whether relays are asked for it already.
    pub(super) fn is_relayed(&self, node: NodeId) -> bool {
        self.unreached.iter().any(|unreached| unreached.target == node)
    }

    /// Direct probes whose time is over; a late answer to them still counts.
    pub(super) fn take_silent(&mut self, now: Moment) -> Vec<Probe> {
        let late = self
            .open
            .iter_mut()
            .map(|(_, probe)| probe)
            .filter(|probe| probe.silent_at.is_some_and(|at| at <= now));
        let silent: Vec<Probe> = late
            .map(|probe| {
                probe.silent_at = None;
                probe.clone()
            })
            .collect();
        // A late answer from an address without a member changes nothing; the call would only
        // count against `limits::PROBES_MAX`.
        self.open.retain(|_, probe| probe.target.is_some() || probe.silent_at.is_some());
        silent
    }

    /// Members that no path reached in time.
    pub(super) fn take_unreached(&mut self, now: Moment) -> Vec<NodeId> {
        let over = self.unreached.iter().filter(|unreached| unreached.deadline <= now);
        let targets: Vec<NodeId> = over.map(|unreached| unreached.target).collect();
        targets.iter().for_each(|target| self.reached(*target));
        targets
    }

    /// Nothing that is waited for is late before `at`.
    pub(super) fn postpone(&mut self, at: Moment) {
        let silent = self.open.iter_mut().filter_map(|(_, probe)| probe.silent_at.as_mut());
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

    /// The invariants.
    pub(super) fn check(&self) {
        debug_assert!(self.open.len() <= limits::PROBES_MAX, "{} calls", self.open.len());
        // The last one may be taken from an empty order, too.
        debug_assert!(self.at <= self.order.len() + 1, "{} of {}", self.at, self.order.len());
        let last = self.open.last().map(|(number, _)| *number);
        debug_assert!(last.is_none_or(|last| last <= self.next_number), "a call without a number");
        debug_assert!(
            self.unreached.len() <= self.order.len(),
            "a relay for a member that is gone"
        );
    }
}
