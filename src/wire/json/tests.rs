use fastrand::Rng;

use super::*;
use crate::base::{Digest, Hlc, HlcClock, NodeId, Wall};
use crate::lens::{Agreement, Claim, ConflictClass, Layer, Layers, Resolution, Skepticism};
use crate::model::{Draft, Lens, Lifecycle, Object, RowNumbering, Sealed, Signature, SourceClass};
use crate::scan::View;
use crate::sync::SessionReport;

const NUMBERING: RowNumbering = RowNumbering { node: NodeId([0xab; 16]), number: 7 };

const LEAST: &str = r#"{"subject":"s","predicate":"p","object":{"type":"Boolean","value":true}}"#;

/// Reads `body` and compares the draft, or the start of the error.
fn check(body: impl AsRef<[u8]>, expected: Result<Draft, &str>) {
    let body = body.as_ref();
    let shown = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
    match (parse_draft(body), expected) {
        (Ok(draft), Ok(expected)) => assert_eq!(draft, expected, "{shown}"),
        (Err(malformed), Err(start)) => {
            let message = malformed.to_string();
            assert!(message.starts_with(start), "{shown}\n message: {message}\n  not: {start}");
            assert!(message.len() < 400, "{message}");
        }
        (found, expected) => panic!("{shown}\n found {found:?}\n  not {expected:?}"),
    }
}

fn least() -> Draft {
    Draft::new("s".into(), "p".into(), Object::Boolean(true))
}

/// [`LEAST`] with one more field.
fn with(field: &str) -> String {
    LEAST.replace("{\"subject\"", &format!("{{{field},\"subject\""))
}

