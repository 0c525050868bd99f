//! A temporary directory of one test, gone when the test is over.
//!
//! In: a name that no other test has. Out: a path. Never: left behind.

use std::fs;
use std::path::PathBuf;

/// The directory at this path.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    /// An empty one, with a `log` in it.
    pub(crate) fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("stemedb-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(path.join("log")).expect("a temporary directory");
        Folder(path)
    }

    /// Where the segments are.
    pub(crate) fn log(&self) -> PathBuf {
        self.0.join("log")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
