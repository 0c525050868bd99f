//! Which rows a query has to look at.
//!
//! In: a subject, a predicate, both or none, or a parent. Out: rows that may have them, newest
//! first, a few at a time; in each table or run by the rarer of the two names. What was looked up
//! stays true while tables become runs and runs become one: only row numbers and where they were
//! appended are kept between two steps.
//!
//! Never: reads a body.

use super::Store;
use super::holder::Holder;
use super::row::{Column, NAMED_MAX, Name, Row, fingerprint};
use super::section::PositionPage;
use crate::base::Digest;
use crate::journal::Position;

/// A walk over candidates, newest first. It may name rows that have another subject or predicate
/// (fingerprints are short): the query that reads the bodies decides. Rows added since are not in
/// it.
#[derive(Clone, Debug)]
pub struct Candidates {
    subject: Option<Name>,
    predicate: Option<Name>,
    /// Alone, where it is given.
    parent: Option<Name>,
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
    /// Rows of a name; those that have not the other one as well may be left out, which saves their
    /// bodies' reads.
    Named {
        name: Name,
        column: Column,
        other: Option<(Column, Name)>,
    },
    Nothing,
}

impl Store {
    /// Rows that may have this subject and this predicate, before a row.
    pub fn select(
        &self,
        subject: Option<&str>,
        predicate: Option<&str>,
        before: Option<Row>,
    ) -> Candidates {
        let named = |name: &str| fingerprint(self.seed, name.as_bytes());
        Candidates {
            subject: subject.map(named),
            predicate: predicate.map(named),
            parent: None,
            // A cursor comes from a client and may name a row that was never here.
            before: before.map_or(self.end_row(), |before| before.min(self.end_row())),
            found: Vec::new(),
            chosen: None,
            page: None,
        }
    }

    /// Rows that may have this parent, before a row.
    pub fn children(&self, parent: &Digest, before: Row) -> Candidates {
        let parent = Some(fingerprint(self.seed, &parent.0));
        Candidates { parent, ..self.select(None, None, Some(before)) }
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
                Wanted::Named { name, column, other } => {
                    self.found = holder.named(name, column, self.before);
                    // Fewer than asked for: there are no more of them here.
                    let is_over = self.found.len() < NAMED_MAX;
                    self.before = if is_over { holder.first() } else { self.found[0] };
                    // Once in each table or run, so that a step stays short though all may go.
                    if let Some((column, other)) = other.filter(|_| is_over) {
                        holder.keep_named(&mut self.found, other, column);
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
        use Column::{Parent, Predicate, Subject};
        let named = |name, column, other| Wanted::Named { name, column, other };
        // Of two names the rarer one: a predicate may stand in every row.
        let wanted = match (self.subject, self.predicate) {
            _ if self.parent.is_some_and(|parent| !holder.may_have(parent, Parent)) => {
                Wanted::Nothing
            }
            (None, None) => self.parent.map_or(Wanted::All, |parent| named(parent, Parent, None)),
            (Some(subject), None) => named(subject, Subject, None),
            (None, Some(predicate)) => named(predicate, Predicate, None),
            (Some(subject), Some(predicate)) => match holder.rarer(subject, predicate) {
                Some(Predicate) => named(predicate, Predicate, Some((Subject, subject))),
                Some(_) => named(subject, Subject, Some((Predicate, predicate))),
                None => Wanted::Nothing,
            },
        };
        self.chosen = Some((first, wanted));
        wanted
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
