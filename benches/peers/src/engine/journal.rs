//! Our own log and index in this process, written in the two ways that a library can be used.
//!
//! In: records. Out: each in the log, flushed, and in the index. [`Threads`]: every writer is a
//! thread; one of those that wait carries reports from the disk thread to the queue and wakes the
//! others. [`Loop`]: one thread has all writers' records at hand, as the node has them.
//!
//! Never: asks the library for less than the node does, but for the Merkle root at the start.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread::{self, Thread};

use futures_lite::future::{block_on, poll_once};
use stemedb_edge::base::{Digest, Moment, Ticket};
use stemedb_edge::journal::{Bodies, CommitQueue, Config, Done, Output, Position};
use stemedb_edge::model::Sealed;
use stemedb_edge::shell::disk::{Checkpoint, Directory, Disk, Indexer, Reader, recover_from};
use stemedb_edge::sketch::SketchKey;
use stemedb_edge::store::{Standing, Store};

use super::{Engine, by_threads};
use crate::record::{Record, Work};

/// Reads the log. A reader of the library stays in one thread; only a read needs it, not a write.
struct Log(PathBuf);

impl Bodies for Log {
    fn digest_at(&self, at: Position) -> Option<Digest> {
        Reader::new(&self.0).digest_at(at)
    }

    fn sealed_at(&self, at: Position) -> Option<Sealed> {
        Reader::new(&self.0).sealed_at(at)
    }
}

/// Log and index, without the disk thread.
struct Journal {
    queue: CommitQueue,
    store: Store,
    log: Log,
    checkpoint: Checkpoint,
    indexer: Indexer,
    /// Whether rows of the index are on their way to a file.
    is_spilling: bool,
    /// Whether the disk thread has work.
    is_flying: bool,
    _directory: Directory,
}

fn open(dir: &Path) -> (Journal, Disk) {
    let directory = Directory::open(dir).expect("a writable directory");
    let checkpoint = Checkpoint::new(dir, SketchKey::new(None));
    let log = Log(directory.log().to_owned());
    let (whole, mut store) = match checkpoint.load().fitting() {
        Some((whole, store)) => (Some(whole), store),
        None => (None, Store::new(1)),
    };
    let recovered = recover_from(directory.log(), true, whole, |committed| {
        store.apply(&committed, &log);
        if let Some(mut spill) = store.spill() {
            store.adopt(checkpoint.spill(&mut spill).expect("a good disk"));
        }
    });
    store.update_sketch();
    let recovered = recovered.expect("a good disk");
    let disk = Disk::start(&directory, recovered.tail).expect("a writable directory");
    let queue = CommitQueue::new(Config::default(), recovered.tail, recovered.bytes);
    let indexer = Indexer::new(checkpoint.clone());
    let journal = Journal {
        queue,
        store,
        log,
        checkpoint,
        indexer,
        is_spilling: false,
        is_flying: false,
        _directory: directory,
    };
    (journal, disk)
}

impl Journal {
    fn offer(&mut self, record: Record, ticket: usize) {
        let sealed = Sealed::recovered(Digest(record.key), record.body);
        let standing = self.store.standing(&sealed.digest(), &self.log);
        assert_eq!(standing, Standing::Unknown, "every record is another one");
        let taken = self.queue.enqueue(sealed, Ticket(ticket as u64));
        taken.expect("the queue holds a record of each writer");
    }

    /// Carries out what the queue wants; tickets whose records are durable go to `durable`.
    fn drain(&mut self, disk: &Disk, durable: &mut Vec<usize>) {
        self.queue.handle_timeout(Moment::ZERO);
        while let Some(output) = self.queue.poll_output() {
            match output {
                Output::Work(work) => {
                    disk.submit(work);
                    self.is_flying = true;
                }
                Output::Committed(committed, tickets) => {
                    self.store.append(&committed);
                    durable.extend(tickets.iter().map(|ticket| ticket.0 as usize));
                }
                Output::Refused(refusal, _) => panic!("{refusal}"),
            }
        }
        self.store.update_sketch();
        self.spill();
    }

    fn done(&mut self, disk: &Disk, done: Done, durable: &mut Vec<usize>) {
        self.is_flying = false;
        self.queue.handle_done(Moment::ZERO, done);
        self.drain(disk, durable);
    }

    /// Older rows of the index go to files, as in the node.
    fn spill(&mut self) {
        if self.is_spilling
            && let Some(run) = block_on(poll_once(self.indexer.written()))
        {
            self.store.adopt(run.expect("a good disk"));
            self.is_spilling = false;
        }
        if !self.is_spilling
            && let Some(spill) = self.store.spill()
        {
            self.indexer.submit(spill);
            self.is_spilling = true;
        }
    }

