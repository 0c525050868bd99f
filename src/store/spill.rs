//! Rows on their way to a file.
//!
//! In: a memtable, and the run before it where that is small, which is written again with it. Out:
//! the file of a run (`docs/journal-format.md`, section "The index"). Never: reads a record.

use std::sync::Arc;

use super::Store;
use super::filter::Filter;
use super::format::{HEAD_BYTES, MAGIC, VERSION};
use super::memtable::Memtable;
use super::row::{Column, Name, Row};
use super::run::Run;
use super::section::{
    HASHES, NAMES, POSITIONS, Section, SectionKind, index_of, name_of, put_index, put_position,
};
use super::state::State;
use crate::base::stream::Sink;
use crate::base::{Digest, limits};
use crate::journal::Position;
use crate::sketch::short_id;

/// Each new assertion is looked for in the filters of all runs: of a hundred, one in ten of these
/// looks reads a page that has no answer.
const HASH_BITS: usize = 16;
/// Names are looked for by queries only.
const NAME_BITS: usize = 10;

/// Rows that are to become a run.
#[derive(Debug)]
pub struct Spill {
    /// Shared with the store, which serves its rows until the run does.
    pub(super) memtable: Arc<Memtable>,
    /// A run that is to be written again with them.
    pub(super) onto: Option<Arc<Run>>,
    /// The store with them, if it is sound.
    pub state: Option<State>,
}

impl Store {
    /// Whether rows have to become a run before more of them are taken in.
    pub fn is_behind(&self) -> bool {
        self.frozen.is_some() && self.newest.weight() >= 2 * self.spill_after
    }

    /// Rows that are to become a run now, if there are enough of them; the run goes to
    /// [`Store::adopt`].
    pub fn spill(&mut self) -> Option<Spill> {
        (self.newest.weight() >= self.spill_after).then(|| self.spill_all()).flatten()
    }

    /// As [`Store::spill`], however few there are.
    pub fn spill_all(&mut self) -> Option<Spill> {
        if self.frozen.is_some() || self.newest.len() == 0 {
            return None;
        }
        self.update_sketch();
        let rest = Memtable::new(self.end_row());
        let memtable = Arc::new(std::mem::replace(&mut self.newest, rest));
        self.frozen = Some(memtable.clone());
        // A node that restarts often would have a run for each start, and every look-up asks every
        // run's filter: small ones become one.
        let is_small = |run: &&Arc<Run>| run.weight() + memtable.weight() <= self.spill_after;
        let onto = self.runs.last().filter(is_small).cloned();
        let kept = self.runs.len() - usize::from(onto.is_some());
        let runs = self.runs[..kept].iter().map(|run| run.name()).collect();
        let state = self.is_sound().then(|| State::of(self, runs));
        self.check();
        Some(Spill { memtable, onto, state })
    }

    /// The rows that were spilled are in a file, those of an older run among them, perhaps.
    pub fn adopt(&mut self, run: Run) {
        // Dropped here, on the state thread, once the run answers for its rows.
        let spilled = self.frozen.take().expect("it was spilled");
        debug_assert_eq!(run.first() + run.len() as Row, spilled.first() + spilled.len() as Row);
        if self.runs.last().is_some_and(|last| last.first() == run.first()) {
            self.runs.pop();
        }
        self.runs.push(Arc::new(run.with_seed(self.seed)));
        self.check();
    }
}

impl Spill {
    fn first(&self) -> Row {
        self.onto.as_ref().map_or(self.memtable.first(), |run| run.first())
    }

    fn len(&self) -> usize {
        self.memtable.len() + self.onto.as_ref().map_or(0, |run| run.len())
    }

