//! A wall clock that is wrong under the built program, by a library in front of the C library.
//!
//! In: by how many seconds it is wrong from now on. Out: settings for a node that reads it. Never:
//! touches the clock of the machine.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::faults::build;

/// The library in front of the C library, and the number that says how wrong the clock is.
pub struct WallClock(TempDir);

impl WallClock {
    /// Built anew; `ahead` seconds ahead of the machine's, or behind.
    #[must_use]
    pub fn new(ahead: i64) -> WallClock {
        let folder = tempfile::tempdir().expect("a temp dir");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("faults/clock.c");
        build(&source, &folder.path().join("clock.so"));
        let clock = WallClock(folder);
        clock.set(ahead);
        clock
    }

    /// Sets it, under the running node.
    pub fn set(&self, ahead: i64) {
        // By another name first: the node may read at any time.
        let next = self.0.path().join("next");
        std::fs::write(&next, ahead.to_string()).expect("written");
        std::fs::rename(next, self.file()).expect("renamed");
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("ahead")
    }

    /// What puts the library in front of a node.
    #[must_use]
    pub fn settings(&self) -> [(&'static str, String); 2] {
        let text = |path: PathBuf| path.to_str().expect("a plain path").to_owned();
        [("LD_PRELOAD", text(self.0.path().join("clock.so"))), ("WALL_CLOCK", text(self.file()))]
    }
}
