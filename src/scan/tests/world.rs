//! A store and its bodies in memory, asked as the API asks it.
//!
//! Never: verifies a signature.

use crate::base::{Digest, HlcClock, NodeId, Wall};
use crate::journal::{Bodies, Committed, Position};
use crate::lens::{Layers, Resolution, Skepticism};
use crate::model::{
    Assertion, ConflictsQuery, Cursor, Draft, Listing, Object, Query, RootAgents, RowNumbering,
    Sealed, Signature,
};
use crate::scan::{Conflict, NameCount, Scan, View};
use crate::store::{RowKey, Store};

/// When all questions are asked.
pub(super) const NOW: Wall = Wall(1_700_000_000_000);

/// Work of a slice, so that questions are asked in many of them.
const SLICE: usize = 97;

/// The agents whose statements count.
pub(super) const ROOTS: [[u8; 32]; 2] = [[0; 32], [4; 32]];

pub(super) struct LensWorld {
    store: Store,
    bodies: Vec<Sealed>,
}

impl Bodies for LensWorld {
    fn digest_at(&self, at: Position) -> Option<Digest> {
        self.sealed_at(at).map(|sealed| sealed.digest())
    }

    fn sealed_at(&self, at: Position) -> Option<Sealed> {
        self.bodies.get((at.0 >> 10) as usize).cloned()
    }
}

impl LensWorld {
    /// These claims, in this order of arrival.
    pub(super) fn of<'a>(claims: impl IntoIterator<Item = &'a Assertion>) -> LensWorld {
        let mut world = LensWorld { store: Store::new(1), bodies: Vec::new() };
        for claim in claims {
            let (at, sealed) = (Position((world.bodies.len() as u64) << 10), claim.seal());
            world.bodies.push(sealed.clone());
            world.store.append(&Committed::recovered(at, sealed));
        }
        world.store.update_sketch();
        world
    }

    fn run(&self, scan: Scan) -> View {
        let mut scan = scan.trusting(RootAgents::new(ROOTS.to_vec()));
        while !scan.step(&mut { SLICE }, &self.store, self) {}
        scan.finish(&mut { SLICE }, &self.store, self)
    }

    /// A page, and what the lens of the question makes of all claims.
    pub(super) fn page(&self, question: &Query) -> (Vec<Digest>, Option<Resolution>) {
        match self.run(Scan::page(question.clone(), NOW)) {
            View::Page { found, resolution, .. } => {
                (found.iter().map(Sealed::digest).collect(), resolution)
            }
            other => panic!("{other:?}"),
        }
    }

    /// All pages of a question, one after the other.
    pub(super) fn walk(&self, question: &Query) -> Vec<Digest> {
        let (mut question, mut listed) = (question.clone(), Vec::new());
        loop {
            let View::Page { found, next, .. } = self.run(Scan::page(question.clone(), NOW)) else {
                panic!("a page was asked for")
            };
            assert!(found.len() <= question.limit);
            listed.extend(found.iter().map(Sealed::digest));
            let Some(row) = next else { return listed };
            let numbering = RowNumbering { node: NodeId::NONE, number: 1 };
            question.cursor = Some(Cursor { numbering, row: row.into() });
        }
    }

    /// How many claims the index takes for those of a subject.
    pub(super) fn candidates(&self, subject: &str) -> usize {
        let mut walk = self.store.select([RowKey::Subject(subject)], None);
        std::iter::from_fn(|| self.store.next_candidate(&mut walk)).count()
    }

    /// All pages of a listing, one after the other.
    pub(super) fn names(&self, listing: &Listing) -> Vec<(String, NameCount)> {
        let (mut listing, mut listed) = (listing.clone(), Vec::new());
        loop {
            let View::Names { names, next, .. } = self.run(Scan::names(listing.clone(), NOW))
            else {
                panic!("names were asked for")
            };
            assert!(names.len() <= listing.limit);
            listed.extend(names);
            let Some(cursor) = next else { return listed };
            listing.set("cursor", &cursor).expect("a cursor");
        }
    }

    pub(super) fn skeptic(&self, question: &Query) -> Skepticism {
        match self.run(Scan::skeptic(question.clone(), NOW)) {
            View::Skeptic(skepticism) => skepticism,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn conflicts(&self, asked: &ConflictsQuery) -> Vec<Conflict> {
        match self.run(Scan::conflicts(asked.clone(), NOW)) {
            View::Conflicts(worst) => worst,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn layers(&self, question: &Query) -> Layers {
        match self.run(Scan::layered(question.clone(), NOW)) {
            View::Layered(layers) => layers,
            other => panic!("{other:?}"),
        }
    }
}

/// A question about the one subject and predicate, with these parameters.
pub(super) fn question(parameters: &[(&str, &str)]) -> Query {
    let mut query = Query::default();
    for (name, value) in [("subject", "s"), ("predicate", "p")].iter().chain(parameters) {
        query.set(name, value).expect("a good parameter");
    }
    query
}

/// A claim of a text as of a second before [`NOW`].
pub(super) fn draft(value: &str, seconds_ago: u64) -> Draft {
    let mut draft = Draft::new("s".into(), "p".into(), Object::Text(value.into()));
    draft.timestamp = Some(NOW.seconds() - seconds_ago);
    draft
}

/// As if these agents had signed it.
pub(super) fn signed(mut draft: Draft, agents: &[u8]) -> Draft {
    let one = |agent: &u8| Signature { agent_id: [*agent; 32], signature: [0; 64], timestamp: 1 };
    draft.signatures = agents.iter().map(one).collect();
    draft
}

/// As if it followed another claim.
pub(super) fn after(mut draft: Draft, parent: &Assertion) -> Draft {
    draft.parent_hash = Some(parent.seal().digest());
    draft
}

pub(super) fn check(draft: Draft) -> Assertion {
    draft.check(&mut HlcClock::new(NodeId([1; 16])), NOW).expect("it keeps the rules")
}
