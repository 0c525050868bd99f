//! A directory for what is measured, below the one for temporary files (`TMPDIR` chooses the disk).
//!
//! In: nothing. Out: empty directories. A process of its own waits for the end of this one, however
//! that comes, and removes them all. Never: touches a directory that it did not make.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::process;

/// The sub-command of the process that removes.
pub const SWEEP: &str = "sweep";
/// Killed children may still be writing.
const TRIES: usize = 50;
const PAUSE: Duration = Duration::from_millis(20);

pub struct Scratch {
    pub path: PathBuf,
    sweeper: Child,
}

impl Scratch {
    pub fn new() -> Scratch {
        let name = format!("stemedb-peers-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("TMPDIR names a writable directory");
        let mut command = Command::new(process::own_path());
        // In a group of its own, so that an interrupt from the terminal does not reach it.
        command.arg(SWEEP).arg(&path).stdin(Stdio::piped()).process_group(0);
        let sweeper = command.spawn().expect("this very program");
        Scratch { path, sweeper }
    }

    /// The path of an empty directory in it.
    pub fn empty(&self, name: &str) -> PathBuf {
        let path = self.path.join(name);
        remove(&path).expect("only this process uses it");
        fs::create_dir(&path).expect("it was just removed");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(self.sweeper.stdin.take());
        // It says itself what it could not do.
        let _ = self.sweeper.wait();
    }
}

/// Removes a directory when the process that started this one ends.
pub fn sweep(path: &Path) {
    // Nothing comes: the pipe is closed by the end of the process that holds it.
    let _ = io::copy(&mut io::stdin(), &mut io::sink());
    let mut removed = remove(path);
    for _ in 0..TRIES {
        if removed.is_ok() {
            return;
        }
        thread::sleep(PAUSE);
        removed = remove(path);
    }
    if let Err(fault) = removed {
        eprintln!("{} is left behind: {fault}", path.display());
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(fault) if fault.kind() != io::ErrorKind::NotFound => Err(fault),
        _ => Ok(()),
    }
}
