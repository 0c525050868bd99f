//! Disks that fail: full ones, ones that refuse a write or a flush, power cuts that keep any part
//! of what was not flushed, segments that shrink or vanish, directories of a newer build.

mod folder;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use folder::Folder;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use stemedb_edge::base::{Digest, HlcClock, Moment, NodeId, Ticket, Wall, limits};
use stemedb_edge::journal::record::{SEGMENT_HEAD_BYTES, VERSION, encode, segment_head};
use stemedb_edge::journal::{CommitQueue, Config, Output, Position};
use stemedb_edge::model::{Draft, Object, Sealed};
use stemedb_edge::shell::disk::{Directory, Disk, Recovered, recover, segment_path};

impl Folder {
    fn recover(&self, repair: bool) -> (Vec<Digest>, Recovered) {
        let mut found = Vec::new();
        let recovered = recover(&self.log(), repair, |committed| {
            found.push(committed.sealed().digest());
        });
        (found, recovered.expect("damage stops no start"))
    }
}

fn claim(number: u64) -> Sealed {
    let text = "x".repeat(usize::try_from(number % 7).expect("small") * 40);
    let mut draft = Draft::new(format!("subject {number}"), "p".into(), Object::Text(text));
    draft.timestamp = Some(number);
    draft.check(&mut HlcClock::new(NodeId::NONE), Wall(0)).expect("a good draft").seal()
}

/// Offers one claim and waits for its fate.
fn offer(queue: &mut CommitQueue, disk: &Disk, sealed: Sealed) -> bool {
    queue.enqueue(sealed, Ticket(0)).expect("the queue is not full");
    queue.handle_timeout(Moment::ZERO);
    let mut kept = false;
    while let Some(output) = queue.poll_output() {
        match output {
            Output::Work(work) => {
                disk.submit(work);
                let report = futures_lite::future::block_on(disk.report()).expect("no fault");
                queue.handle_done(Moment::ZERO, report.done);
            }
            Output::Committed(..) => kept = true,
            Output::Refused(..) => kept = false,
        }
    }
    kept
}

/// A process of its own: the limit is on all its files, and the signal that comes with it must be
/// ignored from outside.
#[test]
fn a_full_disk_refuses_and_comes_back() {
    const CHILD: &str = "STEMEDB_FAULTS_CHILD";
    if std::env::var_os(CHILD).is_none() {
        let this = std::env::current_exe().expect("a running test");
        let script = r#"trap "" XFSZ; exec "$0" --exact a_full_disk_refuses_and_comes_back"#;
        let status = Command::new("sh").args(["-c", script]).arg(this).env(CHILD, "1").status();
        assert!(status.expect("a shell").success());
        return;
    }
    let folder = Folder::new("faults-full");
    let directory = Directory::open(&folder.0).expect("an unlocked directory");
    let disk = Disk::start(&directory, Position::first_of(0)).expect("a writable directory");
    let mut queue = CommitQueue::new(Config::default(), Position::first_of(0), 0);
    let before = getrlimit(Resource::Fsize);
    let mut kept = Vec::new();
    for (round, limit) in [70_001, 90_003].into_iter().enumerate() {
        setrlimit(Resource::Fsize, Rlimit { current: Some(limit), maximum: before.maximum })
            .expect("a lower limit");
        let start = round as u64 * 10_000;
        let full = (start..).find(|number| {
            let fits = offer(&mut queue, &disk, claim(*number));
            if fits {
                kept.push(claim(*number).digest());
            }
            !fits
        });
        assert!(full.expect("it fills up") > start + 10, "at least ten records fit");
        assert!(limit - queue.log_bytes() < 1000, "the space was used");
        let (found, recovered) = folder.recover(false);
        assert_eq!((found, recovered.damages, recovered.torn_bytes), (kept.clone(), 0, 0));
    }
    setrlimit(Resource::Fsize, before).expect("the limit of before");
    assert!(offer(&mut queue, &disk, claim(99_999)), "there is space again");
    kept.push(claim(99_999).digest());
    disk.stop();
    assert_eq!(folder.recover(false).0, kept);
}

