//! A sorted run: the index of some hundred thousand rows in a file, a summary of it in memory
//! (`docs/journal-format.md`, section "The index").
//!
//! In: the pages of a file that [`super::Spill`] wrote, read by offset. Out: rows by hash, by
//! subject, by predicate and by attribute, and their positions. The summary has the first key and
//! the checksum of every page, and a filter per index, so that a look reads one page of one run for
//! the most part.
//!
//! Never: opens a file, changes what is written, takes a page for what its checksum denies.

use std::fmt;
use std::ops::Range;

use super::filter::Filter;
use super::format::{HEAD_BYTES, MAGIC, TRAILER_BYTES, VERSION};
use super::row::{Column, NAMED_MAX, Name, Row, weight};
use super::section::{HASHES, NAMES, POSITIONS, PositionPage, Section, SectionKind, index_of};
use crate::base::Digest;
use crate::base::stream::Source;
use crate::journal::{Bodies, Position};
use crate::sketch::short_id;

/// Rows of a name that are looked at one by one rather than those of another one counted.
const FEW: usize = 4;

/// Reads the file of a run; more than one thread may.
pub trait Pages: fmt::Debug + Send + Sync {
    /// Reads from an offset on, as much as fits; false: it cannot be read.
    fn read(&self, at: u64, into: &mut [u8]) -> bool;
    /// A page that could not be read was made again: `read` returns these bytes from now on.
    fn restore(&self, at: u64, page: &[u8]);
    /// Shows the log that the run is an index of.
    fn with_log(&self, see: &mut dyn FnMut(&dyn Bodies));
    /// A page is not what was written and cannot be made again from the log: the index is of no
    /// use any more. Does not return.
    fn abandon(&self) -> !;
}

/// An index file of consecutive rows, of which the summary is in memory.
#[derive(Debug)]
pub struct Run {
    /// The file, which the shell opened.
    pages: Box<dyn Pages>,
    /// Of the file, and what its pages' checksums are trusted by.
    name: Digest,
    /// That of the store, of which fingerprints of names are made.
    seed: u64,
    first: Row,
    hashes: Section,
    positions: Section,
    /// The entries by subject, by predicate and by attribute, in the order of [`Column`].
    names: [Section; Column::ALL.len()],
    /// Filters keep a look-up from runs that have nothing: with a hundred runs it would read a
    /// hundred pages.
    hash_filter: Filter,
    name_filters: [Filter; Column::ALL.len()],
}

impl Run {
    /// The run in a file of this length; `None` if that is none, or not a whole one.
    pub fn open(pages: Box<dyn Pages>, length: u64) -> Option<Run> {
        let at = length.checked_sub(TRAILER_BYTES).filter(|at| *at >= HEAD_BYTES)?;
        let (mut head, mut trailer) = ([0; HEAD_BYTES as usize], [0; TRAILER_BYTES as usize]);
        (pages.read(0, &mut head) && pages.read(at, &mut trailer)).then_some(())?;
        let summary = u64::from_le_bytes(*trailer.first_chunk()?);
        // The length is the file's own: no more is allocated than the file has.
        let bytes = at.checked_sub(summary)?;
        let mut summary_bytes = vec![0; usize::try_from(bytes).ok()?];
        pages.read(summary, &mut summary_bytes).then_some(())?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(&head).update(&summary_bytes);
        let name = Digest(hasher.finalize().into());
        // The name covers the summary, which has the checksum of every page.
        if name.0 != trailer[8..] || head[..8] != MAGIC || head[8..12] != VERSION.to_le_bytes() {
            return None;
        }
        let number =
            |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let mut rest = &summary_bytes[..];
        let mut more = |window: &mut [u8]| {
            let (front, back) = rest.split_at(window.len().min(rest.len()));
            window[..front.len()].copy_from_slice(front);
            rest = back;
            front.len()
        };
        Run::load(pages, name, [12, 16, 20, 24, 28].map(number), &mut Source::new(&mut more))
    }

    fn load(
        pages: Box<dyn Pages>,
        name: Digest,
        [first, count, subjects, predicates, attributes]: [u32; 5],
        source: &mut Source,
    ) -> Option<Run> {
        let hashes = Section::load(HASHES, HEAD_BYTES, count as usize, source)?;
        let positions = Section::load(POSITIONS, hashes.end(), count as usize, source)?;
        let subjects = Section::load(NAMES, positions.end(), subjects as usize, source)?;
        let predicates = Section::load(NAMES, subjects.end(), predicates as usize, source)?;
        let attributes = Section::load(NAMES, predicates.end(), attributes as usize, source)?;
        let hash_filter = Filter::load(source)?;
        let mut filter = || Filter::load(source);
        let name_filters = [filter()?, filter()?, filter()?];
        let names = [subjects, predicates, attributes];
        let seed = 0;
        Some(Run { pages, name, seed, first, hashes, positions, names, hash_filter, name_filters })
    }

