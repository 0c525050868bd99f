//! Random claims and questions, held against the model.
//!
//! Never: draws a seed.

use fastrand::Rng;

use super::lists::any_filters;
use super::model::Model;
use super::world::{LensWorld, NOW, question};
use crate::base::{Digest, Hlc, HlcClock, NodeId, limits};
use crate::lens::Agreement;
use crate::model::{Assertion, Draft, Lens, Lifecycle, Object, Query, Signature, SourceClass};

/// What a set is like.
struct Shape {
    claims: usize,
    values: u32,
    agents: u8,
    sources: u32,
    /// Seconds into the past.
    span: u64,
    /// One claim in so many has a parent.
    parents: usize,
}

fn object(rng: &mut Rng, values: u32) -> Object {
    // A value of two draws is the more likely the lower it is: some are heavy, most are light.
    let number = rng.u32(0..values).min(rng.u32(0..values)).min(rng.u32(0..values));
    match number % 4 {
        0 => Object::Text(format!("value {number}")),
        1 => Object::Number(f64::from(number) / 8.0),
        2 => Object::Reference(format!("value {number}")),
        _ if number == 3 => Object::Boolean(true),
        _ => Object::Text(format!("v{number}")),
    }
}

fn claim(rng: &mut Rng, shape: &Shape, before: &[(Digest, Assertion)]) -> Assertion {
    let mut draft = Draft::new("s".into(), "p".into(), object(rng, shape.values));
    let ago = rng.u64(0..shape.span);
    // Some at one second, some that have not come.
    let timestamp = match rng.u8(0..20) {
        0 => NOW.seconds() + rng.u64(0..200),
        1..6 => NOW.seconds() - ago / 1000 * 1000,
        _ => NOW.seconds() - ago,
    };
    draft.timestamp = Some(timestamp);
    draft.confidence = match rng.u8(0..8) {
        0 => rng.choice([0.0, 5e-324, 1e-300, 1e-20, 1.0]).expect("five"),
        1..4 => f64::from(rng.u32(0..=10)) / 10.0,
        _ => rng.f64(),
    };
    let classes = [SourceClass::Clinical, SourceClass::Expert, SourceClass::Anecdotal];
    draft.source_class = rng.choice(classes).expect("three");
    draft.source_hash = Digest([rng.u32(0..shape.sources) as u8; 32]);
    if shape.sources > 256 {
        draft.source_hash = Digest::of(&rng.u32(0..shape.sources).to_le_bytes());
    }
    draft.epoch = (rng.u8(0..4) == 0).then(|| [rng.u8(0..3); 32]);
    draft.expires = (rng.u8(0..5) == 0).then(|| timestamp + rng.u64(0..shape.span));
    if rng.u8(0..5) == 0 {
        draft.lifecycle = rng.choice(Lifecycle::ALL).expect("five");
    }
    for agent in 0..shape.agents {
        if rng.u8(..shape.agents) == 0 {
            let agent_id = [agent; 32];
            draft.signatures.push(Signature { agent_id, signature: [0; 64], timestamp: 1 });
        }
    }
    if draft.signatures.is_empty() && rng.bool() {
        let (counter, node) = (rng.u32(0..3), NodeId([rng.u8(0..3); 16]));
        draft.stamp = Some(Hlc { time: timestamp * 1000 + rng.u64(0..3), counter, node });
    }
    if rng.usize(..shape.parents) == 0 && !before.is_empty() {
        // One of the last few, so that there are chains, or any.
        let near = before.len() - 1 - rng.usize(..before.len().min(5));
        let parent = if rng.bool() { near } else { rng.usize(..before.len()) };
        draft.parent_hash = Some(before[parent].0);
        if rng.u8(0..20) == 0 {
            draft.parent_hash = Some(Digest([rng.u8(..); 32]));
        }
        if rng.u8(0..20) == 0 {
            draft.predicate = "other".into();
        }
    }
    draft.check(&mut HlcClock::new(NodeId::NONE), NOW).expect("it keeps the rules")
}

fn claims(rng: &mut Rng, shape: &Shape) -> Vec<(Digest, Assertion)> {
    let mut all: Vec<(Digest, Assertion)> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    while all.len() < shape.claims {
        let claim = claim(rng, shape, &all);
        let digest = claim.seal().digest();
        if seen.insert(digest) {
            all.push((digest, claim));
        }
    }
    all
}

