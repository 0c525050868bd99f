//! Which peers lack `ProbeFor`, so that no call is spent on them.
//!
//! In: calls that a peer does not know. Out: whether to make one. Never: keeps more addresses than
//! a cluster has members.

use std::collections::BTreeSet;

use crate::base::limits;

/// What peers cannot do, as their answers showed.
#[derive(Debug, Default)]
pub(super) struct Capabilities {
    /// Addresses of nodes of the standard, which has no probes on another's behalf. By address: the
    /// answer UNIMPLEMENTED says what listens there, not under which id.
    without_probe_for: BTreeSet<String>,
}

impl Capabilities {
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
}
