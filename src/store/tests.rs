//! The store against plain collections: same rows, same leaves, same root, whatever the order.

mod attributes;
mod rebuild;
mod set;
mod walk;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::sync::Mutex;

use bytes::Bytes;

use super::*;
use crate::base::stream::{Sink, Source};
use crate::base::{HlcClock, NodeId, Wall};
use crate::model::{Draft, Object, Sealed};

/// Bodies in memory, and how often a hash was read.
#[derive(Default)]
struct BodiesInMemory {
    sealed: BTreeMap<u64, Sealed>,
    /// What the heads of damaged records say.
    heads: BTreeMap<u64, Digest>,
    read: Cell<usize>,
}

impl Bodies for BodiesInMemory {
    fn digest_at(&self, at: Position) -> Option<Digest> {
        self.read.set(self.read.get() + 1);
        let head = self.heads.get(&at.0).copied();
        head.or_else(|| self.sealed.get(&at.0).map(Sealed::digest))
    }

    fn sealed_at(&self, at: Position) -> Option<Sealed> {
        self.sealed.get(&at.0).cloned()
    }
}

thread_local! {
    /// How often files of runs were read by the test of this thread.
    static READ: Cell<usize> = const { Cell::new(0) };
}

/// The file of a run.
#[derive(Debug, Default)]
struct RunFile {
    bytes: Mutex<Vec<u8>>,
    /// The log beside it, as position and bytes.
    log: BTreeMap<u64, Sealed>,
}

impl Pages for RunFile {
    fn read(&self, at: u64, into: &mut [u8]) -> bool {
        READ.set(READ.get() + 1);
        let bytes = self.bytes.lock().expect("one thread");
        let from = bytes.get(at as usize..).and_then(|rest| rest.get(..into.len()));
        from.is_some_and(|from| {
            into.copy_from_slice(from);
            true
        })
    }

    fn restore(&self, at: u64, page: &[u8]) {
        let mut bytes = self.bytes.lock().expect("one thread");
        bytes[at as usize..][..page.len()].copy_from_slice(page);
    }

    fn with_log(&self, see: &mut dyn FnMut(&dyn Bodies)) {
        see(&BodiesInMemory { sealed: self.log.clone(), ..BodiesInMemory::default() });
    }

    fn abandon(&self) -> ! {
        panic!("a page is not what was written")
    }
}

fn open(file: Vec<u8>) -> Option<Run> {
    open_beside(file, BTreeMap::new())
}

fn open_beside(file: Vec<u8>, log: BTreeMap<u64, Sealed>) -> Option<Run> {
    let length = file.len() as u64;
    Run::open(Box::new(RunFile { bytes: Mutex::new(file), log }), length)
}

/// Rows in memory before they become a run.
const SPILL_ROWS: usize = 150;
/// Rows that come while a run is written.
const WRITING_ROWS: usize = 40;

struct World {
    store: Store,
    bodies: BodiesInMemory,
    end: u64,
    writing: Option<Spill>,
    files: BTreeMap<Digest, Vec<u8>>,
}

impl World {
    fn new() -> World {
        World::spilling_after(SPILL_ROWS)
    }

    fn spilling_after(rows: usize) -> World {
        let store = Store::new(9).spilling_after(rows);
        World {
            store,
            bodies: BodiesInMemory::default(),
            end: 32,
            writing: None,
            files: BTreeMap::new(),
        }
    }

    /// Spills and adopts as a node does.
    fn work_on_runs(&mut self) {
        if let Some(spill) = self.store.spill() {
            self.writing = Some(spill);
        }
        if self.store.newest.len() >= WRITING_ROWS {
            self.finish_writing();
        }
    }

    fn finish_writing(&mut self) {
        if let Some(spill) = self.writing.take() {
            let run = self.write(&spill);
            self.store.adopt(run);
        }
    }

    fn write(&mut self, spill: &Spill) -> Run {
        let mut file = Vec::new();
        let name = spill.write(&mut Sink::new(&mut |bytes| file.extend_from_slice(bytes)));
        let run = open(file.clone()).expect("a run that was written");
        assert_eq!(run.name(), name);
        self.files.insert(name, file);
        run
    }

    fn add(&mut self, sealed: Sealed) -> bool {
        let position = Position(self.end);
        self.end += 400;
        self.bodies.sealed.insert(position.0, sealed.clone());
        let applied = self.store.apply(&Committed::recovered(position, sealed), &self.bodies);
        self.store.update_sketch();
        self.work_on_runs();
        matches!(applied, Applied::New(_))
    }

