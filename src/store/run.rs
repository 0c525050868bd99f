//! A sorted run: the index of some hundred thousand rows in a file, a summary of it in memory
//! (`docs/journal-format.md`, section "The index").
//!
//! In: a [`Spill`], written out once; then the file's pages, read by place. Out: rows by hash, by
//! subject and by predicate, and their places. The summary has the first key and the checksum of
//! every page, and a filter per index, so that a look reads one page of one run for the most part.
//!
//! Never: opens a file, changes what is written, takes a page for what its checksum denies.

use std::fmt;
use std::sync::Arc;

use super::filter::Filter;
use super::memtable::Memtable;
use super::{NAMED_MAX, Name, Row, State};
use crate::base::Digest;
use crate::base::stream::{Sink, Source};
use crate::journal::Position;
use crate::journal::record::ALIGNMENT;
use crate::sketch::short_id;

const MAGIC: [u8; 8] = *b"STEMERUN";
const VERSION: u32 = 1;
/// Magic, version, first row, rows, entries by subject and by predicate.
const HEAD_BYTES: u64 = 28;
/// Where the summary begins, and the digest of head and summary.
const TRAILER_BYTES: u64 = 8 + 32;

/// A hash and the row's place in the run (3 bytes).
const HASHES: Shape = Shape { width: 35, per_page: 128, key: hash_key };
/// A position in units of 8 bytes (5 bytes), by place.
const PLACES: Shape = Shape { width: 5, per_page: 512, key: |_| 0 };
/// A name's fingerprint and the row's place in the run (3 bytes).
const NAMES: Shape = Shape { width: 7, per_page: 512, key: name_key };

/// Reads the file of a run; more than one thread may.
pub trait Pages: fmt::Debug + Send + Sync {
    /// Fills the buffer from an offset on; false: it cannot be read.
    fn read(&self, at: u64, into: &mut [u8]) -> bool;
    /// A page is not what was written: the index is of no use any more, the log is. Does not
    /// return.
    fn give_up(&self) -> !;
}

/// Rows that are to become a run.
#[derive(Debug)]
pub struct Spill {
    pub(super) memtable: Arc<Memtable>,
    /// A run that is to be written again with them.
    pub(super) onto: Option<Arc<Run>>,
    /// The store with them, if it is sound.
    pub state: Option<State>,
}

/// How entries of one kind are laid out: sorted by key, in pages.
#[derive(Clone, Copy)]
struct Shape {
    width: usize,
    per_page: usize,
    key: fn(&[u8]) -> u64,
}

impl fmt::Debug for Shape {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} entries of {} bytes", self.per_page, self.width)
    }
}

/// What is known of the entries of one kind.
#[derive(Debug)]
struct Section {
    shape: Shape,
    at: u64,
    count: usize,
    /// Each page's first key.
    fences: Vec<u64>,
    /// CRC-32C of each page.
    checksums: Vec<u32>,
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

impl Spill {
    fn first(&self) -> Row {
        self.onto.as_ref().map_or(self.memtable.first(), |run| run.first)
    }

    fn len(&self) -> usize {
        self.memtable.len() + self.onto.as_ref().map_or(0, |run| run.len())
    }

