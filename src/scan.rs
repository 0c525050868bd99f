//! Answering a query: passes over the candidates, newest first, in slices.
//!
//! In: a query and read access to store and bodies. Out: a page of assertions and what the lens
//! made of all of them, or a skeptic's or layered view, or a page of names. Most questions take one
//! pass; a lens says when it has to see the candidates again (`lens::Settled`). A slice is bounded
//! by the work in it, so that other requests are served during a long pass; assertions that arrive
//! meanwhile are seen by no pass. [`ScanQueue`] says which of several scans goes on.
//!
//! Never: holds more bodies than one page, whatever the set.

mod conflicts;
mod context;
mod index_keys;
mod judged;
mod names;
mod pairs;
mod queue;
mod ring;
mod statements;
mod succession;

pub use conflicts::Conflict;
pub use names::NameCount;
pub use queue::{ScanQueue, Stats, TooMany};

use conflicts::Conflicts;
use context::JudgeContext;
use index_keys::{is_scan, keys};
use judged::JudgedClaim;
use names::LowestNames;
use statements::KnownStatements;

use crate::base::{Wall, limits};
use crate::journal::Bodies;
use crate::lens::{
    Layered, Layers, LensSettings, Resolution, Resolver, Settled, Skeptic, Skepticism,
};
use crate::model::{ConflictsQuery, Listing, NameKind, Query, RootAgents, Sealed, Statement};
use crate::store::{Candidates, Row, Store};

/// The passes over the candidates of a query.
#[derive(Debug)]
pub struct Scan {
    query: Query,
    kind: ScanKind,
    /// When the question came: a claim whose time comes while the scan waits does not count.
    now: Wall,
    /// Whose statements about agents count.
    roots: RootAgents,
    /// The row before which each pass begins, once the first has begun: later passes see the rows
    /// of the first.
    end: Option<Row>,
    /// Rows left to look at in this pass; `None` until its first slice, as the queue may hold the
    /// scan for long.
    candidates: Option<Candidates>,
    /// The claim that the lens judges next, while what there is about it is read.
    judged: Option<JudgedClaim>,
    /// The claims of one pair, while it is judged whether they conflict.
    pair: Option<Box<Scan>>,
    /// What root agents stated of the agents of claims before.
    known: KnownStatements,
    /// What was found so far, in the memory that the answer is bounded to.
    fold: Fold,
    /// What the next slice does.
    stage: Stage,
    /// Candidates looked at, for the metrics.
    seen: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Candidates are looked at.
    Walking,
    /// The pass is over, and the fold works on what it saw.
    Settling,
    Over,
}

#[derive(Clone, Debug)]
enum ScanKind {
    Page,
    Skeptic,
    Layered,
    Names(Listing),
    Conflicts(Box<ConflictsQuery>),
}

#[derive(Debug)]
enum Fold {
    Page(Box<PageFold>),
    Skeptic(Box<Skeptic>),
    Layered(Box<Layered>),
    Names(LowestNames),
    Conflicts(Box<Conflicts>),
}

