//! Callers that wait for an answer, found again by their ticket.
//!
//! In: answers, by ticket. Out: a future per ticket. A caller that goes away (its connection
//! closed) drops its future and leaves an empty seat. Never: blocks, outgrows the callers there
//! are.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::base::Ticket;

/// Bits of a ticket that say its place; those above say whose turn at that place it is, and the
/// topmost stays free for tickets that are not ours.
const PLACE_BITS: u32 = 32;
const TURN_MAX: u64 = (1 << (63 - PLACE_BITS)) - 1;

/// The waiting room of one kind of answer.
pub struct Waiting<T> {
    seats: RefCell<Seats<T>>,
}

struct Seats<T> {
    all: Vec<Seat<T>>,
    free: Vec<usize>,
}

/// A place, taken by one caller after another.
struct Seat<T> {
    turn: u64,
    answer: Option<T>,
    waker: Option<Waker>,
}

impl<T> Waiting<T> {
    /// An empty room.
    pub fn new() -> Waiting<T> {
        Waiting { seats: RefCell::new(Seats { all: Vec::new(), free: Vec::new() }) }
    }

    /// A fresh ticket and the future of its answer.
    pub fn ticket(&self) -> (Ticket, Wait<'_, T>) {
        let mut seats = self.seats.borrow_mut();
        let place = seats.free.pop().unwrap_or_else(|| {
            seats.all.push(Seat { turn: 0, answer: None, waker: None });
            seats.all.len() - 1
        });
        assert!(place < 1 << PLACE_BITS, "a caller takes more than a byte");
        let ticket = Ticket(seats.all[place].turn << PLACE_BITS | place as u64);
        (ticket, Wait { room: self, ticket })
    }

    /// Hands an answer to whoever holds the ticket, if they still wait.
    pub fn answer(&self, ticket: Ticket, answer: T) {
        let mut seats = self.seats.borrow_mut();
        let Some(seat) = seats.all.get_mut(place(ticket)) else { return };
        if seat.turn == ticket.0 >> PLACE_BITS {
            seat.answer = Some(answer);
            if let Some(waker) = seat.waker.take() {
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

fn place(ticket: Ticket) -> usize {
    (ticket.0 & ((1 << PLACE_BITS) - 1)) as usize
}

/// Resolves to the answer for one ticket.
pub struct Wait<'a, T> {
    room: &'a Waiting<T>,
    ticket: Ticket,
}

impl<T> Future for Wait<'_, T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let mut seats = self.room.seats.borrow_mut();
        let seat = &mut seats.all[place(self.ticket)];
        match seat.answer.take() {
            Some(answer) => Poll::Ready(answer),
            None => {
                seat.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl<T> Drop for Wait<'_, T> {
    /// The seat goes to the next caller; a late answer to this one finds another turn.
    fn drop(&mut self) {
        let mut seats = self.room.seats.borrow_mut();
        let place = place(self.ticket);
        let turn = (self.ticket.0 >> PLACE_BITS) + 1;
        let turn = if turn > TURN_MAX { 0 } else { turn };
        seats.all[place] = Seat { turn, answer: None, waker: None };
        seats.free.push(place);
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
        let (third, waits_third) = room.ticket();
        let mut waits_third = Box::pin(waits_third);
        room.answer(first, "late");
        assert_eq!(block_on(poll_once(&mut waits_third)), None);
        room.answer(third, "three");
        assert_eq!(block_on(waits_third), "three");
        assert_eq!(room.seats.borrow().all.len(), 2);
    }
}
