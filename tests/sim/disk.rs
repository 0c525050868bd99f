//! A disk that loses what was not flushed, takes nothing for a while, and damages records.
//!
//! In: the queue's work, crashes, what goes wrong. Out: bodies; after a crash what a recovery would
//! find, damage with its names included.

use std::collections::BTreeMap;

use bytes::Bytes;
use stemedb_edge::base::stream::Sink;
use stemedb_edge::base::{Digest, Random, limits};
use stemedb_edge::journal::damage::Damage;
use stemedb_edge::journal::record::{self, Found};
use stemedb_edge::journal::{Batch, Bodies, Done, Obstacle, Position, Work};
use stemedb_edge::model::Sealed;
use stemedb_edge::store::{Pages, Run, Spill};

/// One node's log, frames in the bytes that a real one has.
#[derive(Default)]
pub(crate) struct Disk {
    records: BTreeMap<u64, Sealed>,
    /// Written since the last flush.
    unflushed: Vec<u64>,
    /// Under way: nothing of it is promised yet.
    working: Option<Work>,
    end: Option<Position>,
    /// Records that cannot be read any more; what is left of them names them.
    damaged: BTreeMap<u64, Digest>,
    /// Why nothing can be written.
    pub(crate) obstacle: Option<Obstacle>,
}

impl Bodies for Disk {
    fn digest_at(&self, at: Position) -> Option<Digest> {
        self.records.get(&at.0).map(Sealed::digest)
    }

    fn sealed_at(&self, at: Position) -> Option<Sealed> {
        self.records.get(&at.0).cloned()
    }

    fn name_at(&self, at: Position) -> Option<Digest> {
        self.digest_at(at).or_else(|| self.damaged.get(&at.0).copied())
    }
}

impl Disk {
    pub(crate) fn submit(&mut self, work: Work) {
        assert!(self.working.replace(work).is_none(), "one piece of work at a time");
    }

    /// The work under way is done, or is not.
    pub(crate) fn finish(&mut self) -> Done {
        match self.working.take().expect("work is under way") {
            Work::Flush => self.unflushed.clear(),
            Work::Write(_) if self.obstacle.is_some() => {
                return Done::Undone(self.obstacle.expect("just seen"));
            }
            Work::Write(batch) => {
                let is_flushed = batch.flush;
                let count = batch.records.len();
                self.write(&batch, count);
                if is_flushed {
                    self.unflushed.clear();
                }
            }
        }
        Done::Well
    }

    /// Whether a power cut leaves it here to be read.
    pub(crate) fn keeps(&self, digest: &Digest) -> bool {
        let mut copies = self.records.iter().filter(|(_, sealed)| sealed.digest() == *digest);
        copies.any(|(at, _)| !self.unflushed.contains(at))
    }

    /// Damages one of the records that are flushed and that `is_elsewhere`; its position.
    pub(crate) fn damage(
        &mut self,
        random: &mut Random,
        is_elsewhere: impl Fn(&Digest) -> bool,
    ) -> Option<Position> {
        let flushed = self.records.iter().filter(|(at, _)| !self.unflushed.contains(at));
        let hit: Vec<(u64, Digest)> = flushed
            .map(|(at, sealed)| (*at, sealed.digest()))
            .filter(|(_, digest)| is_elsewhere(digest))
            .collect();
        let (at, digest) = *hit.get(random.below(hit.len().max(1)))?;
        self.records.remove(&at);
        self.damaged.insert(at, digest);
        Some(Position(at))
    }

    /// What a recovery quarantines.
    pub(crate) fn damages(&self) -> Vec<Damage> {
        let one = |(at, digest): (&u64, &Digest)| Damage {
            at: Position(*at),
            bytes: record::FRAME_HEAD_BYTES as u64,
            digest: Some(*digest),
        };
        self.damaged.iter().map(one).collect()
    }

    fn write(&mut self, batch: &Batch, count: usize) {
        let (mut at, mut frames) = (0, Vec::new());
        batch.frames(&mut frames);
        for _ in 0..count {
            let Found::Record { digest, payload, next } = record::scan(&frames, at) else {
                panic!("the queue writes whole frames");
            };
            let sealed = Sealed::recovered(digest, Bytes::copy_from_slice(&frames[payload]));
            let position = batch.position.0 + at as u64;
            self.records.insert(position, sealed);
            self.unflushed.push(position);
            at = next;
        }
        self.end = Some(Position(batch.position.0 + at as u64));
    }

    /// The machine stops: of what was not flushed, and of the work under way, a front of any
    /// length survives.
    pub(crate) fn crash(&mut self, random: &mut Random) {
        if let Some(Work::Write(batch)) = self.working.take() {
            let count = random.below(batch.records.len() + 1);
            self.write(&batch, count);
        }
        let kept = random.below(self.unflushed.len() + 1);
        for lost in self.unflushed.split_off(kept) {
            self.records.remove(&lost);
            self.end = Some(self.end.map_or(Position(lost), |end| Position(end.0.min(lost))));
        }
        self.unflushed.clear();
    }

    /// Every record, in log order.
    pub(crate) fn records(&self) -> impl Iterator<Item = (Position, &Sealed)> {
        self.records.iter().map(|(at, sealed)| (Position(*at), sealed))
    }

    /// Where the log goes on.
    pub(crate) fn tail(&self) -> Position {
        self.end.unwrap_or(Position::first_of(0))
    }

    /// What the log takes.
    pub(crate) fn bytes(&self) -> u64 {
        self.tail().0 % limits::SEGMENT_BYTES_MAX
    }
}

/// The file of a run; nothing goes wrong with it.
#[derive(Debug)]
struct RunFile(Vec<u8>);

impl Pages for RunFile {
    fn read(&self, at: u64, into: &mut [u8]) -> bool {
        let from = self.0.get(at as usize..).and_then(|rest| rest.get(..into.len()));
        from.is_some_and(|from| {
            into.copy_from_slice(from);
            true
        })
    }

    fn restore(&self, _: u64, _: &[u8]) {}

    fn with_log(&self, _: &mut dyn FnMut(&dyn Bodies)) {}

    fn abandon(&self) -> ! {
        panic!("a page is not what was written")
    }
}

/// What rows become when they are spilled.
pub(crate) fn index(spill: &Spill) -> Run {
    let mut file = Vec::new();
    spill.write(&mut Sink::new(&mut |bytes| file.extend_from_slice(bytes)));
    let length = file.len() as u64;
    Run::open(Box::new(RunFile(file)), length).expect("a run that was written")
}
