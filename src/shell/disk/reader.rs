//! Reading records back by position.
//!
//! In: positions. Out: digests and records whose checksum is right; to the repairer, positions of
//! those whose is not. Never: serves bytes that are not what was written.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use async_channel::Sender;
use bytes::Bytes;

use super::layout::segment_path;
use super::write_failure::obstacle;
use crate::base::Digest;
use crate::journal::record::{self, FRAME_HEAD_BYTES, Head};
use crate::journal::{Bodies, Obstacle, Position};
use crate::model::Sealed;

/// One read of this size fetches head and body of nearly every record.
const GUESS_BYTES: usize = 1024;
/// Segment files held open for reading: 64 of 64 MiB are 4 GiB of log.
const OPEN_MAX: usize = 64;

/// Reads the segments of one log; each file is opened when it is first asked for.
pub struct Reader {
    log: PathBuf,
    /// Those used last at the end: nearly every read is of the same segment as the one before.
    files: RefCell<Vec<(u64, Rc<File>)>>,
    unreadable: Option<Sender<Position>>,
}

impl Reader {
    /// A reader of the segments in `log`.
    pub fn new(log: &Path) -> Reader {
        Reader { log: log.to_owned(), files: RefCell::default(), unreadable: None }
    }

    /// As [`Reader::new`]; positions where no whole record stands go to `unreadable`.
    pub fn watched(log: &Path, unreadable: Sender<Position>) -> Reader {
        Reader { unreadable: Some(unreadable), ..Reader::new(log) }
    }

    /// The file of a segment; the one used longest ago is closed for it.
    fn file(&self, number: u64) -> Option<Rc<File>> {
        let mut files = self.files.borrow_mut();
        if let Some((_, file)) = files.last().filter(|(open, _)| *open == number) {
            return Some(file.clone());
        }
        let entry = match files.iter().position(|(open, _)| *open == number) {
            Some(index) => files.remove(index),
            None => {
                if files.len() >= OPEN_MAX {
                    files.remove(0);
                }
                (number, Rc::new(self.open(number, &mut files)?))
            }
        };
        let file = entry.1.clone();
        files.push(entry);
        Some(file)
    }
}

impl Reader {
    /// Opens a segment; where no descriptor is left, others of its own are closed for it.
    fn open(&self, number: u64, files: &mut Vec<(u64, Rc<File>)>) -> Option<File> {
        loop {
            match File::open(segment_path(&self.log, number)) {
                Err(error)
                    if obstacle(&error) == Some(Obstacle::NoDescriptors) && !files.is_empty() =>
                {
                    files.remove(0);
                }
                opened => return opened.ok(),
            }
        }
    }
}

impl Bodies for Reader {
    fn digest_at(&self, at: Position) -> Option<Digest> {
        let mut head = [0; FRAME_HEAD_BYTES];
        self.file(at.segment())?.read_exact_at(&mut head, at.offset()).ok()?;
        Some(Head::read(&head)?.digest())
    }

    fn sealed_at(&self, at: Position) -> Option<Sealed> {
        // A file that cannot be opened says nothing of the record.
        let file = self.file(at.segment())?;
        let sealed = read_frame(&file, at.offset()).and_then(|(head, payload)| {
            head.vouches_for(&payload).then(|| Sealed::recovered(head.digest(), payload))
        });
        if let (None, Some(unreadable)) = (&sealed, &self.unreadable) {
            // What does not fit now is found again by the next read.
            let _ = unreadable.try_send(at);
        }
        sealed
    }

    /// Reads them in one go.
    fn sealed_at_all(&self, positions: &[Position]) -> Vec<Sealed> {
        let span = positions.first().zip(positions.last());
        let bytes = span.and_then(|(first, last)| {
            let length = last.0.checked_sub(first.0)? + GUESS_BYTES as u64;
            let mut bytes = vec![0; usize::try_from(length).ok()?];
            let count = read_some(&*self.file(first.segment())?, &mut bytes, first.offset())?;
            bytes.truncate(count);
            Some((first.0, Bytes::from(bytes)))
        });
        let sealed = positions.iter().map(|at| {
            let (start, bytes) = bytes.as_ref()?;
            let frame = bytes.slice_ref(bytes.get(usize::try_from(at.0 - start).ok()?..)?);
            let (digest, payload) = record::decode(&frame)?;
            Some(Sealed::recovered(digest, frame.slice(payload)))
        });
        let pairs = sealed.zip(positions);
        pairs.filter_map(|(sealed, at)| sealed.or_else(|| self.sealed_at(*at))).collect()
    }

