//! Their words: gRPC frames, statuses and the protobuf messages of `proto/`.
//!
//! In: bytes of foreign programs. Out: messages, or a status that says what is wrong with them.
//! Never: touches a socket or a clock, knows what an assertion is.

pub mod base64;
pub mod frame;
pub mod grpc;
pub mod pb;
pub mod reflection;
pub mod status;
