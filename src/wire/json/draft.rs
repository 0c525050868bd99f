//! The bodies of `POST /v1/assert` and of `POST /v1/vote`.
//!
//! In: bytes. Out: a [`Draft`] of the right shape, or which field is wrong and what it takes. Only
//! the shape is judged here; the rules of a claim are `Draft::check`'s. What `GET` shows of an
//! assertion is such a body too: it names its hash and its stamp, and an opaque one has its bytes.
//!
//! Never: guesses what an unknown field may have meant.

use bytes::Bytes;

use super::fields::Seen;
use super::reader::{JsonReader, Malformed, Scalar, shorten};
use crate::base::digest::parse_hex;
use crate::base::{Digest, Hlc, HlcClock, NodeId, Wall, limits};
use crate::model::{Draft, Lifecycle, Object, Sealed, Signature, SourceClass, Statement};

/// The fields of an assert body and of a vote.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    Subject,
    Predicate,
    Object,
    Confidence,
    SourceHash,
    SourceClass,
    Lifecycle,
    ParentHash,
    Epoch,
    Expires,
    Timestamp,
    Signatures,
    VisualHash,
    Hash,
    Hlc,
    Data,
    Opaque,
    Size,
    NotYet,
    Expired,
    AssertionHash,
    VoteWeight,
}

/// In the order in which `GET` shows them: a field is looked for behind the one before it.
const FIELDS: [(&str, Field); 20] = [
    ("subject", Field::Subject),
    ("predicate", Field::Predicate),
    ("object", Field::Object),
    ("confidence", Field::Confidence),
    ("source_hash", Field::SourceHash),
    ("source_class", Field::SourceClass),
    ("lifecycle", Field::Lifecycle),
    ("parent_hash", Field::ParentHash),
    ("epoch", Field::Epoch),
    ("expires", Field::Expires),
    ("timestamp", Field::Timestamp),
    ("signatures", Field::Signatures),
    ("visual_hash", Field::VisualHash),
    ("hash", Field::Hash),
    ("hlc", Field::Hlc),
    ("data", Field::Data),
    ("opaque", Field::Opaque),
    ("size", Field::Size),
    ("not_yet", Field::NotYet),
    ("expired", Field::Expired),
];
/// Of a vote, which says itself what its subject, predicate and object are.
const VOTE_FIELDS: [(&str, Field); 7] = [
    ("assertion_hash", Field::AssertionHash),
    ("weight", Field::VoteWeight),
    ("timestamp", Field::Timestamp),
    ("signatures", Field::Signatures),
    ("lifecycle", Field::Lifecycle),
    ("expires", Field::Expires),
    ("source_hash", Field::SourceHash),
];
/// What a vote cannot leave out.
const REQUIRED_OF_VOTE: [Field; 2] = [Field::AssertionHash, Field::VoteWeight];
/// What a claim cannot leave out.
const REQUIRED: [Field; 3] = [Field::Subject, Field::Predicate, Field::Object];
/// What may stand in the body of an opaque assertion.
const OF_OPAQUE: [Field; 4] = [Field::Hash, Field::Data, Field::Opaque, Field::Size];

/// What an assert body asks to be stored.
#[derive(Clone, Debug)]
pub enum AssertBody {
    /// A claim, field by field.
    Claim(Box<Draft>),
    /// An assertion by its bytes, which need not be in our layout.
    Bytes(Sealed),
}

/// Reads the body of `POST /v1/assert`, strictly.
pub fn parse_body(body: &[u8]) -> Result<AssertBody, Malformed> {
    let mut reader = JsonReader::new(body)?;
    let mut draft = Draft::new(String::new(), String::new(), Object::Boolean(false));
    let mut opaque = Opaque::default();
    let seen = reader.object("the body", &FIELDS, |reader, name, field| {
        // An optional field that is null is one that was left out.
        if !REQUIRED.contains(&field) && reader.null() {
            return Ok(());
        }
        read_field(reader, name, field, &mut draft, &mut opaque)
    })?;
    if let Some(data) = opaque.data {
        let sealed = opaque_body(&reader, draft.hash, data, opaque.size, &seen)?;
        reader.end()?;
        return Ok(AssertBody::Bytes(sealed));
    }
    if let Some(name) = seen.missing(&REQUIRED) {
        return Err(reader.fail(format!("{name} is missing")));
    }
    reader.end()?;
    Ok(AssertBody::Claim(Box::new(draft)))
}