    /// As it is, of the store with this seed.
    pub(super) fn with_seed(self, seed: u64) -> Run {
        Run { seed, ..self }
    }

    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    /// The digest of its head and summary: no two runs have the same.
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

    /// Its rows, with what their attributes take counted as rows.
    pub(super) fn weight(&self) -> usize {
        weight(self.len(), self.section(Column::Attribute).count)
    }

    /// Their numbers.
    pub fn rows(&self) -> Range<Row> {
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
        // Keys are the first 8 bytes of hashes: several may have the same.
        self.hashes_from(id, &mut |row, hash| {
            let is_candidate = short_id(hash) == id;
            found = Some(row).filter(|_| is_candidate && is_it(hash));
            is_candidate && found.is_none()
        });
        found
    }

    /// The hash of a row that is here; looks through all of them.
    pub(super) fn digest(&self, row: Row) -> Digest {
        // Damage alone asks for it. A section by row would be 32 bytes a row once more.
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
        self.position_page(row).of(row).expect("a row of this page")
    }

    /// The same of all rows on its page.
    pub(super) fn position_page(&self, row: Row) -> PositionPage {
        let index = (row - self.first) as usize / POSITIONS.per_page;
        let first = self.first + (index * POSITIONS.per_page) as Row;
        PositionPage { first, page: self.page(SectionKind::Positions, index) }
    }

