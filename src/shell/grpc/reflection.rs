//! Server reflection, both versions: the stream around [`crate::wire::reflection`].
//!
//! In: requests, in order. Out: their answers, in order; the next request is read when the client's
//! window has taken the answer before it, so that one answer at most waits.
//!
//! Never: answers a second stream from the first's state; there is none.

use std::rc::Rc;

use super::service::{Answer, Call, Service, Streamed};
use super::stream::Stream;
use crate::wire::grpc::{Code, Status};
use crate::wire::reflection;

/// The service's full name.
pub(super) const V1: &str = "grpc.reflection.v1.ServerReflection";
/// Its name before version 1, with the same messages.
pub(super) const V1ALPHA: &str = "grpc.reflection.v1alpha.ServerReflection";

/// Answers questions about a fixed list of services, under one of its names.
pub(super) struct Reflection {
    name: &'static str,
    services: Rc<[&'static str]>,
}

impl Reflection {
    pub(super) fn new(name: &'static str, services: &[&'static str]) -> Reflection {
        Reflection { name, services: services.into() }
    }
}

impl Service for Reflection {
    fn name(&self) -> &'static str {
        self.name
    }

    fn methods(&self) -> &'static [&'static str] {
        &[]
    }

    fn streams(&self) -> &'static [&'static str] {
        &["ServerReflectionInfo"]
    }

    fn is_open(&self) -> bool {
        true
    }

    fn call(&self, method: &'static str, _: &Call) -> Answer {
        unreachable!("{method} is a stream")
    }

    fn serve(&self, _: &'static str, mut stream: Stream) -> Streamed {
        let services = self.services.clone();
        Box::pin(async move {
            let status = answer_all(&services, &mut stream).await;
            stream.end(&status);
        })
    }
}

/// Answers one question after the other; what the stream ends with.
async fn answer_all(services: &[&str], stream: &mut Stream) -> Status {
    if let Err(status) = stream.open() {
        return status;
    }
    loop {
        // One question after the other: a client that asks a thousand and reads no answer makes the
        // node hold one.
        let answer = match stream.next().await {
            Ok(Some(question)) => reflection::answer(&question, services),
            Ok(None) => return Status::new(Code::Ok, ""),
            Err(status) => return status,
        };
        if let Err(status) = answer.and_then(|answer| stream.send(answer)) {
            return status;
        }
    }
}
