//! The allocator's habits, and how much memory the process takes.
//!
//! In: nothing. Out: settings of the C allocator, resident bytes. glibc keeps what bursts leave
//! behind in arenas; on a small device it has to give it back. musl does so by itself. Never:
//! allocates to find out.

use std::fs::File;
use std::io::Read;

/// Free memory at the top of the heap beyond this goes back to the system.
#[cfg(target_env = "gnu")]
const TRIM_BYTES: libc::c_int = 128 << 10;
/// Larger allocations are mapped one by one and go back when they are freed.
#[cfg(target_env = "gnu")]
const MAP_BYTES: libc::c_int = 128 << 10;

/// Tells the allocator to use one arena and to keep little; call it before the first thread.
#[allow(unsafe_code)]
pub fn be_thrifty() {
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

/// Tells when free memory should go back to the system.
#[derive(Debug)]
pub struct Trimmer {
    /// The least that was ever resident. What a burst left behind must not become the new least: a
    /// burst may last for longer than the time between two looks.
    least: u64,
}

impl Trimmer {
    /// From now on.
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

/// Resident bytes of this process; 0 where the system does not tell.
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