    /// An opaque record with a hash of our choice.
    fn add_hash(&mut self, hash: Digest) -> bool {
        self.add(Sealed::recovered(hash, Bytes::from_static(b"opaque")))
    }

    fn root(&mut self) -> Digest {
        let steps = std::iter::from_fn(|| Some(self.store.root_step(100, self.store.rows())));
        steps.take(10_000).flatten().next().expect("the root is done some time").digest
    }

    fn rows(
        &self,
        subject: Option<&str>,
        predicate: Option<&str>,
        before: Option<Row>,
    ) -> Vec<Row> {
        let keys = subject.map(RowKey::Subject).into_iter().chain(predicate.map(RowKey::Predicate));
        let mut candidates = self.store.select(keys, before);
        std::iter::from_fn(|| self.store.next_candidate(&mut candidates))
            .filter(|(row, at)| {
                assert_eq!(self.store.position(*row), Some(*at));
                let sealed = self.bodies.sealed_at(*at).expect("a row's body");
                let names = sealed.names();
                subject.is_none_or(|wanted| names.is_some_and(|names| names.0 == wanted))
                    && predicate.is_none_or(|wanted| names.is_some_and(|names| names.1 == wanted))
            })
            .map(|(row, _)| row)
            .collect()
    }
}

fn claim(subject: &str, predicate: &str, number: u64) -> Sealed {
    seal(draft(subject, predicate, number))
}

fn draft(subject: &str, predicate: &str, number: u64) -> Draft {
    let mut draft = Draft::new(subject.into(), predicate.into(), Object::Number(number as f64));
    draft.timestamp = Some(number);
    draft
}

fn seal(draft: Draft) -> Sealed {
    draft.check(&mut HlcClock::new(NodeId::NONE), Wall(0)).expect("a good draft").seal()
}

/// The definition, written down as it reads.
fn naive_root(hashes: &[Digest], depth: usize) -> Digest {
    if hashes.is_empty() {
        return Digest::ZERO;
    }
    if hashes.len() <= 64 {
        let mut bytes = vec![0];
        bytes.extend_from_slice(&(hashes.len() as u32).to_le_bytes());
        hashes.iter().for_each(|hash| bytes.extend_from_slice(&hash.0));
        return Digest::of(&bytes);
    }
    let (right, left): (Vec<Digest>, Vec<Digest>) = hashes.iter().partition(|hash| hash.bit(depth));
    let mut bytes = vec![1];
    bytes.extend_from_slice(&naive_root(&left, depth + 1).0);
    bytes.extend_from_slice(&naive_root(&right, depth + 1).0);
    Digest::of(&bytes)
}

fn sorted(hashes: &BTreeSet<Digest>) -> Vec<Digest> {
    hashes.iter().copied().collect()
}

/// Hashes of many shapes: random, and alike in their first bits.
fn hashes(seed: u64, count: usize, alike: usize) -> Vec<Digest> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut all = Vec::new();
    for _ in 0..count {
        let mut hash = Digest::default();
        random.fill(&mut hash.0);
        hash.0[..alike].fill(0xa5);
        all.push(hash);
    }
    all
}

#[test]
fn a_store_goes_on_with_the_runs_and_the_state_that_were_kept() {
    let (mut world, _) = thousand();
    world.add_hash(Digest([9; 32]));
    world.finish_writing();
    let root = world.root();
    let mut spill = world.store.spill_all().expect("some rows are in memory");
    assert!(world.store.spill_all().is_none(), "one at a time");
    let mut state = spill.state.take().expect("a sound store");
    let run = world.write(&spill);
    state.add_run(run.name());
    state.add_run(run.name());
    world.store.adopt(run);
    assert_eq!(world.store.newest.len(), 0);
    let end = Position(world.end - 400 + frame_bytes(b"opaque".len()) as u64);
    assert_eq!((state.end(), state.len()), (end, 1001));

    let mut kept = Vec::new();
    state.save(&mut Sink::new(&mut |bytes| kept.extend_from_slice(bytes)));
    let load = |kept: &[u8]| {
        let mut rest = kept;
        State::load(
            SketchKey::new(None),
            &mut Source::new(&mut |window| rest.read(window).expect("memory")),
        )
    };
    assert!(load(&kept[..kept.len() - 1]).is_none(), "it ends too early");
    let runs = |names: &[Digest]| -> Vec<Run> {
        names.iter().map(|name| open(world.files[name].clone()).expect("a run")).collect()
    };
    let again = load(&kept).expect("all of it");
    let mut names = again.runs().to_vec();
    names.swap(0, 1);
    assert!(again.into_store(runs(&names)).is_none(), "not in this order");
    let again = load(&kept).expect("all of it");
    let names = again.runs().to_vec();
    world.store = again.into_store(runs(&names)).expect("its runs");
    assert_eq!((world.store.len(), world.store.opaque()), (1001, 1));
    assert_eq!(world.root(), root);
    assert_eq!(world.rows(Some("s7"), None, None), [31, 30, 29, 28]);
    assert!(!world.add(claim("s7", "p", 28)), "known");
    assert!(world.add(claim("s7", "p", 5000)));
    assert_eq!(world.rows(Some("s7"), None, None), [1001, 31, 30, 29, 28]);
}