/// A page, and a lens if one is asked for.
#[derive(Debug)]
struct PageFold {
    found: Vec<Sealed>,
    bytes: usize,
    next: Option<Row>,
    /// Whether the page is made: it is so by the first pass.
    is_made: bool,
    resolver: Option<Resolver>,
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
        /// How many claims were looked at, where none of the filters has an index.
        scanned: Option<u64>,
        /// With a lens only.
        resolution: Option<Resolution>,
        /// As of when: what is of a later time has not come yet.
        now: Wall,
    },
    /// The answer to `GET /v1/skeptic`.
    Skeptic(Skepticism),
    /// The answer to `GET /v1/layered`.
    Layered(Layers),
    /// The answer to `GET /v1/subjects` and `GET /v1/predicates`.
    Names {
        /// Which names these are.
        kind: NameKind,
        /// One page, in the order of their bytes.
        names: Vec<(String, NameCount)>,
        /// Where the next one begins.
        next: Option<String>,
        /// How many claims were looked at, where no index finds those of a subject.
        scanned: Option<u64>,
    },
    /// The answer to `GET /v1/conflicts`.
    Conflicts(Vec<Conflict>),
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

    /// A page of names.
    pub fn names(listing: Listing, now: Wall) -> Scan {
        let query = Query { subject: listing.subject.clone(), ..Query::default() };
        Scan::new(query, ScanKind::Names(listing), now)
    }

    /// Which pairs of a subject and a predicate have claims that disagree.
    pub fn conflicts(asked: ConflictsQuery, now: Wall) -> Scan {
        Scan::new(asked.of.clone(), ScanKind::Conflicts(Box::new(asked)), now)
    }

    fn new(query: Query, kind: ScanKind, now: Wall) -> Scan {
        let fold = Fold::new(&kind, &query, now);
        Scan {
            query,
            kind,
            now,
            roots: RootAgents::default(),
            end: None,
            candidates: None,
            judged: None,
            pair: None,
            known: KnownStatements::default(),
            fold,
            stage: Stage::Walking,
            seen: 0,
        }
    }

    /// With the agents whose statements about other agents count, if there are any.
    pub fn trusting(self, roots: RootAgents) -> Scan {
        Scan { roots, ..self }
    }

    /// Forgets what was found: the first pass begins again, with what has come meanwhile.
    pub fn rewind(&mut self) {
        (self.end, self.candidates, self.judged, self.pair) = (None, None, None, None);
        self.known = KnownStatements::default();
        self.fold = Fold::new(&self.kind, &self.query, self.now);
        self.stage = Stage::Walking;
    }

    /// Candidates looked at so far, those before [`Scan::rewind`] included.
    pub fn candidates_seen(&self) -> u64 {
        self.seen
    }

    /// Goes on until the last pass is over (true) or the work is done. A candidate is one unit of
    /// it, and each KiB of its body another.
    pub fn step(&mut self, work: &mut usize, store: &Store, bodies: &dyn Bodies) -> bool {
        while *work > 0 && self.stage != Stage::Over {
            let stage = self.stage;
            self.stage = match stage {
                Stage::Walking if self.walk(work, store, bodies) => Stage::Settling,
                Stage::Settling => match self.fold.settle(work) {
                    Settled::Working => Stage::Settling,
                    Settled::Again => {
                        self.candidates = None;
                        Stage::Walking
                    }
                    Settled::Over => Stage::Over,
                },
                Stage::Walking | Stage::Over => stage,
            };
        }
        self.stage == Stage::Over
    }

    /// Looks at candidates until the pass is over (true) or the work is done.
    fn walk(&mut self, work: &mut usize, store: &Store, bodies: &dyn Bodies) -> bool {
        match self.fold {
            Fold::Conflicts(_) => self.walk_pairs(work, store, bodies),
            _ => self.walk_claims(work, store, bodies),
        }
    }

    /// As [`Scan::walk`]; each claim goes to the page and to the lens.
    fn walk_claims(&mut self, work: &mut usize, store: &Store, bodies: &dyn Bodies) -> bool {
        let (query, roots, fold, now) = (&self.query, &self.roots, &mut self.fold, self.now);
        // Later passes see the rows of the first.
        let end = *self.end.get_or_insert(store.end_row());
        let context = JudgeContext { query, roots, now, end, store, bodies };
        let candidates = self.candidates.get_or_insert_with(|| {
            let before = fold.first_row(query).map_or(end, |first| first.min(end));
            store.select(keys(query), Some(before))
        });
        while *work > 0 {
            if let Some(claim) = &mut self.judged {
                if !claim.step(&context, &mut self.known, work) {
                    return false;
                }
                if !claim.speaking.is_empty() {
                    fold.judge(claim);
                }
                self.judged = None;
                continue;
            }
            let Some((row, position)) = store.next_candidate(candidates) else { return true };
            self.seen += 1;
            let Some(sealed) = context.read(position, work) else { continue };
            let assertion = sealed.assertion();
            let is_admitted = match &assertion {
                Some(assertion) => query.admits(assertion),
                None => query.is_open(),
            };
            if !is_admitted {
                continue;
            }
            if let Some(assertion) = assertion.filter(|it| fold.has_lens() && query.judges(it, now))
            {
                let (digest, asks) = (sealed.digest(), fold.asks());
                self.judged = Some(JudgedClaim::new(digest, assertion, asks, &context));
            }
            if !fold.take(query, row, sealed) {
                return true;
            }
        }
        false
    }

    /// What was found, once it is over. Bodies may be read again for it: two pages of them at most,
    /// which `work` is charged for.
    pub fn finish(self, work: &mut usize, store: &Store, bodies: &dyn Bodies) -> View {
        debug_assert!(self.stage == Stage::Over, "a scan is read when it is over");
        match self.fold {
            Fold::Page(page) => View::Page {
                found: page.found,
                next: page.next,
                scanned: is_scan(&self.query).then_some(self.seen),
                resolution: page.resolver.map(Resolver::finish),
                now: self.query.moment(self.now),
            },
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
            Fold::Names(fold) => {
                let kind = fold.kind();
                let (names, next) = fold.finish();
                let scanned = self.query.subject.is_none().then_some(self.seen);
                View::Names { kind, names, next, scanned }
            }
            Fold::Conflicts(fold) => View::Conflicts(fold.finish()),
        }
    }
}

