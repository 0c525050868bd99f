//! Records read again that nobody asked for.
//!
//! In: where records of one segment lie. Out: which of them are no longer whole, and how much was
//! read. What was not in the page cache before is not left in it. Never: says that a record is
//! damaged because a file could not be opened.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{Advice, fadvise};
use rustix::io::{Errno, ReadWriteFlags, preadv2};

use super::reader::read_frame;
use super::segment_path;
use crate::journal::Position;
use crate::journal::record::{FRAME_HEAD_BYTES, decode};
use crate::store::Window;

/// Read at a time, and dropped from the page cache if it was not there.
const CHUNK_BYTES: usize = 64 << 10;

/// What came of reading again.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Reread {
    /// Bytes read.
    pub bytes: u64,
    /// Places where no whole record stands.
    pub unreadable: Vec<Position>,
}

/// Reads the records of a window.
pub fn reread(log: &Path, window: &Window) -> io::Result<Reread> {
    let (Some(first), Some(last)) = (window.places.first(), window.places.last()) else {
        return Ok(Reread::default());
    };
    let file = match File::open(segment_path(log, first.segment())) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Reread { bytes: 0, unreadable: window.places.clone() });
        }
        Err(error) => return Err(error),
    };
    // Whatever lies behind is not wanted yet. Advice may be ignored.
    let _ = fadvise(&file, 0, None, Advice::Random);
    let end = window.end.map_or(last.offset() + FRAME_HEAD_BYTES as u64, Position::offset);
    let mut bytes = vec![0; usize::try_from(end - first.offset()).unwrap_or(0)];
    let count = read_gently(&file, first.offset(), &mut bytes);
    bytes.truncate(count);
    let is_whole = |at: &Position| {
        let frame = usize::try_from(at.0 - first.0).ok().and_then(|start| bytes.get(start..));
        let again = || read_frame(&file, at.offset());
        frame.is_some_and(|frame| decode(frame).is_some())
            || again().is_some_and(|(head, payload)| head.vouches_for(&payload))
    };
    let unreadable = window.places.iter().filter(|at| !is_whole(at)).copied().collect();
    Ok(Reread { bytes: count as u64, unreadable })
}

/// Fills the buffer as far as the file goes and can be read; how far that was.
fn read_gently(file: &File, offset: u64, buffer: &mut [u8]) -> usize {
    let mut done = 0;
    while done < buffer.len() {
        let chunk_end = (done + CHUNK_BYTES).min(buffer.len());
        let (at, chunk) = (offset + done as u64, &mut buffer[done..chunk_end]);
        // What is in the page cache is read at once, anything else is not read.
        let mut slices = [IoSliceMut::new(chunk)];
        let cached = preadv2(file, &mut slices, at, ReadWriteFlags::NOWAIT);
        let read = match cached {
            Ok(count) => Ok(count),
            Err(Errno::AGAIN) => {
                let read = file.read_at(chunk, at);
                let count = read.as_ref().ok().and_then(|count| NonZeroU64::new(*count as u64));
                let _ = count.map(|count| fadvise(file, at, Some(count), Advice::DontNeed));
                read
            }
            // No telling: it is read all the same, and stays where it is.
            Err(_) => file.read_at(chunk, at),
        };
        match read {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    done
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::base::Digest;
    use crate::journal::record::{encode, segment_head};

    #[test]
    fn what_is_no_longer_whole_is_found_wherever_it_lies() {
        let log = std::env::temp_dir().join(format!("stemedb-reread-{}", std::process::id()));
        fs::create_dir_all(&log).expect("a temporary directory");
        let mut bytes = segment_head(0, 0).to_vec();
        let mut places = Vec::new();
        for size in [1, 100_000, 30, 3, 500] {
            places.push(Position(bytes.len() as u64));
            let payload = vec![7; size];
            encode(&Digest::of(&payload), &payload, &mut bytes);
        }
        let path = segment_path(&log, 0);
        let seen = |bytes: &[u8], end: Option<Position>| {
            fs::write(&path, bytes).expect("a writable segment");
            let window = Window { places: places.clone(), end, next: 0 };
            reread(&log, &window).expect("a readable segment").unreadable
        };
        let end = Some(Position(bytes.len() as u64));
        for end in [None, end] {
            assert_eq!(seen(&bytes, end), []);
            for (place, at) in places.iter().enumerate() {
                let mut flipped = bytes.clone();
                flipped[at.offset() as usize + FRAME_HEAD_BYTES] ^= 8;
                assert_eq!(seen(&flipped, end), [places[place]]);
            }
            let cut = places[3].offset() as usize + 41;
            assert_eq!(seen(&bytes[..cut], end), places[3..]);
        }
        fs::remove_file(&path).expect("it was there");
        let window = Window { places: places.clone(), end, next: 0 };
        let gone = reread(&log, &window).expect("nothing is there");
        assert_eq!(gone, Reread { bytes: 0, unreadable: places });
        let _ = fs::remove_dir_all(&log);
    }
}
