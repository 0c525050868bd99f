//! The Merkle tree over the set of hashes, down to 4096 buckets.
//!
//! In: hashes that come and go, and a function that lists those that begin alike. Out: the root, as
//! `docs/wire.md` defines it. How many hashes each node has below it and the digests of those that
//! did not change are kept; buckets that changed are listed again, in slices, and what is above
//! them is summed up when a root is begun. A root is that of the rows there were then: what comes
//! meanwhile waits, or under load it would never be done.
//!
//! Never: depends on the order of arrival, keeps a hash.

use super::row::Row;
use crate::base::Digest;
use crate::base::limits::BUCKETS;
use crate::base::stream::{Sink, Source};
use crate::sketch::Part;

/// Bits that name a bucket: with ten million hashes one has some 2,400, which are listed and
/// digested in a tenth of a millisecond; all nodes take 300 KB.
pub(super) const DEPTH: usize = BUCKETS.trailing_zeros() as usize;

/// A Merkle root, and the set that it is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Root {
    /// The digest; all zeros for the empty set.
    pub digest: Digest,
    /// It is of the rows before this one.
    pub rows: u64,
    /// How many assertions these are, those whose record is lost not counted.
    pub count: u64,
}

impl Root {
    /// Whether a peer that says this of its set, root and count, has the same set. A root names a
    /// set, so that its count may be left out (0); without a root the peer has nothing.
    pub fn is_matched_by(&self, theirs: Option<(Digest, u64)>) -> bool {
        theirs.map_or(self.count == 0, |(root, count)| {
            self.digest == root && (self.count == count || count == 0)
        })
    }
}

/// Hashes of a full page.
pub(super) const PAGE_MAX: usize = 64;
/// In front of a page's hashes. Different tags, as in RFC 6962, section 2.1: otherwise two digests
/// could pass for two hashes of a page.
const PAGE_TAG: u8 = 0;
/// In front of two children's digests.
const INNER_TAG: u8 = 1;

/// The nodes, numbered as in a heap: the root is 1, the children of `n` are `2n` and `2n + 1`.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    /// Hashes below each node: a node with at most [`PAGE_MAX`] is a leaf page, whatever its depth.
    counts: Vec<u32>,
    /// 32 bytes for each node.
    digests: Vec<u8>,
    /// One bit per node: its digest is known.
    known: Vec<u64>,
    /// One bit per bucket: it changed, and the nodes above it do not know yet. An import changes a
    /// bucket a thousand times between two roots; the twelve nodes above it change once.
    changed: Vec<u64>,
    /// How many hashes there are, pending ones included.
    all: u64,
    /// While a root is under way, how many hashes came to each bucket since it was begun. Under
    /// load a root that counted them would never be done.
    pending: Vec<u32>,
    /// The row before which all count for the root under way; `None`: none is.
    end: Option<Row>,
}

/// Hashes that may still be listed in this slice; the first bucket is listed whatever it has, for
/// else a bucket larger than the budget would never be.
struct Budget {
    left: usize,
    is_unused: bool,
}

impl Budget {
    fn spend(&mut self, count: usize) -> Option<()> {
        match self.left.checked_sub(count) {
            Some(left) => self.left = left,
            None if self.is_unused => self.left = 0,
            None => return None,
        }
        self.is_unused = false;
        Some(())
    }
}

impl Tree {
    /// Of no hash. Zeroed memory of the system: it becomes resident with the first hashes.
    pub(super) fn new() -> Tree {
        Tree {
            counts: vec![0; 2 * BUCKETS],
            digests: vec![0; 2 * BUCKETS * 32],
            known: vec![0; 2 * BUCKETS / 64],
            changed: vec![0; BUCKETS / 64],
            all: 0,
            pending: vec![0; BUCKETS],
            end: None,
        }
    }

    /// The hash of a new row came.
    pub(super) fn insert(&mut self, hash: &Digest) {
        self.all += 1;
        if self.end.is_some() {
            self.pending[bucket(hash)] += 1;
        } else {
            self.change(bucket(hash), |count| count + 1);
        }
    }

    /// The hash of an old row came back. A root under way is begun anew.
    pub(super) fn restore(&mut self, hash: &Digest) {
        self.add_pending();
        self.all += 1;
        self.change(bucket(hash), |count| count + 1);
    }

    /// The hash of a row went. A root under way is begun anew.
    pub(super) fn remove(&mut self, hash: &Digest) {
        self.add_pending();
        self.all -= 1;
        self.change(bucket(hash), |count| count - 1);
    }

