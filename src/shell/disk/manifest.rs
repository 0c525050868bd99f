//! The file that a start reads of the index before its runs (`docs/journal-format.md`, section "The
//! index").
//!
//! In: the log's segments, the state of the store, the file. Out: the head of a new file, or what
//! one says. Never: judges whether that fits the log.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::layout::segment_path;
use crate::base::Digest;
use crate::base::stream::{Sink, Source};
use crate::journal::Position;
use crate::sketch::SketchKey;
use crate::store::State;

const MAGIC: [u8; 8] = *b"STEMEIDX";
const VERSION: u32 = 3;
/// Its tree and sketch are written otherwise. What it knows of the log is not forgotten, or the
/// start after an upgrade would miss no record that the log has lost.
const VERSION_BEFORE: u32 = 2;

/// A segment file as it was: a write changes its length or its time.
#[derive(PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) number: u64,
    length: u64,
    seconds: u64,
    nanos: u32,
}

impl Stamp {
    pub(super) fn of(log: &Path, number: u64) -> io::Result<Stamp> {
        let found = fs::metadata(segment_path(log, number))?;
        let (seconds, nanos) = (found.mtime().cast_unsigned(), found.mtime_nsec() as u32);
        Ok(Stamp { number, length: found.len(), seconds, nanos })
    }

    fn save(&self, sink: &mut Sink) {
        [self.number, self.length, self.seconds].iter().for_each(|value| sink.put_u64(*value));
        sink.put_u32(self.nanos);
    }

    fn load(source: &mut Source) -> Option<Stamp> {
        let [number, length, seconds] = [source.u64()?, source.u64()?, source.u64()?];
        Some(Stamp { number, length, seconds, nanos: source.u32()? })
    }
}

/// What is kept beside the runs.
pub(super) struct Manifest {
    /// Of the sketch, as a digest.
    pub(super) key: Digest,
    /// Of each segment, by number.
    pub(super) stamps: Vec<Stamp>,
    pub(super) state: State,
}

impl Manifest {
    pub(super) fn load(key: SketchKey, source: &mut Source) -> Option<Manifest> {
        (source.bytes()? == MAGIC && source.u32()? == VERSION).then_some(())?;
        let name = Digest(source.bytes()?);
        let stamps = source.list(Stamp::load)?;
        Some(Manifest { key: name, stamps, state: State::load(key, source)? })
    }
}

/// Writes what stands before the state.
pub(super) fn save_head(key: SketchKey, stamps: &[Stamp], sink: &mut Sink) {
    sink.put(&MAGIC);
    sink.put_u32(VERSION);
    sink.put(&key.name().0);
    sink.put_u32(stamps.len() as u32);
    stamps.iter().for_each(|stamp| stamp.save(sink));
}

/// The end and the runs that a manifest of the version before names.
pub(super) fn load_before(source: &mut Source) -> Option<(Position, Vec<Digest>)> {
    (source.bytes()? == MAGIC && source.u32()? == VERSION_BEFORE).then_some(())?;
    let _key = Digest(source.bytes()?);
    source.list(Stamp::load)?;
    State::load_runs(source)
}
