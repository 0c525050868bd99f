//! News to pass on: each a limited number of times, the least told first.
//!
//! In: members about whom there is news. Out: whom to tell of in the next message. Never: keeps
//! what the news is; that is read from the members when it is told, so that old news never spreads.

use std::collections::BTreeMap;

use crate::base::NodeId;

/// News that is still told.
#[derive(Debug, Default)]
pub(super) struct Rumors {
    about: BTreeMap<NodeId, Rumor>,
    made: u64,
}

#[derive(Clone, Copy, Debug)]
struct Rumor {
    told: u32,
    number: u64,
}

impl Rumors {
    /// There is something new about `node`.
    pub(super) fn start(&mut self, node: NodeId) {
        self.made += 1;
        self.about.insert(node, Rumor { told: 0, number: self.made });
    }

    /// Nothing is to be said about `node` any more.
    pub(super) fn stop(&mut self, node: NodeId) {
        self.about.remove(&node);
    }

    /// Members to tell of, the least told first, the newest first among equals.
    pub(super) fn by_need(&self) -> Vec<NodeId> {
        let mut order: Vec<_> = self.about.iter().collect();
        order.sort_unstable_by_key(|(_, rumor)| (rumor.told, u64::MAX - rumor.number));
        order.into_iter().map(|(node, _)| *node).collect()
    }

    /// `node` was told of once more; after `limit` times everybody has heard of it.
    pub(super) fn count_told(&mut self, node: NodeId, limit: u32) {
        if let Some(rumor) = self.about.get_mut(&node) {
            rumor.told += 1;
            if rumor.told >= limit {
                self.about.remove(&node);
            }
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.about.len()
    }
}
