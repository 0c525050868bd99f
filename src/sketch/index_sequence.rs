//! In which cells an id lies, and how it is checked.
//!
//! In: the cluster's secret, ids. Out: for each id a rising sequence of cell indices, and a check.
//! After "Practical Rateless Set Reconciliation" (Yang, Gilad, Alizadeh, SIGCOMM 2024), section
//! 5.2: an id lies in cell `i` with the chance `1 / (1 + i / 2)`, whatever the sketch's length.
//!
//! Never: depends on the machine (the same doubles everywhere), skips the first cell.

use super::part::ShortId;
use crate::base::random::{WEYL, mix};
use crate::base::{Digest, Secret, limits};

/// Cells to set aside memory for per id: the sum of [`density`] over all cells is 21.3.
pub(super) const INDICES_USUAL: usize = 24;

/// The key that decides in which cells an id lies and how it is checked. Nodes that compare their
/// sets have the same one.
// Keyed, because with known indices anyone who may write could choose assertions that all lie in
// the same cells: such a difference never decodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SketchKey {
    /// Seeds the sequence of an id's cells.
    indices: u64,
    /// Seeds an id's check; another number, so that a check says nothing about the cells.
    checks: u64,
}

impl SketchKey {
    /// The key of a cluster; all clusters without a secret share one.
    pub fn new(cluster: Option<&Secret>) -> SketchKey {
        let secret = cluster.map_or("", Secret::expose);
        let key = blake3::derive_key("stemedb-edge 2026 sketch", secret.as_bytes());
        let half = |from: usize| {
            u64::from_le_bytes(*key[from..].first_chunk().expect("a derived key has 32 bytes"))
        };
        SketchKey { indices: half(0), checks: half(8) }
    }

    /// A digest of the key, by which kept sketches say what key they were made with.
    pub fn name(&self) -> Digest {
        let (indices, checks) = (self.indices.to_le_bytes(), self.checks.to_le_bytes());
        Digest::of(&[indices, checks].concat())
    }

    pub(super) fn check(&self, id: ShortId) -> u32 {
        (mix(id ^ self.checks) >> 32) as u32
    }

    /// The cells of an id, rising.
    pub(super) fn indices(self, id: ShortId) -> impl Iterator<Item = usize> {
        let mut sequence = IndexSequence::new(self, id);
        std::iter::from_fn(move || {
            let index = sequence.index as usize;
            sequence.step();
            (index < limits::SKETCH_CELLS_MAX).then_some(index)
        })
    }
}

/// The indices of one id's cells: always the first, then ever fewer.
pub(super) struct IndexSequence {
    /// State of the id's own generator, so that both nodes draw the same indices.
    state: u64,
    /// The current index.
    // Signed, as all whole numbers here are: others take more instructions to and from a double.
    pub(super) index: i64,
}

impl IndexSequence {
    pub(super) fn new(key: SketchKey, id: ShortId) -> IndexSequence {
        IndexSequence { state: mix(id ^ key.indices), index: 0 }
    }

    /// Goes to the next cell: section 5.2 of the paper inverts the distribution of the gap, which
    /// for this density is `(i + 1.5) (1 / sqrt(u) - 1)`.
    pub(super) fn step(&mut self) {
        self.state = self.state.wrapping_add(WEYL);
        // In (0, 1], so that the root is not zero and the step stays finite.
        let chance = ((mix(self.state) >> 11) as i64 + 1) as f64 / (1_u64 << 53) as f64;
        let step = (self.index as f64 + 1.5) * (1.0 / chance.sqrt() - 1.0);
        // At least one: a chance of 1 gives a gap of zero, and an id added twice is gone.
        self.index += rounded_up(step).max(1);
    }
}

/// `ceil` of what is not negative, which without SSE 4.1 is a call.
fn rounded_up(step: f64) -> i64 {
    let whole = step as i64;
    whole + i64::from(step > whole as f64)
}

/// The chance that an id lies in a cell.
pub(super) fn density(index: usize) -> f64 {
    1.0 / (1.0 + index as f64 / 2.0)
}
