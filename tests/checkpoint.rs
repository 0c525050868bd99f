//! The index kept beside the log: taken for what it is where nothing changed, left alone where
//! anything did.

mod folder;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use folder::Folder;
use stemedb_edge::base::{HlcClock, NodeId, Secret, Wall, limits};
use stemedb_edge::commands::check;
use stemedb_edge::journal::damage::Damage;
use stemedb_edge::journal::record::{self, SEGMENT_HEAD_BYTES, segment_head};
use stemedb_edge::journal::{Bodies, Committed, Position};
use stemedb_edge::model::{Draft, Object, Sealed};
use stemedb_edge::shell::disk::{
    Checkpoint, Reader, Recovered, recover, recover_from, segment_path,
};
use stemedb_edge::sketch::SketchKey;
use stemedb_edge::store::{Applied, RowKey, Store};

const RECORDS: u64 = 3000;
/// Rows of a run; the last one is shorter.
const SPILL_ROWS: usize = 700;

impl Folder {
    /// A log of two segments.
    fn filled(name: &str) -> Folder {
        let folder = Folder::new(&format!("checkpoint-{name}"));
        let first = frames(0..RECORDS / 2);
        let end = (SEGMENT_HEAD_BYTES + first.len()) as u32;
        folder.write(0, &[segment_head(0, 0).as_slice(), &first].concat());
        let second = frames(RECORDS / 2..RECORDS);
        folder.write(1, &[segment_head(1, end).as_slice(), &second].concat());
        folder
    }

    fn write(&self, segment: u64, bytes: &[u8]) {
        fs::write(segment_path(&self.log(), segment), bytes).expect("written");
    }

    fn append(&self, segment: u64, bytes: &[u8]) {
        let path = segment_path(&self.log(), segment);
        let length = fs::metadata(&path).expect("there").len();
        self.overwrite(path, length, bytes);
    }

    fn overwrite(&self, path: PathBuf, at: u64, bytes: &[u8]) {
        let file = fs::OpenOptions::new().write(true).open(path).expect("opened");
        file.write_all_at(bytes, at).expect("written");
    }

    /// One bit of a file, the other way round.
    fn flip(&self, path: PathBuf, at: u64) {
        let byte = fs::read(&path).expect("read")[at as usize];
        self.overwrite(path, at, &[byte ^ 1]);
    }

    fn checkpoint(&self) -> Checkpoint {
        Checkpoint::new(&self.0, SketchKey::new(None))
    }

    fn manifest(&self) -> PathBuf {
        self.0.join("index/manifest")
    }

    /// The files of runs.
    /// Makes the manifest one of this version, as far as that is the same: up to the tree.
    fn set_version(&self, version: u32) {
        let mut bytes = fs::read(self.manifest()).expect("a manifest");
        bytes.truncate(bytes.len() - 32);
        bytes[8..12].copy_from_slice(&version.to_le_bytes());
        let digest = blake3::hash(&bytes);
        bytes.extend_from_slice(digest.as_bytes());
        fs::write(self.manifest(), bytes).expect("written");
    }

    fn runs(&self) -> Vec<PathBuf> {
        let found = fs::read_dir(self.0.join("index")).expect("an index");
        let mut runs: Vec<PathBuf> = found.map(|entry| entry.expect("read").path()).collect();
        runs.retain(|path| path.extension().is_some_and(|it| it == "run"));
        runs
    }

    fn segment(&self, number: u64) -> PathBuf {
        segment_path(&self.log(), number)
    }

    /// Reads the log and keeps the index.
    fn keep(&self) -> (Recovered, Store) {
        let reader = Reader::new(&self.log());
        let mut store = Store::new(7).spilling_after(SPILL_ROWS);
        let checkpoint = self.checkpoint();
        let recovered = recover(&self.log(), true, |committed| {
            store.apply(&committed, &reader);
            if let Some(mut spill) = store.spill() {
                store.adopt(checkpoint.spill(&mut spill).expect("written"));
            }
        });
        store.update_sketch();
        let mut rest = store.spill_all().expect("some rows are left");
        store.adopt(checkpoint.spill(&mut rest).expect("written"));
        (recovered.expect("a good log"), store)
    }

    fn root(&self, store: &mut Store) -> String {
        let root = std::iter::from_fn(|| Some(store.root_step(1 << 20, store.rows())));
        root.flatten().next().expect("it ends").digest.to_string()
    }
}

