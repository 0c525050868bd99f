//! Walks over the rows of names, through tables and runs, and what they read.
//!
//! Never: looks at a hash.

use super::*;

#[test]
fn a_walk_is_not_disturbed_by_rows_that_come_meanwhile() {
    let mut world = World::new();
    for number in 0..2000 {
        world.add(claim("s", "p", number));
    }
    let mut candidates = world.store.select([RowKey::Subject("s")], None);
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
fn one_subject_with_one_predicate_is_found_with_few_pages() {
    let mut world = World::spilling_after(4000);
    // By tens of claims: a subject with a predicate that many have, one with ten of its own, and
    // one with ten that others have as well.
    let kind = |number: u64| (number / 10 % 3) as usize;
    let predicate = |number: u64| match kind(number) {
        0 => "p".to_owned(),
        1 => format!("own {number}"),
        _ => format!("p{}", number % 10),
    };
    let subject = |number: u64| format!("s{}", number / 10);
    for number in 0..25_000 {
        world.add(claim(&subject(number), &predicate(number), number));
    }
    assert_eq!((world.store.runs.len(), world.store.newest.len()), (6, 1000));
    let (mut read, mut listed) = ([0; 3], [0; 3]);
    for number in 0..24_000 {
        READ.set(0);
        let (subject, predicate) = (subject(number), predicate(number));
        let keys = [RowKey::Subject(&subject), RowKey::Predicate(&predicate)];
        let mut walk = world.store.select(keys, None);
        let found = std::iter::from_fn(|| world.store.next_candidate(&mut walk));
        let rows: Vec<Row> = found.map(|(row, _)| row).collect();
        assert!(rows.contains(&(number as Row)) && rows.len() <= 10, "{rows:?}");
        assert!(READ.get() <= 16, "{} pages for claim {number}", READ.get());
        read[kind(number)] += READ.get();
        listed[kind(number)] += rows.len();
    }
    // A page of each name and one of positions. Where a few rows have either name, that is all that
    // memory says: they are counted, each on a page. Rows of a name lie on two pages now and then,
    // and one in a hundred other names passes a filter.
    let [many, own, shared] = read.map(|pages| pages as f64 / 8000.0);
    assert!(many < 3.5 && own < 4.5 && shared < 5.5, "{many}, {own} and {shared} pages");
    assert_eq!(listed, [80_000, 8000, 8000], "rows whose bodies are read");
}
