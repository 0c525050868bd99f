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
//! | votes | greater sum of its votes, timestamp, hlc, digest |
//! | trust | greater weight times trust, timestamp, hlc, digest |
//!
//! A claim whose time (`hlc.time`, whose seconds are `timestamp`) is further ahead of `now` than
//! clocks may drift (`limits::HLC_DRIFT_MAX`) does not count: one clock that was wrong for a minute
//! would win for ever. With time it counts.
//!
//! A claim weighs its confidence, decayed to `confidence * 2^(-age / half_life)` where asked for:
//! 64 bits with an exponent without bounds, rounded down (`weight.rs`). The share of a value is its
//! part of the weight of all; where nothing weighs anything, of the number of voices.
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
//! use stemedb_edge::lens::{LensSettings, Resolver, Settled, Support};
//! use stemedb_edge::model::{Draft, Lens, Object};
//!
//! let mut clock = HlcClock::new(NodeId([1; 16]));
//! let mut resolver = Resolver::new(Lens::Recency, LensSettings::at(Wall(3_000)));
//! for (second, value) in [(2, "red"), (1, "blue")] {
//!     let mut draft = Draft::new("sky".into(), "color".into(), Object::Text(value.into()));
//!     draft.timestamp = Some(second);
//!     let claim = draft.check(&mut clock, Wall(3_000)).expect("it keeps the rules");
//!     resolver.add(&claim.seal().digest(), &claim, &claim.authors(), &Support::default());
//! }
//! assert_eq!(resolver.settle(&mut 1_000), Settled::Over);
//! let resolution = resolver.finish();
//! assert_eq!((resolution.candidates_count, resolution.conflict_score), (2, 1.0));
//! ```

mod candidate;
mod conflict;
mod count;
mod group;
mod hitters;
mod layered;
mod order;
mod resolver;
mod settings;
mod skeptic;
mod sum;
mod support;
mod tally;
mod voice;
mod weight;

#[cfg(test)]
mod tests;

pub use conflict::ConflictClass;
pub use layered::{Layer, Layered, Layers};
pub use order::{Criterion, CriterionValue, Explanation, RunnerUp};
pub use resolver::{Resolution, Resolver};
pub use settings::{LensSettings, Settled};
pub use skeptic::{Agreement, Backers, Claim, Skeptic, Skepticism};
pub use support::{Support, TRUST_UNSAID, VoteSum};
