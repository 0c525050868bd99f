//! Claims that their authors replaced, or that are over, case by case.
//!
//! Never: depends on the order of arrival.

use crate::base::Digest;
use crate::model::{Assertion, Lifecycle, Object, SourceClass};

use super::world::{LensWorld, after, check, draft, question, signed};

/// The values that count, the weightiest first, in both orders of arrival.
fn values(claims: &[&Assertion], parameters: &[(&str, &str)]) -> Vec<String> {
    let question = question(parameters);
    let [one, other] = [
        LensWorld::of(claims.iter().copied()).skeptic(&question),
        LensWorld::of(claims.iter().rev().copied()).skeptic(&question),
    ];
    assert_eq!(one, other, "the order of arrival changes the answer");
    let values = one.claims.iter().map(|claim| match &claim.object {
        Some(Object::Text(value)) => value.clone(),
        other => panic!("{other:?}"),
    });
    let mut values: Vec<String> = values.collect();
    values.sort();
    values
}

#[test]
fn of_a_chain_the_last_counts_signed_or_not() {
    for agents in [&[][..], &[1], &[1, 2]] {
        let one = check(signed(draft("one", 30), agents));
        let two = check(after(signed(draft("two", 20), agents), &one));
        let three = check(after(signed(draft("three", 10), agents), &two));
        let all = [&one, &two, &three];
        assert_eq!(values(&all, &[]), ["three"]);
        assert_eq!(values(&all[..2], &[]), ["two"]);
        assert_eq!(values(&all, &[("history", "true")]), ["one", "three", "two"]);
        // The middle one is not here: what it would have replaced counts.
        assert_eq!(values(&[&one, &three], &[]), ["one", "three"]);
        let as_of = (1_700_000_000 - 20).to_string();
        assert_eq!(values(&all, &[("as_of", &as_of)]), ["two"]);
        assert_eq!(LensWorld::of(all).layers(&question(&[])).candidates_count, 1);
        // Lists show all of them.
        let (page, resolution) = LensWorld::of(all).page(&question(&[("lens", "confidence")]));
        assert_eq!((page.len(), resolution.map(|it| it.candidates_count)), (3, Some(1)));
    }
}

#[test]
fn of_a_fork_all_ends_count_and_a_chain_by_itself_is_no_cycle() {
    let root = check(signed(draft("root", 30), &[1]));
    let left = check(after(signed(draft("left", 20), &[1]), &root));
    let right = check(after(signed(draft("right", 10), &[1]), &root));
    assert_eq!(values(&[&root, &left, &right], &[]), ["left", "right"]);
    // Parents that no node has: each of two would follow the other if hashes could be chosen.
    let mut lost = [draft("a", 5), draft("b", 6)];
    for (index, draft) in lost.iter_mut().enumerate() {
        draft.parent_hash = Some(Digest([index as u8; 32]));
    }
    let [a, b] = lost.map(check);
    assert_eq!(values(&[&a, &b], &[]), ["a", "b"]);
}

#[test]
fn a_successor_has_the_same_author_subject_and_predicate() {
    let mine = check(signed(draft("mine", 30), &[1]));
    let theirs = check(after(signed(draft("theirs", 20), &[2]), &mine));
    let unsigned = check(after(draft("unsigned", 10), &mine));
    assert_eq!(values(&[&mine, &theirs, &unsigned], &[]), ["mine", "theirs", "unsigned"]);
    let open = check(draft("open", 30));
    let reply = check(after(signed(draft("reply", 20), &[2]), &open));
    assert_eq!(values(&[&open, &reply], &[]), ["open", "reply"]);
    for change in [0, 1] {
        let mut moved = after(signed(draft("moved", 20), &[1]), &mine);
        *[&mut moved.subject, &mut moved.predicate][change] = "elsewhere".into();
        assert_eq!(values(&[&mine, &check(moved)], &[]), ["mine"]);
    }
}

#[test]
fn of_a_joint_claim_those_speak_who_gave_it_no_successor() {
    let joint = check(signed(draft("joint", 30), &[1, 2]));
    let one = check(after(signed(draft("one", 20), &[1]), &joint));
    let claims = [&joint, &one];
    assert_eq!(values(&claims, &[]), ["joint", "one"]);
    let voices = |all: &[&Assertion]| {
        let found = LensWorld::of(all.iter().copied()).skeptic(&question(&[]));
        found.claims.iter().map(|claim| claim.voices_count).sum::<u64>()
    };
    assert_eq!((voices(&claims[..1]), voices(&claims)), (2, 2));
    let other = check(after(signed(draft("other", 20), &[2, 3]), &joint));
    assert_eq!(values(&[&joint, &one, &other], &[]), ["one", "other"]);
}

#[test]
fn a_rejected_successor_takes_a_claim_back_and_one_to_come_does_not_yet() {
    let claim = check(signed(draft("claim", 30), &[1]));
    let mut back = after(signed(draft("claim", 20), &[1]), &claim);
    back.lifecycle = Lifecycle::Rejected;
    let back = check(back);
    assert!(values(&[&claim, &back], &[]).is_empty());
    assert_eq!(values(&[&claim, &back], &[("lifecycle", "any")]), ["claim"]);
    let mut later = after(signed(draft("later", 0), &[1]), &claim);
    later.timestamp = Some(1_700_000_000 + 3_600);
    let later = check(later);
    assert_eq!(values(&[&claim, &later], &[]), ["claim"]);
    assert_eq!(values(&[&claim, &later], &[("as_of", "1700003600")]), ["later"]);
    // Filters choose among the claims that are left.
    let mut other = after(signed(draft("other", 20), &[1]), &claim);
    other.source_class = SourceClass::Anecdotal;
    let other = check(other);
    assert!(values(&[&claim, &other], &[("source_class", "3")]).is_empty());
}

#[test]
fn a_claim_with_many_answers_is_judged_in_slices() {
    let claim = check(signed(draft("claim", 30), &[1]));
    let mut all = vec![claim.clone()];
    all.extend(
        (0..1_000)
            .map(|number| check(after(signed(draft(&format!("{number:04}"), 20), &[2]), &claim))),
    );
    let count = |all: &[Assertion]| LensWorld::of(all).skeptic(&question(&[])).candidates_count;
    assert_eq!(count(&all), 1_001);
    all.insert(500, check(after(signed(draft("new", 20), &[1]), &claim)));
    assert_eq!(count(&all), 1_001);
}

#[test]
fn a_claim_that_is_over_is_listed_and_judged_no_more() {
    let mut short = signed(draft("short", 30), &[1]);
    short.expires = Some(1_700_000_000 - 10);
    let (short, long) = (check(short), check(signed(draft("long", 40), &[2])));
    let claims = [&short, &long];
    assert_eq!(values(&claims, &[]), ["long"]);
    assert_eq!(values(&claims, &[("history", "true")]), ["long", "short"]);
    // It is over from the second on that it names.
    assert_eq!(values(&claims, &[("as_of", "1699999990")]), ["long"]);
    assert_eq!(values(&claims, &[("as_of", "1699999989")]), ["long", "short"]);
    assert_eq!(values(&claims, &[("lifecycle", "any")]), ["long"]);
    let (page, resolution) = LensWorld::of(claims).page(&question(&[("lens", "recency")]));
    assert_eq!(page.len(), 2);
    assert_eq!(resolution.and_then(|it| it.winner), Some(long.seal().digest()));
    // What it replaced does not come back.
    let mut sale = after(signed(draft("sale", 20), &[2]), &long);
    sale.expires = Some(1_700_000_000);
    assert!(values(&[&long, &check(sale)], &[]).is_empty());
}
