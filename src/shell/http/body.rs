//! A request body, read within its bounds, and whether its sender is still there.
//!
//! In: hyper's body of a connection. Out: all its bytes at once, or why they cannot be had. Never:
//! reads past the limit, copies a body that came in one piece.

use std::net::IpAddr;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};

use super::connection::{HttpConnection, Phase, unless_late};
use super::slots::Admitted;
use crate::base::limits;
use crate::shell::runtime::budget::Full;
use crate::wire::rejection::Rejection;

/// The body of one request.
pub struct Body {
    incoming: Incoming,
    admitted: Rc<Admitted>,
    /// The client waits to be asked for it.
    is_awaited: bool,
    is_ended: bool,
    is_broken: bool,
    /// There is none, not even an empty one.
    is_absent: bool,
    /// How reading it ended: a second reader gets the same body or error.
    outcome: Option<Result<Bytes, Rejection>>,
}

impl Body {
    /// `is_awaited`: the client sends it only when asked to (`Expect: 100-continue`).
    pub(super) fn new(incoming: Incoming, admitted: Rc<Admitted>, is_awaited: bool) -> Body {
        let is_ended = incoming.is_end_stream();
        let (is_broken, is_absent, outcome) = (false, is_ended, None);
        Body { incoming, admitted, is_awaited, is_ended, is_broken, is_absent, outcome }
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
        let known = self.incoming.size_hint();
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
        let is_short = self.incoming.size_hint().upper().is_some_and(|upper| upper <= max);
        let is_coming = is_short && !self.is_awaited && !self.is_broken;
        while is_coming && !self.is_ended {
            if self.piece().await.is_err() {
                break;
            }
        }
        self.is_ended
    }

    /// The next piece; `None` at the end.
    async fn piece(&mut self) -> Result<Option<Bytes>, Rejection> {
        if self.is_ended {
            return Ok(None);
        }
        self.is_awaited = false;
        self.connection().take_permit(limits::HTTP_ROUND_PIECES).await;
        if self.connection().phase() != Phase::Body {
            self.connection().enter(Phase::Body);
        }
        let piece = self.data().await;
        if let Ok(Some(piece)) = &piece {
            self.connection().note_moved(piece.len());
        }
        self.is_ended = matches!(piece, Ok(None)) || self.incoming.is_end_stream();
        self.is_broken = piece.is_err();
        piece
    }

    /// The next piece, without what is no data: trailers, which have no use here.
    async fn data(&mut self) -> Result<Option<Bytes>, Rejection> {
        loop {
            match unless_late(&self.admitted.connection, self.incoming.frame()).await? {
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
