//! What is stated about one claim: the newest statement of each agent counts.
//!
//! In: statements about it, found by subject and predicate. Out: the sum of its votes. Of a
//! statement that is not signed the source is the agent, as it is a lens's voice. A pass holds the
//! lowest speakers behind those of the pass before, [`SPEAKERS_MAX`] of them, so that each counts
//! once, in any order of arrival; most claims take one pass.
//!
//! Never: counts a statement whose time has not come, reads more than its slice.

use std::collections::BTreeMap;

use super::context::JudgeContext;
use crate::base::digest::hex;
use crate::base::{Digest, Hlc};
use crate::lens::VoteSum;
use crate::model::{Assertion, Author, Said, Statement};
use crate::store::Candidates;

/// Speakers that are held at a time, at some 150 bytes each: a MiB and a quarter. Statements are
/// read once more for each so many of them.
const SPEAKERS_MAX: usize = 8 << 10;
/// Speakers that are added up for one unit of a scan's work, as voices are.
const SPEAKERS_PER_WORK: usize = 8;

/// Whether it is an agent, and its key, or else the hash of the source.
type Speaker = (bool, [u8; 32]);

/// The statements about one thing.
#[derive(Debug)]
pub(super) struct StatementWalk {
    statement: Statement,
    /// The subject that they have.
    about: String,
    /// Those that this pass has not read yet; `None` until it begins.
    rows: Option<Candidates>,
    /// The newest of each speaker.
    newest: BTreeMap<Speaker, ((Hlc, Digest), Said)>,
    /// Speakers up to this one were counted in earlier passes.
    counted_to: Option<Speaker>,
    /// Whether greater speakers were left out of this pass.
    is_cut: bool,
    votes: VoteSum,
}

impl StatementWalk {
    pub(super) fn new(statement: Statement, about: &[u8; 32]) -> StatementWalk {
        StatementWalk {
            statement,
            about: hex(about),
            rows: None,
            newest: BTreeMap::new(),
            counted_to: None,
            is_cut: false,
            votes: VoteSum::default(),
        }
    }

    /// The numbers that were stated, added up, once it is over.
    pub(super) fn votes(&self) -> VoteSum {
        self.votes
    }

    /// Reads until the last pass is over (true) or the work is done.
    pub(super) fn step(&mut self, context: &JudgeContext<'_>, work: &mut usize) -> bool {
        while *work > 0 {
            let rows = self.rows.get_or_insert_with(|| {
                let predicate = Some(self.statement.predicate());
                context.store.select(Some(&self.about), predicate, Some(context.end))
            });
            match context.next(rows, work) {
                Some(Some((digest, claim))) => self.take(&digest, &claim, context),
                Some(None) => {}
                None if self.end_pass(work) => return true,
                None => {}
            }
        }
        false
    }

    fn take(&mut self, digest: &Digest, claim: &Assertion, context: &JudgeContext<'_>) {
        // Rows are found by fingerprints.
        let is_meant = claim.subject == self.about
            && claim.predicate == self.statement.predicate()
            && context.is_there(claim);
        let moment = context.query.moment(context.now);
        let Some(said) = self.statement.said(claim, moment).filter(|_| is_meant) else { return };
        for author in claim.authors() {
            let speaker = match author {
                Author::Agent(key) => (true, key),
                Author::Unknown => (false, claim.source_hash.0),
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
                self.votes.add(number);
            }
        }
        self.rows = None;
        !std::mem::take(&mut self.is_cut)
    }
}
