use super::*;
use crate::base::{Digest, Secret};

fn digest(number: u64) -> Digest {
    Digest::of(&number.to_le_bytes())
}

fn sketch(numbers: impl Iterator<Item = u64>) -> Sketch {
    let mut sketch = Sketch::new(SketchKey::new(None));
    let ids: Vec<ShortId> = numbers.map(|number| short_id(&digest(number))).collect();
    sketch.insert(&ids);
    sketch
}

fn sorted(mut ids: Vec<ShortId>) -> Vec<ShortId> {
    ids.sort_unstable();
    ids
}

/// Decodes what two sets differ in, cell by cell; how many cells it took.
fn cells_needed(ours: &Sketch, theirs: &Sketch, expected: Vec<ShortId>) -> usize {
    let mut difference = Difference::new(ours, &[]);
    loop {
        let next = theirs.cells(difference.len(), 1 + difference.len() / 64);
        difference.extend(ours, &next);
        match difference.decode() {
            Decoded::All => break,
            Decoded::Part => assert!(difference.len() < limits::SKETCH_CELLS_MAX, "never decodes"),
            Decoded::Nonsense => panic!("two honest sets"),
        }
    }
    assert_eq!(sorted(difference.found().to_vec()), sorted(expected));
    difference.len()
}

#[test]
fn what_two_sets_differ_in_is_read_off_their_cells() {
    for (ours_only, theirs_only) in [(0, 0), (1, 0), (0, 1), (3, 4), (50, 50), (700, 300)] {
        let common = 5_000;
        let ours = sketch(0..common + ours_only);
        let theirs = sketch((0..common).chain(1_000_000..1_000_000 + theirs_only));
        let only = (common..common + ours_only).chain(1_000_000..1_000_000 + theirs_only);
        let expected = only.map(|number| short_id(&digest(number))).collect();
        let count = (ours_only + theirs_only) as usize;
        let needed = cells_needed(&ours, &theirs, expected);
        assert!(needed <= 1 + count * 3, "{needed} cells for {count}");
        if count >= 1000 {
            assert!(needed * 100 <= count * 150, "{needed} cells for {count}");
        }
    }
}

#[test]
fn another_key_has_other_cells() {
    let secret = Secret::new("hush").expect("visible");
    let mut keyed = Sketch::new(SketchKey::new(Some(&secret)));
    (0..100).for_each(|number| keyed.insert(&[short_id(&digest(number))]));
    let open = sketch(0..100);
    assert_eq!(keyed.members(), open.members());
    assert_ne!(keyed.cells(1, 64), open.cells(1, 64));
}

#[test]
fn nonsense_is_called_so_or_never_decodes() {
    let ours = sketch(0..1000);
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..100 {
        let mut cells = ours.cells(0, 2000);
        match random.u8(..) % 3 {
            // Cells of no set, each as if with one id in it.
            0 => cells.iter_mut().for_each(|cell| {
                let ids = random.u64(..);
                cell.add(Cell { ids, checks: ours.key.check(ids) });
            }),
            1 => cells.fill_with(|| Cell { ids: random.u64(..), checks: random.u32(..) }),
            _ => cells.rotate_left(1),
        }
        let mut difference = Difference::new(&ours, &cells);
        assert_ne!(difference.decode(), Decoded::All);
        assert!(difference.found().len() <= cells.len());
    }
    assert_eq!(ours.cells(limits::SKETCH_CELLS_MAX, 9), []);
    assert_eq!(ours.cells(limits::SKETCH_CELLS_MAX - 1, usize::MAX).len(), 1);
}

/// So that another implementation, another machine and another version put ids into the same cells.
#[test]
fn the_indices_of_an_id_are_fixed() {
    let key = SketchKey::new(None);
    let indices: Vec<usize> = key.indices(1).collect();
    assert_eq!(indices[..8], [0, 1, 2, 5, 8, 9, 19, 21]);
    assert_eq!((indices.len(), indices.last(), key.check(1)), (28, Some(&33055), 4_097_157_908));
}

