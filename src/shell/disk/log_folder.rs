//! A log directory for tests, removed when it is dropped.
//!
//! Never: part of the node.

use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};

pub(super) struct LogFolder(PathBuf);

impl LogFolder {
    pub(super) fn new(name: &str) -> LogFolder {
        let path = std::env::temp_dir().join(format!("stemedb-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a temporary directory");
        LogFolder(path)
    }
}

impl Deref for LogFolder {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for LogFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
