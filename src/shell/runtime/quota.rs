//! How many bytes a stream may move in one direction in a round of the reactor.
//!
//! In: bytes moved. Out: bytes left, or a wait for the next round. Never: stops a stream for longer
//! than a round.

use std::cell::Cell;
use std::task::{Context, Poll};

use super::reactor::Reactor;

/// Bytes that one stream may still move one way in this round of the reactor.
///
/// A protocol machine reads until its socket has no more. A sender that is faster than this node
/// (small frames cost a few bytes to send and a microsecond to handle) would keep it reading, and
/// every other task waiting, for as long as it likes. Large frames cost little for their bytes:
/// while the round has time left, a stream gets its quota again, up to [`AGAIN_MAX`] times.
pub(super) struct Quota {
    per_round: usize,
    round: Cell<u64>,
    left: Cell<usize>,
    again: Cell<u32>,
}

/// How often a stream may get its quota again in one round.
pub(super) const AGAIN_MAX: u32 = 15;

impl Quota {
    pub(super) fn new(per_round: usize) -> Quota {
        let (round, again) = Default::default();
        Quota { per_round, round, left: Cell::new(per_round), again }
    }

    /// The bytes that are left; where there are none, the task goes on in the next round.
    pub(super) fn poll_left(&self, reactor: &Reactor, context: &Context<'_>) -> Poll<usize> {
        if self.round.replace(reactor.rounds()) != reactor.rounds() {
            self.left.set(self.per_round);
            self.again.set(AGAIN_MAX);
        }
        if self.left.get() == 0 && self.again.get() > 0 && reactor.has_time() {
            self.left.set(self.per_round);
            self.again.set(self.again.get() - 1);
        }
        match self.left.get() {
            0 => {
                reactor.wake_next_round(context.waker().clone());
                Poll::Pending
            }
            left => Poll::Ready(left),
        }
    }

    pub(super) fn spend(&self, bytes: usize) {
        self.left.set(self.left.get().saturating_sub(bytes));
    }
}