    /// Counts what came while a root was under way, which ends that.
    pub(super) fn add_pending(&mut self) {
        if self.end.take().is_none() {
            return;
        }
        for bucket in 0..BUCKETS {
            let pending = std::mem::take(&mut self.pending[bucket]);
            if pending > 0 {
                self.change(bucket, |count| count + pending);
            }
        }
    }

    fn change(&mut self, bucket: usize, by: impl Fn(u32) -> u32) {
        let node = BUCKETS + bucket;
        self.counts[node] = by(self.counts[node]);
        // Unknown until its hashes are listed again.
        self.known[node / 64] &= !(1 << (node % 64));
        self.changed[bucket / 64] |= 1 << (bucket % 64);
    }

    /// Tells the nodes above buckets that changed.
    pub(super) fn sum_up(&mut self) {
        for word in 0..self.changed.len() {
            let mut changed = std::mem::take(&mut self.changed[word]);
            while changed != 0 {
                let mut node = (BUCKETS + word * 64 + changed.trailing_zeros() as usize) / 2;
                changed &= changed - 1;
                while node > 0 {
                    self.counts[node] = self.counts[2 * node] + self.counts[2 * node + 1];
                    self.known[node / 64] &= !(1 << (node % 64));
                    node /= 2;
                }
            }
        }
        self.check();
    }

    /// What holds when the tree is summed up.
    fn check(&self) {
        let counted = u64::from(self.counts[1]);
        debug_assert!(counted <= self.all && (self.end.is_some() || counted == self.all));
        let halves = self.counts[2] + self.counts[3];
        debug_assert_eq!(self.counts[1], halves, "a node has what its children have");
    }

    /// How many hashes there are.
    pub(super) fn len(&self) -> u64 {
        self.all
    }

    /// How many hashes there are in a part, those of its whole bucket where it is less.
    pub(super) fn len_of(&self, part: Part) -> u64 {
        // It may be too many then: what it is for is a bound.
        let below = DEPTH.saturating_sub(part.bits as usize);
        let first = bucket(&part.start());
        let buckets = first..first + (1 << below);
        buckets.map(|bucket| u64::from(self.counts[BUCKETS + bucket] + self.pending[bucket])).sum()
    }

    /// Goes on with a root, or begins one of all rows, which end at `end`; `None`: call again.
    /// `list` gives all hashes before a row that agree with one in so many bits; about `budget` of
    /// them are asked for, those of one bucket at least.
    pub(super) fn root(
        &mut self,
        budget: usize,
        end: Row,
        list: impl Fn(&Digest, usize, Row) -> Vec<Digest>,
    ) -> Option<Root> {
        let end = *self.end.get_or_insert(end);
        self.sum_up();
        let mut budget = Budget { left: budget, is_unused: true };
        let list = |prefix: &Digest, depth| list(prefix, depth, end);
        let digest = self.refresh(1, 0, &Digest::ZERO, &mut budget, &list)?;
        let root = Root { digest, rows: u64::from(end), count: u64::from(self.counts[1]) };
        self.add_pending();
        Some(root)
    }

    /// `prefix` has the bits above the node; the recursion is no deeper than [`DEPTH`].
    fn refresh(
        &mut self,
        node: usize,
        depth: usize,
        prefix: &Digest,
        budget: &mut Budget,
        list: &impl Fn(&Digest, usize) -> Vec<Digest>,
    ) -> Option<Digest> {
        let count = self.counts[node] as usize;
        if count == 0 {
            return Some(Digest::ZERO);
        }
        if self.known[node / 64] >> (node % 64) & 1 == 1 {
            return Digest::from_slice(&self.digests[node * 32..][..32]);
        }
        let digest = if count <= PAGE_MAX || depth == DEPTH {
            // What was digested before stays known: the next call goes on from here.
            budget.spend(count)?;
            let mut hashes = list(prefix, depth);
            hashes.sort_unstable();
            debug_assert_eq!(hashes.len(), count, "what is counted is listed");
            subtree(&hashes, depth)
        } else {
            let mut right = *prefix;
            right.0[depth / 8] |= 0x80 >> (depth % 8);
            let left = self.refresh(2 * node, depth + 1, prefix, budget, list)?;
            let right = self.refresh(2 * node + 1, depth + 1, &right, budget, list)?;
            inner_digest(&left, &right)
        };
        self.digests[node * 32..][..32].copy_from_slice(&digest.0);
        self.known[node / 64] |= 1 << (node % 64);
        Some(digest)
    }

