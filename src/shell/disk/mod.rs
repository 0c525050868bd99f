//! The log on disk: one thread that writes and flushes, a reader beside it, recovery before it; and
//! the index that is kept beside the log.
//!
//! In: [`crate::journal::Work`], one piece at a time. Out: [`crate::journal::Done`] for each, or a
//! fault, after which nothing may be written any more. Never: retries a flush, answers before it.

mod checkpoint;
mod copy;
mod directory;
mod evidence;
mod file_fault;
mod indexer;
mod layout;
#[cfg(test)]
mod log_folder;
mod lost;
mod manifest;
mod reader;
mod record_sum;
mod recovery;
mod reread;
mod segment;
mod thread;
mod write_failure;

pub use checkpoint::{Checkpoint, Kept};
pub use copy::{Copied, copy};
pub use directory::{
    Directory, cluster_id, holder, keep_cluster_id, node_id, random_id, set_cluster_id,
};
pub use evidence::Evidence;
pub use file_fault::{Cause, Fault};
pub use indexer::Indexer;
pub use layout::{find_segments, segment_path, sync_directory};
pub use lost::{find_missing, list_missing};
pub use reader::Reader;
pub use recovery::{Recovered, recover, recover_from};
pub use reread::{Reread, reread};
pub use thread::{Disk, Hindrance, Report};
pub use write_failure::{WriteFailure, log_budget, obstacle};
