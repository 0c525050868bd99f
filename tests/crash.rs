//! A journal of twenty records, cut at every byte and with every bit flipped: recovery keeps every
//! record but the one that was hit, always notices, and never hands out a wrong one.

mod folder;

use std::fs;
use std::path::{Path, PathBuf};

use folder::Folder;
use stemedb_edge::base::{HlcClock, Moment, NodeId, Ticket, Wall};
use stemedb_edge::commands::check;
use stemedb_edge::journal::record::{FRAME_HEAD_BYTES, SEGMENT_HEAD_BYTES, frame_bytes};
use stemedb_edge::journal::{Bodies, CommitQueue, Config, Output, Position};
use stemedb_edge::model::{Draft, Object, Sealed};
use stemedb_edge::shell::disk::{
    Directory, Disk, Reader, Recovered, node_id, recover, segment_path,
};

const RECORDS: u64 = 20;

impl Folder {
    fn segment(&self) -> PathBuf {
        segment_path(&self.log(), 0)
    }

    fn recover(&self, repair: bool) -> (Vec<Sealed>, Recovered) {
        let mut found = Vec::new();
        let recovered = recover(&self.log(), repair, |committed| {
            found.push(committed.sealed().clone());
        });
        (found, recovered.expect("damage stops no start"))
    }
}

fn claim(number: u64) -> Sealed {
    let mut draft = Draft::new(format!("subject {number}"), "p".into(), Object::Number(0.5));
    draft.timestamp = Some(number);
    draft.check(&mut HlcClock::new(NodeId::NONE), Wall(0)).expect("a good draft").seal()
}

/// Writes claims through queue and disk thread, one flush each, and closes well.
fn write(folder: &Path, tail: Position, used: u64, claims: impl Iterator<Item = u64>) {
    let directory = Directory::open(folder).expect("an unlocked directory");
    let disk = Disk::start(&directory, tail).expect("a writable directory");
    let mut queue = CommitQueue::new(Config::default(), tail, used);
    for number in claims {
        queue.enqueue(claim(number), Ticket(number)).expect("the queue is not full");
        queue.handle_timeout(Moment::ZERO);
        while let Some(output) = queue.poll_output() {
            if let Output::Work(work) = output {
                disk.submit(work);
                let report = futures_lite::future::block_on(disk.report()).expect("a good disk");
                queue.handle_done(Moment::ZERO, report.done);
            }
        }
    }
    disk.stop();
}

/// The bytes of a whole journal, and where each frame starts; the last entry is the end.
fn journal(name: &str) -> (Folder, Vec<u8>, Vec<usize>) {
    let folder = Folder::new(name);
    write(&folder.0, Position::first_of(0), 0, 0..RECORDS);
    let bytes = fs::read(folder.segment()).expect("a segment");
    let mut starts = vec![SEGMENT_HEAD_BYTES];
    for number in 0..RECORDS {
        let start = starts.last().expect("never empty");
        starts.push(start + frame_bytes(claim(number).bytes().len()));
    }
    assert_eq!(bytes.len(), starts[RECORDS as usize], "a closed segment ends with its last frame");
    (folder, bytes, starts)
}

/// Where a record ends, its padding not counted.
fn payload_end(starts: &[usize], number: u64) -> usize {
    starts[number as usize] + FRAME_HEAD_BYTES + claim(number).bytes().len()
}

#[test]
fn a_journal_cut_anywhere_keeps_what_was_whole() {
    let (folder, bytes, starts) = journal("cut");
    for cut in 0..bytes.len() {
        fs::write(folder.segment(), &bytes[..cut]).expect("a writable segment");
        let (found, recovered) = folder.recover(false);
        let whole = (0..RECORDS).take_while(|number| payload_end(&starts, *number) <= cut).count();
        let expected: Vec<Sealed> = (0..whole as u64).map(claim).collect();
        assert_eq!(digests(&found), digests(&expected), "cut at {cut}");
        let noticed = recovered.torn_bytes > 0 || recovered.damages > 0;
        let rest = if cut < SEGMENT_HEAD_BYTES { 0 } else { starts[whole].min(cut) };
        let unfinished = bytes[rest..cut].iter().any(|byte| *byte != 0);
        assert_eq!(noticed, unfinished, "cut at {cut}: {recovered:?}");
    }
}

