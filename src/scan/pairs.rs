//! The walk of a search for conflicts: each pair's claims are judged by a scan of their own.
//!
//! In: all claims, newest first. Out: what the skeptic makes of each pair. Never: judges two pairs
//! side by side: one has all the memory of a query.

use super::context::JudgeContext;
use super::{Fold, Scan};
use crate::journal::Bodies;
use crate::model::Query;
use crate::store::Store;

impl Scan {
    /// Looks at candidates until all are seen (true) or the work is done.
    pub(super) fn walk_pairs(
        &mut self,
        work: &mut usize,
        store: &Store,
        bodies: &dyn Bodies,
    ) -> bool {
        let (query, roots, now) = (&self.query, &self.roots, self.now);
        let end = *self.end.get_or_insert(store.end_row());
        let context = JudgeContext { query, roots, now, end, store, bodies };
        let Fold::Conflicts(conflicts) = &mut self.fold else { return true };
        let candidates = self.candidates.get_or_insert_with(|| store.select([], Some(end)));
        while *work > 0 {
            if let Some(pair) = &mut self.pair {
                let seen = pair.seen;
                let is_over = pair.step(work, store, bodies);
                self.seen += pair.seen - seen;
                if !is_over {
                    return false;
                }
            }
            if let Some(pair) = self.pair.take() {
                self.known = pair.known;
                let Query { subject, predicate, .. } = pair.query;
                if let (Fold::Skeptic(found), Some(subject), Some(predicate)) =
                    (pair.fold, subject, predicate)
                {
                    conflicts.note(subject, predicate, found.finish(|_| None));
                }
                continue;
            }
            let Some((row, position)) = store.next_candidate(candidates) else { return true };
            self.seen += 1;
            let Some(sealed) = context.read(position, work) else { continue };
            if let Some((subject, predicate)) = conflicts.pair_at(&sealed, row, &context, work) {
                let (subject, predicate) = (Some(subject), Some(predicate));
                let of_pair = Query { subject, predicate, ..query.clone() };
                let pair = Scan::skeptic(of_pair, now).trusting(roots.clone());
                // It sees what this scan sees; what root agents stated is read once for all pairs.
                let known = std::mem::take(&mut self.known);
                self.pair = Some(Box::new(Scan { end: Some(end), known, ..pair }));
            }
        }
        false
    }
}
