//! The Merkle tree over the set of hashes: digests of the trie's pages and inner nodes.
//!
//! In: the trie, and read access to full hashes. Out: the root, as `docs/wire.md` defines it. Only
//! pages that changed since the last root are read again, in slices. Never: depends on the order of
//! arrival, keeps a hash.

use super::trie::{Mark, Node, Trie, WINDOW};
use crate::base::Digest;
use crate::base::stream::{Sink, Source};

/// The digest of a node, once it is known; an insert below makes it unknown again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    digest: Digest,
    fresh: bool,
}

impl Mark for Known {
    fn save(&self, sink: &mut Sink) {
        sink.put(&[u8::from(self.fresh)]);
        sink.put(&self.digest.0);
    }

    fn load(source: &mut Source) -> Option<Known> {
        let [fresh] = source.bytes()?;
        Some(Known { digest: Digest(source.bytes()?), fresh: fresh == 1 })
    }
}

/// In front of a page's hashes.
const PAGE_TAG: u8 = 0;
/// In front of two children's digests.
const INNER_TAG: u8 = 1;

/// Brings the tree up to date, reading at most about `budget` hashes; `None`: not yet.
pub(super) fn root(
    trie: &mut Trie<Known, WINDOW>,
    mut budget: usize,
    hash_of: impl Fn(u32) -> Digest,
) -> Option<Digest> {
    refresh(trie, trie.root(), &mut budget, &hash_of)
}

/// Depth is bounded by the bits of a hash.
fn refresh(
    trie: &mut Trie<Known, WINDOW>,
    node: Node,
    budget: &mut usize,
    hash_of: &impl Fn(u32) -> Digest,
) -> Option<Digest> {
    let Some(known) = trie.mark(node) else { return Some(Digest::ZERO) };
    if known.fresh {
        return Some(known.digest);
    }
    let digest = match node {
        Node::Empty => Digest::ZERO,
        Node::Page(page) => {
            let entries = trie.entries(page);
            *budget = budget.checked_sub(entries.len())?;
            let hashes = entries.iter().map(|entry| hash_of(entry.value()));
            // Whoever cannot be read is no member, until its record is back.
            let mut hashes: Vec<Digest> = hashes.filter(|hash| *hash != Digest::ZERO).collect();
            hashes.sort_unstable();
            page_digest(&hashes)
        }
        Node::Inner(inner) => {
            let [left, right] = trie.children(inner);
            let left = refresh(trie, left, budget, hash_of)?;
            let right = refresh(trie, right, budget, hash_of)?;
            inner_digest(&left, &right)
        }
    };
    trie.set_mark(node, Known { digest, fresh: true });
    Some(digest)
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
