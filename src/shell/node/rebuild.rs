//! The store at a start: from the kept index and what the log got since, or from the log alone.
//!
//! In: log and index of a data directory. Out: the store, what recovery found, and records that the
//! index or an earlier start knows of and that are not in the log. The index is a cache: what goes
//! wrong with it is logged, and the log is read.
//!
//! Never: forgets what the index knew before it is written down.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::base::limits;
use crate::shell::disk::{self, Cause, Checkpoint, Fault, Kept, Reader, Recovered};
use crate::sketch::SketchKey;
use crate::store::{Spill, Store};

/// So many assertions that the kept index does not know are worth that it is made anew at a start.
const CHECKPOINT_AFTER: u64 = 10_000;

/// What a start begins with.
pub(crate) struct Rebuilt {
    pub(crate) recovered: Recovered,
    pub(crate) store: Store,
    /// Rows that could not be written to the index.
    pub(crate) rest: Option<Spill>,
}

/// Rebuilds everything from the log, or what came since the index was last kept.
/// So many `rows` stay in memory before they become a file.
pub(crate) fn rebuild(
    log: &Path,
    key: SketchKey,
    checkpoint: &Checkpoint,
    rows: usize,
) -> Result<Rebuilt, Fault> {
    let begun = Instant::now();
    let reader = Reader::new(log);
    let empty = || Store::with_key(fastrand::u64(..), key).spilling_after(rows);
    let (whole, mut store, evidence) = match checkpoint.load() {
        Kept::Fits(whole, store) => (Some(whole), store.spilling_after(rows), None),
        Kept::Differs(evidence) => (None, empty(), Some(evidence)),
        Kept::Nothing => {
            complain(checkpoint.keep_only(&[]));
            (None, empty(), None)
        }
    };
    let known = store.len();
    let mut rest = None;
    let mut recovered = disk::recover_from(log, true, whole, |committed| {
        store.apply(&committed, &reader);
        if let Some(mut spill) = store.spill() {
            // Whether the log is whole shows at its end.
            spill.state = None;
            rest = write_run(checkpoint, &mut store, spill);
        }
    })?;
    store.update_sketch();
    if store.unspilled() > limits::RUN_ROWS_MAX {
        return Err(Fault::new("rebuilding", &checkpoint.directory(), Cause::IndexTooLarge));
    }
    let is_written_down = checkpoint.find_lost(evidence, (&store, &reader), &mut recovered);
    log_result(&recovered, (store.len(), known), begun.elapsed());
    if is_written_down && (recovered.damages > 0 || known == 0) {
        complain(checkpoint.keep_only(&store.runs()));
    }
    if recovered.damages == 0
        && store.len() - known >= CHECKPOINT_AFTER
        && let Some(mut spill) = store.spill_all()
    {
        match checkpoint.spill(&mut spill) {
            Ok(run) => store.adopt(run),
            Err(fault) => rest = keep_in_memory(&fault, spill),
        }
    }
    Ok(Rebuilt { recovered, store, rest })
}

fn write_run(checkpoint: &Checkpoint, store: &mut Store, spill: Spill) -> Option<Spill> {
    match checkpoint.write(&spill) {
        Ok(run) => {
            store.adopt(run);
            None
        }
        Err(fault) => keep_in_memory(&fault, spill),
    }
}

fn keep_in_memory(fault: &Fault, spill: Spill) -> Option<Spill> {
    log::warn!("{fault}: the index of older rows stays in memory until it can be written");
    Some(spill)
}

fn complain(done: Result<(), Fault>) {
    if let Err(fault) = done {
        log::warn!("{fault}: the kept index is left as it is");
    }
}

fn log_result(recovered: &Recovered, (all, known): (u64, u64), took: Duration) {
    log::info!(
        "recovered assertions={all} records={} bytes={} in {} ms, {known} by the kept index",
        recovered.records,
        recovered.bytes,
        took.as_millis()
    );
    if recovered.torn_bytes > 0 {
        log::warn!("cut off {} bytes of an unfinished write", recovered.torn_bytes);
    }
    if recovered.damages > 0 {
        log::warn!("{} damaged records are quarantined, old ones included", recovered.damages);
    }
}
