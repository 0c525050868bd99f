//! Segment files: names, and the one writer at the end of the log.
//!
//! In: frames and where they go. Out: bytes on disk. Files grow ahead of the frames: by zeros where
//! those come in small batches, so that most flushes change nothing that the file system has to
//! commit; by space that it sets aside where they come in large ones or in bulk, which that costs
//! little, and zeros twice the writing. Never: writes before the tail.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, FallocateFlags, access, fallocate};

use super::file_fault::{Cause, Fault};
use super::layout::{segment_path, sync_directory};
use super::write_failure::{WriteFailure, obstacle};
use crate::base::limits;
use crate::journal::record::{SEGMENT_HEAD_BYTES, check_segment_head, segment_head};
use crate::journal::{Batch, LARGE_BATCH_BYTES, Position};

/// How far a file grows in its first step after it was opened: a node that stores ten claims
/// between two starts wrote a MiB of zeros for them.
const FIRST_GROWTH_BYTES: u64 = 64 << 10;
/// How far it grows in one step at most: large against a batch, small against the flash of a
/// router.
const GROWTH_BYTES_MAX: u64 = 1 << 20;
/// Capacity for frames that is kept after a large batch, and after any other.
const FRAMES_KEPT: usize = 512 << 10;
const FEW_BYTES: usize = 32 << 10;

/// The end of the log.
pub(super) struct Writer {
    log: PathBuf,
    /// The segment that is written to, if it could be opened yet.
    open: Option<OpenSegment>,
    /// Where the last good write ended: a closing cuts the zeros behind it, and the next segment's
    /// head says it.
    tail: Position,
    /// The frames of a batch. Its memory is kept from one to the next: an import would map and
    /// unmap a megabyte for each.
    frames: Vec<u8>,
}

/// How a file may grow behind the frames.
#[derive(Clone, Copy)]
struct Growth {
    /// See [`Batch::ahead`].
    ahead: Option<u64>,
    /// See [`Batch::zeros`].
    zeros: bool,
}

struct OpenSegment {
    number: u64,
    path: PathBuf,
    file: File,
    /// Up to here the file has blocks: a flush of frames before it changes no metadata.
    allocated: u64,
    /// How far it grows next. Each step is twice the one before, so that the commits of the file
    /// system, one for each step, stay few.
    step: u64,
    /// Something was written since the last flush.
    dirty: bool,
    /// Behind the log's end may lie what is left of a write that failed or was cut off. The next
    /// write removes it first: a frame of it behind shorter new ones would pass for damage.
    is_torn: bool,
}

impl Writer {
    /// Opens the last segment for writing at `tail`.
    pub(super) fn open(log: &Path, tail: Position) -> Result<Writer, WriteFailure> {
        let mut writer = Writer::new(log, tail);
        if is_begun(tail) {
            writer.open = Some(OpenSegment::existing(log, tail.segment(), tail.offset())?);
        } else {
            // A start says at once what the first write would find out.
            let allowed = access(log, Access::WRITE_OK | Access::EXEC_OK);
            allowed.map_err(|errno| WriteFailure::of(Fault::new("writing to", log, errno)))?;
        }
        Ok(writer)
    }

    /// As [`Writer::open`], of a log that cannot be written to at the moment.
    pub(super) fn new(log: &Path, tail: Position) -> Writer {
        Writer { log: log.to_owned(), open: None, tail, frames: Vec::new() }
    }

    /// Writes frames at the tail. If it fails, the log is as it was.
    pub(super) fn write(&mut self, batch: &Batch) -> Result<(), WriteFailure> {
        let mut frames = std::mem::take(&mut self.frames);
        batch.frames(&mut frames);
        let growth = Growth { ahead: batch.ahead, zeros: batch.zeros };
        let done = self.put(batch.position, &frames, growth);
        frames.clear();
        frames.shrink_to(if batch.bytes < LARGE_BATCH_BYTES { FEW_BYTES } else { FRAMES_KEPT });
        self.frames = frames;
        done
    }

