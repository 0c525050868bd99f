//! Which members may lack claims of the time before they came: those with which no session has
//! ended well since. They own shards from the first moment on, and gateways ask them last.
//!
//! In: members that come and go, sessions that ended well. Out: whether a member, or this node, is
//! new. Never: says so where sets are compared on request alone, as no session would end it.

use std::collections::BTreeSet;

use crate::base::{NodeId, limits};

/// The members that are new, and whether this node is.
#[derive(Debug)]
pub struct Newcomers {
    /// Sets are compared without a request.
    is_on: bool,
    /// This node has had no whole session since its start.
    is_new_here: bool,
    members: BTreeSet<NodeId>,
}

impl Newcomers {
    /// Those of a node that has just started.
    pub(super) fn new(is_on: bool) -> Newcomers {
        Newcomers { is_on, is_new_here: is_on, members: BTreeSet::new() }
    }

    /// A member takes part from now on.
    pub(super) fn handle_back(&mut self, node: NodeId) {
        if self.is_on {
            self.members.insert(node);
        }
        self.check();
    }

    /// A member takes part no longer.
    pub(super) fn handle_gone(&mut self, node: NodeId) {
        self.members.remove(&node);
    }

    /// A session with a member ended, and did all that was to be done: both have the same.
    pub(super) fn handle_converged(&mut self, node: NodeId) {
        self.members.remove(&node);
        self.is_new_here = false;
    }

    /// Whether a member is new.
    pub fn has(&self, node: NodeId) -> bool {
        self.members.contains(&node)
    }

    /// Whether this node is.
    pub fn is_new_here(&self) -> bool {
        self.is_new_here
    }

    fn check(&self) {
        debug_assert!(self.is_on || self.members.is_empty(), "a newcomer for ever");
        debug_assert!(self.members.len() <= limits::MEMBERS_MAX, "{} new", self.members.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_new_until_a_session_with_it_has_ended_well() {
        let (one, other) = (NodeId([1; 16]), NodeId([2; 16]));
        let mut newcomers = Newcomers::new(true);
        newcomers.handle_back(one);
        newcomers.handle_back(other);
        assert!(newcomers.is_new_here() && newcomers.has(one) && newcomers.has(other));
        newcomers.handle_converged(one);
        assert!(!newcomers.is_new_here() && !newcomers.has(one) && newcomers.has(other));
        newcomers.handle_gone(other);
        newcomers.handle_back(one);
        assert!(newcomers.has(one) && !newcomers.has(other), "it was away");
        let mut off = Newcomers::new(false);
        off.handle_back(one);
        assert!(!off.is_new_here() && !off.has(one));
    }
}
