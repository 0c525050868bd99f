//! Callers that wait for an answer, found again by their ticket.
//!
//! In: answers, by ticket. Out: a future per ticket. A caller that goes away (its connection
//! closed) drops its future and leaves nothing behind. Never: blocks, outgrows the callers there
//! are.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::base::Ticket;

/// The waiting room of one kind of answer.
pub struct Waiting<T> {
    next: Cell<u64>,
    slots: RefCell<HashMap<Ticket, Slot<T>>>,
}

struct Slot<T> {
    answer: Option<T>,
    waker: Option<Waker>,
}

impl<T> Waiting<T> {
    /// An empty room.
    pub fn new() -> Waiting<T> {
        Waiting { next: Cell::new(0), slots: RefCell::new(HashMap::new()) }
    }

    /// A fresh ticket and the future of its answer.
    pub fn ticket(&self) -> (Ticket, Wait<'_, T>) {
        let ticket = Ticket(self.next.get());
        self.next.set(ticket.0 + 1);
        self.slots.borrow_mut().insert(ticket, Slot { answer: None, waker: None });
        (ticket, Wait { room: self, ticket })
    }

    /// Hands an answer to whoever holds the ticket, if they still wait.
    pub fn answer(&self, ticket: Ticket, answer: T) {
        if let Some(slot) = self.slots.borrow_mut().get_mut(&ticket) {
            slot.answer = Some(answer);
            if let Some(waker) = slot.waker.take() {
                waker.wake();
            }
        }
    }
}

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Waiting::new()
    }
}

/// Resolves to the answer for one ticket.
pub struct Wait<'a, T> {
    room: &'a Waiting<T>,
    ticket: Ticket,
}

impl<T> Future for Wait<'_, T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let mut slots = self.room.slots.borrow_mut();
        let slot = slots.get_mut(&self.ticket).expect("a slot lives as long as its future");
        if let Some(answer) = slot.answer.take() {
            return Poll::Ready(answer);
        }
        slot.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

impl<T> Drop for Wait<'_, T> {
    fn drop(&mut self) {
        self.room.slots.borrow_mut().remove(&self.ticket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::{block_on, poll_once};

    #[test]
    fn an_answer_reaches_its_ticket_and_a_leaver_leaves_nothing() {
        let room = Waiting::new();
        let (first, waits_first) = room.ticket();
        let (second, waits_second) = room.ticket();
        room.answer(second, "two");
        let mut waits_first = Box::pin(waits_first);
        assert_eq!(block_on(poll_once(&mut waits_first)), None);
        assert_eq!(block_on(waits_second), "two");
        drop(waits_first);
        room.answer(first, "one");
        assert!(room.slots.borrow().is_empty());
    }
}