    fn put(
        &mut self,
        position: Position,
        frames: &[u8],
        growth: Growth,
    ) -> Result<(), WriteFailure> {
        let number = position.segment();
        if self.open.as_ref().is_none_or(|open| open.number != number) {
            self.close()?;
            self.open = Some(match is_begun(position) {
                true => OpenSegment::existing(&self.log, number, position.offset())?,
                false => OpenSegment::create(&self.log, number, self.before(number))?,
            });
        }
        let open = self.open.as_mut().expect("just opened");
        open.write(position.offset(), frames, growth)?;
        open.check_name()?;
        self.tail = Position(position.0 + frames.len() as u64);
        Ok(())
    }

    /// What the head of a new segment says of the one before. If the node ended between a head and
    /// the first record behind it, the log's end is in this very segment, and only its head knows
    /// where the one before ended.
    fn before(&self, number: u64) -> u32 {
        if self.tail < Position::first_of(number) {
            return end_before(number, self.tail);
        }
        let mut head = [0; SEGMENT_HEAD_BYTES];
        let read = File::open(segment_path(&self.log, number))
            .and_then(|file| file.read_exact_at(&mut head, 0));
        let known = read.ok().and_then(|()| check_segment_head(&head, number).ok());
        known.unwrap_or_else(|| end_before(number, self.tail))
    }

    /// Makes what was written durable.
    pub(super) fn flush(&mut self) -> Result<(), Fault> {
        self.open.as_mut().map_or(Ok(()), OpenSegment::flush)
    }

    /// Flushes the open segment and gives back the zeros behind its last frame.
    pub(super) fn close(&mut self) -> Result<(), WriteFailure> {
        let Some(open) = &mut self.open else { return Ok(()) };
        let is_last = self.tail.segment() == open.number;
        let cut = if is_last { open.cut(self.tail.offset()) } else { Ok(()) };
        // What was answered for is flushed, whatever becomes of the zeros.
        open.flush().map_err(WriteFailure::Broken)?;
        cut?;
        self.open = None;
        Ok(())
    }
}

/// Whether a segment has records before this position: at its first one, its file is made anew.
fn is_begun(at: Position) -> bool {
    at != Position::first_of(at.segment())
}

impl OpenSegment {
    /// The segment in which the log ends, at this offset.
    fn existing(log: &Path, number: u64, end: u64) -> Result<OpenSegment, WriteFailure> {
        let path = segment_path(log, number);
        let fault = |error| WriteFailure::of(Fault::new("opening", &path, error));
        let file = OpenOptions::new().write(true).open(&path).map_err(fault)?;
        let length = file.metadata().map_err(fault)?.len();
        Ok(OpenSegment {
            number,
            file,
            allocated: length,
            step: FIRST_GROWTH_BYTES,
            dirty: false,
            is_torn: length > end,
            path,
        })
    }

    /// A new segment with its head.
    fn create(log: &Path, number: u64, before: u32) -> Result<OpenSegment, WriteFailure> {
        let path = segment_path(log, number);
        let created = OpenOptions::new().write(true).create(true).truncate(true).open(&path);
        let file =
            created.map_err(|error| WriteFailure::of(Fault::new("creating", &path, error)))?;
        let mut open = OpenSegment {
            number,
            path,
            file,
            allocated: 0,
            step: FIRST_GROWTH_BYTES,
            dirty: true,
            is_torn: false,
        };
        let alone = Growth { ahead: Some(0), zeros: false };
        open.write(0, &segment_head(number, before), alone).inspect_err(|_| {
            // The next try begins it anew where it stays behind.
            let _ = fs::remove_file(&open.path);
        })?;
        sync_directory(log).map_err(WriteFailure::Broken)?;
        Ok(open)
    }

