//! Pages of a run that cannot be read any more, made again from the log.
//!
//! In: a run, the log that it is the index of. Out: the pages as they were written, byte for byte:
//! the checksums in the summary say so. One section at a time; the pages of the others have to be
//! whole.
//!
//! ```text
//! hashes       <- positions, and the heads of the records there
//! names        <- positions, and the bodies of the records there
//! positions    <- hashes, and a walk over the log that meets them
//! ```
//!
//! Never: returns a page that its checksum denies, reads more of the log than the run stands for
//! where the pages beside the bad one say where that begins.

use std::collections::BTreeMap;

use super::row::{Column, Row, RowNames};
use super::run::Run;
use super::section::{HASHES, NAMES, Section, SectionKind, index_of, put_index, put_position};
use crate::base::Digest;
use crate::journal::record::frame_bytes;
use crate::journal::{Bodies, Position};

/// Entries by the number of their page.
type Pages = BTreeMap<usize, Vec<Vec<u8>>>;

impl Run {
    /// The bad pages of a section, each with its number; `None` if one cannot be made again.
    pub(super) fn rebuild(
        &self,
        kind: SectionKind,
        bodies: &dyn Bodies,
    ) -> Option<Vec<(usize, Vec<u8>)>> {
        let section = self.section_of(kind);
        let bad =
            (0..section.separators.len()).filter(|index| self.read_page(section, *index).is_none());
        // One walk over the log serves all bad pages of the section.
        let mut pages = Pages::new();
        pages.extend(bad.map(|index| (index, Vec::new())));
        match kind {
            SectionKind::Hashes => self.collect_hashes(&mut pages, bodies)?,
            SectionKind::Positions => self.collect_positions(&mut pages, bodies)?,
            SectionKind::Subjects => self.collect_names(&mut pages, Column::Subject, bodies)?,
            SectionKind::Predicates => self.collect_names(&mut pages, Column::Predicate, bodies)?,
            SectionKind::Attributes => self.collect_names(&mut pages, Column::Attribute, bodies)?,
        }
        let whole = pages.into_iter().map(|(index, mut entries)| {
            if kind != SectionKind::Positions {
                // The writer's order, or the checksum would deny a page with all of its entries.
                let key = section.shape.key;
                // Hashes with one key are in their own order.
                entries.sort_unstable_by(|one, other| {
                    key(one).cmp(&key(other)).then_with(|| one.cmp(other))
                });
            }
            let page = entries.concat();
            (crc32c::crc32c(&page) == section.checksums[index]).then_some((index, page))
        });
        whole.collect()
    }

    /// Hashes stand in the heads of the records, whose positions another section has.
    fn collect_hashes(&self, pages: &mut Pages, bodies: &dyn Bodies) -> Option<()> {
        self.each_position(&mut |row, at| {
            // A head that cannot be read may belong to another page.
            let Some(digest) = bodies.digest_at(at) else { return };
            let mut entry = vec![0; HASHES.width];
            entry[..32].copy_from_slice(&digest.0);
            put_index(&mut entry[32..], row - self.first());
            add(pages, self.section_of(SectionKind::Hashes), entry);
        })
    }

    fn collect_names(&self, pages: &mut Pages, column: Column, bodies: &dyn Bodies) -> Option<()> {
        self.each_position(&mut |row, at| {
            let Some(sealed) = bodies.sealed_at(at) else { return };
            // An opaque record had no names when the run was written, either.
            for name in RowNames::of(&sealed, self.seed()).of_column(column) {
                let mut entry = vec![0; NAMES.width];
                entry[..4].copy_from_slice(&name.0.to_be_bytes());
                put_index(&mut entry[4..], row - self.first());
                add(pages, self.section(column), entry);
            }
        })
    }

    /// Shows where each row was appended; `None` if a page of that cannot be read.
    fn each_position(&self, see: &mut dyn FnMut(Row, Position)) -> Option<()> {
        let section = self.section_of(SectionKind::Positions);
        for index in 0..section.separators.len() {
            let page = self.read_positions(index)?;
            for (row, at) in (page.first..).zip(page.since(page.first)) {
                see(row, at);
            }
        }
        Some(())
    }

    /// Positions are where the log has the hashes, whose rows another section has. Walks from the
    /// segment of the nearest whole page on, and once more from the first segment if that is not
    /// early enough.
    fn collect_positions(&self, pages: &mut Pages, bodies: &dyn Bodies) -> Option<()> {
        let section = self.section_of(SectionKind::Positions);
        let page_of = |row: Row| (row - self.first()) as usize / section.shape.per_page;
        let wanted = self.rows_by_hash(&|row| pages.contains_key(&page_of(row)))?;
        let mut found: BTreeMap<Row, Position> = BTreeMap::new();
        let first_bad = *pages.keys().next()?;
        // A whole page says in which segment to begin; without one it is the first of the log.
        let before = first_bad.checked_sub(1).and_then(|index| self.read_positions(index));
        let after =
            (first_bad + 1..section.separators.len()).find_map(|it| self.read_positions(it));
        let known = before.or(after).and_then(|page| page.of(page.first));
        let mut start = known.map_or(0, Position::segment);
        loop {
            walk(Position::first_of(start), bodies, &mut |at, digest| {
                if let Some(row) = wanted.get(digest) {
                    // A record that stands twice in the log has its row by the first.
                    found.entry(*row).or_insert(at);
                }
                found.len() < wanted.len()
            });
            if found.len() == wanted.len() || start == 0 {
                break;
            }
            // Anew, for a record that stands twice has its row by the first of them.
            (start, found) = (0, BTreeMap::new());
        }
        for (row, at) in found {
            let mut entry = vec![0; section.shape.width];
            put_position(&mut entry, at);
            pages.entry(page_of(row)).or_default().push(entry);
        }
        Some(())
    }

    /// The rows that are wanted, by their hashes; `None` if a page of these cannot be read.
    fn rows_by_hash(&self, is_wanted: &dyn Fn(Row) -> bool) -> Option<BTreeMap<Digest, Row>> {
        let section = self.section_of(SectionKind::Hashes);
        let mut rows = BTreeMap::new();
        for index in 0..section.separators.len() {
            for entry in self.read_page(section, index)?.chunks_exact(HASHES.width) {
                let row = self.first() + index_of(&entry[32..]);
                if is_wanted(row) {
                    rows.insert(Digest(*entry.first_chunk()?), row);
                }
            }
        }
        Some(rows)
    }
}

/// Adds an entry if it belongs to one of the pages.
fn add(pages: &mut Pages, section: &Section, entry: Vec<u8>) {
    let key = (section.shape.key)(&entry);
    let index = section.page_before(key.saturating_add(1)).saturating_sub(1);
    if let Some(entries) = pages.get_mut(&index) {
        entries.push(entry);
    }
}

/// Shows every record from a position on, segment by segment, until `see` returns false or there is
/// no more.
fn walk(from: Position, bodies: &dyn Bodies, see: &mut dyn FnMut(Position, &Digest) -> bool) {
    let mut at = from;
    loop {
        match bodies.sealed_at(at) {
            Some(sealed) => {
                if !see(at, &sealed.digest()) {
                    return;
                }
                at = Position(at.0 + frame_bytes(sealed.bytes().len()) as u64);
            }
            None if at == Position::first_of(at.segment()) => return,
            // A segment's end, or damage: the rest of it is lost to this walk, and the count tells.
            None => at = Position::first_of(at.segment() + 1),
        }
    }
}