#[test]
fn small_runs_are_written_again_with_the_rows_that_follow() {
    let mut world = World::new();
    let all = hashes(3, 400, 0);
    for (count, hash) in all.iter().enumerate() {
        world.add_hash(*hash);
        if count % 30 == 29 {
            world.finish_writing();
            let spill = world.store.spill_all().expect("30 rows");
            let run = world.write(&spill);
            world.store.adopt(run);
        }
    }
    let lengths: Vec<usize> = world.store.runs.iter().map(|run| run.len()).collect();
    assert_eq!(lengths, [150, 150, 90], "as long as they may be");
    assert!(
        all.iter()
            .zip(0..)
            .all(|(hash, row)| { world.store.find_row(hash, &world.bodies) == Some(row) })
    );
}

#[test]
fn what_is_no_whole_run_is_not_opened() {
    let (world, _) = thousand();
    let file = world.files.values().next().expect("a run").clone();
    let summary = file.len() - 40;
    let at = u64::from_le_bytes(*file[summary..].first_chunk().expect("8 bytes")) as usize;
    assert!(open(file.clone()).is_some());
    for index in (0..28).chain(at..file.len()).step_by(3) {
        let mut bad = file.clone();
        bad[index] ^= 4;
        assert!(open(bad).is_none(), "byte {index}");
    }
    for length in [0, 10, 60, at, file.len() - 1] {
        assert!(open(file[..length].to_vec()).is_none(), "{length} bytes");
    }
}

#[test]
#[should_panic(expected = "a page is not what was written")]
fn a_page_that_is_not_what_was_written_is_not_taken() {
    let (world, all) = thousand();
    let mut file = world.files.values().next().expect("a run").clone();
    file[format::HEAD_BYTES as usize..][..35 * 100].fill(7);
    let run = open(file).expect("its summary is whole");
    all.iter().for_each(|(sealed, _)| {
        run.find(&sealed.digest());
    });
}

#[test]
fn writes_that_are_faster_than_runs_have_to_wait() {
    let mut world = World::new();
    for (count, hash) in hashes(4, 1000, 0).iter().enumerate() {
        let at = Position(world.end + 400 * count as u64);
        let sealed = Sealed::recovered(*hash, Bytes::from_static(b"opaque"));
        world.bodies.sealed.insert(at.0, sealed.clone());
        world.store.apply(&Committed::recovered(at, sealed), &world.bodies);
        if let Some(spill) = world.store.spill() {
            assert!(world.writing.replace(spill).is_none(), "one at a time");
        }
        assert_eq!(world.store.is_behind(), count + 1 >= 3 * SPILL_ROWS, "{count}");
    }
    world.finish_writing();
    assert!(!world.store.is_behind());
}

#[test]
fn what_is_known_is_found_and_added_once() {
    let mut world = World::new();
    let all = hashes(7, 4000, 0);
    for hash in &all {
        assert!(world.add_hash(*hash));
    }
    for (row, hash) in all.iter().enumerate() {
        assert!(!world.add_hash(*hash));
        assert_eq!(world.store.find_row(hash, &world.bodies), Some(row as Row));
    }
    assert_eq!(world.store.len(), 4000);
    for hash in hashes(8, 1000, 0) {
        assert_eq!(world.store.find(&hash, &world.bodies), None);
    }
}

#[test]
fn selections_are_what_a_plain_list_says() {
    // Runs of one page for each kind of entry, and of several: 512 names are a page.
    selections_are_plain(SPILL_ROWS, 17);
    selections_are_plain(2800, 97);
}

