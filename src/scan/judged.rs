//! A claim on its way to a lens: who still stands behind it, and what others say of it.
//!
//! In: a claim that the lens judges. Out: its authors who speak, and its [`Support`]. Each step
//! reads other claims, of any subject, in slices.
//!
//! Never: reads more than its slice, looks further than the rows of the scan's first pass.

use super::context::JudgeContext;
use super::statements::StatementWalk;
use super::succession::Succession;
use crate::base::Digest;
use crate::lens::Support;
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
    stage: JudgeStage,
}

/// What is read next.
#[derive(Debug)]
enum JudgeStage {
    Successors(Succession),
    Votes(StatementWalk),
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
        let stage = JudgeStage::Successors(Succession::new(&digest, context));
        JudgedClaim { digest, assertion, speaking, support: Support::default(), asks, stage }
    }

    /// Reads until all is known (true) or the work is done.
    pub(super) fn step(&mut self, context: &JudgeContext<'_>, work: &mut usize) -> bool {
        while *work > 0 && !matches!(self.stage, JudgeStage::Over) {
            match &mut self.stage {
                JudgeStage::Successors(successors) => {
                    let claim = (&self.digest, &self.assertion);
                    if !successors.step(claim, &mut self.speaking, context, work) {
                        return false;
                    }
                    self.stage = self.after_successors();
                }
                JudgeStage::Votes(walk) => {
                    if !walk.step(context, work) {
                        return false;
                    }
                    self.support.votes = walk.votes();
                    self.stage = JudgeStage::Over;
                }
                JudgeStage::Over => {}
            }
        }
        matches!(self.stage, JudgeStage::Over)
    }

    fn after_successors(&self) -> JudgeStage {
        match self.asks {
            Some(Statement::Vote) if !self.speaking.is_empty() => {
                JudgeStage::Votes(StatementWalk::new(Statement::Vote, &self.digest.0))
            }
            _ => JudgeStage::Over,
        }
    }
}
