//! Pages under every filter, alone and together, and listings of names, against plain lists.
//!
//! Never: draws a seed.

use std::collections::BTreeMap;

use fastrand::Rng;

use super::model::is_listed;
use super::world::{LensWorld, NOW, check};
use crate::base::Digest;
use crate::model::{
    Assertion, Draft, Lifecycle, Listing, NameKind, Object, Query, Signature, SourceClass,
};
use crate::scan::NameCount;

/// Names of which some begin alike, also within a letter of two bytes.
pub(super) const SUBJECTS: [&str; 8] =
    ["s", "sensor", "sensor 1", "sensor 10", "sens\u{e9}", "\u{e9}", "\u{e8}", "z"];

fn any_object(rng: &mut Rng) -> Object {
    let name = rng.choice(SUBJECTS).expect("some");
    match rng.u8(0..5) {
        0 => Object::Text(name.into()),
        1 => Object::Number(f64::from(rng.u8(0..4)) / 2.0),
        2 => Object::Boolean(rng.bool()),
        _ => Object::Reference(name.into()),
    }
}

pub(super) fn any_claims(rng: &mut Rng, count: usize) -> Vec<(Digest, Assertion)> {
    let mut all: Vec<(Digest, Assertion)> = Vec::new();
    while all.len() < count {
        let [subject, predicate] =
            [&SUBJECTS[..], &["p", "q", "pq"]].map(|names| rng.choice(names));
        let [subject, predicate] = [subject, predicate].map(|name| (*name.expect("some")).into());
        let mut draft = Draft::new(subject, predicate, any_object(rng));
        draft.timestamp = Some(NOW.seconds() - rng.u64(0..1000));
        draft.source_hash = Digest([rng.u8(0..4); 32]);
        draft.source_class = rng.choice(SourceClass::ALL).expect("six");
        draft.lifecycle = rng.choice(Lifecycle::ALL).expect("five");
        let agents = (0..4).filter(|_| rng.u8(0..4) == 0);
        let signed = |agent| Signature { agent_id: [agent; 32], signature: [0; 64], timestamp: 1 };
        draft.signatures = agents.map(signed).collect();
        draft.parent_hash = rng.choice(&all).filter(|_| rng.bool()).map(|(parent, _)| *parent);
        let claim = check(draft);
        let digest = claim.seal().digest();
        if all.iter().all(|(known, _)| *known != digest) {
            all.push((digest, claim));
        }
    }
    all
}

/// As the parameter `object` has it.
fn object_text(object: &Object) -> String {
    match object {
        Object::Text(text) => format!("Text:{text}"),
        Object::Reference(name) => format!("Reference:{name}"),
        Object::Number(number) => format!("Number:{number}"),
        Object::Boolean(boolean) => format!("Boolean:{boolean}"),
    }
}

/// Some filters, of values that a claim has or others.
pub(super) fn any_filters(
    rng: &mut Rng,
    claims: &[(Digest, Assertion)],
) -> Vec<(&'static str, String)> {
    let (digest, claim) = rng.choice(claims).expect("some");
    let hex = |bytes: &[u8; 32]| Digest(*bytes).to_string();
    let agent = claim.signatures.first().map_or([9; 32], |signature| signature.agent_id);
    let letters = rng.usize(1..=claim.subject.chars().count());
    let span = rng.u64(0..500);
    let mut all = [
        ("subject", claim.subject.clone()),
        ("predicate", claim.predicate.clone()),
        ("subject_prefix", claim.subject.chars().take(letters).collect()),
        ("object", object_text(&claim.object)),
        ("agent_id", hex(&agent)),
        ("source_hash", hex(&claim.source_hash.0)),
        ("parent_hash", hex(&claim.parent_hash.unwrap_or(*digest).0)),
        ("lifecycle", claim.lifecycle.name().into()),
        ("source_class", claim.source_class.name().into()),
        ("as_of", (claim.timestamp + span).to_string()),
        ("since", claim.timestamp.saturating_sub(span).to_string()),
    ];
    rng.shuffle(&mut all);
    let count = rng.choice([1, 1, 2, 3, all.len()]).expect("five");
    all.into_iter().take(count).collect()
}

fn asked(filters: &[(&str, String)]) -> Query {
    let mut query = Query::default();
    for (name, value) in filters {
        query.set(name, value).unwrap_or_else(|bad| panic!("{bad}"));
    }
    query
}

