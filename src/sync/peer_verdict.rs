//! Whether a session with a peer is of use.
//!
//! In: what its answers brought. Out: whether to go on, and whether what it says of the sets is
//! borne out by what they differ in. A peer may be Byzantine, broken, or of another opinion of what
//! it holds: in each case its sessions cost this node something and bring nothing.
//!
//! Never: holds an honest peer's set against it that changed meanwhile.

use crate::base::limits;

/// Answers that may be useless (false bytes, nothing new) before the session ends.
const USELESS_MAX: u32 = 4;

/// What speaks against the peer so far.
#[derive(Debug, Default)]
pub(super) struct PeerVerdict {
    /// Answers with false bytes, or with nothing new.
    useless: u32,
    /// Assertions that the peer named and gave.
    fetched: u64,
    /// Those that it named and did not give.
    withheld: u64,
    /// The peer says that the sets differ where sketches show nothing: its leaves have to show it.
    owes_difference: bool,
    /// It says that more differs than sketches tell.
    claims_large: bool,
}

impl PeerVerdict {
    /// The peer gave an assertion that it had named.
    pub(super) fn note_fetched(&mut self) {
        self.fetched += 1;
    }

    /// An answer brought nothing.
    pub(super) fn note_useless(&mut self) {
        self.useless += 1;
    }

    /// The peer does not give so many that it named.
    pub(super) fn note_withheld(&mut self, count: usize) {
        self.withheld += count as u64;
    }

    /// The leaves have to show what sketches do not.
    pub(super) fn note_difference_owed(&mut self) {
        self.owes_difference = true;
    }

    /// The peer says that more differs than sketches tell, or it is found not to be so.
    pub(super) fn set_claims_large(&mut self, claims_large: bool) {
        self.claims_large = claims_large;
    }

    pub(super) fn fetched(&self) -> u64 {
        self.fetched
    }

    /// Whether too many answers brought nothing.
    pub(super) fn is_exhausted(&self) -> bool {
        self.useless > USELESS_MAX
    }

    /// Whether all promises of the peer were broken; of an honest one's hardly any is.
    pub(super) fn withheld_everything(&self) -> bool {
        self.withheld > 0 && self.fetched == 0
    }

    /// Whether the leaves had to show a difference, and nothing was exchanged.
    pub(super) fn failed_to_show_difference(&self, sent: u64) -> bool {
        self.owes_difference && self.fetched + sent == 0
    }

    /// Whether the peer said that much differs, and so much does not bear it out. An honest
    /// estimate errs by hundredths.
    pub(super) fn is_overstated(&self, differing: u64) -> bool {
        self.claims_large && differing < limits::SKETCH_DIFFERENCES_MAX / 2
    }
}
