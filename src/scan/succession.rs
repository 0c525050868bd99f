//! Which authors of a claim still stand behind it: those who gave it no successor.
//!
//! In: a claim, the claims that name it as their parent. Out: the authors who speak of it. A
//! successor is a claim of the same subject and predicate whose time has come, by the same author:
//! the same agent signed both, or neither is signed. Whether a lens judges the successor, and
//! whether that has one itself, changes nothing: who replaces a claim by a rejected one takes it
//! back. A parent that is not here is passed over, so that a chain with a gap counts twice until
//! the missing claim comes. Ids are hashes: a chain has no cycle.
//!
//! Never: looks further than the rows of the scan's first pass, reads more than its slice.

use super::context::JudgeContext;
use crate::base::Digest;
use crate::model::{Assertion, Author};
use crate::store::{Candidates, RowKey};

/// The children of a claim that are not looked at yet.
#[derive(Debug)]
pub(super) struct Succession(Candidates);

impl Succession {
    /// Of a claim; with its history no successor counts.
    pub(super) fn new(digest: &Digest, context: &JudgeContext<'_>) -> Succession {
        let end = if context.query.history { 0 } else { context.end };
        Succession(context.store.select([RowKey::Parent(digest)], Some(end)))
    }

    /// Looks at children until no author speaks of the claim, or there are no more (true), or the
    /// work is done.
    pub(super) fn step(
        &mut self,
        (digest, claim): (&Digest, &Assertion),
        speaking: &mut Vec<Author>,
        context: &JudgeContext<'_>,
        work: &mut usize,
    ) -> bool {
        while *work > 0 && !speaking.is_empty() {
            let Some(child) = context.next(&mut self.0, work) else { return true };
            let Some((_, child)) = child else { continue };
            let is_successor = child.parent_hash == Some(*digest)
                && (&child.subject, &child.predicate) == (&claim.subject, &claim.predicate)
                && context.is_there(&child);
            if is_successor {
                let authors = child.authors();
                speaking.retain(|author| !authors.contains(author));
            }
        }
        speaking.is_empty()
    }
}
