//! Replays the corpora of `fuzz/`: each file as it is, and changed in ways that a seed decides.
//!
//! Never: needs the fuzzer or its compiler.

use std::fs;
use std::path::Path;

use stemedb_edge::fuzz::{TARGETS, TargetBody};

/// Changed inputs of each target, shared out among its files.
const VARIANTS: usize = 600;
/// A file beyond this, or a corpus of more files, was never minimised.
const FILE_BYTES_MAX: usize = 4096;
const FILES_MAX: usize = 48;

/// The files of a target, in the order of their names.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{target}: {error}"));
    let mut files: Vec<(String, Vec<u8>)> = entries
        .map(|entry| {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            (name, fs::read(&path).expect("readable"))
        })
        .collect();
    files.sort();
    assert!((1..=FILES_MAX).contains(&files.len()), "{target}: {} files", files.len());
    for (name, bytes) in &files {
        assert!(bytes.len() <= FILE_BYTES_MAX, "{target}/{name}: {} bytes", bytes.len());
    }
    files
}

/// Some bytes changed, cut out, doubled, or taken from another file.
fn change(input: &[u8], other: &[u8], random: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..random.usize(1..5) {
        let at = random.usize(..=bytes.len());
        let end = (at + random.usize(..17)).min(bytes.len());
        match random.u8(..6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.u8(..8),
            1 if at < bytes.len() => bytes[at] = random.u8(..),
            2 => drop(bytes.drain(at..end)),
            3 => drop(bytes.splice(at..at, bytes[at..end].to_vec())),
            4 => bytes.truncate(at),
            _ => {
                let from = random.usize(..=other.len());
                let piece = &other[from..(from + 24).min(other.len())];
                drop(bytes.splice(at..end, piece.iter().copied()));
            }
        }
    }
    bytes
}

fn replay(target: &str) {
    let found = TARGETS.iter().find(|(name, _)| *name == target);
    let (_, body): &(&str, TargetBody) = found.expect("a target of that name");
    let files = corpus(target);
    for (name, bytes) in &files {
        println!("{target}/{name}");
        body(bytes);
    }
    let mut random = fastrand::Rng::with_seed(14);
    for number in 0..VARIANTS {
        let (name, bytes) = &files[number % files.len()];
        let other = &files[random.usize(..files.len())].1;
        let changed = change(bytes, other, &mut random);
        println!("{target}/{name} as {changed:?}");
        body(&changed);
    }
}

#[test]
fn every_target_has_a_corpus_and_every_corpus_a_target() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let entries = fs::read_dir(folder).expect("the corpora");
    let mut there: Vec<String> = entries
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    let mut known: Vec<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    there.sort();
    known.sort();
    assert_eq!(there, known);
}

#[test]
fn record_scan() {
    replay("record_scan");
}

#[test]
fn json_body() {
    replay("json_body");
}

#[test]
fn query_string() {
    replay("query_string");
}

#[test]
fn http_head() {
    replay("http_head");
}

#[test]
fn canonical() {
    replay("canonical");
}

#[test]
fn sketch_cells() {
    replay("sketch_cells");
}

#[test]
fn membership() {
    replay("membership");
}

#[test]
fn grpc_call() {
    replay("grpc_call");
}

#[test]
fn name_answers() {
    replay("name_answers");
}
