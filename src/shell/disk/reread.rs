//! Records read again for the scrubber.
//!
//! In: where records of one segment lie. Out: which of them are no longer whole, and how much was
//! read. It is the disk that is read, past the page cache, where the file system lets one: what is
//! in memory proves nothing, and what is not is not put there. Never: says that a record is damaged
//! because a file could not be opened.

use std::fs::{File, OpenOptions};
use std::io;
#[cfg(target_os = "linux")]
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

#[cfg(target_os = "linux")]
use rustix::fs::{Advice, OFlags, fadvise};

use super::layout::segment_path;
use super::reader::read_frame;
use crate::journal::Position;
use crate::journal::damage::Damage;
use crate::journal::record::{
    FRAME_HEAD_BYTES, SEGMENT_HEAD_BYTES, check_segment_head, decode, frame_bytes,
};
use crate::store::Window;

/// Offsets, lengths and memory of direct reads are multiples of this on any disk.
const DIRECT_BYTES: usize = 4096;

/// What came of reading again.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Reread {
    /// How many bytes were read, for the scrubber's rate.
    pub bytes: u64,
    /// Positions where no whole record stands; a segment's first byte stands for its head.
    pub unreadable: Vec<Position>,
}

/// Reads the records of a window.
pub fn reread(log: &Path, window: &Window) -> io::Result<Reread> {
    let (Some(first), Some(last)) = (window.positions.first(), window.positions.last()) else {
        return Ok(Reread::default());
    };
    let path = segment_path(log, first.segment());
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Reread { bytes: 0, unreadable: window.positions.clone() });
        }
        Err(error) => return Err(error),
    };
    let end = window.end.map_or(last.offset() + FRAME_HEAD_BYTES as u64, Position::offset);
    let start = first.offset() - first.offset() % DIRECT_BYTES as u64;
    let mut memory = Vec::new();
    let read = read_direct(&path, start, end, &mut memory)
        .or_else(|_| read_cached(&file, start, end, &mut memory));
    // Where nothing can be read in one go, each record is read for itself.
    let bytes = read.map(|read| &memory[read]).unwrap_or_default();
    let is_whole = |at: &&Position| {
        let frame = usize::try_from(at.offset() - start).ok().and_then(|at| bytes.get(at..));
        frame.is_some_and(|frame| decode(frame).is_some()) || is_whole_alone(&file, at.offset())
    };
    let mut unreadable: Vec<Position> =
        window.positions.iter().filter(|at| !is_whole(at)).copied().collect();
    if start == 0 && !has_head(&file, bytes, first.segment()) {
        unreadable.push(Damage::head(first.segment()).at);
    }
    Ok(Reread { bytes: bytes.len() as u64, unreadable })
}

/// Whether a segment begins with its head; `bytes` are its first ones, if they could be read.
fn has_head(file: &File, bytes: &[u8], number: u64) -> bool {
    let mut alone = [0; SEGMENT_HEAD_BYTES];
    let head = bytes.get(..SEGMENT_HEAD_BYTES).or_else(|| {
        file.read_exact_at(&mut alone, 0).ok()?;
        Some(&alone)
    });
    head.is_some_and(|head| check_segment_head(head, number).is_ok())
}

/// Reads past the page cache, as far as the file goes.
fn read_direct(
    path: &Path,
    start: u64,
    end: u64,
    memory: &mut Vec<u8>,
) -> io::Result<Range<usize>> {
    #[cfg(target_os = "linux")]
    let direct = OFlags::DIRECT.bits().cast_signed();
    // Other systems read through the page cache: their scrubber finds what is damaged after it
    // left the cache.
    #[cfg(not(target_os = "linux"))]
    let direct = 0;
    let file = OpenOptions::new().read(true).custom_flags(direct).open(path)?;
    let length = usize::try_from(end - start).unwrap_or(0).next_multiple_of(DIRECT_BYTES);
    memory.resize(length + DIRECT_BYTES, 0);
    let skip = memory.as_ptr().align_offset(DIRECT_BYTES).min(DIRECT_BYTES);
    let count = file.read_at(&mut memory[skip..skip + length], start)?;
    Ok(skip..skip + count)
}

fn read_cached(
    file: &File,
    start: u64,
    end: u64,
    memory: &mut Vec<u8>,
) -> io::Result<Range<usize>> {
    memory.resize(usize::try_from(end - start).unwrap_or(0), 0);
    let count = file.read_at(memory, start)?;
    Ok(0..count)
}

/// Reads one record, of the disk: what the page cache has of it is let go, so that no reader is
/// served from there what is gone from the disk.
fn is_whole_alone(file: &File, offset: u64) -> bool {
    let whole = || {
        let (head, payload) = read_frame(file, offset)?;
        head.vouches_for(&payload).then(|| frame_bytes(payload.len()))
    };
    let end = offset + whole().unwrap_or(FRAME_HEAD_BYTES) as u64;
    drop_cached(file, offset, end);
    whole().is_some()
}

/// Lets whole pages of the page cache go. The system may ignore the advice.
#[cfg(target_os = "linux")]
fn drop_cached(file: &File, offset: u64, end: u64) {
    let start = offset - offset % DIRECT_BYTES as u64;
    let bytes = end.next_multiple_of(DIRECT_BYTES as u64) - start;
    let _ = fadvise(file, start, NonZeroU64::new(bytes), Advice::DontNeed);
}

#[cfg(not(target_os = "linux"))]
fn drop_cached(_: &File, _: u64, _: u64) {}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::log_folder::LogFolder;
    use super::*;
    use crate::base::Digest;
    use crate::journal::record::{encode, segment_head};

    #[test]
    fn what_is_no_longer_whole_is_found_wherever_it_lies() {
        let log = LogFolder::new("reread");
        let mut bytes = segment_head(0, 0).to_vec();
        let mut positions = Vec::new();
        for size in [1, 100_000, 30, 3, 500] {
            positions.push(Position(bytes.len() as u64));
            let payload = vec![7; size];
            encode(&Digest::of(&payload), &payload, &mut bytes);
        }
        let path = segment_path(&log, 0);
        let seen = |bytes: &[u8], end: Option<Position>| {
            fs::write(&path, bytes).expect("a writable segment");
            let window = Window { positions: positions.clone(), end, next: 0 };
            reread(&log, &window).expect("a readable segment").unreadable
        };
        let end = Some(Position(bytes.len() as u64));
        for end in [None, end] {
            assert_eq!(seen(&bytes, end), []);
            for (index, at) in positions.iter().enumerate() {
                let mut flipped = bytes.clone();
                flipped[at.offset() as usize + FRAME_HEAD_BYTES] ^= 8;
                assert_eq!(seen(&flipped, end), [positions[index]]);
            }
            let cut = positions[3].offset() as usize + 41;
            assert_eq!(seen(&bytes[..cut], end), positions[3..]);
        }
        for at in [0, 9, 31] {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert_eq!(seen(&flipped, end), [Position(0)], "byte {at} of the head");
        }
        fs::remove_file(&path).expect("it was there");
        let window = Window { positions: positions.clone(), end, next: 0 };
        let gone = reread(&log, &window).expect("nothing is there");
        assert_eq!(gone, Reread { bytes: 0, unreadable: positions });
    }
}
