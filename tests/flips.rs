//! A log of ten thousand records in which each bit is flipped once: always noticed, no wrong
//! record ever served, every other record kept.
//!
//! A flip is looked at in a log of its own, of the record it hits and the one before and behind;
//! some are held against the whole log. By default a fixed choice of 16 bits per record is flipped;
//! `STEMEDB_FLIPS=all cargo test --release --test flips -- --nocapture` flips all of them.

mod folder;

use std::fs::{self, File, OpenOptions};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::thread;
use std::time::Instant;

use folder::Folder;
use stemedb_edge::base::{Digest, HlcClock, NodeId, Wall, limits};
use stemedb_edge::journal::record::{self, FRAME_HEAD_BYTES, SEGMENT_HEAD_BYTES, segment_head};
use stemedb_edge::journal::{Bodies, Position};
use stemedb_edge::model::{Draft, Object, Sealed};
use stemedb_edge::shell::disk::{Reader, Recovered, recover, segment_path};

const RECORDS: u64 = 10_000;
/// Bits flipped per record, unless all are.
const SAMPLED: usize = 16;
/// Flips held against the whole log.
const WHOLE: usize = 40;
const THREADS: u64 = 2;

fn claim(number: u64) -> Sealed {
    // Of eight lengths, so that every length of padding occurs.
    let text = "x".repeat(number as usize % 8);
    let mut draft = Draft::new(format!("s{number}"), "p".into(), Object::Text(text));
    draft.timestamp = Some(number);
    draft.check(&mut HlcClock::new(NodeId::NONE), Wall(0)).expect("a good draft").seal()
}

fn frame(number: u64) -> Vec<u8> {
    let (sealed, mut frame) = (claim(number), Vec::new());
    record::encode(&sealed.digest(), sealed.bytes(), &mut frame);
    frame
}

/// A log of some of the records, in one segment.
struct Log {
    folder: Folder,
    file: File,
    bytes: Vec<u8>,
    starts: Vec<usize>,
    digests: Vec<Digest>,
}

impl Log {
    fn of(name: &str, numbers: Range<u64>) -> Log {
        let folder = Folder::new(name);
        let mut bytes = segment_head(0, 0).to_vec();
        let (mut starts, mut digests) = (Vec::new(), Vec::new());
        for number in numbers {
            starts.push(bytes.len());
            digests.push(claim(number).digest());
            bytes.extend(frame(number));
        }
        starts.push(bytes.len());
        fs::write(segment_path(&folder.log(), 0), &bytes).expect("written");
        let opened = OpenOptions::new().write(true).open(segment_path(&folder.log(), 0));
        Log { folder, file: opened.expect("opened"), bytes, starts, digests }
    }

    fn write(&self, at: usize, byte: u8) {
        self.file.write_all_at(&[byte], at as u64).expect("written");
    }

    fn recover(&self) -> (Vec<Digest>, Recovered) {
        let mut found = Vec::new();
        let recovered = recover(&self.folder.log(), false, |committed| {
            found.push(committed.sealed().digest());
        });
        (found, recovered.expect("damage stops no start"))
    }

    /// Flips a bit of a record, holds what recovery says against the promises, and flips it back.
    fn flip(&self, record: usize, bit: usize) -> (usize, Vec<u64>) {
        let (start, end) = (self.starts[record], self.starts[record + 1]);
        let at = start + bit / 8;
        assert!(at < end);
        self.write(at, self.bytes[at] ^ 1 << (bit % 8));
        let (found, recovered) = self.recover();
        let length = u32::from_le_bytes(*self.bytes[start..].first_chunk().expect("a head"));
        let is_padding = at >= start + FRAME_HEAD_BYTES + length as usize;
        let mut expected = self.digests.clone();
        if !is_padding {
            expected.remove(record);
        }
        assert_eq!(found, expected, "record {record}, bit {bit}");
        let noticed = recovered.damages + u64::from(recovered.torn_bytes > 0);
        assert_eq!(noticed, 1, "record {record}, bit {bit}: {recovered:?}");
        let listed = recovered.damages_listed.iter();
        assert!(
            listed.clone().all(|damage| damage.digest == Some(self.digests[record])),
            "record {record}, bit {bit}: {recovered:?} does not name it"
        );
        let served = Reader::new(&self.folder.log()).sealed_at(Position(start as u64));
        let served = served.map(|sealed| sealed.digest());
        let right = is_padding.then_some(self.digests[record]);
        assert_eq!(served, right, "record {record}, bit {bit}");
        self.write(at, self.bytes[at]);
        (found.len(), listed.map(|damage| damage.at.0 - start as u64).collect())
    }
}

