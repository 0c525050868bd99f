//! Entries of one kind in the file of a run: sorted by key, in pages.
//!
//! In: entries. Out: pages of them, and what is kept of each in memory: its first key and its
//! checksum. Never: reads a file.

use std::fmt;

use super::row::{Column, Name, Row};
use crate::base::stream::{Sink, Source};
use crate::journal::Position;
use crate::journal::record::ALIGNMENT;

/// A hash and the row's index in the run (3 bytes).
pub(super) const HASHES: Shape = Shape { width: 35, per_page: 128, key: hash_key };
/// A position in units of 8 bytes (5 bytes), by index.
pub(super) const POSITIONS: Shape = Shape { width: 5, per_page: 512, key: |_| 0 };
/// A name's fingerprint and the row's index in the run (3 bytes).
pub(super) const NAMES: Shape = Shape { width: 7, per_page: 512, key: name_key };

/// How entries of one kind are laid out: sorted by key, in pages.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) width: usize,
    pub(super) per_page: usize,
    pub(super) key: fn(&[u8]) -> u64,
}

impl Shape {
    /// How many entries of a page have a lesser key.
    pub(super) fn less(&self, page: &[u8], key: u64) -> usize {
        let (mut low, mut high) = (0, page.len() / self.width);
        while low < high {
            let middle = low.midpoint(high);
            if (self.key)(&page[middle * self.width..]) < key {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} entries of {} bytes", self.per_page, self.width)
    }
}

/// Which of a run's sections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum SectionKind {
    Hashes,
    Positions,
    Subjects,
    Predicates,
    Attributes,
}

impl SectionKind {
    /// That of a column's names.
    pub(super) fn of(column: Column) -> SectionKind {
        match column {
            Column::Subject => SectionKind::Subjects,
            Column::Predicate => SectionKind::Predicates,
            Column::Attribute => SectionKind::Attributes,
        }
    }
}

/// What is known of the entries of one kind.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) shape: Shape,
    /// Where its pages begin in the file.
    pub(super) at: u64,
    pub(super) count: usize,
    /// Each page's first key: a search reads one page.
    pub(super) separators: Vec<u64>,
    /// CRC-32C of each page. Here and not in the pages, so that an old page in the place of a new
    /// one does not pass.
    pub(super) checksums: Vec<u32>,
}

impl Section {
    fn new(shape: Shape, at: u64, count: usize) -> Section {
        let pages = count.div_ceil(shape.per_page);
        let (separators, checksums) = (Vec::with_capacity(pages), Vec::with_capacity(pages));
        Section { shape, at, count, separators, checksums }
    }

    pub(super) fn end(&self) -> u64 {
        self.at + (self.count * self.shape.width) as u64
    }

    pub(super) fn write<const N: usize>(
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
                section.separators.push((shape.key)(&entry));
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
        debug_assert_eq!(section.separators.len(), section.checksums.len());
        debug_assert_eq!(section.checksums.len(), section.count.div_ceil(shape.per_page));
        section
    }

    /// The number after that of the last page that begins with a lesser key; 0: there is none.
    pub(super) fn page_before(&self, key: u64) -> usize {
        self.separators.partition_point(|separator| *separator < key)
    }

    pub(super) fn save(&self, sink: &mut Sink) {
        self.separators.iter().for_each(|separator| sink.put_u64(*separator));
        self.checksums.iter().for_each(|checksum| sink.put_u32(*checksum));
    }

    pub(super) fn load(
        shape: Shape,
        at: u64,
        count: usize,
        source: &mut Source,
    ) -> Option<Section> {
        let mut section = Section::new(shape, at, count);
        let pages = count.div_ceil(shape.per_page);
        for _ in 0..pages {
            section.separators.push(source.u64()?);
        }
        for _ in 0..pages {
            section.checksums.push(source.u32()?);
        }
        Some(section)
    }

    pub(super) fn bytes(&self) -> usize {
        self.separators.capacity() * 8 + self.checksums.capacity() * 4
    }
}

/// A decoded page of positions, kept by a query while it goes on.
#[derive(Clone, Debug)]
pub(super) struct PositionPage {
    /// The row of its first entry.
    pub(super) first: Row,
    pub(super) page: Vec<u8>,
}

impl PositionPage {
    /// Where a row was appended, if it is here.
    pub(super) fn of(&self, row: Row) -> Option<Position> {
        let at = row.checked_sub(self.first)? as usize * POSITIONS.width;
        self.page.get(at..at + POSITIONS.width).map(position_of)
    }

    /// The same of a row that is here, and of those behind it.
    pub(super) fn since(&self, row: Row) -> Vec<Position> {
        let at = (row - self.first) as usize * POSITIONS.width;
        self.page[at..].chunks_exact(POSITIONS.width).map(position_of).collect()
    }
}

fn position_of(bytes: &[u8]) -> Position {
    // Five bytes of units of 8 reach 8 TiB of log.
    let mut units = [0; 8];
    units[..POSITIONS.width].copy_from_slice(bytes);
    Position(u64::from_le_bytes(units) * ALIGNMENT as u64)
}

pub(super) fn put_position(into: &mut [u8], at: Position) {
    let units = (at.0 / ALIGNMENT as u64).to_le_bytes();
    into.copy_from_slice(&units[..POSITIONS.width]);
}

pub(super) fn hash_key(entry: &[u8]) -> u64 {
    // Big-endian, so that keys have the order of hashes.
    u64::from_be_bytes(*entry.first_chunk().expect("a hash is 32 bytes"))
}

pub(super) fn name_key(entry: &[u8]) -> u64 {
    name_of(entry).entry(index_of(&entry[4..]))
}

pub(super) fn name_of(entry: &[u8]) -> Name {
    Name(u32::from_be_bytes(*entry.first_chunk().expect("a fingerprint is 4 bytes")))
}

pub(super) fn index_of(bytes: &[u8]) -> Row {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], 0])
}

pub(super) fn put_index(into: &mut [u8], index: Row) {
    debug_assert!(index < 1 << 24);
    into.copy_from_slice(&index.to_le_bytes()[..3]);
}
