//! The comparisons of a session, and what they may cost.
//!
//! In: how many cells came, how many ids they decoded to. Out: whether sketches cost more than
//! leaves would. Holds the comparison of the whole sets, of their parts, and of the buckets of the
//! Merkle trees; the session says which of them goes on.
//!
//! ```text
//! whole --too many differ--> parts --sets changed meanwhile--> whole, from its first cells
//!   |                          |
//!   +--- same ids as last time +---> collisions
//! ```
//!
//! Never: takes more cells than [`CELLS_MAX`] that decode to nothing, reads two slices of our side
//! without a yield between them.

use super::collision_check::CollisionCheck;
use super::part_comparisons::PartComparisons;
use super::sketch_comparison::SketchComparison;
use super::strategy::PeerHistory;
use crate::base::limits;

/// Cells taken from a peer that decode to nothing, beyond [`CELLS_PER_ID`] for each decoded id.
const CELLS_MAX: usize = 2 * limits::SKETCH_CELLS_MAX;
/// Cells that an id may take: three times what an honest comparison takes (1.36), since the cells
/// of a part that is split are asked for in vain.
const CELLS_PER_ID: usize = 4;

/// Whether a slice of our own side may be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Slice {
    /// The state thread served others since the last slice.
    Ready,
    /// The session yielded and was not resumed yet.
    Yielded,
}

/// The comparisons of a session: of the whole sets, of parts, and of buckets.
#[derive(Debug)]
pub(super) struct Compare {
    /// Of the whole sets; `None` with a peer that has no sketches.
    pub(super) whole: Option<SketchComparison>,
    /// Of parts, if more differs than the sketch of the whole decodes.
    pub(super) parts: Option<PartComparisons>,
    /// Of buckets, if short ids may collide. Once begun it stays, so that a session checks once.
    pub(super) collisions: Option<CollisionCheck>,
    /// What earlier sessions came to: it says whether buckets are compared.
    pub(super) history: PeerHistory,
    /// Keeps the slices of our side apart, so that clients are served between them.
    pub(super) slice: Slice,
    /// Cells taken from the peer: 12 bytes each, whatever they decode to.
    cells: usize,
    /// Ids that they decoded to, which is what cells are paid for.
    ids: usize,
}

impl Compare {
    pub(super) fn new(whole: Option<SketchComparison>, history: PeerHistory) -> Compare {
        let slice = Slice::Ready;
        Compare { whole, parts: None, collisions: None, history, slice, cells: 0, ids: 0 }
    }

    /// Counts cells, for the judgment whether sketches cost more than leaves.
    pub(super) fn note_cells(&mut self, count: usize) {
        self.cells += count;
        self.check();
    }

    /// They decoded to so many ids.
    pub(super) fn note_ids(&mut self, count: usize) {
        self.ids += count;
        self.check();
    }

    /// Whether leaves would have shown the difference for less.
    pub(super) fn is_costly(&self) -> bool {
        // Ids pay for their cells, so a large honest difference is never too costly.
        self.cells > CELLS_MAX + CELLS_PER_ID * self.ids
    }

    /// A cell gives one id away at most.
    fn check(&self) {
        debug_assert!(self.ids <= self.cells);
    }
}
