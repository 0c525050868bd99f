//! The journal's writer beside a bare loop of write and fdatasync into a file full of zeros:
//! records per second at one writer and at sixty-four, one after the other in the same directory.
//!
//! `cargo bench --bench journal -- [DIR]`; the directory's disk is what is measured.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use stemedb_edge::base::{Digest, Moment, Ticket};
use stemedb_edge::journal::{CommitQueue, Config, Output, Position, record};
use stemedb_edge::model::Sealed;
use stemedb_edge::shell::disk::{Directory, Disk};

const PAYLOAD_BYTES: usize = 300;
const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_secs(2);
/// More than any disk takes in a round.
const RECORDS: u64 = 400_000;
const FILE_BYTES: u64 = 160 << 20;

fn main() {
    let given = std::env::args().skip(1).find(|arg| arg != "--bench").map(PathBuf::from);
    let dir = given.unwrap_or_else(std::env::temp_dir);
    let dir = dir.join(format!("stemedb-journal-{}", std::process::id()));
    fs::create_dir_all(&dir).expect("a writable directory");
    let records: Vec<Sealed> = (0..RECORDS).map(opaque).collect();
    for writers in [1, 64] {
        let mut rates = [Vec::new(), Vec::new()];
        let mut written = 0.0;
        for _ in 0..ROUNDS {
            rates[0].push(bare(&dir, &records, writers));
            let (rate, ratio) = ours(&dir, &records, writers);
            rates[1].push(rate);
            written = ratio;
        }
        let [bare, ours] = rates.map(|mut rate| {
            rate.sort_by(f64::total_cmp);
            rate[ROUNDS / 2]
        });
        println!(
            "{writers:2} writers: bare loop {bare:6.0}/s, journal {ours:6.0}/s, ratio {:.2}; \
             {written:.2} bytes handed to the kernel per byte of log",
            ours / bare
        );
    }
    fs::remove_dir_all(&dir).expect("our own directory");
}

fn opaque(number: u64) -> Sealed {
    let mut bytes = vec![b'x'; PAYLOAD_BYTES];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    Sealed::recovered(Digest::of(&bytes), Bytes::from(bytes))
}

/// The ceiling: as many frames as there are writers, written and flushed, over zeros.
fn bare(dir: &Path, records: &[Sealed], writers: usize) -> f64 {
    let path = dir.join("bare");
    let file = File::create(&path).expect("a writable directory");
    for offset in (0..FILE_BYTES).step_by(1 << 20) {
        file.write_all_at(&[0; 1 << 20], offset).expect("the disk has space");
    }
    file.sync_all().expect("a good disk");
    let start = Instant::now();
    let (mut at, mut count) = (0, 0);
    for batch in records.chunks(writers) {
        let mut bytes = Vec::new();
        for sealed in batch {
            record::encode(&sealed.digest(), sealed.bytes(), &mut bytes);
        }
        file.write_all_at(&bytes, at).expect("the disk has space");
        file.sync_data().expect("a good disk");
        at += bytes.len() as u64;
        count += batch.len();
        if start.elapsed() > ROUND {
            break;
        }
    }
    let rate = count as f64 / start.elapsed().as_secs_f64();
    fs::remove_file(path).expect("our own file");
    rate
}

/// The queue and the disk thread: each writer offers its next record when its last is durable.
fn ours(dir: &Path, records: &[Sealed], writers: usize) -> (f64, f64) {
    let folder = dir.join("ours");
    let directory = Directory::open(&folder).expect("a writable directory");
    let tail = Position::first_of(0);
    let disk = Disk::start(&directory, tail).expect("a writable directory");
    let mut queue = CommitQueue::new(Config::default(), tail, 0);
    let mut waiting = records.iter().cloned();
    let before = bytes_written();
    let start = Instant::now();
    let mut offer = |queue: &mut CommitQueue| {
        if let Some(sealed) = waiting.next().filter(|_| start.elapsed() < ROUND) {
            queue.enqueue(sealed, Ticket(0)).expect("the queue is not full");
        }
    };
    (0..writers).for_each(|_| offer(&mut queue));
    let mut count = 0;
    while !queue.is_empty() {
        queue.handle_timeout(Moment::ZERO);
        while let Some(output) = queue.poll_output() {
            match output {
                Output::Work(work) => {
                    disk.submit(work);
                    let report = futures_lite::future::block_on(disk.report());
                    queue.handle_done(Moment::ZERO, report.expect("a good disk").done);
                }
                Output::Committed(..) => {
                    count += 1;
                    offer(&mut queue);
                }
                Output::Refused(..) => panic!("the disk is full"),
            }
        }
    }
    let rate = f64::from(count) / start.elapsed().as_secs_f64();
    let ratio = (bytes_written() - before) as f64 / queue.log_bytes() as f64;
    disk.stop();
    drop(directory);
    fs::remove_dir_all(folder).expect("our own directory");
    (rate, ratio)
}

/// Bytes that this process handed to the kernel.
fn bytes_written() -> u64 {
    let io = fs::read_to_string("/proc/self/io").expect("Linux");
    let line = io.lines().find_map(|line| line.strip_prefix("wchar: "));
    line.and_then(|count| count.parse().ok()).expect("a number")
}
