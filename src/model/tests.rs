use bytes::Bytes;
use fastrand::Rng;

use super::canonical::fuzz;
use super::*;
use crate::base::{Digest, Hlc, HlcClock, NodeId, Wall, limits};

fn clock() -> HlcClock {
    HlcClock::new(NodeId([9; 16]))
}

fn draft(subject: &str, predicate: &str, object: Object) -> Draft {
    Draft::new(subject.to_owned(), predicate.to_owned(), object)
}

pub(super) fn check(draft: Draft) -> Result<Assertion, Invalid> {
    draft.check(&mut clock(), Wall(1_700_000_000_123))
}

fn sign_of(agent: u8, timestamp: u64) -> Signature {
    Signature { agent_id: [agent; 32], signature: [agent ^ 0xff; 64], timestamp }
}

/// A draft of random shape that keeps all rules.
pub(super) fn any_draft(rng: &mut Rng) -> Draft {
    let text = |rng: &mut Rng, least: usize| -> String {
        let count = rng.usize(least..24);
        (0..count)
            .map(|_| rng.choice(['a', 'b', '-', '\u{e9}', '\u{20ac}']).expect("five"))
            .collect()
    };
    let object = match rng.u8(0..4) {
        0 => Object::Text(text(rng, 0)),
        1 => Object::Number(rng.choice([0.0, -0.0, 1.5, f64::MIN, 5e-324]).expect("five")),
        2 => Object::Boolean(rng.bool()),
        _ => Object::Reference(text(rng, 1)),
    };
    let mut draft = Draft::new(text(rng, 1), text(rng, 1), object);
    draft.parent_hash = rng.bool().then(|| Digest([rng.u8(..); 32]));
    draft.source_hash = Digest([rng.u8(..); 32]);
    draft.visual_hash = rng.bool().then(|| [rng.u8(..); 8]);
    draft.epoch = rng.bool().then(|| [rng.u8(..); 32]);
    draft.expires = rng.bool().then(|| rng.u64(0..=limits::TIMESTAMP_MAX));
    draft.lifecycle = rng.choice(Lifecycle::ALL).expect("five");
    draft.source_class = rng.choice(SourceClass::ALL).expect("six");
    draft.confidence = rng.choice([0.0, -0.0, 0.25, 1.0]).expect("four");
    if rng.bool() {
        draft.timestamp = Some(rng.u64(0..=limits::TIMESTAMP_MAX));
        let agents = rng.u8(0..4);
        draft.signatures = (0..agents).rev().map(|agent| sign_of(agent, rng.u64(0..9))).collect();
    }
    draft
}

type Change = fn(&mut Draft);

#[test]
fn what_breaks_a_rule_is_refused_with_its_reason() {
    let fine = || draft("s", "p", Object::Boolean(true));
    let with = |change: Change| {
        let mut draft = fine();
        change(&mut draft);
        check(draft).err().map(|invalid| invalid.to_string()).unwrap_or_default()
    };
    let cases: [(Change, &str); 19] = [
        (|d| d.subject.clear(), "subject is empty, it takes 1 to 4096 bytes"),
        (|d| d.predicate.clear(), "predicate is empty"),
        (|d| d.subject = "x".repeat(4097), "subject has 4097 bytes, at most 4096"),
        (|d| d.subject = "a\0".into(), "subject has the control character U+0000 at byte 1"),
        (|d| d.predicate = "\u{85}".into(), "U+0085 at byte 0"),
        (|d| d.object = Object::Number(f64::INFINITY), "not a finite number"),
        (|d| d.object = Object::Number(f64::NAN), "not a finite number"),
        (|d| d.object = Object::Text("x".repeat(524_289)), "object value has 524289 bytes"),
        (|d| d.object = Object::Reference(String::new()), "object value is empty"),
        (|d| d.object = Object::Reference("\n".into()), "U+000A"),
        (|d| d.confidence = 1.000_001, "confidence is 1.000001, it takes 0 to 1"),
        (|d| d.confidence = -1e-9, "confidence is -0.000000001"),
        (|d| d.confidence = f64::NAN, "confidence is NaN"),
        (|d| d.timestamp = Some(253_402_300_800), "timestamp is 253402300800, it takes"),
        (|d| d.expires = Some(253_402_300_800), "expires is 253402300800, it takes Unix"),
        (|d| d.signatures = vec![sign_of(1, 0)], "timestamp is missing"),
        (
            |d| {
                d.timestamp = Some(1);
                d.signatures = vec![sign_of(1, 0), sign_of(2, 0), sign_of(1, 5)];
            },
            "signed twice",
        ),
        (
            |d| {
                d.timestamp = Some(1);
                d.signatures = vec![sign_of(1, u64::MAX)];
            },
            "timestamp of a signature is 18446744073709551615",
        ),
        (
            |d| {
                d.timestamp = Some(1);
                d.signatures = (0..65).map(|agent| sign_of(agent, 0)).collect();
            },
            "there are 65 signatures, at most 64",
        ),
    ];
    for (change, reason) in cases {
        let message = with(change);
        assert!(message.contains(reason), "{message:?} instead of {reason:?}");
    }
    assert_eq!(with(|d| d.object = Object::Text("\0\n".into())), "");
}

