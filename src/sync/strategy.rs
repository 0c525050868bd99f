//! How a session finds the difference, and what earlier sessions with the peer say about it.
//!
//! In: reports of sessions that ended. Out: the history that decides whether the next one looks for
//! colliding short ids. Two colliding ids cancel out, or one stands for the other; then sketches
//! decode again what they decoded before, although it was exchanged since.
//!
//! Never: grows with the number of sessions, holds anything against a peer.

use super::report::{DecodedSum, SessionReport};
use crate::base::Digest;

/// Sessions in a row that found the roots to differ, after which one compares bucket digests
/// whatever the sketches decode to. A client that writes all the time makes them decode to
/// something new each time, and would hide a pair for ever.
const OVERDUE: u32 = 16;

/// How a session finds the difference.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Strategy {
    /// By sketches, if the peer has them. The history says whether to check for collisions.
    Sketches(PeerHistory),
    /// By the five standard calls alone. The peer's roots may be of another kind of tree.
    Leaves,
}

/// What earlier sessions with a peer came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PeerHistory {
    /// What the sketches decoded to in the last session, and our root when it began. `None` after a
    /// session with an error: what it decoded may not have been exchanged.
    decoded: Option<(DecodedSum, Digest)>,
    /// Sessions in a row that found the roots to differ and compared no buckets.
    mismatches: u32,
}

impl PeerHistory {
    /// The history after one more session, which began with this root.
    pub fn and(self, report: &SessionReport, root: Digest) -> PeerHistory {
        // A session that compared whole hashes leaves no doubt, one that decoded nothing no sum.
        let Some(decoded) = report.decoded.filter(|_| !report.checked_collisions) else {
            return PeerHistory::default();
        };
        let decoded = report.error.is_none().then_some((decoded, root));
        PeerHistory { decoded, mismatches: self.mismatches.saturating_add(1) }
    }

    /// Whether short ids may collide, if the sketches decoded to this now.
    pub(super) fn is_doubtful(&self, now: Option<DecodedSum>) -> bool {
        let is_repeated = self.decoded.is_some_and(|(before, _)| Some(before) == now);
        is_repeated || self.mismatches >= OVERDUE
    }

    /// Whether the last session decoded something, and our root is the same as then.
    pub(super) fn is_of_root(&self, root: &Digest) -> bool {
        self.decoded.is_some_and(|(_, before)| before == *root)
    }
}