    fn name_at(&self, at: Position) -> Option<Digest> {
        let file = self.file(at.segment())?;
        if let Some((head, payload)) = read_frame(&file, at.offset()) {
            let mut frame = Vec::with_capacity(record::frame_bytes(payload.len()));
            record::encode(&head.digest(), &payload, &mut frame);
            return record::name(&frame);
        }
        let mut head = [0; FRAME_HEAD_BYTES];
        file.read_exact_at(&mut head, at.offset()).ok()?;
        Digest::from_slice(&head[8..])
    }
}

/// Bytes from an offset on, enough for a head at least; how many there are.
fn read_some(file: &File, bytes: &mut [u8], offset: u64) -> Option<usize> {
    let mut count = 0;
    while count < FRAME_HEAD_BYTES {
        match file.read_at(&mut bytes[count..], offset + count as u64) {
            Ok(0) => return None,
            Ok(more) => count += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
    Some(count)
}

/// Head and payload at an offset, if there are so many bytes.
pub(super) fn read_frame(file: &File, offset: u64) -> Option<(Head, Bytes)> {
    let mut guess = [0; GUESS_BYTES];
    let count = read_some(file, &mut guess, offset)?;
    let head = Head::read(guess.first_chunk()?)?;
    let bytes = match guess[FRAME_HEAD_BYTES..count].get(..head.payload_bytes()) {
        Some(payload) => Bytes::copy_from_slice(payload),
        None => {
            let mut payload = vec![0; head.payload_bytes()];
            file.read_exact_at(&mut payload, offset + FRAME_HEAD_BYTES as u64).ok()?;
            Bytes::from(payload)
        }
    };
    Some((head, bytes))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::log_folder::LogFolder;
    use super::*;

    #[test]
    fn what_cannot_be_read_is_reported_as_far_as_the_channel_takes_it() {
        let log = LogFolder::new("reader");
        let mut bytes = record::segment_head(0, 0).to_vec();
        let mut positions = Vec::new();
        for payload in [&b"one"[..], b"two", b"three", b"four"] {
            positions.push(Position(bytes.len() as u64));
            record::encode(&Digest::of(payload), payload, &mut bytes);
        }
        positions[1..].iter().for_each(|at| bytes[at.offset() as usize + FRAME_HEAD_BYTES] ^= 1);
        fs::write(segment_path(&log, 0), &bytes).expect("a writable segment");
        let (unreadable, found) = async_channel::bounded(2);
        let reader = Reader::watched(&log, unreadable);
        assert!(reader.sealed_at(positions[0]).is_some());
        for (at, payload) in positions[1..].iter().zip([&b"two"[..], b"three", b"four"]) {
            assert!(reader.sealed_at(*at).is_none());
            assert_eq!(reader.name_at(*at), Some(Digest::of(payload)));
        }
        assert!(reader.sealed_at(Position::first_of(7)).is_none(), "no such file, no word of it");
        assert_eq!(
            std::iter::from_fn(|| found.try_recv().ok()).collect::<Vec<_>>(),
            positions[1..3]
        );
    }

    #[test]
    fn many_are_read_as_one_by_one() {
        let log = LogFolder::new("reader-all");
        let mut bytes = record::segment_head(0, 0).to_vec();
        let (mut positions, mut payloads) = (Vec::new(), Vec::new());
        for length in [3, 5000, 70, 1, 900, 2000] {
            let payload = vec![length as u8; length];
            positions.push(Position(bytes.len() as u64));
            record::encode(&Digest::of(&payload), &payload, &mut bytes);
            payloads.push(payload);
        }
        bytes[positions[2].offset() as usize + FRAME_HEAD_BYTES] ^= 1;
        payloads.remove(2);
        fs::write(segment_path(&log, 0), &bytes).expect("a writable segment");
        let (unreadable, found) = async_channel::bounded(9);
        let reader = Reader::watched(&log, unreadable);
        let read = reader.sealed_at_all(&positions);
        let read: Vec<_> = read.iter().map(|sealed| sealed.bytes().to_vec()).collect();
        assert_eq!(read, payloads, "the last reaches further than the guess");
        assert_eq!(
            std::iter::from_fn(|| found.try_recv().ok()).collect::<Vec<_>>(),
            [positions[2]]
        );
        assert!(reader.sealed_at_all(&[]).is_empty());
        assert!(reader.sealed_at_all(&[Position::first_of(7)]).is_empty());
    }
}
