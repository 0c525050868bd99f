//! Members that call this node, and that this node cannot call: behind NAT or a firewall.
//!
//! ```text
//! reachable ----own call fails, the member has called since----> unreachable
//! unreachable --own call is answered--> reachable
//! unreachable --no call within the gap--> suspected
//! ```
//!
//! In: pings of members, calls to them that failed or were answered. Out: which members are alive
//! by their own calls alone. Such a member is not suspected while its calls come; it is chosen for
//! nothing that needs a dial. That is a view of this node: another one may well reach it.
//!
//! Never: takes a call from before the silence for a sign of life.

use std::time::Duration;

use super::Swim;
use super::calls::{Event, Output};
use super::member::{State, Update};
use crate::base::{Moment, NodeId};

/// Rounds in which a member calls each other one at least once: its order is shuffled anew for each
/// of them, so that a call may be the first of one and the next the last of the following (SWIM,
/// section 4.3: at most 2n - 1 periods apart).
const ROUNDS: u32 = 2;
/// Probe intervals beyond these: the caller may be slow, or late.
const SPARE: u32 = 4;

impl Swim {
    /// A member pings this node. It counts as a sign of life only if it says that it is at the
    /// address that is known: any process may write the member's id into a ping.
    pub(super) fn note_call(&mut self, now: Moment, said: &Update) {
        let Some(member) = self.members.get_mut(&said.node) else { return };
        let news = &member.news;
        let is_it = said.state == State::Alive && said.incarnation >= news.incarnation;
        if is_it && said.rpc_addr == news.rpc_addr {
            member.called = Some(now);
        }
    }

    /// Whether a member that this node found silent has called since, and does so still. A node
    /// that is asked to probe it answers by this: two members that no node can call would else
    /// suspect each other, and each take the other's refutation for hearsay that it cannot check.
    pub fn is_calling(&self, now: Moment, node: NodeId) -> bool {
        let Some(member) = self.members.get(&node) else { return false };
        let (Some(silent), Some(called)) = (member.silent, member.called) else { return false };
        called > silent && now.since(called) <= self.call_gap()
    }

    /// This node's own call to a member failed.
    pub(super) fn note_silent(&mut self, now: Moment, node: NodeId) {
        if let Some(member) = self.members.get_mut(&node) {
            // The first failure stays: a call since then shows that the member lives and that only
            // the way to it is closed.
            member.silent.get_or_insert(now);
        }
    }

    /// A member that calls does not answer, once more.
    pub(super) fn note_unreachable(&mut self, node: NodeId) {
        self.set_reachable(node, false);
    }

    /// A member answered a ping of this node.
    pub(super) fn note_reached(&mut self, node: NodeId) {
        if let Some(member) = self.members.get_mut(&node) {
            member.silent = None;
        }
        self.set_reachable(node, true);
    }

    fn set_reachable(&mut self, node: NodeId, is_reachable: bool) {
        let Some(member) = self.members.get_mut(&node) else { return };
        if std::mem::replace(&mut member.is_reachable, is_reachable) != is_reachable {
            self.outbox.push_back(Output::Event(Event::Reachable(node, is_reachable)));
        }
    }

    /// How long a member that lives may take from one call of this node to the next.
    fn call_gap(&self) -> Duration {
        let members = u32::try_from(self.probes.present()).unwrap_or(u32::MAX).saturating_add(1);
        let intervals = members.saturating_mul(ROUNDS).saturating_add(SPARE);
        self.config.probe_interval.saturating_mul(intervals)
    }
}
