//! How far the comparison of the two sets has come.
//!
//! In: cells, and ids that they told. Out: whether sketches cost more than they tell. Holds the
//! comparisons under way: of the whole, of its parts, of the buckets of the Merkle trees.
//!
//! Never: takes more cells than [`CELLS_MAX`] that tell nothing.

use super::collision_check::{CollisionCheck, PeerHistory};
use super::part_comparisons::PartComparisons;
use super::sketch_comparison::SketchComparison;
use crate::base::limits;

/// Cells taken from a peer that tell nothing, beyond [`CELLS_PER_ID`] for each id that they told.
const CELLS_MAX: usize = 2 * limits::SKETCH_CELLS_MAX;
/// Cells that an id may take.
const CELLS_PER_ID: usize = 4;

/// Comparisons with one peer.
#[derive(Debug)]
pub(super) struct Compare {
    /// Of the whole sets; none with a peer that has no sketches.
    pub(super) whole: Option<SketchComparison>,
    /// Where more differs than the sketch of the whole tells.
    pub(super) parts: Option<PartComparisons>,
    /// Of buckets, where sketches may hide something.
    pub(super) buckets: Option<CollisionCheck>,
    /// What earlier sessions came to: it says whether buckets are looked at.
    pub(super) past: PeerHistory,
    /// When all that is known is exchanged, sketches of the whole are compared once more.
    pub(super) is_anew: bool,
    /// The session gave others their turn, and has not its own yet: no slice is read meanwhile.
    pub(super) has_yielded: bool,
    cells: usize,
    ids: usize,
}

impl Compare {
    pub(super) fn new(whole: Option<SketchComparison>, past: PeerHistory) -> Compare {
        Compare {
            whole,
            parts: None,
            buckets: None,
            past,
            is_anew: false,
            has_yielded: false,
            cells: 0,
            ids: 0,
        }
    }

    /// So many cells came.
    pub(super) fn note_cells(&mut self, count: usize) {
        self.cells += count;
    }

    /// They told so many ids.
    pub(super) fn note_ids(&mut self, count: usize) {
        self.ids += count;
    }

    /// Whether leaves would have told it for less.
    pub(super) fn is_costly(&self) -> bool {
        self.cells > CELLS_MAX + CELLS_PER_ID * self.ids
    }
}
