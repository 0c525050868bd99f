//! An estimate of how many ids two sets differ in, by the counts of their cells.
//!
//! In: the lowest bits of counts of the peer's cells, and how many members it has. Out: about how
//! many ids only one of the two has. Common ids cancel out in the difference of two counts, however
//! many they are. So the lowest bits of a count are enough where that difference is small: in later
//! cells, into which few of the differing ids fall. This takes the place of the strata estimator of
//! "What's the Difference?" (Eppstein, Goodrich, Uyeda, Varghese, SIGCOMM 2011): the sketch's own
//! counts say it, so no second structure is kept up.
//!
//! Never: says less than the sizes of the sets prove, reads a member, sends a whole count.

use super::Sketch;
use super::index_sequence::density;
use crate::base::limits;

/// First cell of the hint's counts of 8 bits: of 300,000 differences some 2,300 lie in such a cell.
/// Four deviations of that (4 * 48) are within the 256 values of 8 bits.
const HINT_FROM: usize = 256;
/// Counts in a hint: an order of magnitude, some 30 % off.
const HINTS: usize = 20;
/// Low counts that go with a request at least: 64 bytes.
const LOW_MIN: usize = 128;
/// First cell whose low counts may be sent: in earlier ones even few differences exceed 4 bits.
const LOW_FROM: usize = 32;

/// The lowest bits of the counts of cells that follow each other.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LowCounts {
    /// The first of the cells.
    pub from: usize,
    /// 4 bits each, the lower half of a byte first; or of 8, where they are a hint.
    pub packed: Vec<u8>,
}

/// The size of a difference, estimated by the counts of both sides.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Estimate {
    /// About how many ids only one of two sets has.
    pub differing: u64,
    /// The standard error, as a share of `differing`.
    pub error: f64,
}

/// How far the counts are from those of two sets that differ in their sizes alone.
struct Spread {
    /// How many members more the other set has: its counts are higher for that already.
    all: f64,
    /// Squares of the deviations, each in units of the variance that one differing id adds.
    sum: f64,
    /// How many cells were added, for the mean.
    count: u32,
}

impl Spread {
    fn new(all: f64) -> Spread {
        Spread { all, sum: 0.0, count: 0 }
    }

    /// Adds the difference of two counts of a cell, known modulo a power of two.
    fn add(&mut self, index: usize, gap: f64, modulus: f64) {
        let density = density(index);
        let off = gap - self.all * density;
        // Of all numbers with these low bits the one nearest to what is expected is meant.
        let off = off - modulus * (off / modulus).round();
        // A differing id lies in the cell or not: the variance of one such choice.
        self.sum += off * off / (density * (1.0 - density));
        self.count += 1;
    }

    fn estimate(self) -> Estimate {
        let count = f64::from(self.count.max(1));
        // At least as many ids differ as one set is larger by.
        let differing = (self.sum / count).max(self.all.abs()) as u64;
        debug_assert!(differing as f64 > self.all.abs() - 1.0, "less than the sizes prove");
        // The square of a normal number has the variance 2; where few ids lie in a cell, a little
        // more, hence 2.4.
        Estimate { differing, error: (2.4 / count).sqrt() }
    }
}

impl Sketch {
    /// An estimate by the lowest 4 bits of counts of a set with `all` members.
    pub fn estimate_by_low(&self, all: u32, theirs: &LowCounts) -> Estimate {
        let nibbles = theirs.packed.iter().flat_map(|byte| [byte & 15, byte >> 4]);
        self.estimate_modulo(all, theirs.from, nibbles, 16)
    }

    /// An order of magnitude, by the hint of a set with `all` members.
    pub fn estimate_by_hint(&self, all: u32, hint: &[u8]) -> u64 {
        let bytes = hint.iter().copied().take(HINTS);
        self.estimate_modulo(all, HINT_FROM, bytes, 256).differing
    }

    fn estimate_modulo(
        &self,
        all: u32,
        from: usize,
        lows: impl Iterator<Item = u8>,
        modulus: u32,
    ) -> Estimate {
        // Both are known modulo 2^32; their difference is taken for less than 2^31.
        let mut spread = Spread::new(f64::from(all.wrapping_sub(self.members()) as i32));
        for (index, low) in (from..self.len()).zip(lows) {
            let gap = u32::from(low).wrapping_sub(self.count(index)) % modulus;
            spread.add(index, f64::from(gap), f64::from(modulus));
        }
        spread.estimate()
    }

    /// Counts by which a peer estimates an order of magnitude.
    pub fn hint(&self) -> Vec<u8> {
        (HINT_FROM..HINT_FROM + HINTS).map(|index| self.count(index) as u8).collect()
    }

    /// The low counts by which a peer estimates a difference of about `hint` best. They are of
    /// cells with so few of the differing ids that 4 bits are enough. Their number is the one that
    /// saves as many bytes of cells as it costs.
    pub fn low_counts(&self, hint: u64) -> LowCounts {
        let all = self.len();
        let hint = usize::try_from(hint).unwrap_or(all).min(all);
        // In cell `h / 2` lie some 4 of `h` differing ids: 16 values are enough for their spread.
        let from = (hint / 2).clamp(LOW_FROM, all / 4);
        let most = limits::SKETCH_LOW_COUNTS_MAX.min(all - from);
        let mut count = LOW_MIN;
        // Each halving of the error takes four times as many, and spares cells by the difference:
        // the least of both sums grows by the power of two thirds. Somewhat more than that costs
        // little, and keeps what one comparison costs nearer to what others do.
        // In 64 bits: the powers of both pass 32.
        let gain = (100 * hint as u64).pow(2);
        while count < most && (count as u64).pow(3) < gain {
            count += LOW_MIN;
        }
        let end = from + count.min(most) / 2 * 2;
        let nibble = |index: usize| (self.count(index) % 16) as u8;
        let pairs = (from..end).step_by(2);
        let packed = pairs.map(|index| nibble(index) | nibble(index + 1) << 4).collect();
        LowCounts { from, packed }
    }
}
