//! How many assertions both sides hold, as far as each said.
//!
//! In: counts of both sets. Out: how many came to them meanwhile that this session did not bring.
//!
//! Never: computes with a peer's count without saturation, asks for a count more than
//! [`RECOUNTS_MAX`] times again.

use crate::base::Digest;

/// Times that a peer is asked for its count again because less differs than it said.
const RECOUNTS_MAX: u32 = 2;

/// Sizes of the two sets.
#[derive(Debug)]
pub(super) struct SetSizes {
    /// Our root when the session began. Requests carry this one: the store's root moves on.
    pub(super) root: Digest,
    /// How many assertions that root is of.
    pub(super) ours: u64,
    /// How many the peer held when it was first asked: what grew since is the difference to this.
    pub(super) theirs: u64,
    /// How often the peer was asked again. A peer that answers another count each time would keep
    /// the session going for ever.
    recounts: u32,
}

impl SetSizes {
    pub(super) fn new(root: Digest, ours: u64) -> SetSizes {
        SetSizes { root, ours, theirs: 0, recounts: 0 }
    }

    /// How many assertions came to one of the sets, now of these sizes, not counting those that the
    /// session brought.
    pub(super) fn grown(&self, (ours, theirs): (u64, u64), (received, sent): (u64, u64)) -> u64 {
        // `abs_diff`, since the peer may say fewer than before.
        let here = ours.abs_diff(self.ours).saturating_sub(received);
        let there = theirs.abs_diff(self.theirs).saturating_sub(sent);
        here.saturating_add(there)
    }

    /// The peer is to be asked for its count once more. False if it was asked often enough.
    pub(super) fn take_recount(&mut self) -> bool {
        self.recounts += 1;
        self.check();
        self.recounts <= RECOUNTS_MAX
    }

    /// Whether the peer was never asked again.
    pub(super) fn is_first_count(&self) -> bool {
        self.recounts == 0
    }

    /// Once refused, no caller asks again: the session walks or ends.
    fn check(&self) {
        debug_assert!(self.recounts <= RECOUNTS_MAX + 1);
    }
}
