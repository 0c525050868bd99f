//! The cases themselves: assertions of each shape, bytes that are none, signatures good and bad.

use stemedb_edge::base::digest::parse_hex;
use stemedb_edge::base::{Digest, HlcClock, NodeId, Wall, limits};
use stemedb_edge::model::signature::Signer;
use stemedb_edge::model::{Assertion, Draft, Lifecycle, Object, Signature, SourceClass};

const NODE: NodeId = NodeId(*b"a golden node id");

fn draft(subject: &str, predicate: &str, object: Object) -> Draft {
    let mut draft = Draft::new(subject.to_owned(), predicate.to_owned(), object);
    draft.timestamp = Some(1_700_000_000);
    draft
}

fn check(draft: Draft) -> Assertion {
    draft.check(&mut HlcClock::new(NODE), Wall(1_700_000_000_321)).expect("keeps the rules")
}

fn full() -> Draft {
    let mut draft = draft("subject of a claim", "some predicate", Object::Number(0.1));
    draft.parent_hash = Some(Digest::of(b"parent"));
    draft.source_hash = Digest::of(b"source");
    draft.visual_hash = Some(*b"\x01\x02\x03\x04\xfc\xfd\xfe\xff");
    draft.epoch = Some(Digest::of(b"epoch").0);
    draft.expires = Some(limits::TIMESTAMP_MAX);
    draft.lifecycle = Lifecycle::Rejected;
    draft.confidence = 0.75;
    draft.timestamp = Some(limits::TIMESTAMP_MAX);
    draft.source_class = SourceClass::Anecdotal;
    draft
}

fn sign(mut draft: Draft, agents: &[u8]) -> Assertion {
    let claim = check(draft.clone());
    for &agent in agents {
        let signer = Signer::new(&[agent; 32]);
        draft.signatures.push(signer.sign(&claim, 1_700_000_000 + u64::from(agent)));
    }
    check(draft)
}

/// Every shape an assertion can have, by name.
pub(crate) fn assertions() -> impl Iterator<Item = (&'static str, Assertion)> {
    let text = |length: usize| Object::Text("0123456789".repeat(60)[..length].to_owned());
    let plain = |object| check(draft("subject", "predicate", object));
    let mut epoch_start = draft("a", "b", Object::Boolean(true));
    epoch_start.timestamp = Some(0);
    let mut stamped = draft("subject", "predicate", Object::Boolean(false));
    stamped.timestamp = None;
    let mut second = HlcClock::new(NODE);
    second.tick(Wall(1_700_000_000_321));
    let stamped_again =
        stamped.clone().check(&mut second, Wall(1_700_000_000_000)).expect("keeps the rules");
    let mut tiny = full();
    tiny.confidence = 5e-324;
    tiny.lifecycle = Lifecycle::UnderReview;
    tiny.source_class = SourceClass::Regulatory;
    let names = [8, 9, 63, 64, 65, 255, 256, 4096].map(|length: usize| "n".repeat(length));
    let [eight, nine, below, at, above, byte, two_bytes, longest] = &names;
    let truth = || Object::Boolean(true);
    let mut example = draft("a", "predicate", truth());
    example.timestamp = Some(1);
    vec![
        ("the example of docs/wire.md", check(example)),
        ("the least: short names, true, the first second", check(epoch_start)),
        ("false", plain(Object::Boolean(false))),
        ("empty text", plain(text(0))),
        ("text of 8 bytes, the longest in the root", plain(text(8))),
        ("text of 9 bytes, the shortest outside", plain(text(9))),
        ("text of 64 bytes", plain(text(64))),
        ("text of 500 bytes", plain(text(500))),
        ("text with control characters", plain(Object::Text("a\0b\r\n\t\u{7f}".into()))),
        ("text beyond ASCII", plain(Object::Text("gr\u{fc}\u{df} dich \u{1f980} \u{2028}".into()))),
        ("names of 8 and 9 bytes", check(draft(eight, nine, truth()))),
        ("names of 63 and 64 bytes", check(draft(below, at, truth()))),
        ("names of 65 and 255 bytes", check(draft(above, byte, truth()))),
        ("names of 256 and 4096 bytes", check(draft(two_bytes, longest, text(65)))),
        ("short reference", plain(Object::Reference("other".into()))),
        ("long reference", plain(Object::Reference("urn:example:another-thing".into()))),
        ("zero", plain(Object::Number(0.0))),
        ("the greatest number", plain(Object::Number(f64::MAX))),
        ("a negative number next to zero", plain(Object::Number(-5e-324))),
        ("every optional value, the last second", check(full())),
        ("other lifecycle and class, the least confidence", check(tiny)),
        ("stamped by a clock", check(stamped)),
        ("stamped by a clock, second in its millisecond", stamped_again),
        ("one signature", sign(draft("subject", "predicate", truth()), &[1])),
        ("three signatures and every optional value", sign(full(), &[3, 1, 2])),
    ]
    .into_iter()
}

