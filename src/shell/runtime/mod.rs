//! What every part of the shell runs on: the event loop, sockets, signals, tasks, bounds on what
//! many hold together, the log.
//!
//! In: readiness of descriptors, the clock, signals, log records. Out: woken tasks, byte streams,
//! lines on standard error. Never: knows a protocol.

pub mod accept;
pub mod budget;
pub mod clock;
pub mod log_limit;
pub mod logger;
pub mod memory;
pub mod pending;
mod poller;
pub mod process;
mod quota;
pub mod rate_limit;
pub mod reactor;
pub mod resolve;
pub mod secrets;
pub mod semaphore;
pub mod signals;
pub mod socket;
pub mod source;
pub(crate) mod supervisor;
pub mod tasks;
pub mod timeout;