/// Asks for every so many of the subjects.
fn selections_are_plain(spill_after: usize, step: usize) {
    let mut random = fastrand::Rng::with_seed(13);
    let mut world = World::spilling_after(spill_after);
    let mut plain: Vec<(String, String)> = Vec::new();
    for number in 0..6000 {
        if random.u8(..) < 10 {
            world.add_hash(hashes(1000 + number, 1, 0)[0]);
            plain.push((String::new(), String::new()));
            continue;
        }
        let subject = match random.u8(0..3) {
            0 => "busy".to_owned(),
            1 => format!("pair {}", number / 5),
            _ => format!("single {number}"),
        };
        let predicate = format!("p{}", random.u8(0..4));
        assert!(world.add(claim(&subject, &predicate, number)));
        plain.push((subject, predicate));
    }
    let newest_first = |subject: Option<&str>, predicate: Option<&str>, before: usize| {
        let rows = plain.iter().enumerate().take(before).rev();
        rows.filter(|(_, names)| subject.is_none_or(|wanted| names.0 == wanted))
            .filter(|(_, names)| predicate.is_none_or(|wanted| names.1 == wanted))
            .map(|(row, _)| row as Row)
            .collect::<Vec<Row>>()
    };
    let mut subjects: Vec<Option<&str>> = vec![None, Some("busy"), Some("absent")];
    subjects.extend(plain.iter().step_by(step).map(|names| Some(names.0.as_str())));
    for subject in subjects.into_iter().filter(|subject| *subject != Some("")) {
        for predicate in [None, Some("p0"), Some("p3"), Some("none")] {
            for before in [None, Some(0), Some(1), Some(3000)] {
                let found = world.rows(subject, predicate, before);
                let before = before.map_or(usize::MAX, |before| before as usize);
                let expected = newest_first(subject, predicate, before);
                assert_eq!(found, expected, "{subject:?} {predicate:?} {before}");
            }
        }
    }
}

#[test]
fn opaque_records_count_and_stand_under_no_name() {
    let mut world = World::new();
    world.add(claim("s", "p", 1));
    world.add_hash(Digest([7; 32]));
    assert_eq!((world.store.len(), world.store.opaque()), (2, 1));
    assert_eq!(world.rows(None, None, None), [1, 0]);
    assert_eq!(world.rows(Some("s"), Some("p"), None), [0]);
}

/// A thousand claims, and where each lies.
fn thousand() -> (World, Vec<(Sealed, Position)>) {
    let mut world = World::new();
    let mut all = Vec::new();
    for number in 0..1000 {
        let sealed = claim(&format!("s{}", number / 4), "p", number);
        all.push((sealed.clone(), Position(world.end)));
        world.add(sealed);
    }
    (world, all)
}

#[test]
fn a_lost_record_is_left_out_and_comes_back_to_its_row() {
    let (mut world, all) = thousand();
    let (root, cells) = (world.root(), world.store.sketch().cells(0, 64));
    assert_eq!(world.store.quarantine(all[7].1, &world.bodies), None, "it reads well");
    for (index, head) in [(5, "right"), (444, "wrong"), (999, "none")] {
        let (sealed, at) = all[index].clone();
        let head = match head {
            "right" => Some(sealed.digest()),
            "wrong" => Some(Digest([0x5a; 32])),
            _ => None,
        };
        world.bodies.sealed.remove(&at.0);
        world.bodies.heads.extend(head.map(|head| (at.0, head)));
        let bytes = if index == 999 { 40 } else { 400 };
        let damage = world.store.quarantine(at, &world.bodies).expect("it cannot be read");
        assert_eq!(damage, Damage { at, bytes, digest: Some(sealed.digest()) });
        assert_eq!(world.store.quarantine(at, &world.bodies), None, "once");

        let without: BTreeSet<Digest> = all
            .iter()
            .map(|(sealed, _)| sealed.digest())
            .filter(|digest| *digest != sealed.digest())
            .collect();
        assert_eq!(world.store.len(), 999);
        assert!(world.root() != root);
        assert_eq!(world.store.leaves(None, 2000), sorted(&without));
        assert_eq!(world.store.find(&sealed.digest(), &world.bodies), None);
        assert!(world.store.is_damaged(&sealed.digest(), &world.bodies));
        assert!(!world.rows(None, Some("p"), None).contains(&(index as Row)));
        assert_eq!(world.rows(None, None, None).len(), 999);

        let again = Position(world.end + 400 * index as u64);
        world.bodies.sealed.insert(again.0, sealed.clone());
        let committed = Committed::recovered(again, sealed.clone());
        let applied = world.store.apply(&committed, &world.bodies);
        assert_eq!(applied, Applied::Repaired(at));
        assert_eq!(world.store.find(&sealed.digest(), &world.bodies), Some(again));
        assert_eq!(world.store.apply(&committed, &world.bodies), Applied::Known);
        assert!(!world.store.is_damaged(&sealed.digest(), &world.bodies));
        assert_eq!((world.root(), world.store.len()), (root, 1000));
        assert_eq!(world.store.sketch().cells(0, 64), cells, "no member is in it twice");
        assert!(world.rows(Some(&format!("s{}", index / 4)), None, None).contains(&(index as Row)));
    }
}

