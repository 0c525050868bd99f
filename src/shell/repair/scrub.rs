//! The scrubber: every record read again, slowly, for as long as the node runs.
//!
//! In: where records lie, a rate. Out: positions that do not read well, to the repairer. A
//! thread of its own reads and checks, so that no request waits for a slow disk; it starts when
//! there is something to read.
//!
//! Never: reads faster than the rate, goes over a small log more often than over a whole segment.

use std::cell::{Cell, OnceCell};
use std::io;
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
    /// Bytes read.
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
        // The start has read them all just now.
        let mut bytes = 0;
        loop {
            limiter.spend(limits::SEGMENT_BYTES_MAX.saturating_sub(bytes)).await;
            match self.pass(&limiter, rate.min(WINDOW_BYTES)).await {
                Ok(read) => bytes = read,
                Err(error) => {
                    log::warn!("scrubbing: {error}");
                    bytes = 0;
                }
            }
        }
    }

    async fn pass(&self, limiter: &RateLimiter, window_bytes: u64) -> io::Result<u64> {
        let (mut next, mut bytes) = (0, 0);
        loop {
            let window = self.driver.read(|replica, _| {
                let store = replica.store();
                store.window(next..store.rows() as Row, window_bytes)
            });
            let Some(window) = window else { break };
            next = window.next;
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
