//! Fuzz bodies: what must hold of every reader of foreign bytes, whatever comes.
//!
//! In: bytes that a fuzzer or a corpus file chose. Out: nothing, or a failed assertion. The targets
//! of `fuzz/` and `tests/fuzz_corpora.rs` call the same bodies, so that every find is replayed by
//! `cargo test`. A body that needs the inside of one module stands in that module; [`TARGETS`]
//! lists all of them.
//!
//! Never: part of the node (nothing calls these functions there), reaches the network.

mod call;
mod cells;
mod head;
mod log;
mod members;
mod session;

use crate::base::{Digest, HlcClock, NodeId, Wall};
use crate::model::{Draft, Lifecycle, Object, Sealed, Signature, SourceClass, canonical};
use crate::wire;

/// Checks one input.
pub type Body = fn(&[u8]);

/// All targets by name.
pub const TARGETS: [(&str, Body); 8] = [
    ("record_scan", log::record_scan),
    ("json_body", json_body),
    ("query_string", query_string),
    ("http_head", head::http_head),
    ("canonical", canonical),
    ("sketch_cells", sketch_cells),
    ("membership", members::membership),
    ("grpc_call", call::grpc_call),
];

/// Runs the target of that name.
///
/// # Panics
///
/// If there is no such target, or a property does not hold.
pub fn run(target: &str, input: &[u8]) {
    let found = TARGETS.iter().find(|(name, _)| *name == target);
    let (_, body) = found.unwrap_or_else(|| panic!("no target {target:?}"));
    body(input);
}

fn json_body(input: &[u8]) {
    wire::json::fuzz(input);
}

fn query_string(input: &[u8]) {
    wire::http::fuzz(&String::from_utf8_lossy(input));
}

/// A quarter of the inputs are messages, the others sessions.
fn sketch_cells(input: &[u8]) {
    let mut input = Input(input);
    match input.byte() % 4 {
        0 => cells::messages(&mut input),
        _ => session::session(&mut input),
    }
}

/// Half of the inputs are bytes as they came, half are those of a claim, with one byte changed.
fn canonical(input: &[u8]) {
    let mut input = Input(input);
    if input.byte() & 1 == 0 {
        return canonical::fuzz(input.0);
    }
    let Some(sealed) = claim(&mut input) else { return };
    let opened = Sealed::open(sealed.digest(), sealed.bytes().clone()).expect("its own digest");
    assert_eq!(opened.assertion(), sealed.assertion());
    assert!(!opened.is_opaque());
    let mut bytes = sealed.bytes().to_vec();
    canonical::fuzz(&bytes);
    let at = input.below(bytes.len());
    bytes[at] ^= input.byte();
    canonical::fuzz(&bytes);
}

/// A claim made of the input; `None` if that breaks a rule.
fn claim(input: &mut Input<'_>) -> Option<Sealed> {
    let (subject, predicate) = (input.text(), input.text());
    let object = match input.byte() % 4 {
        0 => Object::Text(input.text()),
        1 => Object::Number(f64::from_bits(input.number())),
        2 => Object::Boolean(input.byte() & 1 == 0),
        _ => Object::Reference(input.text()),
    };
    let mut draft = Draft::new(subject, predicate, object);
    let flags = input.byte();
    draft.timestamp = Some(input.number() % (1 << 38));
    draft.parent_hash = (flags & 1 != 0).then(|| Digest::of(&[input.byte()]));
    draft.visual_hash = (flags & 2 != 0).then(|| input.number().to_le_bytes());
    draft.epoch = (flags & 4 != 0).then(|| input.number());
    if flags & 8 != 0 {
        draft.confidence = f64::from_bits(input.number());
    }
    draft.lifecycle = Lifecycle::ALL[input.below(Lifecycle::ALL.len())];
    draft.source_class = SourceClass::ALL[input.below(SourceClass::ALL.len())];
    draft.signatures = (0..flags >> 6)
        .map(|_| Signature {
            agent_id: [input.byte(); 32],
            signature: [input.byte(); 64],
            timestamp: input.number() % (1 << 38),
        })
        .collect();
    let checked = draft.check(&mut HlcClock::new(NodeId::NONE), Wall(0));
    Some(checked.ok()?.seal())
}

/// Takes numbers and texts off the front of an input; past its end all are zero or empty.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    fn below(&mut self, bound: usize) -> usize {
        let number = u16::from_le_bytes([self.byte(), self.byte()]);
        usize::from(number) % bound.max(1)
    }

    /// A length in one byte, and so many bytes.
    fn bytes(&mut self) -> &'a [u8] {
        let length = self.byte();
        self.take(usize::from(length))
    }

    fn text(&mut self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }

    /// Small ones, and those at the ends of what 64 bits hold, are as likely as all others.
    fn number(&mut self) -> u64 {
        let kind = self.byte();
        match kind >> 6 {
            0 => u64::from(kind),
            1 => u64::MAX - u64::from(kind & 0x3f),
            2 => 1 << (kind & 0x3f),
            _ => self.take(8).iter().fold(0, |number, byte| number << 8 | u64::from(*byte)),
        }
    }
}
