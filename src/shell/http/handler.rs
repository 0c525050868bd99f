//! What answers the requests of a server.
//!
//! In: nothing. Out: [`Handler`], and that behind a pointer. Never: knows a connection.

use std::future::Future;
use std::pin::Pin;

use http::request::Parts;

use super::answer_body::HttpAnswer;
use super::body::Body;
use crate::wire::rejection::Rejection;

/// What a listener does with a request: the API, the gateway, or the answer while it starts.
pub trait Handler: 'static {
    /// The answer to a request. A refused body need not be read.
    fn handle(&self, head: Parts, body: &mut Body) -> impl Future<Output = HttpAnswer>;

    /// Hears of a request that was refused outside of [`Handler::handle`].
    fn note_refused(&self, rejection: &Rejection);
}

/// An answer that is being made.
pub(super) type Answering<'a> = Pin<Box<dyn Future<Output = HttpAnswer> + 'a>>;

/// A handler behind a pointer: the server, and hyper in it, is compiled once and not for each
/// handler. An idle connection has no space for an answer that is being made.
pub(super) trait AnyHandler {
    /// As [`Handler::handle`].
    fn begin<'a>(&'a self, head: Parts, body: &'a mut Body) -> Answering<'a>;

    /// As [`Handler::note_refused`].
    fn hear_refused(&self, rejection: &Rejection);
}

impl<H: Handler> AnyHandler for H {
    fn begin<'a>(&'a self, head: Parts, body: &'a mut Body) -> Answering<'a> {
        Box::pin(self.handle(head, body))
    }

    fn hear_refused(&self, rejection: &Rejection) {
        self.note_refused(rejection);
    }
}
