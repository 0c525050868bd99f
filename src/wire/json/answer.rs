//! What the HTTP API answers, as JSON text.
//!
//! In: what the modules below found. Out: text. Names and shapes are those of `docs/http.md`;
//! hashes, ids and keys are lower-case hex, numbers read back to the very same bits.
//!
//! Never: writes a number that is not finite, knows a status.

use nanoserde::{SerJson, SerJsonState};

use super::text::{Hex, Nullable, Text, render};
use crate::base::digest::write_hex;
use crate::base::{Digest, Hlc, Wall};
use crate::lens::{Claim, Layer, Layers, Resolution, Skepticism};
use crate::model::{Assertion, Cursor, Object, RowNumbering, Sealed, Signature};
use crate::scan::View;
use crate::sync::SessionReport;

/// The body of every error.
pub fn error(code: &str, message: &str) -> String {
    let error = ErrorFields { code: Text(code), message: Text(message) };
    render(&ErrorBody { error }, 64 + code.len() + message.len())
}

/// Whether an assertion was in the set before it was asserted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Presence {
    /// It was not: the answer is 201.
    New,
    /// It was: the answer is 200, and nothing was written.
    Known,
}

/// What `POST /v1/assert` answers; the one answer that is written by hand, as it is given most.
pub fn asserted(digest: &Digest, presence: Presence) -> String {
    let mut text = String::with_capacity(96);
    text.push('{');
    write_asserted(digest, presence, &mut text);
    text.push('}');
    text
}

/// The fields of such an answer.
pub(super) fn write_asserted(digest: &Digest, presence: Presence, text: &mut String) {
    text.push_str("\"hash\":\"");
    write_hex(&digest.0, text).expect("writing to a String cannot fail");
    text.push_str("\",\"status\":\"");
    text.push_str(match presence {
        Presence::New => "created",
        Presence::Known => "exists",
    });
    text.push('"');
}

/// The id in such an answer.
pub fn asserted_digest(text: &[u8]) -> Option<Digest> {
    let hex = text.strip_prefix(b"{\"hash\":\"")?.get(..64)?;
    Digest::parse(std::str::from_utf8(hex).ok()?)
}

/// One assertion, and whether by `now` its time has not come or it is over. An opaque one is shown
/// with its bytes, as this node cannot decode them.
pub fn assertion(sealed: &Sealed, now: Wall) -> String {
    let digest = sealed.digest();
    let entry = ShownEntry::of(&digest, sealed, now, OpaqueBytes::Shown);
    render(&entry, 512 + 2 * sealed.bytes().len())
}

/// A page of assertions, a skeptic's or a layered view, of a node whose rows are `numbering`.
pub fn view(view: &View, numbering: RowNumbering) -> String {
    match view {
        View::Page { found, next, resolution, now } => {
            let digests: Vec<Digest> = found.iter().map(Sealed::digest).collect();
            let entries = digests.iter().zip(found);
            let bytes: usize = found.iter().map(|sealed| sealed.bytes().len() + 512).sum();
            let page = Page {
                assertions: entries
                    .map(|(id, sealed)| ShownEntry::of(id, sealed, *now, OpaqueBytes::LeftOut))
                    .collect(),
                next_cursor: next.map(|row| Cursor { numbering, row: row.into() }.to_string()),
                resolution: resolution.as_ref().map(resolved),
            };
            render(&page, bytes)
        }
        View::Skeptic(skepticism) => render(&skeptic(skepticism), 1024),
        View::Layered(layers) => render(&layered(layers), 1024),
    }
}

/// What `POST /v1/admin/sync` answers: per peer its address as the request named it, and what it
/// gave.
pub fn synced<'a>(peers: impl Iterator<Item = (&'a str, &'a SessionReport)>) -> String {
    render(&Synced { peers: peers.map(|(addr, report)| peer(addr, report)).collect() }, 512)
}

#[derive(SerJson)]
struct ErrorBody<'a> {
    error: ErrorFields<'a>,
}

#[derive(SerJson)]
struct ErrorFields<'a> {
    code: Text<'a>,
    message: Text<'a>,
}

/// A page of opaque assertions would be as long as all their bytes in hex.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OpaqueBytes {
    Shown,
    LeftOut,
}

