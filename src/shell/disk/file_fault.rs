//! What went wrong with which file or directory.
//!
//! In: an error of the system, or what the node itself found. Out: one sentence for the operator.
//! Never: judges what the node may still do; [`super::write_failure`] does.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::journal::record::BadHead;

/// A file or a directory could not be used.
#[derive(Debug)]
pub struct Fault {
    /// What was being done, as in "syncing".
    pub doing: &'static str,
    /// With which file or directory.
    pub path: PathBuf,
    /// How it failed.
    pub cause: Cause,
}

/// How a file or a directory failed.
#[derive(Debug)]
pub enum Cause {
    /// The system refused a call.
    System(io::Error),
    /// Another process has the data directory locked.
    InUse {
        /// Its id, where the kernel's table of locks has it.
        holder: Option<String>,
    },
    /// The name leads to another directory than at the start.
    Replaced,
    /// The name leads nowhere, unlike at the start.
    Removed,
    /// The open segment has no name any more: what is written to it is gone when it is closed.
    Unlinked,
    /// What was written cannot be read back.
    Unreadable,
    /// A file that keeps an id of a node has something else in it.
    BadNodeId(String),
    /// A file that keeps an id of a cluster has something else in it.
    BadClusterId(String),
    /// A segment of a newer build.
    Newer(BadHead),
    /// More rows than memory holds wait for an index that cannot be written.
    IndexTooLarge,
}

impl Fault {
    /// What went wrong with `path`.
    pub fn new(doing: &'static str, path: &Path, cause: impl Into<Cause>) -> Fault {
        Fault { doing, path: path.to_owned(), cause: cause.into() }
    }
}

impl From<io::Error> for Cause {
    fn from(error: io::Error) -> Cause {
        Cause::System(error)
    }
}

impl From<Errno> for Cause {
    fn from(errno: Errno) -> Cause {
        Cause::System(errno.into())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}: {}", self.doing, self.path.display(), self.cause)
    }
}

impl std::error::Error for Fault {}

impl fmt::Display for Cause {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::System(error) => error.fmt(out),
            Cause::InUse { holder } => {
                let holder = holder.as_deref().unwrap_or("another process");
                write!(out, "{holder} is using this data directory")
            }
            Cause::Replaced => write!(out, "it is another one now"),
            Cause::Removed => write!(out, "it was removed"),
            Cause::Unlinked => write!(out, "the file was removed"),
            Cause::Unreadable => write!(out, "it is not what was written"),
            Cause::BadNodeId(text) => {
                write!(out, "{text:?} is no node id, it takes 32 hex digits that are not all zeros")
            }
            Cause::BadClusterId(text) => write!(
                out,
                "{text:?} is no cluster id, it takes 32 hex digits that are not all zeros"
            ),
            Cause::Newer(head) => head.fmt(out),
            Cause::IndexTooLarge => {
                write!(out, "it cannot be written, and the log is too long to do without")
            }
        }
    }
}
