//! Whether a session with a peer is of use.
//!
//! In: what its answers brought. Out: whether to go on, and whether what it says of the sets is
//! borne out by what they differ in. A peer may be Byzantine, broken, or wrong about what it holds:
//! in each case its sessions cost this node something and bring nothing.
//!
//! ```text
//! in use --more than USELESS_MAX useless answers--> exhausted: the session is rejected
//!    |                                                 (there is no way back)
//!    +-- large claim, difference owed: judged when the session ends
//! ```
//!
//! Never: counts a change of the peer's set against it, sees an answer, ends a session by itself.

use super::calls::PUSHES_MAX;
use crate::base::limits;

/// Answers that may be useless (false bytes, nothing new) before the session ends. An honest peer
/// has a few: an assertion damaged on its disk, a set that changed under the question.
const USELESS_MAX: u32 = 4;

/// The evidence for or against the peer so far.
#[derive(Debug, Default)]
pub(super) struct PeerVerdict {
    /// Answers with false bytes, or with nothing new: the peer may answer so for ever.
    useless: u32,
    /// Assertions that the peer named and gave. One of them proves that its names mean something.
    fetched: u64,
    /// Assertions that it named and did not give.
    withheld: u64,
    /// The peer says that the sets differ where sketches show nothing: its leaves have to show it,
    /// or it could ask for a walk through all leaves each time.
    owes_difference: bool,
    /// It says that more differs than sketches decode. Parts or leaves, which cost megabytes, have
    /// to bear it out.
    claims_large: bool,
}

impl PeerVerdict {
    /// The peer gave so many assertions that it had named.
    pub(super) fn note_fetched(&mut self, count: usize) {
        self.fetched += count as u64;
    }

    /// An answer brought nothing new; too many of them end the session.
    pub(super) fn note_useless(&mut self) {
        self.useless += 1;
        self.check();
    }

    /// The peer does not give so many that it named.
    pub(super) fn note_withheld(&mut self, count: usize) {
        self.withheld += count as u64;
    }

    /// The leaves have to show what sketches do not.
    pub(super) fn note_difference_owed(&mut self) {
        self.owes_difference = true;
    }

    /// The peer says that more differs than sketches decode.
    pub(super) fn note_large_claim(&mut self) {
        self.claims_large = true;
    }

    /// The sets changed meanwhile: less may differ by now than the peer said.
    pub(super) fn excuse_large_claim(&mut self) {
        self.claims_large = false;
    }

    pub(super) fn fetched(&self) -> u64 {
        self.fetched
    }

    pub(super) fn useless(&self) -> u32 {
        self.useless
    }

    /// Whether too many answers brought nothing.
    pub(super) fn is_exhausted(&self) -> bool {
        self.useless > USELESS_MAX
    }

    /// Whether the peer gave nothing of what it named. An honest one withholds hardly any.
    pub(super) fn withheld_everything(&self) -> bool {
        // One that was given is enough: a record damaged there may be all that was withheld.
        self.withheld > 0 && self.fetched == 0
    }

    /// Whether the leaves had to show a difference, and nothing was exchanged.
    pub(super) fn failed_to_show_difference(&self, sent: u64) -> bool {
        self.owes_difference && self.fetched + sent == 0
    }

    /// Whether the peer made a large claim that so few differences do not bear out.
    pub(super) fn is_overstated(&self, differing: u64) -> bool {
        // An honest estimate of 45,000 is off by 1 %: half of it is no error of estimation.
        self.claims_large && differing < limits::SKETCH_DIFFERENCES_MAX / 2
    }

    /// An exhausted peer is asked nothing more: only answers to calls in flight are counted on.
    fn check(&self) {
        debug_assert!(self.useless as usize <= USELESS_MAX as usize + 1 + PUSHES_MAX);
    }
}
