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

use crate::base::{Digest, Wall, limits};
use crate::journal::Bodies;
use crate::model::{Assertion, Author, Query};
use crate::store::{Candidates, Row, RowKey, Store};

/// A claim whose successors are looked for.
#[derive(Debug)]
pub(super) struct Succession {
    pub(super) digest: Digest,
    pub(super) assertion: Assertion,
    /// Authors who gave it no successor, as far as its children were looked at.
    pub(super) speaking: Vec<Author>,
    children: Candidates,
}

impl Succession {
    /// Of a claim, among the rows before one.
    pub(super) fn new(
        digest: Digest,
        assertion: Assertion,
        store: &Store,
        before: Row,
    ) -> Succession {
        let speaking = assertion.authors();
        let children = store.select([RowKey::Parent(&digest)], Some(before));
        Succession { digest, assertion, speaking, children }
    }

    /// Looks at children until no author speaks of the claim, or there are no more (true), or the
    /// work is done. One costs what a candidate does.
    pub(super) fn step(
        &mut self,
        query: &Query,
        now: Wall,
        work: &mut usize,
        store: &Store,
        bodies: &dyn Bodies,
    ) -> bool {
        while *work > 0 && !self.speaking.is_empty() {
            let Some((_, position)) = store.next_candidate(&mut self.children) else { return true };
            let sealed = bodies.sealed_at(position);
            let bytes = sealed.as_ref().map_or(0, |sealed| sealed.bytes().len());
            *work = work.saturating_sub(1 + bytes / limits::SCAN_UNIT_BYTES);
            let child = sealed.and_then(|sealed| sealed.assertion());
            if let Some(child) = child.filter(|child| self.is_followed_by(child, query, now)) {
                let authors = child.authors();
                self.speaking.retain(|author| !authors.contains(author));
            }
        }
        self.speaking.is_empty()
    }

    /// Whether it is a child's parent, as of the time that is asked for.
    fn is_followed_by(&self, child: &Assertion, query: &Query, now: Wall) -> bool {
        child.parent_hash == Some(self.digest)
            && child.subject == self.assertion.subject
            && child.predicate == self.assertion.predicate
            && query.as_of.is_none_or(|at| child.timestamp <= at)
            && !query.moment(now).is_before(child.hlc.time)
    }
}
