//! Processes, and what the system reports of them.
//!
//! In: programs to start, process ids, paths. Out: processes that end with this one, resident
//! bytes, bytes written, bytes on disk. Never: leaves a process behind, on a panic either.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use rustix::fs::syncfs;
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};

/// Where `/sys/dev/block/*/stat` has sectors written, and what Linux calls a sector.
const SECTORS_WRITTEN: usize = 6;
const SECTOR_BYTES: u64 = 512;

/// The sub-command that [`command`] uses.
pub const EXEC: &str = "exec";

/// A program that is killed when the process that starts it ends, however that ends. This program
/// itself arranges for that before it becomes the other.
pub fn command(program: &Path) -> Command {
    let mut command = Command::new(own_path());
    command.arg(EXEC).arg(program);
    command
}

/// The path of this program.
pub fn own_path() -> PathBuf {
    std::env::current_exe().expect("Linux knows the path of a program")
}

/// Becomes another program; see [`command`].
pub fn exec(words: &[String]) -> ! {
    die_with_parent();
    let fault = Command::new(&words[0]).args(&words[1..]).exec();
    panic!("{} cannot be started: {fault}", words[0]);
}

/// Has this process killed when its parent ends.
pub fn die_with_parent() {
    set_parent_process_death_signal(Some(Signal::KILL)).expect("Linux takes any signal");
}

/// A server that runs.
pub struct Server(pub Child);

impl Server {
    /// Asks it to end in good order and waits for that.
    pub fn stop(mut self) {
        let pid = Pid::from_child(&self.0);
        kill_process(pid, Signal::TERM).expect("it runs as long as it was not waited for");
        let status = self.0.wait().expect("it is this process's child");
        assert!(status.success(), "the server ended with {status}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that was stopped is not there any more.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Bytes that a process, and those of its children that have ended, gave to `write` and its like.
pub fn given(pid: u32) -> u64 {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).expect("it runs, on Linux");
    number_after(&io, "wchar: ")
}

/// Bytes that the disk below a path was given so far, once all is written that waits in memory;
/// `None` where the path's file system has no one disk.
pub fn device_bytes(path: &Path) -> Option<u64> {
    let directory = File::open(path).expect("it is there");
    syncfs(&directory).expect("a good disk");
    let device = directory.metadata().expect("it is there").dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let stat = fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat")).ok()?;
    let sectors = stat.split_whitespace().nth(SECTORS_WRITTEN);
    let sectors: u64 = sectors.and_then(|count| count.parse().ok()).expect("Linux counts it");
    Some(sectors * SECTOR_BYTES)
}

/// Resident bytes of a process.
pub fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs, on Linux");
    number_after(&status, "VmRSS:") << 10
}

fn number_after(text: &str, name: &str) -> u64 {
    let rest = text.lines().find_map(|line| line.strip_prefix(name));
    let word = rest.and_then(|rest| rest.split_whitespace().next());
    word.and_then(|word| word.parse().ok()).expect("Linux shows this number")
}

/// Bytes of blocks that the files below a directory take; holes are none.
pub fn disk_bytes(path: &Path) -> u64 {
    let entries = fs::read_dir(path).expect("it was just written");
    let sizes = entries.map(|entry| {
        let entry = entry.expect("only this process changes it");
        let found = entry.metadata().expect("only this process removes it");
        if found.is_dir() { disk_bytes(&entry.path()) } else { found.blocks() * SECTOR_BYTES }
    });
    sizes.sum()
}
