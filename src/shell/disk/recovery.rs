//! Rebuilding everything from the log alone.
//!
//! In: the segment files. Out: every record that is whole, in log order, where the log ends, and
//! what was wrong with the rest. An unfinished tail is cut off; damage before the tail is
//! quarantined: left out, counted and reported. It stops nothing. Never: holds more of a segment in
//! memory than a window of it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rustix::io::Errno;

use super::file_fault::{Cause, Fault};
use super::layout::{find_segments, segment_path};
use super::segment::end_before;
use super::write_failure::WriteFailure;
use crate::base::{Digest, limits};
use crate::journal::damage::Damage;
use crate::journal::record::{self, BadHead, Found};
use crate::journal::{Committed, Position};
use crate::model::Sealed;

/// What a start knows of the log: its records, their end, and the damage.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recovered {
    /// How many records are whole.
    pub records: u64,
    /// What heads and frames of the log take.
    pub bytes: u64,
    /// Where the log goes on.
    pub tail: Position,
    /// Bytes of an unfinished last write, cut off.
    pub torn_bytes: u64,
    /// Damaged records before the tail; a range in which no record can be recognised is one.
    pub damages: u64,
    /// The first [`limits::DAMAGES_MAX`] of them.
    pub damages_listed: Vec<Damage>,
    /// The log cannot be written to at the moment: heads stay damaged that would be made anew.
    pub is_unrepaired: bool,
}

impl Recovered {
    /// A log that is whole up to `tail`.
    pub(super) fn until(tail: Position, bytes: u64, records: u64) -> Recovered {
        let damages_listed = Vec::new();
        Recovered {
            records,
            bytes,
            tail,
            torn_bytes: 0,
            damages: 0,
            damages_listed,
            is_unrepaired: false,
        }
    }

    fn nothing() -> Recovered {
        Recovered::until(Position::first_of(0), 0, 0)
    }

    /// Forgets damage before `end` that has no digest: the index knows which records it held, and
    /// names them.
    pub(super) fn forget_nameless(&mut self, end: Position) {
        let before = self.damages_listed.len();
        self.damages_listed.retain(|damage| {
            let is_named = damage.digest.is_some() || damage.is_head();
            is_named || damage.at.0 + damage.bytes > end.0
        });
        self.damages -= (before - self.damages_listed.len()) as u64;
    }

    fn damage(&mut self, at: Position, bytes: u64, digest: Option<Digest>) {
        self.damages += 1;
        if self.damages_listed.len() < limits::DAMAGES_MAX {
            self.damages_listed.push(Damage { at, bytes, digest });
        }
    }
}

/// Reads the log and hands out each whole record. With `repair`, the unfinished tail is wiped so
/// that the next write starts on zeros; without, nothing is changed.
pub fn recover(log: &Path, repair: bool, take: impl FnMut(Committed)) -> Result<Recovered, Fault> {
    recover_from(log, repair, None, take)
}

