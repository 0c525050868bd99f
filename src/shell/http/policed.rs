//! A handler behind the rules of its listener.
//!
//! In: request heads. Out: the handler's answers, or the refusal; on each what a browser and a
//! tracer want to see. API, gateway and the server of the start are all behind one of these, so
//! that no route can be forgotten.
//!
//! Never: knows a route or a key.

use std::rc::Rc;

use http::header::ORIGIN;
use http::request::Parts;

use super::answer_body::HttpAnswer;
use super::body::Body;
use super::handler::Handler;
use super::refusal::refuse;
use crate::wire::http::policy::Policy;
use crate::wire::http::{REQUEST_ID, echo_request_id};
use crate::wire::rejection::Rejection;

/// Answers what `policy` lets through by `handler`.
pub struct Policed<H> {
    handler: Rc<H>,
    policy: Policy,
}

impl<H: Handler> Policed<H> {
    /// Checks each request against `policy` before `handler` gets it.
    pub fn new(handler: Rc<H>, policy: Policy) -> Rc<Policed<H>> {
        Rc::new(Policed { handler, policy })
    }
}

impl<H: Handler> Handler for Policed<H> {
    async fn handle(&self, head: Parts, body: &mut Body) -> HttpAnswer {
        let [origin, id] = [ORIGIN, REQUEST_ID].map(|name| head.headers.get(name).cloned());
        let mut response = match self.policy.check(&head) {
            Ok(()) => self.handler.handle(head, body).await,
            Err(violation) => {
                let rejection = Rejection::Policy(violation);
                self.handler.note_refused(&rejection);
                refuse(&rejection)
            }
        };
        self.policy.cors.decorate(origin.as_ref(), response.headers_mut());
        echo_request_id(id.as_ref(), response.headers_mut());
        response
    }

    fn note_refused(&self, rejection: &Rejection) {
        self.handler.note_refused(rejection);
    }
}