#[test]
fn a_record_that_comes_again_repairs_one_whose_damage_no_reader_has_met() {
    let (mut world, all) = thousand();
    let (root, cells) = (world.root(), world.store.sketch().cells(0, 64));
    let (sealed, at) = all[321].clone();
    world.bodies.sealed.remove(&at.0);
    let mut head = sealed.digest();
    head.0[31] ^= 1;
    world.bodies.heads.insert(at.0, head);
    assert_eq!(world.store.find(&sealed.digest(), &world.bodies), None);
    let again = Position(world.end);
    assert!(!world.add(sealed.clone()), "not new");
    assert_eq!(world.store.find(&sealed.digest(), &world.bodies), Some(again));
    assert_eq!((world.root(), world.store.len()), (root, 1000));
    assert_eq!(world.store.sketch().cells(0, 64), cells);
}

#[test]
fn windows_cover_every_record_once() {
    let (mut world, all) = thousand();
    // One lies elsewhere, one nowhere, and one is the first of another segment.
    let (moved, lost) = (all[20].clone(), all[30].1);
    for at in [moved.1, lost] {
        world.bodies.sealed.remove(&at.0);
        world.store.quarantine(at, &world.bodies);
    }
    world.end = Position::first_of(1).0;
    let again = Position(world.end);
    world.bodies.sealed.insert(again.0, moved.0.clone());
    world.store.apply(&Committed::recovered(again, moved.0), &world.bodies);
    world.end += 400;
    world.add(claim("new", "p", 5000));
    for bytes in [1, 4000, 1 << 30] {
        let (mut next, mut positions) = (0, Vec::new());
        while let Some(window) = world.store.window(next..Row::MAX, bytes) {
            let (first, last) = (window.positions[0], window.positions[window.positions.len() - 1]);
            assert!(window.next > next && last.0 - first.0 <= bytes);
            assert!(window.positions.is_sorted() && first.segment() == last.segment());
            assert!(window.end.is_none_or(|end| last < end && end.segment() == last.segment()));
            next = window.next;
            positions.extend(window.positions);
        }
        let mut expected: Vec<Position> = all.iter().map(|(_, at)| *at).collect();
        expected.retain(|at| ![moved.1, lost].contains(at));
        expected.extend([again, Position(again.0 + 400)]);
        positions.sort_unstable();
        assert_eq!(positions, expected);
    }
    assert_eq!(Store::new(1).window(0..9, 1000), None);
}

#[test]
fn a_sketch_under_another_key_has_every_row_once_whatever_comes_while_it_is_made() {
    let mut world = World::spilling_after(300);
    let mut ids = Vec::new();
    let mut add = |world: &mut World, number: u64| {
        let sealed = claim(&format!("s{number}"), "p", number);
        ids.push(short_id(&sealed.digest()));
        let at = Position(world.end);
        world.add(sealed);
        at
    };
    let positions: Vec<Position> = (0..1000).map(|number| add(&mut world, number)).collect();
    world.finish_writing();
    assert!(!world.store.runs().is_empty() && world.store.newest.len() > 0);
    for at in [positions[5], positions[900]] {
        world.bodies.sealed.remove(&at.0);
        world.store.quarantine(at, &world.bodies).expect("it cannot be read");
    }
    let key = SketchKey::new(Some(&crate::base::Secret::new("another").expect("a secret")));
    world.store.begin_rekey(key);
    let mut steps = 0;
    while !world.store.rekey_step(50) {
        assert!(world.store.sketch().key() != key, "it is not whole");
        add(&mut world, 1000 + steps);
        steps += 1;
    }
    assert!(steps > 10, "{steps} steps");
    add(&mut world, 9999);
    let mut expected = Sketch::new(key);
    expected.insert(&ids);
    let all = limits::SKETCH_CELLS_MAX;
    assert_eq!(world.store.sketch().key(), key);
    assert!(world.store.sketch().cells(0, all) == expected.cells(0, all));
    assert!(world.store.rekey_step(1), "nothing is left to do");
}
