//! Which rows a query has to look at.
//!
//! In: keys, all of which a row must have; without one all rows are candidates. Out: rows that may
//! have them, newest first, a few at a time; in each table or run by the rarest of the keys. What
//! was looked up stays true while tables become runs and runs become one: only row numbers and
//! where they were appended are kept between two steps.
//!
//! Never: reads a body.

use super::Store;
use super::holder::Holder;
use super::row::{Column, NAMED_MAX, Name, Row, RowKey};
use super::section::PositionPage;
use crate::journal::Position;

/// A walk over candidates, newest first. It may name rows that have another subject, say
/// (fingerprints are short): the query that reads the bodies decides. Rows added since are not in
/// it.
#[derive(Clone, Debug)]
pub struct Candidates {
    /// What rows are looked for by.
    names: Vec<(Column, Name)>,
    /// All rows from this one on were looked up.
    before: Row,
    /// Rows that were found and not returned yet, ascending: the last is the next.
    found: Vec<Row>,
    /// By which name the table or run that begins with this row is looked through. Kept, for the
    /// choice reads pages.
    chosen: Option<(Row, Wanted)>,
    /// The page with the last position: rows of one name are near one another for the most part.
    page: Option<PositionPage>,
}

/// What is looked for in a table or a run.
#[derive(Clone, Copy, Debug)]
enum Wanted {
    All,
    /// Rows of a name; those that have not the other names as well may be left out, which saves
    /// their bodies' reads.
    Named(Column, Name),
    Nothing,
}

impl Store {
    /// Rows that may have all of these keys, before a row.
    pub fn select<'a>(
        &self,
        keys: impl IntoIterator<Item = RowKey<'a>>,
        before: Option<Row>,
    ) -> Candidates {
        Candidates {
            names: keys.into_iter().map(|key| key.name(self.seed)).collect(),
            // A cursor comes from a client and may name a row that was never here.
            before: before.map_or(self.end_row(), |before| before.min(self.end_row())),
            found: Vec::new(),
            chosen: None,
            page: None,
        }
    }

    /// The next candidate of a walk.
    pub fn next_candidate(&self, candidates: &mut Candidates) -> Option<(Row, Position)> {
        loop {
            let row = candidates.next(self)?;
            if !self.lost.contains_key(&row) {
                let moved = self.moved.get(&row).copied();
                return Some((row, moved.unwrap_or_else(|| candidates.position(row, self))));
            }
        }
    }
}

impl Candidates {
    fn next(&mut self, store: &Store) -> Option<Row> {
        while self.found.is_empty() {
            let newest = self.before.checked_sub(1)?;
            let holder = store.holder(newest);
            match self.choose(holder) {
                Wanted::All => {
                    self.before = newest;
                    return Some(newest);
                }
                Wanted::Nothing => self.before = holder.first(),
                Wanted::Named(column, name) => {
                    self.found = holder.named(name, column, self.before);
                    // Fewer than asked for: there are no more of them here.
                    let is_over = self.found.len() < NAMED_MAX;
                    self.before = if is_over { holder.first() } else { self.found[0] };
                    // Once in each table or run, so that a step stays short though all may go.
                    let others = self.names.iter().filter(|other| **other != (column, name));
                    for (column, name) in others.filter(|_| is_over) {
                        holder.keep_named(&mut self.found, *name, *column);
                    }
                }
            }
        }
        self.found.pop()
    }

    fn choose(&mut self, holder: Holder<'_>) -> Wanted {
        let first = holder.first();
        if let Some((_, wanted)) = self.chosen.filter(|(known, _)| *known == first) {
            return wanted;
        }
        let wanted = self.rarest(holder);
        self.chosen = Some((first, wanted));
        wanted
    }

    /// Of several names the rarest: a predicate may stand in every row.
    fn rarest(&self, holder: Holder<'_>) -> Wanted {
        let Some((first, others)) = self.names.split_first() else { return Wanted::All };
        if !self.names.iter().all(|(column, name)| holder.may_have(*name, *column)) {
            return Wanted::Nothing;
        }
        let rarest = others.iter().try_fold(*first, |rarest, other| holder.rarer(rarest, *other));
        rarest.map_or(Wanted::Nothing, |(column, name)| Wanted::Named(column, name))
    }

    /// Where a row was appended.
    fn position(&mut self, row: Row, store: &Store) -> Position {
        if let Some(at) = self.page.as_ref().and_then(|page| page.of(row)) {
            return at;
        }
        let holder = store.holder(row);
        self.page = holder.position_page(row);
        let read = self.page.as_ref().and_then(|page| page.of(row));
        // Rows in memory have no page.
        read.unwrap_or_else(|| holder.position(row))
    }
}
