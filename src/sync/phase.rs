//! The phases of a session.
//!
//! In: nothing. Out: their names, for reports. Never: says which one follows; `session` has the
//! table of that.

/// Which machine asks next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum SessionPhase {
    /// The peer is asked for its root.
    Compare,
    /// The peer's log is read in order.
    Pull,
    /// The sketches of the whole sets are compared.
    Sketch,
    /// What is known to differ travels, while parts are compared.
    Exchange(AfterExchange),
    /// Buckets of the Merkle trees are compared.
    CollisionCheck,
    /// Only so few differ, though the peer said more: this node asks whether the sets changed.
    Recount(u64),
    /// The peer's leaves come page by page.
    Walk,
    /// The last page came; what it showed to be missing is fetched.
    Drain,
    /// The peer is given what its leaves did not show.
    Push,
    /// Nothing more is asked; answers and flushes under way are waited for.
    Over,
}

/// What follows when everything known is exchanged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum AfterExchange {
    /// The end, or a check for collisions.
    End,
    /// Parts were abandoned because the sets changed: the sketches of the whole are compared again.
    CompareAgain,
}

impl SessionPhase {
    /// As reports show it: phases that a reader need not distinguish have one name.
    pub(super) fn name(self) -> &'static str {
        match self {
            SessionPhase::Compare | SessionPhase::Recount(_) => "compare",
            SessionPhase::Pull => "pull",
            SessionPhase::Sketch => "sketch",
            SessionPhase::Exchange(_) => "exchange",
            SessionPhase::CollisionCheck => "collisions",
            SessionPhase::Walk | SessionPhase::Drain => "walk",
            SessionPhase::Push => "push",
            SessionPhase::Over => "end",
        }
    }
}