fn with_object(object: &str) -> String {
    format!(r#"{{"subject":"s","predicate":"p","object":{object}}}"#)
}

#[test]
fn a_body_says_what_it_means() {
    check(LEAST, Ok(least()));
    check(format!(" \t\r\n{}\n ", LEAST.replace(':', " : ").replace(',', "\n,")), Ok(least()));
    let hash = "ab".repeat(32);
    type Change = fn(&mut Draft);
    let rows: [(&str, Change); 17] = [
        (r#""confidence":0.25"#, |draft| draft.confidence = 0.25),
        (r#""confidence":1"#, |draft| draft.confidence = 1.0),
        (r#""confidence":5e-1"#, |draft| draft.confidence = 0.5),
        (r#""source_hash":"HASH""#, |draft| draft.source_hash = Digest([0xab; 32])),
        (r#""parent_hash":"HASH""#, |draft| draft.parent_hash = Some(Digest([0xab; 32]))),
        (r#""visual_hash":"0001020304050607""#, |draft| {
            draft.visual_hash = Some([0, 1, 2, 3, 4, 5, 6, 7]);
        }),
        (r#""source_class":0"#, |draft| draft.source_class = SourceClass::Regulatory),
        (r#""source_class":"Anecdotal""#, |draft| draft.source_class = SourceClass::Anecdotal),
        (r#""lifecycle":"UnderReview""#, |draft| draft.lifecycle = Lifecycle::UnderReview),
        (r#""epoch":"HASH""#, |draft| draft.epoch = Some([0xab; 32])),
        (r#""expires":253402300799"#, |draft| draft.expires = Some(253_402_300_799)),
        (r#""expires":9007199254740993"#, |draft| draft.expires = Some((1 << 53) + 1)),
        (r#""timestamp":0"#, |draft| draft.timestamp = Some(0)),
        (
            r#""parent_hash":null,"epoch":null,"expires":null,"confidence":null,"signatures":null"#,
            |_| {},
        ),
        (r#""signatures":[]"#, |_| {}),
        (r#""hash":"HASH""#, |draft| draft.hash = Some(Digest([0xab; 32]))),
        (r#""hlc":{"node":"07070707070707070707070707070707","time":5,"counter":6}"#, |draft| {
            draft.stamp = Some(Hlc { time: 5, counter: 6, node: NodeId([7; 16]) });
        }),
    ];
    for (field, change) in rows {
        let mut expected = least();
        change(&mut expected);
        check(with(&field.replace("HASH", &hash)), Ok(expected));
    }
    let mut signed = least();
    let one = Signature { agent_id: [0xab; 32], signature: [0xcd; 64], timestamp: 9 };
    signed.signatures = vec![one, one];
    let text =
        format!(r#"{{"timestamp":9,"signature":"{}","agent_id":"{hash}"}}"#, "CD".repeat(64));
    check(with(&format!(r#""signatures":[{text}, {text}]"#)), Ok(signed));
}

#[test]
fn what_is_shown_is_a_body_that_says_the_same() {
    let mut rng = Rng::with_seed(5);
    for round in 0..200 {
        let mut draft = least();
        draft.subject = format!("subject {round}");
        draft.timestamp = rng.bool().then(|| rng.u64(..1_000_000));
        draft.confidence = rng.f64();
        let mut clock = HlcClock::new(NodeId([7; 16]));
        let sealed = draft.check(&mut clock, Wall(rng.u64(..9_000_000))).expect("good").seal();
        let shown = answer::assertion(&sealed, Wall(u64::MAX));
        let again = parse_draft(shown.as_bytes()).expect("what we show we read");
        assert_eq!(again.hash, Some(sealed.digest()));
        let mut other = HlcClock::new(NodeId([9; 16]));
        let again = again.check(&mut other, Wall(9_000_000)).expect("it kept the rules").seal();
        assert_eq!(again.digest(), sealed.digest(), "{shown}");
    }
    let opaque = Sealed::recovered(Digest::of(b"xyz"), (&b"xyz"[..]).into());
    let shown = answer::assertion(&opaque, Wall(u64::MAX));
    let Ok(AssertBody::Bytes(again)) = parse_body(shown.as_bytes()) else { panic!("{shown}") };
    assert_eq!((again.digest(), again.bytes()), (opaque.digest(), opaque.bytes()));
    assert!(matches!(parse_body(br#"{"data":"78797A"}"#), Ok(AssertBody::Bytes(_))));
}

#[test]
fn bytes_stand_alone_and_are_what_their_hash_says() {
    let message = |body: &str| parse_body(body.as_bytes()).expect_err("refused").to_string();
    let hash = "ab".repeat(32);
    for (body, why) in [
        (r#"{"data":"7"}"#.to_owned(), "data takes hex digits"),
        (r#"{"data":"\u00e4\u00e4"}"#.to_owned(), "data takes hex digits"),
        (r#"{"data":""}"#.to_owned(), "assertion_data has 0 bytes"),
        (r#"{"data":"78","size":2}"#.to_owned(), "size is not that of data, 1 bytes"),
        (r#"{"data":"78","opaque":false}"#.to_owned(), "opaque takes true"),
        (format!(r#"{{"data":"78","hash":"{hash}"}}"#), "not to the assertion_hash abab"),
        (with(r#""data":"78""#), "data is the whole assertion"),
        (r#"{"opaque":true,"size":3}"#.to_owned(), "subject is missing"),
    ] {
        let message = message(&body);
        assert!(message.contains(why), "{body}\n message: {message}\n  not: {why}");
    }
    check(r#"{"data":"78"}"#, Err("line 1 column 1: a claim is needed here"));
    for (stamp, why) in [
        (r#""hlc":{"time":1,"counter":0}"#, "hlc has no node"),
        (r#""hlc":{"time":1,"counter":4294967296,"node":""}"#, "hlc.counter takes 0 to"),
        (r#""hlc":7"#, "hlc takes an object, not a number"),
    ] {
        let message = message(&with(stamp));
        assert!(message.contains(why), "{message}");
    }
}

#[test]
fn objects_come_in_either_order() {
    let rows = [
        (r#"{"value":"x","type":"Text"}"#, Object::Text("x".into())),
        (r#"{"type":"Text","value":""}"#, Object::Text(String::new())),
        (r#"{"type":"Reference","value":"y"}"#, Object::Reference("y".into())),
        (r#"{"type":"Number","value":-0.5E+2}"#, Object::Number(-50.0)),
        (r#"{"type":"Number","value":100000000000000000000000.0}"#, Object::Number(1e23)),
        (r#"{"type":"Number","value":0e-400}"#, Object::Number(0.0)),
        (r#"{"type":"Boolean","value":false}"#, Object::Boolean(false)),
        (
            r#"{"type":"Text","value":"\"\\\/\b\f\n\r\t\u0000\u00e9\ud83d\uDE00"}"#,
            Object::Text("\"\\/\u{8}\u{c}\n\r\t\0\u{e9}\u{1f600}".into()),
        ),
    ];
    for (object, expected) in rows {
        check(with_object(object), Ok(Draft::new("s".into(), "p".into(), expected)));
    }
}

#[test]
fn what_is_wrong_is_named_with_its_position() {
    let rows = [
        ("".to_owned(), "line 1 column 1: the body takes an object, not the end"),
        ("[]".into(), "line 1 column 1: the body takes an object, not an array"),
        ("{}".into(), "line 1 column 3: subject is missing"),
        (r#"{"subject":"s","predicate":"p"}"#.into(), "line 1 column 32: object is missing"),
        (
            r#"{"subject":"s","predicate":"p",}"#.into(),
            "line 1 column 32: expected a field in quot",
        ),
        (
            r#"{"subject":"s" "predicate":"p"}"#.into(),
            "line 1 column 16: expected a comma or the cl",
        ),
        (r#"{"subject" "s"}"#.into(), "line 1 column 12: expected a colon, found a string"),
        (r#"{subject:"s"}"#.into(), "line 1 column 2: expected a field in quotes, found subject"),
        ("{'subject':1}".into(), "line 1 column 2: expected a field in quotes, found '\\''"),
        (r#"{"subject":"s"#.into(), "line 1 column 14: a string has no closing quote"),
        (r#"{"subject":null}"#.into(), "line 1 column 12: subject takes a string, not null"),
        ("{\n \"subject\":\n  7}".into(), "line 3 column 3: subject takes a string, not a number"),
        (r#"{"subject":nul}"#.into(), "line 1 column 12: subject takes a string, not nul"),
        (r#"{"subject":["s"]}"#.into(), "line 1 column 12: subject takes a string, not an array"),
        (
            with(r#""subjct":"s""#),
            "line 1 column 2: the body has no field \"subjct\"; there are subject, ",
        ),
        (with(r#""subject":"s""#), "line 1 column 16: the body has \"subject\" twice"),
        (
            with(r#""confidence":"1""#),
            "line 1 column 15: confidence takes a number from 0 to 1, not a str",
        ),
        (
            with(r#""confidence":1e400"#),
            "line 1 column 15: confidence is 1e400, numbers lie between",
        ),
        (
            with(r#""confidence":NaN"#),
            "line 1 column 15: confidence takes a number from 0 to 1, not NaN",
        ),
        (with(r#""confidence":-Infinity"#), "line 1 column 16: expected a digit, found Infinity"),
        (
            with(r#""confidence":.5"#),
            "line 1 column 15: confidence takes a number from 0 to 1, not '.'",
        ),
        (
            with(r#""confidence":1."#),
            "line 1 column 17: expected a digit after the point, found ','",
        ),
        (with(r#""confidence":1e"#), "line 1 column 17: expected a digit of the exponent"),
        (with(r#""confidence":01"#), "line 1 column 15: a number has no leading zeros"),
        (
            with(r#""confidence":+1"#),
            "line 1 column 15: confidence takes a number from 0 to 1, not '+'",
        ),
        (
            with(r#""timestamp":-5"#),
            "line 1 column 14: timestamp takes a whole number from 0 to 18446",
        ),
        (with(r#""timestamp":1.0"#), "line 1 column 14: timestamp takes a whole number"),
        (with(r#""expires":18446744073709551616"#), "line 1 column 12: expires takes a whole"),
        (
            with(r#""epoch":7"#),
            "line 1 column 10: epoch takes a string of hex digits, not a number",
        ),
        (
            with(r#""epoch":"1""#),
            "line 1 column 10: epoch takes 64 hex digits, not these 1 characters",
        ),
        (
            with(r#""source_hash":"abc""#),
            "line 1 column 16: source_hash takes 64 hex digits, not these 3",
        ),
        (
            with(r#""source_class":6"#),
            "line 1 column 17: source_class takes 0 to 5 or one of Regulatory",
        ),
        (with(r#""source_class":3.0"#), "line 1 column 17: source_class takes 0 to 5 or one of"),
        (
            with(r#""lifecycle":"APPROVED""#),
            "line 1 column 14: lifecycle takes one of Proposed, Under",
        ),
        (with(r#""signatures":{}"#), "line 1 column 15: signatures takes an array, not an object"),
        (with(r#""signatures":[{}]"#), "line 1 column 18: a signature has no agent_id"),
        (
            with(r#""signatures":[1]"#),
            "line 1 column 16: a signature takes an object, not a number",
        ),
        (with(r#""signatures":[,]"#), "line 1 column 16: a signature takes an object, not ','"),
        (with_object("3"), "line 1 column 41: object takes an object, not a number"),
        (with_object(r#"{"type":"Text"}"#), "line 1 column 56: object.value is missing"),
        (with_object(r#"{"value":1}"#), "line 1 column 52: object.type is missing"),
        (
            with_object(r#"{"type":"text","value":"x"}"#),
            "line 1 column 64: object.type is \"text\", it ta",
        ),
        (
            with_object(r#"{"type":"Text","value":1}"#),
            "line 1 column 64: object.value takes a string by ",
        ),
        (
            with_object(r#"{"type":"Number","value":"1"}"#),
            "line 1 column 66: object.value takes a number ",
        ),
        (
            with_object(r#"{"type":"Number","value":1e400}"#),
            "line 1 column 66: object.value is 1e400, num",
        ),
        (
            with_object(r#"{"type":"Number","value":9007199254740993}"#),
            "line 1 column 66: object.value is 9007199254740993, an integer that no double is; the \
             nearest is 9007199254740992,",
        ),
        (
            with_object(r#"{"type":"Number","value":1e-400}"#),
            "line 1 column 66: object.value is 1e-400, a number that is not 0",
        ),
        (with(r#""confidence":1e-400"#), "line 1 column 15: confidence is 1e-400, a number"),
        (
            with_object(r#"{"type":"Number","value":[]}"#),
            "line 1 column 66: object.value takes a string, a",
        ),
        (
            with_object(r#"{"type":"Boolean","value":null}"#),
            "line 1 column 67: object.value takes true or",
        ),
        (format!("{LEAST}x"), "line 1 column 73: the value ends here, but x follows"),
        (format!("{LEAST}{LEAST}"), "line 1 column 73: the value ends here, but an object follows"),
        (format!("// c\n{LEAST}"), "line 1 column 1: the body takes an object, not '/'"),
        (LEAST.replace('s', "\u{1}"), "line 1 column 3: control characters are written as \\u0001"),
        (LEAST.replace("\"s\"", r#""\ud800""#), "line 1 column 13: \\ud800 is half of a surrogate"),
        (LEAST.replace("\"s\"", r#""\udc00\ud800""#), "line 1 column 13: \\udc00 is half of a"),
        (LEAST.replace("\"s\"", r#""\ud800\n""#), "line 1 column 13: \\ud800 is half of a"),
        (
            LEAST.replace("\"s\"", r#""\u12g4""#),
            "line 1 column 13: \\u is followed by four hex digits",
        ),
        (LEAST.replace("\"s\"", r#""\x""#), "line 1 column 13: a backslash is followed by one of"),
        (format!("\u{feff}{LEAST}"), "line 1 column 1: the body takes an object, not '\\u{feff}'"),
    ];
    for (body, start) in rows {
        check(body, Err(start));
    }
    check(b"{\"subject\":\"\xff\"}", Err("line 1 column 13: byte 0xff is not UTF-8"));
    check(
        "{\"\u{e9}\u{e9}\":1}",
        Err("line 1 column 2: the body has no field \"\u{e9}\u{e9}\"; there are"),
    );
}

#[test]
fn depth_and_length_cost_nothing() {
    for open in
        ["[", "{\"subject\":", "{\"object\":", "{\"signatures\":[", "// \n", "\"", "-", "\\"]
    {
        let start = if open.starts_with('{') { "line 1" } else { "line" };
        check(open.repeat(100_000), Err(start));
        check(format!("{{\"signatures\":{}", open.repeat(100_000)), Err("line 1"));
    }
    check(
        with(&format!("\"expires\":{}", "9".repeat(1 << 20))),
        Err("line 1 column 12: expires takes"),
    );
    check(with(&format!("\"{}\":1", "x".repeat(1 << 20))), Err("line 1 column 2: the body has no"));
    let one = format!(
        r#"{{"agent_id":"{}","signature":"{}","timestamp":1}},"#,
        "00".repeat(32),
        "00".repeat(64)
    );
    let many = with(&format!("\"signatures\":[{}1]", one.repeat(65)));
    let message = parse_draft(many.as_bytes()).expect_err("too many").to_string();
    assert!(message.ends_with("there are more than 64 signatures"), "{message}");
}

#[test]
fn damaged_bodies_are_read_or_refused() {
    let mut rng = Rng::with_seed(7);
    let good = with_object(r#"{"type":"Text","value":"\u00e9\ud83d\ude00 x"}"#);
    let good = good.replace(
        "{\"subject\"",
        r#"{"signatures":[{"agent_id":"00","timestamp":1}],"confidence":-1.5e+3,"subject""#,
    );
    let words = ["{", "}", "[", "]", "\"", ":", ",", "null", "1e400", "\\u", "\u{e9}", "\0", "-"];
    for _ in 0..20_000 {
        let mut body = good.clone().into_bytes();
        for _ in 0..rng.usize(1..4) {
            let at = rng.usize(..body.len());
            let end = (at + rng.usize(..8)).min(body.len());
            let word = words[rng.usize(..words.len())].as_bytes();
            match rng.u8(..4) {
                0 => body[at] = rng.u8(..),
                1 => drop(body.splice(at..end, word.iter().copied())),
                2 => body.truncate(at.max(1)),
                _ => drop(body.splice(at..at, word.iter().copied())),
            }
        }
        fuzz(&body);
    }
}

fn sealed(object: Object) -> Sealed {
    let mut draft = Draft::new("a \"b\"".into(), "p".into(), object);
    (draft.epoch, draft.timestamp) = (Some([0xee; 32]), Some(1_700_000_000));
    draft.expires = Some(1_700_000_060);
    draft.parent_hash = Some(Digest([0xab; 32]));
    let mut clock = HlcClock::new(NodeId([1; 16]));
    draft.check(&mut clock, Wall(0)).expect("it keeps the rules").seal()
}

#[test]
fn an_assertion_is_shown_whole() {
    let sealed = sealed(Object::Text("\u{1}\n\u{e9}\u{2028}".into()));
    let expected = format!(
        "{{\"hash\":\"{}\",\"subject\":\"a \\\"b\\\"\",\"predicate\":\"p\",\
         \"object\":{{\"type\":\"Text\",\"value\":\"\\u0001\\n\u{e9}\u{2028}\"}},\
         \"parent_hash\":\"{}\",\"source_hash\":\"{}\",\"epoch\":\"{}\",\"expires\":1700000060,\
         \"lifecycle\":\"Proposed\",\"signatures\":[],\"confidence\":1.0,\
         \"timestamp\":1700000000,\"source_class\":3,\
         \"hlc\":{{\"time\":1700000000000,\"counter\":0,\"node\":\"{}\"}}}}",
        sealed.digest(),
        "ab".repeat(32),
        "00".repeat(32),
        "ee".repeat(32),
        "00".repeat(16),
    );
    assert_eq!(answer::assertion(&sealed, Wall(1_700_000_059_999)), expected);
    let over = expected.strip_suffix('}').expect("an object").to_owned() + ",\"expired\":true}";
    assert_eq!(answer::assertion(&sealed, Wall(1_700_000_060_000)), over);
}

#[test]
fn numbers_are_shown_to_the_last_bit() {
    for number in [0.1, 1e300, 5e-324, f64::MAX, -1.0, 123_456_789.125, 1e16, 1.0 / 3.0] {
        let text = answer::assertion(&sealed(Object::Number(number)), Wall(u64::MAX));
        let digits = text.split("\"value\":").nth(1).and_then(|rest| rest.split('}').next());
        let digits = digits.expect("the object's value");
        assert_eq!(digits.parse(), Ok(number), "{digits}");
        let body = with_object(&format!(r#"{{"type":"Number","value":{digits}}}"#));
        let read = parse_draft(body.as_bytes()).expect("what we write we read");
        assert_eq!(read.object, Object::Number(number));
    }
}

#[test]
fn what_is_opaque_is_shown_as_such() {
    let opaque = Sealed::recovered(Digest::of(b"xyz"), bytes::Bytes::from_static(b"xyz"));
    let hash = opaque.digest();
    let alone = format!("{{\"hash\":\"{hash}\",\"opaque\":true,\"size\":3,\"data\":\"78797a\"}}");
    assert_eq!(answer::assertion(&opaque, Wall(u64::MAX)), alone);
    let page = View::Page {
        found: vec![opaque],
        next: Some(31),
        scanned: Some(7),
        resolution: None,
        now: Wall(0),
    };
    let node = NUMBERING.node;
    let expected = format!(
        "{{\"assertions\":[{{\"hash\":\"{hash}\",\"opaque\":true,\"size\":3}}],\
         \"next_cursor\":\"{node}-7-1f\",\"scanned\":7}}"
    );
    assert_eq!(answer::view(&page, NUMBERING), expected);
}

#[test]
fn views_have_the_shapes_of_the_contract() {
    let winner = Some(Digest([0xab; 32]));
    let hash = "ab".repeat(32);
    let resolution = Resolution {
        lens: Lens::Hlc,
        winner,
        candidates_count: 2,
        voices_count: 2,
        resolution_confidence: 0.5,
        conflict_score: 1.0,
        sampled: false,
        explanation: None,
    };
    let page = |resolution| View::Page {
        found: Vec::new(),
        next: None,
        scanned: None,
        resolution,
        now: Wall(0),
    };
    let none = Resolution { winner: None, ..resolution.clone() };
    let resolved = |winner: &str| {
        format!(
            "{{\"assertions\":[],\"resolution\":{{\"lens\":\"hlc\",\"winner\":{winner},\
             \"candidates_count\":2,\"resolution_confidence\":0.5,\"conflict_score\":1.0,\
             \"voices_count\":2,\"sampled\":false}}}}"
        )
    };
    assert_eq!(answer::view(&page(None), NUMBERING), "{\"assertions\":[]}");
    assert_eq!(answer::view(&page(Some(resolution)), NUMBERING), resolved(&format!("\"{hash}\"")));
    assert_eq!(answer::view(&page(Some(none)), NUMBERING), resolved("null"));

    let claim = Claim {
        object: Some(Object::Number(2.0)),
        weight_share: 1.0,
        voices_count: 3,
        assertions_count: 7,
        assertions: vec![Digest([0xab; 32])],
        backers: None,
    };
    let skepticism = Skepticism {
        status: Agreement::Unanimous,
        conflict_score: 0.0,
        conflict_class: ConflictClass::Unanimous,
        claims: vec![claim],
        claims_count: 1,
        candidates_count: 7,
        voices_count: 3,
        sampled: true,
    };
    let expected = format!(
        "{{\"status\":\"Unanimous\",\"conflict_score\":0.0,\"conflict_class\":\"none\",\
         \"claims\":[{{\
         \"object\":{{\"type\":\"Number\",\"value\":2.0}},\"weight_share\":1.0,\
         \"assertions_count\":7,\"voices_count\":3,\"assertions\":[\"{hash}\"]}}],\
         \"claims_count\":1,\
         \"candidates_count\":7,\"voices_count\":3,\"sampled\":true}}"
    );
    assert_eq!(answer::view(&View::Skeptic(skepticism), NUMBERING), expected);

    let layer = Layer {
        source_class: SourceClass::Clinical,
        winner: Digest([0xab; 32]),
        candidates_count: 3,
        voices_count: 1,
        conflict_score: 0.25,
        sampled: false,
    };
    let layers =
        Layers { layers: vec![layer], cross_class_conflict: 0.0, winner, candidates_count: 3 };
    let expected = format!(
        "{{\"layers\":[{{\"source_class\":1,\"source_class_name\":\"Clinical\",\
         \"winner\":\"{hash}\",\"candidates_count\":3,\"conflict_score\":0.25,\
         \"voices_count\":1,\"sampled\":false}}],\"cross_class_conflict\":0.0,\
         \"winner\":\"{hash}\",\"candidates_count\":3}}"
    );
    assert_eq!(answer::view(&View::Layered(layers), NUMBERING), expected);
}

#[test]
fn a_report_and_an_error_are_shown() {
    let report = SessionReport {
        node_id: Some(NodeId([1; 16])),
        received: 1,
        rounds: 3,
        error: Some("gone".into()),
        ..SessionReport::default()
    };
    let expected = format!(
        "{{\"peers\":[{{\"node_id\":\"{}\",\"addr\":\"a:1\",\"received\":1,\"sent\":0,\
         \"bytes_in\":0,\"bytes_out\":0,\"body_bytes\":0,\"rounds\":3,\"ms\":0,\
         \"error\":\"gone\"}}]}}",
        "01".repeat(16)
    );
    assert_eq!(answer::synced([("a:1", &report)].into_iter()), expected);
    assert_eq!(answer::synced([].into_iter()), "{\"peers\":[]}");
    let error = "{\"error\":{\"code\":\"x\",\"message\":\"\\\"y\\\"\"}}";
    assert_eq!(answer::error("x", "\"y\""), error);
    let created = format!("{{\"hash\":\"{}\",\"status\":\"created\"}}", "ab".repeat(32));
    assert_eq!(answer::asserted(&Digest([0xab; 32]), answer::Presence::New), created);
}

#[test]
fn the_end_of_a_string_is_found_wherever_it_is() {
    for length in 0..40 {
        for (stop, escape) in [('"', false), ('\\', true), ('\u{1f}', true), ('\u{0}', true)] {
            let inside = format!("{}\u{7f}\u{80}\u{ff}", "!".repeat(length));
            let value = format!("{inside}{stop}");
            let body = LEAST.replacen("\"s\"", &format!("\"{value}x\""), 1);
            let message = parse_draft(body.as_bytes()).expect_err("broken off").to_string();
            let column = 13 + length + 3 + usize::from(!escape);
            assert!(
                message.starts_with(&format!("line 1 column {column}: ")),
                "{stop:?} {message}"
            );
        }
    }
}

#[test]
fn every_character_is_shown_so_that_it_reads_back() {
    let all: String = ('\0'..='\u{2ff}').chain(['\u{2028}', '\u{ffff}', '\u{1f600}']).collect();
    let shown = answer::assertion(&sealed(Object::Text(all.clone())), Wall(u64::MAX));
    let value = shown.split("\"value\":").nth(1).and_then(|rest| rest.split("},").next());
    let body = with_object(&format!("{{\"type\":\"Text\",\"value\":{}}}", value.expect("a value")));
    let read = parse_draft(body.as_bytes()).expect("what we write we read");
    assert_eq!(read.object, Object::Text(all));
}
