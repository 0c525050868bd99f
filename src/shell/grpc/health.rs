//! `grpc.health.v1.Health`: whether the services can be called.
//!
//! In: names of services. Out: SERVING for each that the server has, while it is not stopping.
//! Never: judges the node; one that cannot serve ends its process.

use std::rc::Rc;

use super::service::{Answer, Call, Service, Streamed};
use super::stream::Stream;
use crate::wire::grpc::{Code, Status};
use crate::wire::health::{self, Serving};

/// The service's full name.
pub(super) const NAME: &str = "grpc.health.v1.Health";

/// Answers `Check` and `Watch` for a fixed list of services.
#[derive(Clone)]
pub(super) struct HealthService {
    services: Rc<[&'static str]>,
}

impl HealthService {
    pub(super) fn new(services: &[&'static str]) -> HealthService {
        HealthService { services: services.into() }
    }

    fn serving(&self, service: &str) -> Serving {
        // The empty name asks for the server as a whole (health.proto).
        match service.is_empty() || self.services.contains(&service) {
            true => Serving::Yes,
            false => Serving::Unknown,
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

/// Sends the state of now, and the end of serving when it comes.
async fn watch(this: HealthService, mut stream: Stream) {
    let status = match begin(&this, &mut stream).await {
        Ok(()) => {
            let status = stream.closed().await;
            // A load balancer that watches takes the node out before its connections end.
            let sent = match stream.is_draining() {
                true => stream.send(health::response(Serving::No)),
                false => Ok(()),
            };
            sent.map_or_else(|left| left, |()| status)
        }
        Err(status) => status,
    };
    stream.end(&status);
}

async fn begin(this: &HealthService, stream: &mut Stream) -> Result<(), Status> {
    let service = health::read_request(&stream.request().await?)?;
    stream.open()?;
    stream.send(health::response(this.serving(&service)))
}
