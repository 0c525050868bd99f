//! Golden bytes: what docs/wire.md promises, held against `tests/golden/vectors.json`, which the
//! second implementation under vendor-tests reads, too. The file is compared as text, so it must
//! come out the same on every machine; `GOLDEN_WRITE=1` writes it anew.

#[path = "golden/cases.rs"]
mod cases;
#[path = "golden/root.rs"]
mod root;

use std::fmt::Write;

use bytes::Bytes;
use stemedb_edge::base::Digest;
use stemedb_edge::base::digest::hex;
use stemedb_edge::model::signature::{Signer, claim_bytes, message, verify, verify_batch};
use stemedb_edge::model::{Assertion, Object, Sealed};

const COMMITTED: &str = include_str!("golden/vectors.json");

#[test]
fn the_committed_vectors_are_what_this_build_makes() {
    let made = vectors();
    if std::env::var_os("GOLDEN_WRITE").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/vectors.json");
        std::fs::write(path, made).expect("the source tree is writable");
        return;
    }
    for (line, (made, committed)) in made.lines().zip(COMMITTED.lines()).enumerate() {
        assert_eq!(made, committed, "line {}", line + 1);
    }
    assert_eq!(made.len(), COMMITTED.len());
}

#[test]
fn golden_assertions_open_as_what_they_are() {
    for (name, assertion) in cases::assertions() {
        let sealed = assertion.seal();
        let opened = Sealed::open(sealed.digest(), sealed.bytes().clone()).expect("its digest");
        assert_eq!(opened.assertion(), Some(assertion), "{name}");
    }
}

#[test]
fn golden_foreign_bytes_are_opaque() {
    for (name, bytes) in cases::opaque() {
        let digest = Digest::of(&bytes);
        let sealed = Sealed::open(digest, Bytes::from(bytes)).expect("its digest");
        assert!(sealed.is_opaque(), "{name}");
    }
}

#[test]
fn golden_verdicts_are_ours() {
    for case in cases::verdicts() {
        assert_eq!(verify(&case.assertion).is_ok(), case.good, "{}", case.name);
    }
}

#[test]
fn a_batch_gives_the_verdicts_that_single_signatures_get() {
    let (good, bad): (Vec<_>, Vec<_>) = cases::verdicts().partition(|case| case.good);
    let good = Vec::from_iter(good.into_iter().map(|case| case.assertion));
    assert_eq!(verify_batch(&good), vec![Ok(()); good.len()]);
    for case in bad {
        let verdicts = verify_batch(&[good[0].clone(), case.assertion, good[0].clone()]);
        assert_eq!(verdicts.iter().position(Result::is_err), Some(1), "{}", case.name);
    }
}

#[test]
fn the_example_on_the_page_has_the_id_it_says() {
    let page = include_str!("../docs/wire.md");
    let (name, assertion) = cases::assertions().next().expect("the first case");
    let id = assertion.seal().digest().to_string();
    assert!(page.contains(&id), "{name}: {id}");
}