/// Reads on where the log was whole, and known, up to there.
pub fn recover_from(
    log: &Path,
    repair: bool,
    whole: Option<Recovered>,
    mut take: impl FnMut(Committed),
) -> Result<Recovered, Fault> {
    let numbers = find_segments(log)?;
    // All heads first: a directory with one segment of a newer build is left as it is.
    let heads = numbers.iter().map(|number| read_head(log, *number));
    let heads = heads.collect::<Result<Vec<Head>, Fault>>()?;
    let resumed = whole.as_ref().map(|whole| whole.tail);
    let mut recovered = whole.unwrap_or_else(Recovered::nothing);
    let mut expected = resumed.map_or(0, Position::segment);
    for (index, (number, head)) in numbers.iter().copied().zip(&heads).enumerate() {
        if number < expected {
            continue;
        }
        let last = index + 1 == numbers.len();
        let base = number * limits::SEGMENT_BYTES_MAX;
        if number > expected {
            let missing = (number - expected) * limits::SEGMENT_BYTES_MAX;
            recovered.damage(Position(expected * limits::SEGMENT_BYTES_MAX), missing, None);
        }
        if *head == Head::Damaged || (*head == Head::Blank && !last) {
            recovered.damage(Position(base), record::SEGMENT_HEAD_BYTES as u64, None);
        }
        expected = number + 1;
        let follower = heads.get(index + 1).filter(|_| numbers[index + 1] == expected);
        let closed_at = follower.and_then(|head| head.before());
        let before = end_before(number, recovered.tail);
        let first = Position::first_of(number);
        let from = resumed.filter(|resumed| *resumed > first && resumed.segment() == number);
        if from.is_none() {
            recovered.bytes += record::SEGMENT_HEAD_BYTES as u64;
        }
        recovered.tail = from.unwrap_or(first);
        let mut segment = Segment::open(log, number)?;
        let torn = segment.scan(last, closed_at, &mut recovered, &mut take)?;
        let anew = head.before().is_none().then_some(before);
        if repair && (anew.is_some() || torn.is_some()) {
            match segment.wipe(anew, recovered.tail.offset(), torn).map_err(WriteFailure::of) {
                Ok(()) => {}
                // The first write that succeeds removes an unfinished one.
                Err(WriteFailure::Hindered(_, fault)) => {
                    log::warn!("{fault}: the log is read as it is");
                    recovered.is_unrepaired = true;
                }
                Err(WriteFailure::Broken(fault)) => return Err(fault),
            }
        }
    }
    Ok(recovered)
}

/// What heads and frames take up to `tail`, by what each segment's head says of the one before;
/// `None` if one does not say.
pub(super) fn closed_bytes(log: &Path, tail: Position) -> Option<u64> {
    let ends = (1..=tail.segment()).map(|number| match read_head(log, number) {
        Ok(Head::Good { before }) => Some(u64::from(before)),
        _ => None,
    });
    ends.sum::<Option<u64>>().map(|closed| closed + tail.offset())
}

/// Where the last whole record of an open segment ends, in bytes of its file.
pub(super) fn whole_until(log: &Path, number: u64) -> Result<u64, Fault> {
    Ok(read_segment(log, number, |_, _| ())?.tail.offset())
}

/// Reads one segment as if it were the last; shows each whole record's position and digest.
pub(super) fn read_segment(
    log: &Path,
    number: u64,
    mut take: impl FnMut(Position, &Digest),
) -> Result<Recovered, Fault> {
    let mut recovered = Recovered::until(Position::first_of(number), 0, 0);
    let mut show = |record: Committed| take(record.position(), &record.sealed().digest());
    Segment::open(log, number)?.scan(true, None, &mut recovered, &mut show)?;
    Ok(recovered)
}

/// What stands at the start of a segment.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Head {
    /// A good head, which says where the segment before it ended.
    Good { before: u32 },
    /// Nothing: a segment whose first write never came to be.
    Blank,
    /// Something else; the frames behind it speak for themselves.
    Damaged,
}

impl Head {
    fn before(&self) -> Option<u32> {
        match self {
            Head::Good { before } => Some(*before),
            Head::Blank | Head::Damaged => None,
        }
    }
}

fn read_head(log: &Path, number: u64) -> Result<Head, Fault> {
    let path = segment_path(log, number);
    let mut head = Vec::new();
    let read = File::open(&path)
        .and_then(|file| file.take(record::SEGMENT_HEAD_BYTES as u64).read_to_end(&mut head));
    read.map_err(|error| Fault::new("reading", &path, error))?;
    match record::check_segment_head(&head, number) {
        Ok(before) => Ok(Head::Good { before }),
        Err(BadHead::Damaged) if record::last_written(&head).is_none() => Ok(Head::Blank),
        Err(BadHead::Damaged) => Ok(Head::Damaged),
        Err(bad @ BadHead::Newer { .. }) => Err(Fault::new("reading", &path, Cause::Newer(bad))),
    }
}

/// Bytes of a segment read at a time; holds the largest frame several times.
const WINDOW_BYTES: usize = 4 << 20;
/// The largest frame there can be.
const FRAME_BYTES_MAX: usize = limits::ASSERTION_BYTES_MAX + record::FRAME_HEAD_BYTES;

