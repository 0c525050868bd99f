//! Memory of the index: resident bytes per assertion for sets of several shapes, with the time of
//! an insert, a look-up, and the Merkle root. Bodies are imagined, so that only the index counts.
//!
//! `cargo bench --bench store [COUNT]`; each shape runs in a process of its own.

use std::fs::File;
use std::hint::black_box;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::time::Instant;

use stemedb_edge::base::stream::Sink;
use stemedb_edge::base::{Digest, HlcClock, Moment, NodeId, Ticket, Wall, limits};
use stemedb_edge::journal::{Bodies, CommitQueue, Committed, Config, Done, Output, Position};
use stemedb_edge::model::{Draft, Object, Sealed};
use stemedb_edge::shell::runtime::memory;
use stemedb_edge::store::{Pages, Run, Spill, Store};

/// What a record of 300 bytes takes in the log.
const FRAME_BYTES: u64 = 344;

/// Records in a segment.
const SEGMENT_RECORDS: u64 = (limits::SEGMENT_BYTES_MAX - 32) / FRAME_BYTES;

/// The position of the record of this number.
fn position(number: u64) -> Position {
    let first = Position::first_of(number / SEGMENT_RECORDS);
    Position(first.0 + number % SEGMENT_RECORDS * FRAME_BYTES)
}

/// A record that was written there.
fn written(at: Position, sealed: Sealed) -> Committed {
    let mut queue = CommitQueue::new(Config::default(), at, 0);
    queue.enqueue(sealed, Ticket(0)).expect("an empty queue");
    queue.handle_timeout(Moment::ZERO);
    queue.poll_work().expect("an idle disk");
    queue.handle_done(Moment::ZERO, Done::Well);
    match queue.poll_output() {
        Some(Output::Committed(committed, _)) => committed,
        _ => panic!("it is written"),
    }
}
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

/// The file of a run.
#[derive(Debug)]
struct RunFile(File);

impl Pages for RunFile {
    fn read(&self, at: u64, into: &mut [u8]) -> bool {
        self.0.read_exact_at(into, at).is_ok()
    }

    fn restore(&self, _: u64, _: &[u8]) {}

    fn with_log(&self, _: &mut dyn FnMut(&dyn Bodies)) {}

    fn abandon(&self) -> ! {
        panic!("a page is not what was written")
    }
}

/// Writes rows to a file without a name.
fn write(spill: &Spill) -> Run {
    let path = std::env::temp_dir().join(format!("stemedb-run-{}", std::process::id()));
    let options = File::options().read(true).write(true).create(true).truncate(true).open(&path);
    let file = options.expect("a temporary file");
    std::fs::remove_file(path).expect("it is there");
    let mut writer = BufWriter::new(file);
    spill.write(&mut Sink::new(&mut |bytes| writer.write_all(bytes).expect("written")));
    let file = writer.into_inner().expect("written");
    let length = file.metadata().expect("its length").len();
    Run::open(Box::new(RunFile(file)), length).expect("a run that was written")
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
    let position = position(number);
    let digest = Imagined.digest_at(position).expect("every position has one");
    written(position, Sealed::recovered(digest, bytes))
}

fn measure(shape: &str, count: u64) {
    let mut clock = HlcClock::new(NodeId::NONE);
    memory::tune_allocator();
    black_box(committed(shape, 0, &mut clock));
    memory::trim();
    let before = memory::resident();
    let mut store = Store::new(7);
    let mut inserting = 0;
    for number in 0..count {
        let committed = committed(shape, number, &mut clock);
        let start = Instant::now();
        store.apply(&committed, &Imagined);
        if let Some(spill) = store.spill() {
            store.adopt(write(&spill));
        }
        inserting += start.elapsed().as_nanos() as u64;
    }
    store.update_sketch();
    let start = Instant::now();
    while store.root_step(usize::MAX, store.rows()).is_none() {}
    let root = start.elapsed();
    memory::trim();
    let grown = memory::resident() - before;
    let start = Instant::now();
    for number in (0..count).step_by((count / 100_000).max(1) as usize) {
        let digest = Imagined.digest_at(position(number)).expect("there");
        black_box(store.find(&digest, &Imagined));
    }
    let found = start.elapsed().as_nanos() as u64 / count.min(100_000);
    let part = |bytes: usize| bytes as f64 / count as f64;
    let memory = store.memory();
    println!(
        "{shape:16} {:6.2} B resident each ({:5.2} newest, {:5.2} runs, {:5.2} tree, \
         {:5.2} sketch); insert {} ns, runs written included; find {found} ns, root {} ms",
        grown as f64 / count as f64,
        part(memory.newest),
        part(memory.runs),
        part(memory.tree),
        part(memory.sketch),
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
