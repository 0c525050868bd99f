//! How long a suspect has to refute: Lifeguard, section IV.B. A suspicion begins at its longest and
//! becomes shorter with each independent confirmation, by the logarithm of their number.
//!
//! ```text
//! begun --confirm--> shorter    begun --extend--> not over before a new floor
//! deadline passes: dead if this node found the member silent itself, else extended and asked
//! ```
//!
//! In: accusations by their Lamport time, time. Out: a deadline. Never: counts one accusation
//! twice, ends before its floor.

use std::time::Duration;

use super::rumor::gossip_scale;
use crate::base::Moment;
use crate::base::exact::log2;

/// Confirmations that shorten a suspicion to its shortest: the K of Lifeguard, section IV.B.
const CONFIRMATIONS: usize = 3;
/// Probe intervals that the shortest suspicion takes in a cluster of ten; it grows as rounds of
/// gossip do.
const SHORTEST: f64 = 1.65;
/// A suspicion without confirmations lasts so many times the shortest: the ratio of Max to Min in
/// Lifeguard, section IV.B.
const SPAN: u64 = 5;

/// Why a member is suspected, and until when.
#[derive(Clone, Debug)]
pub(super) struct Suspicion {
    /// The length is counted from here, however late a confirmation comes.
    began: Moment,
    /// Lamport times of the accusations that were made from own knowledge. They distinguish
    /// accusers: updates do not name them, and one accusation comes by many paths.
    accusations: heapless::Vec<u64, { CONFIRMATIONS + 1 }>,
    /// Whether one of them is this node's: without it the member is asked before it is dead.
    pub(super) is_own: bool,
    /// Whether a ping of this node's, by which it verified the hearsay, was not answered.
    pub(super) is_silent: bool,
    /// Microseconds that it lasts with all confirmations.
    shortest: u64,
    /// Microseconds that it lasts with none.
    longest: u64,
    /// Confirmations that bring it down to the shortest: fewer in a cluster that has no more
    /// members to confirm it.
    enough: usize,
    /// However often it is confirmed, it is not over before: the member has to hear of it first.
    floor: Moment,
    /// When it is over.
    pub(super) deadline: Moment,
}

impl Suspicion {
    /// One of a member of a cluster with so many `others`, of whom `present` take part.
    pub(super) fn new(
        began: Moment,
        lamport: u64,
        interval: Duration,
        (others, present): (usize, usize),
    ) -> Self {
        // Neither the suspect nor this node can confirm it.
        let enough = CONFIRMATIONS.min(present.saturating_sub(2));
        let shortest = (interval.as_micros() as f64 * SHORTEST * gossip_scale(others)) as u64;
        let mut new = Suspicion {
            began,
            accusations: heapless::Vec::from_array([lamport]),
            is_own: false,
            is_silent: false,
            shortest,
            longest: SPAN * shortest,
            enough,
            floor: began,
            deadline: began,
        };
        new.set_deadline();
        new
    }

    /// False if that accusation is counted, or enough are.
    pub(super) fn confirm(&mut self, lamport: u64) -> bool {
        let is_news = self.accusations.len() <= self.enough
            && !self.accusations.contains(&lamport)
            && self.accusations.push(lamport).is_ok();
        if is_news {
            self.set_deadline();
        }
        is_news
    }

    /// This node's own accusation counts once, and leaves time to refute it; false if it did, or
    /// enough are.
    pub(super) fn accuse(&mut self, now: Moment, lamport: u64) -> bool {
        if std::mem::replace(&mut self.is_own, true) {
            return false;
        }
        self.extend(now);
        self.confirm(lamport)
    }

    /// Whether this node found the member silent itself.
    pub(super) fn is_seen(&self) -> bool {
        self.is_own || self.is_silent
    }

    /// When this node asks the member itself: late enough for a refutation to have come, and before
    /// others can have declared it dead.
    pub(super) fn verify_at(&self) -> Moment {
        Moment(self.began.0 + self.shortest / 2)
    }

    /// Its port is closed: a confirmation by others would add nothing, so none is waited for.
    pub(super) fn cap(&mut self, length: Duration) {
        self.longest = self.longest.min(length.as_micros() as u64);
        self.shortest = self.longest.min(self.shortest);
        self.set_deadline();
    }

    /// It lasts as long as the shortest from `now` on.
    pub(super) fn extend(&mut self, now: Moment) {
        self.floor = Moment(now.0 + self.shortest);
        self.set_deadline();
    }

    /// Lifeguard, section IV.B: `max(Min, Max - (Max - Min) log(C + 1) / log(K + 1))`. The
    /// logarithm is `base::exact`'s, so that a run is the same on every processor.
    fn set_deadline(&mut self) {
        let confirmations = (self.accusations.len() - 1) as f64;
        let part = match self.enough {
            0 => 1.0,
            enough => (log2(confirmations + 1.0) / log2(enough as f64 + 1.0)).min(1.0),
        };
        let length = self.longest as f64 - part * (self.longest - self.shortest) as f64;
        self.deadline = Moment(self.began.0 + length as u64).max(self.floor);
    }

    pub(super) fn check(&self) {
        debug_assert!(self.shortest <= self.longest, "{self:?}");
        debug_assert!((1..=self.enough + 1).contains(&self.accusations.len()), "{self:?}");
        debug_assert!(self.deadline >= self.floor && self.floor >= self.began, "{self:?}");
    }
}