#[test]
fn a_failed_write_and_a_failed_flush_are_the_end() {
    // Nothing is mapped at these addresses: an I/O error. The other takes all and flushes nothing.
    for (device, doing) in [("/proc/self/mem", "writing"), ("/dev/null", "syncing")] {
        let folder = Folder::new(doing);
        symlink(device, segment_path(&folder.log(), 0)).expect("a link");
        let directory = Directory::open(&folder.0).expect("an unlocked directory");
        let disk = Disk::start(&directory, Position::first_of(0)).expect("it opens");
        let mut queue = CommitQueue::new(Config::default(), Position::first_of(0), 0);
        queue.enqueue(claim(1), Ticket(1)).expect("the queue is not full");
        queue.handle_timeout(Moment::ZERO);
        let Some(Output::Work(work)) = queue.poll_output() else { panic!("a write") };
        disk.submit(work);
        let fault = futures_lite::future::block_on(disk.report()).expect_err("it fails");
        assert_eq!(fault.doing, doing, "{fault}");
        disk.stop();
    }
}

/// Batches flushed one after the other; the last is not flushed, and the power goes: any of its
/// sectors may be old or new, its last one torn anywhere.
#[test]
fn a_power_cut_costs_nothing_that_was_flushed() {
    let folder = Folder::new("faults-power");
    let mut random = fastrand::Rng::with_seed(11);
    let mut cuts = 0;
    for round in 0..1500 {
        let mut bytes = segment_head(0, 0).to_vec();
        let flushed: Vec<Sealed> = (0..random.u64(0..12)).map(claim).collect();
        for sealed in &flushed {
            encode(&sealed.digest(), sealed.bytes(), &mut bytes);
        }
        let start = bytes.len();
        let sent: Vec<Sealed> = (100..100 + random.u64(1..12)).map(claim).collect();
        for sealed in &sent {
            encode(&sealed.digest(), sealed.bytes(), &mut bytes);
        }
        let sector = [1, 8, 64, 512][random.usize(..4)];
        for from in (start..bytes.len()).step_by(sector) {
            if random.bool() {
                let end = (from + sector).min(bytes.len());
                let torn = random.usize(from..end);
                bytes[torn..end].fill(0);
            }
        }
        bytes.resize(bytes.len() + random.usize(..4096), 0);
        fs::write(segment_path(&folder.log(), 0), &bytes).expect("a writable segment");
        let (found, recovered) = folder.recover(true);
        let acknowledged: Vec<Digest> = flushed.iter().map(Sealed::digest).collect();
        assert_eq!(found[..flushed.len()], acknowledged, "round {round}");
        let sent: BTreeSet<Digest> = sent.iter().map(Sealed::digest).collect();
        assert!(found[flushed.len()..].iter().all(|one| sent.contains(one)), "round {round}");
        let (again, after) = folder.recover(false);
        assert_eq!((again, after.torn_bytes, after.tail), (found, 0, recovered.tail));
        cuts += 1;
    }
    assert_eq!(cuts, 1500);
}

/// Three segments of five records each; the ends of the segments.
fn three_segments(folder: &Folder) -> Vec<usize> {
    let mut ends = vec![0];
    for number in 0..3 {
        let before = u32::try_from(ends[ends.len() - 1]).expect("small");
        let mut bytes = segment_head(number, before).to_vec();
        for sealed in (number * 5..number * 5 + 5).map(claim) {
            encode(&sealed.digest(), sealed.bytes(), &mut bytes);
        }
        fs::write(segment_path(&folder.log(), number), &bytes).expect("a segment");
        ends.push(bytes.len());
    }
    ends.split_off(1)
}

fn claims(numbers: impl Iterator<Item = u64>) -> Vec<Digest> {
    numbers.map(|number| claim(number).digest()).collect()
}

