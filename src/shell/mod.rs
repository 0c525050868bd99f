//! Everything that touches the world: sockets, files, clocks, threads, log lines.
//!
//! In: settings, connections, signals. Out: answers on the wire, bytes on disk, an exit code.
//! Never: makes a decision of the protocol.

pub mod adopt;
pub mod anti_entropy;
pub mod api;
mod ask;
pub mod backup;
mod budget;
pub mod bulk;
mod calls;
pub mod check;
mod clocks;
mod cluster_id;
pub mod demo;
pub mod disk;
pub mod door;
pub mod driver;
pub mod edge_service;
pub mod export;
pub mod gateway;
pub mod grpc;
pub mod heal;
pub mod holders;
pub mod http;
pub mod identity;
pub mod import;
pub mod keygen;
mod log_limit;
pub mod logger;
pub mod membership;
pub mod memory;
pub mod node;
pub mod pace;
pub mod peers;
pub mod policed;
pub mod pool;
pub mod process;
pub mod reactor;
mod rebuild;
mod reload;
pub mod resolve;
mod risks;
pub mod scans;
pub mod scrub;
pub mod secrets;
pub mod signals;
pub mod socket;
mod source;
mod starting;
pub mod status;
pub mod sync_service;
pub mod tasks;
mod turns;
pub mod verify;
pub mod waiting;
mod whereabouts;
