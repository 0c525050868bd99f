//! The thread that writes the index of older rows to files.
//!
//! In: rows, one [`Spill`] at a time. Out: the run that they became. A full disk is waited for: the
//! rows are in memory and in the log all the while. Never: keeps the writing of the log waiting.

use std::cell::{OnceCell, RefCell};
use std::path::Path;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use async_channel::{Receiver, Sender};

use super::failure::obstacle;
use super::{Checkpoint, Fault};
use crate::store::{Run, Spill};

/// What sorting and writing need.
const STACK_BYTES: usize = 256 << 10;
/// Between two looks whether a full disk has room again.
const NO_ROOM_PAUSE: Duration = Duration::from_secs(5);

/// What became of rows.
type Written = Result<Run, Fault>;

/// Writes runs; its thread is started by the first one.
pub struct Indexer {
    checkpoint: Checkpoint,
    outbox: Sender<Written>,
    written: Receiver<Written>,
    thread: OnceCell<Sender<Spill>>,
    handle: RefCell<Option<JoinHandle<()>>>,
}

impl Indexer {
    /// Into this index directory.
    pub fn new(checkpoint: Checkpoint) -> Indexer {
        let (outbox, written) = async_channel::bounded(1);
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

    /// Waits for what is under way; a full disk ends it.
    pub fn stop(&self) -> Option<Written> {
        self.thread.get()?.close();
        if let Some(thread) = self.handle.take() {
            thread.thread().unpark();
            // A thread that panicked has taken the process with it.
            let _ = thread.join();
        }
        self.written.try_recv().ok()
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
                let run = write(&checkpoint, &mut spill, || closed.is_closed());
                // Its memory goes before its rows are told to be elsewhere.
                drop(spill);
                if outbox.send_blocking(run).is_err() {
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

fn write(checkpoint: &Checkpoint, spill: &mut Spill, is_closed: impl Fn() -> bool) -> Written {
    let mut is_told = false;
    loop {
        match checkpoint.spill(spill) {
            Err(fault) if obstacle(&fault.source).is_some() && !is_closed() => {
                if !is_told {
                    log::warn!(
                        "{fault}: the index of older rows stays in memory until there is room"
                    );
                }
                is_told = true;
                thread::park_timeout(NO_ROOM_PAUSE);
            }
            done => return done,
        }
    }
}