    /// Writes the run; its name comes out.
    pub fn write(&self, sink: &mut Sink) -> Digest {
        self.check();
        // Before the first byte is written: the head has their counts.
        let names = Column::ALL.map(|column| self.names(column));
        let mut head = Vec::with_capacity(HEAD_BYTES as usize);
        head.extend_from_slice(&MAGIC);
        head.extend_from_slice(&VERSION.to_le_bytes());
        let counts = [self.first(), self.len() as Row].into_iter();
        counts
            .chain(names.iter().map(|names| names.len() as Row))
            .for_each(|count| head.extend_from_slice(&count.to_le_bytes()));
        sink.put(&head);
        let mut hasher = blake3::Hasher::new();
        hasher.update(&head);
        let mut end = HEAD_BYTES;
        let mut sections = Vec::new();
        let mut filters = Vec::new();
        // A block, for these take 40 bytes a row: they go before the names are sorted.
        {
            let hashes = self.hashes();
            let mut filter = Filter::new(hashes.len(), HASH_BITS);
            hashes.iter().for_each(|(hash, _)| filter.insert(short_id(hash)));
            filters.push(filter);
            let entries = hashes.iter().map(|(hash, row)| {
                let mut entry = [0; HASHES.width];
                entry[..32].copy_from_slice(&hash.0);
                put_index(&mut entry[32..], row - self.first());
                entry
            });
            sections.push(Section::write(HASHES, &mut end, entries, sink));
        }
        let positions = self.positions().map(|at| {
            let mut entry = [0; POSITIONS.width];
            put_position(&mut entry, at);
            entry
        });
        sections.push(Section::write(POSITIONS, &mut end, positions, sink));
        for names in names {
            filters.push(filter_of(&names));
            let entries = names.iter().map(|(name, row)| {
                let mut entry = [0; NAMES.width];
                entry[..4].copy_from_slice(&name.0.to_be_bytes());
                put_index(&mut entry[4..], row - self.first());
                entry
            });
            sections.push(Section::write(NAMES, &mut end, entries, sink));
        }
        let mut put = |bytes: &[u8]| {
            hasher.update(bytes);
            sink.put(bytes);
        };
        let mut summary = Sink::new(&mut put);
        sections.iter().for_each(|section| section.save(&mut summary));
        filters.iter().for_each(|filter| filter.save(&mut summary));
        drop(summary);
        let name = Digest(hasher.finalize().into());
        sink.put_u64(end);
        sink.put(&name.0);
        name
    }

    /// What holds as long as it lives.
    fn check(&self) {
        let before = self.onto.as_ref().map_or(self.memtable.first(), |run| run.rows().end);
        debug_assert_eq!(before, self.memtable.first(), "rows go on where the run ends");
        debug_assert!(self.len() <= limits::RUN_ROWS_MAX, "entries have three bytes for a row");
    }

    fn hashes(&self) -> Vec<(Digest, Row)> {
        let mut hashes = self.memtable.digests();
        if let Some(run) = &self.onto {
            run.hashes_from(0, &mut |row, hash| {
                hashes.push((*hash, row));
                true
            });
            hashes.sort_unstable();
        }
        hashes
    }

    fn positions(&self) -> impl Iterator<Item = Position> {
        let old = self.onto.iter().flat_map(|run| {
            // A page at a time: all positions of the largest run are 128 MB.
            let mut next = run.first();
            let page = move || {
                let page =
                    run.rows().contains(&next).then(|| run.position_page(next).since(next))?;
                next += page.len() as Row;
                Some(page)
            };
            std::iter::from_fn(page).flatten()
        });
        let first = self.memtable.first();
        let new = first..first + self.memtable.len() as Row;
        old.chain(new.map(|row| self.memtable.position(row)))
    }

    fn names(&self, column: Column) -> Vec<(Name, Row)> {
        let mut names = self.memtable.names(column);
        if let Some(run) = &self.onto {
            run.entries(SectionKind::of(column), 0, |entry| {
                names.push((name_of(entry), run.first() + index_of(&entry[4..])));
                true
            });
            names.sort_unstable();
        }
        names
    }
}

fn filter_of(names: &[(Name, Row)]) -> Filter {
    let distinct = || names.chunk_by(|one, other| one.0 == other.0).map(|rows| rows[0].0);
    // A name counts once, however many rows have it.
    let mut filter = Filter::new(distinct().count(), NAME_BITS);
    distinct().for_each(|name| filter.insert(name.mixed()));
    filter
}
