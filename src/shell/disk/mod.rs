//! The log on disk: one thread that writes and flushes, a reader beside it, recovery before it.
//!
//! In: [`Work`], one piece at a time. Out: [`Done`] for each, or a fault, after which nothing may
//! be written any more: what the page cache holds after a failed flush, nobody knows. Never:
//! retries a flush, answers before it.

mod checkpoint;
mod copy;
mod directory;
mod indexer;
mod reader;
mod recovery;
mod reread;
mod segment;
#[cfg(test)]
mod stage;

use std::cell::Cell;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};

pub use checkpoint::Checkpoint;
pub use copy::{Copied, copy};
pub use directory::{Directory, holder, node_id, sync_directory};
pub use indexer::Indexer;
pub use reader::Reader;
pub use recovery::{Recovered, recover, recover_from};
pub use reread::{Reread, reread};
pub use segment::{find as find_segments, is_full, path as segment_path};

use crate::journal::{Done, Position, Work};
use segment::Writer;

/// What a write loop needs, with room for the formatting of an error.
const STACK_BYTES: usize = 128 << 10;

/// The world failed us while doing something with a file.
#[derive(Debug)]
pub struct Fault {
    /// What was being done, as in "syncing".
    pub doing: &'static str,
    /// With which file or directory.
    pub path: PathBuf,
    /// How it failed.
    pub source: io::Error,
}

impl Fault {
    /// What went wrong with `path`.
    pub fn new(doing: &'static str, path: &Path, source: impl Into<io::Error>) -> Fault {
        Fault { doing, path: path.to_owned(), source: source.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}: {}", self.doing, self.path.display(), self.source)
    }
}

impl std::error::Error for Fault {}

/// What the disk thread reports of one piece of work.
#[derive(Debug)]
pub struct Report {
    /// What became of it.
    pub done: Done,
    /// Records written.
    pub records: usize,
    /// Bytes written.
    pub bytes: usize,
    /// How long the flush took, where there was one.
    pub flush: Option<Duration>,
}

/// The thread that writes.
pub struct Disk {
    work: Sender<Work>,
    reports: Receiver<Result<Report, Fault>>,
    thread: Cell<Option<JoinHandle<()>>>,
}

impl Disk {
    /// Starts writing at `tail` of the log in `directory`.
    pub fn start(directory: &Directory, tail: Position) -> Result<Disk, Fault> {
        let mut writer = Writer::open(directory.log(), tail)?;
        let (work, inbox) = async_channel::bounded::<Work>(1);
        let (outbox, reports) = async_channel::bounded(1);
        let builder = thread::Builder::new().name("disk".into()).stack_size(STACK_BYTES);
        let spawned = builder.spawn(move || {
            while let Ok(work) = inbox.recv_blocking() {
                let report = carry_out(&mut writer, &work);
                let failed = report.is_err();
                if outbox.send_blocking(report).is_err() || failed {
                    return;
                }
            }
            // Nobody is left to tell; recovery would find the same without the trimming.
            if let Err(fault) = writer.close() {
                log::error!("disk: {fault}");
            }
        });
        let thread = spawned.map_err(|error| Fault::new("starting", Path::new("disk"), error))?;
        Ok(Disk { work, reports, thread: Cell::new(Some(thread)) })
    }

    /// Hands over a piece of work; the queue has one under way at most.
    pub fn submit(&self, work: Work) {
        self.work.try_send(work).expect("one piece of work at a time, for a thread that lives");
    }

    /// What became of the piece under way.
    pub async fn report(&self) -> Result<Report, Fault> {
        self.reports.recv().await.expect("the thread reports before it ends")
    }

    /// Flushes, trims the last segment and waits for the thread.
    pub fn stop(&self) {
        self.work.close();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has taken the process with it.
            let _ = thread.join();
        }
    }
}

fn carry_out(writer: &mut Writer, work: &Work) -> Result<Report, Fault> {
    let mut report = Report { done: Done::Well, records: 0, bytes: 0, flush: None };
    let flush = match work {
        Work::Flush => true,
        Work::Write(batch) => {
            report.done = writer.write(batch)?;
            if report.done == Done::NoSpace {
                return Ok(report);
            }
            report.records = batch.records.len();
            report.bytes = batch.bytes;
            batch.flush
        }
    };
    if flush {
        let start = Instant::now();
        writer.flush()?;
        report.flush = Some(start.elapsed());
    }
    Ok(report)
}
