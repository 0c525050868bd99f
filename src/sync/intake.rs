//! Assertions of the peer on their way to our disk, and how many may be.
//!
//! In: assertions that came, what became of those that were offered. Out: the next one to offer,
//! with a number by which its fate comes back. What waits is bounded by count and bytes twice:
//! before the offer by the phase that asks for more, and from the offer to the flush by
//! [`OFFERS_MAX`] and [`OFFERS_BYTES_MAX`].
//!
//! Never: offers more at once than half of what the commit queue holds for everybody.

use std::collections::{BTreeMap, VecDeque};

use crate::base::limits;
use crate::model::Sealed;

/// Assertions that wait for our disk at once, half of what it holds for everybody: others get in.
pub(super) const OFFERS_MAX: usize = limits::COMMIT_QUEUE_MAX / 2;
/// Bytes of them.
pub(super) const OFFERS_BYTES_MAX: usize = limits::COMMIT_QUEUE_BYTES_MAX / 2;
/// Records that wait for room among those, while the next are asked for: an answer or so, so that
/// one is stored while the next is on its way.
pub(super) const WAITING_MAX: usize = limits::COMMIT_QUEUE_MAX;
/// Bytes of them.
pub(super) const WAITING_BYTES_MAX: usize = limits::RECORDS_BYTES as usize;

/// What came and is not stored yet.
#[derive(Debug, Default)]
pub(super) struct Intake {
    /// Not offered yet: the disk has no room for more of this session.
    waiting: VecDeque<Sealed>,
    waiting_bytes: usize,
    /// Bytes of those that are offered, by number.
    offered: BTreeMap<u32, usize>,
    offered_bytes: usize,
    next: u32,
}

impl Intake {
    /// An assertion came, which is wanted.
    pub(super) fn push(&mut self, sealed: Sealed) {
        self.waiting_bytes += sealed.bytes().len();
        self.waiting.push_back(sealed);
        self.check();
    }

    /// An offered one is stored, or will not be. False: nothing was offered under that number.
    pub(super) fn handle_stored(&mut self, number: u32) -> bool {
        let bytes = self.offered.remove(&number);
        self.offered_bytes -= bytes.unwrap_or(0);
        self.check();
        bytes.is_some()
    }

    /// The next one to offer, if the disk has room for it.
    pub(super) fn poll_offer(&mut self) -> Option<(u32, Sealed)> {
        let has_capacity = self.offered.len() < OFFERS_MAX && self.offered_bytes < OFFERS_BYTES_MAX;
        let sealed = self.waiting.pop_front_if(|_| has_capacity)?;
        let (number, bytes) = (self.next, sealed.bytes().len());
        self.next = self.next.wrapping_add(1);
        self.waiting_bytes -= bytes;
        self.offered.insert(number, bytes);
        self.offered_bytes += bytes;
        self.check();
        Some((number, sealed))
    }

    /// The session ends: what was not offered never will be.
    pub(super) fn abandon(&mut self) {
        self.waiting.clear();
        self.waiting_bytes = 0;
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

    /// The bounds of offers hold, but for the last one's bytes, and nothing is of no bytes.
    fn check(&self) {
        debug_assert!(self.offered.len() <= OFFERS_MAX);
        debug_assert!(self.offered_bytes < OFFERS_BYTES_MAX + limits::ASSERTION_BYTES_MAX);
        debug_assert_eq!(self.offered_bytes > 0, !self.offered.is_empty());
        debug_assert_eq!(self.waiting_bytes > 0, !self.waiting.is_empty());
    }
}
