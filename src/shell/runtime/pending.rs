//! Answers that callers wait for, by ticket.
//!
//! In: answers, by ticket. Out: a future per ticket. A caller that goes away (its connection
//! closed) drops its future, which frees the slot. Never: blocks, has more slots than callers ever
//! waited at once.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::base::Ticket;

/// Bits of a ticket that are the slot's index. Those above are its generation, so that a late
/// answer to an earlier caller reaches no later one; the topmost stays free for tickets that are
/// not ours.
const INDEX_BITS: u32 = 32;
const GENERATION_MAX: u64 = (1 << (63 - INDEX_BITS)) - 1;

/// The pending answers of one kind.
pub struct PendingAnswers<T> {
    slots: RefCell<Slots<T>>,
}

struct Slots<T> {
    all: Vec<Slot<T>>,
    free: Vec<usize>,
}

/// A slot, taken by one caller after another.
struct Slot<T> {
    generation: u64,
    answer: Option<T>,
    waker: Option<Waker>,
}

impl<T> PendingAnswers<T> {
    /// No caller waits yet.
    pub fn new() -> PendingAnswers<T> {
        PendingAnswers { slots: RefCell::new(Slots { all: Vec::new(), free: Vec::new() }) }
    }

    /// A fresh ticket and the future of its answer.
    pub fn ticket(&self) -> (Ticket, PendingAnswer<'_, T>) {
        let mut slots = self.slots.borrow_mut();
        let index = slots.free.pop().unwrap_or_else(|| {
            slots.all.push(Slot { generation: 0, answer: None, waker: None });
            slots.all.len() - 1
        });
        assert!((index as u64) < 1 << INDEX_BITS, "callers are bounded far below");
        let ticket = Ticket(slots.all[index].generation << INDEX_BITS | index as u64);
        (ticket, PendingAnswer { pending: self, ticket })
    }

    /// Hands the answer to the ticket's future, if it still exists.
    pub fn answer(&self, ticket: Ticket, answer: T) {
        let mut slots = self.slots.borrow_mut();
        let Some(slot) = slots.all.get_mut(index(ticket)) else { return };
        if slot.generation == ticket.0 >> INDEX_BITS {
            slot.answer = Some(answer);
            if let Some(waker) = slot.waker.take() {
                waker.wake();
            }
        }
    }
}

impl<T> Default for PendingAnswers<T> {
    fn default() -> Self {
        PendingAnswers::new()
    }
}

fn index(ticket: Ticket) -> usize {
    (ticket.0 & ((1 << INDEX_BITS) - 1)) as usize
}

/// Resolves to the answer for one ticket.
pub struct PendingAnswer<'a, T> {
    pending: &'a PendingAnswers<T>,
    ticket: Ticket,
}

impl<T> Future for PendingAnswer<'_, T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let mut slots = self.pending.slots.borrow_mut();
        let slot = &mut slots.all[index(self.ticket)];
        match slot.answer.take() {
            Some(answer) => Poll::Ready(answer),
            None => {
                slot.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl<T> Drop for PendingAnswer<'_, T> {
    /// The slot goes to the next caller; a late answer to this one finds another generation.
    fn drop(&mut self) {
        let mut slots = self.pending.slots.borrow_mut();
        let index = index(self.ticket);
        let generation = (self.ticket.0 >> INDEX_BITS) + 1;
        let generation = if generation > GENERATION_MAX { 0 } else { generation };
        slots.all[index] = Slot { generation, answer: None, waker: None };
        slots.free.push(index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::{block_on, poll_once};

    #[test]
    fn an_answer_reaches_its_ticket_and_a_dropped_future_frees_its_slot() {
        let pending = PendingAnswers::new();
        let (first, first_answer) = pending.ticket();
        let (second, second_answer) = pending.ticket();
        pending.answer(second, "two");
        let mut first_answer = Box::pin(first_answer);
        assert_eq!(block_on(poll_once(&mut first_answer)), None);
        assert_eq!(block_on(second_answer), "two");
        drop(first_answer);
        pending.answer(first, "one");
        let (third, third_answer) = pending.ticket();
        let mut third_answer = Box::pin(third_answer);
        pending.answer(first, "late");
        assert_eq!(block_on(poll_once(&mut third_answer)), None);
        pending.answer(third, "three");
        assert_eq!(block_on(third_answer), "three");
        assert_eq!(pending.slots.borrow().all.len(), 2);
    }
}
