//! Which rows a query has to look at.
//!
//! In: a subject, a predicate, both or none. Out: rows that may have them, newest first, a few at a
//! time; in each table or run by the rarer of the two names. What was looked up stays true while
//! tables become runs and runs become one: only row numbers are kept between two steps.
//!
//! Never: reads a body.

use super::holder::Holder;
use super::{Name, Row, Store, fingerprint};
use crate::journal::Position;

/// A walk over candidates, newest first. It may name rows that have another subject or predicate
/// (fingerprints are short): whoever reads the bodies decides. Rows added since are not seen.
#[derive(Clone, Debug)]
pub struct Candidates {
    subject: Option<Name>,
    predicate: Option<Name>,
    /// All rows from this one on were looked up.
    before: Row,
    /// Those that were found and not told yet, in ascending order.
    found: Vec<Row>,
    /// Whether subjects are looked up in the table or run that begins with this row.
    by_subject: Option<(Row, bool)>,
}

impl Store {
    /// Rows that may have this subject and this predicate, before a row.
    pub fn select(
        &self,
        subject: Option<&str>,
        predicate: Option<&str>,
        before: Option<Row>,
    ) -> Candidates {
        let named = |name: &str| fingerprint(self.seed, name);
        Candidates {
            subject: subject.map(named),
            predicate: predicate.map(named),
            before: before.unwrap_or(Row::MAX).min(self.end_row()),
            found: Vec::new(),
            by_subject: None,
        }
    }

    /// The next candidate of a walk.
    pub fn next_candidate(&self, candidates: &mut Candidates) -> Option<(Row, Position)> {
        loop {
            let row = candidates.next(self)?;
            if let Some(at) = self.position(row) {
                return Some((row, at));
            }
        }
    }
}

impl Candidates {
    fn next(&mut self, store: &Store) -> Option<Row> {
        while self.found.is_empty() {
            let newest = self.before.checked_sub(1)?;
            let holder = store.holder(newest);
            let Some((name, is_subject)) = self.rarer(holder) else {
                self.before = newest;
                return Some(newest);
            };
            self.found = holder.named(name, is_subject, self.before);
            self.before = self.found.first().copied().unwrap_or(holder.first());
        }
        self.found.pop()
    }

    /// The name to look up, and whether it is the subject; `None`: there is none, all rows count.
    fn rarer(&mut self, holder: Holder<'_>) -> Option<(Name, bool)> {
        let (subject, predicate) = match (self.subject, self.predicate) {
            (Some(subject), Some(predicate)) => (subject, predicate),
            (subject, predicate) => {
                let subject = subject.map(|name| (name, true));
                return subject.or(predicate.map(|name| (name, false)));
            }
        };
        let first = holder.first();
        let by_subject = match self.by_subject.filter(|(known, _)| *known == first) {
            Some((_, by_subject)) => by_subject,
            None => holder.count(subject, true) <= holder.count(predicate, false),
        };
        self.by_subject = Some((first, by_subject));
        Some(if by_subject { (subject, true) } else { (predicate, false) })
    }
}