    fn read(&self, record: &Record) -> Option<Vec<u8>> {
        let at = self.store.find(&Digest(record.key), &self.log)?;
        self.log.sealed_at(at).map(|sealed| sealed.bytes().to_vec())
    }

    /// Keeps the index, as the node does when it is asked to stop.
    fn close(mut self, disk: &Disk) {
        disk.stop();
        if let Some(run) = self.indexer.stop() {
            self.store.adopt(run.expect("a good disk"));
        }
        match self.store.spill_all() {
            Some(mut spill) => {
                self.checkpoint.spill(&mut spill).expect("a good disk");
            }
            None => {
                let state = self.store.state().expect("nothing is damaged");
                self.checkpoint.save(&state).expect("a good disk");
            }
        }
    }
}

/// For writers that are threads.
pub struct Threads {
    shared: Mutex<Shared>,
    disk: Mutex<Disk>,
}

struct Shared {
    journal: Journal,
    /// By writer: the thread, while it waits.
    waiting: Vec<Option<Thread>>,
    /// Whether a thread waits for the disk thread's report.
    has_leader: bool,
}

impl Threads {
    pub fn open(dir: &Path) -> Threads {
        let (journal, disk) = open(dir);
        let shared = Shared { journal, waiting: Vec::new(), has_leader: false };
        Threads { shared: Mutex::new(shared), disk: Mutex::new(disk) }
    }

    fn put(&self, writer: usize, record: Record) {
        let lock = || self.shared.lock().expect("no thread panicked");
        let disk = || self.disk.lock().expect("no thread panicked");
        let mut shared = lock();
        shared.waiting[writer] = Some(thread::current());
        shared.journal.offer(record, writer);
        if !shared.journal.is_flying {
            shared.journal.drain(&disk(), &mut Vec::new());
        }
        while shared.waiting[writer].is_some() {
            if shared.has_leader {
                drop(shared);
                thread::park();
                shared = lock();
                continue;
            }
            shared.has_leader = true;
            drop(shared);
            let report = block_on(disk().report()).expect("a good disk");
            shared = lock();
            let mut durable = Vec::new();
            shared.journal.done(&disk(), report.done, &mut durable);
            shared.has_leader = false;
            let woken = shared.wake(writer, durable);
            // They all want the lock.
            drop(shared);
            woken.iter().for_each(Thread::unpark);
            shared = lock();
        }
    }
}

impl Shared {
    /// Who is to be woken: before those whose record is durable, one to lead instead of this one.
    fn wake(&mut self, leader: usize, durable: Vec<usize>) -> Vec<Thread> {
        let durable = durable.into_iter().filter_map(|ticket| self.waiting[ticket].take());
        let durable: Vec<Thread> = durable.collect();
        let next = self.waiting.iter().flatten().next().cloned();
        let next = next.filter(|_| self.waiting[leader].is_none());
        next.into_iter().chain(durable).collect()
    }
}

impl Engine for Threads {
    fn write(&mut self, writers: usize, work: &Work) {
        let shared = self.shared.get_mut().expect("no thread panicked");
        shared.waiting.resize_with(writers, || None);
        by_threads(writers, work, |writer, record| self.put(writer, record));
    }

    fn read(&mut self, record: &Record) -> Option<Vec<u8>> {
        self.shared.get_mut().expect("no thread panicked").journal.read(record)
    }

    fn close(self: Box<Self>) {
        let shared = self.shared.into_inner().expect("no thread panicked");
        shared.journal.close(&self.disk.into_inner().expect("no thread panicked"));
    }
}

/// For writers that are tickets of one thread.
pub struct Loop {
    journal: Journal,
    disk: Disk,
}

impl Loop {
    pub fn open(dir: &Path) -> Loop {
        let (journal, disk) = open(dir);
        Loop { journal, disk }
    }
}

impl Engine for Loop {
    fn write(&mut self, writers: usize, work: &Work) {
        let Loop { journal, disk } = self;
        let mut durable: Vec<usize> = (0..writers).collect();
        loop {
            for ticket in durable.drain(..) {
                if let Some(record) = work.take() {
                    journal.offer(record, ticket);
                }
            }
            journal.drain(disk, &mut durable);
            if !journal.is_flying {
                return;
            }
            let report = block_on(disk.report()).expect("a good disk");
            journal.done(disk, report.done, &mut durable);
        }
    }

    fn read(&mut self, record: &Record) -> Option<Vec<u8>> {
        self.journal.read(record)
    }

    fn close(self: Box<Self>) {
        self.journal.close(&self.disk);
    }
}