fn claim(number: u64) -> Sealed {
    let subject = format!("subject {}", number % 300);
    let mut draft = Draft::new(subject, format!("p{}", number % 7), Object::Number(0.5));
    draft.timestamp = Some(number);
    draft.check(&mut HlcClock::new(NodeId::NONE), Wall(0)).expect("a good draft").seal()
}

/// The frames of some claims.
fn frames(numbers: std::ops::Range<u64>) -> Vec<u8> {
    let mut frames = Vec::new();
    for sealed in numbers.map(claim) {
        record::encode(&sealed.digest(), sealed.bytes(), &mut frames);
    }
    frames
}

#[test]
fn a_kept_index_is_the_index_and_goes_on_where_it_was() {
    let folder = Folder::filled("same");
    let (recovered, mut store) = folder.keep();
    let (whole, mut again) = folder.checkpoint().load().fitting().expect("nothing changed");
    assert_eq!(whole, recovered);
    assert_eq!((again.len(), again.memory().sketch), (RECORDS, store.memory().sketch));
    assert_eq!(folder.root(&mut again), folder.root(&mut store));
    assert_eq!(again.sketch().cells(0, 100), store.sketch().cells(0, 100));
    folder.append(1, &frames(RECORDS..RECORDS + 100));
    let (whole, mut again) = folder.checkpoint().load().fitting().expect("only more of it");
    let reader = Reader::new(&folder.log());
    let log = folder.log();
    let mut read = 0;
    let resumed = recover_from(&log, true, Some(whole), |committed: Committed| {
        read += 1;
        let applied = again.apply(&committed, &reader);
        assert!(matches!(applied, Applied::New(_)), "a new one");
    });
    let resumed = resumed.expect("a good log");
    assert_eq!(read, 100, "what was known is not read");
    let mut full = Store::new(8);
    let recovered = recover(&log, true, |committed| {
        full.apply(&committed, &reader);
    });
    assert_eq!(resumed, recovered.expect("a good log"));
    assert_eq!(folder.root(&mut again), folder.root(&mut full));
    for number in 0..RECORDS + 100 {
        let digest = claim(number).digest();
        assert_eq!(again.find(&digest, &reader), full.find(&digest, &reader), "claim {number}");
    }
    let rows = |store: &Store| {
        let mut walk = store.select([RowKey::Subject("subject 7"), RowKey::Predicate("p0")], None);
        // Rows in memory may be listed although they do not have both names.
        let is_it = |at: Position| {
            let sealed = reader.sealed_at(at).expect("a good log");
            sealed.names() == Some(("subject 7", "p0"))
        };
        std::iter::from_fn(|| store.next_candidate(&mut walk))
            .filter(|(_, at)| is_it(*at))
            .collect::<Vec<_>>()
    };
    let found = rows(&again);
    assert!(found.len() > 1, "{found:?}");
    assert_eq!(found, rows(&full));
}

/// How many reads the calling thread has made.
#[cfg(target_os = "linux")]
fn reads() -> u64 {
    let io = fs::read_to_string("/proc/thread-self/io").expect("a kernel that counts them");
    let count = io.lines().find_map(|line| line.strip_prefix("syscr: ")).expect("a count");
    count.parse().expect("a number")
}

#[test]
#[cfg(target_os = "linux")]
fn an_open_segment_is_compared_page_by_page() {
    let folder = Folder::filled("pages");
    folder.keep();
    folder.append(1, &frames(RECORDS..RECORDS + 1));
    let before = reads();
    assert!(folder.checkpoint().load().fitting().is_some(), "only more of it");
    let count = reads() - before;
    assert!(count < RECORDS / 4, "{count} reads for a segment of {} records", RECORDS / 2);
}

