//! Digests of bytes and of sets, written anew from `docs/wire.md`.
//!
//! In: bytes, sets of hashes. Out: BLAKE3 and the Merkle root. Never: asks the node.

use std::collections::BTreeSet;

/// A hash as it travels.
pub type Hash = [u8; 32];

/// Hashes one leaf page holds at most.
const PAGE_MAX: usize = 64;

/// BLAKE3.
pub fn hash(bytes: &[u8]) -> Hash {
    *blake3::hash(bytes).as_bytes()
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The 32 bytes that 64 hex digits say.
pub fn unhex(text: &str) -> Hash {
    assert_eq!(text.len(), 64, "not a hash: {text}");
    let byte = |at: usize| u8::from_str_radix(&text[at * 2..at * 2 + 2], 16).expect("hex digits");
    std::array::from_fn(byte)
}

/// The Merkle root of a set.
pub fn root(hashes: &BTreeSet<Hash>) -> Hash {
    let sorted: Vec<Hash> = hashes.iter().copied().collect();
    node(&sorted, 0)
}

/// `hashes` are sorted, so that those with a 0 at `depth` stand before those with a 1.
fn node(hashes: &[Hash], depth: usize) -> Hash {
    if hashes.is_empty() {
        return [0; 32];
    }
    let mut hasher = blake3::Hasher::new();
    if hashes.len() <= PAGE_MAX {
        let count = u32::try_from(hashes.len()).expect("a page is small");
        hasher.update(&[0]).update(&count.to_le_bytes()).update(hashes.as_flattened());
    } else {
        let zeros = hashes.partition_point(|hash| hash[depth / 8] << (depth % 8) & 0x80 == 0);
        let (left, right) = hashes.split_at(zeros);
        hasher.update(&[1]).update(&node(left, depth + 1)).update(&node(right, depth + 1));
    }
    *hasher.finalize().as_bytes()
}
