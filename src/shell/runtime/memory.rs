//! The settings of the allocator, and how much memory the process takes.
//!
//! In: nothing. Out: settings of the C allocator, resident bytes, bytes that may be used. glibc
//! keeps what bursts leave behind in arenas; on a small device it has to give it back. musl does so
//! by itself.
//!
//! Never: allocates to find out how many bytes are resident.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Free memory at the top of the heap beyond this goes back to the system.
#[cfg(target_env = "gnu")]
const TRIM_BYTES: libc::c_int = 128 << 10;
/// Larger allocations are mapped one by one and go back when they are freed.
#[cfg(target_env = "gnu")]
const MAP_BYTES: libc::c_int = 128 << 10;

/// Sets the allocator to one arena and to small caches; call it before the first thread.
#[allow(unsafe_code)]
pub fn tune_allocator() {
    #[cfg(target_env = "gnu")]
    for (what, value) in [
        (libc::M_ARENA_MAX, 1),
        (libc::M_TRIM_THRESHOLD, TRIM_BYTES),
        (libc::M_MMAP_THRESHOLD, MAP_BYTES),
    ] {
        // SAFETY: mallopt takes two numbers and keeps no pointer; it is safe before the first
        // thread.
        unsafe { libc::mallopt(what, value) };
    }
}

/// Whether free pages stay with the allocator until [`trim`] is called. musl's gives a group of
/// allocations back once all of them are free, and has no call for more.
pub const KEEPS_FREE_PAGES: bool = cfg!(target_env = "gnu");

/// Gives free pages in the middle of the heap back to the system.
#[allow(unsafe_code)]
pub fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim takes a number, locks the arenas it walks, and touches free memory only.
    unsafe {
        libc::malloc_trim(0)
    };
}

/// Resident memory beyond the least there was that is worth a look for free pages.
const TRIM_GROWTH_BYTES: u64 = 1 << 20;

/// Decides when free memory should go back to the system.
#[derive(Debug)]
pub struct Trimmer {
    /// The least that was ever resident. What a burst left behind must not become the new least: a
    /// burst may last for longer than the time between two looks.
    least: u64,
}

impl Trimmer {
    /// Compares with `resident` bytes from now on.
    pub fn new(resident: u64) -> Trimmer {
        Trimmer { least: resident }
    }

    /// Whether to trim now. A heap that has grown for good is looked through at each call; without
    /// free pages that takes some microseconds.
    pub fn is_due(&mut self, resident: u64) -> bool {
        self.least = self.least.min(resident);
        resident > self.least + TRIM_GROWTH_BYTES
    }
}

/// Bytes of memory that this process may use: the least of what its cgroup and those above it allow
/// and what the machine has left. `None` where the system shows neither.
pub fn available() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = groups.lines().flat_map(|line| limit_files(line).collect::<Vec<_>>());
    let limits = limits.filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok());
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| left(&text));
    limits.chain(machine).min()
}

/// Where the limits of a line of `/proc/self/cgroup` stand (cgroups(7)): of the group itself and of
/// each above it, whose limits hold as well. In a container its own group is the root.
fn limit_files(line: &str) -> impl Iterator<Item = PathBuf> {
    let mut fields = line.splitn(3, ':').skip(1);
    let found = match (fields.next(), fields.next()) {
        (Some(""), Some(path)) => Some(("/sys/fs/cgroup", "memory.max", path)),
        (Some(kinds), Some(path)) if kinds.split(',').any(|kind| kind == "memory") => {
            Some(("/sys/fs/cgroup/memory", "memory.limit_in_bytes", path))
        }
        _ => None,
    };
    found.into_iter().flat_map(|(root, file, path)| {
        let groups = Path::new(path).ancestors().map(|group| group.strip_prefix("/").ok());
        groups
            .flatten()
            .map(move |group| Path::new(root).join(group).join(file))
            .collect::<Vec<_>>()
    })
}

/// The memory of the machine that nothing else holds, by the text of `/proc/meminfo`. Of 64 MB a
/// kernel, its drivers and a file system in RAM leave 27: a node that counted on all of them was
/// killed while it wrote its index.
fn left(text: &str) -> Option<u64> {
    let kib = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name))?;
        value.split_whitespace().next()?.parse::<u64>().ok()
    };
    // Kernels before 3.14 show the total alone.
    Some(kib("MemAvailable:").or_else(|| kib("MemTotal:"))? << 10)
}

/// Resident bytes of this process; 0 where the system does not show them.
pub fn resident() -> u64 {
    let mut text = [0; 128];
    let count = File::open("/proc/self/statm").and_then(|mut file| file.read(&mut text));
    let text = count.ok().and_then(|count| std::str::from_utf8(&text[..count]).ok());
    let pages = text.and_then(|text| text.split(' ').nth(1)).and_then(|pages| pages.parse().ok());
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_stand_at_the_group_and_above() {
        let files = |line| -> Vec<_> {
            limit_files(line).map(|file| file.to_string_lossy().into_owned()).collect()
        };
        assert_eq!(
            files("0::/system.slice/edge.service"),
            [
                "/sys/fs/cgroup/system.slice/edge.service/memory.max",
                "/sys/fs/cgroup/system.slice/memory.max",
                "/sys/fs/cgroup/memory.max",
            ]
        );
        assert_eq!(
            files("4:hugetlb,memory:/box"),
            [
                "/sys/fs/cgroup/memory/box/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            ]
        );
        assert!(files("8:pids:/box").is_empty() && files("what").is_empty());
        assert!(available().is_some_and(|bytes| bytes > 1 << 20));
    }

    #[test]
    fn what_others_hold_is_not_to_be_had() {
        let board = "MemTotal:          46276 kB\nMemFree:           25640 kB\n";
        assert_eq!(left(board), Some(46276 << 10));
        assert_eq!(left(&format!("{board}MemAvailable:      27628 kB\n")), Some(27628 << 10));
        assert_eq!(left("what"), None);
    }

    #[test]
    fn a_burst_of_any_length_is_trimmed_after() {
        const MIB: u64 = 1 << 20;
        for looks in [0, 1, 2, 10] {
            let mut trimmer = Trimmer::new(4 * MIB);
            assert!(!trimmer.is_due(4 * MIB + 1));
            // Nothing is free while it lasts, so that nothing goes back.
            (0..looks).for_each(|_| assert!(trimmer.is_due(200 * MIB)));
            assert!(trimmer.is_due(200 * MIB), "after {looks} looks");
            assert!(!trimmer.is_due(4 * MIB + 1));
        }
    }
}
