//! Calls in flight, and what each is for.
//!
//! In: what is asked, answers by number. Out: what an answer belongs to, how many calls of a kind
//! are in flight.
//!
//! ```text
//! begin -> in flight --end-----------------> answered (or failed)
//!              |                                ^
//!              +-- open (Records -> Opened) ----+ end
//! ```
//!
//! Never: accepts two answers for one call, has more than [`PUSHES_MAX`] calls in flight.

use litemap::LiteMap;

use crate::base::{Digest, limits};
use crate::sketch::{Part, ShortId};

/// Assertions asked for, or given, in one call. Each side holds them several times over, as
/// message, as frames and as records. A call costs some 100 bytes beside them.
pub(super) const FETCH_MAX: usize = limits::FETCH_HASHES_MAX / 4;
/// Fetches in flight at once, including those whose assertions wait for our disk: one travels while
/// the other is stored. Together they fit in the commit queue.
pub(super) const FETCHES_MAX: usize = 2;
/// Calls for records in flight at once: one travels while the peer reads for the other. With those
/// whose records are being hashed they are one more at most.
pub(super) const RECORDS_MAX: usize = 2;
/// Gossip calls in flight at once; what the peer groups into one of its flushes.
pub(super) const PUSHES_MAX: usize = 32;
/// `Give` calls in flight at once: one travels while the peer stores the other.
pub(super) const GIVES_MAX: usize = 2;

/// What a call is for; an answer of another kind is a false one.
#[derive(Debug)]
pub(super) enum CallPurpose {
    /// The first question: are the sets equal?
    Roots,
    /// The same question once more: did the sets change meanwhile?
    Recount,
    /// A page of leaves.
    Leaves,
    /// Assertions by hash. Those that are not given are asked for again.
    Fetch(Vec<Digest>),
    /// One assertion for a peer that has only the standard calls.
    Gossip,
    /// Cells of a part, or of the whole set.
    Sketch(Option<Part>),
    /// Digests of all buckets.
    Digests,
    /// Hashes in one bucket.
    LeavesOf(Part),
    /// Rows of the peer's log.
    Records,
    /// Rows that arrived and whose assertions are being hashed. They take no time of the peer's, so
    /// the next rows can be asked for.
    Opened,
    /// Assertions by short id.
    FetchShort(Vec<ShortId>),
    /// So many assertions for the peer: it cannot take more.
    Give(u64),
}

/// Calls in flight by number.
#[derive(Debug, Default)]
pub(super) struct Calls {
    /// The next number. Numbers are not used again, so a late answer meets no other call.
    next: u32,
    /// What each call is for, until its answer comes.
    in_flight: LiteMap<u32, CallPurpose>,
}

impl Calls {
    /// The number of the next call.
    pub(super) fn next(&self) -> u32 {
        self.next
    }

    /// Begins a call; returns its number.
    pub(super) fn begin(&mut self, purpose: CallPurpose) -> u32 {
        let number = self.next;
        // 2^32 calls of one assertion each transfer over a terabyte: no number comes twice.
        self.next += 1;
        self.in_flight.insert(number, purpose);
        self.check();
        number
    }

    /// Ends a call; `None` if none of that number is in flight.
    pub(super) fn end(&mut self, number: u32) -> Option<CallPurpose> {
        self.in_flight.remove(&number)
    }

    /// Ends all calls; answers that come late are to no call.
    pub(super) fn abandon(&mut self) {
        self.in_flight.clear();
    }

    /// The answer to a call for records arrived, and is being hashed. False if it is no such call.
    pub(super) fn open(&mut self, number: u32) -> bool {
        match self.in_flight.get_mut(&number) {
            // Once: a second span of the same answer changes nothing.
            Some(purpose @ CallPurpose::Records) => {
                *purpose = CallPurpose::Opened;
                true
            }
            _ => false,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.in_flight.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// How many give the peer something.
    pub(super) fn gives(&self) -> usize {
        let purposes = self.in_flight.values();
        purposes.filter(|purpose| matches!(purpose, CallPurpose::Give(_))).count()
    }

    /// How many the peer has not answered yet.
    pub(super) fn unanswered(&self) -> usize {
        let purposes = self.in_flight.values();
        let opened = purposes.filter(|purpose| matches!(purpose, CallPurpose::Opened));
        self.in_flight.len() - opened.count()
    }

    /// The bound of calls holds, and each number was drawn before.
    fn check(&self) {
        debug_assert!(self.in_flight.len() <= PUSHES_MAX);
        debug_assert!(self.in_flight.last().is_none_or(|(last, _)| *last < self.next));
    }
}
