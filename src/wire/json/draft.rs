//! The body of `POST /v1/assert`.
//!
//! In: bytes. Out: a [`Draft`] of the right shape, or which field is wrong and what it takes. Only
//! the shape is judged here; the rules of a claim are `Draft::check`'s.
//!
//! Never: guesses what an unknown field may have meant.

use super::reader::{Malformed, Reader, Scalar, shorten};
use crate::base::digest::parse_hex;
use crate::base::{Digest, limits};
use crate::model::{Draft, Lifecycle, Object, Signature, SourceClass};

const FIELDS: [&str; 12] = [
    "subject",
    "predicate",
    "object",
    "confidence",
    "source_hash",
    "source_class",
    "lifecycle",
    "parent_hash",
    "epoch",
    "timestamp",
    "signatures",
    "visual_hash",
];
/// The first ones of [`FIELDS`] cannot be left out.
const REQUIRED: usize = 3;

/// Reads an assert body.
pub fn parse(body: &[u8]) -> Result<Draft, Malformed> {
    let mut reader = Reader::new(body)?;
    let mut draft = Draft::new(String::new(), String::new(), Object::Boolean(false));
    let seen = reader.object("the body", &FIELDS, |reader, place| {
        // An optional field that is null is one that was left out.
        if place >= REQUIRED && reader.null() { Ok(()) } else { field(&mut draft, reader, place) }
    })?;
    if let Some(place) = (0..REQUIRED).find(|place| seen >> place & 1 == 0) {
        return Err(reader.fail(format!("{} is missing", FIELDS[place])));
    }
    reader.end()?;
    Ok(draft)
}

/// Reads the value of a field by its place in [`FIELDS`].
fn field(draft: &mut Draft, reader: &mut Reader<'_>, place: usize) -> Result<(), Malformed> {
    let name = FIELDS[place];
    match place {
        0 => draft.subject = reader.text(name, "a string")?.into_owned(),
        1 => draft.predicate = reader.text(name, "a string")?.into_owned(),
        2 => draft.object = object(reader)?,
        3 => draft.confidence = reader.float(name, "a number from 0 to 1")?,
        4 => draft.source_hash = Digest(hex(reader, name)?),
        5 => draft.source_class = source_class(reader)?,
        6 => draft.lifecycle = lifecycle(reader)?,
        7 => draft.parent_hash = Some(Digest(hex(reader, name)?)),
        8 => draft.epoch = Some(reader.whole(name)?),
        9 => draft.timestamp = Some(reader.whole(name)?),
        10 => draft.signatures = signatures(reader)?,
        _ => draft.visual_hash = Some(hex(reader, name)?),
    }
    Ok(())
}

/// `{"type", "value"}`, in either order.
fn object(reader: &mut Reader<'_>) -> Result<Object, Malformed> {
    let (mut kind, mut value) = (None, None);
    reader.object("object", &["type", "value"], |reader, place| {
        match place {
            0 => kind = Some(reader.text("object.type", KINDS)?),
            _ => value = Some(reader.scalar("object.value", "a string, a number or a boolean")?),
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

fn plain_object(reader: &Reader<'_>, kind: &str, value: &Scalar<'_>) -> Result<Object, Malformed> {
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

fn hex<const N: usize>(reader: &mut Reader<'_>, name: &str) -> Result<[u8; N], Malformed> {
    let digits = reader.text(name, "a string of hex digits")?;
    let mut bytes = [0; N];
    if parse_hex(&digits, &mut bytes) {
        return Ok(bytes);
    }
    let length = digits.chars().count();
    Err(reader.wrong(format!("{name} takes {} hex digits, not these {length} characters", 2 * N)))
}

fn source_class(reader: &mut Reader<'_>) -> Result<SourceClass, Malformed> {
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

fn lifecycle(reader: &mut Reader<'_>) -> Result<Lifecycle, Malformed> {
    let name = reader.text("lifecycle", "a string")?;
    Lifecycle::parse(&name).ok_or_else(|| {
        let names = Lifecycle::ALL.map(Lifecycle::name).join(", ");
        reader.wrong(format!("lifecycle takes one of {names}"))
    })
}

fn signatures(reader: &mut Reader<'_>) -> Result<Vec<Signature>, Malformed> {
    let mut all = Vec::new();
    reader.array("signatures", |reader, place| {
        if place == limits::SIGNATURES_MAX {
            let what = format!("there are more than {} signatures", limits::SIGNATURES_MAX);
            return Err(reader.fail(what));
        }
        all.push(signature(reader)?);
        Ok(())
    })?;
    Ok(all)
}

fn signature(reader: &mut Reader<'_>) -> Result<Signature, Malformed> {
    let names = ["agent_id", "signature", "timestamp"];
    let mut found = Signature { agent_id: [0; 32], signature: [0; 64], timestamp: 0 };
    let seen = reader.object("a signature", &names, |reader, place| {
        match place {
            0 => found.agent_id = hex(reader, "agent_id of a signature")?,
            1 => found.signature = hex(reader, "signature")?,
            _ => found.timestamp = reader.whole("timestamp of a signature")?,
        }
        Ok(())
    })?;
    match names.iter().enumerate().find(|(place, _)| seen >> place & 1 == 0) {
        None => Ok(found),
        Some((_, name)) => Err(reader.fail(format!("a signature has no {name}"))),
    }
}

/// Fuzz body: any bytes are read or refused; what is read obeys the shape.
#[doc(hidden)]
pub fn fuzz(body: &[u8]) {
    match parse(body) {
        Ok(draft) => {
            assert!(draft.confidence.is_finite());
            assert!(draft.signatures.len() <= limits::SIGNATURES_MAX);
            assert!(draft.subject.len() + draft.predicate.len() <= body.len());
        }
        Err(malformed) => assert!(malformed.line > 0 && !malformed.what.is_empty()),
    }
}
