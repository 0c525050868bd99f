//! News to pass on: each a limited number of times, the least told first, the newest first among
//! equals.
//!
//! In: members about whom there is news. Out: whom to tell of in the next message. Never: keeps
//! what the news is; that is read from the members when it is told, so that old news never spreads.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::base::NodeId;

/// News that is still told.
#[derive(Debug, Default)]
pub(super) struct Rumors {
    about: BTreeMap<NodeId, Rumor>,
    by_need: BTreeSet<(Need, NodeId)>,
    made: u64,
}

/// Times told, then age.
type Need = (u32, Reverse<u64>);

#[derive(Clone, Copy, Debug)]
struct Rumor {
    need: Need,
    from: Option<NodeId>,
}

impl Rumors {
    /// There is something new about `node`, which `from` told.
    pub(super) fn start(&mut self, node: NodeId, from: Option<NodeId>) {
        self.stop(node);
        self.made += 1;
        let need = (0, Reverse(self.made));
        self.about.insert(node, Rumor { need, from });
        self.by_need.insert((need, node));
    }

    /// Nothing is to be said about `node` any more.
    pub(super) fn stop(&mut self, node: NodeId) {
        if let Some(old) = self.about.remove(&node) {
            self.by_need.remove(&(old.need, node));
        }
    }

    /// Members of whom `to` is to hear: not itself, nor those of whom it told us.
    pub(super) fn for_peer(&self, to: Option<NodeId>) -> impl Iterator<Item = NodeId> {
        let nodes = self.by_need.iter().map(|(_, node)| *node);
        let is_known_to =
            move |node| to.is_some() && (to == Some(node) || self.about[&node].from == to);
        nodes.filter(move |node| !is_known_to(*node))
    }

    /// Whether there is news that nobody was told.
    pub(super) fn has_unsent(&self) -> bool {
        self.by_need.first().is_some_and(|((sent, _), _)| *sent == 0)
    }

    /// `node` was told of once more; after `limit` times everybody has heard of it.
    pub(super) fn count_sent(&mut self, node: NodeId, limit: u32) {
        let Some(rumor) = self.about.get_mut(&node) else { return };
        self.by_need.remove(&(rumor.need, node));
        rumor.need.0 += 1;
        if rumor.need.0 < limit {
            self.by_need.insert((rumor.need, node));
        } else {
            self.about.remove(&node);
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.about.len()
    }
}
