//! The two sets that are compared: what both have, and every other of the rest for each.
//!
//! In: how many. Out: numbers, and the hash that stands for each. Never: holds them.

use stemedb_edge::base::Digest;

/// Whose set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    One,
    Two,
}

/// Whether a number is in a set.
pub fn has(share: Share, common: u64, number: u64) -> bool {
    number < common || number.is_multiple_of(2) == (share == Share::One)
}

/// The hash of a number; sets of different seeds share none.
pub fn digest(seed: u64, number: u64) -> Digest {
    let mut name = [0; 16];
    name[..8].copy_from_slice(&seed.to_le_bytes());
    name[8..].copy_from_slice(&number.to_le_bytes());
    Digest::of(&name)
}
