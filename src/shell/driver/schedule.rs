//! When the replica is called without an input: at its deadlines, and at the end of a round of the
//! reactor that left assertions to write.
//!
//! Never: decides what is due; the replica says so.

use std::future::poll_fn;
use std::task::{Poll, Waker};

use futures_lite::future;

use super::Driver;
use crate::base::Moment;
use crate::shell::runtime::reactor::{RoundEnd, Timer};

/// What the tasks of one round of the reactor offered is one batch: a write for each alone would
/// cost a flush each.
impl RoundEnd for Driver {
    fn handle_round_end(&self) {
        if self.wants_write.get() {
            self.update(|replica, now, _| replica.start_write(now));
        }
    }
}

impl Driver {
    /// Calls the replica when its deadlines come.
    pub async fn run_deadlines(&self) {
        loop {
            let deadline = self.deadline.get();
            let moved = self.deadline_moved(deadline);
            let Some(due) = deadline else {
                moved.await;
                continue;
            };
            if due > self.now() {
                future::or(Timer::after(due.since(self.now())), moved).await;
            }
            if due <= self.now() {
                self.update(|replica, now, bodies| replica.handle_timeout(now, bodies));
            }
        }
    }

    /// Resolves when the log or the index was written once more, or could not be.
    pub async fn written(&self) {
        let before = self.writes.get();
        poll_fn(|context| {
            if self.writes.get() != before {
                return Poll::Ready(());
            }
            let mut wakers = self.write_wakers.borrow_mut();
            if !wakers.iter().any(|waker| waker.will_wake(context.waker())) {
                wakers.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    /// The log or the index was written.
    pub(super) fn note_write(&self) {
        self.writes.set(self.writes.get() + 1);
        self.write_wakers.take().into_iter().for_each(Waker::wake);
    }

    async fn deadline_moved(&self, from: Option<Moment>) {
        poll_fn(|context| {
            if self.deadline.get() != from {
                return Poll::Ready(());
            }
            self.deadline_waker.set(Some(context.waker().clone()));
            Poll::Pending
        })
        .await;
    }
}
