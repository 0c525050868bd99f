//! The queries under way: a queue of scans, and the futures that wait for their views.
//!
//! In: scans and whose they are. Out: a future per scan; dropping it takes the scan out of the
//! queue. One task does the work, a slice of it in one round of the reactor, whatever the number of
//! scans. Never: decides which scan goes on.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::base::{Client, Ticket};
use crate::journal::Bodies;
use crate::scan::{Scan, ScanQueue, Stats, TooMany, View};
use crate::shell::runtime::pending::{PendingAnswer, PendingAnswers};
use crate::store::Store;

/// The queries under way and those that wait.
#[derive(Default)]
pub(crate) struct Scans {
    queue: RefCell<ScanQueue>,
    views: PendingAnswers<Option<View>>,
    /// The task that works, while there is nothing to do.
    worker: Cell<Option<Waker>>,
}

/// Resolves to a scan's view, or to `None` if the scan ended because its client left.
pub struct Running<'a> {
    scans: &'a Scans,
    ticket: Ticket,
    view: PendingAnswer<'a, Option<View>>,
    is_given_up: bool,
}

impl Scans {
    /// See [`ScanQueue::bounded`]; before the first scan.
    pub(crate) fn bound(&self, long_max: usize) {
        *self.queue.borrow_mut() = ScanQueue::bounded(long_max);
    }

    /// Queues a scan; its answer comes from the value returned.
    pub(crate) fn start(&self, client: Client, scan: Scan) -> Result<Running<'_>, TooMany> {
        let (ticket, view) = self.views.ticket();
        self.queue.borrow_mut().enter(ticket, client, scan)?;
        if let Some(worker) = self.worker.take() {
            worker.wake();
        }
        Ok(Running { scans: self, ticket, view, is_given_up: false })
    }

    /// Resolves when there is a scan to work on.
    pub(crate) async fn some(&self) {
        poll_fn(|context| {
            if !self.queue.borrow().is_empty() {
                return Poll::Ready(());
            }
            self.worker.set(Some(context.waker().clone()));
            Poll::Pending
        })
        .await;
    }

    /// Works on the next query for one slice.
    pub(crate) fn run_slice(&self, store: &Store, bodies: &dyn Bodies) {
        let over = self.queue.borrow_mut().run_slice(store, bodies);
        for (ticket, view) in over {
            self.views.answer(ticket, view);
        }
    }

    /// Queries under way, and what was counted since the start.
    pub(crate) fn stats(&self) -> (usize, Stats) {
        let queue = self.queue.borrow();
        (queue.len(), queue.stats())
    }
}

impl Running<'_> {
    /// The client has closed its sending half at least; see [`ScanQueue::client_left`].
    pub fn note_client_left(&mut self) {
        self.is_given_up |= self.scans.queue.borrow_mut().client_left(self.ticket);
    }
}

impl Future for Running<'_> {
    type Output = Option<View>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<View>> {
        if self.is_given_up {
            return Poll::Ready(None);
        }
        Pin::new(&mut self.view).poll(context)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.scans.queue.borrow_mut().leave(self.ticket);
    }
}
