//! The data directory: one process at a time, and who this node is.
//!
//! In: a path. Out: the directory, locked until dropped; the node's id. Never: touches a directory
//! that another process holds.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::file_fault::{Cause, Fault};
use super::layout::{segment_path, sync_directory};
use super::write_failure::obstacle;
use crate::base::{ClusterId, NodeId};

/// A data directory that this process holds.
#[derive(Debug)]
pub struct Directory {
    log: PathBuf,
    /// What is locked, and the directories, under the names by which they were opened.
    held: Vec<(PathBuf, File)>,
}

impl Directory {
    /// Creates what is missing and takes the lock.
    pub fn open(path: &Path) -> Result<Directory, Fault> {
        let log = path.join("log");
        fs::create_dir_all(&log).map_err(|error| Fault::new("creating", &log, error))?;
        let (lock, lock_path) = open_lock(path)?;
        if let Err(error) = flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            if error != Errno::WOULDBLOCK {
                return Err(Fault::new("locking", &lock_path, error));
            }
            return Err(Fault::new("locking", &lock_path, Cause::InUse { holder: holder(path) }));
        }
        // The start that made a segment had come past this, and such flushes take most of a start's
        // time.
        if !segment_path(&log, 0).exists()
            && let Err(fault) = sync_directory(path)
            && fault.obstacle().is_none()
        {
            return Err(fault);
        }
        let mut held = vec![(lock_path, lock)];
        for directory in [path, &log] {
            let opened = File::open(directory);
            let opened = opened.map_err(|error| Fault::new("opening", directory, error))?;
            held.push((directory.to_owned(), opened));
        }
        Ok(Directory { log, held })
    }

    /// Whether its names still lead to what this process writes to: otherwise the next start will
    /// not find it.
    pub fn check_names(&self) -> Result<(), Fault> {
        for (path, file) in &self.held {
            let file_id = |found: Metadata| (found.dev(), found.ino());
            let ours = file.metadata().map(file_id);
            let cause = match fs::metadata(path).map(file_id) {
                Ok(there) if ours.is_ok_and(|ours| ours != there) => Cause::Replaced,
                Err(error) if error.kind() == io::ErrorKind::NotFound => Cause::Removed,
                // An error says nothing of the name.
                _ => continue,
            };
            return Err(Fault::new("looking for", path, cause));
        }
        Ok(())
    }

    /// The directory of the segments, `DIR/log`.
    pub fn log(&self) -> &Path {
        &self.log
    }
}

/// What is locked. It takes no byte of the disk, and where no file can be made it is the directory
/// itself: a full disk and a read-only one can be served from.
fn open_lock(path: &Path) -> Result<(File, PathBuf), Fault> {
    let lock = path.join("lock");
    let mut options = OpenOptions::new();
    let made = options.write(true).create(true).truncate(false).open(&lock);
    match made {
        Err(error) if obstacle(&error).is_some() => {}
        made => {
            let file = made.map_err(|error| Fault::new("opening", &lock, error))?;
            return Ok((file, lock));
        }
    }
    let shown = if lock.exists() { lock } else { path.to_owned() };
    let file = File::open(&shown).map_err(|error| Fault::new("opening", &shown, error))?;
    Ok((file, shown))
}

/// Who holds the directory at `path`, as the kernel's table of locks says. No lock is taken for
/// it, which would make a node's start fail.
pub fn holder(path: &Path) -> Option<String> {
    let lock = fs::metadata(path.join("lock")).or_else(|_| fs::metadata(path)).ok()?;
    let table = fs::read_to_string("/proc/locks").ok()?;
    let inode = format!(":{}", lock.ino());
    let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let line = lines.find(|words| {
        words.get(1) == Some(&"FLOCK") && words.get(5).is_some_and(|file| file.ends_with(&inode))
    })?;
    Some(format!("process {}", line.get(4)?))
}

/// The node's id: the configured one, else the one kept in the directory, else a new one.
pub fn node_id(path: &Path, configured: Option<NodeId>) -> Result<NodeId, Fault> {
    if let Some(id) = configured {
        return Ok(id);
    }
    let file = path.join(NODE_ID);
    match fs::read_to_string(&file) {
        Ok(text) => NodeId::parse(text.trim())
            .filter(|id| *id != NodeId::NONE)
            .ok_or_else(|| Fault::new("reading", &file, Cause::BadNodeId(text.trim().to_owned()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let id = random_id()?;
            keep_or_warn(path, NODE_ID, &NodeId(id).to_string())?;
            Ok(NodeId(id))
        }
        Err(error) => Err(Fault::new("reading", &file, error)),
    }
}

/// 16 random bytes of the system, for a node id or a cluster id.
pub fn random_id() -> Result<[u8; 16], Fault> {
    let mut id = [0; 16];
    File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut id))
        .map_err(|error| Fault::new("reading", Path::new("/dev/urandom"), error))?;
    Ok(id)
}

/// The id of the node's cluster that is kept in the directory, if there is one.
pub fn cluster_id(path: &Path) -> Result<Option<ClusterId>, Fault> {
    let file = path.join(CLUSTER_ID);
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Fault::new("reading", &file, error)),
    };
    let id = ClusterId::parse(text.trim())
        .ok_or_else(|| Fault::new("reading", &file, Cause::BadClusterId(text.trim().to_owned())));
    id.map(Some)
}

/// Keeps the id of the node's cluster, instead of the one that is kept.
pub fn keep_cluster_id(path: &Path, id: ClusterId) -> Result<(), Fault> {
    keep_or_warn(path, CLUSTER_ID, &id.to_string())
}

/// As [`keep_cluster_id`], where nothing but success will do.
pub fn set_cluster_id(path: &Path, id: ClusterId) -> Result<(), Fault> {
    keep(path, CLUSTER_ID, &id.to_string())
}

const NODE_ID: &str = "node-id";
const CLUSTER_ID: &str = "cluster-id";

/// A directory that takes nothing keeps no id, and the node goes on with it.
fn keep_or_warn(path: &Path, name: &str, id: &str) -> Result<(), Fault> {
    keep(path, name, id).or_else(|fault| match fault.obstacle() {
        Some(_) => {
            log::warn!("{fault}: the {name} {id} is of this life only");
            Ok(())
        }
        None => Err(fault),
    })
}

/// Written beside and renamed, so that a crash leaves the whole id or none.
fn keep(path: &Path, name: &str, id: &str) -> Result<(), Fault> {
    let (draft, file) = (path.join(format!("{name}.new")), path.join(name));
    let written = File::create(&draft).and_then(|mut out| {
        writeln!(out, "{id}")?;
        out.sync_all()
    });
    written
        .and_then(|()| fs::rename(&draft, &file))
        .map_err(|error| Fault::new("writing", &file, error))?;
    sync_directory(path)
}
