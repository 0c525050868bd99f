//! `grpc.health.v1.Health`: whether the services can be called.
//!
//! In: names of services. Out: SERVING for each that the server has, while it is not stopping.
//! Never: judges the node; one that cannot serve ends its process.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Instant;

use bytes::Bytes;
use h2::SendStream;
use prost::Message;

use super::call::{Ask, Incoming, bounded};
use super::respond::{self, Frame};
use super::streaming::Open;
use super::{Answer, Call, Service};
use crate::base::limits;
use crate::wire::grpc::{Code, Status};
use crate::wire::pb::health::health_check_response::ServingStatus;
use crate::wire::pb::health::{HealthCheckRequest, HealthCheckResponse};

/// The service's full name.
pub(super) const NAME: &str = "grpc.health.v1.Health";

/// Answers `Check`.
pub(super) struct Check {
    services: Vec<&'static str>,
}

impl Check {
    pub(super) fn new(services: Vec<&'static str>) -> Check {
        Check { services }
    }
}

impl Service for Check {
    fn name(&self) -> &'static str {
        NAME
    }

    fn methods(&self) -> &'static [&'static str] {
        &["Check"]
    }

    fn is_open(&self) -> bool {
        true
    }

    fn call(&self, _: &'static str, call: &Call) -> Answer {
        Answer::Now(read(&call.message).and_then(|asked| {
            if knows(&self.services, &asked.service) {
                Ok(answer(ServingStatus::Serving).encode_to_vec().into())
            } else {
                let message = format!("there is no service {} here", asked.service);
                Err(Status::new(Code::NotFound, message))
            }
        }))
    }
}

fn read(message: &[u8]) -> Result<HealthCheckRequest, Status> {
    HealthCheckRequest::decode(message).map_err(|error| {
        Status::new(Code::InvalidArgument, format!("the message is no HealthCheckRequest: {error}"))
    })
}

fn knows(services: &[&str], name: &str) -> bool {
    name.is_empty() || services.contains(&name)
}

fn answer(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

/// Answers `Watch`: the state of now, and the end of serving when it comes.
pub(super) async fn watch(mut ask: Ask, incoming: Incoming) {
    let ended = ask.watch(incoming).await;
    ask.count(ended.map_or(Code::Cancelled, |status| status.code));
}

impl Ask {
    /// `None` if the client left.
    async fn watch(&mut self, mut incoming: Incoming) -> Option<Status> {
        let now = Instant::now();
        let late = self.deadline(now).unwrap_or(now + limits::GRPC_READ_MAX);
        let asked = bounded(&mut self.respond, Some(late), first_message(&mut incoming)).await?;
        // Nothing more is read of it.
        drop(incoming);
        let asked = asked.and_then(|message| read(&message));
        let opened = asked.and_then(|asked| Ok((asked, self.open_stream(now)?)));
        let (asked, mut open) = match opened {
            Ok(opened) => opened,
            Err(status) => {
                respond::refuse(&mut self.respond, &status);
                return Some(status);
            }
        };
        self.link.note_stream();
        let known = knows(self.link.shared.methods.names(), &asked.service);
        let status = if known { ServingStatus::Serving } else { ServingStatus::ServiceUnknown };
        let mut stream = respond::begin(&mut self.respond)?;
        stream.send_data(frame(status), false).ok()?;
        let status = until_end(&mut stream, &mut open).await?;
        if open.is_draining() {
            stream.send_data(frame(ServingStatus::NotServing), false).ok()?;
        }
        respond::end(&mut stream, &status);
        Some(status)
    }
}

/// How the stream ends; `None` if the client leaves.
async fn until_end(stream: &mut SendStream<Frame>, open: &mut Open) -> Option<Status> {
    poll_fn(|context| match open.poll_end(context) {
        Poll::Ready(status) => Poll::Ready(Some(status)),
        Poll::Pending => stream.poll_reset(context).map(|_| None),
    })
    .await
}

async fn first_message(incoming: &mut Incoming) -> Result<Bytes, Status> {
    let message = poll_fn(|context| incoming.poll_message(context)).await?;
    message
        .ok_or_else(|| Status::new(Code::Unimplemented, "the method takes one message, none came"))
}

fn frame(status: ServingStatus) -> Frame {
    Frame::new(answer(status).encode_to_vec().into())
}