/// Changes a few bytes of canonical ones.
fn patched(object: Object, change: impl Fn(&mut Vec<u8>, usize)) -> Vec<u8> {
    let mut bytes = check(draft("subject", "predicate", object)).seal().bytes().to_vec();
    let root = bytes.len() - 195;
    change(&mut bytes, root);
    bytes
}

/// Bytes that are no assertion, though some look much like one.
pub(crate) fn opaque() -> impl Iterator<Item = (&'static str, Vec<u8>)> {
    let truth = || Object::Boolean(true);
    let two = check(sign_swapped());
    let mut swapped = two.seal().bytes().to_vec();
    let signatures = swapped.len() - 195 - 208;
    swapped[signatures..signatures + 208].rotate_left(104);
    vec![
        ("one zero byte", vec![0]),
        ("another layout", b"{\"subject\": \"s\", \"predicate\": \"p\"}".to_vec()),
        ("a byte before the archive", patched(truth(), |bytes, _| bytes.insert(0, 0))),
        ("a byte after the archive", patched(truth(), |bytes, _| bytes.push(0))),
        ("a subject of padding", patched(truth(), |bytes, root| bytes[root..root + 8].fill(0xff))),
        ("padding that is not ff", patched(truth(), |bytes, root| bytes[root + 7] = 0)),
        ("a subject with a line feed", patched(truth(), |bytes, root| bytes[root + 1] = b'\n')),
        ("a predicate that is not UTF-8", patched(truth(), |bytes, _| bytes[0] = 0xc3)),
        ("a predicate from another place", patched(truth(), |bytes, root| bytes[root + 12] ^= 1)),
        ("an object of a fifth kind", patched(truth(), |bytes, root| bytes[root + 16] = 4)),
        ("a boolean of two", patched(truth(), |bytes, root| bytes[root + 17] = 2)),
        ("a byte behind a boolean", patched(truth(), |bytes, root| bytes[root + 18] = 1)),
        ("a parent hash under a zero tag", patched(truth(), |bytes, root| bytes[root + 30] = 1)),
        ("an option tag of two", patched(truth(), |bytes, root| bytes[root + 99] = 2)),
        ("an epoch under a zero tag", patched(truth(), |bytes, root| bytes[root + 131] = 1)),
        ("an expiry under a zero tag", patched(truth(), |bytes, root| bytes[root + 133] = 1)),
        (
            "an expiry after the year 9999",
            patched(truth(), |bytes, root| bytes[root + 132..root + 141].fill(1)),
        ),
        ("a sixth lifecycle", patched(truth(), |bytes, root| bytes[root + 141] = 5)),
        ("a negative count of signatures", patched(truth(), |bytes, root| bytes[root + 149] = 255)),
        ("no signatures at another place", patched(truth(), |bytes, root| bytes[root + 142] ^= 1)),
        ("a confidence of two", patched(truth(), |bytes, root| bytes[root + 157] = 0x40)),
        (
            "a negative zero as confidence",
            patched(truth(), |bytes, root| {
                bytes[root + 150..root + 158].copy_from_slice(&(-0.0_f64).to_le_bytes());
            }),
        ),
        (
            "a negative zero as number",
            patched(Object::Number(0.0), |bytes, root| {
                bytes[root + 24] = 0x80;
            }),
        ),
        (
            "an infinite number",
            patched(Object::Number(0.0), |bytes, root| {
                bytes[root + 17..root + 25].copy_from_slice(&f64::INFINITY.to_le_bytes());
            }),
        ),
        (
            "a timestamp that is not the hlc's",
            patched(truth(), |bytes, root| bytes[root + 158] ^= 1),
        ),
        ("a seventh class", patched(truth(), |bytes, root| bytes[root + 166] = 6)),
        ("signatures out of order", swapped),
        ("a signed claim with a clock's stamp", {
            let mut bytes = two.seal().bytes().to_vec();
            let last = bytes.len() - 1;
            bytes[last] = 1;
            bytes
        }),
    ]
    .into_iter()
}

