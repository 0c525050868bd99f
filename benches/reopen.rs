//! Reopening a log beside hashing it: recovery with its index and root, the same by the kept index,
//! one BLAKE3 pass over the files, and one over each record, one after the other.
//!
//! `cargo bench --bench reopen -- DATA_DIR`; without a directory it writes a log of its own.

use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use stemedb_edge::base::{Digest, HlcClock, Moment, NodeId, Ticket, Wall};
use stemedb_edge::journal::{CommitQueue, Config, Durability, Output, Position};
use stemedb_edge::model::{Draft, Object};
use stemedb_edge::shell::disk::{
    Checkpoint, Directory, Disk, Reader, find_segments, recover, recover_from, segment_path,
};
use stemedb_edge::sketch::SketchKey;
use stemedb_edge::store::Store;

const RECORDS: u64 = 1_000_000;
const ROUNDS: usize = 5;

fn main() {
    let given = std::env::args().skip(1).find(|arg| arg != "--bench").map(PathBuf::from);
    let own = std::env::temp_dir().join(format!("stemedb-reopen-{}", std::process::id()));
    let dir = given.clone().unwrap_or_else(|| {
        write(&own);
        own.clone()
    });
    let log = dir.join("log");
    let mut rows: [Vec<Duration>; 5] = Default::default();
    for _ in 0..ROUNDS {
        rows[0].push(timed(|| hash_files(&log)));
        rows[1].push(timed(|| hash_records(&log)));
        let mut store = Store::new(1);
        let checkpoint = Checkpoint::new(&dir, SketchKey::new(None));
        let reader = Reader::new(&log);
        let mut recovered = None;
        rows[2].push(timed(|| {
            let taken = recover(&log, false, |committed| {
                store.apply(&committed, &reader);
                if let Some(mut spill) = store.spill() {
                    store.adopt(checkpoint.spill(&mut spill).expect("written"));
                }
            });
            store.update_sketch();
            if let Some(mut rest) = store.spill_all() {
                store.adopt(checkpoint.spill(&mut rest).expect("written"));
            }
            recovered = Some(taken.expect("a readable log"));
        }));
        rows[3].push(timed(|| while store.root_step(usize::MAX, store.rows()).is_none() {}));
        let recovered = recovered.expect("just read");
        println!("{} records", recovered.records);
        checkpoint.save(&store.state().expect("all of it is in runs")).expect("kept");
        drop(store);
        rows[4].push(timed(|| {
            let (whole, mut store) = checkpoint.load().fitting().expect("as it was");
            let read = recover_from(&log, false, Some(whole), |_| panic!("all of it is known"));
            assert_eq!(read.expect("a readable log").records, recovered.records);
            while store.root_step(usize::MAX, store.rows()).is_none() {}
        }));
        checkpoint.keep_only(&[]).expect("removed");
    }
    let names = [
        "BLAKE3 of files",
        "BLAKE3 of records",
        "recovery, index",
        "Merkle root",
        "by the kept index",
    ];
    let medians = rows.map(|mut row| {
        row.sort_unstable();
        row[ROUNDS / 2]
    });
    for (name, median) in names.iter().zip(&medians) {
        println!("{name:18} {:5} ms", median.as_millis());
    }
    let whole = (medians[2] + medians[3]).as_secs_f64();
    for (name, median) in names.iter().zip(&medians).take(2) {
        let ratio = |time: f64| time / median.as_secs_f64();
        let recovery = ratio(medians[2].as_secs_f64());
        println!("recovery / {name}: {recovery:.2}, with the root {:.2}", ratio(whole));
    }
    println!("by the kept index / recovery: {:.3}", medians[4].as_secs_f64() / whole);
    if given.is_none() {
        fs::remove_dir_all(&own).expect("our own directory");
    }
}

fn timed(run: impl FnOnce()) -> Duration {
    let start = Instant::now();
    run();
    start.elapsed()
}

fn hash_files(log: &Path) {
    for number in find_segments(log).expect("a log") {
        let bytes = fs::read(segment_path(log, number)).expect("a segment");
        black_box(Digest::of(&bytes));
    }
}

fn hash_records(log: &Path) {
    let hashed = recover(log, false, |committed| {
        black_box(Digest::of(committed.sealed().bytes()));
    });
    hashed.expect("a readable log");
}

/// A million claims of about 300 bytes, ten to a subject.
fn write(dir: &Path) {
    let directory = Directory::open(dir).expect("a new directory");
    let tail = Position::first_of(0);
    let disk = Disk::start(&directory, tail).expect("a writable directory");
    let config = Config { durability: Durability::Eventual, ..Config::default() };
    let mut queue = CommitQueue::new(config, tail, 0);
    let mut clock = HlcClock::new(NodeId::NONE);
    for number in 0..RECORDS {
        let (subject, predicate) = (format!("sensor {}", number / 10), format!("p{}", number % 10));
        let text = format!("{number:0>110}");
        let mut draft = Draft::new(subject, predicate, Object::Text(text));
        draft.timestamp = Some(number);
        let sealed = draft.check(&mut clock, Wall(0)).expect("a good draft").seal();
        queue.enqueue(sealed, Ticket(number)).expect("the queue is not full");
        if number % 1000 == 999 || number + 1 == RECORDS {
            queue.handle_timeout(Moment(number));
            drain(&mut queue, &disk);
        }
    }
    disk.stop();
}

fn drain(queue: &mut CommitQueue, disk: &Disk) {
    while let Some(output) = queue.poll_output() {
        if let Output::Work(work) = output {
            disk.submit(work);
            let report = futures_lite::future::block_on(disk.report()).expect("a good disk");
            queue.handle_done(Moment(0), report.done);
        }
    }
}
