use fastrand::Rng;

use super::*;
use crate::base::{Digest, Hlc, HlcClock, NodeId, Wall, limits};
use crate::model::{
    Assertion, Author, Draft, HalfLife, Lens, Object, Signature, SourceClass, Voices,
};

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

fn settings(half_life: Option<f64>, now: Wall, voices: Voices) -> LensSettings {
    let half_life = half_life.and_then(HalfLife::new);
    LensSettings { half_life, now, voices, explain: true }
}

/// Shows claims with their ids pass by pass until all is settled; how many passes that took.
fn show<F>(
    fold: &mut F,
    claims: &[(Digest, Assertion)],
    add: impl Fn(&mut F, &Digest, &Assertion, &[Author]),
    settle: impl Fn(&mut F, &mut usize) -> Settled,
) -> usize {
    for passes in 1.. {
        claims.iter().for_each(|(digest, claim)| add(fold, digest, claim, &claim.authors()));
        let settled = loop {
            match settle(fold, &mut 100) {
                Settled::Working => {}
                settled => break settled,
            }
        };
        if settled == Settled::Over {
            return passes;
        }
    }
    unreachable!("it is over at some time")
}

fn with_ids(claims: &[Assertion]) -> Vec<(Digest, Assertion)> {
    claims.iter().map(|claim| (claim.seal().digest(), claim.clone())).collect()
}

fn resolved(
    lens: Lens,
    settings: LensSettings,
    claims: &[(Digest, Assertion)],
) -> (Resolution, usize) {
    let mut resolver = Resolver::new(lens, settings);
    let add = |resolver: &mut Resolver, digest: &_, claim: &_, of: &[Author]| {
        resolver.add(digest, claim, of, &Support::default());
    };
    let passes = show(&mut resolver, claims, add, Resolver::settle);
    (resolver.finish(), passes)
}

/// By claims as voices.
fn resolve(lens: Lens, half_life: Option<f64>, claims: &[Assertion]) -> Resolution {
    resolved(lens, settings(half_life, NOW, Voices::Claims), &with_ids(claims)).0
}

fn skeptic_of(settings: LensSettings, claims: &[(Digest, Assertion)]) -> Skepticism {
    let mut skeptic = Skeptic::new(settings);
    show(&mut skeptic, claims, Skeptic::add, Skeptic::settle);
    skeptic.finish(|digest| {
        let found = claims.iter().find(|(of, _)| of == digest);
        found.map(|(_, claim)| claim.object.clone())
    })
}

fn skeptic(claims: &[Assertion]) -> Skepticism {
    skeptic_of(settings(None, NOW, Voices::Claims), &with_ids(claims))
}

fn layers_of(settings: LensSettings, claims: &[(Digest, Assertion)]) -> Layers {
    let mut layered = Layered::new(settings);
    show(&mut layered, claims, Layered::add, Layered::settle);
    layered.finish()
}

