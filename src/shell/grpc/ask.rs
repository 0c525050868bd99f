//! A call under way: whom to answer, by when, and what it counts for.
//!
//! In: an outcome. Out: the answer, and a count of its code. Never: answers twice: an answer takes
//! the call.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::server::SendResponse;

use super::link::Link;
use super::method::Method;
use super::respond::{self, Frame};
use crate::shell::runtime::budget::Share;
use crate::shell::runtime::reactor::Timer;
use crate::wire::grpc::{Code, Status};

/// A call whose headers were taken, and the means to answer it.
pub(super) struct Ask {
    pub(super) link: Rc<Link>,
    pub(super) method: Rc<Method>,
    /// How long the client waits at most, as it said.
    pub(super) timeout: Option<Duration>,
    pub(super) respond: SendResponse<Frame>,
}

impl Ask {
    /// When the time is up that the client gave the call.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        // `grpc-timeout` may name 11,000 years: what no `Instant` holds is no deadline.
        self.timeout.and_then(|span| now.checked_add(span))
    }

    /// Ends the call with an answer or an error.
    pub(super) fn finish(mut self, outcome: Result<Bytes, Status>, budget: Option<Share>) {
        let code = respond::finish(&mut self.respond, outcome, budget, &self.link);
        // By this the connection keeps its slot when slots are short (`Links`).
        self.link.note_answer();
        self.method.count(code);
    }

    /// Ends a call that the client has taken back: nothing is sent.
    pub(super) fn abandon(self) {
        self.method.count(Code::Cancelled);
    }
}

/// What `work` gives, or `DEADLINE_EXCEEDED`, or `None` if the client takes the call back.
pub(super) async fn bounded<T>(
    respond: &mut SendResponse<Frame>,
    deadline: Option<Instant>,
    work: impl Future<Output = Result<T, Status>>,
) -> Option<Result<T, Status>> {
    let mut work = pin!(work);
    let mut timer = deadline.map(Timer::at);
    poll_fn(|context| {
        // The work first: an answer that is there goes out, even if its time is up in the same
        // round.
        if let Poll::Ready(outcome) = work.as_mut().poll(context) {
            return Poll::Ready(Some(outcome));
        }
        // h2 wakes a call on RST_STREAM only if it was asked for one. Without this the node would
        // work on for clients that took their calls back.
        if respond.poll_reset(context).is_ready() {
            return Poll::Ready(None);
        }
        match &mut timer {
            Some(timer) => Pin::new(timer).poll(context).map(|()| Some(Err(late()))),
            None => Poll::Pending,
        }
    })
    .await
}

/// The time that the client gave its call is up.
pub(super) fn late() -> Status {
    Status::new(Code::DeadlineExceeded, "the time that the call was given is up")
}
