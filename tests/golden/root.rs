//! The Merkle root by its definition, with no thought for speed.

use stemedb_edge::base::Digest;

/// A set that anyone can make: member `i` is BLAKE3 of `i` as u32 little-endian, with its first
/// bytes overwritten by `prefix`.
pub(crate) struct Set {
    pub(crate) count: u32,
    pub(crate) prefix: &'static [u8],
}

/// Around the size of a page, and with members that share their first bits.
pub(crate) const SETS: [Set; 10] = [
    Set { count: 0, prefix: &[] },
    Set { count: 1, prefix: &[] },
    Set { count: 2, prefix: &[] },
    Set { count: 64, prefix: &[] },
    Set { count: 65, prefix: &[] },
    Set { count: 200, prefix: &[] },
    Set { count: 1000, prefix: &[] },
    Set { count: 64, prefix: &[0, 0] },
    Set { count: 65, prefix: &[0, 0] },
    Set { count: 300, prefix: &[0xff, 0x80, 0x01] },
];

impl Set {
    pub(crate) fn members(&self) -> Vec<Digest> {
        let member = |number: u32| {
            let mut digest = Digest::of(&number.to_le_bytes());
            digest.0[..self.prefix.len()].copy_from_slice(self.prefix);
            digest
        };
        let mut members: Vec<Digest> = (0..self.count).map(member).collect();
        members.sort_unstable();
        members
    }
}

/// The root of sorted members.
pub(crate) fn root_of(members: &[Digest]) -> Digest {
    node(members, 0)
}

fn node(members: &[Digest], depth: usize) -> Digest {
    let mut bytes = Vec::new();
    match u32::try_from(members.len()).expect("a small set") {
        0 => return Digest::ZERO,
        count @ 1..=64 => {
            bytes.push(0);
            bytes.extend_from_slice(&count.to_le_bytes());
            members.iter().for_each(|member| bytes.extend_from_slice(&member.0));
        }
        _ => {
            let (zeros, ones) =
                members.split_at(members.partition_point(|member| !member.bit(depth)));
            bytes.push(1);
            bytes.extend_from_slice(&node(zeros, depth + 1).0);
            bytes.extend_from_slice(&node(ones, depth + 1).0);
        }
    }
    Digest::of(&bytes)
}
