//! A sum over records and their positions.
//!
//! In: records, in any order. Out: whether two sets of them are the same. Sets that differ by
//! accident have the same sum by a chance of 2^-64 at most. Never: keeps a record, stands up to an
//! adversary, who could write the index as well.

use crate::base::Digest;
use crate::journal::Position;

/// What two lists of the same records have in common, whatever their order.
#[derive(Default, PartialEq, Eq, Debug)]
pub(super) struct RecordSum {
    count: u64,
    sum: u128,
}

impl RecordSum {
    /// Adds a record.
    pub(super) fn add(&mut self, digest: &Digest, at: Position) {
        let front = u128::from_le_bytes(*digest.0.first_chunk().expect("a hash is 32 bytes"));
        self.count += 1;
        // Odd factors, so that records which changed places have another sum.
        self.sum = self.sum.wrapping_add(front.wrapping_mul(u128::from(2 * at.0 + 1)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_does_not_count_and_all_else_does() {
        let sum = |records: &[(u8, u64)]| {
            let mut sum = RecordSum::default();
            for (number, at) in records {
                sum.add(&Digest::of(&[*number]), Position(*at));
            }
            sum
        };
        let all = sum(&[(1, 32), (2, 96), (3, 160)]);
        assert_eq!(sum(&[(3, 160), (1, 32), (2, 96)]), all);
        for other in [
            &[(1, 32), (2, 96)][..],
            &[(1, 32), (2, 96), (3, 168)],
            &[(1, 32), (2, 96), (4, 160)],
            &[(2, 32), (1, 96), (3, 160)],
            &[(1, 32), (2, 96), (3, 160), (3, 160)],
        ] {
            assert_ne!(sum(other), all, "{other:?}");
        }
    }
}
