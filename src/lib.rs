//! A StemeDB node for small machines.
//!
//! In: assertions over HTTP and gRPC. Out: the same assertions, durable, queryable, level with its
//! peers.
//!
//! Floors, low to high; a room imports only from floors below its own:
//!
//! | floor | rooms | subject |
//! |---|---|---|
//! | 0 | [`base`] | words everybody uses: ids, digests, time, limits |
//! | 1 | [`model`] | what an assertion is, and its canonical bytes |
//! | 1 | [`dns`] | which packets find the addresses of a name |
//! | 2 | [`journal`], [`lens`], [`sketch`] | from sealed to committed; many to one; set to cells |
//! | 2 | [`swim`] | who is there |
//! | 3 | [`store`], [`cluster`] | what is known; what follows from who is there |
//! | 4 | [`scan`], [`sync`] | answering a query; how assertions travel between two nodes |
//! | 5 | [`replica`], [`wire`] | the switchboard; our words and their words |
//! | 6 | [`config`] | settings, checked |
//! | 7 | [`shell`] | everything that touches the world |
//! | 8 | `fuzz` | what must hold of every reader, for tests alone |
//!
//! Never: I/O, clocks, threads or chance below floor 7 (`tests/layers.rs` holds it).

pub mod base;
pub mod cluster;
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
