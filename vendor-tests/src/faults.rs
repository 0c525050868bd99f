//! A disk that misbehaves under the built program, by a library in front of the C library.
//!
//! In: a word for what is wrong from now on (`faults/faults.c` lists them). Out: a node that meets
//! it. Never: touches a disk that is not the node's.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::node::Node;

/// The library in front of the C library, and the word that says what is wrong.
pub struct Faults(TempDir);

impl Faults {
    /// Built anew; nothing is wrong yet.
    #[must_use]
    pub fn new() -> Faults {
        let folder = tempfile::tempdir().expect("a temp dir");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("faults/faults.c");
        build(&source, &folder.path().join("faults.so"));
        let faults = Faults(folder);
        faults.set("none");
        faults
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("faults")
    }

    /// Says what is wrong from now on.
    pub fn set(&self, what: &str) {
        std::fs::write(self.file(), what).expect("written");
    }

    /// How many operations have failed, or were cut short.
    pub fn failures(&self) -> usize {
        let log = std::fs::read_to_string(self.0.path().join("faults.log"));
        log.map_or(0, |log| log.lines().count())
    }

    /// A node with the library in front.
    pub fn start(&self) -> Node {
        let settings = self.settings();
        let settings: Vec<_> = settings.iter().map(|(name, text)| (*name, &**text)).collect();
        Node::start(&settings)
    }

    /// What puts the library in front of a node.
    pub fn settings(&self) -> [(&'static str, String); 2] {
        let text = |path: PathBuf| path.to_str().expect("a plain path").to_owned();
        [("LD_PRELOAD", text(self.0.path().join("faults.so"))), ("FAULTS", text(self.file()))]
    }
}

/// Builds a library of one C file.
pub(crate) fn build(source: &Path, library: &Path) {
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).arg(library);
    let built = compiler.arg(source).arg("-ldl").status().expect("cc is there");
    assert!(built.success());
}

impl Default for Faults {
    fn default() -> Faults {
        Faults::new()
    }
}
