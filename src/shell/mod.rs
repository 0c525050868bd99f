//! Everything that touches the world: sockets, files, clocks, threads, log lines.
//!
//! In: settings, connections, signals. Out: answers on the wire, bytes on disk, an exit code.
//! Never: makes a decision of the protocol.

pub mod api;
pub mod disk;
pub mod driver;
pub mod grpc;
pub mod http;
pub mod node;
pub mod peers;
pub mod repair;
pub mod runtime;
pub mod services;
