//! News to pass on: each a limited number of times, the least sent first, the newest first among
//! equals (SWIM, section 4.1).
//!
//! In: members about which there is news. Out: members to put into the next message. Never: keeps
//! what the news is; that is read from the members when it is sent, so that old news never spreads.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use litemap::LiteMap;

use crate::base::NodeId;
use crate::base::exact::log2;

/// News that is still sent.
#[derive(Debug, Default)]
pub(super) struct Rumors {
    /// By member: a second piece of news about one replaces the first.
    about: LiteMap<NodeId, Rumor>,
    /// The same by need, so that a message takes the first few without a sort.
    by_need: BTreeSet<(Need, NodeId)>,
    /// Rumors so far: the age of each.
    made: u64,
}

/// Times sent, then age.
type Need = (u32, Reverse<u64>);

#[derive(Clone, Copy, Debug)]
struct Rumor {
    need: Need,
    /// The member that sent it: it need not be sent its own news.
    from: Option<NodeId>,
}

impl Rumors {
    /// There is something new about `node`, which `from` sent.
    pub(super) fn start(&mut self, node: NodeId, from: Option<NodeId>) {
        self.stop(node);
        self.made += 1;
        let need = (0, Reverse(self.made));
        self.about.insert(node, Rumor { need, from });
        self.by_need.insert((need, node));
        self.check();
    }

    /// Nothing is to be said about `node` any more.
    pub(super) fn stop(&mut self, node: NodeId) {
        if let Some(old) = self.about.remove(&node) {
            self.by_need.remove(&(old.need, node));
        }
    }

    /// Members about which `to` is sent news: not itself, nor those whose news came from it.
    pub(super) fn for_peer(&self, to: Option<NodeId>) -> impl Iterator<Item = NodeId> {
        let nodes = self.by_need.iter().map(|(_, node)| *node);
        let is_known_to =
            move |node| to.is_some() && (to == Some(node) || self.about[&node].from == to);
        nodes.filter(move |node| !is_known_to(*node))
    }

    /// How much news was sent to no member yet.
    pub(super) fn unsent(&self) -> usize {
        self.by_need.iter().take_while(|((sent, _), _)| *sent == 0).count()
    }

    /// Keeps what `is_needed` says, by the member that the news is about and the one that sent it.
    pub(super) fn retain(&mut self, is_needed: impl Fn(NodeId, Option<NodeId>) -> bool) {
        let needed = |(node, rumor): (&NodeId, &Rumor)| is_needed(*node, rumor.from);
        let over = self.about.iter().filter(|rumor| !needed(*rumor)).map(|(node, _)| *node);
        let over: Vec<NodeId> = over.collect();
        over.into_iter().for_each(|node| self.stop(node));
        self.check();
    }

    /// News about `node` was sent once more. SWIM, section 4.1: after `limit` times, some multiple
    /// of log n, all members have it with high probability and it ends.
    pub(super) fn count_sent(&mut self, node: NodeId, limit: u32) {
        let Some(rumor) = self.about.get_mut(&node) else { return };
        self.by_need.remove(&(rumor.need, node));
        rumor.need.0 += 1;
        if rumor.need.0 < limit {
            self.by_need.insert((rumor.need, node));
        } else {
            self.about.remove(&node);
        }
        self.check();
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.about.len()
    }

    /// The invariants.
    fn check(&self) {
        debug_assert_eq!(self.about.len(), self.by_need.len(), "one need for each rumor");
    }
}

/// What grows with the size of a cluster: rounds of gossip until all members know, as a multiple of
/// those that ten members take. The logarithm of `base::exact` gives the same bits on every
/// processor.
pub(super) fn gossip_scale(others: usize) -> f64 {
    (log2((others + 1) as f64) / std::f64::consts::LOG2_10).max(1.0)
}
