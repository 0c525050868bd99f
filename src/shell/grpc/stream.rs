//! A stream of messages both ways: how a service reads, answers and ends it.
//!
//! In: messages of the client. Out: messages of the service, one at most that the client's window
//! has not taken; trailers. Streams are counted, as each costs memory for as long as it is open.
//!
//! Never: lets a client without the cluster key keep a stream for ever.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use h2::SendStream;

use super::ask::{Ask, bounded, late};
use super::incoming::Incoming;
use super::link::{Link, StreamSlot};
use super::respond::{self, Frame};
use crate::base::limits;
use crate::shell::runtime::reactor::Timer;
use crate::wire::grpc::{Code, Status};

/// One call of a method that takes or gives more than one message.
pub struct Stream {
    ask: Ask,
    begun: Instant,
    /// `None` once nothing more is read of it.
    incoming: Option<Incoming>,
    /// `None` until the answers begin.
    outgoing: Option<Outgoing>,
}

struct Outgoing {
    stream: SendStream<Frame>,
    lease: Lease,
}

/// For how long a stream may stay open.
struct Lease {
    link: Rc<Link>,
    _slot: StreamSlot,
    /// The client's deadline, or the server's.
    end: Timer,
    /// The client named the deadline itself.
    is_clients: bool,
}

impl Stream {
    pub(super) fn new(ask: Ask, incoming: Incoming) -> Stream {
        Stream { ask, begun: Instant::now(), incoming: Some(incoming), outgoing: None }
    }

    /// The one message of a method that takes one: what the client sends after it is not read.
    pub async fn request(&mut self) -> Result<Bytes, Status> {
        let late = self.ask.deadline(self.begun).unwrap_or(self.begun + limits::GRPC_READ_MAX);
        // Dropped at the end: a call that only waits for its end is not half open.
        let mut incoming = self.incoming.take().expect("the request is read once");
        let message = async {
            let message = poll_fn(|context| incoming.poll_message(context)).await?;
            let none = "the method takes one message, none came";
            message.ok_or_else(|| Status::new(Code::Unimplemented, none))
        };
        let message = bounded(&mut self.ask.respond, Some(late), message).await;
        message.unwrap_or_else(|| Err(client_left()))
    }

    /// Begins the answers, if there is a slot for one more stream.
    pub fn open(&mut self) -> Result<(), Status> {
        let lease = self.lease()?;
        let stream = respond::begin(&mut self.ask.respond).ok_or_else(client_left)?;
        self.outgoing = Some(Outgoing { stream, lease });
        Ok(())
    }

    fn lease(&self) -> Result<Lease, Status> {
        let link = &self.ask.link;
        let Some(slot) = link.begin_stream() else {
            let (own, all) = (limits::STREAMS_OPEN_MAX, link.state.bounds.streams_max);
            let message =
                format!("too many streams are open: {own} on one connection, {all} in all");
            return Err(Status::new(Code::ResourceExhausted, message));
        };
        let late = self.begun + limits::STREAM_MAX;
        let deadline = self.ask.deadline(self.begun);
        // A client without the key may name an earlier end than the server's, not a later one.
        let deadline = deadline.filter(|deadline| *deadline <= late || link.is_peer());
        let (end, is_clients) = (Timer::at(deadline.unwrap_or(late)), deadline.is_some());
        Ok(Lease { link: link.clone(), _slot: slot, end, is_clients })
    }

    /// The next message, once the client has taken all answers; `None` after the last. An error is
    /// what the stream ends with.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        let incoming = self.incoming.as_mut().expect("the stream is read to its end");
        let outgoing = self.outgoing.as_mut().expect("the stream was opened");
        let message = poll_fn(|context| {
            if let Poll::Ready(status) = outgoing.lease.poll_end(context) {
                return Poll::Ready(Err(status));
            }
            // Before the question is read: one answer at most waits for the window.
            ready!(poll_window(&mut outgoing.stream, context))?;
            incoming.poll_message(context)
        });
        let message = message.await;
        // The service has the message now, and answers it before it asks for the next.
        incoming.forget();
        message
    }

    /// Queues one message for the client; fails if the client has left the call.
    pub fn send(&mut self, message: Bytes) -> Result<(), Status> {
        self.ask.link.note_stream();
        let outgoing = self.outgoing.as_mut().expect("the stream was opened");
        let sent = outgoing.stream.send_data(Frame::new(message), false);
        sent.map_err(|_| client_left())
    }

    /// Waits for the end of the stream: what to end it with. `None` once `has_news` holds, which is
    /// looked at whenever the server's state changes.
    pub async fn closed_unless(&mut self, has_news: impl Fn() -> bool) -> Option<Status> {
        let outgoing = self.outgoing.as_mut().expect("the stream was opened");
        poll_fn(|context| {
            if let Poll::Ready(status) = outgoing.lease.poll_end(context) {
                return Poll::Ready(Some(status));
            }
            match outgoing.stream.poll_reset(context) {
                Poll::Ready(_) => Poll::Ready(Some(client_left())),
                Poll::Pending if has_news() => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    /// Whether the server is stopping.
    pub fn is_draining(&self) -> bool {
        self.ask.link.state.is_draining.get()
    }

    /// Ends the stream. A client that has left (CANCELLED) gets no more frames.
    pub fn end(mut self, status: &Status) {
        match &mut self.outgoing {
            _ if status.code == Code::Cancelled => {}
            Some(outgoing) => respond::end(&mut outgoing.stream, status),
            None => respond::refuse(&mut self.ask.respond, status),
        }
        self.ask.method.count(status.code);
    }
}

/// Ready once the client's window has taken all that was sent. The window is asked for byte by
/// byte: any capacity at all means that everything before it is within the window.
fn poll_window(
    stream: &mut SendStream<Frame>,
    context: &mut Context<'_>,
) -> Poll<Result<(), Status>> {
    if stream.capacity() > 0 {
        return Poll::Ready(Ok(()));
    }
    stream.reserve_capacity(1);
    if stream.capacity() > 0 {
        return Poll::Ready(Ok(()));
    }
    match ready!(stream.poll_capacity(context)) {
        Some(Ok(_)) => Poll::Ready(Ok(())),
        _ => Poll::Ready(Err(client_left())),
    }
}

fn client_left() -> Status {
    Status::new(Code::Cancelled, "the client left")
}

impl Lease {
    /// The status that the stream ends with, once it has to.
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<Status> {
        if self.link.state.is_draining.get() {
            return Poll::Ready(Status::new(Code::Unavailable, "the server is stopping"));
        }
        loop {
            ready!(Pin::new(&mut self.end).poll(context));
            if self.is_clients {
                return Poll::Ready(late());
            }
            // Slots are for all: a watch that is opened again has to find one.
            if !self.link.is_peer() {
                let message = "the stream was open for long without the cluster key, open it again";
                return Poll::Ready(Status::new(Code::Unavailable, message));
            }
            self.end = Timer::after(limits::STREAM_MAX);
        }
    }
}
