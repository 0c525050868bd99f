//! Measurements in processes of their own, so that memory and writes are one engine's alone.
//!
//! In: engine, task. Out: what the child prints, by name. Never: two of them at a time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::measure::Task;
use crate::process;
use crate::scratch::Scratch;

/// The sub-command of a child.
pub const MEASURE: &str = "measure";

/// The words that make this program a child.
pub fn words(name: &str, dir: &Path, task: &Task) -> Vec<String> {
    let dir = dir.to_str().expect("this program made its name of letters");
    let head = [MEASURE, name, dir].map(str::to_owned);
    head.into_iter().chain(task.to_words()).collect()
}

/// Where children measure.
pub struct Children {
    pub scratch: Scratch,
    /// What they find in their environment.
    pub environment: Vec<(&'static str, PathBuf)>,
}

impl Children {
    /// Gives a child what it is to find in its environment.
    pub fn set_environment(&self, command: &mut Command) {
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
    }

    /// Has a child measure; the figures that it printed.
    pub fn measure(&self, name: &str, dir: &Path, task: &Task) -> BTreeMap<String, f64> {
        let mut command = Command::new(process::own_path());
        command.args(words(name, dir, task)).stderr(Stdio::inherit());
        self.set_environment(&mut command);
        let done = command.output().expect("this very program");
        assert!(done.status.success(), "the measurement of {name} ended with {}", done.status);
        let text = String::from_utf8(done.stdout).expect("names and numbers");
        let pairs = text.lines().filter_map(|line| line.split_once(' '));
        pairs.map(|(name, value)| (name.to_owned(), value.parse().expect("a number"))).collect()
    }
}