/// An assertion of ours, or an opaque one.
enum ShownEntry<'a> {
    Ours(Box<Shown<'a>>),
    Opaque(Opaque<'a>),
}

impl<'a> ShownEntry<'a> {
    fn of(digest: &'a Digest, sealed: &'a Sealed, now: Wall, bytes: OpaqueBytes) -> ShownEntry<'a> {
        let hash = Hex(&digest.0);
        match sealed.assertion() {
            Some(assertion) => ShownEntry::Ours(Box::new(Shown { hash, assertion, now })),
            None => ShownEntry::Opaque(Opaque {
                hash,
                opaque: true,
                size: sealed.bytes().len(),
                data: (bytes == OpaqueBytes::Shown).then_some(Hex(sealed.bytes())),
            }),
        }
    }
}

impl SerJson for ShownEntry<'_> {
    fn ser_json(&self, depth: usize, state: &mut SerJsonState) {
        match self {
            ShownEntry::Ours(shown) => shown.body().ser_json(depth, state),
            ShownEntry::Opaque(opaque) => opaque.ser_json(depth, state),
        }
    }
}

#[derive(SerJson)]
struct Opaque<'a> {
    hash: Hex<'a>,
    opaque: bool,
    size: usize,
    data: Option<Hex<'a>>,
}

/// A decoded assertion, to be looked at field by field.
struct Shown<'a> {
    hash: Hex<'a>,
    assertion: Assertion,
    now: Wall,
}

impl Shown<'_> {
    fn body(&self) -> AssertionBody<'_> {
        let assertion = &self.assertion;
        AssertionBody {
            hash: Hex(self.hash.0),
            subject: Text(&assertion.subject),
            predicate: Text(&assertion.predicate),
            object: object(&assertion.object),
            parent_hash: assertion.parent_hash.as_ref().map(|hash| Hex(&hash.0)),
            source_hash: Hex(&assertion.source_hash.0),
            visual_hash: assertion.visual_hash.as_ref().map(|hash| Hex(hash)),
            epoch: assertion.epoch.as_ref().map(|epoch| Hex(epoch)),
            expires: assertion.expires,
            lifecycle: Text(assertion.lifecycle.name()),
            signatures: assertion.signatures.iter().map(signature).collect(),
            confidence: assertion.confidence,
            timestamp: assertion.timestamp,
            source_class: assertion.source_class.number(),
            hlc: hlc(&assertion.hlc),
            not_yet: self.now.is_before(assertion.hlc.time).then_some(true),
            expired: assertion.is_over(self.now).then_some(true),
        }
    }
}

#[derive(SerJson)]
struct AssertionBody<'a> {
    hash: Hex<'a>,
    subject: Text<'a>,
    predicate: Text<'a>,
    object: ObjectBody<'a>,
    parent_hash: Option<Hex<'a>>,
    source_hash: Hex<'a>,
    visual_hash: Option<Hex<'a>>,
    epoch: Option<Hex<'a>>,
    expires: Option<u64>,
    lifecycle: Text<'a>,
    signatures: Vec<SignatureBody<'a>>,
    confidence: f64,
    timestamp: u64,
    source_class: u8,
    hlc: HlcBody<'a>,
    not_yet: Option<bool>,
    expired: Option<bool>,
}

#[derive(SerJson)]
struct ObjectBody<'a> {
    #[nserde(rename = "type")]
    kind: Text<'a>,
    value: ValueBody<'a>,
}

enum ValueBody<'a> {
    Text(&'a str),
    Number(f64),
    Boolean(bool),
}

impl SerJson for ValueBody<'_> {
    fn ser_json(&self, depth: usize, state: &mut SerJsonState) {
        match self {
            ValueBody::Text(text) => Text(text).ser_json(depth, state),
            ValueBody::Number(number) => {
                assert!(number.is_finite(), "the model lets no other number in");
                number.ser_json(depth, state);
            }
            ValueBody::Boolean(boolean) => boolean.ser_json(depth, state),
        }
    }
}

fn object(object: &Object) -> ObjectBody<'_> {
    let value = match object {
        Object::Text(text) | Object::Reference(text) => ValueBody::Text(text),
        Object::Number(number) => ValueBody::Number(*number),
        Object::Boolean(boolean) => ValueBody::Boolean(*boolean),
    };
    ObjectBody { kind: Text(object.kind()), value }
}

#[derive(SerJson)]
struct SignatureBody<'a> {
    agent_id: Hex<'a>,
    signature: Hex<'a>,
    timestamp: u64,
}

fn signature(signature: &Signature) -> SignatureBody<'_> {
    SignatureBody {
        agent_id: Hex(&signature.agent_id),
        signature: Hex(&signature.signature),
        timestamp: signature.timestamp,
    }
}

#[derive(SerJson)]
struct HlcBody<'a> {
    time: u64,
    counter: u32,
    node: Hex<'a>,
}

fn hlc(hlc: &Hlc) -> HlcBody<'_> {
    HlcBody { time: hlc.time, counter: hlc.counter, node: Hex(&hlc.node.0) }
}