#[test]
fn after_a_cut_the_log_goes_on_where_it_was_whole() {
    let (folder, bytes, starts) = journal("go-on");
    for cut in starts[18]..starts[20] {
        fs::write(folder.segment(), &bytes[..cut]).expect("a writable segment");
        let (found, recovered) = folder.recover(true);
        write(&folder.0, recovered.tail, recovered.bytes, 100..102);
        let (after, again) = folder.recover(false);
        assert_eq!(digests(&after[..found.len()]), digests(&found), "cut at {cut}");
        assert_eq!(after.len(), found.len() + 2, "cut at {cut}");
        assert_eq!((again.damages, again.torn_bytes), (0, 0), "cut at {cut}");
    }
}

#[test]
fn every_flipped_bit_is_noticed_and_costs_one_record_at_most() {
    let (folder, bytes, starts) = journal("flip");
    let reader = Reader::new(&folder.0.join("log"));
    // All bits of the first frames, one of each byte after them.
    let bits = (0..bytes.len() * 8).filter(|bit| bit / 8 < starts[3] || bit % 8 == bit / 8 % 8);
    for bit in bits {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        fs::write(folder.segment(), &flipped).expect("a writable segment");
        let (found, recovered) = folder.recover(false);
        let hit = starts.iter().rposition(|start| *start <= bit / 8).map(|hit| hit as u64);
        let in_frame = hit.is_some_and(|hit| bit / 8 < payload_end(&starts, hit));
        let expected: Vec<Sealed> =
            (0..RECORDS).filter(|number| Some(*number) != hit || !in_frame).map(claim).collect();
        assert_eq!(digests(&found), digests(&expected), "bit {bit}");
        if in_frame || hit.is_none() {
            assert!(recovered.damages + recovered.torn_bytes > 0, "bit {bit}: {recovered:?}");
        }
        if let Some(hit) = hit.filter(|_| in_frame) {
            let served = reader.sealed_at(Position(starts[hit as usize] as u64));
            assert!(served.is_none(), "bit {bit}: a damaged record was served");
        }
    }
}

#[test]
fn a_directory_serves_one_process() {
    let folder = Folder::new("crash-lock");
    let held = Directory::open(&folder.0).expect("no process holds it");
    let verdict = check::check(&folder.0);
    let running = format!("in use by process {}", std::process::id());
    assert!(verdict.text.contains(&running), "{}", verdict.text);
    assert_eq!(verdict.code, check::WHOLE);
    let refused = Directory::open(&folder.0).expect_err("it is held").to_string();
    assert!(refused.contains(&std::process::id().to_string()), "{refused}");
    drop(held);
    assert!(!check::check(&folder.0).text.contains("in use"));
    let lock = folder.0.join("lock");
    let _held = Directory::open(&folder.0).expect("it is free again");
    assert_eq!(fs::metadata(&lock).expect("the lock").len(), 0, "a full disk has no byte for it");
}

#[test]
fn a_node_id_of_zeros_is_refused_as_the_flag_refuses_it() {
    let folder = Folder::new("crash-node-id");
    fs::write(folder.0.join("node-id"), "0".repeat(32)).expect("a writable directory");
    let why = node_id(&folder.0, None).expect_err("no node's id").to_string();
    assert!(why.contains("not all zeros"), "{why}");
    let made = NodeId([7; 16]);
    assert_eq!(node_id(&folder.0, Some(made)).expect("as configured"), made);
}

#[test]
fn check_tells_whole_from_damaged_from_unreadable() {
    let (folder, bytes, starts) = journal("check");
    let whole = check::check(&folder.0);
    assert_eq!(whole.code, check::WHOLE, "{}", whole.text);
    assert!(whole.text.contains("20 records"), "{}", whole.text);
    let mut flipped = bytes.clone();
    flipped[starts[3] + 50] ^= 1;
    fs::write(folder.segment(), flipped).expect("a writable segment");
    let damaged = check::check(&folder.0);
    assert_eq!(damaged.code, check::DAMAGED);
    let location = format!("segment 0 offset {}", starts[3]);
    assert!(damaged.text.contains(&location), "{}", damaged.text);
    assert_eq!(check::check(&folder.0.join("nowhere")).code, check::UNREADABLE);
}

fn digests(sealed: &[Sealed]) -> Vec<String> {
    sealed.iter().map(|sealed| sealed.digest().to_string()).collect()
}