#[test]
fn the_stamp_of_another_node_stays_where_it_fits() {
    let stamp = |time, counter| Hlc { time, counter, node: NodeId([3; 16]) };
    let ahead = u64::try_from(limits::HLC_DRIFT_MAX.as_millis()).expect("small");
    let with = |timestamp, stamp, signed: bool| {
        let mut draft = draft("s", "p", Object::Boolean(true));
        (draft.timestamp, draft.stamp) = (timestamp, Some(stamp));
        draft.signatures = if signed { vec![sign_of(1, 0)] } else { Vec::new() };
        draft.check(&mut clock(), Wall(10_000)).map(|made| made.hlc)
    };
    let late = stamp(9_999, 7);
    assert_eq!(with(None, late, false), Ok(late));
    assert_eq!(with(Some(9), late, false), Ok(late));
    assert_eq!(with(Some(8), late, false), Err(Invalid::Stamp));
    assert_eq!(with(Some(9), late, true), Err(Invalid::Stamp));
    let far = stamp(10_001 + ahead, 0);
    assert_eq!(with(None, far, false), Ok(far), "whichever clock was wrong");
    // The stamp that a timestamp makes by itself may lie anywhere.
    let own = Hlc { time: 99_999_000, ..Hlc::default() };
    assert_eq!(with(Some(99_999), own, true), Ok(own));
}

#[test]
fn a_refused_draft_leaves_the_clock_alone() {
    let mut clock = clock();
    let wall = Wall(5_000);
    assert!(draft("", "p", Object::Boolean(true)).check(&mut clock, wall).is_err());
    let made = draft("s", "p", Object::Boolean(true)).check(&mut clock, wall).expect("good");
    assert_eq!((made.hlc.counter, made.hlc.time, made.timestamp), (0, 5_000, 5));
}

#[test]
fn a_body_with_a_timestamp_has_one_id_at_every_node() {
    let body = || {
        let mut body = draft("subject", "predicate", Object::Number(-0.0));
        body.timestamp = Some(1_700_000_000);
        body.confidence = -0.0;
        body
    };
    let mut signed = body();
    signed.signatures = vec![sign_of(2, 1), sign_of(1, 2)];
    let mut signed_too = body();
    signed_too.signatures = vec![sign_of(1, 2), sign_of(2, 1)];
    let here = body().check(&mut clock(), Wall(1)).expect("good");
    let there = body().check(&mut HlcClock::new(NodeId([3; 16])), Wall(2)).expect("good");
    assert_eq!(here.seal().digest(), there.seal().digest());
    assert_eq!(here.hlc, crate::base::Hlc { time: 1_700_000_000_000, ..Default::default() });
    let (one, two) = (check(signed).expect("good"), check(signed_too).expect("good"));
    assert_eq!(one.seal().digest(), two.seal().digest());
}

#[test]
fn sealing_and_opening_keep_every_field() {
    let mut rng = Rng::with_seed(7);
    for _ in 0..500 {
        let assertion = check(any_draft(&mut rng)).expect("keeps the rules");
        let sealed = assertion.seal();
        let opened = Sealed::open(sealed.digest(), sealed.bytes().clone()).expect("its own digest");
        assert_eq!(opened.names(), Some((&*assertion.subject, &*assertion.predicate)));
        assert_eq!(opened.assertion().as_ref(), Some(&assertion));
    }
}

