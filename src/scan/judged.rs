//! A claim on its way to a lens: who still stands behind it, and what others say of it.
//!
//! In: a claim that the lens judges. Out: its authors who speak, and its [`Support`]. Each step
//! reads other claims, of any subject, in slices.
//!
//! Never: reads more than its slice, looks further than the rows of the scan's first pass.

use super::context::JudgeContext;
use super::statements::{KnownStatements, Stated, StatementWalk};
use super::succession::Succession;
use crate::base::Digest;
use crate::lens::{Support, TRUST_UNSAID};
use crate::model::{Assertion, Author, Statement};

/// A claim while what there is about it is read.
#[derive(Debug)]
pub(super) struct JudgedClaim {
    pub(super) digest: Digest,
    pub(super) assertion: Assertion,
    /// Authors who stand behind it, as far as was looked.
    pub(super) speaking: Vec<Author>,
    pub(super) support: Support,
    /// What the lens wants to know beside that.
    asks: Option<Statement>,
    /// Statements that are not looked for yet, and what they are about.
    left: Vec<(Statement, [u8; 32])>,
    stage: JudgeStage,
}

/// What is read next.
#[derive(Debug)]
enum JudgeStage {
    Successors(Succession),
    Statements(StatementWalk),
    Over,
}

impl JudgedClaim {
    /// Of a claim, for a lens that asks for such statements about it.
    pub(super) fn new(
        digest: Digest,
        assertion: Assertion,
        asks: Option<Statement>,
        context: &JudgeContext<'_>,
    ) -> JudgedClaim {
        let speaking = assertion.authors();
        let (support, left) = (Support::default(), Vec::new());
        let stage = JudgeStage::Successors(Succession::new(&digest, context));
        JudgedClaim { digest, assertion, speaking, support, asks, left, stage }
    }

    /// Reads until all is known (true) or the work is done.
    pub(super) fn step(
        &mut self,
        context: &JudgeContext<'_>,
        known: &mut KnownStatements,
        work: &mut usize,
    ) -> bool {
        while *work > 0 && !matches!(self.stage, JudgeStage::Over) {
            match &mut self.stage {
                JudgeStage::Successors(successors) => {
                    let claim = (&self.digest, &self.assertion);
                    if !successors.step(claim, &mut self.speaking, context, work) {
                        return false;
                    }
                    self.list_statements(context);
                }
                JudgeStage::Statements(walk) => {
                    if !walk.step(context, work) {
                        return false;
                    }
                    let (statement, about, stated) = walk.found();
                    known.note(statement, about, &stated);
                    self.take(statement, &stated);
                }
                JudgeStage::Over => {}
            }
            self.stage = self.next_stage(context, known);
        }
        matches!(self.stage, JudgeStage::Over)
    }

    /// In the reverse order in which they are looked for.
    fn list_statements(&mut self, context: &JudgeContext<'_>) {
        match self.asks {
            Some(Statement::Vote) => self.left.push((Statement::Vote, self.digest.0)),
            Some(Statement::Trust) if !context.roots.is_empty() => {
                let agents = self.speaking.iter().filter_map(|author| match author {
                    Author::Agent(key) => Some((Statement::Trust, *key)),
                    Author::Unknown => None,
                });
                self.left.extend(agents);
                // The greatest of what follows; nothing follows for an author who is not known.
                self.support.trust = if self.left.is_empty() { TRUST_UNSAID } else { 0.0 };
            }
            _ => {}
        }
        if let Some(epoch) = self.assertion.epoch
            && context.query.current_epochs
            && !context.roots.is_empty()
        {
            self.left.push((Statement::Supersession, epoch));
        }
    }

    /// What is looked for next; what was looked for before is known.
    fn next_stage(&mut self, context: &JudgeContext<'_>, known: &KnownStatements) -> JudgeStage {
        while !self.speaking.is_empty()
            && let Some((statement, about)) = self.left.pop()
        {
            match known.get(statement, about) {
                Some(stated) => self.take(statement, &stated),
                None => {
                    return JudgeStage::Statements(StatementWalk::new(statement, about, context));
                }
            }
        }
        JudgeStage::Over
    }

    fn take(&mut self, statement: Statement, stated: &Stated) {
        match statement {
            Statement::Vote => self.support.votes = stated.sum,
            Statement::Trust => {
                let trust = stated.least.unwrap_or(TRUST_UNSAID);
                self.support.trust = self.support.trust.max(trust);
            }
            // No author speaks for a claim of an epoch that is over.
            Statement::Supersession if stated.least.is_some() => self.speaking.clear(),
            Statement::Supersession => {}
        }
    }
}
