//! A set of row numbers, one bit each: which of our assertions the peer has shown.
//!
//! In: rows. Out: rows that are absent.
//!
//! Never: takes more than a bit for each row, forgets a row, reads the store.

/// A set of rows, one bit for each.
#[derive(Debug, Default)]
pub(super) struct RowSet {
    /// One bit per row. A million rows are 125 KB, where a set of numbers takes some 8 MB.
    words: Vec<u64>,
    /// How many bits are set, so that no page of leaves has to count them.
    pub(super) count: u64,
}

impl RowSet {
    /// Adds a row; false if it was there already.
    pub(super) fn insert(&mut self, row: u64) -> bool {
        let word = usize::try_from(row / 64).expect("rows fit in memory");
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let fresh = self.words[word] >> (row % 64) & 1 == 0;
        self.words[word] |= 1 << (row % 64);
        self.count += u64::from(fresh);
        self.check();
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
            // Shifting brings in zeros from the top: a count that reaches them found nothing here.
            let free = (!word >> (row % 64)).trailing_zeros();
            if free < 64 - (row % 64) as u32 {
                let found = row + u64::from(free);
                return (found < end).then_some(found);
            }
            row = (row / 64 + 1) * 64;
        }
        None
    }

    /// No more rows are counted than there are bits. The last word holds one, since the set grows
    /// only for a row in it.
    fn check(&self) {
        debug_assert!(self.count <= 64 * self.words.len() as u64);
        debug_assert!(self.words.last().is_none_or(|word| *word != 0));
    }
}
