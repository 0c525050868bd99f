//! The trees along which new assertions spread in a large cluster: every node computes the same
//! ones from the members that take part, and no message is spent on them.
//!
//! In: members. Out: a node's neighbours in a tree. The members stand in the order of a hash of
//! their ids. The first bits of the hash divide them into groups, the next bits each group into
//! smaller ones, down to single members (Plaxton, Rajaraman, Richa, "Accessing Nearby Copies of
//! Replicated Objects in a Distributed Environment", 1997). A group's leader is the parent of the
//! leaders of the groups in it. A member that comes or goes changes the edges of the groups that it
//! leads and no others, so nodes whose views differ by it agree on the rest. There are several
//! trees, with other leaders, which share the load (Castro et al., "SplitStream", 2003).
//!
//! Never: depends on the order in which members came, has a member forward that only knows the
//! standard.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::base::random::{WEYL, mix};
use crate::base::{Digest, NodeId};

/// Trees; the digest of an assertion says which one it takes.
pub(super) const TREES: usize = 4;
/// Bits of the hash that divide a group: up to eight groups in one. With two bits paths have half
/// as many hops again, and each hop waits for a flush; with four a root sends 45 copies of 1,024.
const GROUP_BITS: u32 = 3;
/// Divisions before the hash has no more bits: those left are children of their group's leader.
const DEPTH_MAX: u32 = u64::BITS / GROUP_BITS;
/// Members that push to one that does not forward: one of them may fail.
const LEAF_PARENTS: usize = 2;

/// The tree of an assertion.
pub(super) fn tree_of(digest: &Digest) -> u8 {
    digest.0[0] % TREES as u8
}

/// The trees over this node and the members that forward.
#[derive(Debug, Default)]
pub(super) struct Trees {
    /// Those that forward, this node among them, by the hash of their ids.
    order: Vec<(u64, NodeId)>,
    /// This node's neighbours in each tree, and the members without a place in any for which it is
    /// one of the parents.
    own: [Vec<NodeId>; TREES],
}

impl Trees {
    /// Those of `me` among `others`, of which the `plain` ones do not forward.
    pub(super) fn new(
        me: NodeId,
        others: impl Iterator<Item = NodeId>,
        plain: &BTreeSet<NodeId>,
    ) -> Trees {
        let (leaves, mut order): (Vec<_>, Vec<_>) =
            others.map(|node| (hash(node), node)).partition(|(_, node)| plain.contains(node));
        order.push((hash(me), me));
        order.sort_unstable();
        let mut trees = Trees { order, own: Default::default() };
        let leaves: Vec<NodeId> = leaves
            .into_iter()
            .filter(|leaf| trees.parents_of(*leaf).any(|parent| parent == me))
            .map(|(_, leaf)| leaf)
            .collect();
        for tree in 0..TREES {
            trees.own[tree] = trees.neighbours(me, tree as u8);
            trees.own[tree].extend(&leaves);
        }
        trees
    }

    /// To whom this node passes on what takes this tree.
    pub(super) fn own(&self, tree: u8) -> &[NodeId] {
        &self.own[usize::from(tree) % TREES]
    }

    /// Whether a member has a place in the trees.
    pub(super) fn has(&self, node: NodeId) -> bool {
        self.order.binary_search(&(hash(node), node)).is_ok()
    }

    /// The members that push to one that does not forward: those behind it in the order.
    fn parents_of(&self, leaf: (u64, NodeId)) -> impl Iterator<Item = NodeId> {
        let (count, first) = (self.order.len(), self.order.partition_point(|it| *it < leaf));
        (first..first + count.min(LEAF_PARENTS)).map(move |slot| self.order[slot % count].1)
    }

    /// The neighbours of a member in a tree, its parent among them; none of one without a place.
    pub(super) fn neighbours(&self, of: NodeId, tree: u8) -> Vec<NodeId> {
        let mut found = Vec::new();
        let Ok(slot) = self.order.binary_search(&(hash(of), of)) else { return found };
        let mut group = 0..self.order.len();
        let mut leader = self.leader(group.clone(), tree);
        for depth in 0..=DEPTH_MAX {
            let mut inner = None;
            for part in self.divide(group.clone(), depth) {
                let its_leader = self.leader(part.clone(), tree);
                if part.contains(&slot) {
                    inner = Some((part, its_leader));
                } else if leader == slot {
                    found.push(self.order[its_leader].1);
                }
            }
            let Some((part, its_leader)) = inner else { break };
            if its_leader == slot && leader != slot {
                found.push(self.order[leader].1);
            }
            (group, leader) = (part, its_leader);
            if group.len() == 1 {
                break;
            }
        }
        found
    }