#[test]
fn what_changed_behind_its_back_is_read_again() {
    let is_trusted = |folder: &Folder| folder.checkpoint().load().fitting().is_some();
    let folder = Folder::filled("changed");
    assert!(!is_trusted(&folder), "there is none");
    let (recovered, _) = folder.keep();
    assert!(is_trusted(&folder));
    let length = fs::metadata(folder.manifest()).expect("there").len();
    assert!(length < 600_000, "{length} bytes beside 3,000 rows: zeros are counted, not written");
    for at in (0..length).step_by(length as usize / 97) {
        folder.flip(folder.manifest(), at);
        assert!(!is_trusted(&folder), "byte {at} of the manifest");
        folder.flip(folder.manifest(), at);
    }
    assert!(is_trusted(&folder));
    let runs = folder.runs();
    assert_eq!(runs.len(), 5, "four of 700 rows and one of 200");
    for run in runs {
        let length = fs::metadata(&run).expect("there").len();
        for at in [0, 8, 12, 16, 20, 24, length - 300, length - 40, length - 1] {
            folder.flip(run.clone(), at);
            assert!(!is_trusted(&folder), "byte {at} of {}", run.display());
            folder.flip(run.clone(), at);
        }
        let away = run.with_extension("away");
        fs::rename(&run, &away).expect("moved");
        assert!(!is_trusted(&folder), "a run is gone");
        fs::rename(&away, &run).expect("moved back");
    }
    assert!(is_trusted(&folder));
    let other = Secret::new("another").expect("a good secret");
    let other = Checkpoint::new(&folder.0, SketchKey::new(Some(&other)));
    assert!(other.load().fitting().is_none(), "another key");
    for segment in [0, 1] {
        folder.flip(folder.segment(segment), 5000);
        assert!(!is_trusted(&folder), "a damaged record in segment {segment}");
        folder.flip(folder.segment(segment), 5000);
        folder.keep();
    }
    let second = fs::read(folder.segment(1)).expect("read");
    let swapped = [frames(RECORDS / 2 + 1..RECORDS / 2 + 2), frames(RECORDS / 2..RECORDS / 2 + 1)];
    folder.overwrite(folder.segment(1), SEGMENT_HEAD_BYTES as u64, &swapped.concat());
    assert!(!is_trusted(&folder), "two records changed places");
    folder.write(1, &second);
    assert!(is_trusted(&folder), "as it was, at another time");
    folder.append(1, &frames(RECORDS..RECORDS + 1));
    assert!(is_trusted(&folder), "more of the log");
    let file = fs::OpenOptions::new().write(true).open(folder.segment(1)).expect("opened");
    file.set_len(recovered.tail.offset() - 8).expect("cut");
    assert!(!is_trusted(&folder), "less of the log");
    fs::remove_file(folder.segment(0)).expect("removed");
    assert!(!is_trusted(&folder), "a segment is gone");
}

#[test]
fn a_page_that_its_file_does_not_take_is_kept_in_memory() {
    let folder = Folder::filled("unwritable");
    let (_, mut store) = folder.keep();
    let root = folder.root(&mut store);
    let reader = Reader::new(&folder.log());
    let (_, again) = folder.checkpoint().load().fitting().expect("nothing changed");
    for run in folder.runs() {
        folder.flip(run.clone(), 40);
        // Where the file has no name it cannot be opened for writing.
        fs::rename(&run, run.with_extension("away")).expect("renamed");
    }
    for number in 0..RECORDS {
        let digest = claim(number).digest();
        assert_eq!(again.find(&digest, &reader), store.find(&digest, &reader), "claim {number}");
    }
    assert_eq!(folder.root(&mut store), root);
}

#[test]
fn a_cut_index_is_none() {
    let folder = Folder::filled("cut");
    folder.keep();
    for path in [folder.manifest(), folder.runs().remove(0)] {
        let bytes = fs::read(&path).expect("read");
        for length in [0, 7, 31, 32, 33, 1000, bytes.len() / 2, bytes.len() - 1] {
            fs::write(&path, &bytes[..length]).expect("written");
            assert!(
                folder.checkpoint().load().fitting().is_none(),
                "{length} bytes of {}",
                path.display()
            );
        }
        fs::write(&path, bytes).expect("written");
    }
    assert!(folder.checkpoint().load().fitting().is_some());
    folder.checkpoint().keep_only(&[]).expect("cleared");
    assert!(folder.runs().is_empty() && !folder.manifest().exists());
}

/// What a start finds missing of the log.
fn lost(folder: &Folder) -> (Recovered, bool) {
    let reader = Reader::new(&folder.log());
    let evidence = folder.checkpoint().evidence();
    let mut store = Store::new(9);
    let recovered = recover(&folder.log(), true, |committed| {
        store.apply(&committed, &reader);
    });
    let mut recovered = recovered.expect("damage stops no start");
    let is_kept = folder.checkpoint().find_lost(evidence, (&store, &reader), &mut recovered);
    (recovered, is_kept)
}