    /// The positions on a page, if that can be read.
    pub(super) fn read_positions(&self, index: usize) -> Option<PositionPage> {
        let first = self.first + (index * POSITIONS.per_page) as Row;
        Some(PositionPage { first, page: self.read_page(&self.positions, index)? })
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

    /// The one of two names by which a row that has both is found with fewer looks; `None`: no row
    /// has both. Mostly no page is read for it.
    pub(super) fn rarer(
        &self,
        one: (Column, Name),
        other: (Column, Name),
    ) -> Option<(Column, Name)> {
        let may_have = |(column, name)| self.may_have(name, column);
        if !may_have(one) || !may_have(other) {
            return None;
        }
        let [(column, name), (other_column, other_name)] = [one, other];
        let (ones, others) = (self.bounds(name, column), self.bounds(other_name, other_column));
        // Separators in memory decide where the names differ by a page of rows.
        let is_first = if ones.end <= others.start || others.end < ones.start {
            ones.start <= others.start
        } else {
            let count = self.count(name, column);
            count <= FEW || count <= self.count(other_name, other_column)
        };
        Some(if is_first { one } else { other })
    }

    pub(super) fn may_have(&self, name: Name, column: Column) -> bool {
        self.name_filters[column as usize].may_have(name.mixed())
    }

    /// How many rows have a name: as many as `start` and no more than `end`, by what is in memory.
    fn bounds(&self, name: Name, column: Column) -> Range<usize> {
        let section = self.section(column);
        let [least, end] = keys(name).map(|key| section.page_before(key));
        // So many pages begin with it; all of them but the last have nothing else.
        let pages = end - least;
        pages.saturating_sub(1) * NAMES.per_page..(pages + 1) * NAMES.per_page
    }

    /// How many rows have a name.
    fn count(&self, name: Name, column: Column) -> usize {
        let mut kept = None;
        let [least, end] = keys(name).map(|key| self.seek(column, key, &mut kept));
        end - least
    }

    /// The newest of them before a row, [`NAMED_MAX`] at most, in ascending order.
    pub(super) fn named(&self, name: Name, column: Column, before: Row) -> Vec<Row> {
        let mut rows = Vec::new();
        if !self.may_have(name, column) {
            return rows;
        }
        let section = self.section(column);
        let least = name.entry(0);
        let end = name.entry(before - self.first);
        let mut pages = section.page_before(end);
        // Each page that may have some, the last one first.
        while let Some(index) = pages.checked_sub(1) {
            let page = self.page(SectionKind::of(column), index);
            let (from, to) = (section.shape.less(&page, least), section.shape.less(&page, end));
            let newest = page[from * NAMES.width..to * NAMES.width].rchunks_exact(NAMES.width);
            let rows_here = newest.map(|entry| self.first + index_of(&entry[4..]));
            rows.extend(rows_here.take(NAMED_MAX - rows.len()));
            if from > 0 || rows.len() == NAMED_MAX {
                break;
            }
            pages = index;
        }
        rows.reverse();
        rows
    }

    /// Takes out of rows that are here, ascending, those that have not this name, unless nearly as
    /// many pages would have to be read as there are rows.
    pub(super) fn keep_named(&self, rows: &mut Vec<Row>, name: Name, column: Column) {
        let section = self.section(column);
        let key = |row: Row| name.entry(row - self.first);
        let Some((first, last)) = rows.first().zip(rows.last()) else { return };
        let [from, to] = [key(*first), key(*last) + 1].map(|key| section.page_before(key));
        // A body is one read, like a page.
        if rows.len() < 2 * (to - from + 1) {
            return;
        }
        let mut kept = None;
        rows.retain(|row| {
            let entry = self.seek(column, key(*row), &mut kept);
            self.seek(column, key(*row) + 1, &mut kept) > entry
        });
    }

    pub(super) fn bytes(&self) -> usize {
        let sections = self.sections().map(Section::bytes).sum::<usize>();
        let filters = self.name_filters.iter().map(Filter::bytes).sum::<usize>();
        sections + filters + self.hash_filter.bytes()
    }

    fn sections(&self) -> impl Iterator<Item = &Section> {
        [&self.hashes, &self.positions].into_iter().chain(&self.names)
    }

    pub(super) fn section(&self, column: Column) -> &Section {
        &self.names[column as usize]
    }

    pub(super) fn section_of(&self, kind: SectionKind) -> &Section {
        match kind {
            SectionKind::Hashes => &self.hashes,
            SectionKind::Positions => &self.positions,
            SectionKind::Subjects => self.section(Column::Subject),
            SectionKind::Predicates => self.section(Column::Predicate),
            SectionKind::Attributes => self.section(Column::Attribute),
        }
    }

    /// Shows hashes from the first one on whose first 8 bytes are no less, until `see` returns
    /// false.
    pub(super) fn hashes_from(&self, id: u64, see: &mut dyn FnMut(Row, &Digest) -> bool) {
        self.entries(SectionKind::Hashes, id, |entry| {
            let hash = Digest(*entry.first_chunk().expect("a hash is 32 bytes"));
            see(self.first + index_of(&entry[32..]), &hash)
        });
    }

    /// Shows entries from the first one on whose key is no less, until `see` returns false.
    pub(super) fn entries(&self, kind: SectionKind, key: u64, mut see: impl FnMut(&[u8]) -> bool) {
        let section = self.section_of(kind);
        // Entries of one key may begin on the page before the first that begins with it.
        let first = section.page_before(key).saturating_sub(1);
        for index in first..section.separators.len() {
            let page = self.page(kind, index);
            let entries = page.chunks_exact(section.shape.width);
            let mut wanted = entries.filter(|entry| (section.shape.key)(entry) >= key);
            if !wanted.all(&mut see) {
                return;
            }
        }
    }

    /// The number of the first entry whose key is no less; its page is kept for the next look.
    fn seek(&self, column: Column, key: u64, kept: &mut Option<(usize, Vec<u8>)>) -> usize {
        let (kind, section) = (SectionKind::of(column), self.section(column));
        let Some(index) = section.page_before(key).checked_sub(1) else { return 0 };
        let known = kept.take().filter(|(known, _)| *known == index);
        let (_, page) = kept.insert(known.unwrap_or_else(|| (index, self.page(kind, index))));
        index * section.shape.per_page + section.shape.less(page, key)
    }

    fn page(&self, kind: SectionKind, index: usize) -> Vec<u8> {
        let section = self.section_of(kind);
        if let Some(page) = self.read_page(section, index) {
            return page;
        }
        // All bad pages of the section: what broke one often broke its neighbours.
        self.pages.with_log(&mut |log| {
            for (index, page) in self.rebuild(kind, log).unwrap_or_default() {
                let first = index * section.shape.per_page;
                self.pages.restore(section.at + (first * section.shape.width) as u64, &page);
            }
        });
        self.read_page(section, index).unwrap_or_else(|| self.pages.abandon())
    }

    pub(super) fn read_page(&self, section: &Section, index: usize) -> Option<Vec<u8>> {
        let shape = section.shape;
        let first = index * shape.per_page;
        let count = shape.per_page.min(section.count - first);
        let mut page = vec![0; count * shape.width];
        let is_read = self.pages.read(section.at + (first * shape.width) as u64, &mut page);
        (is_read && crc32c::crc32c(&page) == section.checksums[index]).then_some(page)
    }

    /// Whether every page can be read and is what was written.
    pub fn is_whole(&self) -> bool {
        self.sections().all(|section| {
            (0..section.separators.len()).all(|index| self.read_page(section, index).is_some())
        })
    }

    /// Shows the hash of every row, in ascending order, and where its record was appended.
    pub fn records(&self, see: &mut dyn FnMut(&Digest, Position)) {
        // All of them, for hashes are in another order: eight bytes for each row of one run.
        let mut positions = Vec::with_capacity(self.len());
        while positions.len() < self.len() {
            let next = self.first + positions.len() as Row;
            positions.extend(self.position_page(next).since(next));
        }
        self.hashes_from(0, &mut |row, hash| {
            see(hash, positions[(row - self.first) as usize]);
            true
        });
    }
}

/// The least key of an entry of a name, and one above them all.
fn keys(name: Name) -> [u64; 2] {
    // A row's index in a run has 24 bits.
    [name.entry(0), name.entry(Row::MAX)]
}