    /// The one that leads a group.
    fn leader(&self, group: Range<usize>, tree: u8) -> usize {
        let salt = WEYL.wrapping_mul(u64::from(tree) + 1);
        let rank = |slot: &usize| (mix(self.order[*slot].0 ^ salt), self.order[*slot].1);
        group.min_by_key(rank).unwrap_or_default()
    }

    /// The groups in a group, by the next bits of the hash.
    fn divide(&self, group: Range<usize>, depth: u32) -> Vec<Range<usize>> {
        let mut parts = Vec::new();
        let mut from = group.start;
        while from < group.end {
            let end = if depth >= DEPTH_MAX {
                from + 1
            } else {
                let digit = |hash: u64| (hash << (depth * GROUP_BITS)) >> (u64::BITS - GROUP_BITS);
                let first = digit(self.order[from].0);
                let rest = &self.order[from..group.end];
                from + rest.partition_point(|(hash, _)| digit(*hash) == first)
            };
            parts.push(from..end);
            from = end;
        }
        parts
    }
}

fn hash(node: NodeId) -> u64 {
    let id = u128::from_be_bytes(node.0);
    mix(mix((id >> u64::BITS) as u64) ^ id as u64)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn node(number: u32) -> NodeId {
        NodeId(u128::from(number).to_be_bytes())
    }

    fn trees_of(
        count: u32,
        without: Option<u32>,
        plain: &BTreeSet<NodeId>,
    ) -> BTreeMap<NodeId, Trees> {
        let all: Vec<NodeId> = (0..count).filter(|it| Some(*it) != without).map(node).collect();
        let others = |me: NodeId| all.iter().copied().filter(move |node| *node != me);
        all.iter().map(|me| (*me, Trees::new(*me, others(*me), plain))).collect()
    }

    /// How many hops it takes to reach all from one, and how many copies each gets.
    fn spread(
        trees: &BTreeMap<NodeId, Trees>,
        from: NodeId,
        tree: u8,
    ) -> (usize, BTreeMap<NodeId, u32>) {
        let mut copies: BTreeMap<NodeId, u32> = BTreeMap::from([(from, 1)]);
        let (mut round, mut hops) = (vec![(from, from)], 0);
        while !round.is_empty() {
            let mut next = Vec::new();
            for (node, came_from) in round {
                let Some(own) = trees.get(&node) else { continue };
                for to in own.own(tree).iter().filter(|to| **to != came_from) {
                    let count = copies.entry(*to).or_default();
                    *count += 1;
                    if *count == 1 {
                        next.push((*to, node));
                    }
                }
            }
            hops += usize::from(!next.is_empty());
            round = next;
        }
        (hops, copies)
    }

    #[test]
    fn each_member_gets_one_copy_in_few_hops() {
        for (count, most) in [(1, 0), (2, 1), (7, 4), (50, 7), (200, 9), (1024, 11)] {
            let trees = trees_of(count, None, &BTreeSet::new());
            for tree in 0..TREES as u8 {
                let (hops, copies) = spread(&trees, node(count / 2), tree);
                assert_eq!(copies.len(), count as usize, "{count} nodes, tree {tree}");
                assert!(copies.values().all(|copies| *copies == 1), "{count} nodes, tree {tree}");
                assert!(hops <= most, "{count} nodes: {hops} hops");
            }
            let own = trees.values().map(|it| {
                let all: BTreeSet<&NodeId> = it.own.iter().flatten().collect();
                all.len()
            });
            let most = own.max().unwrap_or_default();
            assert!(most <= crate::base::limits::PEERS_MAX, "{count} nodes: {most} neighbours");
        }
    }

    #[test]
    fn a_member_that_comes_changes_its_own_edges_alone() {
        let (before, after) =
            (trees_of(200, Some(77), &BTreeSet::new()), trees_of(200, None, &BTreeSet::new()));
        let changed = before.iter().filter(|(node, it)| it.own != after[node].own).count();
        assert!(changed <= 60, "{changed} of 199 have other neighbours");
    }

    #[test]
    fn one_that_does_not_forward_gets_two_copies_and_has_no_place() {
        let plain: BTreeSet<NodeId> = [3, 30, 31].map(node).into();
        let mut trees = trees_of(50, None, &plain);
        trees.retain(|node, _| !plain.contains(node));
        for tree in 0..TREES as u8 {
            let (_, copies) = spread(&trees, node(1), tree);
            assert_eq!(copies.len(), 50);
            let many: BTreeSet<NodeId> =
                copies.iter().filter(|(_, copies)| **copies == 2).map(|(node, _)| *node).collect();
            assert_eq!(many, plain);
        }
    }
}
