//! A log directory for tests, removed when it is dropped.
//!
//! Never: part of the node.

use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};

pub(super) struct Stage(PathBuf);

impl Stage {
    pub(super) fn new(name: &str) -> Stage {
        let path = std::env::temp_dir().join(format!("stemedb-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a temporary directory");
        Stage(path)
    }
}

impl Deref for Stage {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
