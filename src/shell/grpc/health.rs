//! `grpc.health.v1.Health`: whether the services can be called.
//!
//! In: names of services, what the server is to say of them. Out: SERVING or NOT_SERVING for each
//! that the server has. Never: judges the node.

use std::rc::Rc;

use super::service::{Answer, Call, Service, Streamed};
use super::state::ServerState;
use super::stream::Stream;
use crate::wire::grpc::{Code, Status};
use crate::wire::health::{self, Serving};

/// The service's full name.
pub(super) const NAME: &str = "grpc.health.v1.Health";

/// Answers `Check` and `Watch` for a fixed list of services.
#[derive(Clone)]
pub(super) struct HealthService {
    services: Rc<[&'static str]>,
    state: Rc<ServerState>,
}

impl HealthService {
    pub(super) fn new(services: &[&'static str], state: Rc<ServerState>) -> HealthService {
        HealthService { services: services.into(), state }
    }

    fn serving(&self, service: &str) -> Serving {
        // The empty name asks for the server as a whole (health.proto).
        let is_known = service.is_empty() || self.services.contains(&service);
        match (is_known, self.state.is_serving.get()) {
            (false, _) => Serving::Unknown,
            (true, true) => Serving::Yes,
            (true, false) => Serving::No,
        }
    }
}

impl Service for HealthService {
    fn name(&self) -> &'static str {
        NAME
    }

    fn methods(&self) -> &'static [&'static str] {
        &["Check"]
    }

    fn streams(&self) -> &'static [&'static str] {
        &["Watch"]
    }

    fn is_open(&self) -> bool {
        true
    }

    fn call(&self, _: &'static str, call: &Call) -> Answer {
        Answer::Now(health::read_request(&call.message).and_then(|service| {
            match self.serving(&service) {
                Serving::Unknown => {
                    let message = format!("there is no service {service} here");
                    Err(Status::new(Code::NotFound, message))
                }
                serving => Ok(health::response(serving)),
            }
        }))
    }

    fn serve(&self, _: &'static str, stream: Stream) -> Streamed {
        Box::pin(watch(self.clone(), stream))
    }
}

/// Sends the state of now and each other one that it becomes.
async fn watch(this: HealthService, mut stream: Stream) {
    let status = follow(&this, &mut stream).await.unwrap_or_else(|status| status);
    stream.end(&status);
}

/// What the stream ends with.
async fn follow(this: &HealthService, stream: &mut Stream) -> Result<Status, Status> {
    let service = health::read_request(&stream.request().await?)?;
    stream.open()?;
    loop {
        let serving = this.serving(&service);
        stream.send(health::response(serving))?;
        let end = stream.closed_unless(|| this.serving(&service) != serving).await;
        let Some(status) = end else { continue };
        // A load balancer that watches takes the node out before its connections end.
        if stream.is_draining() && serving != Serving::No {
            stream.send(health::response(Serving::No))?;
        }
        return Ok(status);
    }
}
