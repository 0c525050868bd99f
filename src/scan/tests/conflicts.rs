//! The search for conflicts against plain lists: every pair is judged by the model.
//!
//! Never: depends on the order of arrival.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use fastrand::Rng;

use super::model::Model;
use super::world::{LensWorld, check, draft, signed};
use crate::base::{Digest, limits};
use crate::model::{Assertion, ConflictsQuery, Lifecycle, Object, Query};
use crate::scan::Conflict;

fn asked(parameters: &[(&str, &str)]) -> ConflictsQuery {
    let mut asked = ConflictsQuery::default();
    for (name, value) in parameters {
        asked.set(name, value).expect("a good parameter");
    }
    asked
}

fn claims(rng: &mut Rng, count: usize, subjects: u32) -> Vec<(Digest, Assertion)> {
    let mut all = Vec::new();
    for _ in 0..count {
        let mut draft = draft("", rng.u64(0..900));
        draft.subject = format!("s{}", rng.u32(0..subjects));
        draft.predicate = ["p", "q", "stemedb:vote"][rng.usize(0..3)].into();
        draft.object = Object::Number(f64::from(rng.u32(0..3).min(rng.u32(0..3))));
        draft.confidence = f64::from(rng.u32(0..=10)) / 10.0;
        if rng.u8(0..9) == 0 {
            draft.lifecycle = Lifecycle::Rejected;
        }
        let agents = if rng.bool() { vec![rng.u8(0..4)] } else { vec![] };
        all.push(check(signed(draft, &agents)));
    }
    let mut seen = BTreeSet::new();
    let with_ids = all.into_iter().map(|claim| (claim.seal().digest(), claim));
    with_ids.filter(|(digest, _)| seen.insert(*digest)).collect()
}

/// What is to be found: names, the score before it is rounded, how many values and claims.
fn expected(
    claims: &[(Digest, Assertion)],
    asked: &ConflictsQuery,
) -> Vec<(String, String, f64, u64, u64)> {
    let names = |claim: &Assertion| (claim.subject.clone(), claim.predicate.clone());
    let pairs: BTreeSet<_> = claims.iter().map(|(_, claim)| names(claim)).collect();
    let mut found = Vec::new();
    for (subject, predicate) in pairs {
        if predicate.starts_with("stemedb:") || !subject.starts_with(&asked.prefix) {
            continue;
        }
        let names = (Some(subject.clone()), Some(predicate.clone()));
        let question = Query { subject: names.0, predicate: names.1, ..asked.of.clone() };
        let model = Model::new(claims, &question);
        let values = model.values_count() as u64;
        if values > 1 && (model.conflict() * 1e6).round() / 1e6 >= asked.min_score {
            found.push((subject, predicate, model.conflict(), values, model.candidates_count()));
        }
    }
    found
}

fn is_near(one: f64, other: f64) -> bool {
    (one - other).abs() <= 0.500_1e-6
}

#[test]
fn every_pair_whose_claims_disagree_is_found_the_worst_first() {
    let mut rng = Rng::with_seed(300);
    for (count, subjects) in [(0, 1), (1, 1), (30, 3), (400, 20), (400, 300)] {
        let mut claims = claims(&mut rng, count, subjects);
        let asked =
            [&[][..], &[("prefix", "s1"), ("min_score", "0.9")], &[("history", "true")]].map(asked);
        for asked in asked {
            let expected = expected(&claims, &asked);
            let mut answers = Vec::new();
            for _ in 0..2 {
                rng.shuffle(&mut claims);
                let world = LensWorld::of(claims.iter().map(|(_, claim)| claim));
                answers.push(world.conflicts(&asked));
            }
            assert_eq!(answers[0], answers[1]);
            let found = &answers[0];
            assert_eq!(found.len(), expected.len().min(asked.of.limit));
            assert!(found.is_sorted_by_key(|it| {
                let score = Reverse((it.found.conflict_score * 1e6).round() as u64);
                (score, it.subject.clone(), it.predicate.clone())
            }));
            let mut left = expected;
            for Conflict { subject, predicate, found } in found {
                let index = left.iter().position(|it| (&it.0, &it.1) == (subject, predicate));
                let (_, _, score, values, claims) = left.remove(index.expect("it disagrees"));
                assert!(is_near(found.conflict_score, score), "{subject} {predicate}");
                assert_eq!((found.claims_count, found.candidates_count), (values, claims));
            }
            let least = found.last().map_or(1.0, |it| it.found.conflict_score);
            assert!(left.iter().all(|it| it.2 <= least + 1e-6), "a worse one was left out");
        }
    }
}

#[test]
fn the_list_is_bounded_and_the_same_in_any_order() {
    // Names of many lengths, more than the list holds, and pairs whose scores tie.
    let mut claims = Vec::new();
    for number in 0..700_u32 {
        for value in ["a", "b"] {
            let mut draft = draft(value, 9);
            draft.subject = format!("{number:03}{}", "x".repeat(number as usize * 7 % 41 * 100));
            draft.predicate = "y".repeat(1 + number as usize % 5 * 1_000);
            draft.confidence = if value == "a" { 1.0 } else { f64::from(number % 5) / 10.0 };
            claims.push(check(draft));
        }
    }
    let mut rng = Rng::with_seed(301);
    let mut answers = Vec::new();
    for _ in 0..2 {
        rng.shuffle(&mut claims);
        answers.push(LensWorld::of(&claims).conflicts(&asked(&[("limit", "1000")])));
    }
    assert_eq!(answers[0], answers[1]);
    let bytes: usize = answers[0].iter().map(|it| it.subject.len() + it.predicate.len()).sum();
    assert!(bytes <= limits::PAGE_BYTES_MAX && bytes > limits::PAGE_BYTES_MAX / 2, "{bytes}");
    let three = LensWorld::of(&claims).conflicts(&asked(&[("limit", "3")]));
    assert_eq!(three, answers[0][..3]);
}

#[test]
fn more_pairs_than_are_known_at_a_time_are_judged_once_each() {
    let pair = |number: u32, value: &str, ago| {
        let mut draft = draft(value, ago);
        draft.subject = format!("s{number}");
        check(draft)
    };
    // The last pairs of the walk come again and again: the first claims that arrived are met last.
    let mut claims: Vec<Assertion> = Vec::new();
    for number in 0..9 {
        claims.extend((0..5).map(|ago| pair(number, ["a", "b"][ago % 2], ago as u64)));
    }
    claims.extend((9..17_000).map(|number| pair(number, "a", 1)));
    let found = LensWorld::of(&claims).conflicts(&asked(&[]));
    let names: Vec<String> = found.into_iter().map(|it| it.subject).collect();
    assert_eq!(names, (0..9).map(|number| format!("s{number}")).collect::<Vec<_>>());
}
