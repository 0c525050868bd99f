//! The cluster key at the door of gRPC.
//!
//! In: calls to a service between nodes. Out: the service's answer, or `UNAUTHENTICATED`. Health
//! and reflection stay open, as orchestrators and operators have no key.
//!
//! Never: tells what is wrong with a key beyond that it is missing or another.

use super::grpc::{Answer, Call, Service};
use crate::base::Secret;
use crate::base::secret::Fingerprint;
use crate::wire::grpc::CLUSTER_KEY;
use crate::wire::status::{Code, Status};

/// A service for those who know the key.
pub struct Guard<S> {
    service: S,
    key: Option<Fingerprint>,
}

impl<S: Service> Guard<S> {
    /// Asks for `key`; without one everybody may call.
    pub fn new(service: S, key: Option<&Secret>) -> Guard<S> {
        Guard { service, key: key.map(Secret::fingerprint) }
    }
}

impl<S: Service> Service for Guard<S> {
    fn name(&self) -> &'static str {
        self.service.name()
    }

    fn methods(&self) -> &'static [&'static str] {
        self.service.methods()
    }

    fn call(&self, method: &'static str, call: &Call) -> Answer {
        let Some(key) = &self.key else { return self.service.call(method, call) };
        let problem = match call.metadata(CLUSTER_KEY) {
            Some(given) if key.matches(given.as_bytes()) => return self.service.call(method, call),
            Some(_) => "is not this cluster's",
            None => "is missing: nodes of this cluster send it with every call",
        };
        let message = format!("the metadata {CLUSTER_KEY} {problem}");
        Answer::Now(Err(Status::new(Code::Unauthenticated, message)))
    }
}