impl Fold {
    fn new(kind: &ScanKind, query: &Query, now: Wall) -> Fold {
        let settings = LensSettings {
            half_life: query.half_life,
            now: query.moment(now),
            voices: query.voices,
            explain: query.explain,
        };
        match kind {
            ScanKind::Page => Fold::Page(Box::new(PageFold {
                found: Vec::new(),
                bytes: 0,
                next: None,
                is_made: false,
                resolver: query.lens.map(|lens| Resolver::new(lens, settings)),
            })),
            ScanKind::Skeptic => Fold::Skeptic(Box::new(Skeptic::new(settings))),
            ScanKind::Layered => Fold::Layered(Box::new(Layered::new(settings))),
            ScanKind::Names(listing) => Fold::Names(LowestNames::new(listing.clone())),
            ScanKind::Conflicts(asked) => {
                Fold::Conflicts(Box::new(Conflicts::new((**asked).clone())))
            }
        }
    }

    /// The row before which its first candidate is, if not the newest: a page without a lens begins
    /// where the one before it ended. A lens sees all candidates, whatever the page.
    fn first_row(&self, query: &Query) -> Option<Row> {
        match self {
            Fold::Page(page) if page.resolver.is_none() => page_start(query),
            _ => None,
        }
    }

    fn has_lens(&self) -> bool {
        match self {
            Fold::Page(page) => page.resolver.is_some(),
            Fold::Skeptic(_) | Fold::Layered(_) => true,
            Fold::Names(_) | Fold::Conflicts(_) => false,
        }
    }

    /// Takes in a candidate that the filters let through. False when no further one can change the
    /// answer.
    fn take(&mut self, query: &Query, row: Row, sealed: Sealed) -> bool {
        match self {
            Fold::Page(page) => page.take(query, row, sealed),
            Fold::Skeptic(_) | Fold::Layered(_) | Fold::Conflicts(_) => true,
            Fold::Names(names) => {
                names.add(&sealed);
                true
            }
        }
    }

    /// Which statements about each claim the lens asks for.
    fn asks(&self) -> Option<Statement> {
        match self {
            Fold::Page(page) => page.resolver.as_ref().and_then(Resolver::asks),
            Fold::Skeptic(_) | Fold::Layered(_) | Fold::Names(_) | Fold::Conflicts(_) => None,
        }
    }

    /// Shows a claim to the lens.
    fn judge(&mut self, claim: &JudgedClaim) {
        let (digest, assertion, of) = (&claim.digest, &claim.assertion, &*claim.speaking);
        match self {
            Fold::Page(page) => {
                if let Some(resolver) = &mut page.resolver {
                    resolver.add(digest, assertion, of, &claim.support);
                }
            }
            Fold::Skeptic(fold) => fold.add(digest, assertion, of),
            Fold::Layered(fold) => fold.add(digest, assertion, of),
            Fold::Names(_) | Fold::Conflicts(_) => {}
        }
    }

    /// A pass has ended.
    fn settle(&mut self, work: &mut usize) -> Settled {
        match self {
            Fold::Page(page) => {
                page.is_made = true;
                page.resolver.as_mut().map_or(Settled::Over, |resolver| resolver.settle(work))
            }
            Fold::Skeptic(fold) => fold.settle(work),
            Fold::Layered(fold) => fold.settle(work),
            Fold::Names(_) | Fold::Conflicts(_) => Settled::Over,
        }
    }
}

impl PageFold {
    /// As [`Fold::take`].
    fn take(&mut self, query: &Query, row: Row, sealed: Sealed) -> bool {
        if self.is_made || page_start(query).is_some_and(|start| row >= start) {
            return true;
        }
        let bytes = self.bytes + sealed.bytes().len();
        let is_fitting = self.found.len() < query.limit
            && (self.found.is_empty() || bytes <= limits::PAGE_BYTES_MAX);
        if is_fitting && self.next.is_none() {
            self.bytes = bytes;
            self.found.push(sealed);
            // A scan that looked for one more would look at all claims where there is none.
            let is_enough = self.found.len() == query.limit && is_scan(query);
            self.next = Some(row).filter(|row| is_enough && *row > 0);
            return !is_enough;
        }
        // The cursor says "before", so the first one left out is before its successor.
        self.next.get_or_insert(row + 1);
        self.resolver.is_some()
    }
}

/// The row before which a page begins.
fn page_start(query: &Query) -> Option<Row> {
    query.cursor.map(|cursor| Row::try_from(cursor.row).unwrap_or(Row::MAX))
}

#[cfg(test)]
mod tests;
