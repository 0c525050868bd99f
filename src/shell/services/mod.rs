//! The gRPC services that a node offers to other nodes.
//!
//! In: decoded frames from the gRPC server. Out: answers. Never: trusts a length.

pub mod edge;
pub mod sync;
