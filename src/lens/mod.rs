//! One answer from many claims.
//!
//! In: assertions, one at a time, in any order, the same ones in each pass. Out: a winner and how
//! sure it is ([`Resolver`]), who claims what ([`Skeptic`]), who wins in each class of sources
//! ([`Layered`]). Two nodes with the same assertions give the same answer to the last bit.
//!
//! Never: keeps an assertion, reads a body or a clock.
//!
//! | lens | what wins, the first difference decides |
//! |---|---|
//! | recency | greater timestamp, hlc, digest |
//! | hlc | greater hlc (time, counter, node), source hash, timestamp, digest |
//! | confidence | greater weight, timestamp, hlc, digest |
//! | consensus | value with more voices, weight, newer best; of its own as under recency |
//! | authority | lower source class; greater weight, timestamp, hlc, digest |
//!
//! A claim whose time (`hlc.time`, whose seconds are `timestamp`) is further ahead of `now` than
//! clocks may drift (`limits::HLC_DRIFT_MAX`) does not count: one clock that was wrong for a minute
//! would win for ever. With time it counts.
//!
//! A claim weighs its confidence, decayed to `confidence * 2^(-age / half_life)` where asked for: 64
//! bits with an exponent without bounds, rounded down (`weight.rs`). The share of a value is its part
//! of the weight of all; where nothing weighs anything, of the number of voices.
//!
//! Which claims are judged, and which of their authors still speak, the scan says
//! (`scan/succession.rs`, `model::Query::judges`).
//!
//! A voice is an agent (of unsigned claims a source) that claims a value, however often: it weighs
//! what the weightiest of these claims weighs. Where asked for, each claim is a voice.
//!
//! More than one pass is needed where there are more than `limits::VOICES_MAX` voices or more than
//! `limits::GROUPS_MAX` values; `tally.rs` says which.
//!
//! ```
//! use stemedb_edge::base::{HlcClock, NodeId, Wall};
//! use stemedb_edge::lens::{LensSettings, Resolver, Settled};
//! use stemedb_edge::model::{Draft, Lens, Object};
//!
//! let mut clock = HlcClock::new(NodeId([1; 16]));
//! let mut resolver = Resolver::new(Lens::Recency, LensSettings::at(Wall(3_000)));
//! for (second, value) in [(2, "red"), (1, "blue")] {
//!     let mut draft = Draft::new("sky".into(), "color".into(), Object::Text(value.into()));
//!     draft.timestamp = Some(second);
//!     let claim = draft.check(&mut clock, Wall(3_000)).expect("it keeps the rules");
//!     resolver.add(&claim.seal().digest(), &claim, &claim.authors());
//! }
//! assert_eq!(resolver.settle(&mut 1_000), Settled::Over);
//! let resolution = resolver.finish();
//! assert_eq!((resolution.candidates_count, resolution.conflict_score), (2, 1.0));
//! ```

mod candidate;
mod counted;
mod hitters;
mod layered;
mod skeptic;
mod sum;
mod tally;
mod voice;
mod weight;

#[cfg(test)]
mod tests;

pub use layered::{Layer, Layered, Layers};
pub use skeptic::{Agreement, Claim, Skeptic, Skepticism};

use candidate::Candidate;
use counted::Counted;
use tally::Tally;
use weight::Scale;

use crate::base::{Digest, Wall};
use crate::model::{Assertion, Author, HalfLife, Lens, Voices};

/// How claims are judged.
#[derive(Clone, Copy, Debug)]
pub struct LensSettings {
    /// Weights decay by it.
    pub half_life: Option<HalfLife>,
    /// Where age counts from, and by when a claim's time has come.
    pub now: Wall,
    /// What is counted.
    pub voices: Voices,
}

impl LensSettings {
    /// As of `now`, with weights that do not decay and agents for voices.
    pub fn at(now: Wall) -> LensSettings {
        LensSettings { half_life: None, now, voices: Voices::Agents }
    }
}

/// What a fold needs after all claims were shown to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Settled {
    /// To be settled once more: the work that it was given was not enough.
    Working,
    /// All claims once more, in any order.
    Again,
    /// Nothing.
    Over,
}

/// What a lens makes of many.
#[derive(Clone, PartialEq, Debug)]
pub struct Resolution {
    /// The lens that was asked for.
    pub lens: Lens,
    /// The assertion that wins; `None` of none.
    pub winner: Option<Digest>,
    /// How many assertions were judged.
    pub candidates_count: u64,
    /// How many voices they are.
    pub voices_count: u64,
    /// The winner's weight times the share of its value: 1 when it is certain and no other value is
    /// claimed.
    pub resolution_confidence: f64,
    /// The entropy of the values' shares, 0 (one value) to 1 (all values weigh the same).
    pub conflict_score: f64,
    /// There were more than `limits::GROUPS_MAX` values: lighter ones come in by a sample.
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
    /// A resolver that has seen nothing.
    pub fn new(lens: Lens, settings: LensSettings) -> Resolver {
        let (scale, tally) = (Scale::new(settings), Tally::new(settings.voices));
        Resolver { lens, scale, best: None, count: 0, tally }
    }

    /// Takes in one assertion, of which these authors still speak; each may come once in a pass. One
    /// whose time has not come does not count.
    pub fn add(&mut self, digest: &Digest, assertion: &Assertion, of: &[Author]) {
        if !self.scale.has_come(assertion) {
            return;
        }
        let candidate = Candidate::new(digest, assertion, self.scale.weigh(assertion));
        if self.tally.is_first_pass() {
            self.count += 1;
            if self.best.is_none_or(|best| candidate.cmp_by(self.lens, &best).is_gt()) {
                self.best = Some(candidate);
            }
        }
        self.tally.add(&candidate, assertion, of);
    }

    /// All assertions were shown: what is needed now. About so much of a scan's `work` is done.
    pub fn settle(&mut self, work: &mut usize) -> Settled {
        if let Some(best) = self.best.filter(|_| self.lens != Lens::Consensus) {
            self.tally.watch(best.key);
        }
        self.tally.settle(work)
    }

    /// What became of them, once it is [`Settled::Over`].
    pub fn finish(self) -> Resolution {
        let counted = self.tally.finish();
        let (winner, confidence) = match self.lens {
            Lens::Consensus => consensus(&counted),
            _ => self.best.map(|best| {
                let group = counted.group(&best.key);
                (best.digest, group.map_or(0.0, |group| counted.scored(best.weight, group)))
            }),
        }
        .unzip();
        Resolution {
            lens: self.lens,
            winner,
            candidates_count: self.count,
            voices_count: counted.whole.voices,
            resolution_confidence: confidence.unwrap_or(0.0),
            conflict_score: counted.conflict_score(),
            sampled: counted.is_sampled,
        }
    }
}

/// The newest claim of the value that most voices claim, and the confidence in it.
fn consensus(counted: &Counted) -> Option<(Digest, f64)> {
    let groups = counted.values().map(|(_, group)| group);
    let group = groups.max_by_key(|group| (group.voices, group.weight, group.newest))?;
    let ((_, digest), weight) = group.newest?;
    Some((digest, counted.scored(weight, group)))
}
