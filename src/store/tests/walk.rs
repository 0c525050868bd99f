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
fn one_subject_with_one_predicate_is_found_with_few_pages() {
    let mut world = World::spilling_after(4000);
    // By tens of claims: a subject with a predicate that many have, a subject with ten of its own.
    let is_common = |number: u64| (number / 10).is_multiple_of(2);
    let names = |number: u64| {
        let own = format!("own {number}");
        (format!("s{}", number / 10), if is_common(number) { "p".to_owned() } else { own })
    };
    for number in 0..21_000 {
        let (subject, predicate) = names(number);
        world.add(claim(&subject, &predicate, number));
    }
    assert_eq!((world.store.runs.len(), world.store.newest.len()), (5, 1000));
    let mut read = [0, 0];
    for number in 0..20_000 {
        READ.set(0);
        let (subject, predicate) = names(number);
        let mut walk = world.store.select(Some(&subject), Some(&predicate), None);
        let mut found = std::iter::from_fn(|| world.store.next_candidate(&mut walk));
        // All of them are looked at, as by a query that could do with more.
        assert_eq!(found.by_ref().filter(|(row, _)| *row == number as Row).count(), 1);
        read[usize::from(is_common(number))] += READ.get();
        assert!(READ.get() <= 16, "{} pages for claim {number}", READ.get());
    }
    // A page of names and one of places. Where a few rows have either name, that is all that memory
    // tells: they are counted, each on a page. Rows of a name lie on two pages now and then, and
    // one in a hundred strangers passes a filter.
    let [own, common] = read.map(|pages| pages as f64 / 10_000.0);
    assert!(common < 2.5 && own < 4.5, "{common} and {own} pages");
}