#[test]
fn pages_list_what_all_filters_let_through_newest_first() {
    let mut seen = BTreeMap::new();
    for seed in 0..12 {
        let mut rng = Rng::with_seed(seed);
        let count = 1 << seed.min(9);
        let claims = any_claims(&mut rng, count);
        let world = LensWorld::of(claims.iter().map(|(_, claim)| claim));
        for _ in 0..if cfg!(debug_assertions) { 60 } else { 400 } {
            let filters = any_filters(&mut rng, &claims);
            let mut question = asked(&filters);
            question.limit = rng.usize(1..40);
            let listed = claims.iter().rev().filter(|(_, claim)| is_listed(claim, &question));
            let expected: Vec<Digest> = listed.map(|(digest, _)| *digest).collect();
            assert_eq!(world.walk(&question), expected, "{filters:?}");
            if let [(name, _)] = filters[..] {
                *seen.entry(name).or_insert(0) += expected.len();
            }
        }
    }
    assert_eq!(seen.len(), 11, "each filter alone: {seen:?}");
    assert!(seen.values().all(|count| *count > 5), "{seen:?}");
}

/// What a listing is by its definition.
fn counted(claims: &[(Digest, Assertion)], listing: &Listing) -> Vec<(String, NameCount)> {
    let mut counts: BTreeMap<Vec<u8>, NameCount> = BTreeMap::new();
    for (_, claim) in claims {
        let name = match listing.kind {
            NameKind::Subjects => &claim.subject,
            NameKind::Predicates => &claim.predicate,
        };
        let is_of = listing.subject.as_ref().is_none_or(|subject| *subject == claim.subject);
        let prefix = listing.prefix.as_deref().unwrap_or("");
        if is_of && name.as_bytes().starts_with(prefix.as_bytes()) {
            let none = NameCount { assertions: 0, newest: 0 };
            let count = counts.entry(name.clone().into_bytes()).or_insert(none);
            count.assertions += 1;
            count.newest = count.newest.max(claim.timestamp);
        }
    }
    let text = |name| String::from_utf8(name).expect("it was text");
    counts.into_iter().map(|(name, count)| (text(name), count)).collect()
}

#[test]
fn names_are_listed_in_the_order_of_their_bytes_with_exact_counts() {
    for seed in 0..12 {
        let mut rng = Rng::with_seed(seed);
        let claims = any_claims(&mut rng, 1 << seed.min(9));
        let mut shuffled: Vec<&Assertion> = claims.iter().map(|(_, claim)| claim).collect();
        rng.shuffle(&mut shuffled);
        for world in [LensWorld::of(claims.iter().map(|(_, it)| it)), LensWorld::of(shuffled)] {
            for kind in [NameKind::Subjects, NameKind::Predicates].repeat(8) {
                let mut listing = Listing::new(kind);
                listing.limit = rng.usize(1..10);
                let some = |rng: &mut Rng| rng.choice(SUBJECTS).map(str::to_owned);
                listing.prefix = some(&mut rng).filter(|_| rng.bool());
                if kind == NameKind::Predicates {
                    listing.subject = some(&mut rng).filter(|_| rng.bool());
                    listing.prefix = Some("p".to_owned()).filter(|_| rng.bool());
                }
                assert_eq!(world.names(&listing), counted(&claims, &listing), "{listing:?}");
            }
        }
    }
}

#[test]
fn names_that_share_a_fingerprint_are_two() {
    // Found by search, for the seed of the world's store.
    let [one, other] = ["n20550", "n39163"];
    let mut claims = Vec::new();
    for (index, (subject, predicate)) in [(one, "p"), (other, "q"), (one, "q")].iter().enumerate() {
        let mut draft = Draft::new((*subject).into(), (*predicate).into(), Object::Boolean(true));
        draft.timestamp = Some(index as u64);
        let claim = check(draft);
        claims.push((claim.seal().digest(), claim));
    }
    let world = LensWorld::of(claims.iter().map(|(_, claim)| claim));
    assert_eq!(world.candidates(one), 3, "they share one");
    for listing in [
        Listing::new(NameKind::Subjects),
        Listing::new(NameKind::Predicates),
        Listing { subject: Some(one.into()), ..Listing::new(NameKind::Predicates) },
        Listing { subject: Some(other.into()), ..Listing::new(NameKind::Predicates) },
    ] {
        assert_eq!(world.names(&listing), counted(&claims, &listing), "{listing:?}");
    }
}
