//! What answers the requests of a server.
//!
//! In: nothing. Out: [`Handler`]. Never: knows a connection.

use std::future::Future;

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
