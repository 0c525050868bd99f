//! What the program asks of the system before anything else.
//!
//! In: nothing. Out: a process whose files others cannot read, that no stray signal and no limit on
//! the size of files kills, and that may open as many files as it is allowed to. Never: fails; what
//! the system refuses stays as it was.

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, umask};

use crate::base::limits;

/// Comes before the first thread and the first file.
pub fn prepare() {
    // Claims, and the id by which a node is known, belong to its user: files get 0640 at most.
    let before = umask(Mode::RWXO | Mode::WGRP);
    umask(before | Mode::RWXO | Mode::WGRP);
    let files = getrlimit(Resource::Nofile);
    // The soft limit is 1024 for programs that call select(2); this one does not.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files });
    ignore_signals();
}

/// Signals that end a process that did not ask for them: timers, descriptors and power supplies
/// that it has none of, and what operators send to programs that know more. SIGPIPE is ignored by
/// the standard library.
const IGNORED: &[libc::c_int] = &[
    // A write past `ulimit -f` fails with `EFBIG`, which is an obstacle like a full disk.
    libc::SIGXFSZ,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGALRM,
    libc::SIGVTALRM,
    libc::SIGPROF,
    libc::SIGIO,
    #[cfg(target_os = "linux")]
    libc::SIGPWR,
    // MIPS and SPARC have no such signal.
    #[cfg(all(
        target_os = "linux",
        not(any(
            target_arch = "mips",
            target_arch = "mips32r6",
            target_arch = "mips64",
            target_arch = "mips64r6",
            target_arch = "sparc",
            target_arch = "sparc64",
        ))
    ))]
    libc::SIGSTKFLT,
];

#[allow(unsafe_code)]
fn ignore_signals() {
    for &signal in IGNORED {
        // SAFETY: `signal` takes two numbers and touches no memory of ours; ignoring a signal runs
        // no code of this program.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// Sockets get descriptors below this number, so that some are left for the log: the system always
/// gives the lowest that is free.
pub(crate) fn sockets_end() -> u64 {
    let all = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    all - limits::DESCRIPTORS_KEPT.min(all / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_leave_descriptors_to_the_log() {
        let all = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let kept = all - sockets_end();
        assert!(kept > 0 && kept <= limits::DESCRIPTORS_KEPT && kept <= all / 4);
    }
}