fn vectors() -> String {
    let mut out = String::from("{\n\"assertions\": [\n");
    list(&mut out, cases::assertions(), |out, (name, assertion)| {
        let sealed = assertion.seal();
        write!(
            out,
            "{{\"name\": {}, \"claim\": {}, \"bytes\": \"{}\", \"id\": \"{}\"}}",
            text(name),
            claim(&assertion),
            hex(sealed.bytes()),
            sealed.digest()
        )
    });
    out.push_str("],\n\"opaque\": [\n");
    list(&mut out, cases::opaque(), |out, (name, bytes)| {
        let id = Digest::of(&bytes);
        write!(
            out,
            "{{\"name\": {}, \"bytes\": \"{}\", \"id\": \"{id}\"}}",
            text(name),
            hex(&bytes)
        )
    });
    out.push_str("],\n\"signed\": [\n");
    list(&mut out, cases::signed(), |out, (seed, timestamp, assertion)| {
        let signer = Signer::new(&seed);
        let signature = signer.sign(&assertion, timestamp);
        write!(
            out,
            "{{\"claim\": {}, \"claim_bytes\": \"{}\", \"seed\": \"{}\", \"agent_id\": \"{}\", \
             \"timestamp\": {timestamp}, \"message\": \"{}\", \"signature\": \"{}\"}}",
            claim(&assertion),
            hex(&claim_bytes(&assertion)),
            hex(&seed),
            hex(&signer.agent_id()),
            hex(&message(&assertion, &signer.agent_id(), timestamp)),
            hex(&signature.signature)
        )
    });
    out.push_str("],\n\"verdicts\": [\n");
    list(&mut out, cases::verdicts(), |out, case| {
        write!(
            out,
            "{{\"name\": {}, \"claim\": {}, \"good\": {}}}",
            text(case.name),
            claim(&case.assertion),
            case.good
        )
    });
    out.push_str("],\n\"roots\": [\n");
    list(&mut out, root::SETS.into_iter(), |out, set| {
        let root = root::root_of(&set.members());
        write!(
            out,
            "{{\"count\": {}, \"prefix\": \"{}\", \"root\": \"{root}\"}}",
            set.count,
            hex(set.prefix)
        )
    });
    out.push_str("]\n}\n");
    out
}

fn list<T>(
    out: &mut String,
    items: impl Iterator<Item = T>,
    mut one: impl FnMut(&mut String, T) -> std::fmt::Result,
) {
    for (index, item) in items.enumerate() {
        out.push_str(if index == 0 { "" } else { ",\n" });
        one(out, item).expect("writing to a String cannot fail");
    }
    out.push('\n');
}

fn claim(assertion: &Assertion) -> String {
    let signatures = assertion.signatures.iter().map(|signature| {
        format!(
            "{{\"agent_id\": \"{}\", \"signature\": \"{}\", \"timestamp\": {}}}",
            hex(&signature.agent_id),
            hex(&signature.signature),
            signature.timestamp
        )
    });
    let hlc = assertion.hlc;
    format!(
        "{{\"subject\": {}, \"predicate\": {}, \"object\": {}, \"parent_hash\": {}, \
         \"source_hash\": \"{}\", \"visual_hash\": {}, \"epoch\": {}, \
         \"expires\": {}, \"lifecycle\": \"{}\", \
         \"signatures\": [{}], \"confidence\": {:?}, \"timestamp\": {}, \"source_class\": {}, \
         \"hlc\": {{\"time\": {}, \"counter\": {}, \"node\": \"{}\"}}}}",
        text(&assertion.subject),
        text(&assertion.predicate),
        object(&assertion.object),
        or_null(assertion.parent_hash.map(|hash| format!("\"{hash}\""))),
        assertion.source_hash,
        or_null(assertion.visual_hash.map(|hash| format!("\"{}\"", hex(&hash)))),
        or_null(assertion.epoch.map(|epoch| format!("\"{}\"", hex(&epoch)))),
        or_null(assertion.expires.map(|expires| expires.to_string())),
        assertion.lifecycle.name(),
        signatures.collect::<Vec<String>>().join(", "),
        assertion.confidence,
        assertion.timestamp,
        assertion.source_class.number(),
        hlc.time,
        hlc.counter,
        hlc.node
    )
}

fn object(object: &Object) -> String {
    let value = match object {
        Object::Text(value) | Object::Reference(value) => text(value),
        Object::Number(value) => format!("{value:?}"),
        Object::Boolean(value) => value.to_string(),
    };
    format!("{{\"type\": \"{}\", \"value\": {value}}}", object.kind())
}

fn or_null(value: Option<String>) -> String {
    value.unwrap_or_else(|| "null".to_owned())
}

/// A JSON string in ASCII.
fn text(value: &str) -> String {
    let mut out = String::from("\"");
    for unit in value.encode_utf16() {
        match u8::try_from(unit) {
            Ok(byte @ (b' ' | b'!' | b'#'..=b'[' | b']'..=b'~')) => out.push(byte as char),
            _ => write!(out, "\\u{unit:04x}").expect("writing to a String cannot fail"),
        }
    }
    out + "\""
}
