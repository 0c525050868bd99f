//! One measurement of one engine, in a process of its own.
//!
//! In: engine, directory, how much. Out: lines of a name and a number for the process that asked.
//! Never: counts what is made ready before, or what closing costs.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::engine::{self, Engine};
use crate::process;
use crate::record::{RECORD_BYTES, Record, Work};

/// Records made for each second at one writer, at more; a faster run ends before its time.
const RATES_MAX: [usize; 2] = [30_000, 150_000];
/// Written before the calls are counted, so that files are there.
const CALLS_AHEAD: usize = 16;
/// What the process says on its standard output around the calls that count.
pub const CALLS_BEGIN: &str = "begin";
pub const CALLS_END: &str = "end";

/// The arguments that have [`answer`] measure.
pub enum Task {
    /// Durable records per second.
    Rate { writers: usize, seconds: f64 },
    /// What so many records take of memory and disk, written by 64 writers.
    Fill { records: usize },
    /// How long it takes until a record is read from what [`Task::Fill`] left.
    Reopen { records: usize },
    /// Nothing: the process that traces this one counts.
    Calls { records: usize },
}

impl Task {
    pub fn to_words(&self) -> Vec<String> {
        let words = match self {
            Task::Rate { writers, seconds } => ["rate".into(), format!("{writers}:{seconds}")],
            Task::Fill { records } => ["fill".into(), records.to_string()],
            Task::Reopen { records } => ["reopen".into(), records.to_string()],
            Task::Calls { records } => ["calls".into(), records.to_string()],
        };
        words.to_vec()
    }

    pub fn parse(kind: &str, value: &str) -> Option<Task> {
        let records = value.parse();
        Some(match kind {
            "rate" => {
                let (writers, seconds) = value.split_once(':')?;
                Task::Rate { writers: writers.parse().ok()?, seconds: seconds.parse().ok()? }
            }
            "fill" => Task::Fill { records: records.ok()? },
            "reopen" => Task::Reopen { records: records.ok()? },
            "calls" => Task::Calls { records: records.ok()? },
            _ => return None,
        })
    }
}

/// Measures and prints.
pub fn answer(name: &str, dir: &Path, task: &Task) {
    match *task {
        Task::Rate { writers, seconds } => rate(name, dir, writers, seconds),
        Task::Fill { records } => fill(name, dir, records),
        Task::Reopen { records } => reopen(name, dir, records),
        Task::Calls { records } => calls(name, dir, records),
    }
}

fn rate(name: &str, dir: &Path, writers: usize, seconds: f64) {
    let most = RATES_MAX[usize::from(writers > 1)] as f64 * seconds;
    let mut work = Work::new(most as usize);
    let mut engine = engine::open(name, dir);
    engine.expect(writers);
    let before = Before::of(&*engine, dir);
    let start = Instant::now();
    work.end_at(start + Duration::from_secs_f64(seconds));
    engine.write(writers, &work);
    let took = start.elapsed();
    before.print_written(&*engine, &work);
    println!("rate {}", work.taken() as f64 / took.as_secs_f64());
    engine.close();
}

fn fill(name: &str, dir: &Path, records: usize) {
    let work = Work::new(records);
    let mut engine = engine::open(name, dir);
    engine.expect(64);
    let before = Before::of(&*engine, dir);
    let resident = process::resident(engine.pid());
    engine.write(64, &work);
    let grown = process::resident(engine.pid()) as f64 - resident as f64;
    before.print_written(&*engine, &work);
    println!("resident {}", grown / records as f64);
    engine.close();
}

fn reopen(name: &str, dir: &Path, records: usize) {
    let record = Record::of(records / 2);
    let start = Instant::now();
    let mut engine = engine::open(name, dir);
    let found = engine.read(&record);
    println!("reopen {}", start.elapsed().as_secs_f64() * 1e3);
    assert!(found.is_some_and(|found| found == record.body), "{name} has lost a record");
    engine.close();
}

fn calls(name: &str, dir: &Path, records: usize) {
    let (ahead, work) = (Work::new(CALLS_AHEAD), Work::new(CALLS_AHEAD + records));
    // The first ones are the same records, so they are skipped.
    (0..CALLS_AHEAD).for_each(|_| drop(work.take()));
    let mut engine = engine::open(name, dir);
    engine.expect(1);
    engine.write(1, &ahead);
    println!("{CALLS_BEGIN}");
    engine.write(1, &work);
    println!("{CALLS_END}");
    engine.close();
}

/// What the engine's process and the disk had been given at some moment.
struct Before<'a> {
    dir: &'a Path,
    given: u64,
    device: Option<u64>,
}

impl Before<'_> {
    fn of<'a>(engine: &dyn Engine, dir: &'a Path) -> Before<'a> {
        let device = process::device_bytes(dir);
        // A server's answers are writes as well.
        let given = process::given(engine.pid()) - engine.answered();
        Before { dir, given, device }
    }

    fn print_written(&self, engine: &dyn Engine, work: &Work) {
        let after = Before::of(engine, self.dir);
        let stored = (work.taken() * RECORD_BYTES) as f64;
        println!("given {}", (after.given - self.given) as f64 / stored);
        if let (Some(after), Some(before)) = (after.device, self.device) {
            println!("device {}", (after - before) as f64 / stored);
        }
    }
}
