//! What the HTTP API answers, as JSON text.
//!
//! In: what the modules below found. Out: text. Names and shapes are those of `docs/http.md`;
//! hashes, ids and keys are lower-case hex, numbers read back to the very same bits.
//!
//! Never: writes a number that is not finite, knows a status.

use nanoserde::{SerJson, SerJsonState};

use super::lens::{ShownResolution, conflicts, layered, skeptic};
use super::names;
use super::text::{Hex, Nullable, Text, render};
use super::value::{ShownHlc, ShownObject};
use crate::base::digest::write_hex;
use crate::base::{Digest, Wall};
use crate::model::{Assertion, Cursor, RowNumbering, Sealed, Signature};
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

/// A page of assertions or names, a skeptic's or a layered view, of a node whose rows are
/// `numbering`.
pub fn view(view: &View, numbering: RowNumbering) -> String {
    match view {
        View::Page { found, next, scanned, resolution, now } => {
            let digests: Vec<Digest> = found.iter().map(Sealed::digest).collect();
            let entries = digests.iter().zip(found);
            let bytes: usize = found.iter().map(|sealed| sealed.bytes().len() + 512).sum();
            let page = Page {
                assertions: entries
                    .map(|(id, sealed)| ShownEntry::of(id, sealed, *now, OpaqueBytes::LeftOut))
                    .collect(),
                next_cursor: next.map(|row| Cursor { numbering, row: row.into() }.to_string()),
                scanned: *scanned,
                resolution: resolution.as_ref().map(ShownResolution),
            };
            render(&page, bytes)
        }
        View::Skeptic(skepticism) => skeptic(skepticism),
        View::Layered(layers) => layered(layers),
        View::Names { kind, names, next, scanned } => {
            names::page(*kind, names, (next.as_deref(), *scanned))
        }
        View::Conflicts(worst) => conflicts(worst),
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
            object: ShownObject(&assertion.object),
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
            hlc: ShownHlc(&assertion.hlc),
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
    object: ShownObject<'a>,
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
    hlc: ShownHlc<'a>,
    not_yet: Option<bool>,
    expired: Option<bool>,
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
struct Page<'a> {
    assertions: Vec<ShownEntry<'a>>,
    next_cursor: Option<String>,
    scanned: Option<u64>,
    resolution: Option<ShownResolution<'a>>,
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