#[test]
fn what_the_log_lost_is_known_by_name_from_the_index() {
    // Everything, the second half of a segment, a segment in the middle and at the end, a range.
    let cut = |folder: &Folder, number, length| {
        let path = folder.segment(number);
        let file = fs::OpenOptions::new().write(true).open(path).expect("opened");
        file.set_len(length).expect("cut");
    };
    type Spoil<'a> = &'a dyn Fn(&Folder);
    let spoils: [(&str, Spoil<'_>); 5] = [
        ("all", &|folder| (0..2).for_each(|number| cut(folder, number, 0))),
        ("half", &|folder| cut(folder, 1, 100_000)),
        ("first", &|folder| fs::remove_file(folder.segment(0)).expect("removed")),
        ("last", &|folder| fs::remove_file(folder.segment(1)).expect("removed")),
        ("range", &|folder| folder.overwrite(folder.segment(0), 5016, &[0xa5; 4096])),
    ];
    // The start after an upgrade finds the manifest of the version before.
    let versions = spoils.into_iter().flat_map(|spoil| [(spoil, 3), (spoil, 2)]);
    for ((name, spoil), version) in versions {
        let folder = Folder::filled(&format!("lost-{name}-{version}"));
        folder.keep();
        folder.set_version(version);
        assert_eq!(lost(&folder).0.damages, 0, "{name}: all is there");
        let whole = fs::read(folder.segment(1)).expect("read");
        spoil(&folder);
        let verdict = check::check(&folder.0);
        assert_eq!(verdict.code, check::DAMAGED, "{name}: {}", verdict.text);
        let (found, is_written_down) = lost(&folder);
        let here = found.records;
        assert!(is_written_down && here < RECORDS, "{name}: {here}");
        // A head holds no record.
        let (heads, records): (Vec<Damage>, Vec<Damage>) =
            found.damages_listed.iter().partition(|damage| damage.is_head());
        let count = found.damages - heads.len() as u64;
        assert_eq!(here + count, RECORDS, "{name}: each is one damage");
        assert!(records.iter().all(|it| it.digest.is_some()), "{name}: each has its name");
        // The index is made anew now; what it knew is not forgotten.
        folder.checkpoint().keep_only(&[]).expect("removed");
        let again = lost(&folder).0;
        let named = again.damages_listed.iter().filter(|it| it.digest.is_some()).count();
        assert!(named + 1 >= records.len(), "{name}: {named} of {}", records.len());
        assert!(again.damages >= count, "{name}: a range may be listed as well");
        assert_eq!(check::check(&folder.0).code, check::DAMAGED, "{name}");
        if name == "half" {
            folder.write(1, &whole);
            let again = lost(&folder).0;
            assert_eq!((again.damages, again.records), (0, RECORDS), "all came back");
            assert!(!folder.0.join("lost").exists());
            assert_eq!(check::check(&folder.0).code, check::WHOLE);
        }
    }
}

#[test]
fn an_index_with_a_lost_record_is_not_kept() {
    let folder = Folder::filled("lost");
    let (recovered, mut store) = folder.keep();
    folder.flip(folder.segment(1), 5000);
    let reader = Reader::new(&folder.log());
    let offsets = (0..limits::SEGMENT_BYTES_MAX).step_by(8).map(|at| Position((64 << 20) + at));
    let lost = offsets.take(1000).find_map(|at| store.quarantine(at, &reader));
    assert!(lost.is_some(), "it was one of the first");
    assert!(folder.manifest().exists());
    folder.append(1, &frames(RECORDS..RECORDS + 1));
    let tail = recovered.tail;
    let resumed = recover_from(&folder.log(), true, Some(recovered), |committed| {
        store.apply(&committed, &reader);
    });
    assert_eq!(resumed.expect("a readable log").records, RECORDS + 1);
    let mut spill = store.spill_all().expect("a row");
    assert!(spill.state.is_none(), "it is not whole");
    let run = folder.checkpoint().spill(&mut spill).expect("no fault");
    store.adopt(run);
    assert!(!folder.manifest().exists(), "the one that was there speaks of a record that is none");
    assert_eq!(store.find(&claim(RECORDS).digest(), &reader), Some(tail));
}

/// The node that saves it was started under another key, and changed it since.
#[test]
fn an_index_is_kept_under_the_key_that_its_sketch_has() {
    let folder = Folder::filled("rekey");
    let (_, mut store) = folder.keep();
    let key = SketchKey::new(Some(&Secret::new("another").expect("a secret")));
    store.begin_rekey(key);
    while !store.rekey_step(100) {}
    folder.checkpoint().save(&store.state().expect("all is in runs")).expect("written");
    assert!(folder.checkpoint().load().fitting().is_none(), "the old key reads it wrong");
    let again = Checkpoint::new(&folder.0, key).load().fitting();
    let (_, again) = again.expect("nothing changed");
    assert_eq!(again.sketch().cells(0, 100), store.sketch().cells(0, 100));
}
