//! The store against plain collections: same rows, same leaves, same root, whatever the order.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::*;
use crate::base::{HlcClock, NodeId, Wall};
use crate::model::{Draft, Object, Sealed};

/// Bodies in memory, and how often a hash was read.
#[derive(Default)]
struct Memory {
    sealed: BTreeMap<u64, Sealed>,
    /// What the heads of damaged records say.
    heads: BTreeMap<u64, Digest>,
    read: Cell<usize>,
}

impl Bodies for Memory {
    fn digest_at(&self, at: Position) -> Option<Digest> {
        self.read.set(self.read.get() + 1);
        let head = self.heads.get(&at.0).copied();
        head.or_else(|| self.sealed.get(&at.0).map(Sealed::digest))
    }

    fn sealed_at(&self, at: Position) -> Option<Sealed> {
        self.sealed.get(&at.0).cloned()
    }
}

struct World {
    store: Store,
    bodies: Memory,
    end: u64,
}

impl World {
    fn new() -> World {
        World { store: Store::new(9), bodies: Memory::default(), end: 32 }
    }

    fn add(&mut self, sealed: Sealed) -> bool {
        let position = Position(self.end);
        self.end += 400;
        self.bodies.sealed.insert(position.0, sealed.clone());
        self.store.apply(&Committed::recovered(position, sealed), &self.bodies)
    }

    /// An opaque record with a hash of our choice.
    fn add_hash(&mut self, hash: Digest) -> bool {
        self.add(Sealed::recovered(hash, Bytes::from_static(b"opaque")))
    }

    fn root(&mut self) -> Digest {
        let before = self.bodies.read.get();
        for _ in 0..1_000_000 {
            if let Some(root) = self.store.root_step(100, &self.bodies) {
                return root;
            }
            let read = self.bodies.read.get() - before;
            assert!(read <= 2 * self.store.len() as usize, "slices do not read a page twice");
        }
        panic!("the root is never done");
    }

