//! A recorded run of a few hundred writes, and the disk as a power cut may leave it at each of
//! them: nothing of the write there, all, any prefix, single sectors missing, any mixture of what
//! was not flushed, lengths lost. Each is recovered: what was flushed is there, nothing that was
//! not sent.

mod folder;

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use fastrand::Rng;
use folder::Folder;
use stemedb_edge::base::{Digest, HlcClock, Moment, NodeId, Ticket, Wall};
use stemedb_edge::journal::record::{SEGMENT_HEAD_BYTES, encode, segment_head};
use stemedb_edge::journal::{
    CommitQueue, Config, Done, Durability, EVENTUAL_SPACING, Output, Position, Work,
};
use stemedb_edge::model::{Draft, Object};
use stemedb_edge::shell::disk::{recover, segment_path};

const WRITES: usize = 300;
/// Writes between two flushes, about.
const UNFLUSHED: u32 = 5;
/// What the disk writes whole or not at all.
const SECTOR: usize = 512;
/// A write is also cut off after each so many bytes, wherever a sector ends.
const CUT: usize = 52;
/// Mixtures tried per write.
const MIXTURES: usize = 12;
/// Zeros ahead of the tail, as of a file that was preallocated.
const AHEAD: usize = 4096;

struct Write {
    at: usize,
    bytes: Vec<u8>,
    records: Vec<Digest>,
}

/// What reached the disk, in order; `None` is a flush.
type Run = Vec<Option<Write>>;

/// The queue's own writes of claims of many sizes, one to four at a time.
fn record_run() -> Run {
    let config = Config { durability: Durability::Eventual, ..Config::default() };
    let mut queue = CommitQueue::new(config, Position::first_of(0), SEGMENT_HEAD_BYTES as u64);
    let (mut clock, mut random) = (HlcClock::new(NodeId::NONE), Rng::with_seed(9));
    let (mut run, mut ticket, mut now) = (Vec::new(), 0, Moment(0));
    while run.iter().flatten().count() < WRITES {
        now = now + EVENTUAL_SPACING / UNFLUSHED;
        let mut records = Vec::new();
        for _ in 0..random.usize(1..5) {
            ticket += 1;
            let text = "x".repeat(random.usize(0..400));
            let mut draft = Draft::new(format!("s{ticket}"), "p".into(), Object::Text(text));
            draft.timestamp = Some(ticket);
            let sealed = draft.check(&mut clock, Wall(0)).expect("a good draft").seal();
            records.push(sealed.digest());
            queue.enqueue(sealed, Ticket(ticket)).expect("the queue is not full");
        }
        drain(&mut queue, now, &mut run, records);
    }
    run
}

fn drain(queue: &mut CommitQueue, now: Moment, run: &mut Run, mut records: Vec<Digest>) {
    queue.handle_timeout(now);
    while let Some(output) = queue.poll_output() {
        let Output::Work(work) = output else { continue };
        match work {
            Work::Flush => run.push(None),
            Work::Write(batch) => {
                assert_eq!(batch.position.segment(), 0);
                let at = batch.position.offset() as usize;
                let records = records.drain(..batch.records.len()).collect();
                let mut bytes = Vec::new();
                batch.frames(&mut bytes);
                run.push(Some(Write { at, bytes, records }));
                run.extend(batch.flush.then_some(None));
            }
        }
        queue.handle_done(now, Done::Well);
    }
}

/// The log's one segment, of which only the end changes from point to point.
struct Log {
    folder: Folder,
    file: File,
    sent: BTreeSet<Digest>,
    flushed: BTreeSet<Digest>,
    points: u64,
}

impl Log {
    fn new(name: &str) -> Log {
        let folder = Folder::new(name);
        let path = segment_path(&folder.log(), 0);
        let file = OpenOptions::new().create_new(true).read(true).write(true).open(path);
        let file = file.expect("a new file");
        file.write_all_at(&segment_head(0, 0), 0).expect("written");
        let (sent, flushed) = (BTreeSet::new(), BTreeSet::new());
        Log { folder, file, sent, flushed, points: 0 }
    }

    /// The disk after a power cut: these bytes behind what was flushed, and recovery of that.
    fn crash(&mut self, durable: usize, end: &[u8], repair: bool) {
        self.file.set_len(durable as u64).expect("cut");
        self.file.write_all_at(end, durable as u64).expect("written");
        let mut found = BTreeSet::new();
        let recovered = recover(&self.folder.log(), repair, |committed| {
            found.insert(committed.sealed().digest());
        });
        recovered.expect("no crash stops a start");
        self.points += 1;
        let point = self.points;
        assert!(found.is_superset(&self.flushed), "point {point}: a flushed record is gone");
        assert!(found.is_subset(&self.sent), "point {point}: a record that was never sent");
        if repair {
            let mut again = BTreeSet::new();
            let recovered = recover(&self.folder.log(), false, |committed| {
                again.insert(committed.sealed().digest());
            });
            assert_eq!(recovered.expect("a repaired log").torn_bytes, 0, "point {point}");
            assert_eq!(again, found, "point {point}: a repair is the end of it");
        }
    }
}