    /// The digest of a bucket as it is now, and how many hashes were listed for it.
    pub(super) fn bucket_digest(
        &self,
        bucket: usize,
        list: impl Fn(&Digest, usize) -> Vec<Digest>,
    ) -> (Digest, usize) {
        let node = BUCKETS + bucket;
        let count = self.counts[node] + self.pending[bucket];
        // A root under way leaves out what is pending; the listing below does not.
        let is_known = self.pending[bucket] == 0 && self.known[node / 64] >> (node % 64) & 1 == 1;
        if count == 0 || is_known {
            let known = Digest::from_slice(&self.digests[node * 32..][..32]);
            return (known.filter(|_| count > 0).unwrap_or(Digest::ZERO), 1);
        }
        let mut hashes = list(&prefix_of(bucket), DEPTH);
        hashes.sort_unstable();
        (subtree(&hashes, DEPTH), hashes.len())
    }

    /// Buckets that have hashes, from that of `hash` on: a prefix and its bits for each.
    pub(super) fn buckets_from(&self, hash: &Digest) -> impl Iterator<Item = (Digest, usize)> {
        let count = |bucket: &usize| self.counts[BUCKETS + bucket] + self.pending[*bucket];
        let used = (bucket(hash)..BUCKETS).filter(move |bucket| count(bucket) > 0);
        used.map(|bucket| (prefix_of(bucket), DEPTH))
    }

    /// Writes out one that is summed up.
    pub(super) fn save(&self, sink: &mut Sink) {
        let (counts, digests) = (self.counts.as_chunks().0, self.digests.as_chunks().0);
        let counts = counts.iter().map(|[one, two]| u64::from(*two) << 32 | u64::from(*one));
        let digests = digests.iter().map(|bytes| u64::from_le_bytes(*bytes));
        sink.put_sparse(counts.chain(self.known.iter().copied()).chain(digests));
    }

    /// Takes in what was written out.
    pub(super) fn load(source: &mut Source) -> Option<Tree> {
        let mut tree = Tree::new();
        let mut words = source.sparse();
        for counts in tree.counts.as_chunks_mut().0 {
            let word = words.word()?;
            *counts = [word as u32, (word >> 32) as u32];
        }
        for known in &mut tree.known {
            *known = words.word()?;
        }
        for bytes in tree.digests.as_chunks_mut().0 {
            *bytes = words.word()?.to_le_bytes();
        }
        // It was summed up with no root under way, so that all of it is counted.
        tree.all = u64::from(tree.counts[1]);
        Some(tree)
    }

    /// Heap bytes, once hashes have touched them.
    pub(super) fn bytes(&self) -> usize {
        let words = self.known.len() + self.changed.len();
        (self.counts.len() + self.pending.len()) * 4 + self.digests.len() + words * 8
    }
}

pub(super) fn bucket(hash: &Digest) -> usize {
    usize::from(u16::from_be_bytes([hash.0[0], hash.0[1]])) >> (16 - DEPTH)
}

pub(super) fn prefix_of(bucket: usize) -> Digest {
    let mut prefix = Digest::ZERO;
    prefix.0[..2].copy_from_slice(&((bucket << (16 - DEPTH)) as u16).to_be_bytes());
    prefix
}

/// The digest of a node by all hashes below it, in ascending order; no deeper than their bits.
fn subtree(hashes: &[Digest], depth: usize) -> Digest {
    if hashes.len() <= PAGE_MAX {
        return page_digest(hashes);
    }
    let (left, right) = hashes.split_at(hashes.partition_point(|hash| !hash.bit(depth)));
    inner_digest(&subtree(left, depth + 1), &subtree(right, depth + 1))
}

/// BLAKE3(0x00, count as u32 little-endian, the hashes in ascending order); zeros of no hash.
fn page_digest(hashes: &[Digest]) -> Digest {
    if hashes.is_empty() {
        return Digest::ZERO;
    }
    let count = u32::try_from(hashes.len()).expect("a page's count");
    let mut bytes = Vec::with_capacity(5 + hashes.len() * 32);
    bytes.push(PAGE_TAG);
    bytes.extend_from_slice(&count.to_le_bytes());
    hashes.iter().for_each(|hash| bytes.extend_from_slice(&hash.0));
    Digest::of(&bytes)
}

/// BLAKE3(0x01, left, right); an empty side is 32 zero bytes.
fn inner_digest(left: &Digest, right: &Digest) -> Digest {
    let mut bytes = [INNER_TAG; 65];
    bytes[1..33].copy_from_slice(&left.0);
    bytes[33..].copy_from_slice(&right.0);
    Digest::of(&bytes)
}