    /// Writes the run; its name comes out.
    pub fn write(&self, sink: &mut Sink) -> Digest {
        let names = [self.names(true), self.names(false)];
        let mut head = Vec::with_capacity(HEAD_BYTES as usize);
        head.extend_from_slice(&MAGIC);
        let counts =
            [self.first(), self.len() as Row, names[0].len() as Row, names[1].len() as Row];
        head.extend_from_slice(&VERSION.to_le_bytes());
        counts.iter().for_each(|count| head.extend_from_slice(&count.to_le_bytes()));
        sink.put(&head);
        let mut hasher = blake3::Hasher::new();
        hasher.update(&head);
        let mut end = HEAD_BYTES;
        let mut sections = Vec::new();
        let mut filters = Vec::new();
        {
            let hashes = self.hashes();
            let mut filter = Filter::new(hashes.len());
            hashes.iter().for_each(|(hash, _)| filter.insert(short_id(hash)));
            filters.push(filter);
            let entries = hashes.iter().map(|(hash, row)| {
                let mut entry = [0; HASHES.width];
                entry[..32].copy_from_slice(&hash.0);
                put_place(&mut entry[32..], row - self.first());
                entry
            });
            sections.push(Section::write(HASHES, &mut end, entries, sink));
        }
        let places = self.places().map(|at| {
            let units = (at.0 / ALIGNMENT as u64).to_le_bytes();
            *units.first_chunk::<{ PLACES.width }>().expect("five of eight bytes")
        });
        sections.push(Section::write(PLACES, &mut end, places, sink));
        for names in names {
            filters.push(filter_of(&names));
            let entries = names.iter().map(|(name, row)| {
                let mut entry = [0; NAMES.width];
                entry[..4].copy_from_slice(&name.0.to_be_bytes());
                put_place(&mut entry[4..], row - self.first());
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
        let name = Digest(hasher.finalize().into());
        sink.put_u64(end);
        sink.put(&name.0);
        name
    }

    fn hashes(&self) -> Vec<(Digest, Row)> {
        let mut hashes = Vec::with_capacity(self.len());
        if let Some(run) = &self.onto {
            run.hashes_from(0, &mut |row, hash| {
                hashes.push((*hash, row));
                true
            });
        }
        hashes.extend(self.memtable.digests().map(|(hash, row)| (*hash, row)));
        hashes.sort_unstable();
        hashes
    }

    fn places(&self) -> impl Iterator<Item = Position> {
        let old = self.onto.iter().flat_map(|run| run.rows().map(|row| run.position(row)));
        let first = self.memtable.first();
        let new = first..first + self.memtable.len() as Row;
        old.chain(new.map(|row| self.memtable.position(row)))
    }

    fn names(&self, is_subject: bool) -> Vec<(Name, Row)> {
        let mut names: Vec<(Name, Row)> = self.memtable.names(is_subject).collect();
        if let Some(run) = &self.onto {
            run.entries(run.section(is_subject), 0, |entry| {
                names.push((name_of(entry), run.first + place_of(&entry[4..])));
                true
            });
            names.sort_unstable();
        }
        names
    }
}

fn filter_of(names: &[(Name, Row)]) -> Filter {
    let distinct = || names.chunk_by(|one, other| one.0 == other.0).map(|rows| rows[0].0);
    let mut filter = Filter::new(distinct().count());
    distinct().for_each(|name| filter.insert(name.mixed()));
    filter
}

impl Section {
    fn new(shape: Shape, at: u64, count: usize) -> Section {
        let pages = count.div_ceil(shape.per_page);
        let (fences, checksums) = (Vec::with_capacity(pages), Vec::with_capacity(pages));
        Section { shape, at, count, fences, checksums }
    }

    fn end(&self) -> u64 {
        self.at + (self.count * self.shape.width) as u64
    }

    fn write<const N: usize>(
        shape: Shape,
        end: &mut u64,
        entries: impl Iterator<Item = [u8; N]>,
        sink: &mut Sink,
    ) -> Section {
        let mut section = Section::new(shape, *end, 0);
        let mut page = Vec::with_capacity(shape.per_page * shape.width);
        let mut entries = entries.peekable();
        while let Some(entry) = entries.next() {
            if page.is_empty() {
                section.fences.push((shape.key)(&entry));
            }
            page.extend_from_slice(&entry);
            section.count += 1;
            if section.count.is_multiple_of(shape.per_page) || entries.peek().is_none() {
                section.checksums.push(crc32c::crc32c(&page));
                sink.put(&page);
                page.clear();
            }
        }
        *end = section.end();
        section
    }

    fn save(&self, sink: &mut Sink) {
        self.fences.iter().for_each(|fence| sink.put_u64(*fence));
        self.checksums.iter().for_each(|checksum| sink.put_u32(*checksum));
    }

    fn load(shape: Shape, at: u64, count: usize, source: &mut Source) -> Option<Section> {
        let mut section = Section::new(shape, at, count);
        let pages = count.div_ceil(shape.per_page);
        for _ in 0..pages {
            section.fences.push(source.u64()?);
        }
        for _ in 0..pages {
            section.checksums.push(source.u32()?);
        }
        Some(section)
    }

    fn bytes(&self) -> usize {
        self.fences.capacity() * 8 + self.checksums.capacity() * 4
    }
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

    fn rows(&self) -> std::ops::Range<Row> {
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
        let place = (row - self.first) as usize;
        let page = self.page(&self.places, place / PLACES.per_page);
        let start = place % PLACES.per_page * PLACES.width;
        let mut units = [0; 8];
        units[..PLACES.width].copy_from_slice(&page[start..start + PLACES.width]);
        Position(u64::from_le_bytes(units) * ALIGNMENT as u64)
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

    fn section(&self, is_subject: bool) -> &Section {
        &self.names[usize::from(!is_subject)]
    }

    /// Shows hashes from the first one on whose first 8 bytes are no less, until told to stop.
    fn hashes_from(&self, id: u64, see: &mut dyn FnMut(Row, &Digest) -> bool) {
        self.entries(&self.hashes, id, |entry| {
            let hash = Digest(*entry.first_chunk().expect("a hash is 32 bytes"));
            see(self.first + place_of(&entry[32..]), &hash)
        });
    }

    /// Shows entries from the first one on whose key is no less, until told to stop.
    fn entries(&self, section: &Section, key: u64, mut see: impl FnMut(&[u8]) -> bool) {
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

fn hash_key(entry: &[u8]) -> u64 {
    u64::from_be_bytes(*entry.first_chunk().expect("a hash is 32 bytes"))
}

fn name_key(entry: &[u8]) -> u64 {
    u64::from(name_of(entry).0) << 32 | u64::from(place_of(&entry[4..]))
}

fn name_of(entry: &[u8]) -> Name {
    Name(u32::from_be_bytes(*entry.first_chunk().expect("a fingerprint is 4 bytes")))
}

fn place_of(bytes: &[u8]) -> Row {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], 0])
}

fn put_place(into: &mut [u8], place: Row) {
    debug_assert!(place < 1 << 24);
    into.copy_from_slice(&place.to_le_bytes()[..3]);
}