#[test]
fn parts_are_the_whole_and_have_each_member_once() {
    for (count, bits) in [(0, 1), (3, 2), (16, 4), (17, 5), (u64::MAX, 12)] {
        let parts: Vec<Part> = Part::all(count).collect();
        assert_eq!(parts.len(), 1 << bits, "{count}");
        assert!(parts.iter().all(|part| part.bits == bits && part.has(&part.start())));
        for member in (0..200).map(digest) {
            let of: Vec<_> = parts.iter().filter(|part| part.has(&member)).collect();
            assert_eq!(of.len(), 1, "{member:?} in {of:?}");
            assert!(of[0].start() <= member);
            let quarters = of[0].split().expect("large enough");
            assert_eq!(quarters.iter().filter(|part| part.has(&member)).count(), 1);
        }
    }
    assert_eq!(Part { bits: 17, number: 0 }.split(), None);
}

#[test]
fn low_counts_estimate_how_many_differ() {
    for (ours_only, theirs_only) in [(30, 30), (500, 500), (0, 1000), (6000, 14_000)] {
        let ours = sketch(0..10_000 + ours_only);
        let theirs = sketch((0..10_000).chain(1_000_000..1_000_000 + theirs_only));
        let real = ours_only + theirs_only;
        let hint = ours.estimate_by_hint(theirs.members(), &theirs.hint());
        let is_near = hint * 4 >= real && hint <= real * 4;
        assert!(is_near || real < 100, "{hint} for {real}");
        let low = ours.low_counts(hint);
        assert!(low.packed.len() as u64 <= 200 + 2 * real, "{} for {real}", low.packed.len());
        let Estimate { differing, error } = theirs.estimate_by_low(ours.members(), &low);
        let off = differing.abs_diff(real) as f64 / real as f64;
        assert!(off < 4.0 * error + 0.1, "{differing} for {real}, error {error}");
    }
    let full = sketch(0..100_000);
    let most = full.low_counts(u64::MAX);
    assert_eq!(2 * most.packed.len(), limits::SKETCH_LOW_COUNTS_MAX);
    let estimate = sketch(0..0).estimate_by_low(full.members(), &most);
    assert!(estimate.differing.abs_diff(100_000) < 10_000, "{estimate:?}");
    let behind = LowCounts { from: usize::MAX, packed: vec![7; 99] };
    assert_eq!(full.estimate_by_low(full.members(), &behind).differing, 0);
}

#[test]
fn many_at_once_are_the_same_as_one_by_one() {
    let ids: Vec<ShortId> = (0..200).map(|number| short_id(&digest(number))).collect();
    for cells in [1, 700, limits::SKETCH_CELLS_MAX] {
        let [mut single, mut grouped] =
            [(); 2].map(|()| Sketch::of_cells(SketchKey::new(None), cells));
        ids.iter().for_each(|id| single.insert(&[*id]));
        // Groups of 0 to 19.
        for count in 0..20 {
            let start = count * (count - 1).max(0) / 2;
            grouped.insert(&ids[start as usize..][..count as usize]);
        }
        grouped.insert(&ids[190..]);
        assert_eq!(single.cells(0, cells), grouped.cells(0, cells));
        let counts = |sketch: &Sketch| (0..cells).map(|index| sketch.count(index)).collect();
        let [single, grouped]: [Vec<u32>; 2] = [counts(&single), counts(&grouped)];
        assert_eq!(single, grouped);
    }
}

#[test]
fn few_members_are_saved_in_few_bytes_and_many_as_before() {
    for (members, most) in [(0, 64), (30, 16 << 10), (50_000, limits::SKETCH_CELLS_MAX * 17)] {
        let saved = sketch(0..members);
        let mut bytes = Vec::new();
        saved.save(&mut Sink::new(&mut |piece| bytes.extend_from_slice(piece)));
        assert!(bytes.len() <= most, "{} bytes for {members} members", bytes.len());
        let mut rest = &bytes[..];
        let mut more = |window: &mut [u8]| std::io::Read::read(&mut rest, window).unwrap_or(0);
        let loaded = Sketch::load(SketchKey::new(None), &mut Source::new(&mut more));
        let loaded = loaded.expect("it is whole");
        assert_eq!(loaded.cells(0, loaded.len()), saved.cells(0, saved.len()));
    }
}
