//! How many assertions both sides hold, as far as each told.
//!
//! In: counts of both sets. Out: how many came to them meanwhile that this session did not bring.
//! Never: trusts a count further than arithmetic goes.

use crate::base::Digest;

/// Times that a peer is asked again because less differs than it said.
const RECOUNTS_MAX: u32 = 2;

/// SetSizes of the two sets.
#[derive(Debug)]
pub(super) struct SetSizes {
    /// Our root when the session began, and of how many assertions.
    pub(super) root: Digest,
    pub(super) ours: u64,
    /// How many the peer held when it was first asked.
    pub(super) theirs: u64,
    recounts: u32,
}

impl SetSizes {
    pub(super) fn new(root: Digest, ours: u64) -> SetSizes {
        SetSizes { root, ours, theirs: 0, recounts: 0 }
    }

    /// How many assertions came to one of the sets, now of these sizes, but for those that the
    /// session brought.
    pub(super) fn grown(&self, (ours, theirs): (u64, u64), (received, sent): (u64, u64)) -> u64 {
        let here = ours.abs_diff(self.ours).saturating_sub(received);
        let there = theirs.abs_diff(self.theirs).saturating_sub(sent);
        here.saturating_add(there)
    }

    /// The peer is to be asked for its size once more. False: it was asked often enough.
    pub(super) fn may_recount(&mut self) -> bool {
        self.recounts += 1;
        self.recounts <= RECOUNTS_MAX
    }

    /// Whether it was never asked again.
    pub(super) fn is_first_count(&self) -> bool {
        self.recounts == 0
    }
}
