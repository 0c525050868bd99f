//! Answering a query: one pass over the candidates, newest first, in slices.
//!
//! In: a query and read access to store and bodies. Out: a page of assertions and what the lens
//! made of all of them, or a skeptic's or layered view. A slice is bounded by the work in it, so
//! that other requests are served during a long pass; assertions that arrive meanwhile are not
//! seen. [`ScanQueue`] says which of several passes goes on.
//!
//! Never: holds more bodies than one page, whatever the set.

mod queue;
mod ring;

pub use queue::{ScanQueue, Stats, TooMany};

use crate::base::{Digest, Wall, limits};
use crate::journal::Bodies;
use crate::lens::{Layered, Layers, Resolution, Resolver, Skeptic, Skepticism};
use crate::model::{Query, Sealed};
use crate::store::{Candidates, Row, Store};

/// One pass over the candidates of a query.
#[derive(Debug)]
pub struct Scan {
    query: Query,
    kind: ScanKind,
    /// When the question came: a claim whose time comes while the scan waits does not count.
    now: Wall,
    /// Rows left to look at; `None` until the first slice, as the queue may hold the scan for long.
    candidates: Option<Candidates>,
    /// What was found so far, in the memory that the answer is bounded to.
    fold: Fold,
    /// Nothing is left to look at, or the page is full.
    finished: bool,
    /// Candidates looked at, for the metrics.
    seen: u64,
}

#[derive(Clone, Copy, Debug)]
enum ScanKind {
    Page,
    Skeptic,
    Layered,
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
    /// To `query`: one page, where the next begins, and the lens's answer on all candidates.
    Page {
        /// The assertions of the page, newest first.
        found: Vec<Sealed>,
        /// Continue with candidates before this row.
        next: Option<Row>,
        /// With a lens only.
        resolution: Option<Resolution>,
        /// As of when: what is of a later time has not come yet.
        now: Wall,
    },
    /// The answer to `GET /v1/skeptic`.
    Skeptic(Skepticism),
    /// The answer to `GET /v1/layered`.
    Layered(Layers),
}

impl Scan {
    /// A page of `query`'s candidates; with a lens, also its answer on all of them.
    pub fn page(query: Query, now: Wall) -> Scan {
        Scan::new(query, ScanKind::Page, now)
    }

    /// How contested the claims on one subject and predicate are.
    pub fn skeptic(query: Query, now: Wall) -> Scan {
        Scan::new(query, ScanKind::Skeptic, now)
    }

    /// A winner per source class.
    pub fn layered(query: Query, now: Wall) -> Scan {
        Scan::new(query, ScanKind::Layered, now)
    }

    fn new(query: Query, kind: ScanKind, now: Wall) -> Scan {
        let fold = Fold::new(kind, &query, now);
        Scan { query, kind, now, candidates: None, fold, finished: false, seen: 0 }
    }

    /// Forgets what was found: the pass begins again, with what has come meanwhile.
    pub fn rewind(&mut self) {
        self.candidates = None;
        self.fold = Fold::new(self.kind, &self.query, self.now);
        self.finished = false;
    }

    /// Candidates looked at so far, those before [`Scan::rewind`] included.
    pub fn candidates_seen(&self) -> u64 {
        self.seen
    }

    /// Looks at candidates until the pass is over (true) or the work is done. A candidate is one
    /// unit of it, and each KiB of its body another.
    pub fn step(&mut self, work: &mut usize, store: &Store, bodies: &dyn Bodies) -> bool {
        let query = &self.query;
        let candidates = self.candidates.get_or_insert_with(|| {
            let before = query.cursor.map(|cursor| Row::try_from(cursor.0).unwrap_or(Row::MAX));
            store.select(query.subject.as_deref(), query.predicate.as_deref(), before)
        });
        while *work > 0 && !self.finished {
            let Some((row, position)) = store.next_candidate(candidates) else {
                self.finished = true;
                break;
            };
            self.seen += 1;
            let sealed = bodies.sealed_at(position);
            let bytes = sealed.as_ref().map_or(0, |sealed| sealed.bytes().len());
            *work = work.saturating_sub(1 + bytes / limits::SCAN_UNIT_BYTES);
            if let Some(sealed) = sealed {
                self.finished = !self.fold.take(&self.query, row, sealed);
            }
        }
        self.finished
    }

    /// What the pass found, once it is over. Bodies may be read again for it: two pages of them at
    /// most, which `work` is charged for.
    pub fn finish(self, work: &mut usize, store: &Store, bodies: &dyn Bodies) -> View {
        debug_assert!(self.finished, "a pass is read when it is over");
        match self.fold {
            Fold::Page { found, next, resolver, .. } => {
                let (resolution, now) =
                    (resolver.map(Resolver::finish), self.query.moment(self.now));
                View::Page { found, next, resolution, now }
            }
            Fold::Skeptic(fold) => {
                let mut bytes_left = limits::PAGE_BYTES_MAX;
                View::Skeptic(fold.finish(|digest| {
                    if bytes_left == 0 {
                        return None;
                    }
                    let sealed = bodies.sealed_at(store.find(digest, bodies)?)?;
                    let bytes = sealed.bytes().len();
                    *work = work.saturating_sub(1 + bytes / limits::SCAN_UNIT_BYTES);
                    // The first one that does not fit ends the reading, or a hundred of them would
                    // be read in vain.
                    let is_fitting = bytes <= bytes_left;
                    bytes_left = bytes_left.saturating_sub(bytes);
                    sealed.assertion().filter(|_| is_fitting).map(|assertion| assertion.object)
                }))
            }
            Fold::Layered(fold) => View::Layered(fold.finish()),
        }
    }
}

impl Fold {
    fn new(kind: ScanKind, query: &Query, now: Wall) -> Fold {
        let (half_life, now) = (query.half_life, query.moment(now));
        match kind {
            ScanKind::Page => {
                let resolver = query.lens.map(|lens| Resolver::new(lens, half_life, now));
                Fold::Page { found: Vec::new(), bytes: 0, next: None, resolver }
            }
            ScanKind::Skeptic => Fold::Skeptic(Skeptic::new(half_life, now)),
            ScanKind::Layered => Fold::Layered(Layered::new(half_life, now)),
        }
    }

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
                let is_fitting = found.len() < query.limit
                    && (found.is_empty()
                        || *bytes + sealed.bytes().len() <= limits::PAGE_BYTES_MAX);
                if is_fitting && next.is_none() {
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