#[derive(SerJson)]
struct Page<'a> {
    assertions: Vec<ShownEntry<'a>>,
    next_cursor: Option<String>,
    resolution: Option<ResolutionBody<'a>>,
}

#[derive(SerJson)]
struct ResolutionBody<'a> {
    lens: Text<'a>,
    winner: Nullable<Hex<'a>>,
    candidates_count: u64,
    resolution_confidence: f64,
    conflict_score: f64,
    voices_count: u64,
    sampled: bool,
}

fn resolved(resolution: &Resolution) -> ResolutionBody<'_> {
    ResolutionBody {
        lens: Text(resolution.lens.name()),
        winner: Nullable(resolution.winner.as_ref().map(|winner| Hex(&winner.0))),
        candidates_count: resolution.candidates_count,
        voices_count: resolution.voices_count,
        resolution_confidence: resolution.resolution_confidence,
        conflict_score: resolution.conflict_score,
        sampled: resolution.sampled,
    }
}

#[derive(SerJson)]
struct SkepticBody<'a> {
    status: Text<'a>,
    conflict_score: f64,
    claims: Vec<ClaimBody<'a>>,
    claims_count: u64,
    candidates_count: u64,
    voices_count: u64,
    sampled: bool,
}

#[derive(SerJson)]
struct ClaimBody<'a> {
    object: Nullable<ObjectBody<'a>>,
    weight_share: f64,
    assertions_count: u64,
    voices_count: u64,
    assertions: Vec<Hex<'a>>,
}

fn skeptic(skepticism: &Skepticism) -> SkepticBody<'_> {
    SkepticBody {
        status: Text(skepticism.status.name()),
        conflict_score: skepticism.conflict_score,
        claims: skepticism.claims.iter().map(claimed).collect(),
        claims_count: skepticism.claims_count,
        candidates_count: skepticism.candidates_count,
        voices_count: skepticism.voices_count,
        sampled: skepticism.sampled,
    }
}

fn claimed(claim: &Claim) -> ClaimBody<'_> {
    ClaimBody {
        object: Nullable(claim.object.as_ref().map(object)),
        weight_share: claim.weight_share,
        voices_count: claim.voices_count,
        assertions_count: claim.assertions_count,
        assertions: claim.assertions.iter().map(|digest| Hex(&digest.0)).collect(),
    }
}

#[derive(SerJson)]
struct LayersBody<'a> {
    layers: Vec<LayerBody<'a>>,
    cross_class_conflict: f64,
    winner: Nullable<Hex<'a>>,
    candidates_count: u64,
}

#[derive(SerJson)]
struct LayerBody<'a> {
    source_class: u8,
    source_class_name: Text<'a>,
    winner: Hex<'a>,
    candidates_count: u64,
    conflict_score: f64,
    voices_count: u64,
    sampled: bool,
}

fn layered(layers: &Layers) -> LayersBody<'_> {
    LayersBody {
        layers: layers.layers.iter().map(layer).collect(),
        cross_class_conflict: layers.cross_class_conflict,
        winner: Nullable(layers.winner.as_ref().map(|winner| Hex(&winner.0))),
        candidates_count: layers.candidates_count,
    }
}

fn layer(layer: &Layer) -> LayerBody<'_> {
    LayerBody {
        source_class: layer.source_class.number(),
        source_class_name: Text(layer.source_class.name()),
        winner: Hex(&layer.winner.0),
        candidates_count: layer.candidates_count,
        voices_count: layer.voices_count,
        conflict_score: layer.conflict_score,
        sampled: layer.sampled,
    }
}

#[derive(SerJson)]
struct Synced<'a> {
    peers: Vec<PeerBody<'a>>,
}

#[derive(SerJson)]
struct PeerBody<'a> {
    node_id: Nullable<Hex<'a>>,
    addr: Text<'a>,
    received: u64,
    sent: u64,
    bytes_in: u64,
    bytes_out: u64,
    body_bytes: u64,
    rounds: u64,
    ms: u64,
    error: Option<String>,
}

fn peer<'a>(addr: &'a str, report: &'a SessionReport) -> PeerBody<'a> {
    PeerBody {
        node_id: Nullable(report.node_id.as_ref().map(|node| Hex(&node.0))),
        addr: Text(addr),
        received: report.received,
        sent: report.sent,
        bytes_in: report.bytes_in,
        bytes_out: report.bytes_out,
        body_bytes: report.body_bytes,
        rounds: report.rounds,
        ms: report.ms,
        error: report.error.clone(),
    }
}