#[test]
fn bytes_of_another_digest_or_size_are_refused() {
    let open = |claimed, bytes: &[u8]| Sealed::open(claimed, Bytes::copy_from_slice(bytes));
    let refused = open(Digest::ZERO, b"x").expect_err("not the digest of x");
    assert_eq!(refused, Malformed::Digest { claimed: Digest::ZERO, actual: Digest::of(b"x") });
    let large = vec![0; limits::ASSERTION_BYTES_MAX + 1];
    for bytes in [&[][..], &large] {
        let refused = open(Digest::of(bytes), bytes).expect_err("a size out of bounds");
        assert_eq!(refused, Malformed::Size { bytes: bytes.len() });
    }
}

#[test]
fn what_is_not_ours_is_opaque_and_kept() {
    let bytes = Bytes::from_static(b"{\"another\": \"layout\"}");
    let sealed = Sealed::open(Digest::of(&bytes), bytes.clone()).expect("the right digest");
    assert!(sealed.is_opaque());
    assert_eq!((sealed.names(), sealed.assertion(), sealed.bytes()), (None, None, &bytes));
}

/// Changes `field` of a good assertion behind the rules' back.
fn forged(change: impl Fn(&mut Assertion)) -> Sealed {
    let mut signed = draft("subject of claim", "p", Object::Number(1.0));
    signed.timestamp = Some(1_700_000_000);
    signed.signatures = vec![sign_of(1, 2), sign_of(2, 2)];
    let mut assertion = check(signed).expect("good");
    change(&mut assertion);
    let bytes = Bytes::from(super::canonical::encode(&assertion));
    Sealed::open(Digest::of(&bytes), bytes).expect("the right digest")
}

#[test]
fn bytes_that_break_a_rule_are_opaque() {
    assert!(!forged(|_| ()).is_opaque());
    let changes: [fn(&mut Assertion); 14] = [
        |a| a.subject = String::new(),
        |a| a.predicate = "\u{7f}".into(),
        |a| a.subject = "x".repeat(4097),
        |a| a.object = Object::Number(-0.0),
        |a| a.object = Object::Number(f64::NAN),
        |a| a.object = Object::Reference("a\tb".into()),
        |a| a.confidence = -0.0,
        |a| a.confidence = 1.5,
        |a| a.expires = Some(u64::MAX),
        |a| a.timestamp += 1,
        |a| a.hlc.counter = 1,
        |a| a.hlc.node = NodeId([1; 16]),
        |a| a.signatures.swap(0, 1),
        |a| a.signatures[1] = a.signatures[0],
    ];
    for (index, change) in changes.into_iter().enumerate() {
        assert!(forged(change).is_opaque(), "change {index}");
    }
}

#[test]
fn no_byte_of_an_archive_can_change_without_changing_its_meaning() {
    let mut rng = Rng::with_seed(11);
    for _ in 0..60 {
        let bytes = check(any_draft(&mut rng)).expect("keeps the rules").seal().bytes().to_vec();
        for index in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[index] ^= 1 << rng.u8(0..8);
            fuzz(&changed);
        }
        for cut in 0..bytes.len() {
            fuzz(&bytes[cut..]);
            fuzz(&bytes[..cut]);
        }
    }
}

#[test]
fn random_bytes_never_panic() {
    let mut rng = Rng::with_seed(13);
    for _ in 0..2_000 {
        let mut bytes = vec![0; rng.usize(0..400)];
        rng.fill(&mut bytes);
        if rng.bool() {
            bytes.iter_mut().for_each(|byte| *byte &= 3);
        }
        fuzz(&bytes);
    }
}

#[test]
fn objects_are_read_behind_their_type() {
    let asked = |pairs: &[(&str, &str)]| {
        let mut query = Query::default();
        pairs.iter().for_each(|(name, value)| query.set(name, value).expect("a good value"));
        query
    };
    for (text, object) in [
        ("Text:", Object::Text(String::new())),
        ("Text:Text:a", Object::Text("Text:a".into())),
        ("Number:-0", Object::Number(0.0)),
        ("Number:1e2", Object::Number(100.0)),
        ("Boolean:false", Object::Boolean(false)),
    ] {
        assert_eq!(asked(&[("object", text)]).object, Some(object));
    }
    assert!(asked(&[("limit", "3"), ("history", "true")]).is_open());
}