/// A statement about something, for the most part a good one.
fn statement(rng: &mut Rng, (about, predicate): ([u8; 32], &str), shape: &Shape) -> Assertion {
    let object = match rng.u8(0..12) {
        0 => Object::Number(f64::from(rng.u32(2..9))),
        1 => Object::Text("0.5".into()),
        2..5 => Object::Number(rng.f64()),
        _ => Object::Number(f64::from(rng.u32(0..=4)) / 4.0),
    };
    let object = match predicate {
        "stemedb:superseded_by" if rng.u8(0..5) > 0 => {
            Object::Reference(Digest([rng.u8(0..4); 32]).to_string())
        }
        _ => object,
    };
    let mut draft = Draft::new(Digest(about).to_string(), predicate.into(), object);
    let ago = rng.u64(0..shape.span);
    let is_late = rng.u8(0..20) == 0;
    let timestamp = if is_late { NOW.seconds() + rng.u64(0..200) } else { NOW.seconds() - ago };
    draft.timestamp = Some(timestamp);
    draft.source_hash = Digest([rng.u32(0..shape.sources.min(9)) as u8; 32]);
    draft.expires = (rng.u8(0..9) == 0).then(|| timestamp + rng.u64(0..shape.span));
    if rng.u8(0..9) == 0 {
        draft.lifecycle = rng.choice(Lifecycle::ALL).expect("five");
    }
    for agent in 0..5 {
        if rng.u8(..4) == 0 {
            let agent_id = [agent; 32];
            draft.signatures.push(Signature { agent_id, signature: [0; 64], timestamp: 1 });
        }
    }
    draft.check(&mut HlcClock::new(NodeId::NONE), NOW).expect("it keeps the rules")
}

/// Adds statements about some of the claims.
fn add_statements(rng: &mut Rng, shape: &Shape, claims: &mut Vec<(Digest, Assertion)>) {
    let count = claims.len();
    for _ in 0..count.min(1_000) {
        let about = match rng.u8(0..6) {
            0 => ([rng.u8(0..3); 32], "stemedb:superseded_by"),
            1 | 2 => ([rng.u8(0..5); 32], "stemedb:trust"),
            _ => (claims[rng.usize(..count)].0.0, "stemedb:vote"),
        };
        let vote = statement(rng, about, shape);
        let digest = vote.seal().digest();
        if claims[count..].iter().all(|(known, _)| *known != digest) {
            claims.push((digest, vote));
        }
    }
}

fn any_question(rng: &mut Rng, span: u64, claims: &[(Digest, Assertion)]) -> Query {
    let mut parameters: Vec<(&str, String)> = Vec::new();
    if rng.u8(0..3) == 0 {
        let filters = any_filters(rng, claims).into_iter();
        // Asked for below, or always.
        let others = ["subject", "predicate", "lifecycle", "source_class", "as_of"];
        parameters.extend(filters.filter(|(name, _)| !others.contains(name)));
    }
    // As many half-lives as a thousand, whole ones and others.
    let half_life = (span / rng.u64(1..1000)).max(1) as f64;
    match rng.u8(0..4) {
        0 => parameters.push(("half_life", half_life.to_string())),
        1 => parameters.push(("half_life", (half_life + 0.5).to_string())),
        _ => {}
    }
    if rng.u8(0..4) == 0 {
        parameters.push(("as_of", (NOW.seconds() - rng.u64(0..span / 2 + 1)).to_string()));
    }
    if rng.u8(0..4) == 0 {
        parameters.push(("voices", "claims".into()));
    }
    if rng.u8(0..5) == 0 {
        parameters.push(("history", "true".into()));
    }
    if rng.u8(0..5) == 0 {
        let list = rng.choice(["any", "!Rejected", "approved,under_review", "Deprecated"]);
        parameters.push(("lifecycle", list.expect("four").into()));
    }
    if rng.u8(0..6) == 0 {
        parameters.push(("source_class", "Expert".into()));
    }
    if rng.u8(0..4) == 0 {
        parameters.push(("epochs", "current".into()));
    }
    let borrowed: Vec<(&str, &str)> =
        parameters.iter().map(|(name, value)| (*name, value.as_str())).collect();
    question(&borrowed)
}

fn assert_near(found: f64, expected: f64, what: &str) {
    assert!((found - expected).abs() <= 0.500_1e-6, "{what}: {found}, not {expected}");
}

fn check_skeptic(world: &LensWorld, model: &Model<'_>, question: &Query) {
    let found = world.skeptic(question);
    let counts = (found.candidates_count, found.voices_count, found.sampled);
    assert_eq!(counts, (model.candidates_count(), model.voices, model.is_sampled()));
    assert_near(found.conflict_score, model.conflict(), "the skeptic's conflict");
    assert_eq!(found.conflict_class.name(), model.conflict_class(found.conflict_score));
    let count = found.claims_count as f64;
    assert!((count - model.values_count()).abs() <= 0.501, "{count} {}", model.values_count());
    let expected = model.listed();
    assert_eq!(found.claims.len(), expected.len());
    for (claim, value) in found.claims.iter().zip(&expected) {
        // Decayed weights have 64 bits, sums 95 below their greatest weight, and the model's more:
        // of values that differ behind that, either may come first.
        if claim.object != value.object {
            assert_eq!(claim.weight_share, model.share(value));
            continue;
        }
        let counts = (claim.weight_share, claim.voices_count, claim.assertions_count);
        assert_eq!(counts, (model.share(value), value.voices, value.claims.len() as u64));
        assert_eq!(claim.assertions, value.newest_claims());
    }
    let status = match (expected.len(), model.is_dominated()) {
        (0 | 1, _) => Agreement::Unanimous,
        (_, true) => Agreement::Agreed,
        (_, false) => Agreement::Contested,
    };
    assert_eq!(found.status, status);
}