    fn write(&mut self, offset: u64, bytes: &[u8], growth: Growth) -> Result<(), WriteFailure> {
        if self.is_torn {
            self.cut(offset)?;
            // Were the new frames on the disk before that, a power cut would leave a mixture.
            self.flush().map_err(WriteFailure::Broken)?;
        }
        self.dirty = true;
        if let Err(error) = self.file.write_all_at(bytes, offset) {
            self.is_torn = true;
            let failure = WriteFailure::of(Fault::new("writing", &self.path, error));
            if let WriteFailure::Hindered(..) = failure {
                // A full btrfs has no space for that either: then the next write begins with it.
                let _ = self.cut(offset);
            }
            return Err(failure);
        }
        let end = offset + bytes.len() as u64;
        if end > self.allocated {
            self.allocated = end;
            let most = growth.ahead.map_or(u64::MAX, |ahead| end.saturating_add(ahead));
            self.grow(most, growth.zeros && bytes.len() < LARGE_BATCH_BYTES)?;
        }
        Ok(())
    }

    /// What is written to a file without a name is gone when it is closed.
    fn check_name(&self) -> Result<(), WriteFailure> {
        match self.file.metadata() {
            Ok(found) if found.nlink() == 0 => {
                Err(WriteFailure::Broken(Fault::new("writing", &self.path, Cause::Unlinked)))
            }
            _ => Ok(()),
        }
    }

    /// Removes all behind an offset.
    fn cut(&mut self, offset: u64) -> Result<(), WriteFailure> {
        let cut = self.file.set_len(offset);
        cut.map_err(|error| WriteFailure::of(Fault::new("cutting", &self.path, error)))?;
        self.dirty = true;
        self.allocated = offset;
        self.is_torn = false;
        Ok(())
    }