/// Every way to tear the last of the writes that are not flushed yet, and mixtures of all of them.
fn tear(log: &mut Log, durable: usize, unflushed: &[&Write], random: &mut Rng) {
    let (last, before) = unflushed.split_last().expect("one at least");
    let start = last.at - durable;
    let mut whole = vec![0; start + last.bytes.len() + AHEAD];
    for write in before {
        whole[write.at - durable..][..write.bytes.len()].copy_from_slice(&write.bytes);
    }
    let without = whole.clone();
    whole[start..][..last.bytes.len()].copy_from_slice(&last.bytes);
    let end = start + last.bytes.len();
    log.crash(durable, &whole, false);
    log.crash(durable, &whole[..end], false);
    log.crash(durable, &without, true);
    for cut in (start..end).step_by(CUT) {
        // The rest of the file is zeros, or was never there.
        log.crash(durable, &[&whole[..cut], &without[cut..]].concat(), cut % 7 == 0);
        log.crash(durable, &whole[..cut], false);
    }
    // Sectors are where they are in the file.
    let shift = durable % SECTOR;
    let sectors = (start + shift) / SECTOR..=(end - 1 + shift) / SECTOR;
    let span = |sector: usize| {
        let from = (sector * SECTOR).saturating_sub(shift);
        from..((sector + 1) * SECTOR - shift).min(whole.len())
    };
    for sector in sectors {
        let mut torn = whole.clone();
        torn[span(sector)].copy_from_slice(&without[span(sector)]);
        log.crash(durable, &torn, false);
    }
    for _ in 0..MIXTURES {
        let mut torn = vec![0; whole.len()];
        for sector in 0..=(end - 1 + shift) / SECTOR {
            if random.bool() {
                torn[span(sector)].copy_from_slice(&whole[span(sector)]);
            }
        }
        log.crash(durable, &torn, random.u8(..) < 25);
    }
}

#[test]
fn whatever_a_power_cut_leaves_what_was_flushed_is_recovered() {
    let begun = Instant::now();
    let (run, mut log, mut random) = (record_run(), Log::new("crash-points"), Rng::with_seed(1));
    let mut durable = SEGMENT_HEAD_BYTES;
    let mut unflushed: Vec<&Write> = Vec::new();
    for event in &run {
        match event {
            Some(write) => {
                log.sent.extend(&write.records);
                unflushed.push(write);
                tear(&mut log, durable, &unflushed, &mut random);
            }
            None => {
                log.file.set_len(durable as u64).expect("cut");
                for write in unflushed.drain(..) {
                    log.file.write_all_at(&write.bytes, write.at as u64).expect("written");
                    log.flushed.extend(&write.records);
                    durable = write.at + write.bytes.len();
                }
            }
        }
    }
    let took = begun.elapsed().max(Duration::from_millis(1));
    println!("{} crash points in {} ms", log.points, took.as_millis());
    assert!(log.points >= 10_000, "only {} crash points", log.points);
    assert!(run.iter().filter(|event| event.is_none()).count() > 20, "it was flushed now and then");
}

/// Frames of a few claims, and their digests.
fn frames(from: u64, count: u64) -> (Vec<u8>, BTreeSet<Digest>) {
    let (mut bytes, mut digests) = (Vec::new(), BTreeSet::new());
    for number in from..from + count {
        let text = "x".repeat(number as usize * 37 % 300);
        let mut draft = Draft::new(format!("s{number}"), "p".into(), Object::Text(text));
        draft.timestamp = Some(number);
        let sealed = draft.check(&mut HlcClock::new(NodeId::NONE), Wall(0)).expect("good").seal();
        digests.insert(sealed.digest());
        encode(&sealed.digest(), sealed.bytes(), &mut bytes);
    }
    (bytes, digests)
}

/// What a power cut may leave of the file of a new segment before its first flush, of which these
/// are all bytes: no entry in the directory, any prefix, with zeros behind it or nothing, single
/// sectors missing.
fn torn_files(whole: &[u8]) -> Vec<Option<Vec<u8>>> {
    let mut states = vec![None];
    for cut in (0..=whole.len()).step_by(7) {
        let mut zeros = whole[..cut].to_vec();
        zeros.resize(whole.len() + AHEAD, 0);
        states.extend([Some(whole[..cut].to_vec()), Some(zeros)]);
    }
    for sector in (0..whole.len()).step_by(SECTOR) {
        let mut torn = whole.to_vec();
        torn[sector..(sector + SECTOR).min(whole.len())].fill(0);
        states.push(Some(torn));
    }
    states
}

#[test]
fn a_power_cut_while_a_segment_follows_another_costs_nothing_that_was_flushed() {
    let begun = Instant::now();
    let mut random = Rng::with_seed(4);
    let mut points = 0;
    for round in 0..4 {
        let mut log = Log::new("crash-segments");
        let (old, flushed) = frames(round * 100, 6 + round);
        let (new, unflushed) = frames(round * 100 + 50, 1 + round);
        let end = SEGMENT_HEAD_BYTES + old.len();
        let whole = [&segment_head(1, end as u32)[..], &new].concat();
        log.sent = &flushed | &unflushed;
        log.flushed = flushed;
        let path = segment_path(&log.folder.log(), 1);
        for state in torn_files(&whole) {
            // The old segment was cut to its last frame; without the flush of that, perhaps not.
            for ahead in [0, AHEAD] {
                match &state {
                    Some(bytes) => fs::write(&path, bytes).expect("written"),
                    None => drop(fs::remove_file(&path)),
                }
                let old = [&old[..], &vec![0; ahead]].concat();
                log.crash(SEGMENT_HEAD_BYTES, &old, random.u8(..) < 64);
            }
        }
        // Once it is flushed, all of it stays, and what follows may be torn as ever.
        log.flushed = log.sent.clone();
        let (more, sent) = frames(round * 100 + 70, 2);
        log.sent.extend(sent);
        for cut in (0..more.len()).step_by(31) {
            fs::write(&path, [&whole[..], &more[..cut]].concat()).expect("written");
            log.crash(SEGMENT_HEAD_BYTES, &old, cut % 2 == 0);
        }
        points += log.points;
    }
    println!("{points} crash points in {} ms", begun.elapsed().as_millis());
    assert!(points > 1000, "only {points} crash points");
}
