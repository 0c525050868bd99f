//! A sorted run: the index of some hundred thousand rows in a file, a summary of it in memory
//! (`docs/journal-format.md`, section "The index").
//!
//! In: the pages of a file that [`super::Spill`] wrote, read by place. Out: rows by hash, by
//! subject and by predicate, and their places. The summary has the first key and the checksum of
//! every page, and a filter per index, so that a look reads one page of one run for the most part.
//!
//! Never: opens a file, changes what is written, takes a page for what its checksum denies.

use std::fmt;

use super::filter::Filter;
use super::section::{HASHES, NAMES, PLACES, Section, name_key, place_of};
use super::spill::{HEAD_BYTES, MAGIC, TRAILER_BYTES, VERSION};
use super::{NAMED_MAX, Name, Row};
use crate::base::Digest;
use crate::base::stream::Source;
use crate::journal::Position;
use crate::journal::record::ALIGNMENT;
use crate::sketch::short_id;

/// Reads the file of a run; more than one thread may.
pub trait Pages: fmt::Debug + Send + Sync {
    /// Fills the buffer from an offset on; false: it cannot be read.
    fn read(&self, at: u64, into: &mut [u8]) -> bool;
    /// A page is not what was written: the index is of no use any more, the log is. Does not
    /// return.
    fn give_up(&self) -> !;
}

/// A run.
#[derive(Debug)]
pub struct Run {
    pages: Box<dyn Pages>,
    name: Digest,
    first: Row,
    hashes: Section,
    places: Section,
    names: [Section; 2],
    hash_filter: Filter,
    name_filters: [Filter; 2],
}

impl Run {
    /// The run in a file of this length; `None` if that is none, or not a whole one.
    pub fn open(pages: Box<dyn Pages>, length: u64) -> Option<Run> {
        let at = length.checked_sub(TRAILER_BYTES).filter(|at| *at >= HEAD_BYTES)?;
        let (mut head, mut trailer) = ([0; HEAD_BYTES as usize], [0; TRAILER_BYTES as usize]);
        (pages.read(0, &mut head) && pages.read(at, &mut trailer)).then_some(())?;
        let summary = u64::from_le_bytes(*trailer.first_chunk()?);
        let bytes = at.checked_sub(summary)?;
        let mut summary_bytes = vec![0; usize::try_from(bytes).ok()?];
        pages.read(summary, &mut summary_bytes).then_some(())?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(&head).update(&summary_bytes);
        let name = Digest(hasher.finalize().into());
        if name.0 != trailer[8..] || head[..8] != MAGIC || head[8..12] != VERSION.to_le_bytes() {
            return None;
        }
        let number =
            |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let mut rest = &summary_bytes[..];
        let mut fill = |buffer: &mut [u8]| {
            let (front, back) = rest.split_at_checked(buffer.len())?;
            buffer.copy_from_slice(front);
            rest = back;
            Some(())
        };
        Run::load(pages, name, [12, 16, 20, 24].map(number), &mut Source::new(&mut fill))
    }

    fn load(
        pages: Box<dyn Pages>,
        name: Digest,
        [first, count, subjects, predicates]: [u32; 4],
        source: &mut Source,
    ) -> Option<Run> {
        let hashes = Section::load(HASHES, HEAD_BYTES, count as usize, source)?;
        let places = Section::load(PLACES, hashes.end(), count as usize, source)?;
        let subjects = Section::load(NAMES, places.end(), subjects as usize, source)?;
        let predicates = Section::load(NAMES, subjects.end(), predicates as usize, source)?;
        let hash_filter = Filter::load(source)?;
        let name_filters = [Filter::load(source)?, Filter::load(source)?];
        let names = [subjects, predicates];
        Some(Run { pages, name, first, hashes, places, names, hash_filter, name_filters })
    }

    /// What tells this run from all others: the digest of its head and summary.
    pub fn name(&self) -> Digest {
        self.name
    }

