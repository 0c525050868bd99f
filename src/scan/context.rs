//! What all claims of a scan are judged by, and how claims are read for it.
//!
//! In: a question, read access to store and bodies. Out: claims. Never: reads a body without a
//! charge.

use crate::base::{Digest, Wall, limits};
use crate::journal::{Bodies, Position};
use crate::model::{Assertion, Query, RootAgents, Sealed};
use crate::store::{Candidates, Row, Store};

/// What all claims of a scan are judged by.
#[derive(Clone, Copy)]
pub(super) struct JudgeContext<'a> {
    pub(super) query: &'a Query,
    /// Whose statements about agents count.
    pub(super) roots: &'a RootAgents,
    /// When the question came.
    pub(super) now: Wall,
    /// The row before which all are.
    pub(super) end: Row,
    pub(super) store: &'a Store,
    pub(super) bodies: &'a dyn Bodies,
}

impl JudgeContext<'_> {
    /// Reads a body, which costs a unit of work, and one more for each KiB.
    pub(super) fn read(&self, at: Position, work: &mut usize) -> Option<Sealed> {
        let sealed = self.bodies.sealed_at(at);
        let bytes = sealed.as_ref().map_or(0, |sealed| sealed.bytes().len());
        *work = work.saturating_sub(1 + bytes / limits::SCAN_UNIT_BYTES);
        sealed
    }

    /// The next claim of a walk, `Some(None)` being one that cannot be read.
    pub(super) fn next(
        &self,
        rows: &mut Candidates,
        work: &mut usize,
    ) -> Option<Option<(Digest, Assertion)>> {
        let (_, at) = self.store.next_candidate(rows)?;
        let sealed = self.read(at, work);
        Some(sealed.and_then(|sealed| Some((sealed.digest(), sealed.assertion()?))))
    }

    /// Whether a claim is there as of the time that is asked for.
    pub(super) fn is_there(&self, claim: &Assertion) -> bool {
        self.query.as_of.is_none_or(|at| claim.timestamp <= at)
            && !self.query.moment(self.now).is_before(claim.hlc.time)
    }
}
