//! The thread that writes the index of older rows to files.
//!
//! In: rows, one [`Spill`] at a time. Out: the run that they became. An obstacle is reported
//! once and waited for: the rows are in memory and in the log all the while. Never: keeps the
//! writing of the log waiting.

use std::cell::{OnceCell, RefCell};
use std::path::Path;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use async_channel::{Receiver, Sender};

use super::checkpoint::Checkpoint;
use super::file_fault::Fault;
use crate::store::{Run, Spill};

/// What sorting and writing need.
const STACK_BYTES: usize = 256 << 10;
/// Between two tries to write a run that could not be written.
const RETRY_PAUSE: Duration = Duration::from_secs(5);
/// Of one spill there are two reports at most: that it cannot be written, and the run.
const REPORTS_MAX: usize = 2;

/// What became of rows. After a fault comes another, when it is over.
type Written = Result<Run, Fault>;

/// Writes runs; its thread is started by the first one.
pub struct Indexer {
    checkpoint: Checkpoint,
    /// Kept for the thread, which starts with the first spill.
    outbox: Sender<Written>,
    written: Receiver<Written>,
    thread: OnceCell<Sender<Spill>>,
    handle: RefCell<Option<JoinHandle<()>>>,
}

impl Indexer {
    /// Writes runs into the checkpoint's directory; its thread starts with the first.
    pub fn new(checkpoint: Checkpoint) -> Indexer {
        let (outbox, written) = async_channel::bounded(REPORTS_MAX);
        let (thread, handle) = (OnceCell::new(), RefCell::default());
        Indexer { checkpoint, outbox, written, thread, handle }
    }

    /// Hands rows over; the next ones only when these are a run.
    pub fn submit(&self, spill: Spill) {
        let work = self.thread.get_or_init(|| self.start());
        work.try_send(spill).expect("one spill at a time, for a thread that lives");
    }

    /// What became of the rows under way.
    pub async fn written(&self) -> Written {
        self.written.recv().await.expect("this end keeps it open")
    }

    /// Waits for what is under way, unless something is in the way of that.
    pub fn stop(&self) -> Option<Written> {
        self.thread.get()?.close();
        if let Some(thread) = self.handle.take() {
            thread.thread().unpark();
            // A thread that panicked has taken the process with it.
            let _ = thread.join();
        }
        std::iter::from_fn(|| self.written.try_recv().ok()).last()
    }

    /// What was written last is not to be taken in by a start.
    pub fn forget(&self) -> Result<(), Fault> {
        self.checkpoint.forget()
    }

    fn start(&self) -> Sender<Spill> {
        let (work, inbox) = async_channel::bounded::<Spill>(1);
        let (checkpoint, outbox) = (self.checkpoint.clone(), self.outbox.clone());
        let builder = thread::Builder::new().name("index".into()).stack_size(STACK_BYTES);
        let closed = inbox.clone();
        let spawned = builder.spawn(move || {
            while let Ok(mut spill) = inbox.recv_blocking() {
                let mut is_reported = false;
                let run = loop {
                    match checkpoint.spill(&mut spill) {
                        Ok(run) => break run,
                        Err(fault) if !is_reported => {
                            is_reported = true;
                            let _ = outbox.send_blocking(Err(fault));
                        }
                        Err(_) => {}
                    }
                    if closed.is_closed() {
                        return;
                    }
                    thread::park_timeout(RETRY_PAUSE);
                };
                // Its memory goes before the report, after which the store may freeze as many rows.
                drop(spill);
                if outbox.send_blocking(Ok(run)).is_err() {
                    return;
                }
            }
        });
        match spawned {
            Ok(thread) => *self.handle.borrow_mut() = Some(thread),
            Err(error) => {
                let fault = Fault::new("starting", Path::new("index"), error);
                // The channel is empty before the first spill.
                let _ = self.outbox.try_send(Err(fault));
            }
        }
        work
    }
}