/// Flips bits of some records, each in a log of three; the answer is how many.
fn flip_all(thread: u64, is_all: bool) -> usize {
    let mut random = fastrand::Rng::with_seed(thread);
    let mut flips = 0;
    for number in (thread..RECORDS).step_by(THREADS as usize) {
        let around = number.saturating_sub(1)..(number + 2).min(RECORDS);
        let record = (number - around.start) as usize;
        let log = Log::of(&format!("flips-{thread}"), around);
        let bits = (log.starts[record + 1] - log.starts[record]) * 8;
        let chosen: Vec<usize> = if is_all {
            (0..bits).collect()
        } else {
            (0..SAMPLED).map(|_| random.usize(0..bits)).collect()
        };
        flips += chosen.len();
        chosen.into_iter().for_each(|bit| {
            log.flip(record, bit);
        });
    }
    flips
}

#[test]
fn every_flipped_bit_is_noticed_and_costs_no_other_record() {
    let is_all = std::env::var("STEMEDB_FLIPS").is_ok_and(|which| which == "all");
    let begun = Instant::now();
    let threads = (0..THREADS).map(|thread| thread::spawn(move || flip_all(thread, is_all)));
    let threads: Vec<_> = threads.collect();
    let flips: usize = threads.into_iter().map(|thread| thread.join().expect("as promised")).sum();
    println!("{flips} flipped bits in {RECORDS} records, {} s", begun.elapsed().as_secs());
}

#[test]
fn a_flip_says_the_same_in_the_whole_log() {
    let whole = Log::of("flips-whole", 0..RECORDS);
    let mut random = fastrand::Rng::with_seed(3);
    for _ in 0..WHOLE {
        let record = random.usize(1..RECORDS as usize - 1);
        let three = Log::of("flips-three", record as u64 - 1..record as u64 + 2);
        let bit = random.usize(0..(three.starts[2] - three.starts[1]) * 8);
        let (of_whole, of_three) = (whole.flip(record, bit), three.flip(1, bit));
        assert_eq!(RECORDS as usize - of_whole.0, 3 - of_three.0);
        assert_eq!(of_whole.1, of_three.1, "the same damage at the same offset");
    }
}

#[test]
fn every_flipped_bit_of_a_head_is_noticed_and_costs_no_record() {
    let folder = Folder::new("flips-heads");
    let (mut digests, mut segments) = (Vec::new(), Vec::new());
    let mut before = 0;
    for number in 0..3 {
        let mut bytes = segment_head(number, before).to_vec();
        for record in number * 10..number * 10 + 10 {
            digests.push(claim(record).digest());
            bytes.extend(frame(record));
        }
        before = bytes.len() as u32;
        fs::write(segment_path(&folder.log(), number), &bytes).expect("written");
        segments.push(bytes);
    }
    for (number, bytes) in segments.iter().enumerate() {
        for bit in 0..SEGMENT_HEAD_BYTES * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            fs::write(segment_path(&folder.log(), number as u64), &flipped).expect("written");
            let mut found = Vec::new();
            let recovered = recover(&folder.log(), false, |committed| {
                found.push(committed.sealed().digest());
            });
            let recovered = recovered.expect("damage stops no start");
            assert_eq!(found, digests, "segment {number}, bit {bit}");
            assert_eq!(recovered.damages, 1, "segment {number}, bit {bit}");
            let head = Position(number as u64 * limits::SEGMENT_BYTES_MAX);
            assert_eq!(recovered.damages_listed[0].at, head, "segment {number}, bit {bit}");
        }
        fs::write(segment_path(&folder.log(), number as u64), bytes).expect("written");
    }
}
