//! Answering a query: one pass over the candidates, newest first, in slices.
//!
//! In: a query and read access to store and bodies. Out: a page of assertions and what the lens
//! made of all of them, or a skeptic's or layered view. A slice is bounded, so that a long pass
//! never keeps others waiting; assertions that arrive meanwhile are not seen.
//!
//! Never: holds more bodies than one page, whatever the set.

use crate::base::{Digest, Wall, limits};
use crate::journal::Bodies;
use crate::lens::{Layered, Layers, Resolution, Resolver, Skeptic, Skepticism};
use crate::model::{Query, Sealed};
use crate::store::{Candidates, Row, Store};

/// One pass over the candidates of a query.
#[derive(Debug)]
pub struct Scan {
    query: Query,
    candidates: Option<Candidates>,
    fold: Fold,
    finished: bool,
}

#[derive(Debug)]
enum Fold {
    Page { found: Vec<Sealed>, bytes: usize, next: Option<Row>, resolver: Option<Resolver> },
    Skeptic(Skeptic),
    Layered(Layered),
}

/// What a pass found.
#[derive(Debug)]
pub enum View {
    /// To `query`: one page, where the next begins, and the lens's word on all candidates.
    Page {
        /// Newest first.
        found: Vec<Sealed>,
        /// Continue with candidates before this row.
        next: Option<Row>,
        /// With a lens only.
        resolution: Option<Resolution>,
    },
    /// To `skeptic`.
    Skeptic(Skepticism),
    /// To `layered`.
    Layered(Layers),
}

impl Scan {
    /// A page of `query`'s candidates; with a lens, also its word on all of them.
    pub fn page(query: Query, now: Wall) -> Scan {
        let resolver =
            query.lens.map(|lens| Resolver::new(lens, query.half_life, query.moment(now)));
        let fold = Fold::Page { found: Vec::new(), bytes: 0, next: None, resolver };
        Scan { query, candidates: None, fold, finished: false }
    }

    /// How contested the claims on one subject and predicate are.
    pub fn skeptic(query: Query, now: Wall) -> Scan {
        let fold = Fold::Skeptic(Skeptic::new(query.half_life, query.moment(now)));
        Scan { query, candidates: None, fold, finished: false }
    }

    /// A winner per source class.
    pub fn layered(query: Query, now: Wall) -> Scan {
        let fold = Fold::Layered(Layered::new(query.half_life, query.moment(now)));
        Scan { query, candidates: None, fold, finished: false }
    }

    /// Looks at no more than `budget` candidates; true when the pass is over.
    pub fn step(&mut self, budget: usize, store: &Store, bodies: &dyn Bodies) -> bool {
        let query = &self.query;
        let candidates = self.candidates.get_or_insert_with(|| {
            let before = query.cursor.map(|cursor| Row::try_from(cursor.0).unwrap_or(Row::MAX));
            store.select(query.subject.as_deref(), query.predicate.as_deref(), before)
        });
        for _ in 0..budget {
            let Some((row, position)) = store.next_candidate(candidates) else {
                self.finished = true;
                break;
            };
            let Some(sealed) = bodies.sealed_at(position) else { continue };
            if !self.fold.take(&self.query, row, sealed) {
                self.finished = true;
                break;
            }
        }
        self.finished
    }

    /// What the pass found, once it is over.
    pub fn finish(self, store: &Store, bodies: &dyn Bodies) -> View {
        debug_assert!(self.finished, "a pass is read when it is over");
        match self.fold {
            Fold::Page { found, next, resolver, .. } => {
                View::Page { found, next, resolution: resolver.map(Resolver::finish) }
            }
            Fold::Skeptic(fold) => {
                let mut room = limits::PAGE_BYTES_MAX;
                View::Skeptic(fold.finish(|digest| {
                    let sealed = bodies.sealed_at(store.find(digest, bodies)?)?;
                    room = room.checked_sub(sealed.bytes().len())?;
                    sealed.assertion().map(|assertion| assertion.object)
                }))
            }
            Fold::Layered(fold) => View::Layered(fold.finish()),
        }
    }
}

impl Fold {
    /// False when no further candidate can change the answer.
    fn take(&mut self, query: &Query, row: Row, sealed: Sealed) -> bool {
        let assertion = sealed.assertion();
        let admitted = match &assertion {
            Some(assertion) => query.admits(assertion),
            None => is_open(query),
        };
        if !admitted {
            return true;
        }
        let digest: Digest = sealed.digest();
        match (self, assertion) {
            (Fold::Skeptic(fold), Some(assertion)) => fold.add(&digest, &assertion),
            (Fold::Layered(fold), Some(assertion)) => fold.add(&digest, &assertion),
            (Fold::Skeptic(_) | Fold::Layered(_), None) => {}
            (Fold::Page { found, bytes, next, resolver }, assertion) => {
                if let (Some(resolver), Some(assertion)) = (resolver.as_mut(), &assertion) {
                    resolver.add(&digest, assertion);
                }
                let room = found.len() < query.limit
                    && (found.is_empty()
                        || *bytes + sealed.bytes().len() <= limits::PAGE_BYTES_MAX);
                if room && next.is_none() {
                    *bytes += sealed.bytes().len();
                    found.push(sealed);
                } else {
                    // The cursor says "before", so the first one left out is before its successor.
                    next.get_or_insert(row + 1);
                    return resolver.is_some();
                }
            }
        }
        true
    }
}

/// Whether a query asks for everything; only then it finds what cannot be read.
fn is_open(query: &Query) -> bool {
    query.subject.is_none()
        && query.predicate.is_none()
        && query.lifecycle.is_none()
        && query.source_class.is_none()
        && query.as_of.is_none()
}
