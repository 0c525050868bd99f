//! A set of row numbers, one bit each: which of our assertions the peer has shown.
//!
//! In: rows. Out: rows that are absent. Never: takes more than a bit for each row.

/// The set.
#[derive(Debug, Default)]
pub(super) struct RowSet {
    words: Vec<u64>,
    pub(super) count: u64,
}

impl RowSet {
    /// False if the row was there already.
    pub(super) fn insert(&mut self, row: u64) -> bool {
        let word = usize::try_from(row / 64).expect("rows fit in memory");
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let fresh = self.words[word] >> (row % 64) & 1 == 0;
        self.words[word] |= 1 << (row % 64);
        self.count += u64::from(fresh);
        fresh
    }

    pub(super) fn count_below(&self, end: u64) -> u64 {
        let whole = usize::try_from(end / 64).expect("rows fit in memory").min(self.words.len());
        let mut count: u64 =
            self.words[..whole].iter().map(|word| u64::from(word.count_ones())).sum();
        if let Some(word) = self.words.get(whole) {
            count += u64::from((word & !(u64::MAX << (end % 64))).count_ones());
        }
        count
    }

    /// The first row in `from..end` that is not in the set.
    pub(super) fn next_absent(&self, from: u64, end: u64) -> Option<u64> {
        let mut row = from;
        while row < end {
            let word = usize::try_from(row / 64).ok().and_then(|word| self.words.get(word));
            let Some(word) = word else { return Some(row) };
            let free = (!word >> (row % 64)).trailing_zeros();
            if free < 64 - (row % 64) as u32 {
                let found = row + u64::from(free);
                return (found < end).then_some(found);
            }
            row = (row / 64 + 1) * 64;
        }
        None
    }
}
