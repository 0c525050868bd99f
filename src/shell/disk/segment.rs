//! Segment files: names, and the one writer at the end of the log.
//!
//! In: frames and where they go. Out: bytes on disk. Files grow ahead of the frames: by zeros where
//! those come in small batches, so that most flushes change nothing that the file system has to
//! commit; by space that it sets aside where they come in large ones, which that costs little, and
//! zeros twice the writing. Never: writes before the tail.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};

use super::Fault;
use super::directory::sync_directory;
use crate::base::limits;
use crate::journal::record::{SEGMENT_HEAD_BYTES, segment_head};
use crate::journal::{Batch, Done, Position};

/// How far a file grows in one step: large against a batch, small against the flash of a router.
const PREALLOCATED_BYTES: u64 = 1 << 20;
/// Batches from here on are large.
const LARGE_BYTES: usize = 256 << 10;
/// Room for frames that is kept after a large batch, and after any other.
const FRAMES_KEPT: usize = 512 << 10;
const FEW_BYTES: usize = 32 << 10;

/// The file of segment `number`.
pub fn path(log: &Path, number: u64) -> PathBuf {
    log.join(format!("{number:010}.seg"))
}

/// The segments there are, ascending; other files are left alone.
pub fn find(log: &Path) -> Result<Vec<u64>, Fault> {
    let fault = |error| Fault::new("listing", log, error);
    let mut numbers = Vec::new();
    for entry in fs::read_dir(log).map_err(fault)? {
        let name = entry.map_err(fault)?.file_name();
        let stem = name.to_str().and_then(|name| name.strip_suffix(".seg"));
        numbers
            .extend(stem.filter(|stem| stem.len() == 10).and_then(|stem| stem.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// The end of the log.
pub(super) struct Writer {
    log: PathBuf,
    open: Option<Open>,
    tail: Position,
    /// The frames of a batch; room for a large one is kept from one to the next.
    frames: Vec<u8>,
}

struct Open {
    number: u64,
    path: PathBuf,
    file: File,
    allocated: u64,
    dirty: bool,
}

impl Writer {
    /// Goes on at `tail`; the segment file is there unless nothing was ever written to it.
    pub(super) fn open(log: &Path, tail: Position) -> Result<Writer, Fault> {
        let mut writer = Writer { log: log.to_owned(), open: None, tail, frames: Vec::new() };
        let number = tail.segment();
        let path = path(log, number);
        if path.exists() {
            let opened = OpenOptions::new().write(true).open(&path);
            let file = opened.map_err(|error| Fault::new("opening", &path, error))?;
            let length =
                file.metadata().map_err(|error| Fault::new("reading", &path, error))?.len();
            writer.open = Some(Open { number, path, file, allocated: length, dirty: false });
        }
        Ok(writer)
    }

    /// Writes frames at the tail. Without room the log stays as it was.
    pub(super) fn write(&mut self, batch: &Batch) -> Result<Done, Fault> {
        let mut frames = std::mem::take(&mut self.frames);
        batch.frames(&mut frames);
        let done = self.put(batch.position, &frames, batch.ahead);
        frames.clear();
        frames.shrink_to(if batch.bytes < LARGE_BYTES { FEW_BYTES } else { FRAMES_KEPT });
        self.frames = frames;
        done
    }

    fn put(&mut self, position: Position, frames: &[u8], ahead: u64) -> Result<Done, Fault> {
        let number = position.segment();
        if self.open.as_ref().is_none_or(|open| open.number != number) {
            self.close()?;
            match Open::create(&self.log, number, end_before(number, self.tail))? {
                Some(open) => self.open = Some(open),
                None => return Ok(Done::NoSpace),
            }
        }
        let open = self.open.as_mut().expect("just opened");
        let done = open.write(position.offset(), frames, ahead)?;
        if done == Done::Well {
            self.tail = Position(position.0 + frames.len() as u64);
        }
        Ok(done)
    }

    /// Makes what was written durable.
    pub(super) fn flush(&mut self) -> Result<(), Fault> {
        self.open.as_mut().map_or(Ok(()), Open::flush)
    }

    /// Flushes the open segment and gives back the zeros behind its last frame.
    pub(super) fn close(&mut self) -> Result<(), Fault> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        let fault = |error| Fault::new("trimming", &open.path, error);
        if self.tail.segment() == open.number {
            open.file.set_len(self.tail.offset()).map_err(fault)?;
            open.dirty = true;
        }
        open.flush()
    }
}

impl Open {
    /// A new segment with its head; `None` without room.
    fn create(log: &Path, number: u64, before: u32) -> Result<Option<Open>, Fault> {
        let path = path(log, number);
        let created = OpenOptions::new().write(true).create(true).truncate(true).open(&path);
        let file = match created {
            Ok(file) => file,
            Err(error) if is_full(&error) => return Ok(None),
            Err(error) => return Err(Fault::new("creating", &path, error)),
        };
        let mut open = Open { number, path, file, allocated: 0, dirty: true };
        if open.write(0, &segment_head(number, before), 0)? == Done::NoSpace {
            fs::remove_file(&open.path)
                .map_err(|error| Fault::new("removing", &open.path, error))?;
            return Ok(None);
        }
        sync_directory(log)?;
        Ok(Some(open))
    }

    fn write(&mut self, offset: u64, bytes: &[u8], ahead: u64) -> Result<Done, Fault> {
        let end = offset + bytes.len() as u64;
        self.dirty = true;
        match self.file.write_all_at(bytes, offset) {
            Ok(()) if end <= self.allocated => Ok(Done::Well),
            Ok(()) => {
                self.allocated = end;
                self.grow(end.saturating_add(ahead), bytes.len() >= LARGE_BYTES)?;
                Ok(Done::Well)
            }
            Err(error) if is_full(&error) => {
                let undone = self.file.set_len(offset);
                undone.map_err(|error| Fault::new("undoing a write in", &self.path, error))?;
                self.allocated = offset;
                Ok(Done::NoSpace)
            }
            Err(error) => Err(Fault::new("writing", &self.path, error)),
        }
    }

    /// Room behind the frames, as far as there is any: without it the next write itself tells.
    fn grow(&mut self, most: u64, is_large: bool) -> Result<(), Fault> {
        let step = self.allocated.next_multiple_of(PREALLOCATED_BYTES);
        let target = step.min(most).min(limits::SEGMENT_BYTES_MAX);
        if is_large && self.allocated < target {
            let bytes = target - self.allocated;
            let reserved = fallocate(&self.file, FallocateFlags::empty(), self.allocated, bytes);
            match reserved.map_err(io::Error::from) {
                Ok(()) => self.allocated = target,
                Err(error) if is_full(&error) => return Ok(()),
                // Not every file system can do so. What is wrong with the disk, zeros tell as well.
                Err(_) => {}
            }
        }
        let zeros = [0; 64 << 10];
        while self.allocated < target {
            let count = (target - self.allocated).min(zeros.len() as u64);
            let slice = &zeros[..usize::try_from(count).expect("at most the array")];
            match self.file.write_all_at(slice, self.allocated) {
                Ok(()) => self.allocated += count,
                Err(error) if is_full(&error) => return Ok(()),
                Err(error) => return Err(Fault::new("growing", &self.path, error)),
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Fault> {
        if std::mem::take(&mut self.dirty) {
            let flushed = self.file.sync_data();
            flushed.map_err(|error| Fault::new("syncing", &self.path, error))?;
        }
        Ok(())
    }
}

/// The offset at which the segment before `number` ended, the log's end being `tail`.
pub(super) fn end_before(number: u64, tail: Position) -> u32 {
    let end = match number.checked_sub(1) {
        Some(before) => tail.0.saturating_sub(before * limits::SEGMENT_BYTES_MAX),
        None => 0,
    };
    u32::try_from(end.min(limits::SEGMENT_BYTES_MAX)).expect("a segment is shorter than 4 GiB")
}

/// Whether there is no room, for now: the disk is full, or a quota or size limit reached.
pub fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

/// A head alone is no frame.
const _: () = assert!(SEGMENT_HEAD_BYTES.is_multiple_of(8));

#[cfg(test)]
mod tests {
    use super::super::stage::Stage;
    use super::*;

    #[test]
    fn a_file_grows_ahead_of_small_and_of_large_batches() {
        let log = Stage::new("grow");
        let mut writer = Writer::open(&log, Position::first_of(0)).expect("a log");
        let mut position = Position::first_of(0);
        for (bytes, ahead, length) in [
            (48, u64::MAX, PREALLOCATED_BYTES),
            (PREALLOCATED_BYTES as usize, u64::MAX, 2 * PREALLOCATED_BYTES),
            (PREALLOCATED_BYTES as usize, 80, 2 * PREALLOCATED_BYTES + 160),
        ] {
            let put = writer.put(position, &vec![7; bytes], ahead);
            assert_eq!(put.expect("a good disk"), Done::Well);
            position.0 += bytes as u64;
            let file = fs::read(path(&log, 0)).expect("it is there");
            assert_eq!(file.len() as u64, length, "after {bytes} bytes");
            assert!(file[position.offset() as usize..].iter().all(|byte| *byte == 0));
        }
        writer.close().expect("a good disk");
        assert_eq!(fs::read(path(&log, 0)).expect("it is there").len() as u64, position.0);
    }
}