/// Reads the body of `POST /v1/vote`, as strictly: it is a claim about the hash that it names.
pub fn parse_vote(body: &[u8]) -> Result<AssertBody, Malformed> {
    let mut reader = JsonReader::new(body)?;
    let predicate = Statement::Vote.predicate().to_owned();
    let mut draft = Draft::new(String::new(), predicate, Object::Number(0.0));
    let seen = reader.object("the vote", &VOTE_FIELDS, |reader, name, field| {
        if !REQUIRED_OF_VOTE.contains(&field) && reader.null() {
            return Ok(());
        }
        read_field(reader, name, field, &mut draft, &mut Opaque::default())
    })?;
    if let Some(name) = seen.missing(&REQUIRED_OF_VOTE) {
        return Err(reader.fail(format!("{name} is missing")));
    }
    reader.end()?;
    Ok(AssertBody::Claim(Box::new(draft)))
}

/// Reads an assert body that is a claim.
pub fn parse(body: &[u8]) -> Result<Draft, Malformed> {
    match parse_body(body)? {
        AssertBody::Claim(draft) => Ok(*draft),
        AssertBody::Bytes(_) => Err(Malformed {
            line: 1,
            column: 1,
            what: "a claim is needed here, not the bytes of an assertion".into(),
        }),
    }
}

/// What the fields of an opaque assertion said.
#[derive(Default)]
struct Opaque {
    data: Option<Bytes>,
    size: Option<u64>,
}

fn data(reader: &mut JsonReader<'_>) -> Result<Bytes, Malformed> {
    let digits = reader.text("data", "a string of hex digits")?;
    let mut bytes = vec![0; digits.len() / 2];
    if parse_hex(&digits, &mut bytes) {
        return Ok(bytes.into());
    }
    Err(reader.wrong("data takes hex digits, two for each byte"))
}

fn opaque_body(
    reader: &JsonReader<'_>,
    hash: Option<Digest>,
    data: Bytes,
    size: Option<u64>,
    seen: &Seen<'_, Field>,
) -> Result<Sealed, Malformed> {
    if seen.has_others_than(&OF_OPAQUE) {
        return Err(
            reader.fail("data is the whole assertion: only hash, opaque and size go with it")
        );
    }
    if size.is_some_and(|size| size != data.len() as u64) {
        return Err(reader.fail(format!("size is not that of data, {} bytes", data.len())));
    }
    let claimed = hash.unwrap_or_else(|| Digest::of(&data));
    Sealed::open(claimed, data).map_err(|malformed| reader.fail(malformed.to_string()))
}

