//! All claims of one value.
//!
//! In: claims and voices. Out: how many, what they weigh, the newest. Never: keeps a claim.

use super::candidate::{AgeRank, Candidate};
use super::sum::Sum;
use super::weight::Weight;
use crate::model::SourceClass;

/// All that claim one value.
#[derive(Clone, Debug, Default)]
pub(super) struct Group {
    /// Voices for it.
    pub(super) voices: u64,
    /// What they weigh.
    pub(super) weight: Sum,
    /// Claims of it.
    pub(super) claims: u64,
    /// The newest of them, and what that one weighs.
    pub(super) newest: Option<(AgeRank, Weight)>,
    /// The class of most authority among them.
    pub(super) class: Option<SourceClass>,
}

impl Group {
    pub(super) fn note_claim(&mut self, candidate: &Candidate) {
        self.claims += 1;
        let newest = Some((candidate.age_rank(), candidate.weight));
        self.newest = self.newest.max(newest);
        let class = candidate.source_class;
        self.class = Some(self.class.map_or(class, |known| known.min(class)));
    }

    pub(super) fn count(&mut self, weight: Weight) {
        self.voices += 1;
        self.weight.add(weight);
    }
}
