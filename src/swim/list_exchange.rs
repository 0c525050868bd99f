//! Member lists that differ, exchanged: the callee's by its answer, the caller's by what it lacks.
//!
//! In: digests of others, and their lists. Out: this node's list, and what another one lacks.
//! Never: takes a part of a list for the list, sends lists beyond the rate but to a node that knows
//! no other.

use std::iter::once;

use super::Swim;
use super::dissemination::WELCOME_BYTES_MAX;
use super::lists::{OtherList, entry};
use super::member::{Member, State, Update};
use super::probe::Purpose;
use crate::base::{Moment, NodeId};

impl Swim {
    /// A digest of the members that take part, this node included; none of one that leaves.
    pub fn digest(&self) -> Option<u64> {
        (self.me.state == State::Alive).then_some(self.lists.digest)
    }

    /// What is known of `node`, this one perhaps, has changed.
    pub(super) fn recount(&mut self, node: NodeId) {
        let (was, is) = match self.members.get_mut(&node) {
            Some(member) => {
                let is = member.entry();
                (std::mem::replace(&mut member.counted, is), is)
            }
            None if node == self.me.node => {
                let is = entry(node, self.me.incarnation);
                (std::mem::replace(&mut self.lists.own, is), is)
            }
            None => return,
        };
        self.lists.change(was, is);
    }

    /// Whether the answer to a caller that says this id and incarnation of itself, and `digest` of
    /// its list, is this node's whole list.
    pub(super) fn owes_list(&mut self, now: Moment, said: (NodeId, u64), digest: u64) -> bool {
        if self.digest().is_none_or(|own| own == digest) {
            return false;
        }
        // One that knows no other has just started, whatever it was known as.
        let is_new = digest == entry(said.0, said.1);
        is_new || self.lists.take(now, self.members.len() + 1)
    }

    /// The digest of a list that another node sends.
    pub(super) fn digest_of(&self, updates: &[Update]) -> u64 {
        let is_plain = |node| self.members.get(&node).is_some_and(|member| member.is_plain);
        let present = updates.iter().filter(|update| update.state.is_present());
        let entries = present.map(|Update { node, incarnation, .. }| {
            entry(*node, if is_plain(*node) { 0 } else { *incarnation })
        });
        entries.fold(0, u64::wrapping_add)
    }

    /// The list that came with an answer and its `digest`, if it is whole and another than this
    /// node's: what it says of each member.
    pub(super) fn other_list(&self, updates: &[Update], digest: u64) -> Option<OtherList> {
        let is_other = self.digest().is_some_and(|own| own != digest);
        let is_whole = || self.digest_of(updates) == digest;
        (is_other && is_whole()).then(|| {
            let mut ranks = OtherList::new();
            ranks.extend(updates.iter().map(|update| (update.node, update.rank())));
            ranks
        })
    }

    /// Sends the node at `address` what its list lacks.
    pub(super) fn send_missing(&mut self, now: Moment, address: String, theirs: &OtherList) {
        let is_missing = |news: &&Update| match theirs.get(&news.node) {
            Some(rank) => news.rank() > *rank,
            None => news.state.is_present(),
        };
        let missing = self.members.values().map(|member| &member.news).filter(is_missing);
        let mut bytes = 0;
        let missing = missing.cloned().take_while(|update| {
            bytes += update.wire_bytes();
            bytes <= WELCOME_BYTES_MAX
        });
        let missing: Vec<Update> = missing.collect();
        if !missing.is_empty() && self.lists.take(now, missing.len()) {
            let updates = once(self.me.clone()).chain(missing).collect();
            self.ping(now, (Purpose::Disseminate, None), address, updates);
        }
    }

    /// The invariants.
    pub(super) fn check_lists(&self) {
        // A walk over more members after each event would take most of the time of a simulation.
        let members = self.members.values();
        let sum = || members.map(Member::entry).fold(self.lists.own, u64::wrapping_add);
        debug_assert!(self.members.len() > 64 || self.lists.digest == sum(), "an entry is missed");
    }
}
