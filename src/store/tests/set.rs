//! The set as its hashes: roots, leaves, sketches of parts.
//!
//! Never: looks at a name or a body.

use super::*;
use crate::sketch::Part;

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
    world.add_hash(hashes(6, 1, 0)[0]);
    let rows = world.store.rows();
    let root = world.store.root_step(tree::PAGE_MAX, rows);
    assert!(root.is_some(), "one page is listed for one insert");
    assert_eq!(world.bodies.read.get(), 0, "no record is read for the tree");
}

#[test]
fn a_root_is_of_the_rows_there_were_when_it_was_begun() {
    let all = hashes(7, 30_000, 0);
    let mut world = World::new();
    let before = 20_000;
    all[..before].iter().for_each(|hash| assert!(world.add_hash(*hash)));
    let mut rest = all[before..].iter();
    // Each step lists the hashes of a bucket or two, and five more come to others.
    let root = loop {
        if let Some(root) = world.store.root_step(8, before as u64) {
            break root;
        }
        rest.by_ref().take(5).for_each(|hash| assert!(world.add_hash(*hash)));
        assert_eq!(world.store.len(), world.store.rows());
    };
    assert!(rest.len() < 10_000 && rest.len() > 0, "some came meanwhile");
    assert_eq!((root.rows, root.count), (before as u64, before as u64));
    assert_eq!(root.digest, naive_root(&sorted(&all[..before].iter().copied().collect()), 0));
    assert_eq!(world.store.root_step(8, before as u64), Some(root), "it is kept");
    assert_ne!(world.store.root_step(usize::MAX, root.rows + 1), Some(root));
    let mut here: BTreeSet<Digest> = all[..world.store.rows() as usize].iter().copied().collect();
    assert_eq!(world.root(), naive_root(&sorted(&here), 0));

    // Of one that was begun, a record is lost.
    rest.by_ref().take(64).for_each(|hash| assert!(world.add_hash(*hash) && here.insert(*hash)));
    assert_eq!(world.store.root_step(8, world.store.rows()), None);
    let lost = world.store.position(77).expect("a row");
    let lost = (lost, world.bodies.sealed.remove(&lost.0).expect("it reads well").digest());
    assert!(world.store.quarantine(lost.0, &world.bodies).is_some() && here.remove(&lost.1));
    assert_eq!(world.root(), naive_root(&sorted(&here), 0));
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
                let leaves = world.store.leaves(after, page);
                if leaves.is_empty() {
                    break;
                }
                assert!(leaves.len() <= page);
                walked.extend(leaves);
            }
            assert_eq!(walked, expected, "pages of {page}");
        }
        let unknown = Digest([0xa5; 32]);
        let after = world.store.leaves(Some(unknown), 5);
        let expected: Vec<Digest> =
            expected.into_iter().filter(|hash| *hash > unknown).take(5).collect();
        assert_eq!(after, expected);
    }
}

#[test]
fn the_sketches_of_parts_add_up_to_that_of_all() {
    let mut world = World::new();
    for number in 0..700_u64 {
        world.add_hash(Digest::of(&number.to_le_bytes()));
    }
    let whole = world.store.sketch();
    let parts = (0..4).map(|number| Part { bits: 2, number });
    let sketched = |part: Part| {
        let mut scan = PartScan::new(&world.store, part, 3000, 1000).expect("small");
        let steps = (0..5000).find(|_| scan.step(20, &world.store)).expect("it ends");
        assert!((5..15).contains(&steps), "{steps} steps of 20 and a bucket's for some 175");
        scan.sketch().clone()
    };
    let parts: Vec<Sketch> = parts.map(sketched).collect();
    assert_eq!(parts.iter().map(Sketch::members).sum::<u32>(), whole.members());
    assert!(parts.iter().all(|part| part.members() > 100 && part.len() == 3000));
    for index in 0..2000 {
        let ids = |sketch: &Sketch| sketch.cells(index, 1)[0].ids;
        assert_eq!(parts.iter().map(ids).fold(0, |sum, ids| sum ^ ids), ids(whole), "{index}");
    }
}

#[test]
fn a_part_that_is_too_large_is_not_sketched() {
    let mut world = World::new();
    let hash = |number: u64| {
        let mut hash = Digest::of(&number.to_le_bytes());
        hash.0[0] >>= 1;
        hash
    };
    for number in 0..=1000 {
        world.add_hash(hash(number));
    }
    let scan = |bits, number, most| PartScan::new(&world.store, Part { bits, number }, 9, most);
    assert!(scan(1, 0, 1000).is_none());
    assert!(scan(1, 0, 1001).is_some());
    assert!(scan(1, 1, 0).is_some());
    assert!(scan(2, 1, 1000).is_some());
}