/// Read at a time where the disk cannot read all of it.
const BLOCK_BYTES: usize = 4096;
/// What stands for bytes that the disk cannot read; no record holds so many of them.
const UNREADABLE: u8 = 0xff;

/// Fills the buffer; blocks that the disk cannot read become damage instead of ending the start.
fn read_past_errors(
    buffer: &mut [u8],
    at: u64,
    read: impl Fn(&mut [u8], u64) -> io::Result<()>,
) -> io::Result<()> {
    let is_medium = |error: &io::Error| error.raw_os_error() == Some(Errno::IO.raw_os_error());
    match read(buffer, at) {
        Err(error) if is_medium(&error) => {}
        done => return done,
    }
    let starts = (at..).step_by(BLOCK_BYTES);
    for (block, at) in buffer.chunks_mut(BLOCK_BYTES).zip(starts) {
        match read(block, at) {
            Err(error) if is_medium(&error) => block.fill(UNREADABLE),
            done => done?,
        }
    }
    Ok(())
}

/// One segment, seen through a window that moves forward.
struct Segment {
    number: u64,
    path: PathBuf,
    file: File,
    length: usize,
    /// The offset of the window.
    start: usize,
    /// Shared with the records that were handed out: its memory is used again once they are gone.
    window: Bytes,
}

impl Segment {
    fn open(log: &Path, number: u64) -> Result<Segment, Fault> {
        let path = segment_path(log, number);
        let opened = File::open(&path).and_then(|file| {
            let length = file.metadata()?.len().min(limits::SEGMENT_BYTES_MAX);
            Ok((file, usize::try_from(length).expect("a segment fits in memory")))
        });
        let (file, length) = opened.map_err(|error| Fault::new("reading", &path, error))?;
        Ok(Segment { number, path, file, length, start: 0, window: Bytes::new() })
    }

    /// The bytes from `at` on: all that are left, or at least the largest frame.
    fn view(&mut self, at: usize) -> Result<Bytes, Fault> {
        let left = self.length.saturating_sub(at);
        let end = self.start + self.window.len();
        if at < self.start || end < at + left.min(FRAME_BYTES_MAX) {
            let mut buffer = std::mem::take(&mut self.window).try_into_mut().unwrap_or_default();
            buffer.resize(left.min(WINDOW_BYTES), 0);
            let read = |block: &mut [u8], at| self.file.read_exact_at(block, at);
            let read = read_past_errors(&mut buffer, at as u64, read);
            read.map_err(|error| Fault::new("reading", &self.path, error))?;
            self.window = buffer.freeze();
            self.start = at;
        }
        Ok(self.window.slice((at - self.start).min(self.window.len())..))
    }

    /// Hands out the records from the tail on; the answer is where an unfinished tail ends, if
    /// there is one. The segment that follows knows where this one was closed.
    fn scan(
        &mut self,
        last: bool,
        closed_at: Option<u32>,
        recovered: &mut Recovered,
        take: &mut impl FnMut(Committed),
    ) -> Result<Option<u64>, Fault> {
        let base = self.number * limits::SEGMENT_BYTES_MAX;
        let from = usize::try_from(recovered.tail.offset()).expect("a segment fits in memory");
        let (mut at, mut torn) = (from, None);
        loop {
            let view = self.view(at)?;
            let position = Position(base + at as u64);
            if let Some((digest, payload)) = record::decode(&view) {
                let frame = record::frame_bytes(payload.len());
                let padding = &view[payload.end..frame.min(view.len())];
                if padding.iter().any(|byte| *byte != 0) {
                    // The record is whole: what is damaged is no record's.
                    let behind = Position(position.0 + payload.end as u64);
                    recovered.damage(behind, padding.len() as u64, Some(digest));
                }
                at += frame;
                let sealed = Sealed::recovered(digest, view.slice(payload));
                drop(view);
                take(Committed::recovered(position, sealed));
                recovered.records += 1;
                continue;
            }
            drop(view);
            match self.look_ahead(at)? {
                Found::Damage { resume } => {
                    self.quarantine(at, resume, recovered)?;
                    at = resume;
                }
                Found::Torn { end } if last => {
                    recovered.torn_bytes = (end - at) as u64;
                    torn = Some(end as u64);
                    break;
                }
                found => {
                    let written = if let Found::Torn { end } = found { end } else { at };
                    let closed_at = closed_at.map_or(0, |closed_at| closed_at as usize);
                    let end = written.next_multiple_of(record::ALIGNMENT).max(closed_at);
                    if end > at {
                        self.quarantine(at, end, recovered)?;
                        at = end;
                    }
                    break;
                }
            }
        }
        recovered.bytes += (at - from) as u64;
        recovered.tail = Position(base + at as u64);
        Ok(torn)
    }