    fn rows(
        &self,
        subject: Option<&str>,
        predicate: Option<&str>,
        before: Option<Row>,
    ) -> Vec<Row> {
        let mut candidates = self.store.select(subject, predicate, before);
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
    let mut draft = Draft::new(subject.into(), predicate.into(), Object::Number(number as f64));
    draft.timestamp = Some(number);
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
fn the_root_is_the_definitions_whatever_the_order() {
    for alike in [0, 1, 2, 3, 15, 25, 29] {
        for count in [0, 1, 63, 64, 65, 200, 3000] {
            let all = hashes(alike as u64 + 1, count, alike);
            let set: BTreeSet<Digest> = all.iter().copied().collect();
            let expected = naive_root(&sorted(&set), 0);
            for reversed in [false, true] {
                let mut world = World::new();
                let order: Vec<&Digest> =
                    if reversed { all.iter().rev().collect() } else { all.iter().collect() };
                order.iter().for_each(|hash| assert!(world.add_hash(**hash)));
                assert_eq!(world.root(), expected, "{count} hashes alike in {alike} bytes");
            }
        }
    }
}

#[test]
fn an_insert_makes_only_its_own_page_be_read_again() {
    let mut world = World::new();
    let all = hashes(5, 5000, 0);
    let mut set = BTreeSet::new();
    for (index, hash) in all.iter().enumerate() {
        world.add_hash(*hash);
        set.insert(*hash);
        if index % 977 == 0 {
            assert_eq!(world.root(), naive_root(&sorted(&set), 0));
        }
    }
    world.root();
    let before = world.bodies.read.get();
    world.add_hash(hashes(6, 1, 0)[0]);
    world.root();
    let read = world.bodies.read.get() - before;
    assert!(read <= 2 * trie::PAGE_MAX, "{read} hashes read for one insert");
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
fn leaves_walk_through_the_set_in_order() {
    for alike in [0, 29] {
        let mut world = World::new();
        let all = hashes(11, 1500, alike);
        all.iter().for_each(|hash| assert!(world.add_hash(*hash)));
        let expected = sorted(&all.into_iter().collect());
        for page in [1, 7, 64, 1000, 1500, 9999] {
            let mut walked = Vec::new();
            loop {
                let after = walked.last().copied();
                let leaves = world.store.leaves(after, page, &world.bodies);
                if leaves.is_empty() {
                    break;
                }
                assert!(leaves.len() <= page);
                walked.extend(leaves);
            }
            assert_eq!(walked, expected, "pages of {page}");
        }
        let unknown = Digest([0xa5; 32]);
        let after = world.store.leaves(Some(unknown), 5, &world.bodies);
        let expected: Vec<Digest> =
            expected.into_iter().filter(|hash| *hash > unknown).take(5).collect();
        assert_eq!(after, expected);
    }
}

#[test]
fn selections_are_what_a_plain_list_says() {
    let mut random = fastrand::Rng::with_seed(13);
    let mut world = World::new();
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
    let mut subjects: Vec<Option<&str>> = vec![None, Some("busy"), Some("nobody")];
    subjects.extend(plain.iter().step_by(17).map(|names| Some(names.0.as_str())));
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
fn a_walk_is_not_disturbed_by_rows_that_come_meanwhile() {
    let mut world = World::new();
    for number in 0..2000 {
        world.add(claim("s", "p", number));
    }
    let mut candidates = world.store.select(Some("s"), None, None);
    let mut rows = Vec::new();
    let mut number = 2000;
    while let Some((row, _)) = world.store.next_candidate(&mut candidates) {
        rows.push(row);
        world.add(claim("s", "p", number));
        number += 1;
    }
    let expected: Vec<Row> = (0..2000).rev().collect();
    assert_eq!(rows, expected);
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
fn a_lost_record_is_in_nobodys_way_and_comes_back_to_its_row() {
    let (mut world, all) = thousand();
    let (root, cells) = (world.root(), world.store.sketch().cells(0, 64));
    assert_eq!(world.store.lose(all[7].1, &world.bodies), None, "it reads well");
    for (place, head) in [(5, "right"), (444, "wrong"), (999, "none")] {
        let (sealed, at) = all[place].clone();
        let head = match head {
            "right" => Some(sealed.digest()),
            "wrong" => Some(Digest([0x5a; 32])),
            _ => None,
        };
        world.bodies.sealed.remove(&at.0);
        world.bodies.heads.extend(head.map(|head| (at.0, head)));
        let name = head.filter(|head| *head == sealed.digest());
        let bytes = if place == 999 { 40 } else { 400 };
        let damage = world.store.lose(at, &world.bodies).expect("it cannot be read");
        assert_eq!(damage, Damage { at, bytes, digest: name });
        assert_eq!(world.store.lose(at, &world.bodies), None, "once");

        let without: BTreeSet<Digest> = all
            .iter()
            .map(|(sealed, _)| sealed.digest())
            .filter(|digest| *digest != sealed.digest())
            .collect();
        assert_eq!(world.store.len(), 999);
        assert!(world.root() != root);
        assert_eq!(world.store.leaves(None, 2000, &world.bodies), sorted(&without));
        assert_eq!(world.store.find(&sealed.digest(), &world.bodies), None);
        assert!(world.store.is_damaged(&sealed.digest(), &world.bodies));
        assert!(!world.rows(None, Some("p"), None).contains(&(place as Row)));
        assert_eq!(world.rows(None, None, None).len(), 999);

        let again = Position(world.end + 400 * place as u64);
        world.bodies.sealed.insert(again.0, sealed.clone());
        let committed = Committed::recovered(again, sealed.clone());
        let applied = world.store.place(&committed, &world.bodies);
        assert_eq!(applied, Applied::Mended(at));
        assert_eq!(world.store.find(&sealed.digest(), &world.bodies), Some(again));
        assert_eq!(world.store.place(&committed, &world.bodies), Applied::Known);
        assert!(!world.store.is_damaged(&sealed.digest(), &world.bodies));
        assert_eq!((world.root(), world.store.len()), (root, 1000));
        assert_eq!(world.store.sketch().cells(0, 64), cells, "nobody is in it twice");
        assert!(world.rows(Some(&format!("s{}", place / 4)), None, None).contains(&(place as Row)));
    }
}

#[test]
fn a_record_that_comes_again_mends_the_damaged_one_before_anybody_noticed() {
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
        world.store.lose(at, &world.bodies);
    }
    world.end = Position::first_of(1).0;
    let again = Position(world.end);
    world.bodies.sealed.insert(again.0, moved.0.clone());
    world.store.place(&Committed::recovered(again, moved.0), &world.bodies);
    world.end += 400;
    world.add(claim("new", "p", 5000));
    for bytes in [1, 4000, 1 << 30] {
        let (mut next, mut places) = (0, Vec::new());
        while let Some(window) = world.store.window(next, bytes) {
            let (first, last) = (window.places[0], window.places[window.places.len() - 1]);
            assert!(window.next > next && last.0 - first.0 <= bytes);
            assert!(window.places.is_sorted() && first.segment() == last.segment());
            assert!(window.end.is_none_or(|end| last < end && end.segment() == last.segment()));
            next = window.next;
            places.extend(window.places);
        }
        let mut expected: Vec<Position> = all.iter().map(|(_, at)| *at).collect();
        expected.retain(|at| ![moved.1, lost].contains(at));
        expected.extend([again, Position(again.0 + 400)]);
        places.sort_unstable();
        assert_eq!(places, expected);
    }
    assert_eq!(Store::new(1).window(0, 1000), None);
}
