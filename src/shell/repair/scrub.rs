//! The scrubber: every record read again, slowly, for as long as the node runs. A pass begins at a
//! random row, so that a node which is restarted more often than a pass takes still reads all of
//! its log in time.
//!
//! In: where records lie, a rate. Out: positions that do not read well, to the repairer. A
//! thread of its own reads and checks, so that no request waits for a slow disk; it starts when
//! there is something to read.
//!
//! Never: reads faster than the rate, goes over a small log more often than over a whole segment.

use std::cell::{Cell, OnceCell};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::thread;

use async_channel::Sender;

use crate::base::limits;
use crate::journal::Position;
use crate::shell::disk::{Reread, reread};
use crate::shell::driver::Driver;
use crate::shell::runtime::rate_limit::RateLimiter;
use crate::store::{Row, Window};

/// Bytes read in one go; their buffer is all the memory there is to it.
const WINDOW_BYTES: u64 = 256 << 10;
/// Reads, a checksum, a small list.
const STACK_BYTES: usize = 64 << 10;

/// What was done since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Scrubbed {
    /// Bytes read again since the start.
    pub bytes: u64,
    /// Passes over all records.
    pub passes: u64,
    /// Records that did not read well.
    pub found: u64,
}

type ScrubJob = (Window, Sender<io::Result<Reread>>);

/// Goes over the records of one log.
pub struct Scrubber {
    driver: Rc<Driver>,
    log: PathBuf,
    unreadable: Sender<Position>,
    done: Rc<Cell<Scrubbed>>,
    jobs: OnceCell<Sender<ScrubJob>>,
}

impl Scrubber {
    /// For the node behind `driver`, whose log is in `log`.
    pub fn new(driver: Rc<Driver>, log: &Path, unreadable: Sender<Position>) -> Scrubber {
        let (done, jobs) = Default::default();
        Scrubber { driver, log: log.to_owned(), unreadable, done, jobs }
    }

    /// What is done, as it is done.
    pub fn done(&self) -> Rc<Cell<Scrubbed>> {
        self.done.clone()
    }

    /// Goes over and over the records, so many bytes a second.
    pub async fn run(self, rate: u64) {
        let limiter = RateLimiter::new(Some(rate));
        loop {
            let rows = self.driver.read(|replica, _| replica.store().rows() as Row);
            let from = fastrand::u32(0..rows.max(1));
            let read = self.pass((from, rows), &limiter, rate.min(WINDOW_BYTES)).await;
            let bytes = read.unwrap_or_else(|error| {
                log::warn!("scrubbing: {error}");
                0
            });
            limiter.spend(limits::SEGMENT_BYTES_MAX.saturating_sub(bytes)).await;
        }
    }

    async fn pass(
        &self,
        (from, rows): (Row, Row),
        limiter: &RateLimiter,
        window_bytes: u64,
    ) -> io::Result<u64> {
        let mut bytes = 0;
        let mut ranges = ranges(from, rows).into_iter();
        let mut rest = ranges.next();
        while let Some(range) = rest {
            let end = range.end;
            let window = self.driver.read(|replica, _| replica.store().window(range, window_bytes));
            let Some(window) = window else {
                rest = ranges.next();
                continue;
            };
            rest = Some(window.next..end);
            let read = self.read(window).await?;
            let Scrubbed { bytes: before, passes, found } = self.done.get();
            let found = found + read.unreadable.len() as u64;
            self.done.set(Scrubbed { bytes: before + read.bytes, passes, found });
            for at in read.unreadable {
                // The repairer runs as long as the node.
                let _ = self.unreadable.send(at).await;
            }
            bytes += read.bytes;
            limiter.spend(read.bytes).await;
        }
        let done = self.done.get();
        self.done.set(Scrubbed { passes: done.passes + 1, ..done });
        Ok(bytes)
    }

    async fn read(&self, window: Window) -> io::Result<Reread> {
        let jobs = match self.jobs.get() {
            Some(jobs) => jobs,
            None => {
                let started = start(self.log.clone())?;
                self.jobs.get_or_init(|| started)
            }
        };
        let (answer, read) = async_channel::bounded(1);
        jobs.send((window, answer)).await.expect("the thread ends with its sender");
        read.recv().await.expect("every job is answered")
    }
}

/// The rows of a pass that begins at `from`.
fn ranges(from: Row, rows: Row) -> [Range<Row>; 2] {
    [from..rows, 0..from]
}

fn start(log: PathBuf) -> io::Result<Sender<ScrubJob>> {
    let (jobs, inbox) = async_channel::bounded::<ScrubJob>(1);
    let builder = thread::Builder::new().name("scrub".into()).stack_size(STACK_BYTES);
    builder.spawn(move || {
        while let Ok((window, answer)) = inbox.recv_blocking() {
            // The scrubber may have stopped.
            let _ = answer.try_send(reread(&log, &window));
        }
    })?;
    Ok(jobs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_has_each_row_once_wherever_it_begins() {
        for (from, rows) in [(0, 0), (0, 5), (2, 5), (4, 5)] {
            let mut read: Vec<Row> = ranges(from, rows).into_iter().flatten().collect();
            assert_eq!(read.first(), (from..rows).next().as_ref());
            read.sort_unstable();
            assert_eq!(read, (0..rows).collect::<Vec<_>>());
        }
    }
}
