//! One answer from many claims.
//!
//! In: assertions, one at a time, in any order. Out: a winner and how sure it is ([`Resolver`]),
//! who claims what ([`Skeptic`]), who wins in each class of sources ([`Layered`]). Two nodes with
//! the same assertions give the same answer to the last bit.
//!
//! Never: keeps an assertion, reads a body or a clock.
//!
//! | lens | what wins, the first difference decides |
//! |---|---|
//! | recency | greater timestamp, hlc, digest |
//! | hlc | greater hlc (time, counter, node), source hash, timestamp, digest |
//! | confidence | greater weight, timestamp, hlc, digest |
//! | consensus | value with more assertions, weight, newer best; of its own as under recency |
//! | authority | lower source class; greater weight, timestamp, hlc, digest |
//!
//! A claim whose time (`hlc.time`, whose seconds are `timestamp`) is further ahead of `now` than
//! clocks may drift (`limits::HLC_DRIFT_MAX`) does not count: one clock that was wrong for a minute
//! would win for ever. With time it counts.
//!
//! A claim weighs its confidence, decayed to `confidence * 2^(-age / half_life)` where asked for: 64
//! bits with an exponent without bounds, rounded down (`weight.rs`). The share of a value is its part
//! of the weight of all; where nothing weighs anything, of the number of assertions.
//!
//! ```
//! use stemedb_edge::base::{HlcClock, NodeId, Wall};
//! use stemedb_edge::lens::Resolver;
//! use stemedb_edge::model::{Draft, Lens, Object};
//!
//! let mut clock = HlcClock::new(NodeId([1; 16]));
//! let mut resolver = Resolver::new(Lens::Recency, None, Wall(3_000));
//! for (second, value) in [(2, "red"), (1, "blue")] {
//!     let mut draft = Draft::new("sky".into(), "color".into(), Object::Text(value.into()));
//!     draft.timestamp = Some(second);
//!     let claim = draft.check(&mut clock, Wall(3_000)).expect("it keeps the rules");
//!     resolver.add(&claim.seal().digest(), &claim);
//! }
//! let resolution = resolver.finish();
//! assert_eq!((resolution.candidates_count, resolution.conflict_score), (2, 1.0));
//! ```

mod layered;
mod skeptic;
mod sum;
mod tally;
mod weight;

#[cfg(test)]
mod tests;

pub use layered::{Layer, Layered, Layers};
pub use skeptic::{Agreement, Claim, Skeptic, Skepticism};

use tally::{Candidate, Tally};
use weight::Scale;

use crate::base::{Digest, Wall};
use crate::model::{Assertion, HalfLife, Lens};

/// What a lens makes of many.
#[derive(Clone, PartialEq, Debug)]
pub struct Resolution {
    /// The lens that was asked for.
    pub lens: Lens,
    /// The assertion that wins; `None` of none.
    pub winner: Option<Digest>,
    /// How many assertions there were.
    pub candidates_count: u64,
    /// The winner's weight times the share of its value: 1 when it is certain and no other value is
    /// claimed.
    pub resolution_confidence: f64,
    /// The entropy of the values' shares, 0 (one value) to 1 (all values weigh the same).
    pub conflict_score: f64,
    /// There were more than `limits::GROUPS_MAX` values: scores come from a sample of them.
    pub sampled: bool,
}

/// Folds assertions into a [`Resolution`].
#[derive(Clone, Debug)]
pub struct Resolver {
    lens: Lens,
    scale: Scale,
    best: Option<Candidate>,
    count: u64,
    tally: Tally,
}

impl Resolver {
    /// A resolver that has seen nothing; `now` is where age counts from, and by when a claim's
    /// time has come.
    pub fn new(lens: Lens, half_life: Option<HalfLife>, now: Wall) -> Resolver {
        let scale = Scale::new(half_life, now);
        Resolver { lens, scale, best: None, count: 0, tally: Tally::new(lens) }
    }

    /// Takes in one assertion; each may come once. One whose time has not come does not count.
    pub fn add(&mut self, digest: &Digest, assertion: &Assertion) {
        if !self.scale.has_come(assertion) {
            return;
        }
        let candidate = Candidate::new(digest, assertion, self.scale.weigh(assertion));
        self.count += 1;
        if self.best.is_none_or(|best| candidate.cmp_by(self.lens, &best).is_gt()) {
            self.best = Some(candidate);
        }
        self.tally.add(candidate);
    }

    /// What became of them.
    pub fn finish(self) -> Resolution {
        let winner = match self.lens {
            Lens::Consensus => self.consensus(),
            _ => self.best,
        };
        Resolution {
            lens: self.lens,
            winner: winner.map(|winner| winner.digest),
            candidates_count: self.count,
            resolution_confidence: winner.map_or(0.0, |winner| self.confidence_in(&winner)),
            conflict_score: self.tally.conflict_score(),
            sampled: self.tally.is_sampled(),
        }
    }

    fn consensus(&self) -> Option<Candidate> {
        let rank = |group: &tally::Group| (group.count, group.weight, group.best.age_rank());
        let group = self.tally.groups().map(|(_, group)| group).max_by_key(|group| rank(group));
        group.map(|group| group.best)
    }

    /// A value that the sample left out has no known share: none is claimed for it.
    fn confidence_in(&self, winner: &Candidate) -> f64 {
        self.tally.scored(winner.weight, &winner.key)
    }
}
