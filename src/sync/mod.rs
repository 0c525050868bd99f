//! Anti-entropy: two nodes find out what their sets differ in, and exchange it.
//!
//! In: one peer's answers. Out: calls and assertions, one at a time. What differs is read from
//! sketches if the peer has them and they decode; else from a walk through all leaves, by the five
//! standard RPCs alone. A session's memory is what differs by sketch, or one bit per assertion that
//! we hold and one page of leaves, whatever the peer does.
//!
//! | file | content |
//! |---|---|
//! | `session`, `phase` | the coordinator: which machine goes on, what each phase asks for |
//! | `replies` | what becomes of the answers |
//! | `messages`, `report`, `strategy` | plain values: what travels, what a session came to |
//! | `traffic`, `calls` | what is under way with the peer, and the bounds of it |
//! | `compare`, `sketch_comparison`, `part_comparisons` | finding the difference by sketches |
//! | `collision_check` | finding what sketches hide, by buckets of the Merkle trees |
//! | `log_pull`, `stored_rows` | a full sync, row range by row range |
//! | `leaf_walk`, `row_set` | finding the difference by leaves |
//! | `missing`, `intake`, `exchange` | missing here, on its way to the disk, missing there |
//! | `set_sizes`, `peer_verdict`, `peer_fault` | what a peer said, judged |
//! | `answer` | the other side: answering a peer that wants cells or records |
//!
//! Never: opens a connection, reads a clock, lets a false answer change what is stored.

mod answer;
mod calls;
mod collision_check;
mod compare;
mod exchange;
mod intake;
mod leaf_walk;
mod log_pull;
mod messages;
mod missing;
mod part_comparisons;
mod peer_fault;
mod peer_verdict;
mod phase;
mod replies;
mod report;
mod row_set;
mod session;
mod set_sizes;
mod sketch_comparison;
mod stored_rows;
mod strategy;
mod traffic;

pub use answer::{Answering, RecordsAnswering, answer as answer_sketch, answer_records};
pub use messages::{
    Output, Records, Reply, Request, RowCursor, RowRange, SketchReply, SketchRequest, Span, Stored,
    short_root,
};
pub use report::{DecodedSum, Progress, SessionCounts, SessionReport, WireBytes};
pub use session::Session;
pub use strategy::{PeerHistory, Strategy};

#[cfg(test)]
mod tests;