    /// Reports damage, record by record as far as what is left of them says.
    fn quarantine(
        &mut self,
        at: usize,
        end: usize,
        recovered: &mut Recovered,
    ) -> Result<(), Fault> {
        let position = Position(self.number * limits::SEGMENT_BYTES_MAX + at as u64);
        let view = self.view(at)?;
        let Some(damaged) = view.get(..end - at).filter(|it| it.len() <= FRAME_BYTES_MAX) else {
            recovered.damage(position, (end - at) as u64, None);
            return Ok(());
        };
        for piece in record::pieces(damaged) {
            let at = Position(position.0 + piece.start as u64);
            recovered.damage(at, piece.len() as u64, record::name(&damaged[piece]));
        }
        Ok(())
    }

    /// What follows an offset where no record starts; as [`record::scan`], a window at a time.
    fn look_ahead(&mut self, at: usize) -> Result<Found, Fault> {
        let mut end = None;
        let mut from = at;
        while from < self.length {
            let view = self.view(from)?;
            let whole = from + view.len() == self.length;
            let sure = if whole { view.len() } else { view.len() - FRAME_BYTES_MAX };
            let sure = if whole { sure } else { sure.max(1).next_multiple_of(record::ALIGNMENT) };
            let skip = if from == at { record::ALIGNMENT } else { 0 };
            if let Some(found) = record::find(&view, skip, sure) {
                return Ok(Found::Damage { resume: from + found });
            }
            let written = record::last_written(&view[..sure.min(view.len())]);
            end = written.map(|written| from + written).or(end);
            from += sure;
        }
        Ok(end.map_or(Found::End, |end| Found::Torn { end }))
    }

    /// Writes the head anew where it was damaged, and zeros over an unfinished tail.
    fn wipe(&self, anew: Option<u32>, tail: u64, torn: Option<u64>) -> Result<(), Fault> {
        let repair = || {
            let file = OpenOptions::new().write(true).open(&self.path)?;
            if let Some(before) = anew {
                file.write_all_at(&record::segment_head(self.number, before), 0)?;
            }
            if let Some(end) = torn {
                let zeros = vec![0; usize::try_from(end - tail).unwrap_or(0)];
                file.write_all_at(&zeros, tail)?;
            }
            file.sync_data()
        };
        repair().map_err(|error| Fault::new("repairing", &self.path, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_that_cannot_be_read_is_damage_and_no_more() {
        let stored: Vec<u8> = (0..20_000_u32).map(|at| (at / 100) as u8 % 200).collect();
        let bad = 9000..9100_u64;
        let errno = |errno: Errno| io::Error::from_raw_os_error(errno.raw_os_error());
        let read = |block: &mut [u8], at: u64| {
            if at < bad.end && bad.start < at + block.len() as u64 {
                return Err(errno(Errno::IO));
            }
            block.copy_from_slice(&stored[at as usize..][..block.len()]);
            Ok(())
        };
        let mut buffer = vec![0; 15_000];
        read_past_errors(&mut buffer, 1000, read).expect("no end of the start");
        let differs = |at: &usize| buffer[*at] != stored[1000 + at];
        let damaged: Vec<usize> = (0..buffer.len()).filter(differs).collect();
        // The second block from 1000 on is the one that holds them.
        assert_eq!((damaged[0], damaged.len()), (BLOCK_BYTES, BLOCK_BYTES));
        let other = read_past_errors(&mut buffer, 0, |_, _| Err(errno(Errno::ACCESS)));
        assert!(other.is_err(), "anything else is a fault");
    }
}
