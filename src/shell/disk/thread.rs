//! The thread that writes: one piece of work at a time, and a report of each.
//!
//! In: [`Work`]. Out: [`Done`] for each piece, or a fault, after which nothing may be written: what
//! the page cache holds after a failed flush is unknown. Never: retries a flush, reports before it.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};

use super::directory::Directory;
use super::file_fault::Fault;
use super::segment::Writer;
use super::write_failure::{ObstacleLog, WriteFailure};
use crate::journal::{Done, Obstacle, Position, Work};

/// What a write loop needs, and the formatting of an error.
const STACK_BYTES: usize = 128 << 10;

/// What the disk thread reports of one piece of work.
#[derive(Debug)]
pub struct Report {
    /// What became of the work.
    pub done: Done,
    /// How many records the batch had.
    pub records: usize,
    /// How many bytes were written, for the metrics.
    pub bytes: usize,
    /// How long the flush took, where there was one.
    pub flush: Option<Duration>,
    /// What was in the way of the work that is undone.
    pub hindrance: Option<Hindrance>,
}

/// An obstacle, and how it showed.
pub type Hindrance = (Obstacle, Fault);

/// The thread that writes and flushes: its inbox, and what it reports.
pub struct Disk {
    /// For one piece: the queue has one under way at most.
    work: Sender<Work>,
    reports: Receiver<Result<Report, Fault>>,
    thread: Cell<Option<JoinHandle<()>>>,
    /// Found at the start, before the first write.
    obstacle: Option<Obstacle>,
    lines: RefCell<ObstacleLog>,
}

impl Disk {
    /// Starts writing at `tail` of the log in `directory`.
    pub fn start(directory: &Directory, tail: Position) -> Result<Disk, Fault> {
        let mut lines = ObstacleLog::default();
        let (mut writer, obstacle) = match Writer::open(directory.log(), tail) {
            Ok(writer) => (writer, None),
            Err(WriteFailure::Hindered(obstacle, fault)) => {
                lines.hindered(obstacle, &fault);
                (Writer::new(directory.log(), tail), Some(obstacle))
            }
            Err(WriteFailure::Broken(fault)) => return Err(fault),
        };
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
            // The node has gone; recovery finds the same without the trimming.
            if let Err(failure) = writer.close() {
                log::error!("disk: {}", failure.fault());
            }
        });
        let thread = spawned.map_err(|error| Fault::new("starting", Path::new("disk"), error))?;
        let (thread, lines) = (Cell::new(Some(thread)), RefCell::new(lines));
        Ok(Disk { work, reports, thread, obstacle, lines })
    }

    /// What was in the way of writing when it was started.
    pub fn obstacle(&self) -> Option<Obstacle> {
        self.obstacle
    }

    /// Hands over a piece of work; the queue has one under way at most.
    pub fn submit(&self, work: Work) {
        self.work.try_send(work).expect("one piece of work at a time, for a thread that lives");
    }

    /// What became of the piece under way.
    pub async fn report(&self) -> Result<Report, Fault> {
        let report = self.reports.recv().await.expect("the thread reports before it ends")?;
        match &report.hindrance {
            Some((obstacle, fault)) => self.lines.borrow_mut().hindered(*obstacle, fault),
            None if report.records > 0 => self.lines.borrow_mut().well(),
            None => {}
        }
        Ok(report)
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
    let mut report =
        Report { done: Done::Well, records: 0, bytes: 0, flush: None, hindrance: None };
    let flush = match work {
        Work::Flush => true,
        Work::Write(batch) => {
            match writer.write(batch) {
                Ok(()) => {}
                Err(WriteFailure::Hindered(obstacle, fault)) => {
                    report.done = Done::Undone(obstacle);
                    report.hindrance = Some((obstacle, fault));
                    return Ok(report);
                }
                Err(WriteFailure::Broken(fault)) => return Err(fault),
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
