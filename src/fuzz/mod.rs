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
mod input;
mod log;
mod members;
mod names;
mod session;

use input::{Input, claim};

use crate::model::{Sealed, canonical};
use crate::wire;

/// Checks one input, and fails by an assertion.
pub type TargetBody = fn(&[u8]);

/// All targets by name.
pub const TARGETS: [(&str, TargetBody); 9] = [
    ("record_scan", log::record_scan),
    ("json_body", json_body),
    ("query_string", query_string),
    ("http_head", head::http_head),
    ("canonical", canonical),
    ("sketch_cells", sketch_cells),
    ("membership", members::membership),
    ("grpc_call", call::grpc_call),
    ("name_answers", names::name_answers),
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
