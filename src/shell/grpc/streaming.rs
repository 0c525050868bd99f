//! Streams that stay open, of health and reflection: how many there may be, and for how long.
//!
//! In: calls. Out: a place for each, and the status that it ends with. Never: lets a client without
//! the cluster key keep a place for ever.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use super::Phase;
use super::call::Ask;
use super::link::{Link, Streaming};
use crate::base::limits;
use crate::shell::runtime::reactor::Timer;
use crate::wire::grpc::{Code, Status};

/// A stream that is open until it is dropped.
pub(super) struct Open {
    link: Rc<Link>,
    _place: Streaming,
    /// The client's deadline, or the server's.
    end: Timer,
    is_clients: bool,
}

impl Ask {
    /// Opens the stream, which was called at `now`.
    pub(super) fn open_stream(&self, now: Instant) -> Result<Open, Status> {
        let Some(place) = self.link.begin_stream() else {
            let (own, all) = (limits::STREAMS_OPEN_MAX, self.link.shared.bounds.streams_max);
            let message =
                format!("too many streams are open: {own} on one connection, {all} in all");
            return Err(Status::new(Code::ResourceExhausted, message));
        };
        let late = now + limits::STREAM_MAX;
        let deadline =
            self.deadline(now).filter(|deadline| *deadline <= late || self.link.is_peer());
        let (end, is_clients) = (deadline.unwrap_or(late), deadline.is_some());
        let end = Timer::at(end);
        Ok(Open { link: self.link.clone(), _place: place, end, is_clients })
    }
}

impl Open {
    /// Whether the server is stopping.
    pub(super) fn is_draining(&self) -> bool {
        self.link.shared.phase.get() == Phase::Draining
    }

    /// The status that the stream ends with, once it has to.
    pub(super) fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<Status> {
        if self.is_draining() {
            return Poll::Ready(Status::new(Code::Unavailable, "the server is stopping"));
        }
        loop {
            ready!(Pin::new(&mut self.end).poll(context));
            if self.is_clients {
                return Poll::Ready(late());
            }
            if !self.link.is_peer() {
                let message = "the stream was open for long without the cluster key, open it anew";
                return Poll::Ready(Status::new(Code::Unavailable, message));
            }
            self.end = Timer::after(limits::STREAM_MAX);
        }
    }
}

/// The time that the client gave its call is up.
pub(super) fn late() -> Status {
    Status::new(Code::DeadlineExceeded, "the time that the call was given is up")
}
