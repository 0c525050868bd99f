//! Plain numbers and bytes in a row, written out and taken in again.
//!
//! In: values, or a function that hands out bytes. Out: bytes, or values; `None` where they end too
//! early. Never: knows what the bytes mean, holds more of them than a window.
//!
//! `std::io::Write` and `BufReader` do the same with a `Result` for each value. The pure side has
//! no use for it: what is written is hashed as well, so a function takes the pieces, and that
//! function keeps the first error of the disk. What ends too early is one `None`, whatever ended
//! it.

use std::ops::Range;

/// Bytes that are handed on, or asked for, at a time: what hashes, writes and reads does so with
/// large pieces faster, and a megabyte of numbers is some hundred of them.
const WINDOW_BYTES: usize = 16 << 10;

/// Collects values into windows, and hands each on when it is full.
pub struct Sink<'a> {
    take: &'a mut dyn FnMut(&[u8]),
    /// What was not handed on yet.
    window: Vec<u8>,
}

impl<'a> Sink<'a> {
    /// Hands all bytes to `take`, some thousands at a time; the last ones when it is dropped.
    pub fn new(take: &'a mut dyn FnMut(&[u8])) -> Sink<'a> {
        Sink { take, window: Vec::with_capacity(WINDOW_BYTES) }
    }

    /// Writes bytes without a length before them.
    pub fn put(&mut self, bytes: &[u8]) {
        if self.window.len() + bytes.len() > WINDOW_BYTES {
            (self.take)(&self.window);
            self.window.clear();
        }
        if bytes.len() > WINDOW_BYTES {
            (self.take)(bytes);
        } else {
            self.window.extend_from_slice(bytes);
        }
    }

    /// Four bytes, little-endian.
    pub fn put_u32(&mut self, value: u32) {
        self.put(&value.to_le_bytes());
    }

    /// Eight bytes, little-endian.
    pub fn put_u64(&mut self, value: u64) {
        self.put(&value.to_le_bytes());
    }

    /// Words of which many are zero: of zeros that follow one another, one and how many they are.
    pub fn put_sparse(&mut self, words: impl Iterator<Item = u64>) {
        let mut zeros = 0;
        for word in words {
            if word == 0 {
                zeros += 1;
            } else {
                self.put_zeros(std::mem::take(&mut zeros));
                self.put_u64(word);
            }
        }
        self.put_zeros(zeros);
    }

    fn put_zeros(&mut self, count: u32) {
        if count > 0 {
            self.put_u64(0);
            self.put_u32(count);
        }
    }
}

impl Drop for Sink<'_> {
    fn drop(&mut self) {
        (self.take)(&self.window);
    }
}

/// Reads values in the order in which a [`Sink`] wrote them, a window of bytes at a time.
pub struct Source<'a> {
    more: &'a mut dyn FnMut(&mut [u8]) -> usize,
    /// What was handed out and not taken yet: these bytes of the window.
    left: Range<usize>,
    window: Box<[u8]>,
}

impl<'a> Source<'a> {
    /// `more` fills the front of what it is given, and says how much; at the end nothing.
    pub fn new(more: &'a mut dyn FnMut(&mut [u8]) -> usize) -> Source<'a> {
        Source { more, left: 0..0, window: vec![0; WINDOW_BYTES].into() }
    }

    /// Fills the buffer; `None` if the source ends before.
    pub fn fill(&mut self, mut buffer: &mut [u8]) -> Option<()> {
        loop {
            let count = buffer.len().min(self.left.len());
            let (front, rest) = buffer.split_at_mut(count);
            front.copy_from_slice(&self.window[self.left.start..][..count]);
            self.left.start += count;
            if rest.is_empty() {
                return Some(());
            }
            buffer = rest;
            self.left = 0..(self.more)(&mut self.window);
            (!self.left.is_empty()).then_some(())?;
        }
    }

    /// The next `N` bytes; `None` if the source ends before.
    pub fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        if let Some(front) = self.window[self.left.clone()].first_chunk() {
            self.left.start += N;
            return Some(*front);
        }
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Some(bytes)
    }

