//! `grpc.health.v1.Health`: whether the services can be called.
//!
//! In: names of services. Out: SERVING for each that the server has, while it is not stopping.
//! Never: judges the node; one that cannot serve ends its process.

use std::future::poll_fn;
use std::task::Poll;

use bytes::Bytes;
use h2::SendStream;
use prost::Message;

use super::call::{Ask, Incoming};
use super::respond::{self, Frame};
use super::{Answer, Call, Phase, Service};
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
pub(super) async fn watch(mut ask: Ask, mut incoming: Incoming) {
    let ended = ask.watch(&mut incoming).await;
    ask.count(ended.map_or(Code::Cancelled, |status| status.code));
}

impl Ask {
    /// `None` if the client left.
    async fn watch(&mut self, incoming: &mut Incoming) -> Option<Status> {
        let asked = match first_message(incoming).await.and_then(|message| read(&message)) {
            Ok(asked) => asked,
            Err(status) => {
                respond::refuse(&mut self.respond, &status);
                return Some(status);
            }
        };
        let known = knows(self.link.shared.methods.names(), &asked.service);
        let now = if known { ServingStatus::Serving } else { ServingStatus::ServiceUnknown };
        let mut stream = respond::begin(&mut self.respond)?;
        stream.send_data(frame(now), false).ok()?;
        self.until_draining(&mut stream).await?;
        stream.send_data(frame(ServingStatus::NotServing), false).ok()?;
        let status = Status::new(Code::Unavailable, "the server is stopping");
        respond::end(&mut stream, &status);
        Some(status)
    }

    async fn until_draining(&self, stream: &mut SendStream<Frame>) -> Option<()> {
        poll_fn(|context| {
            if self.link.shared.phase.get() == Phase::Draining {
                return Poll::Ready(Some(()));
            }
            stream.poll_reset(context).map(|_| None)
        })
        .await
    }
}

async fn first_message(incoming: &mut Incoming) -> Result<Bytes, Status> {
    let message = poll_fn(|context| incoming.poll_message(context)).await?;
    message
        .ok_or_else(|| Status::new(Code::Unimplemented, "the method takes one message, none came"))
}

fn frame(status: ServingStatus) -> Frame {
    Frame::new(answer(status).encode_to_vec().into())
}