fn layer(claims: &[Assertion]) -> Layers {
    layers_of(settings(None, NOW, Voices::Claims), &with_ids(claims))
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
        let settings = settings(Some(half_life), NOW, Voices::Claims);
        let found = skeptic_of(settings, &with_ids(&claims));
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
    let later = settings(None, Wall(NOW.0 + 1000), Voices::Claims);
    let with_ids = with_ids(&claims);
    for lens in Lens::ALL {
        let (resolution, _) = resolved(lens, later, &with_ids);
        assert_eq!(resolution.winner, Some(with_ids[1].0), "{lens:?}");
        assert_eq!(resolution.candidates_count, 2);
    }
    assert_eq!(skeptic_of(later, &with_ids).claims_count, 2);
    assert_eq!(layers_of(later, &with_ids).layers.len(), 2);
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
    // With more values than are collected in one pass, and with fewer.
    for values in [200_u32, 500] {
        let mut claims: Vec<(Digest, Assertion)> = Vec::new();
        for timestamp in 0..40_u64 {
            claims.push((Digest([timestamp as u8; 32]), claim(("a", 0.5, timestamp, 3))));
        }
        for value in 0..values {
            let mut row = claim(("a", 0.5, 0, 3));
            row.object = Object::Number(f64::from(value));
            claims.push((Digest::of(&value.to_le_bytes()), row));
        }
        let found = skeptic_of(settings(None, NOW, Voices::Claims), &claims);
        let count = u64::from(values) + 1;
        assert_eq!((found.claims.len(), found.claims_count), (limits::CLAIMS_MAX, count));
        let newest: Vec<Digest> = (24..40).rev().map(|byte| Digest([byte; 32])).collect();
        let first = &found.claims[0];
        assert_eq!((first.assertions_count, &first.assertions), (40, &newest));
        assert!(found.claims.iter().skip(1).all(|claim| claim.assertions.len() == 1));
    }
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

/// A claim of a value by a source, as of a second; numbers stand for all of them.
fn numbered(number: u32, value: u32, source: u32, class: u64) -> (Digest, Assertion) {
    let mut row = claim(("", 0.5, u64::from(number), class));
    row.object = Object::Number(f64::from(value));
    row.source_hash = Digest::of(&source.to_le_bytes());
    (Digest::of(&number.to_le_bytes()), row)
}

#[test]
fn a_majority_among_many_single_values_is_exact() {
    // 8,200 values that one claims each, and one that 40,000 claim.
    let mut rng = Rng::with_seed(7);
    let mut claims: Vec<(Digest, Assertion)> =
        (0..48_200).map(|number| numbered(number, number.min(8_200), number, 3)).collect();
    for voices in [Voices::Claims, Voices::Agents] {
        rng.shuffle(&mut claims);
        let settings = settings(None, NOW, voices);
        let newest = Digest::of(&48_199_u32.to_le_bytes());
        for lens in [Lens::Consensus, Lens::Recency] {
            let (found, passes) = resolved(lens, settings, &claims);
            assert_eq!((found.winner, found.resolution_confidence), (Some(newest), 0.414_938));
            assert_eq!((found.sampled, found.voices_count), (true, 48_200));
            assert!(passes <= 3 * 2, "{passes} passes");
        }
        let found = skeptic_of(settings, &claims);
        let first = &found.claims[0];
        assert_eq!((first.weight_share, first.voices_count), (0.829_876, 40_000));
        assert_eq!((first.assertions_count, first.assertions[0]), (40_000, newest));
        assert_eq!((found.status, found.candidates_count), (Agreement::Agreed, 48_200));
        // Light values weigh the same here, so that the estimate is the truth: the entropy is
        // 0.657 + 0.170 log2(8200), over log2(8201).
        assert_eq!((found.claims_count, found.conflict_score), (8_201, 0.220_731));
    }
}

#[test]
fn each_class_of_a_layered_view_is_counted_with_all_the_memory() {
    let mut rng = Rng::with_seed(8);
    // More values and voices than a sixth of the memory holds, and a heavy one, in two classes.
    let mut claims: Vec<(Digest, Assertion)> = (0..12_000)
        .map(|number| numbered(number, (number / 2).min(2_000), number, u64::from(number % 2)))
        .collect();
    let mut answers = Vec::new();
    for _ in 0..2 {
        rng.shuffle(&mut claims);
        answers.push(layers_of(settings(None, NOW, Voices::Agents), &claims));
    }
    assert_eq!(answers[0], answers[1]);
    for layer in &answers[0].layers {
        assert_eq!(
            (layer.candidates_count, layer.voices_count, layer.sampled),
            (6_000, 6_000, false)
        );
        // A third of the voices in 2,000 values, the rest in one.
        assert_eq!(layer.conflict_score, 0.417_048);
    }
}

#[test]
fn an_agent_has_one_voice_for_a_value_however_often_it_claims_it() {
    let by = |agent: u8, row: ClaimParts| {
        let mut row = claim(row);
        row.signatures =
            vec![Signature { agent_id: [agent; 32], signature: [0; 64], timestamp: 0 }];
        row
    };
    let mut claims: Vec<Assertion> = (0..5).map(|at| by(1, ("red", 0.4, at, 3))).collect();
    claims.extend([by(2, ("blue", 0.5, 1, 3)), by(3, ("blue", 0.5, 2, 3))]);
    let claims = with_ids(&claims);
    let by_agents = settings(None, NOW, Voices::Agents);
    let (found, _) = resolved(Lens::Consensus, by_agents, &claims);
    assert_eq!((found.winner, found.voices_count), (Some(claims[6].0), 3));
    assert_eq!(found.candidates_count, 7);
    let shares: Vec<_> = skeptic_of(by_agents, &claims).claims;
    let shares: Vec<_> =
        shares.iter().map(|it| (it.weight_share, it.voices_count, it.assertions_count)).collect();
    assert_eq!(shares, [(0.714_286, 2, 2), (0.285_714, 1, 5)]);
    let (old, _) = resolved(Lens::Consensus, settings(None, NOW, Voices::Claims), &claims);
    assert_eq!((old.winner, old.voices_count), (Some(claims[4].0), 7));
}

#[test]
fn unsigned_claims_have_a_voice_per_source_and_joint_ones_a_voice_per_agent() {
    let mut claims =
        [("a", 0.5, 1, 3), ("a", 0.9, 2, 3), ("a", 0.2, 3, 3), ("b", 0.6, 4, 3)].map(claim);
    claims[1].source_hash = Digest([1; 32]);
    claims[3].signatures = (1..4)
        .map(|agent| Signature { agent_id: [agent; 32], signature: [0; 64], timestamp: 0 })
        .collect();
    let found = skeptic_of(settings(None, NOW, Voices::Agents), &with_ids(&claims));
    let shares: Vec<_> = found.claims.iter().map(|it| (it.weight_share, it.voices_count)).collect();
    // A voice weighs what its weightiest claim does: 0.5 and 0.9 against three times 0.6.
    assert_eq!(shares, [(0.5625, 3), (0.4375, 2)]);
}

#[test]
fn beyond_the_bound_every_order_keeps_the_same_sample() {
    let mut rng = Rng::with_seed(6);
    let mut claims: Vec<(Digest, Assertion)> = (0..3 * limits::GROUPS_MAX as u32)
        .map(|number| numbered(number, number / 2, number, 3))
        .collect();
    let mut answers = Vec::new();
    for _ in 0..3 {
        rng.shuffle(&mut claims);
        let settings = settings(None, NOW, Voices::Agents);
        let (resolution, _) = resolved(Lens::Consensus, settings, &claims);
        answers.push((resolution, skeptic_of(settings, &claims)));
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    let (resolution, found) = &answers[0];
    assert!(resolution.sampled && found.sampled);
    assert_eq!(found.claims_count, limits::GROUPS_MAX as u64 * 3 / 2);
    // What is shown is exact: each value was claimed twice.
    assert!(found.claims.iter().all(|claim| claim.assertions_count == 2));
    assert_eq!(resolution.conflict_score, 1.0);
}
