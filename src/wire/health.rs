//! The messages of `grpc.health.v1`.
//!
//! In: a request of any client. Out: the service that it names; responses. Never: judges a service.

use bytes::Bytes;
use prost::Message;

use super::pb::health::health_check_response::ServingStatus;
use super::pb::health::{HealthCheckRequest, HealthCheckResponse};
use super::status::{Code, Status};

/// Whether a service can be called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Serving {
    /// The service can be called.
    Yes,
    /// It cannot: the server is stopping.
    No,
    /// The server has no such service.
    Unknown,
}

/// The full name of the service that is asked about; empty for the server as a whole.
pub fn read_request(message: &[u8]) -> Result<String, Status> {
    let request = HealthCheckRequest::decode(message).map_err(|error| {
        Status::new(Code::InvalidArgument, format!("the message is no HealthCheckRequest: {error}"))
    })?;
    Ok(request.service)
}

/// The response that says so.
pub fn response(serving: Serving) -> Bytes {
    let status = match serving {
        Serving::Yes => ServingStatus::Serving,
        Serving::No => ServingStatus::NotServing,
        Serving::Unknown => ServingStatus::ServiceUnknown,
    };
    HealthCheckResponse { status: status.into() }.encode_to_vec().into()
}
