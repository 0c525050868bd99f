//! What is measured: one interface to every engine.
//!
//! In: the name of an engine and an empty directory, or one that it wrote before. Out: the engine,
//! open. Whatever it takes from [`Work`] is durable when [`Engine::write`] returns. Never: gives an
//! engine settings other than its own, but for the durability.

mod bare;
mod fjall;
mod journal;
mod node;
mod redb;
mod redis;
mod sqlite;

use std::path::{Path, PathBuf};
use std::thread;

use crate::record::{Record, Work};

/// One engine in one directory.
pub trait Engine {
    /// Makes ready for so many writers, as far as that is not part of the writing.
    fn expect(&mut self, _writers: usize) {}
    /// Writes what there is to take; each of the writers takes a record when its last is durable.
    fn write(&mut self, writers: usize, work: &Work);
    /// The body that belongs to a key.
    fn read(&mut self, record: &Record) -> Option<Vec<u8>>;
    /// The process whose memory and writes are counted.
    fn pid(&self) -> u32 {
        std::process::id()
    }
    /// Bytes that this process was given over a socket: it counts them among its writes.
    fn answered(&self) -> u64 {
        0
    }
    /// Ends in good order.
    fn close(self: Box<Self>);
}

/// The ceiling, our own, the others: as they stand in the table.
pub const NAMES: [&str; 8] =
    ["bare", "journal", "journal-loop", "node", "redb", "fjall", "sqlite", "redis"];

/// Ours, each with those it is to be compared with.
pub const OURS: [(&str, &[&str]); 3] = [
    ("journal", &["redb", "fjall", "sqlite", "redis"]),
    ("journal-loop", &["redb", "fjall", "sqlite", "redis"]),
    ("node", &["redis"]),
];

/// Opens an engine; it is ready for a read when it is there.
pub fn open(name: &str, dir: &Path) -> Box<dyn Engine> {
    match name {
        "bare" => Box::new(bare::Bare::open(dir)),
        "journal" => Box::new(journal::Threads::open(dir)),
        "journal-loop" => Box::new(journal::Loop::open(dir)),
        "node" => Box::new(node::Node::open(dir)),
        "redb" => Box::new(redb::Redb::open(dir)),
        "fjall" => Box::new(fjall::Fjall::open(dir)),
        "sqlite" => Box::new(sqlite::Sqlite::open(dir)),
        "redis" => Box::new(redis::Redis::open(dir)),
        _ => panic!("{name} is none of {NAMES:?}"),
    }
}

/// Sees to it that these can be measured here, or says why not; what children find in their
/// environment.
pub fn prepare(names: &[&str]) -> Result<Vec<(&'static str, PathBuf)>, String> {
    if names.contains(&"redis") {
        redis::check()?;
    }
    if names.contains(&"node") {
        return Ok(vec![(node::PROGRAM, node::build()?)]);
    }
    Ok(Vec::new())
}

/// Whether it keeps records that can be found again.
pub fn is_store(name: &str) -> bool {
    name != "bare"
}

/// Writes by as many threads as there are writers; `put` returns when its record is durable.
fn by_threads(writers: usize, work: &Work, put: impl Fn(usize, Record) + Sync) {
    thread::scope(|scope| {
        for writer in 0..writers {
            let put = &put;
            let run = move || {
                while let Some(record) = work.take() {
                    put(writer, record);
                }
            };
            let builder = thread::Builder::new().name("writer".into());
            builder.spawn_scoped(scope, run).expect("a thread starts");
        }
    });
}