#[test]
fn a_closed_segment_that_shrinks_is_noticed_at_every_length() {
    let folder = Folder::new("faults-shrink");
    let ends = three_segments(&folder);
    let path = segment_path(&folder.log(), 1);
    let bytes = fs::read(&path).expect("a segment");
    for length in 0..ends[1] {
        fs::write(&path, &bytes[..length]).expect("a writable segment");
        let (found, recovered) = folder.recover(false);
        let padding = bytes[length..].iter().all(|byte| *byte == 0);
        assert!(recovered.damages > 0 || padding, "cut at {length}: {recovered:?}");
        let first = claims(0..5);
        let last = claims(10..15);
        assert!(found.starts_with(&first) && found.ends_with(&last), "cut at {length}");
    }
}

#[test]
fn a_segment_that_vanished_is_noticed() {
    for lost in 0..2 {
        let folder = Folder::new(&format!("faults-vanish-{lost}"));
        three_segments(&folder);
        fs::remove_file(segment_path(&folder.log(), lost)).expect("it was there");
        let (found, recovered) = folder.recover(true);
        assert_eq!(found, claims((0..15).filter(|number| number / 5 != lost)));
        assert_eq!(recovered.damages, 1, "{recovered:?}");
        assert_eq!(recovered.damages_listed[0].at.segment(), lost);
    }
}

#[test]
fn a_directory_of_a_newer_build_is_left_as_it_is() {
    let folder = Folder::new("faults-newer");
    three_segments(&folder);
    // What a start would repair: a head in the first segment, the tail of the last.
    let mut first = fs::read(segment_path(&folder.log(), 0)).expect("a segment");
    first[3] ^= 1;
    fs::write(segment_path(&folder.log(), 0), &first).expect("a writable segment");
    let mut last = fs::read(segment_path(&folder.log(), 2)).expect("a segment");
    last.truncate(last.len() - 20);
    last[8..12].copy_from_slice(&(VERSION + 1).to_le_bytes());
    let sum = crc32c::crc32c(&last[..SEGMENT_HEAD_BYTES - 4]);
    last[SEGMENT_HEAD_BYTES - 4..SEGMENT_HEAD_BYTES].copy_from_slice(&sum.to_le_bytes());
    fs::write(segment_path(&folder.log(), 2), &last).expect("a writable segment");
    let refused = recover(&folder.log(), true, |_| panic!("nothing is handed out"));
    let why = refused.expect_err("a newer format").to_string();
    assert!(why.contains("format version 2") && why.contains("0000000002.seg"), "{why}");
    assert_eq!(fs::read(segment_path(&folder.log(), 0)).expect("a segment"), first);
    assert_eq!(fs::read(segment_path(&folder.log(), 2)).expect("a segment"), last);
}

#[test]
fn a_small_budget_is_not_exceeded_by_preallocation() {
    let folder = Folder::new("faults-budget");
    let directory = Directory::open(&folder.0).expect("an unlocked directory");
    let disk = Disk::start(&directory, Position::first_of(0)).expect("a writable directory");
    let config = Config { bytes_max: Some(limits::LOG_BYTES_MIN), ..Config::default() };
    let mut queue = CommitQueue::new(config, Position::first_of(0), 0);
    let mut number = 0;
    while queue.enqueue(claim(number), Ticket(0)).is_ok() {
        number += 1;
        queue.handle_timeout(Moment::ZERO);
        while let Some(output) = queue.poll_output() {
            if let Output::Work(work) = output {
                disk.submit(work);
                let report = futures_lite::future::block_on(disk.report()).expect("no fault");
                queue.handle_done(Moment::ZERO, report.done);
            }
        }
    }
    let size = fs::metadata(segment_path(&folder.log(), 0)).expect("a segment").len();
    assert_eq!(size, limits::LOG_BYTES_MIN, "zeros up to the budget, not past it");
    assert!(limits::LOG_BYTES_MIN - queue.log_bytes() < 600, "the budget was used");
    disk.stop();
}
