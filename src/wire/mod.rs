//! Foreign forms: gRPC frames and the messages of `proto/`; HTTP routes and JSON; metrics.
//!
//! In: bytes of foreign programs, and values of the modules below. Out: those values, or a refusal
//! that says what is wrong; bytes of answers.
//!
//! Never: touches a socket or a clock.

pub mod bad_message;
pub mod foreign;
pub mod frame;
pub mod grpc;
pub mod health;
pub mod http;
pub mod json;
pub mod lines;
pub mod log_line;
pub mod membership;
pub mod metrics;
pub mod openapi;
pub mod pb;
pub mod reflection;
pub mod rejection;
pub mod rpc;
pub mod sketches;
pub mod status;
