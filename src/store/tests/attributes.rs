//! Rows by what their claims name: parents, references, agents, sources, alone and together.
//!
//! Never: opens a file.

use super::*;
use crate::model::Signature;

/// What a claim may name, by the numbers of a few of each.
struct Names {
    digests: Vec<Digest>,
    names: Vec<String>,
}

/// What a row is looked up by: a kind, and the number of a name.
type Wanted = (usize, usize);

const KINDS: usize = 6;

impl Names {
    fn new() -> Names {
        let names = (0..40).map(|number| format!("name {number}")).collect();
        Names { digests: hashes(77, 40, 0), names }
    }

    fn key(&self, (kind, number): Wanted) -> RowKey<'_> {
        let (digest, name) = (&self.digests[number], &self.names[number]);
        match kind {
            0 => RowKey::Subject(name),
            1 => RowKey::Predicate(name),
            2 => RowKey::Parent(digest),
            3 => RowKey::Reference(name),
            4 => RowKey::Agent(&digest.0),
            _ => RowKey::Source(digest),
        }
    }

    /// A claim that names these, and what it is found by.
    fn claim(&self, random: &mut fastrand::Rng, number: u64) -> (Sealed, Vec<Wanted>) {
        // The name 0 stands in so many rows that it is looked up in several steps.
        let any = |random: &mut fastrand::Rng| if random.bool() { 0 } else { random.usize(1..40) };
        let mut found = vec![(0, any(random)), (1, any(random))];
        let mut draft = draft(&self.names[found[0].1], &self.names[found[1].1], number);
        if random.u8(0..3) > 0 {
            found.push((2, any(random)));
            draft.parent_hash = found.last().map(|(_, number)| self.digests[*number]);
        }
        if random.bool() {
            let reference = any(random);
            found.push((3, reference));
            draft.object = Object::Reference(self.names[reference].clone());
        }
        for agent in 0..random.usize(0..4) {
            found.push((4, agent * 10));
            let agent_id = self.digests[agent * 10].0;
            draft.signatures.push(Signature { agent_id, signature: [0; 64], timestamp: 1 });
        }
        if random.bool() {
            found.push((5, any(random)));
            draft.source_hash = found.last().map(|(_, number)| self.digests[*number]).expect("one");
        }
        (seal(draft), found)
    }
}

#[test]
fn rows_are_found_by_any_keys_wherever_they_are() {
    let mut random = fastrand::Rng::with_seed(14);
    let names = Names::new();
    // Runs of one page for each kind of entry, and of several.
    for spill_after in [400, 2800] {
        let mut world = World::spilling_after(spill_after);
        let mut plain: Vec<Vec<Wanted>> = Vec::new();
        for number in 0..5000 {
            let (sealed, found) = names.claim(&mut random, number);
            assert!(world.add(sealed));
            plain.push(found);
        }
        assert!(world.store.runs.len() > 1, "{}", world.store.runs.len());
        for _ in 0..600 {
            let mut wanted: Vec<Wanted> =
                (0..random.usize(1..4)).map(|_| (random.usize(..KINDS), 0)).collect();
            wanted.iter_mut().for_each(|one| one.1 = random.usize(0..40) * random.usize(0..2));
            let before = random.choice([1, 700, 3000, Row::MAX]).expect("four");
            let keys = wanted.iter().map(|one| names.key(*one));
            let mut walk = world.store.select(keys, Some(before));
            let found = std::iter::from_fn(|| world.store.next_candidate(&mut walk));
            // The walk may name rows without some of the keys, which the bodies show.
            let has_all = |row: &Row| wanted.iter().all(|one| plain[*row as usize].contains(one));
            let found: Vec<Row> = found.map(|(row, _)| row).filter(has_all).collect();
            let rows = (0..before.min(plain.len() as Row)).rev();
            assert_eq!(found, rows.filter(has_all).collect::<Vec<Row>>(), "{wanted:?}");
        }
    }
}

#[test]
fn a_walk_names_no_row_without_its_only_key_and_reads_no_page_for_an_absent_one() {
    let mut random = fastrand::Rng::with_seed(15);
    let (names, mut world) = (Names::new(), World::spilling_after(1200));
    let mut plain: Vec<Vec<Wanted>> = Vec::new();
    for number in 0..6000 {
        let (sealed, found) = names.claim(&mut random, number);
        assert!(world.add(sealed));
        plain.push(found);
    }
    let walked = |key: RowKey<'_>| {
        let mut walk = world.store.select([key], None);
        let found = std::iter::from_fn(|| world.store.next_candidate(&mut walk));
        found.map(|(row, _)| row).collect::<Vec<Row>>()
    };
    for wanted in (0..KINDS).flat_map(|kind| (0..40).map(move |number| (kind, number))) {
        let has_it = |row: &Row| plain[*row as usize].contains(&wanted);
        let expected: Vec<Row> = (0..6000).rev().filter(has_it).collect();
        assert_eq!(walked(names.key(wanted)), expected, "{wanted:?}");
    }
    let (read, runs) = (READ.get(), world.store.runs.len());
    for number in 0..50 {
        assert!(walked(RowKey::Source(&Digest([100 + number; 32]))).is_empty());
    }
    // A filter lets one in a hundred through.
    assert!(READ.get() - read <= runs * 50 / 10, "{} pages", READ.get() - read);
}

#[test]
fn rows_with_many_attributes_become_a_run_sooner() {
    let mut world = World::spilling_after(100);
    for number in 0..60 {
        let mut draft = draft("s", "p", number);
        let agents = (0..4).map(|agent| [agent; 32]);
        let signed = |agent_id| Signature { agent_id, signature: [0; 64], timestamp: 1 };
        draft.signatures = agents.map(signed).collect();
        world.store.append(&Committed::recovered(Position(world.end), seal(draft)));
        world.end += 400;
        assert_eq!(world.store.newest.weight(), 2 * (number as usize + 1));
        if number < 49 {
            assert!(world.store.spill().is_none(), "{number}");
        }
    }
    world.store.update_sketch();
    let spill = world.store.spill().expect("it weighs what 120 rows do");
    let run = world.write(&spill);
    assert_eq!((run.len(), run.weight()), (60, 120));
}
