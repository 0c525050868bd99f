//! Rebuilding everything from the log alone.
//!
//! In: the segment files. Out: every record that is whole, in log order, where the log ends, and what
//! was wrong with the rest. An unfinished tail is cut off; damage before the tail is fenced off,
//! counted and reported, and stops nothing. Never: holds more than one segment in memory.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::Bytes;

use super::{Fault, find_segments, segment_path};
use crate::base::limits;
use crate::journal::record::{self, BadHead, Found};
use crate::journal::{Committed, Position};
use crate::model::Sealed;

/// Damages described one by one; more are only counted.
const DAMAGES_TOLD_MAX: usize = 100;

/// Bytes before the tail that are no record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Damage {
    /// Where they start.
    pub at: Position,
    /// How many they are.
    pub bytes: u64,
}

/// What recovery found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recovered {
    /// Whole records.
    pub records: u64,
    /// What heads and frames of the log take.
    pub bytes: u64,
    /// Where the log goes on.
    pub tail: Position,
    /// Bytes of an unfinished last write, cut off.
    pub torn_bytes: u64,
    /// Stretches of damage before the tail.
    pub damages: u64,
    /// The first of them.
    pub damages_told: Vec<Damage>,
}

impl Recovered {
    fn damage(&mut self, at: Position, bytes: u64) {
        self.damages += 1;
        if self.damages_told.len() < DAMAGES_TOLD_MAX {
            self.damages_told.push(Damage { at, bytes });
        }
    }
}

/// Reads the log and hands out each whole record. With `repair`, the unfinished tail is wiped so
/// that the next write starts on zeros; without, nothing is changed.
pub fn recover(
    log: &Path,
    repair: bool,
    mut take: impl FnMut(Committed),
) -> Result<Recovered, Fault> {
    let numbers = find_segments(log)?;
    let mut recovered = Recovered {
        records: 0,
        bytes: 0,
        tail: Position::first_of(0),
        torn_bytes: 0,
        damages: 0,
        damages_told: Vec::new(),
    };
    for (index, number) in numbers.iter().copied().enumerate() {
        let last = index + 1 == numbers.len();
        let segment = Segment::read(log, number)?;
        let headed = segment.check_head(last, &mut recovered)?;
        recovered.tail = Position::first_of(number);
        recovered.bytes += record::SEGMENT_HEAD_BYTES as u64;
        let torn = segment.scan(last, &mut recovered, &mut take);
        if repair && (!headed || torn.is_some()) {
            segment.wipe(log, headed, recovered.tail.offset(), torn)?;
        }
    }
    Ok(recovered)
}

struct Segment {
    number: u64,
    bytes: Bytes,
}

impl Segment {
    fn read(log: &Path, number: u64) -> Result<Segment, Fault> {
        let path = segment_path(log, number);
        let mut bytes = Vec::new();
        let read = File::open(&path).and_then(|file| {
            bytes.reserve(usize::try_from(file.metadata()?.len()).unwrap_or(0));
            file.take(limits::SEGMENT_BYTES_MAX).read_to_end(&mut bytes)
        });
        read.map_err(|error| Fault::new("reading", &path, error))?;
        Ok(Segment { number, bytes: Bytes::from(bytes) })
    }

    /// Whether the head stands. A last segment without one was never finished; any other damaged
    /// head is reported, and the frames behind it speak for themselves.
    fn check_head(&self, last: bool, recovered: &mut Recovered) -> Result<bool, Fault> {
        match record::check_segment_head(&self.bytes, self.number) {
            Ok(()) => Ok(true),
            Err(bad @ BadHead::Newer { .. }) => {
                let path = segment_path(Path::new("log"), self.number);
                Err(Fault::new("reading", &path, std::io::Error::other(bad.to_string())))
            }
            Err(BadHead::Damaged) => {
                let unfinished = last && self.bytes.iter().all(|byte| *byte == 0);
                if !unfinished {
                    let at = Position(self.number * limits::SEGMENT_BYTES_MAX);
                    recovered.damage(at, record::SEGMENT_HEAD_BYTES as u64);
                }
                Ok(false)
            }
        }
    }

    /// Hands out the records; the answer is where an unfinished tail ends, if there is one.
    fn scan(
        &self,
        last: bool,
        recovered: &mut Recovered,
        take: &mut impl FnMut(Committed),
    ) -> Option<u64> {
        let base = self.number * limits::SEGMENT_BYTES_MAX;
        let mut at = record::SEGMENT_HEAD_BYTES;
        loop {
            let place = Position(base + at as u64);
            match record::scan(&self.bytes, at) {
                Found::Record { digest, payload, next } => {
                    let sealed = Sealed::recovered(digest, self.bytes.slice(payload));
                    take(Committed::recovered(place, sealed));
                    recovered.records += 1;
                    at = next;
                }
                Found::Damage { resume } => {
                    recovered.damage(place, (resume - at) as u64);
                    at = resume;
                }
                Found::End => break self.settle(at, recovered, None),
                Found::Torn { end } if last => {
                    recovered.torn_bytes = (end - at) as u64;
                    break self.settle(at, recovered, Some(end as u64));
                }
                Found::Torn { end } => {
                    recovered.damage(place, (end - at) as u64);
                    break self.settle(end.next_multiple_of(record::ALIGNMENT), recovered, None);
                }
            }
        }
    }

    fn settle(&self, at: usize, recovered: &mut Recovered, torn: Option<u64>) -> Option<u64> {
        recovered.bytes += (at - record::SEGMENT_HEAD_BYTES) as u64;
        recovered.tail = Position(self.number * limits::SEGMENT_BYTES_MAX + at as u64);
        torn
    }

    /// Writes the head anew where it was damaged, and zeros over an unfinished tail.
    fn wipe(&self, log: &Path, headed: bool, tail: u64, torn: Option<u64>) -> Result<(), Fault> {
        let path = segment_path(log, self.number);
        let repair = || {
            let file = OpenOptions::new().write(true).open(&path)?;
            if !headed {
                file.write_all_at(&record::segment_head(self.number), 0)?;
            }
            if let Some(end) = torn {
                let zeros = vec![0; usize::try_from(end - tail).unwrap_or(0)];
                file.write_all_at(&zeros, tail)?;
            }
            file.sync_data()
        };
        repair().map_err(|error| Fault::new("repairing", &path, error))
    }
}
