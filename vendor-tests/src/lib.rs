//! What the tests from outside share: the built node as a process, a tonic peer, a small HTTP
//! client.
//!
//! In: the program (`STEMEDB_NODE`, or the one this workspace builds). Out: running nodes on free
//! ports with data directories of their own, gone when dropped. Never: links the node's own code.

/// Messages, client and server of `stemedb.sync.v1`, as tonic generates them.
#[expect(missing_docs, reason = "generated")]
pub mod pb {
    tonic::include_proto!("stemedb.sync.v1");
}
/// Messages and client of `stemedb.edge.v1`.
#[expect(missing_docs, reason = "generated")]
pub mod edge {
    tonic::include_proto!("stemedb.edge.v1");
}
pub mod api;
pub mod claims;
pub mod clock;
pub mod faults;
pub mod frames;
pub mod node;
pub mod peer;
pub mod set;
pub mod wait;
