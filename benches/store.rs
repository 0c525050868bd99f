//! Memory of the index: resident bytes per assertion for sets of several shapes, with the time of
//! an insert, a look-up, and the Merkle root. Bodies are imagined, so that only the index counts.
//!
//! `cargo bench --bench store [COUNT]`; each shape runs in a process of its own.

use std::hint::black_box;
use std::process::Command;
use std::time::Instant;

use stemedb_edge::base::{Digest, HlcClock, NodeId, Wall};
use stemedb_edge::journal::{Bodies, Committed, Position};
use stemedb_edge::model::{Draft, Object, Sealed};
use stemedb_edge::shell::memory;
use stemedb_edge::store::Store;

/// What a record of 300 bytes takes in the log.
const FRAME_BYTES: u64 = 344;
const SHAPES: [&str; 5] =
    ["package index", "one subject", "subject each", "two per subject", "predicate each"];

/// The hash of a record is made of its position.
struct Imagined;

impl Bodies for Imagined {
    fn digest_at(&self, at: Position) -> Option<Digest> {
        Some(Digest::of(&at.0.to_le_bytes()))
    }

    fn sealed_at(&self, _: Position) -> Option<Sealed> {
        None
    }
}

fn names(shape: &str, number: u64) -> (String, String) {
    match shape {
        "package index" => (format!("package {}", number / 10), format!("field {}", number % 10)),
        "one subject" => ("subject".into(), format!("field {}", number % 10)),
        "subject each" => (format!("subject {number}"), "field".into()),
        "two per subject" => (format!("subject {}", number / 2), "field".into()),
        _ => (format!("subject {}", number / 10), format!("predicate {number}")),
    }
}

fn committed(shape: &str, number: u64, clock: &mut HlcClock) -> Committed {
    let (subject, predicate) = names(shape, number);
    let mut draft = Draft::new(subject, predicate, Object::Boolean(true));
    draft.timestamp = Some(1);
    let bytes = draft.check(clock, Wall(0)).expect("a good draft").seal().bytes().clone();
    let position = Position(32 + number * FRAME_BYTES);
    let digest = Imagined.digest_at(position).expect("every position has one");
    Committed::recovered(position, Sealed::recovered(digest, bytes))
}

fn measure(shape: &str, count: u64) {
    let mut clock = HlcClock::new(NodeId::NONE);
    memory::be_thrifty();
    black_box(committed(shape, 0, &mut clock));
    memory::trim();
    let before = memory::resident();
    let mut store = Store::new(7);
    let mut inserting = 0;
    for number in 0..count {
        let committed = committed(shape, number, &mut clock);
        let start = Instant::now();
        store.apply(&committed, &Imagined);
        inserting += start.elapsed().as_nanos() as u64;
    }
    let start = Instant::now();
    while store.root_step(usize::MAX).is_none() {}
    let root = start.elapsed();
    memory::trim();
    let grown = memory::resident() - before;
    let start = Instant::now();
    for number in (0..count).step_by((count / 100_000).max(1) as usize) {
        let digest = Imagined.digest_at(Position(32 + number * FRAME_BYTES)).expect("there");
        black_box(store.find(&digest, &Imagined));
    }
    let found = start.elapsed().as_nanos() as u64 / count.min(100_000);
    let part = |bytes: usize| bytes as f64 / count as f64;
    let memory = store.memory();
    println!(
        "{shape:16} {:6.2} B resident each ({:5.2} hashes + Merkle, {:4.2} rows, {:5.2} subjects, \
         {:5.2} predicates); insert {} ns, find {found} ns, root {} ms",
        grown as f64 / count as f64,
        part(memory.hashes),
        part(memory.rows),
        part(memory.subjects),
        part(memory.predicates),
        inserting / count,
        root.as_millis(),
    );
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let count = arguments.first().map_or(1_000_000, |text| text.parse().expect("a count"));
    if let Some(shape) = arguments.get(1) {
        return measure(shape, count);
    }
    println!("{count} assertions");
    let program = std::env::current_exe().expect("this program");
    for shape in SHAPES {
        let run = Command::new(&program).arg(count.to_string()).arg(shape).status();
        assert!(run.expect("it runs again").success());
    }
}
