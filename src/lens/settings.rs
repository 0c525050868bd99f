//! How claims are judged, and what a fold over them needs next.
//!
//! In: nothing. Out: plain values. Never: a rule of its own.

use crate::base::Wall;
use crate::model::{HalfLife, Voices};

/// How claims are judged.
#[derive(Clone, Copy, Debug)]
pub struct LensSettings {
    /// Weights decay by it.
    pub half_life: Option<HalfLife>,
    /// Where age counts from, and by when a claim's time has come.
    pub now: Wall,
    /// What is counted.
    pub voices: Voices,
    /// Say why, too.
    pub explain: bool,
}

impl LensSettings {
    /// As of `now`, with weights that do not decay and agents for voices.
    pub fn at(now: Wall) -> LensSettings {
        LensSettings { half_life: None, now, voices: Voices::Agents, explain: false }
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
