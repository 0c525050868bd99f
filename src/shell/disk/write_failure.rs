//! What a failed call on a file says of the disk: the one judgment that the node acts by.
//!
//! In: an error of the system. Out: an obstacle that may pass, after which the log is as it was; or
//! the end, after which nothing may be written. Never: an obstacle out of a failed flush, for it is
//! unknown then what the page cache holds.

use std::io;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::file_fault::{Cause, Fault};
use crate::journal::{Obstacle, Refusal};
use crate::shell::runtime::log_limit;

/// Why a write was not made.
#[derive(Debug)]
pub enum WriteFailure {
    /// Nothing of it counts; a later try may succeed.
    Hindered(Obstacle, Fault),
    /// Nothing may be written any more.
    Broken(Fault),
}

/// The obstacle that an error speaks of; `None`: the disk is broken, or may be.
pub fn obstacle(error: &io::Error) -> Option<Obstacle> {
    match Errno::from_io_error(error)? {
        Errno::NOSPC | Errno::DQUOT | Errno::FBIG => Some(Obstacle::NoSpace),
        Errno::ROFS | Errno::PERM | Errno::ACCESS => Some(Obstacle::ReadOnly),
        Errno::MFILE | Errno::NFILE => Some(Obstacle::NoDescriptors),
        _ => None,
    }
}

impl Fault {
    /// The obstacle that it speaks of.
    pub fn obstacle(&self) -> Option<Obstacle> {
        match &self.cause {
            Cause::System(error) => obstacle(error),
            _ => None,
        }
    }
}

impl WriteFailure {
    /// Of anything but a flush.
    pub fn of(fault: Fault) -> WriteFailure {
        match fault.obstacle() {
            Some(obstacle) => WriteFailure::Hindered(obstacle, fault),
            None => WriteFailure::Broken(fault),
        }
    }

    /// What went wrong with which file.
    pub fn fault(&self) -> &Fault {
        match self {
            WriteFailure::Hindered(_, fault) | WriteFailure::Broken(fault) => fault,
        }
    }
}

/// Between two lines about the same obstacle, whatever comes between: a disk that is nearly full
/// takes small batches and refuses large ones.
const LINE_INTERVAL: Duration = Duration::from_secs(60);

/// Log lines on what the disk refuses.
#[derive(Debug, Default)]
pub(super) struct ObstacleLog {
    /// What was logged last, and when.
    logged: Option<(Obstacle, Instant)>,
    /// It was not logged since that it is over.
    is_open: bool,
}

impl ObstacleLog {
    /// The disk refused work: logged, once per `LINE_INTERVAL` as long as the obstacle is the same.
    pub(super) fn hindered(&mut self, obstacle: Obstacle, fault: &Fault) {
        let is_it =
            |(logged, at): (Obstacle, Instant)| logged == obstacle && at.elapsed() < LINE_INTERVAL;
        if self.logged.is_some_and(is_it) {
            return;
        }
        self.logged = Some((obstacle, Instant::now()));
        self.is_open = true;
        match obstacle {
            Obstacle::NoSpace | Obstacle::Budget => {
                log::warn!("no space: {fault}; claims get 507 until there is space, reads go on");
            }
            Obstacle::ReadOnly => {
                log::error!("READ-ONLY: {fault}; claims get 503, reads and peers are served");
            }
            Obstacle::NoDescriptors => {
                log::warn!("no file descriptor is left: {fault}; claims get 503, reads go on");
            }
        }
    }

    /// The disk took work; if it had refused some, the end of that is logged.
    pub(super) fn well(&mut self) {
        if std::mem::take(&mut self.is_open) {
            log::info!("the disk takes claims again");
        }
    }
}

/// Logs that a claim was refused for the budget: the disk itself says nothing.
pub fn log_budget(refusal: &Refusal) {
    if let Refusal::Budget { .. } = refusal {
        log_limit::warn(
            (module_path!(), "", "budget"),
            format_args!("no space: {refusal}; claims get 507 until it is raised, reads go on"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_system_are_judged_alike_everywhere() {
        for (errno, expected) in [
            (Errno::NOSPC, Some(Obstacle::NoSpace)),
            (Errno::DQUOT, Some(Obstacle::NoSpace)),
            (Errno::FBIG, Some(Obstacle::NoSpace)),
            (Errno::ROFS, Some(Obstacle::ReadOnly)),
            (Errno::PERM, Some(Obstacle::ReadOnly)),
            (Errno::ACCESS, Some(Obstacle::ReadOnly)),
            (Errno::MFILE, Some(Obstacle::NoDescriptors)),
            (Errno::NFILE, Some(Obstacle::NoDescriptors)),
            (Errno::IO, None),
            (Errno::NOENT, None),
            (Errno::STALE, None),
        ] {
            assert_eq!(obstacle(&io::Error::from(errno)), expected, "{errno}");
        }
        assert_eq!(obstacle(&io::Error::other("no error of the system")), None);
    }
}
