//! Hash tables by digest.
//!
//! In: digests. Out: where a table puts them: a few bytes of a digest are as even as a hash of all
//! of it, but clients can choose them, so they are mixed with a number that clients do not
//! know. Never: shows an order that anything may depend on.

use std::hash::{BuildHasher, Hasher};

use super::random::mix;

/// For a `HashMap` by [`super::Digest`].
#[derive(Clone, Debug)]
pub struct DigestState(u64);

impl DigestState {
    /// Mixed with this number: a client who knows it can choose digests that share a slot.
    pub fn new(seed: u64) -> DigestState {
        DigestState(seed)
    }
}

impl BuildHasher for DigestState {
    type Hasher = DigestHasher;

    fn build_hasher(&self) -> DigestHasher {
        DigestHasher(self.0)
    }
}

/// Hashes one digest: its first 8 bytes, mixed with the seed.
#[derive(Clone, Debug)]
pub struct DigestHasher(u64);

impl Hasher for DigestHasher {
    fn write(&mut self, digest: &[u8]) {
        let front = digest.first_chunk().map_or(0, |front| u64::from_le_bytes(*front));
        self.0 = mix(front ^ self.0);
    }

    /// That of a digest is always the same.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::base::Digest;

    #[test]
    fn digests_that_begin_or_end_alike_are_spread() {
        let digest = |front: u64| {
            let mut digest = Digest::ZERO;
            digest.0[..8].copy_from_slice(&front.to_le_bytes());
            digest
        };
        for shift in [0, 20, 40] {
            let state = DigestState::new(11);
            let hashes = (0..4096_u64).map(|number| state.hash_one(digest(number << shift)));
            let hashes: Vec<u64> = hashes.collect();
            let low: BTreeSet<u64> = hashes.iter().map(|hash| hash % 4096).collect();
            // 4096 draws hit some 2,590 of 4096 slots.
            assert!(low.len() > 2048, "{shift}: {}", low.len());
        }
        let one = digest(7);
        assert_ne!(DigestState::new(1).hash_one(one), DigestState::new(2).hash_one(one));
    }
}
