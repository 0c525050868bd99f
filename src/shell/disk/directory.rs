//! The data directory: one process at a time, and who this node is.
//!
//! In: a path. Out: the directory, locked until dropped; the node's id. Never: touches a directory
//! that another process holds.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::{Fault, segment_path};
use crate::base::NodeId;

/// A data directory that this process holds.
#[derive(Debug)]
pub struct Directory {
    log: PathBuf,
    _lock: File,
}

impl Directory {
    /// Creates what is missing and takes the lock.
    pub fn open(path: &Path) -> Result<Directory, Fault> {
        let log = path.join("log");
        fs::create_dir_all(&log).map_err(|error| Fault::new("creating", &log, error))?;
        let lock_path = path.join("lock");
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&lock_path)
            .map_err(|error| Fault::new("opening", &lock_path, error))?;
        if let Err(error) = flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            if error != Errno::WOULDBLOCK {
                return Err(Fault::new("locking", &lock_path, error));
            }
            let mut holder = String::new();
            // The pid is a courtesy; without it the message is still true.
            let _ = lock.read_to_string(&mut holder);
            let holder = match holder.trim() {
                "" => "another process".to_owned(),
                pid => format!("process {pid}"),
            };
            let held = io::Error::other(format!("{holder} is using this data directory"));
            return Err(Fault::new("locking", &lock_path, held));
        }
        tell_pid(&mut lock).map_err(|error| Fault::new("writing", &lock_path, error))?;
        // Whoever made a segment had come past this, and such flushes take most of a start's time.
        if !segment_path(&log, 0).exists() {
            sync_directory(path)?;
        }
        Ok(Directory { log, _lock: lock })
    }

    /// Where the segments are.
    pub fn log(&self) -> &Path {
        &self.log
    }
}

/// Writes this process's id into the lock. Its length is left alone where it fits: a file that is
/// cut waits for what the file system has under way.
fn tell_pid(lock: &mut File) -> io::Result<()> {
    let pid = format!("{}\n", std::process::id());
    let length = pid.len() as u64;
    if lock.metadata()?.len() > length {
        lock.set_len(length)?;
    }
    lock.write_all(pid.as_bytes())
}

/// Who holds the directory at `path`, as the kernel's table of locks tells; asking takes no lock,
/// so it gets in no node's way.
pub fn holder(path: &Path) -> Option<String> {
    let lock = fs::metadata(path.join("lock")).ok()?;
    let table = fs::read_to_string("/proc/locks").ok()?;
    let inode = format!(":{}", lock.ino());
    let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let line = lines.find(|words| {
        words.get(1) == Some(&"FLOCK") && words.get(5).is_some_and(|file| file.ends_with(&inode))
    })?;
    Some(format!("process {}", line.get(4)?))
}

/// Makes names created in a directory durable.
pub fn sync_directory(path: &Path) -> Result<(), Fault> {
    let sync = File::open(path).and_then(|directory| directory.sync_all());
    sync.map_err(|error| Fault::new("syncing", path, error))
}

/// The node's id: the configured one, else the one kept in the directory, else a new one.
pub fn node_id(path: &Path, configured: Option<NodeId>) -> Result<NodeId, Fault> {
    if let Some(id) = configured {
        return Ok(id);
    }
    let file = path.join("node-id");
    match fs::read_to_string(&file) {
        Ok(text) => NodeId::parse(text.trim()).ok_or_else(|| {
            let what = format!("{:?} is no node id, it takes 32 hex digits", text.trim());
            Fault::new("reading", &file, io::Error::other(what))
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut id = [0; 16];
            File::open("/dev/urandom")
                .and_then(|mut random| random.read_exact(&mut id))
                .map_err(|error| Fault::new("reading", Path::new("/dev/urandom"), error))?;
            keep_node_id(path, &file, NodeId(id))
        }
        Err(error) => Err(Fault::new("reading", &file, error)),
    }
}

/// Written beside and renamed, so that a crash leaves the whole id or none.
fn keep_node_id(path: &Path, file: &Path, id: NodeId) -> Result<NodeId, Fault> {
    let draft = path.join("node-id.new");
    let written = File::create(&draft).and_then(|mut out| {
        writeln!(out, "{id}")?;
        out.sync_all()
    });
    written
        .and_then(|()| fs::rename(&draft, file))
        .map_err(|error| Fault::new("writing", file, error))?;
    sync_directory(path)?;
    Ok(id)
}