fn check_layers(world: &LensWorld, claims: &[(Digest, Assertion)], question: &Query) {
    let found = world.layers(question);
    let mut layers = found.layers.iter();
    for class in SourceClass::ALL {
        let model = Model::of_class(claims, question, Some(class));
        let Some((winner, ..)) = model.winner(Lens::Confidence) else { continue };
        let layer = layers.next().expect("a layer of each class that says something");
        assert_eq!((layer.source_class, layer.winner), (class, winner));
        let counts = (layer.candidates_count, layer.voices_count, layer.sampled);
        assert_eq!(counts, (model.candidates_count(), model.voices, model.is_sampled()));
        assert_near(layer.conflict_score, model.conflict(), "a layer's conflict");
    }
    assert_eq!(layers.next(), None);
}

fn check(world: &LensWorld, claims: &[(Digest, Assertion)], question: &Query, lenses: &[Lens]) {
    let model = Model::new(claims, question);
    for lens in lenses {
        let asked = Query { lens: Some(*lens), limit: 1, explain: true, ..question.clone() };
        // Under this lens claims weigh otherwise.
        let trusting = (*lens == Lens::Trust).then(|| Model::new(claims, &asked));
        let model = trusting.as_ref().unwrap_or(&model);
        let found = world.page(&asked).1.expect("a lens was asked for");
        let expected = model.winner(*lens);
        let (winner, next) = (expected.map(|it| it.0), expected.and_then(|it| it.2));
        let confidence = expected.map_or(0.0, |it| it.1);
        assert_eq!((found.winner, found.resolution_confidence), (winner, confidence), "{asked:?}");
        let runner_up = found.explanation.and_then(|it| it.runner_up);
        assert_eq!(runner_up.map(|it| it.digest), next, "{asked:?}");
        let counts = (found.candidates_count, found.voices_count, found.sampled);
        assert_eq!(counts, (model.candidates_count(), model.voices, model.is_sampled()));
        assert_near(found.conflict_score, model.conflict(), "the conflict");
    }
    check_skeptic(world, &model, question);
    check_layers(world, claims, question);
}

/// Two orders of arrival of a random set, and random questions.
fn compare(seed: u64, shape: &Shape, questions: usize) {
    let mut rng = Rng::with_seed(seed);
    let mut claims = claims(&mut rng, shape);
    add_statements(&mut rng, shape, &mut claims);
    let mut shuffled: Vec<&Assertion> = claims.iter().map(|(_, claim)| claim).collect();
    rng.shuffle(&mut shuffled);
    let worlds = [
        LensWorld::of(claims.iter().map(|(_, claim)| claim)),
        LensWorld::of(shuffled.iter().copied()),
    ];
    // With all of its claims judged, a large set has more voices than one pass counts.
    let history = (shape.claims > limits::VOICES_MAX).to_string();
    let mut asked = vec![question(&[("history", &history)])];
    asked.extend((0..questions).map(|_| any_question(&mut rng, shape.span, &claims)));
    for question in asked {
        // Of large sets one lens each, for a model of each is slow.
        let some = [rng.choice(Lens::ALL).expect("one of them")];
        let lenses = if shape.claims < 1000 { &Lens::ALL[..] } else { &some };
        worlds.iter().for_each(|world| check(world, &claims, &question, lenses));
    }
}

#[test]
fn small_sets_are_judged_as_the_model_judges_them() {
    // Without optimisation fewer of all of these, so that the whole takes some seconds.
    for seed in 0..if cfg!(debug_assertions) { 24 } else { 400 } {
        let claims = 1 << (seed % 9);
        let shape = Shape {
            claims,
            values: [2, 5, 40, 400][seed as usize % 4],
            agents: [0, 2, 5][seed as usize % 3],
            sources: [1, 3, 200][seed as usize % 3],
            span: [3, 5_000, 1_000_000][seed as usize % 3],
            parents: [1, 2, 5][seed as usize % 3],
        };
        compare(seed, &shape, 6);
    }
}

#[test]
fn chains_of_one_agent_and_many_values_are_judged_as_the_model_judges_them() {
    let chain = Shape { claims: 1_100, values: 9, agents: 1, sources: 1, span: 9_999, parents: 1 };
    compare(100, &chain, 4);
    let values = if cfg!(debug_assertions) { 9_000 } else { 40_000 };
    let many = Shape {
        claims: values,
        values: 4 * values as u32,
        agents: 0,
        sources: 2_000,
        span: 90_000,
        parents: 9,
    };
    compare(101, &many, if cfg!(debug_assertions) { 1 } else { 6 });
}

#[test]
fn sets_that_take_several_passes_are_judged_as_the_model_judges_them() {
    // More voices than are held at a time, of few values and of many.
    let claims = if cfg!(debug_assertions) { 26_500 } else { 100_000 };
    let shapes = [(200, 12), (201, 30_000)];
    for (seed, values) in shapes.into_iter().take(if cfg!(debug_assertions) { 1 } else { 2 }) {
        let sources = 8_000_000;
        let shape = Shape { claims, values, agents: 0, sources, span: 2_000_000, parents: 50 };
        compare(seed, &shape, if cfg!(debug_assertions) { 0 } else { 3 });
    }
}
