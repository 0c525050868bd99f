//! What others say of a claim: the sum of its votes, the trust in its authors.
//!
//! In: what statements about it say. Out: [`Support`], by which a lens compares it with others.
//! Never: looks a statement up.

use super::sum::Sum;
use super::weight::Weight;

/// What others say of a claim that a lens judges.
#[derive(Clone, Copy, Debug)]
pub struct Support {
    /// The sum of its votes.
    pub votes: VoteSum,
    /// The greatest trust in one of its authors, 0 to 1.
    pub trust: f64,
}

/// The trust in an author of whom nothing is said.
pub const TRUST_UNSAID: f64 = 0.5;

impl Default for Support {
    fn default() -> Support {
        Support { votes: VoteSum::default(), trust: TRUST_UNSAID }
    }
}

/// Numbers from 0 to 1, added up in any order.
#[derive(Clone, Copy, Debug, Default)]
pub struct VoteSum(pub(super) Sum);

impl VoteSum {
    /// Adds what one agent's vote weighs.
    pub fn add(&mut self, number: f64) {
        self.0.add(Weight::of(number));
    }
}
