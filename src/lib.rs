//! A StemeDB node for small machines.
//!
//! In: assertions over HTTP and gRPC. Out: the same assertions, durable, queryable, in sync with
//! its peers.
//!
//! Layers, low to high; a module imports only from layers below its own:
//!
//! | layer | modules | subject |
//! |---|---|---|
//! | 0 | [`base`] | ids, digests, time, bounds |
//! | 1 | [`model`] | what an assertion is, and its canonical bytes |
//! | 1 | [`dns`] | which packets find the addresses of a name |
//! | 2 | [`journal`], [`lens`], [`sketch`] | from sealed to committed; many to one; set to cells |
//! | 2 | [`swim`] | who is alive |
//! | 3 | [`store`], [`cluster`] | the index; what follows from who is alive |
//! | 4 | [`scan`], [`sync`] | answering a query; how assertions travel between two nodes |
//! | 5 | [`replica`], [`wire`] | the coordinator; foreign forms |
//! | 6 | [`config`] | settings, checked |
//! | 7 | [`shell`] | everything that touches the world |
//! | 8 | [`commands`] | the commands beside serving, each a process that ends |
//! | 8 | `fuzz` | what must hold of every reader, for tests alone |
//!
//! Never: I/O, clocks, threads or random numbers below layer 7 (`tests/layers.rs` holds it).

pub mod base;
pub mod cluster;
pub mod commands;
pub mod config;
pub mod dns;
#[doc(hidden)]
pub mod fuzz;
pub mod journal;
pub mod lens;
pub mod model;
pub mod replica;
pub mod scan;
pub mod shell;
pub mod sketch;
pub mod store;
pub mod swim;
pub mod sync;
pub mod wire;
