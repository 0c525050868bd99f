//! A request body, read within its bounds, and whether its sender is still there.
//!
//! In: hyper's body of a connection. Out: all its bytes at once, or piece by piece for an answer
//! that is made meanwhile, or why they cannot be had. Never: reads past the limit, copies a body
//! that came in one piece.

use std::future::Future;
use std::net::IpAddr;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming, SizeHint};

use super::answer_body::{AnswerBody, Outlet};
use super::connection::{HttpConnection, Phase, unless_late};
use super::slots::Admitted;
use crate::base::limits;
use crate::shell::runtime::budget::Full;
use crate::wire::rejection::Rejection;

/// The body of one request.
pub struct Body {
    /// `None` when it was handed over to the work of an answer.
    incoming: Option<Incoming>,
    admitted: Rc<Admitted>,
    /// The client waits to be asked for it.
    is_awaited: bool,
    is_ended: bool,
    is_broken: bool,
    /// There is none, not even an empty one.
    is_absent: bool,
    /// How reading it ended: a second reader gets the same body or error.
    outcome: Option<Result<Bytes, Rejection>>,
    /// What was read of it before it was handed over.
    first: Option<Bytes>,
}

impl Body {
    /// `is_awaited`: the client sends it only when asked to (`Expect: 100-continue`).
    pub(super) fn new(incoming: Incoming, admitted: Rc<Admitted>, is_awaited: bool) -> Body {
        let is_ended = incoming.is_end_stream();
        let (is_broken, is_absent, outcome, first) = (false, is_ended, None, None);
        let incoming = Some(incoming);
        Body { incoming, admitted, is_awaited, is_ended, is_broken, is_absent, outcome, first }
    }

    /// An answer that is made while the body comes: `work` reads it piece by piece. A client that
    /// asked whether to send it (`Expect`) is answered before the answer begins.
    pub async fn answer_while<W: Future<Output = ()> + 'static>(
        &mut self,
        work: impl FnOnce(Body, Rc<Outlet>) -> W,
    ) -> Result<AnswerBody, Rejection> {
        let first = if self.is_awaited { self.piece().await? } else { None };
        let admitted = self.admitted.clone();
        let (is_awaited, is_ended) = (self.is_awaited, self.is_ended);
        let (is_broken, is_absent, outcome) = (false, self.is_absent, None);
        let incoming = self.incoming.take();
        self.is_ended = true;
        let body =
            Body { incoming, admitted, is_awaited, is_ended, is_broken, is_absent, outcome, first };
        Ok(AnswerBody::made(self.admitted.clone(), |outlet| work(body, outlet)))
    }

    /// The next piece of a body that is answered while it comes; `None` at the end. `is_owed`: the
    /// client waits for answers itself, so that it is not waited for.
    pub async fn next_piece(&mut self, is_owed: bool) -> Result<Option<Bytes>, Rejection> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        self.connection().await_body(!is_owed);
        let piece = self.piece().await;
        self.connection().await_body(false);
        piece
    }

    /// Takes budget for what the node holds of it; the slowest client that holds some goes if there
    /// is not enough.
    pub fn try_hold(&self, bytes: usize) -> bool {
        self.admitted.reserve_body(bytes).is_ok()
    }

    /// The same, once there is enough; nothing may be held before.
    pub async fn hold(&self, bytes: usize) {
        let bytes = bytes.min(limits::HTTP_BODY_BYTES_MAX);
        let held = self.connection().hold_when_free(bytes).await;
        held.unwrap_or_else(|Full| unreachable!("the largest body fits"));
    }

    /// The rest of it is not read, so that the connection ends with the answer.
    pub fn give_up(&self) {
        self.connection().leave_unread();
    }

    fn connection(&self) -> &HttpConnection {
        &self.admitted.connection
    }

    /// Whether the request came without one.
    pub fn is_absent(&self) -> bool {
        self.is_absent
    }

    /// Whether all of it has come.
    pub(super) fn is_ended(&self) -> bool {
        self.is_ended
    }

    /// The host that sent it; `None` if it has gone.
    pub fn peer(&self) -> Option<IpAddr> {
        self.connection().stream().peer()
    }

    /// Ready once the client has closed its sending half, or all of the connection: the
    /// client knows which, the server does not.
    pub fn poll_client_left(&self, context: &mut Context<'_>) -> Poll<()> {
        self.connection().stream().poll_ended(context)
    }

    /// All of it, or why it cannot be had; the same as often as it is asked for. What is left of a
    /// body that failed is not a body: its end may be a valid claim that the client did not send.
    pub async fn read(&mut self) -> Result<Bytes, Rejection> {
        if let Some(outcome) = &self.outcome {
            return outcome.clone();
        }
        let outcome = self.read_all().await;
        self.connection().enter(Phase::Working);
        self.outcome.insert(outcome).clone()
    }

    async fn read_all(&mut self) -> Result<Bytes, Rejection> {
        let known = self.size_hint();
        if known.lower() > limits::HTTP_BODY_BYTES_MAX as u64 {
            return Err(Rejection::BodyTooLarge);
        }
        let first = self.piece().await?.unwrap_or_default();
        if self.is_ended {
            return Ok(first);
        }
        // A length is a promise: budget is taken for what has come.
        self.admitted.reserve_body(first.len()).map_err(|Full| Rejection::OverBudget)?;
        let mut whole = BytesMut::from(&first[..]);
        while let Some(piece) = self.piece().await? {
            if whole.len() + piece.len() > limits::HTTP_BODY_BYTES_MAX {
                return Err(Rejection::BodyTooLarge);
            }
            self.admitted
                .reserve_body(whole.len() + piece.len())
                .map_err(|Full| Rejection::OverBudget)?;
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    }

    /// Reads the rest after a refusal, if it is short; else the connection has to end.
    /// True: it can go on.
    pub(super) async fn discard(&mut self) -> bool {
        self.connection().let_go();
        let max = limits::HTTP_BODY_BYTES_MAX as u64;
        let is_short = self.size_hint().upper().is_some_and(|upper| upper <= max);
        let is_coming = is_short && !self.is_awaited && !self.is_broken;
        while is_coming && !self.is_ended {
            if self.piece().await.is_err() {
                break;
            }
        }
        self.is_ended
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(SizeHint::default, |incoming| incoming.size_hint())
    }

    /// The next piece; `None` at the end.
    async fn piece(&mut self) -> Result<Option<Bytes>, Rejection> {
        if self.is_ended {
            return Ok(None);
        }
        self.is_awaited = false;
        self.connection().take_permit(limits::HTTP_ROUND_PIECES).await;
        if !matches!(self.connection().phase(), Phase::Body | Phase::Streaming) {
            self.connection().enter(Phase::Body);
        }
        let piece = self.data().await;
        if let Ok(Some(piece)) = &piece {
            self.connection().note_moved(piece.len());
        }
        let is_over = self.incoming.as_ref().is_none_or(|incoming| incoming.is_end_stream());
        self.is_ended = matches!(piece, Ok(None)) || is_over;
        self.is_broken = piece.is_err();
        piece
    }

    /// The next piece, without what is no data: trailers, which have no use here.
    async fn data(&mut self) -> Result<Option<Bytes>, Rejection> {
        let Some(incoming) = &mut self.incoming else { return Ok(None) };
        loop {
            match unless_late(&self.admitted.connection, incoming.frame()).await? {
                None => return Ok(None),
                Some(Err(_)) => return Err(Rejection::Body),
                Some(Ok(frame)) => {
                    if let Ok(piece) = frame.into_data() {
                        return Ok(Some(piece));
                    }
                }
            }
        }
    }
}