/// Reads the value of a field.
fn read_field(
    reader: &mut JsonReader<'_>,
    name: &'static str,
    field: Field,
    draft: &mut Draft,
    opaque: &mut Opaque,
) -> Result<(), Malformed> {
    match field {
        Field::Subject => draft.subject = reader.text(name, "a string")?.into_owned(),
        Field::Predicate => draft.predicate = reader.text(name, "a string")?.into_owned(),
        Field::Object => draft.object = object(reader)?,
        Field::Confidence => draft.confidence = reader.float(name, "a number from 0 to 1")?,
        Field::SourceHash => draft.source_hash = Digest(hex(reader, name)?),
        Field::SourceClass => draft.source_class = source_class(reader)?,
        Field::Lifecycle => draft.lifecycle = lifecycle(reader)?,
        Field::ParentHash => draft.parent_hash = Some(Digest(hex(reader, name)?)),
        Field::Epoch => draft.epoch = Some(hex(reader, name)?),
        Field::Expires => draft.expires = Some(reader.whole(name)?),
        Field::Timestamp => draft.timestamp = Some(reader.whole(name)?),
        Field::Signatures => draft.signatures = signatures(reader)?,
        Field::VisualHash => draft.visual_hash = Some(hex(reader, name)?),
        Field::Hash => draft.hash = Some(Digest(hex(reader, name)?)),
        Field::Hlc => draft.stamp = Some(stamp(reader)?),
        Field::Data => opaque.data = Some(data(reader)?),
        Field::Size => opaque.size = Some(reader.whole(name)?),
        Field::Opaque | Field::NotYet | Field::Expired => match reader.scalar(name, "true")? {
            Scalar::Boolean(true) => {}
            _ => return Err(reader.wrong(format!("{name} takes true, or is left out"))),
        },
        Field::AssertionHash => draft.subject = Digest(hex(reader, name)?).to_string(),
        Field::VoteWeight => {
            let weight = reader.float(name, "a number from 0 to 1")?;
            // A claim of another number may be stored, but is no vote.
            if !(0.0..=1.0).contains(&weight) {
                return Err(reader.wrong(format!("weight is {weight}, it takes 0 to 1")));
            }
            draft.object = Object::Number(weight);
        }
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum StampField {
    Time,
    Counter,
    Node,
}

/// `{"time", "counter", "node"}`, in any order.
fn stamp(reader: &mut JsonReader<'_>) -> Result<Hlc, Malformed> {
    use StampField::{Counter, Node, Time};
    let fields = [("time", Time), ("counter", Counter), ("node", Node)];
    let mut found = Hlc::default();
    let seen = reader.object("hlc", &fields, |reader, _, field| {
        match field {
            Time => found.time = reader.whole("hlc.time")?,
            Counter => {
                found.counter = u32::try_from(reader.whole("hlc.counter")?)
                    .map_err(|_| reader.wrong("hlc.counter takes 0 to 4294967295"))?;
            }
            Node => found.node = NodeId(hex(reader, "hlc.node")?),
        }
        Ok(())
    })?;
    match seen.missing(&[Time, Counter, Node]) {
        None => Ok(found),
        Some(name) => Err(reader.fail(format!("hlc has no {name}"))),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ObjectField {
    Type,
    Value,
}

/// `{"type", "value"}`, in either order.
fn object(reader: &mut JsonReader<'_>) -> Result<Object, Malformed> {
    let (mut kind, mut value) = (None, None);
    let fields = [("type", ObjectField::Type), ("value", ObjectField::Value)];
    reader.object("object", &fields, |reader, _, field| {
        match field {
            ObjectField::Type => kind = Some(reader.text("object.type", KINDS)?),
            ObjectField::Value => {
                value = Some(reader.scalar("object.value", "a string, a number or a boolean")?);
            }
        }
        Ok(())
    })?;
    let Some(kind) = kind else { return Err(reader.fail("object.type is missing")) };
    let Some(value) = value else { return Err(reader.fail("object.value is missing")) };
    let (kind, expected) = match &*kind {
        "Text" => (Object::Text as fn(String) -> Object, "a string"),
        "Reference" => (Object::Reference as fn(String) -> Object, "a string"),
        "Number" | "Boolean" => return plain_object(reader, &kind, &value),
        other => {
            return Err(
                reader.wrong(format!("object.type is {:?}, it takes {KINDS}", shorten(other)))
            );
        }
    };
    match value {
        Scalar::Text(text) => Ok(kind(text.into_owned())),
        other => {
            let found = other.kind();
            Err(reader.wrong(format!("object.value takes {expected} by its type, not {found}")))
        }
    }
}

const KINDS: &str = "Text, Number, Boolean or Reference";

fn plain_object(
    reader: &JsonReader<'_>,
    kind: &str,
    value: &Scalar<'_>,
) -> Result<Object, Malformed> {
    match (kind, value) {
        ("Number", Scalar::Number(digits)) => {
            reader.finite("object.value", digits).map(Object::Number)
        }
        ("Boolean", Scalar::Boolean(value)) => Ok(Object::Boolean(*value)),
        _ => {
            let expected = if kind == "Number" { "a number" } else { "true or false" };
            let found = value.kind();
            Err(reader.wrong(format!("object.value takes {expected} by its type, not {found}")))
        }
    }
}

fn hex<const N: usize>(reader: &mut JsonReader<'_>, name: &str) -> Result<[u8; N], Malformed> {
    let digits = reader.text(name, "a string of hex digits")?;
    let mut bytes = [0; N];
    if parse_hex(&digits, &mut bytes) {
        return Ok(bytes);
    }
    let length = digits.chars().count();
    Err(reader.wrong(format!("{name} takes {} hex digits, not these {length} characters", 2 * N)))
}

fn source_class(reader: &mut JsonReader<'_>) -> Result<SourceClass, Malformed> {
    let expected = "0 to 5 or the name of a source class";
    let class = match reader.scalar("source_class", expected)? {
        Scalar::Number(digits) => digits.parse().ok().and_then(SourceClass::from_number),
        Scalar::Text(name) => SourceClass::parse(&name),
        Scalar::Null | Scalar::Boolean(_) => None,
    };
    class.ok_or_else(|| {
        let names = SourceClass::ALL.map(SourceClass::name).join(", ");
        reader.wrong(format!("source_class takes 0 to 5 or one of {names}"))
    })
}

fn lifecycle(reader: &mut JsonReader<'_>) -> Result<Lifecycle, Malformed> {
    let name = reader.text("lifecycle", "a string")?;
    Lifecycle::parse(&name).ok_or_else(|| {
        let names = Lifecycle::ALL.map(Lifecycle::name).join(", ");
        reader.wrong(format!("lifecycle takes one of {names}"))
    })
}

fn signatures(reader: &mut JsonReader<'_>) -> Result<Vec<Signature>, Malformed> {
    let mut all = Vec::new();
    reader.array("signatures", |reader, index| {
        if index == limits::SIGNATURES_MAX {
            let what = format!("there are more than {} signatures", limits::SIGNATURES_MAX);
            return Err(reader.fail(what));
        }
        all.push(signature(reader)?);
        Ok(())
    })?;
    Ok(all)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum SignatureField {
    AgentId,
    Signature,
    Timestamp,
}

fn signature(reader: &mut JsonReader<'_>) -> Result<Signature, Malformed> {
    use SignatureField as Part;
    let fields = [
        ("agent_id", Part::AgentId),
        ("signature", Part::Signature),
        ("timestamp", Part::Timestamp),
    ];
    let mut found = Signature { agent_id: [0; 32], signature: [0; 64], timestamp: 0 };
    let seen = reader.object("a signature", &fields, |reader, _, field| {
        match field {
            Part::AgentId => found.agent_id = hex(reader, "agent_id of a signature")?,
            Part::Signature => found.signature = hex(reader, "signature")?,
            Part::Timestamp => found.timestamp = reader.whole("timestamp of a signature")?,
        }
        Ok(())
    })?;
    match seen.missing(&[Part::AgentId, Part::Signature, Part::Timestamp]) {
        None => Ok(found),
        Some(name) => Err(reader.fail(format!("a signature has no {name}"))),
    }
}

/// Fuzz body: any bytes are read or refused; what is read obeys the shape, white space around it
/// changes nothing, and what `GET` shows of it, read again, is the same assertion.
#[doc(hidden)]
pub fn fuzz(body: &[u8]) {
    let spaced = [b"\t", body, b" \r\n"].concat();
    match parse_body(body) {
        Ok(AssertBody::Bytes(sealed)) => {
            assert!(2 * sealed.bytes().len() <= body.len());
            assert!(matches!(parse_body(&spaced), Ok(AssertBody::Bytes(again))
                if again.digest() == sealed.digest()));
            assert_eq!(read_shown(&sealed), sealed.digest());
        }
        Ok(AssertBody::Claim(draft)) => {
            assert!(draft.confidence.is_finite());
            assert!(draft.signatures.len() <= limits::SIGNATURES_MAX);
            assert!(draft.subject.len() + draft.predicate.len() <= body.len());
            assert_eq!(parse(&spaced).as_ref(), Ok(&*draft));
            if let Some(sealed) = seal(*draft) {
                assert_eq!(read_shown(&sealed), sealed.digest());
            }
        }
        Err(malformed) => {
            let lines = body.iter().filter(|byte| **byte == b'\n').count() + 1;
            assert!((1..=lines).contains(&malformed.line), "{malformed}");
            assert!((1..=body.len() + 1).contains(&malformed.column), "{malformed}");
            assert!(!malformed.what.is_empty() && malformed.what.len() < 1024, "{malformed}");
            assert!(parse_body(&spaced).is_err());
        }
    }
}

fn seal(draft: Draft) -> Option<Sealed> {
    Some(draft.check(&mut HlcClock::new(NodeId::NONE), Wall(0)).ok()?.seal())
}

/// The id of what an assertion's JSON says.
fn read_shown(sealed: &Sealed) -> Digest {
    let shown = super::answer::assertion(sealed, Wall(0));
    match parse_body(shown.as_bytes()).expect("what is shown is a body") {
        AssertBody::Bytes(again) => again.digest(),
        AssertBody::Claim(draft) => {
            assert_eq!(draft.hash, Some(sealed.digest()));
            seal(*draft).expect("it kept the rules before").digest()
        }
    }
}
