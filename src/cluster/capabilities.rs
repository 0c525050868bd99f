//! What peers lack: `ProbeFor`, so that no call is spent on them; the digest of the set in answers
//! to pings, by which this kind of node is known as one that passes assertions on.
//!
//! In: calls that a peer does not know, answers to pings. Out: whether to make such a call, who
//! passes nothing on. Never: keeps more of them than a cluster has members.

use std::collections::BTreeSet;

use crate::base::{NodeId, limits};

/// What peers cannot do, as their answers showed.
#[derive(Debug, Default)]
pub(super) struct Capabilities {
    /// Addresses of nodes of the standard, which has no probes on another's behalf. By address: the
    /// answer UNIMPLEMENTED says what listens there, not under which id.
    without_probe_for: BTreeSet<String>,
    /// Nodes whose last answer to a ping had no digest. A member has answered a ping, so all nodes
    /// know it from the beginning and make the same trees.
    plain: BTreeSet<NodeId>,
}

impl Capabilities {
    /// A node answered a ping, with a digest of its set or without. Out: whether that is new.
    pub(super) fn note_digest(&mut self, node: NodeId, has_digest: bool) -> bool {
        match has_digest {
            true => self.plain.remove(&node),
            false => self.plain.len() < limits::MEMBERS_MAX && self.plain.insert(node),
        }
    }

    /// A member is forgotten.
    pub(super) fn forget(&mut self, node: NodeId) {
        self.plain.remove(&node);
    }

    /// The nodes that pass nothing on.
    pub(super) fn plain(&self) -> &BTreeSet<NodeId> {
        &self.plain
    }

    /// Whether the peer at this address can be asked to probe for this node.
    pub(super) fn has_probe_for(&self, address: &str) -> bool {
        !self.without_probe_for.contains(address)
    }

    /// The peer at this address does not know the call.
    pub(super) fn note_no_probe_for(&mut self, address: &str) {
        if self.without_probe_for.len() < limits::MEMBERS_MAX {
            self.without_probe_for.insert(address.to_owned());
        }
        let count = self.without_probe_for.len();
        debug_assert!(count <= limits::MEMBERS_MAX, "{count} addresses");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_peer_lacks_is_remembered_by_address_and_bounded() {
        let mut capabilities = Capabilities::default();
        assert!(capabilities.has_probe_for("a:1"));
        capabilities.note_no_probe_for("a:1");
        assert!(!capabilities.has_probe_for("a:1") && capabilities.has_probe_for("b:1"));
        for number in 0..2 * limits::MEMBERS_MAX {
            capabilities.note_no_probe_for(&number.to_string());
        }
        assert_eq!(capabilities.without_probe_for.len(), limits::MEMBERS_MAX);
        assert!(!capabilities.has_probe_for("a:1"));
    }
    #[test]
    fn a_node_is_plain_until_it_answers_with_a_digest() {
        let mut capabilities = Capabilities::default();
        let node = |number: u128| NodeId(number.to_be_bytes());
        assert!(!capabilities.note_digest(node(1), true));
        assert!(
            capabilities.note_digest(node(1), false) && !capabilities.note_digest(node(1), false)
        );
        assert!(capabilities.plain().contains(&node(1)));
        assert!(capabilities.note_digest(node(1), true) && capabilities.plain().is_empty());
        for number in 0..2 * limits::MEMBERS_MAX as u128 {
            capabilities.note_digest(node(number), false);
        }
        assert_eq!(capabilities.plain().len(), limits::MEMBERS_MAX);
        capabilities.forget(node(1));
        assert!(!capabilities.plain().contains(&node(1)));
    }
}
