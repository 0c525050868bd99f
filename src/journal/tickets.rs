//! Who waits for one assertion.
//!
//! In: tickets, one after the other. Out: the same in that order. Never: is empty.

use crate::base::Ticket;

/// Who waits for an assertion, first comer first; one for the most part, which takes no allocation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tickets {
    first: Ticket,
    others: Vec<Ticket>,
}

impl Tickets {
    pub(super) fn of(first: Ticket) -> Tickets {
        Tickets { first, others: Vec::new() }
    }

    pub(super) fn push(&mut self, ticket: Ticket) {
        self.others.push(ticket);
    }

    /// How many there are; never none.
    pub fn count(&self) -> usize {
        1 + self.others.len()
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = Ticket> {
        std::iter::once(self.first).chain(self.others.iter().copied())
    }
}
