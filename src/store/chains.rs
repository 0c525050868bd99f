//! Rows in chains: those whose keys begin with the same bits, newest first.
//!
//! In: rows in ascending order, each with the front of its key. Out: where each chain begins; a row
//! itself keeps the one before it. There are about as many chains as rows, up to a bound, so
//! a chain is short unless its rows share one key. Digests with a common front can be made, but to
//! make one more of them takes longer than to walk past all of them.
//!
//! Never: keeps a key.

use std::ops::Range;

/// Stands for no row. An `Option` would take eight bytes where a row has three of these.
pub(super) const NONE: u32 = u32::MAX;
/// Chains of the first rows: an idle node's index takes a few KB.
const CHAINS_MIN: usize = 1 << 8;

/// The newest row of each chain.
#[derive(Debug)]
pub(super) struct Chains {
    /// A power of two of them, so that the front bits of a key are its chain's number.
    heads: Vec<u32>,
    /// As many as rows at a spill: more would be memory without shorter chains.
    most: usize,
}

impl Chains {
    /// None yet, and never more than `most`, a power of two.
    pub(super) fn new(most: usize) -> Chains {
        Chains { heads: Vec::new(), most }
    }

    /// Whether the next row needs more chains: then all rows are to be linked again.
    pub(super) fn grows(&mut self, rows: usize) -> bool {
        let count = self.heads.len();
        let is_due = rows >= count && count < self.most;
        if is_due {
            // Four times as many, so that few rows are linked more than once.
            self.heads = vec![NONE; (4 * count).clamp(CHAINS_MIN, self.most)];
        }
        self.check();
        is_due
    }

    /// Makes a row the newest of its chain; the answer was that before.
    pub(super) fn link(&mut self, front: u32, row: u32) -> u32 {
        let chain = self.chain(front);
        std::mem::replace(&mut self.heads[chain], row)
    }

    /// The newest row of a key's chain.
    pub(super) fn newest(&self, front: u32) -> u32 {
        if self.heads.is_empty() { NONE } else { self.heads[self.chain(front)] }
    }

    /// The newest row of every chain that may have keys that agree with a front in its first bits;
    /// chains are in the order of their keys.
    pub(super) fn under(&self, front: u32, bits: usize) -> &[u32] {
        let free = u32::MAX.checked_shr(bits as u32).unwrap_or(0);
        // With fewer bits than a chain has these are several, with more one that has other keys as
        // well.
        let Range { start, end } = front & !free..front | free;
        if self.heads.is_empty() { &[] } else { &self.heads[self.chain(start)..=self.chain(end)] }
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.heads)
    }

    /// What holds between any two calls.
    fn check(&self) {
        let count = self.heads.len();
        debug_assert!(count == 0 || count.is_power_of_two() && count <= self.most);
    }

    fn chain(&self, front: u32) -> usize {
        // The front bits, not the last: chains in the order of their keys make sorting cheap.
        front as usize >> (32 - self.heads.len().trailing_zeros())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_keep_their_rows_and_the_order_of_their_keys() {
        let mut random = fastrand::Rng::with_seed(5);
        let mut chains = Chains::new(1 << 16);
        assert_eq!((chains.newest(0), chains.under(7, 0).len()), (NONE, 0));
        let mut fronts: Vec<u32> = Vec::new();
        let mut before: Vec<u32> = Vec::new();
        for row in 0..100_000_u32 {
            if chains.grows(fronts.len()) {
                let again = fronts.iter().zip(0..);
                before = again.map(|(front, row)| chains.link(*front, row)).collect();
            }
            fronts.push(random.u32(..));
            before.push(chains.link(fronts[row as usize], row));
        }
        assert_eq!(chains.bytes(), 4 << 16, "enough of them, and no more");
        let before = &before;
        let rows_of = |newest: u32| {
            let some = |row: u32| Some(row).filter(|row| *row != NONE);
            std::iter::successors(some(newest), move |row| some(before[*row as usize]))
        };
        for bits in [0, 1, 9, 16, 20, 32] {
            let front = fronts[bits * 1000];
            let agrees =
                |row: &u32| bits == 0 || (fronts[*row as usize] ^ front) >> (32 - bits) == 0;
            let expected: Vec<u32> = (0..100_000).filter(agrees).collect();
            let heads = chains.under(front, bits);
            let mut found: Vec<u32> = heads.iter().flat_map(|newest| rows_of(*newest)).collect();
            let walked = found.len();
            found.retain(agrees);
            found.sort_unstable();
            assert_eq!(found, expected, "{bits} bits");
            assert!(bits > 16 || walked == found.len(), "{bits} bits lead to no other");
        }
        let ascending: Vec<u32> =
            chains.under(0, 0).iter().copied().filter(|it| *it != NONE).collect();
        assert!(ascending.is_sorted_by_key(|row| fronts[*row as usize]));
        assert!(rows_of(chains.newest(fronts[3])).any(|row| row == 3));
    }
}
