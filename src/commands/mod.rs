//! The commands of the program beside serving: each a process of its own that ends.
//!
//! In: options from the command line. Out: lines, files, an exit code. Never: runs inside a node.

pub mod adopt;
pub mod backup;
pub mod check;
pub mod client;
pub mod demo;
pub mod export;
pub mod import;
pub mod keygen;
pub mod output;
pub mod request;
pub mod status;
