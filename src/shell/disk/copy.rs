//! A copy of a log that may be written to meanwhile.
//!
//! In: the log, and where to. Out: all its segments: closed ones are never written again and become
//! hard links where the file system can, the open one is copied up to its last whole record. Never:
//! changes the log, links the segment that a node on either side goes on writing.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use super::file_fault::Fault;
use super::layout::{find_segments, segment_path, sync_directory};
use super::recovery::whole_until;
use crate::journal::Position;

/// What a backup has copied, for its report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Copied {
    /// Segments that share their blocks with the log's.
    pub linked: u64,
    /// Segments with blocks of their own.
    pub copied: u64,
    /// Bytes of all of them.
    pub bytes: u64,
    /// Where the copy ends; `None` of an empty log.
    pub tail: Option<Position>,
}

/// Copies the segments in `log` into the directory `to`, durably.
pub fn copy(log: &Path, to: &Path) -> Result<Copied, Fault> {
    let mut copied = Copied { linked: 0, copied: 0, bytes: 0, tail: None };
    let numbers = find_segments(log)?;
    let Some((open, closed)) = numbers.split_last() else { return Ok(copied) };
    for number in closed {
        let (from, into) = (segment_path(log, *number), segment_path(to, *number));
        match fs::hard_link(&from, &into) {
            Ok(()) => {
                copied.linked += 1;
                copied.bytes += length(&into)?;
            }
            // Another file system, or one without links.
            Err(_) => {
                copied.copied += 1;
                copied.bytes += copy_file(&from, &into, None)?;
            }
        }
    }
    let end = whole_until(log, *open)?;
    copied.bytes += copy_file(&segment_path(log, *open), &segment_path(to, *open), Some(end))?;
    copied.copied += 1;
    copied.tail = Some(Position(Position::first_of(*open).0 - Position::first_of(0).0 + end));
    sync_directory(to)?;
    Ok(copied)
}

fn length(path: &Path) -> Result<u64, Fault> {
    let read = fs::metadata(path).map(|metadata| metadata.len());
    read.map_err(|error| Fault::new("reading", path, error))
}

/// The first `end` bytes of a file, or all it has.
fn copy_file(from: &Path, into: &Path, end: Option<u64>) -> Result<u64, Fault> {
    let mut source = File::open(from).map_err(|error| Fault::new("reading", from, error))?;
    let copied = File::create_new(into).and_then(|mut file| {
        let bytes = match end {
            Some(end) => io::copy(&mut source.take(end), &mut file)?,
            None => io::copy(&mut source, &mut file)?,
        };
        file.sync_all()?;
        Ok(bytes)
    });
    copied.map_err(|error| Fault::new("writing", into, error))
}
