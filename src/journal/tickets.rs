//! The tickets of those that wait for one assertion.
//!
//! In: tickets, one after the other. Out: the same in that order. Never: is empty.

use crate::base::{Ticket, limits};

/// The tickets of those that wait for an assertion, the first offer first: that one created it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tickets {
    /// Apart from the others: nearly every assertion has one ticket, which takes no allocation.
    first: Ticket,
    others: Vec<Ticket>,
}

impl Tickets {
    pub(super) fn of(first: Ticket) -> Tickets {
        Tickets { first, others: Vec::new() }
    }

    pub(super) fn push(&mut self, ticket: Ticket) {
        self.others.push(ticket);
        debug_assert!(self.count() <= limits::COMMIT_QUEUE_MAX, "the queue refuses more");
    }

    /// How many there are; never none.
    pub fn count(&self) -> usize {
        1 + self.others.len()
    }

    /// In the order of the offers.
    pub fn iter(&self) -> impl Iterator<Item = Ticket> {
        std::iter::once(self.first).chain(self.others.iter().copied())
    }
}
