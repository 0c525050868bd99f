//! How much two sets differ, by how unevenly their members lie in the first cells of both.
//!
//! In: the lowest bits of counts of the other's cells, and how many members it has.
//! Out: about how many ids only one of the two has. What the sets have in common cancels out of
//! the difference of two counts, whatever its size, so the lowest bits of a count are enough
//! where that difference is small: in later cells, into which few of the differing ids fall.
//!
//! Never: says less than the sizes of the sets prove.

use super::{Sketch, density};
use crate::base::limits;

/// Where counts of 8 bits are taken: of 300,000 differences some 2,300 lie in such a cell, four
/// times whose root is half of what 8 bits tell apart.
const HINT_FROM: usize = 256;
/// Counts that tell an order of magnitude: some 30 % off.
const HINTS: usize = 20;
/// Cells whose low counts go along at least, and the first that is worth it.
const LOW_MIN: usize = 128;
const LOW_FROM: usize = 32;

/// The lowest bits of the counts of cells that follow each other.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LowCounts {
    /// The first of the cells.
    pub from: usize,
    /// 4 bits each, the lower half of a byte first; or of 8, where they are a hint.
    pub packed: Vec<u8>,
}

/// A reading of the counts.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Estimate {
    /// About how many ids only one of two sets has.
    pub differing: u64,
    /// By what share of it that is off, for the most part.
    pub error: f64,
}

/// Adds up how far counts are from what sets of these sizes have that differ in nothing else.
struct Spread {
    /// How many more they have.
    all: f64,
    sum: f64,
    count: u32,
}

impl Spread {
    fn new(all: f64) -> Spread {
        Spread { all, sum: 0.0, count: 0 }
    }

    /// The counts' difference in a cell, known modulo a power of two: the nearest to what is to be
    /// expected is meant.
    fn add(&mut self, place: usize, gap: f64, modulus: f64) {
        let density = density(place);
        let off = gap - self.all * density;
        let off = off - modulus * (off / modulus).round();
        self.sum += off * off / (density * (1.0 - density));
        self.count += 1;
    }

    /// Each cell tells by the square of a number that is about normal; where few ids lie in a
    /// cell, a little less.
    fn estimate(self) -> Estimate {
        let count = f64::from(self.count.max(1));
        let differing = (self.sum / count).max(self.all.abs()) as u64;
        Estimate { differing, error: (2.4 / count).sqrt() }
    }
}

impl Sketch {
    /// By the lowest bits of counts, of a set of `all` members.
    pub fn estimate_by_low(&self, all: u32, theirs: &LowCounts) -> Estimate {
        let nibbles = theirs.packed.iter().flat_map(|byte| [byte & 15, byte >> 4]);
        self.estimate_modulo(all, theirs.from, nibbles, 16)
    }

    /// An order of magnitude, by what another told of its counts.
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
        let mut spread = Spread::new(f64::from(all.wrapping_sub(self.members()) as i32));
        for (place, low) in (from..self.len()).zip(lows) {
            let gap = u32::from(low).wrapping_sub(self.count(place)) % modulus;
            spread.add(place, f64::from(gap), f64::from(modulus));
        }
        spread.estimate()
    }

    /// What tells another an order of magnitude.
    pub fn hint(&self) -> Vec<u8> {
        (HINT_FROM..HINT_FROM + HINTS).map(|place| self.count(place) as u8).collect()
    }

    /// The low counts that tell best what such a difference really is: in their cells lie few
    /// enough of the differing ids for 4 bits, and as many of them as make up for their bytes by
    /// cells that need not be sent.
    pub fn low_counts(&self, hint: u64) -> LowCounts {
        let all = self.len();
        let hint = usize::try_from(hint).unwrap_or(all).min(all);
        let from = (hint / 2).clamp(LOW_FROM, all / 4);
        let most = limits::SKETCH_LOW_COUNTS_MAX.min(all - from);
        let mut count = LOW_MIN;
        // Each halving of the error takes four times as many, and spares cells by the difference:
        // the least of both sums grows by the power of two thirds. Somewhat more than that costs
        // little, and keeps what one comparison costs nearer to what others do.
        while count < most && count.pow(3) < (100 * hint).pow(2) {
            count += LOW_MIN;
        }
        let end = from + count.min(most) / 2 * 2;
        let nibble = |place: usize| (self.count(place) % 16) as u8;
        let pairs = (from..end).step_by(2);
        let packed = pairs.map(|place| nibble(place) | nibble(place + 1) << 4).collect();
        LowCounts { from, packed }
    }
}