    /// The number of the first row.
    pub(super) fn first(&self) -> Row {
        self.first
    }

    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.hashes.count
    }

    pub(super) fn rows(&self) -> std::ops::Range<Row> {
        self.first..self.first + self.len() as Row
    }

    /// The row with this hash.
    pub(super) fn find(&self, digest: &Digest) -> Option<Row> {
        self.find_where(short_id(digest), |hash| hash == digest)
    }

    /// The row whose hash begins with these 8 bytes; of several, any.
    pub(super) fn find_short(&self, front: &Digest) -> Option<Row> {
        self.find_where(short_id(front), |_| true)
    }

    fn find_where(&self, id: u64, is_it: impl Fn(&Digest) -> bool) -> Option<Row> {
        if !self.hash_filter.may_have(id) {
            return None;
        }
        let mut found = None;
        self.hashes_from(id, &mut |row, hash| {
            let is_candidate = short_id(hash) == id;
            found = Some(row).filter(|_| is_candidate && is_it(hash));
            is_candidate && found.is_none()
        });
        found
    }

    /// The hash of a row that is here; looks through all of them.
    pub(super) fn digest(&self, row: Row) -> Digest {
        let mut found = Digest::ZERO;
        self.hashes_from(0, &mut |other, hash| {
            if other == row {
                found = *hash;
            }
            other != row
        });
        found
    }

    /// Where a row that is here was appended.
    pub(super) fn position(&self, row: Row) -> Position {
        self.positions(row)[0]
    }

    /// The same of it and of those that follow on its page.
    pub(super) fn positions(&self, row: Row) -> Vec<Position> {
        let place = (row - self.first) as usize;
        let page = self.page(&self.places, place / PLACES.per_page);
        let places = page.chunks_exact(PLACES.width).skip(place % PLACES.per_page);
        let position = |place: &[u8]| {
            let mut units = [0; 8];
            units[..PLACES.width].copy_from_slice(place);
            Position(u64::from_le_bytes(units) * ALIGNMENT as u64)
        };
        places.map(position).collect()
    }

    /// Shows all hashes that agree with one in so many bits.
    pub(super) fn under(&self, prefix: &Digest, depth: usize, see: &mut dyn FnMut(Row, &Digest)) {
        self.hashes_from(short_id(prefix), &mut |row, hash| {
            let agrees = hash.agrees(prefix, depth);
            if agrees {
                see(row, hash);
            }
            agrees
        });
    }

    /// How many rows have a name as their subject, or their predicate.
    pub(super) fn count(&self, name: Name, is_subject: bool) -> usize {
        if !self.name_filters[usize::from(!is_subject)].may_have(name.mixed()) {
            return 0;
        }
        let section = self.section(is_subject);
        let next = name.0.checked_add(1).map(|next| self.seek(section, u64::from(next) << 32));
        next.unwrap_or(section.count) - self.seek(section, u64::from(name.0) << 32)
    }

    /// The newest of them before a row, [`NAMED_MAX`] at most, in ascending order.
    pub(super) fn named(&self, name: Name, is_subject: bool, before: Row) -> Vec<Row> {
        if !self.name_filters[usize::from(!is_subject)].may_have(name.mixed()) {
            return Vec::new();
        }
        let section = self.section(is_subject);
        let least = u64::from(name.0) << 32;
        let end = self.seek(section, least | u64::from(before - self.first));
        let mut rows = Vec::new();
        let from = end.saturating_sub(NAMED_MAX);
        let page_of = |entry: usize| entry / NAMES.per_page;
        for index in page_of(from)..=page_of(end.saturating_sub(1)) {
            let page = self.page(section, index);
            let numbers = index * NAMES.per_page..;
            for (number, entry) in numbers.zip(page.chunks_exact(NAMES.width)) {
                if (from..end).contains(&number) && name_key(entry) >= least {
                    rows.push(self.first + place_of(&entry[4..]));
                }
            }
        }
        rows
    }

    /// Heap bytes.
    pub(super) fn bytes(&self) -> usize {
        let [subjects, predicates] = &self.names;
        let sections = [&self.hashes, &self.places, subjects, predicates].map(Section::bytes);
        let filters = self.name_filters.iter().map(Filter::bytes).sum::<usize>();
        sections.iter().sum::<usize>() + filters + self.hash_filter.bytes()
    }

    pub(super) fn section(&self, is_subject: bool) -> &Section {
        &self.names[usize::from(!is_subject)]
    }

    /// Shows hashes from the first one on whose first 8 bytes are no less, until told to stop.
    pub(super) fn hashes_from(&self, id: u64, see: &mut dyn FnMut(Row, &Digest) -> bool) {
        self.entries(&self.hashes, id, |entry| {
            let hash = Digest(*entry.first_chunk().expect("a hash is 32 bytes"));
            see(self.first + place_of(&entry[32..]), &hash)
        });
    }

    /// Shows entries from the first one on whose key is no less, until told to stop.
    pub(super) fn entries(&self, section: &Section, key: u64, mut see: impl FnMut(&[u8]) -> bool) {
        let first = section.fences.partition_point(|fence| *fence < key).saturating_sub(1);
        for index in first..section.fences.len() {
            let page = self.page(section, index);
            let entries = page.chunks_exact(section.shape.width);
            let mut wanted = entries.filter(|entry| (section.shape.key)(entry) >= key);
            if !wanted.all(&mut see) {
                return;
            }
        }
    }

    /// The number of the first entry whose key is no less.
    fn seek(&self, section: &Section, key: u64) -> usize {
        let fence = section.fences.partition_point(|fence| *fence < key);
        let Some(index) = fence.checked_sub(1) else { return 0 };
        let page = self.page(section, index);
        let entries = page.chunks_exact(section.shape.width);
        let less = entries.take_while(|entry| (section.shape.key)(entry) < key).count();
        index * section.shape.per_page + less
    }

    fn page(&self, section: &Section, index: usize) -> Vec<u8> {
        let shape = section.shape;
        let first = index * shape.per_page;
        let count = shape.per_page.min(section.count - first);
        let mut page = vec![0; count * shape.width];
        let is_read = self.pages.read(section.at + (first * shape.width) as u64, &mut page);
        if !is_read || crc32c::crc32c(&page) != section.checksums[index] {
            self.pages.give_up();
        }
        page
    }
}
