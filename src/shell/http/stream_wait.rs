//! Whom an answer waits for that is made while its request's body comes: its client, or the node.
//!
//! In: what the answer waits for. Out: whether that is the client's doing, and how much time passed
//! in which it was not. Never: reads a clock.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// What such an answer waits for.
pub(super) struct StreamWait {
    /// The client has to send more of the body.
    awaits_body: Cell<bool>,
    /// The client does not take what is sent.
    is_blocked: Cell<bool>,
    /// Since when the client is not waited for, while it is not.
    busy_since: Cell<Instant>,
}

impl StreamWait {
    pub(super) fn new(now: Instant) -> StreamWait {
        let (awaits_body, is_blocked) = Default::default();
        StreamWait { awaits_body, is_blocked, busy_since: Cell::new(now) }
    }

    /// An answer begins, with work of the node.
    pub(super) fn begin(&self, now: Instant) {
        self.awaits_body.set(false);
        self.is_blocked.set(false);
        self.busy_since.set(now);
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.is_blocked.get()
    }

    /// Whether the client keeps the answer waiting.
    pub(super) fn is_for_client(&self) -> bool {
        self.awaits_body.get() || self.is_blocked()
    }

    /// The rest of the body is, or is not, all that is waited for. Out: time in which the client
    /// was not waited for, once it is again.
    pub(super) fn await_body(&self, is_awaited: bool, now: Instant) -> Option<Duration> {
        self.change(&self.awaits_body, is_awaited, now)
    }

    /// The client takes what is sent, or does not. Out: as of [`StreamWait::await_body`].
    pub(super) fn block(&self, is_blocked: bool, now: Instant) -> Option<Duration> {
        self.change(&self.is_blocked, is_blocked, now)
    }

    fn change(&self, wait: &Cell<bool>, is_on: bool, now: Instant) -> Option<Duration> {
        let before = self.is_for_client();
        wait.set(is_on);
        match (before, self.is_for_client()) {
            (false, true) => Some(now - self.busy_since.get()),
            (true, false) => {
                self.busy_since.set(now);
                None
            }
            _ => None,
        }
    }
}
