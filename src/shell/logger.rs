//! Log lines on standard error: `LEVEL room: message`.
//!
//! In: records of the `log` facade. Out: one line each, whatever is in it. Never: fails, colours,
//! lets a text that it is given start a line or move a cursor, or adds a time stamp (supervisors
//! do).

use std::io::Write;

use log::{LevelFilter, Log, Metadata, Record};

use crate::wire::foreign;

struct Lines;

impl Log for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("stemedb_edge") && metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let room = record.target().rsplit("::").next().unwrap_or_default();
            let text = foreign::escaped(record.args().to_string().chars());
            // Nobody is left to tell if standard error is closed.
            let _ = writeln!(std::io::stderr(), "{} {room}: {text}", record.level());
        }
    }

    fn flush(&self) {}
}

/// Starts logging at a level; a second call only changes the level.
pub fn start(level: LevelFilter) {
    // A logger that is there already is this one.
    let _ = log::set_logger(&Lines);
    log::set_max_level(level);
}
