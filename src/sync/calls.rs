//! Calls under way, and what each was for.
//!
//! In: what was asked, answers by number. Out: what an answer belongs to, how many calls of a kind
//! are under way. Never: takes two answers for one call.

use std::collections::BTreeMap;

use crate::base::Digest;
use crate::sketch::{Part, ShortId};

/// What a call was for.
#[derive(Debug)]
pub(super) enum CallPurpose {
    Roots,
    Recount,
    Leaves,
    Fetch(Vec<Digest>),
    Gossip,
    Sketch(Option<Part>),
    Digests,
    LeavesOf(Part),
    Records,
    /// Records that came, and are looked at.
    Opened,
    FetchShort(Vec<ShortId>),
    /// So many assertions.
    Give(u64),
}

/// Calls under way by number.
#[derive(Debug, Default)]
pub(super) struct Calls {
    next: u32,
    under_way: BTreeMap<u32, CallPurpose>,
}

impl Calls {
    /// The number of the next call.
    pub(super) fn next(&self) -> u32 {
        self.next
    }

    /// A call begins; its number comes out.
    pub(super) fn begin(&mut self, asked: CallPurpose) -> u32 {
        let number = self.next;
        self.next += 1;
        self.under_way.insert(number, asked);
        number
    }

    /// A call ends; `None`: there is none of that number.
    pub(super) fn end(&mut self, number: u32) -> Option<CallPurpose> {
        self.under_way.remove(&number)
    }

    /// The answer to a call for records arrived, and is looked at. False: it is no such call.
    pub(super) fn open(&mut self, number: u32) -> bool {
        match self.under_way.get_mut(&number) {
            Some(asked @ CallPurpose::Records) => {
                *asked = CallPurpose::Opened;
                true
            }
            _ => false,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.under_way.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    /// How many give something.
    pub(super) fn gives(&self) -> usize {
        self.under_way.values().filter(|asked| matches!(asked, CallPurpose::Give(_))).count()
    }

    /// How many have no answer yet.
    pub(super) fn unanswered(&self) -> usize {
        let opened = self.under_way.values().filter(|asked| matches!(asked, CallPurpose::Opened));
        self.under_way.len() - opened.count()
    }
}
