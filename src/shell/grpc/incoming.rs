//! The messages that a client sends on one stream.
//!
//! In: DATA frames. Out: whole messages, with their budget; the window is given back as bytes are
//! taken. Never: holds more of a message than the budget has granted.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;

use super::link::{HalfOpen, Link, add};
use crate::base::limits;
use crate::shell::runtime::budget::{Full, Share};
use crate::wire::frame::FrameReader;
use crate::wire::grpc::{Code, Status};

/// The messages a client sends on one stream.
pub(super) struct Incoming {
    link: Rc<Link>,
    body: RecvStream,
    /// The part of the last DATA frame that is not read yet.
    piece: Bytes,
    reader: FrameReader,
    /// The budget of the message that is being read.
    share: Share,
    /// Whether the budget has granted all of the message that is being read.
    is_arriving: bool,
    ended: bool,
    _half_open: HalfOpen,
}

impl Incoming {
    /// The rest of `body`, of which `piece` has been taken off already.
    pub(super) fn new(
        link: &Rc<Link>,
        body: RecvStream,
        piece: Bytes,
        half_open: HalfOpen,
    ) -> Incoming {
        let mut incoming = Incoming {
            link: link.clone(),
            body,
            piece: Bytes::new(),
            reader: FrameReader::new(limits::GRPC_MESSAGE_BYTES_MAX),
            share: Share::new(&link.held),
            is_arriving: false,
            ended: false,
            _half_open: half_open,
        };
        incoming.take(piece);
        incoming
    }

    /// The next message; `None` after the last.
    pub(super) fn poll_message(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, Status>> {
        loop {
            // The piece that is here before more is asked for: it may hold several messages.
            if !self.piece.is_empty()
                && let Some(message) = self.reader.read(&mut self.piece)?
            {
                self.set_arriving(false);
                return Poll::Ready(Ok(Some(message)));
            }
            if self.ended {
                self.reader.finish()?;
                return Poll::Ready(Ok(None));
            }
            if let Some(length) = self.reader.length().filter(|_| !self.is_arriving) {
                // All of the message is granted before more than a window of it is here.
                let bytes = length + limits::CALL_BYTES;
                ready!(self.share.poll_resize(bytes, context)).map_err(|Full| self.too_large())?;
                self.set_arriving(true);
            }
            match ready!(self.body.poll_data(context)) {
                Some(Ok(piece)) => self.take(piece),
                Some(Err(error)) => return Poll::Ready(Err(broken(&error))),
                None => self.ended = true,
            }
        }
    }

    /// Nothing is kept of the messages that came.
    pub(super) fn forget(&mut self) {
        self.share.resize(0).unwrap_or_else(|Full| unreachable!("a share always becomes smaller"));
    }

    /// The budget of the message that came, for what is made of it.
    pub(super) fn take_share(&mut self) -> Share {
        std::mem::replace(&mut self.share, Share::new(&self.link.held))
    }

    fn too_large(&self) -> Status {
        let (length, max) = (self.reader.length().unwrap_or(0), self.link.held.max());
        let message = format!("the message has {length} bytes, this node has memory for {max}");
        Status::new(Code::ResourceExhausted, message)
    }

    fn set_arriving(&mut self, is_arriving: bool) {
        let arriving = &self.link.traffic.arriving;
        let change = isize::from(is_arriving) - isize::from(self.is_arriving);
        arriving.set(arriving.get().saturating_add_signed(change));
        self.is_arriving = is_arriving;
    }

    fn take(&mut self, piece: Bytes) {
        add(&self.link.traffic.messages, piece.len());
        // The window is given back as bytes come, not as messages end: a message may be 128 windows
        // long. What bounds the memory is the budget, which was asked first.
        self.ended = self.body.is_end_stream();
        if !self.ended {
            // After the end h2 gives the window back by itself. An error means the same.
            let _ = self.body.flow_control().release_capacity(piece.len());
        }
        self.piece = piece;
    }

    /// The one message of a unary call, once the client has ended its side.
    pub(super) async fn only_message(&mut self) -> Result<Bytes, Status> {
        let first = poll_fn(|context| self.poll_message(context)).await?;
        // The second look waits for the end of the stream. Another number of messages than one is
        // UNIMPLEMENTED by gRPC's list of codes ("request cardinality violation").
        let problem = match (first, poll_fn(|context| self.poll_message(context)).await?) {
            (Some(message), None) => return Ok(message),
            (Some(_), Some(_)) => "the method takes one message, more than one came",
            (None, _) => "the method takes one message, none came",
        };
        Err(Status::new(Code::Unimplemented, problem))
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.set_arriving(false);
    }
}

/// The stream broke: the client took it back, or the connection is gone.
fn broken(error: &h2::Error) -> Status {
    let code = error.reason().map_or(Code::Cancelled, |reason| Code::of_reset(reason.into()));
    Status::new(code, error.to_string())
}
