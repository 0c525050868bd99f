use fastrand::Rng;

use super::*;
use crate::base::{Hlc, HlcClock, NodeId, limits};
use crate::model::{Draft, Object, SourceClass};

const NOW: Wall = Wall(1_700_000_000_000);

/// One row: value, confidence, timestamp, source class.
type ClaimParts = (&'static str, f64, u64, u64);

fn claim((value, confidence, timestamp, class): ClaimParts) -> Assertion {
    let object = Object::Text(value.to_owned());
    let mut draft = Draft::new("s".into(), "p".into(), object);
    draft.confidence = confidence;
    draft.timestamp = Some(timestamp);
    draft.source_class = SourceClass::from_number(class).expect("0 to 5");
    draft.check(&mut HlcClock::new(NodeId([1; 16])), NOW).expect("keeps the rules")
}

fn resolve(lens: Lens, half_life: Option<f64>, claims: &[Assertion]) -> Resolution {
    let half_life = half_life.and_then(HalfLife::new);
    let mut resolver = Resolver::new(lens, half_life, NOW);
    for claim in claims {
        resolver.add(&claim.seal().digest(), claim);
    }
    resolver.finish()
}

fn skeptic(claims: &[Assertion]) -> Skepticism {
    let mut skeptic = Skeptic::new(None, NOW);
    for claim in claims {
        skeptic.add(&claim.seal().digest(), claim);
    }
    skeptic.finish(|digest| {
        let mut sealed = claims.iter().map(|claim| (claim, claim.seal().digest()));
        sealed.find(|(_, of)| of == digest).map(|(claim, _)| claim.object.clone())
    })
}

fn layer(claims: &[Assertion]) -> Layers {
    let mut layered = Layered::new(None, NOW);
    for claim in claims {
        layered.add(&claim.seal().digest(), claim);
    }
    layered.finish()
}

/// The index of the row that wins.
fn winner(lens: Lens, half_life: Option<f64>, rows: &[ClaimParts]) -> Option<usize> {
    let claims: Vec<Assertion> = rows.iter().copied().map(claim).collect();
    let winner = resolve(lens, half_life, &claims).winner;
    claims.iter().position(|claim| Some(claim.seal().digest()) == winner)
}

#[test]
fn each_lens_has_its_own_winner() {
    let rows = [
        ("red", 0.5, 40, 3),
        ("blue", 0.9, 30, 4),
        ("green", 0.2, 50, 5),
        ("red", 0.1, 45, 5),
        ("white", 0.3, 20, 1),
        ("black", 0.4, 10, 1),
    ];
    let expected = [
        (Lens::Recency, 2),
        (Lens::Hlc, 2),
        (Lens::Confidence, 1),
        (Lens::Consensus, 3),
        (Lens::Authority, 5),
    ];
    for (lens, index) in expected {
        assert_eq!(winner(lens, None, &rows), Some(index), "{lens:?}");
    }
    assert_eq!(winner(Lens::Recency, None, &[]), None);
}

#[test]
fn ties_are_broken_in_the_documented_order() {
    let newer = [("a", 0.5, 10, 3), ("b", 0.5, 20, 3)];
    for lens in [Lens::Confidence, Lens::Consensus, Lens::Authority] {
        assert_eq!(winner(lens, None, &newer), Some(1), "{lens:?}");
    }
    // One assertion each: the weight decides before the age does.
    assert_eq!(winner(Lens::Consensus, None, &[("a", 0.6, 10, 3), ("b", 0.5, 20, 3)]), Some(0));
    let mut tied = [claim(("a", 0.5, 10, 3)), claim(("b", 0.5, 10, 3))];
    let digests = |tied: &[Assertion; 2]| [0, 1].map(|index| tied[index].seal().digest());
    for lens in Lens::ALL {
        let greater = digests(&tied).into_iter().max();
        assert_eq!(resolve(lens, None, &tied).winner, greater, "{lens:?}");
    }
    tied[0].hlc = Hlc { counter: 1, node: NodeId([1; 16]), ..tied[0].hlc };
    tied[1].hlc = Hlc { counter: 1, node: NodeId([2; 16]), ..tied[1].hlc };
    for lens in Lens::ALL {
        assert_eq!(resolve(lens, None, &tied).winner, Some(digests(&tied)[1]), "{lens:?}");
    }
    tied[0].hlc = tied[1].hlc;
    tied[0].source_hash = Digest([1; 32]);
    assert_eq!(resolve(Lens::Hlc, None, &tied).winner, Some(digests(&tied)[0]));
}

#[test]
fn decay_lets_the_young_win() {
    let now = NOW.seconds();
    let rows = [("old", 1.0, now - 200, 3), ("young", 0.3, now, 3)];
    assert_eq!(winner(Lens::Confidence, None, &rows), Some(0));
    assert_eq!(winner(Lens::Confidence, Some(200.0), &rows), Some(0));
    assert_eq!(winner(Lens::Confidence, Some(100.0), &rows), Some(1));
    let lone = [claim(("old", 0.8, now - 200, 3))];
    assert_eq!(resolve(Lens::Recency, Some(100.0), &lone).resolution_confidence, 0.2);
    let future = [claim(("new", 0.8, now + 60, 3))];
    assert_eq!(resolve(Lens::Recency, Some(100.0), &future).resolution_confidence, 0.8);
}

#[test]
fn shares_do_not_change_with_the_age_that_all_have_in_common() {
    for half_lives in [0, 1, 60, 63, 70, 1_000, 1_000_000] {
        let then = NOW.seconds() - 3600 * half_lives.min(400_000);
        let half_life = if half_lives > 400_000 { 1440.0 } else { 3600.0 };
        let claims = [("a", 0.9, then, 3), ("b", 0.1, then, 3)].map(claim);
        let mut skeptic = Skeptic::new(HalfLife::new(half_life), NOW);
        claims.iter().for_each(|claim| skeptic.add(&claim.seal().digest(), claim));
        let found = skeptic.finish(|_| None);
        let shares = [0, 1].map(|index: usize| found.claims[index].weight_share);
        assert_eq!((shares, found.status), ([0.9, 0.1], Agreement::Agreed), "{half_lives}");
        assert_eq!(found.conflict_score, 0.468_996, "{half_lives}");
        let winner = resolve(Lens::Confidence, Some(half_life), &claims).winner;
        assert_eq!(winner, Some(claims[0].seal().digest()), "{half_lives}");
    }
}

#[test]
fn confidences_weigh_what_the_numbers_say() {
    let claims = [("a", 1e-20, 1, 3), ("b", 5e-324, 2, 3)].map(claim);
    let found = skeptic(&claims);
    let shares = [0, 1].map(|index: usize| found.claims[index].weight_share);
    assert_eq!((shares, found.status), ([1.0, 0.0], Agreement::Agreed));
    for lens in [Lens::Confidence, Lens::Consensus] {
        assert_eq!(resolve(lens, None, &claims).winner, Some(claims[0].seal().digest()));
    }
}

#[test]
fn a_claim_whose_time_has_not_come_does_not_count_until_it_has() {
    let drift = limits::HLC_DRIFT_MAX.as_secs();
    let now = NOW.seconds();
    let rows = [("here", 0.5, now - 9, 3), ("early", 1.0, now + drift + 1, 1)];
    let claims = rows.map(claim);
    let first = &claims[..1];
    for lens in Lens::ALL {
        assert_eq!(resolve(lens, None, &claims), resolve(lens, None, first), "{lens:?}");
    }
    assert_eq!((skeptic(&claims), layer(&claims)), (skeptic(first), layer(first)));
    let later = Wall(NOW.0 + 1000);
    for lens in Lens::ALL {
        let mut resolver = Resolver::new(lens, None, later);
        claims.iter().for_each(|claim| resolver.add(&claim.seal().digest(), claim));
        let resolution = resolver.finish();
        assert_eq!(resolution.winner, Some(claims[1].seal().digest()), "{lens:?}");
        assert_eq!(resolution.candidates_count, 2);
    }
    let (mut skeptic, mut layered) = (Skeptic::new(None, later), Layered::new(None, later));
    for claim in &claims {
        skeptic.add(&claim.seal().digest(), claim);
        layered.add(&claim.seal().digest(), claim);
    }
    assert_eq!((skeptic.finish(|_| None).claims_count, layered.finish().layers.len()), (2, 2));
}

#[test]
fn confidence_in_a_resolution_is_the_winners_weight_times_its_share() {
    let claims = [("a", 0.9, 10, 3), ("b", 0.6, 5, 3), ("a", 0.3, 5, 3)].map(claim);
    let resolution = resolve(Lens::Recency, None, &claims);
    assert_eq!(resolution.resolution_confidence, 0.6);
    assert_eq!(resolution.candidates_count, 3);
    let alone = resolve(Lens::Recency, None, &claims[..1]);
    assert_eq!((alone.resolution_confidence, alone.conflict_score), (0.9, 0.0));
    let none = resolve(Lens::Recency, None, &[]);
    assert_eq!((none.resolution_confidence, none.conflict_score), (0.0, 0.0));
}

#[test]
fn the_skeptic_separates_unanimous_agreed_and_contested() {
    let rows: [(&[ClaimParts], Agreement, f64); 7] = [
        (&[], Agreement::Unanimous, 0.0),
        (&[("a", 0.4, 1, 3), ("a", 0.9, 2, 3)], Agreement::Unanimous, 0.0),
        (&[("a", 0.8, 1, 3), ("b", 0.2, 2, 3)], Agreement::Agreed, 0.721_928),
        (&[("a", 0.79, 1, 3), ("b", 0.2, 2, 3)], Agreement::Contested, 0.725_95),
        (&[("a", 0.5, 1, 3), ("b", 0.5, 2, 3)], Agreement::Contested, 1.0),
        // Nothing weighs anything: numbers count.
        (&[("a", 0.0, 1, 3), ("b", 0.0, 2, 3)], Agreement::Contested, 1.0),
        (&[("a", 1.0, 1, 3), ("b", 0.0, 2, 3)], Agreement::Agreed, 0.0),
    ];
    for (rows, status, conflict) in rows {
        let claims: Vec<Assertion> = rows.iter().copied().map(claim).collect();
        let found = skeptic(&claims);
        assert_eq!((found.status, found.conflict_score), (status, conflict), "{rows:?}");
        assert_eq!(found.candidates_count, rows.len() as u64);
    }
}

#[test]
fn the_skeptic_lists_values_by_share_and_assertions_by_age() {
    let rows =
        [("a", 0.3, 1, 3), ("b", 1.0, 2, 3), ("a", 0.3, 3, 3), ("c", 0.4, 9, 3), ("c", 0.0, 5, 3)];
    let claims = rows.map(claim);
    let found = skeptic(&claims);
    let listed: Vec<_> = found
        .claims
        .iter()
        .map(|claim| (claim.object.clone(), claim.weight_share, claim.assertions_count))
        .collect();
    let text = |value: &str| Some(Object::Text(value.to_owned()));
    assert_eq!(listed, [(text("b"), 0.5, 1), (text("a"), 0.3, 2), (text("c"), 0.2, 2)]);
    let newest = [2, 0].map(|index: usize| claims[index].seal().digest());
    assert_eq!(found.claims[1].assertions, newest);
}

#[test]
fn lists_of_the_skeptic_are_bounded() {
    let mut skeptic = Skeptic::new(None, NOW);
    let mut row = claim(("a", 0.5, 0, 3));
    for timestamp in 0..40 {
        row.timestamp = timestamp;
        skeptic.add(&Digest([timestamp as u8; 32]), &row);
    }
    for value in 0..200 {
        row.object = Object::Number(f64::from(value));
        skeptic.add(&Digest::of(&[value as u8, 1]), &row);
    }
    let found = skeptic.finish(|_| None);
    assert_eq!((found.claims.len(), found.claims_count), (limits::CLAIMS_MAX, 201));
    let newest: Vec<Digest> = (24..40).rev().map(|byte| Digest([byte; 32])).collect();
    assert_eq!((found.claims[0].assertions_count, &found.claims[0].assertions), (40, &newest));
}

#[test]
fn layers_have_a_winner_each_and_the_first_wins_over_all() {
    let rows =
        [("a", 0.2, 1, 1), ("b", 0.9, 2, 4), ("c", 0.9, 1, 4), ("a", 0.3, 1, 5), ("b", 0.1, 9, 1)];
    let claims = rows.map(claim);
    let digest = |index: usize| claims[index].seal().digest();
    let found = layer(&claims);
    let listed: Vec<_> = found
        .layers
        .iter()
        .map(|layer| (layer.source_class.number(), layer.winner, layer.candidates_count))
        .collect();
    assert_eq!(listed, [(1, digest(0), 2), (4, digest(1), 2), (5, digest(3), 1)]);
    let conflicts: Vec<f64> = found.layers.iter().map(|layer| layer.conflict_score).collect();
    assert_eq!(conflicts, [0.918_296, 1.0, 0.0]);
    // Two of three voices say "a": entropy 0.918 bits of log2(3).
    assert_eq!((found.winner, found.cross_class_conflict), (Some(digest(0)), 0.579_38));
    assert_eq!(layer(&claims[..1]).cross_class_conflict, 0.0);
    assert_eq!(layer(&[claims[0].clone(), claims[1].clone()]).cross_class_conflict, 1.0);
    assert_eq!(layer(&[]).winner, None);
}

/// Random claims over few values, many of them tied.
fn crowd(rng: &mut Rng, size: usize) -> Vec<Assertion> {
    let one = |rng: &mut Rng| {
        let value = rng.choice(["a", "b", "c", "d"]).expect("four");
        claim((
            value,
            f64::from(rng.u32(0..=10)) / 10.0,
            1_699_999_000 + rng.u64(0..3),
            rng.u64(0..6),
        ))
    };
    (0..size).map(|_| one(rng)).collect()
}

#[test]
fn the_order_of_arrival_changes_nothing() {
    let mut rng = Rng::with_seed(5);
    for round in 0..60 {
        let mut claims = crowd(&mut rng, round);
        let half_life = rng.bool().then_some(777.7);
        let answers = |claims: &[Assertion]| {
            let lenses = Lens::ALL.map(|lens| resolve(lens, half_life, claims));
            (lenses, skeptic(claims), layer(claims))
        };
        let first = answers(&claims);
        for _ in 0..4 {
            rng.shuffle(&mut claims);
            assert_eq!(answers(&claims), first);
        }
    }
}

#[test]
fn beyond_the_bound_every_order_keeps_the_same_sample() {
    let mut rng = Rng::with_seed(6);
    let mut row = claim(("a", 0.5, 1, 3));
    let mut numbers: Vec<u32> =
        (0..3 * limits::GROUPS_MAX as u32).map(|number| number / 2).collect();
    let mut answers = Vec::new();
    for _ in 0..3 {
        rng.shuffle(&mut numbers);
        let mut resolver = Resolver::new(Lens::Consensus, None, NOW);
        let mut skeptic = Skeptic::new(None, NOW);
        let mut seen = vec![false; numbers.len()];
        for &number in &numbers {
            row.object = Object::Number(f64::from(number));
            let is_second = std::mem::replace(&mut seen[number as usize], true);
            let digest = Digest::of(&[&number.to_le_bytes()[..], &[u8::from(is_second)]].concat());
            resolver.add(&digest, &row);
            skeptic.add(&digest, &row);
        }
        answers.push((resolver.finish(), skeptic.finish(|_| None)));
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    let (resolution, found) = &answers[0];
    assert!(resolution.sampled && found.sampled);
    assert_eq!(found.claims_count, limits::GROUPS_MAX as u64);
    // What is kept is exact: each value was claimed twice.
    assert!(found.claims.iter().all(|claim| claim.assertions_count == 2));
    assert_eq!(resolution.conflict_score, 1.0);
}
