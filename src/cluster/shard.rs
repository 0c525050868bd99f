//! Which nodes a subject belongs to, computed by every node alike from the list of live members.
//!
//! In: a subject; node ids. Out: a shard; its replicas. A subject is assigned to a shard by jump
//! hash (Lamping, Veach, "A Fast, Minimal Memory, Consistent Hash Algorithm", 2014), a shard to
//! nodes round robin over the sorted ids. Never: asks another node.

use crate::base::{Digest, NodeId};

/// The shard of a subject: jump hash over the first 8 bytes, little-endian, of its BLAKE3.
pub fn shard_of(subject: &str, shards: u32) -> u32 {
    let digest = Digest::of(subject.as_bytes()).0;
    let (front, _) = digest.split_first_chunk::<8>().expect("a digest has 32 bytes");
    jump(u64::from_le_bytes(*front), shards)
}

/// The bucket of a key among `buckets`, of which there is at least one.
fn jump(mut key: u64, buckets: u32) -> u32 {
    let (mut bucket, mut next) = (0, 0);
    while next < u64::from(buckets) {
        bucket = next;
        // The constants are the paper's: another generator would move subjects between shards.
        key = key.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        let stride = (1_u64 << 31) as f64 / ((key >> 33) + 1) as f64;
        next = ((bucket + 1) as f64 * stride) as u64;
    }
    bucket as u32
}

/// Which nodes hold which shard. Only what it is computed from: each shard's nodes take a few
/// instructions, a table would take memory and could disagree with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShardMap {
    /// At least one; the same on all nodes, or gateways ask where claims are not.
    shards: u32,
    /// Nodes that hold a shard, where there are so many.
    factor: u32,
    /// Live nodes, sorted and each once: every node computes the same map of them.
    nodes: Vec<NodeId>,
}

impl ShardMap {
    /// The map for these live nodes, in any order; `factor` nodes hold a shard where there are so
    /// many.
    pub fn new(shards: u32, factor: u32, nodes: impl IntoIterator<Item = NodeId>) -> ShardMap {
        let mut nodes: Vec<NodeId> = nodes.into_iter().collect();
        nodes.sort_unstable();
        nodes.dedup();
        let new = ShardMap { shards, factor, nodes };
        new.check();
        new
    }

    fn check(&self) {
        debug_assert!(self.shards > 0 && self.factor > 0, "{} x {}", self.shards, self.factor);
        debug_assert!(self.nodes.is_sorted_by(|one, next| one < next), "{:?}", self.nodes);
    }

    /// How many shards there are.
    pub fn shards(&self) -> u32 {
        self.shards
    }

    /// How many nodes hold a shard where there are so many.
    pub fn factor(&self) -> u32 {
        self.factor
    }

    /// The nodes that hold a shard, its first owner first.
    pub fn replicas(&self, shard: u32) -> impl Iterator<Item = NodeId> {
        let count = self.nodes.len();
        // A cluster smaller than the factor holds every shard once on each node, not twice on one.
        let held = count.min(self.factor as usize);
        (0..held).map(move |step| self.nodes[(shard as usize + step) % count])
    }

    /// The nodes that hold a subject's shard.
    pub fn owners(&self, subject: &str) -> impl Iterator<Item = NodeId> {
        self.replicas(shard_of(subject, self.shards))
    }

    /// How many replicas are held here that `before` held elsewhere.
    pub fn moves_from(&self, before: &ShardMap) -> u64 {
        let moved = |shard: u32| {
            let held: Vec<NodeId> = before.replicas(shard).collect();
            self.replicas(shard).filter(|node| !held.contains(node)).count() as u64
        };
        (0..self.shards).map(moved).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(count: u8) -> Vec<NodeId> {
        (0..count).map(|number| NodeId([number; 16])).collect()
    }

    #[test]
    fn the_same_live_nodes_make_the_same_map_in_any_order() {
        let map = ShardMap::new(64, 3, nodes(5));
        let backwards = nodes(5).into_iter().rev().chain(nodes(5));
        assert_eq!(map, ShardMap::new(64, 3, backwards));
        let first: Vec<NodeId> = map.replicas(4).collect();
        assert_eq!(first, [NodeId([4; 16]), NodeId([0; 16]), NodeId([1; 16])]);
        assert_eq!(ShardMap::new(64, 3, nodes(2)).replicas(7).count(), 2);
    }

    #[test]
    fn subjects_spread_evenly_and_stay_when_shards_are_added() {
        let subjects: Vec<String> = (0..20_000).map(|number| format!("subject {number}")).collect();
        let mut counts = [0_u32; 10];
        let mut moved = 0;
        for subject in &subjects {
            let shard = shard_of(subject, 10);
            counts[shard as usize] += 1;
            let later = shard_of(subject, 11);
            moved += u32::from(later != shard);
            assert!(later == shard || later == 10, "it moves to the new shard or not at all");
        }
        assert!(counts.iter().all(|count| (1800..2200).contains(count)), "{counts:?}");
        assert!((1600..2050).contains(&moved), "about an eleventh of 20,000: {moved}");
    }

    #[test]
    fn known_subjects_have_known_shards() {
        let found = ["bash", "curl", "", "\u{e9}t\u{e9}"].map(|subject| shard_of(subject, 64));
        assert_eq!(found, KNOWN);
    }

    /// As docs/wire.md gives them, computed by vendor-tests/second-implementation too.
    const KNOWN: [u32; 4] = [18, 55, 43, 42];

    #[test]
    fn moves_are_counted_by_replica() {
        let (three, four) = (ShardMap::new(64, 3, nodes(3)), ShardMap::new(64, 3, nodes(4)));
        assert_eq!(three.moves_from(&three), 0);
        // The fourth node holds three of four shards' replicas; round robin moves some more.
        assert!((48..=64).contains(&four.moves_from(&three)), "{}", four.moves_from(&three));
        let one = ShardMap::new(64, 3, nodes(1));
        assert_eq!(ShardMap::new(64, 3, nodes(2)).moves_from(&one), 64);
    }
}
