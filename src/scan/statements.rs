//! What is stated about a claim, an agent or an epoch: the newest statement of each speaker counts.
//!
//! In: statements about one thing, found by subject and predicate. Out: the sum and the least of
//! their numbers. The votes of all speakers count, and where a statement is not signed its source
//! speaks, as it is a lens's voice. Of all others those of root agents count alone: every client
//! can write a claim. A pass holds the lowest speakers behind those of the pass before,
//! [`SPEAKERS_MAX`] of them, so that each counts once, in any order of arrival; most claims take
//! one pass.
//!
//! Never: counts a statement whose time has not come, reads more than its slice.

use std::collections::BTreeMap;

use super::context::JudgeContext;
use crate::base::digest::hex;
use crate::base::{Digest, Hlc};
use crate::lens::VoteSum;
use crate::model::{Assertion, Author, Said, Statement};
use crate::store::{Candidates, RowKey};

/// Speakers that are held at a time, at some 150 bytes each: a MiB and a quarter. Statements are
/// read once more for each so many of them.
const SPEAKERS_MAX: usize = 8 << 10;
/// Speakers that are added up for one unit of a scan's work, as voices are.
const SPEAKERS_PER_WORK: usize = 8;
/// Agents and epochs of which a scan keeps what was stated, at some 100 bytes each: 400 KiB. What
/// is stated of others is read again for each of their claims.
const KNOWN_MAX: usize = 4 << 10;

/// Whether it is an agent, and its key, or else the hash of the source.
type Speaker = (bool, [u8; 32]);

/// What all speakers stated together.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stated {
    pub(super) sum: VoteSum,
    /// `None` where no statement counts.
    pub(super) least: Option<f64>,
}

/// What root agents stated, as far as the scan has read it: an agent signs many claims, and without
/// this a client could have all statements about it read for each of them.
#[derive(Debug, Default)]
pub(super) struct KnownStatements(BTreeMap<(Statement, [u8; 32]), Option<f64>>);

impl KnownStatements {
    pub(super) fn get(&self, statement: Statement, about: [u8; 32]) -> Option<Stated> {
        let least = *self.0.get(&(statement, about))?;
        Some(Stated { least, ..Stated::default() })
    }

    pub(super) fn note(&mut self, statement: Statement, about: [u8; 32], stated: &Stated) {
        // A claim's votes are asked for once.
        if statement != Statement::Vote && self.0.len() < KNOWN_MAX {
            self.0.insert((statement, about), stated.least);
        }
    }
}

/// The statements about one thing.
#[derive(Debug)]
pub(super) struct StatementWalk {
    statement: Statement,
    about: [u8; 32],
    /// Those that this pass has not read yet.
    rows: Candidates,
    /// The newest of each speaker.
    newest: BTreeMap<Speaker, ((Hlc, Digest), Said)>,
    /// Speakers up to this one were counted in earlier passes.
    counted_to: Option<Speaker>,
    /// Whether greater speakers were left out of this pass.
    is_cut: bool,
    stated: Stated,
}

impl StatementWalk {
    pub(super) fn new(
        statement: Statement,
        about: [u8; 32],
        context: &JudgeContext<'_>,
    ) -> StatementWalk {
        StatementWalk {
            statement,
            about,
            rows: rows(statement, &about, context),
            newest: BTreeMap::new(),
            counted_to: None,
            is_cut: false,
            stated: Stated::default(),
        }
    }

    /// What was looked for, and what was found once it is over.
    pub(super) fn found(&self) -> (Statement, [u8; 32], Stated) {
        (self.statement, self.about, self.stated)
    }

    /// Reads until the last pass is over (true) or the work is done.
    pub(super) fn step(&mut self, context: &JudgeContext<'_>, work: &mut usize) -> bool {
        while *work > 0 {
            match context.next(&mut self.rows, work) {
                Some(Some((digest, claim))) => self.take(&digest, &claim, context),
                Some(None) => {}
                None if self.end_pass(work) => return true,
                None => self.rows = rows(self.statement, &self.about, context),
            }
        }
        false
    }

    fn take(&mut self, digest: &Digest, claim: &Assertion, context: &JudgeContext<'_>) {
        // Rows are found by fingerprints.
        let is_meant = claim.predicate == self.statement.predicate()
            && claim.subject == hex(&self.about)
            && context.is_there(claim);
        let moment = context.query.moment(context.now);
        let Some(said) = self.statement.said(claim, moment).filter(|_| is_meant) else { return };
        let is_vote = self.statement == Statement::Vote;
        for author in claim.authors() {
            let speaker = match author {
                Author::Agent(key) if is_vote || context.roots.has(&key) => (true, key),
                Author::Unknown if is_vote => (false, claim.source_hash.0),
                _ => continue,
            };
            if self.counted_to.is_none_or(|last| speaker > last) {
                self.note(speaker, ((claim.hlc, *digest), said));
            }
        }
    }

    fn note(&mut self, speaker: Speaker, statement: ((Hlc, Digest), Said)) {
        let greatest = self.newest.last_key_value();
        if self.is_cut && greatest.is_some_and(|(last, _)| speaker > *last) {
            return;
        }
        let newest = self.newest.entry(speaker).or_insert(statement);
        if statement.0 > newest.0 {
            *newest = statement;
        }
        if self.newest.len() > SPEAKERS_MAX {
            self.newest.pop_last();
            self.is_cut = true;
        }
    }

    /// A pass has ended: whether it was the last.
    fn end_pass(&mut self, work: &mut usize) -> bool {
        *work = work.saturating_sub(self.newest.len() / SPEAKERS_PER_WORK);
        self.counted_to = self.newest.last_key_value().map(|(last, _)| *last);
        for (_, said) in std::mem::take(&mut self.newest).into_values() {
            if let Said::Number(number) = said {
                self.stated.sum.add(number);
                self.stated.least = Some(self.stated.least.map_or(number, |it| it.min(number)));
            }
        }
        !std::mem::take(&mut self.is_cut)
    }
}

fn rows(statement: Statement, about: &[u8; 32], context: &JudgeContext<'_>) -> Candidates {
    let subject = hex(about);
    let keys = [RowKey::Subject(&subject), RowKey::Predicate(statement.predicate())];
    context.store.select(keys, Some(context.end))
}