fn sign_swapped() -> Draft {
    let mut draft = draft("subject", "predicate", Object::Boolean(true));
    for agent in [1, 2] {
        draft.signatures.push(Signature {
            agent_id: [agent; 32],
            signature: [0; 64],
            timestamp: 1,
        });
    }
    draft
}

/// Seed, time of signing and claim of signatures that any signer must make alike.
pub(crate) fn signed() -> impl Iterator<Item = ([u8; 32], u64, Assertion)> {
    let text = draft("subject", "predicate", Object::Text("gr\u{fc}\u{df} dich".into()));
    let reference = draft("subject", "predicate", Object::Reference("other".into()));
    let truth = draft("subject", "predicate", Object::Boolean(true));
    vec![
        ([0; 32], 0, check(truth)),
        ([7; 32], 1_700_000_001, check(text)),
        (std::array::from_fn(|place| place as u8), limits::TIMESTAMP_MAX, check(full())),
        ([255; 32], 1, check(reference)),
    ]
    .into_iter()
}

/// An assertion, and whether its signatures verify.
pub(crate) struct Verdict {
    pub(crate) name: &'static str,
    pub(crate) assertion: Assertion,
    pub(crate) good: bool,
}

/// Signatures where implementations of Ed25519 differ, judged by ZIP 215.
pub(crate) fn verdicts() -> impl Iterator<Item = Verdict> {
    let claim = || draft("subject", "predicate", Object::Boolean(true));
    let signed = |key: [u8; 32], r: [u8; 32], s: [u8; 32]| {
        let mut draft = claim();
        let signature = [r, s].concat().try_into().expect("twice 32 bytes");
        draft.signatures.push(Signature { agent_id: key, signature, timestamp: 1_700_000_000 });
        check(draft)
    };
    let hex = |text: &str| {
        let mut bytes = [0; 32];
        assert!(parse_hex(text, &mut bytes), "32 bytes of hex");
        bytes
    };
    let good = sign(claim(), &[1, 2, 3]);
    let mut one_wrong = good.clone();
    one_wrong.signatures[1].signature[0] ^= 1;
    let mut other_time = good.clone();
    other_time.signatures[2].timestamp += 1;
    let mut other_claim = good.clone();
    other_claim.confidence = 0.5;
    let one = hex("0100000000000000000000000000000000000000000000000000000000000000");
    let one_plus_p = hex("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f");
    let minus_zero = hex("0100000000000000000000000000000000000000000000000000000000000080");
    let order = hex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
    let good_signer = Signer::new(&[1; 32]);
    let plain = good_signer.sign(&check(claim()), 1_700_000_000);
    let (r, s) = plain.signature.split_at(32);
    let (r, s): ([u8; 32], [u8; 32]) = (r.try_into().expect("half"), s.try_into().expect("half"));
    let agent = good_signer.agent_id();
    let torsion = |name, text: &str| Verdict {
        name,
        assertion: signed(agent, hex(&text[..64]), hex(&text[64..])),
        good: true,
    };
    let verdict = |name, assertion, good| Verdict { name, assertion, good };
    vec![
        verdict("three good ones", good, true),
        verdict("one of three wrong", one_wrong, false),
        verdict("signed at another time", other_time, false),
        verdict("signed another claim", other_claim, false),
        verdict("s grown by the group's order", signed(agent, r, plus(s, order)), false),
        verdict("a key that is no point", signed([2; 32], r, s), false),
        verdict("a key of small order", signed(one, one, [0; 32]), true),
        verdict("a key and an R written above p", signed(one_plus_p, one_plus_p, [0; 32]), true),
        verdict("a key with x = 0 and a sign", signed(minus_zero, one, [0; 32]), true),
        torsion("an R with a part of small order: equal after the cofactor only", TORSION),
    ]
    .into_iter()
}

/// R and s over the claim of [`verdicts`] by the agent of seed 01..01 at 1700000000, with
/// R = r B + T for a T of order 8: made by hand, for no signer makes it.
const TORSION: &str = "e31bf514eb41af934cdb61a8ae588b29deeaf21be78382d8b9ac13493f1c262e\
    b7fe4ff1a441abd5cd38e5da89abf2e2257bb5a7d1f7816f514acc4d7794d507";

fn plus(one: [u8; 32], other: [u8; 32]) -> [u8; 32] {
    let mut carry = 0;
    std::array::from_fn(|place| {
        let sum = u16::from(one[place]) + u16::from(other[place]) + carry;
        carry = sum >> 8;
        sum as u8
    })
}