    /// Four bytes, little-endian.
    pub fn u32(&mut self) -> Option<u32> {
        self.bytes().map(u32::from_le_bytes)
    }

    /// Eight bytes, little-endian.
    pub fn u64(&mut self) -> Option<u64> {
        self.bytes().map(u64::from_le_bytes)
    }

    /// Words that [`Sink::put_sparse`] wrote, one at a time.
    pub fn sparse(&mut self) -> SparseWords<'_, 'a> {
        SparseWords { source: self, zeros: 0 }
    }

    /// As many items as are counted first, four bytes.
    pub fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.u32()?;
        (0..count).map(|_| item(self)).collect()
    }
}

/// Reads what [`Sink::put_sparse`] wrote.
pub struct SparseWords<'s, 'a> {
    source: &'s mut Source<'a>,
    /// Zeros that were counted and not handed out yet.
    zeros: u32,
}

impl SparseWords<'_, '_> {
    /// The next word; `None` if the source ends before, or counts no zeros.
    pub fn word(&mut self) -> Option<u64> {
        if let Some(rest) = self.zeros.checked_sub(1) {
            self.zeros = rest;
            return Some(0);
        }
        let word = self.source.u64()?;
        if word == 0 {
            self.zeros = self.source.u32()?.checked_sub(1)?;
        }
        Some(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_take_no_more_than_their_count() {
        let cases: [(&[u64], usize); 5] = [
            (&[], 0),
            (&[0], 12),
            (&[1, 2, 3], 24),
            (&[0, 0, 0, 7, 0, 0], 12 + 8 + 12),
            (&[5, 0, 6], 8 + 12 + 8),
        ];
        for (words, length) in cases {
            let mut bytes = Vec::new();
            let mut take = |piece: &[u8]| bytes.extend_from_slice(piece);
            Sink::new(&mut take).put_sparse(words.iter().copied());
            assert_eq!(bytes.len(), length, "{words:?}");
            let mut rest = &bytes[..];
            let mut more = |window: &mut [u8]| std::io::Read::read(&mut rest, window).unwrap_or(0);
            let mut source = Source::new(&mut more);
            let mut sparse = source.sparse();
            assert!(words.iter().all(|word| sparse.word() == Some(*word)), "{words:?}");
            assert_eq!(sparse.word(), None);
        }
    }

    #[test]
    fn what_goes_in_comes_out_whatever_the_pieces() {
        let mut random = fastrand::Rng::with_seed(5);
        for _ in 0..50 {
            let mut bytes = Vec::new();
            let mut expected = Vec::new();
            let mut take = |piece: &[u8]| bytes.extend_from_slice(piece);
            let mut sink = Sink::new(&mut take);
            for _ in 0..random.usize(0..2000) {
                let value = random.u64(..);
                sink.put_u64(value);
                expected.extend_from_slice(&value.to_le_bytes());
                if random.u8(..) == 0 {
                    let filler = vec![random.u8(..); random.usize(0..2 * WINDOW_BYTES)];
                    sink.put(&filler);
                    expected.extend_from_slice(&filler);
                }
            }
            drop(sink);
            assert_eq!(bytes, expected);
            let mut rest = &bytes[..];
            let mut more = |window: &mut [u8]| {
                let count = random.usize(1..=window.len()).min(rest.len());
                window[..count].copy_from_slice(&rest[..count]);
                rest = &rest[count..];
                count
            };
            let mut source = Source::new(&mut more);
            let (whole, tail) = expected.split_at(expected.len() / 8 * 8);
            for value in whole.chunks_exact(8) {
                assert_eq!(source.bytes(), Some(*value.first_chunk::<8>().expect("8 bytes")));
            }
            let mut end = vec![0; tail.len()];
            assert_eq!(source.fill(&mut end), Some(()));
            assert_eq!(end, tail);
            assert_eq!((source.u32(), source.u64()), (None, None));
        }
    }
}
