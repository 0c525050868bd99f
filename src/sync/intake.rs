//! Assertions of the peer on their way to our disk, and how many may be.
//!
//! In: assertions that came, what became of those that were offered. Out: the next one to offer,
//! with a number by which its fate comes back. What waits is bounded by count and bytes twice:
//! before the offer by the phase that asks for more, and from the offer to the flush by
//! [`OFFERS_MAX`] and [`OFFERS_BYTES_MAX`].
//!
//! ```text
//! push -> waiting --poll_offer--> offered --handle_stored--> gone
//!            |
//!            +-- abandon -> gone
//! ```
//!
//! Never: offers more at once than half of what the commit queue holds, offers one twice, forgets
//! one that is offered.

use std::collections::VecDeque;

use litemap::LiteMap;

use crate::base::limits;
use crate::model::Sealed;

/// Assertions of one session in the commit queue at once: half of it, so that clients get in.
pub(super) const OFFERS_MAX: usize = limits::COMMIT_QUEUE_MAX / 2;
/// Bytes of those, for the same reason.
pub(super) const OFFERS_BYTES_MAX: usize = limits::COMMIT_QUEUE_BYTES_MAX / 2;
/// Assertions that may wait to be offered while the next records are asked for: about one answer,
/// so that one is stored while the next is in flight.
pub(super) const WAITING_MAX: usize = limits::COMMIT_QUEUE_MAX;
/// Bytes of those: one answer.
pub(super) const WAITING_BYTES_MAX: usize = limits::RECORDS_BYTES as usize;

/// What came and is not stored yet.
#[derive(Debug, Default)]
pub(super) struct Intake {
    /// Not offered yet, since this session's share of the commit queue is full.
    waiting: VecDeque<Sealed>,
    /// Bytes of `waiting`: a thousand large assertions are 500 MB, so a count alone bounds nothing.
    waiting_bytes: usize,
    /// Bytes of each offered assertion by number. One that is here already is answered at once, out
    /// of order, so the bytes to subtract are found by the number.
    offered: LiteMap<u32, usize>,
    /// Sum of `offered`, which would take thousands of additions for each offer.
    offered_bytes: usize,
    /// The number of the next offer.
    next: u32,
}

impl Intake {
    /// An assertion came that is missing here.
    pub(super) fn push(&mut self, sealed: Sealed) {
        self.waiting_bytes += sealed.bytes().len();
        self.waiting.push_back(sealed);
        self.check();
    }

    /// An offered one is stored, or will not be. False if nothing was offered under that number.
    pub(super) fn handle_stored(&mut self, number: u32) -> bool {
        let bytes = self.offered.remove(&number);
        self.offered_bytes -= bytes.unwrap_or(0);
        self.check();
        bytes.is_some()
    }

    /// The next one to offer, if the bounds of offers allow one more.
    pub(super) fn poll_offer(&mut self) -> Option<(u32, Sealed)> {
        // Bytes are compared before the offer, so that an assertion of any size gets through.
        let has_capacity = self.offered.len() < OFFERS_MAX && self.offered_bytes < OFFERS_BYTES_MAX;
        let sealed = self.waiting.pop_front_if(|_| has_capacity)?;
        let (number, bytes) = (self.next, sealed.bytes().len());
        // A full sync may offer more than 2^32; by then the first ones are long stored.
        self.next = self.next.wrapping_add(1);
        self.waiting_bytes -= bytes;
        self.offered.insert(number, bytes);
        self.offered_bytes += bytes;
        self.check();
        Some((number, sealed))
    }

    /// The session ends: what was not offered never will be. Offers stay, since the disk answers
    /// each of them.
    pub(super) fn abandon(&mut self) {
        self.waiting.clear();
        self.waiting_bytes = 0;
        self.check();
    }

    /// Whether all that came is stored.
    pub(super) fn is_idle(&self) -> bool {
        self.len() == 0
    }

    /// How many came and are not stored.
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + self.offered.len()
    }

    /// Whether more may be asked for before those that came are offered.
    pub(super) fn has_capacity(&self) -> bool {
        self.waiting.len() < WAITING_MAX && self.waiting_bytes < WAITING_BYTES_MAX
    }

    /// Offers keep their bounds, except for the last one's bytes. A sum is 0 if its list is empty.
    fn check(&self) {
        debug_assert!(self.offered.len() <= OFFERS_MAX);
        debug_assert!(self.offered_bytes < OFFERS_BYTES_MAX + limits::ASSERTION_BYTES_MAX);
        debug_assert_eq!(self.offered_bytes > 0, !self.offered.is_empty());
        debug_assert_eq!(self.waiting_bytes > 0, !self.waiting.is_empty());
    }
}