    /// Preallocates behind the frames, as far as there is space: without it the next write itself
    /// fails.
    fn grow(&mut self, most: u64, zeros: bool) -> Result<(), WriteFailure> {
        let next = self.allocated.next_multiple_of(self.step);
        let target = next.min(most).min(limits::SEGMENT_BYTES_MAX);
        if self.allocated >= target {
            return Ok(());
        }
        self.step = (2 * self.step).min(GROWTH_BYTES_MAX);
        if !zeros {
            let bytes = target - self.allocated;
            let reserved = fallocate(&self.file, FallocateFlags::empty(), self.allocated, bytes);
            // Not every file system can do so. What is wrong with the disk the flush shows as well.
            if reserved.is_ok() {
                self.allocated = target;
            }
            return Ok(());
        }
        let zeros = [0; 64 << 10];
        while self.allocated < target {
            let count = (target - self.allocated).min(zeros.len() as u64);
            let slice = &zeros[..usize::try_from(count).expect("at most the array")];
            match self.file.write_all_at(slice, self.allocated) {
                Ok(()) => self.allocated += count,
                Err(error) if obstacle(&error).is_some() => return Ok(()),
                Err(error) => {
                    return Err(WriteFailure::Broken(Fault::new("growing", &self.path, error)));
                }
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

/// The offset at which the segment before `number` ended, the log's end being `tail`; 0 if that
/// lies in a later one and says nothing of it.
pub(super) fn end_before(number: u64, tail: Position) -> u32 {
    let before = number.checked_sub(1).filter(|_| tail < Position::first_of(number));
    let start = before.map(|before| before * limits::SEGMENT_BYTES_MAX);
    let end = start.map_or(0, |start| tail.0.saturating_sub(start));
    u32::try_from(end.min(limits::SEGMENT_BYTES_MAX)).expect("a segment is shorter than 4 GiB")
}

/// A head alone is no frame.
const _: () = assert!(SEGMENT_HEAD_BYTES.is_multiple_of(8));

#[cfg(test)]
mod tests {
    use super::super::log_folder::LogFolder;
    use super::*;

    #[test]
    fn a_file_grows_ahead_of_small_and_of_large_batches() {
        let log = LogFolder::new("grow");
        let mut writer = Writer::open(&log, Position::first_of(0)).expect("a log");
        let mut position = Position::first_of(0);
        let growth = |ahead| Growth { ahead, zeros: true };
        let most = GROWTH_BYTES_MAX;
        for (bytes, ahead, length) in [
            (48, None, FIRST_GROWTH_BYTES),
            (FIRST_GROWTH_BYTES as usize, None, 2 * FIRST_GROWTH_BYTES),
            (FIRST_GROWTH_BYTES as usize, None, 4 * FIRST_GROWTH_BYTES),
            (2 * FIRST_GROWTH_BYTES as usize, None, 8 * FIRST_GROWTH_BYTES),
            (4 * FIRST_GROWTH_BYTES as usize, None, most),
            (most as usize, None, 2 * most),
            (most as usize, Some(80), 2 * most + 8 * FIRST_GROWTH_BYTES + 160),
        ] {
            writer.put(position, &vec![7; bytes], growth(ahead)).expect("a good disk");
            position.0 += bytes as u64;
            let file = fs::read(segment_path(&log, 0)).expect("it is there");
            assert_eq!(file.len() as u64, length, "after {bytes} bytes");
            assert!(file[position.offset() as usize..].iter().all(|byte| *byte == 0));
        }
        writer.close().expect("a good disk");
        assert_eq!(fs::read(segment_path(&log, 0)).expect("it is there").len() as u64, position.0);
    }

    #[test]
    fn a_head_without_a_record_keeps_where_the_segment_before_ended() {
        let (log, first) = (LogFolder::new("head"), Position::first_of(1));
        for (head, kept) in [(segment_head(1, 4096).to_vec(), 4096), (vec![0; 32], 0)] {
            fs::write(segment_path(&log, 1), head).expect("space for a head");
            let mut writer = Writer::open(&log, first).expect("a log");
            writer.put(first, &[7; 48], Growth { ahead: None, zeros: true }).expect("a good disk");
            let segment = fs::read(segment_path(&log, 1)).expect("it is there");
            assert_eq!(check_segment_head(&segment, 1), Ok(kept));
        }
        let full = limits::SEGMENT_BYTES_MAX;
        let end = |tail| end_before(1, Position(tail));
        assert_eq!([end(32), end(full), end(full + 32), end(3 * full)], [32, full as u32, 0, 0]);
    }

    /// Bytes that this thread has given to the kernel.
    #[cfg(target_os = "linux")]
    fn given() -> u64 {
        let io = fs::read_to_string("/proc/thread-self/io").expect("Linux counts");
        let count = io.lines().find_map(|line| line.strip_prefix("wchar: ")).expect("it is there");
        count.parse().expect("a number")
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn few_claims_have_few_zeros_behind_them() {
        let log = LogFolder::new("few");
        let mut writer = Writer::open(&log, Position::first_of(0)).expect("a log");
        let before = given();
        let growth = Growth { ahead: None, zeros: true };
        writer.put(Position::first_of(0), &[7; 48], growth).expect("a good disk");
        let bytes = given() - before;
        assert!(bytes <= 128 << 10, "{bytes} bytes for 48");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn what_comes_in_bulk_is_written_once() {
        let log = LogFolder::new("bulk");
        let mut writer = Writer::open(&log, Position::first_of(0)).expect("a log");
        let mut position = Position::first_of(0);
        for (zeros, most) in [(false, 2 * 48_000), (true, GROWTH_BYTES_MAX + 2 * 48_000)] {
            let before = given();
            let growth = Growth { ahead: None, zeros };
            writer.put(position, &vec![7; 48_000], growth).expect("a good disk");
            position.0 += GROWTH_BYTES_MAX;
            let bytes = given() - before;
            assert!((48_000..most).contains(&bytes), "{bytes} bytes for 48,000");
        }
    }
}
