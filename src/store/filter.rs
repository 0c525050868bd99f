//! A set of keys that says "surely not" or "maybe", some bits a key.
//!
//! In: keys of 64 well-mixed bits. Out: no for nearly all others, never no for one of them. A
//! split block Bloom filter (Putze, Sanders, Singler: "Cache-, Hash- and Space-Efficient Bloom
//! Filters", 2007, as the Parquet format has it): eight bits of one block of 32 bytes per key, so
//! that a look costs one cache miss. With 10 bits a key 1 in 100 other keys gets a maybe, with 16
//! bits 1 in 1000.
//!
//! Never: forgets a key.

use crate::base::stream::{Sink, Source};

const WORDS: usize = 8;
/// Odd numbers that spread a key's low half over the words, the Parquet format's.
const SALTS: [u32; WORDS] = [
    0x47b6_137b,
    0x4497_4d91,
    0x8824_ad5b,
    0xa2b7_289d,
    0x7054_95c7,
    0x2df1_424b,
    0x9efc_4947,
    0x5c6b_fb31,
];

/// Blocks of one cache line's half each.
#[derive(Debug)]
pub(super) struct Filter(Box<[[u32; WORDS]]>);

impl Filter {
    /// Without keys yet, of the size for so many at so many bits.
    pub(super) fn new(keys: usize, key_bits: usize) -> Filter {
        let blocks = (keys * key_bits).div_ceil(WORDS * 32).max(1);
        Filter(vec![[0; WORDS]; blocks].into_boxed_slice())
    }

    pub(super) fn insert(&mut self, key: u64) {
        let block = self.block(key);
        self.0[block].iter_mut().zip(bits(key)).for_each(|(word, bit)| *word |= bit);
    }

    /// False for most keys that were not taken in.
    pub(super) fn may_have(&self, key: u64) -> bool {
        self.0[self.block(key)].iter().zip(bits(key)).all(|(word, bit)| word & bit != 0)
    }

    fn block(&self, key: u64) -> usize {
        // The key's high half picks the block, so that the low half is free for the bits; without a
        // division (Lemire, "Fast Random Integer Generation in an Interval", 2019).
        (((key >> 32) * self.0.len() as u64) >> 32) as usize
    }

    pub(super) fn save(&self, sink: &mut Sink) {
        // In little-endian words: a directory may move to a machine of the other byte order.
        sink.put_u32(self.0.len() as u32);
        self.0.iter().flatten().for_each(|word| sink.put_u32(*word));
    }

    /// Takes in what was written out; the bytes have to be the very ones.
    pub(super) fn load(source: &mut Source) -> Option<Filter> {
        let mut blocks = vec![[0; WORDS]; source.u32()? as usize].into_boxed_slice();
        for word in blocks.iter_mut().flatten() {
            *word = source.u32()?;
        }
        Some(Filter(blocks))
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.0)
    }
}

fn bits(key: u64) -> impl Iterator<Item = u32> {
    SALTS.into_iter().map(move |salt| 1 << ((key as u32).wrapping_mul(salt) >> 27))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_found_and_few_others() {
        let mut random = fastrand::Rng::with_seed(1);
        for (count, bits, most) in
            [(0, 10, 0), (1, 10, 9), (100, 10, 300), (20_000, 10, 300), (20_000, 16, 40)]
        {
            let keys: Vec<u64> = (0..count).map(|_| random.u64(..)).collect();
            let mut filter = Filter::new(keys.len(), bits);
            keys.iter().for_each(|key| filter.insert(*key));
            assert!(keys.iter().all(|key| filter.may_have(*key)), "{count} keys");
            let others = (0..10_000).filter(|_| filter.may_have(random.u64(..))).count();
            assert!(others <= most, "{others} of 10,000 others beside {count} keys");
        }
    }
}
