//! Finding out by sketches what two sets differ in.
//!
//! In: cells of the peer's sketch. Out: which cells to ask for next, or the ids of the difference.
//! A few cells first, which is all that a small difference takes; then counts of our own cells, by
//! which the peer answers as many as are needed; then a little more, where that fell short. Of a
//! part it is known how much differs: as many cells as that takes are asked for at once. A set
//! that changes meanwhile is asked for anew.
//!
//! Never: asks on for ever, asks for more than the sketch has.

use super::answer::cells_for;
use super::messages::{SketchReply, SketchRequest};
use crate::base::limits;
use crate::sketch::{Decoded, Difference, Estimate, Part, ShortId, Sketch};
use crate::store::{PartScan, Store};

/// Cells asked for at first: they tell of some ten differences.
const FIRST_CELLS: usize = 22;
/// Requests to one peer before the leaves have to tell.
const REQUESTS_MAX: u32 = 16;
/// Members of a part that are read before others get their turn: about 2 ms.
const PART_STEP: usize = 4096;

/// One comparison under way.
#[derive(Debug, Default)]
pub(super) struct SketchComparison {
    /// Of our set, where not all of it is compared.
    part: Option<PartScan>,
    /// The answer that came before the part was read.
    held: Option<SketchReply>,
    difference: Option<Difference>,
    /// How many assertions we and the peer had when the cells were read.
    counts: (u64, u64),
    requests: u32,
    next: Next,
    /// About how much differs, by what the peer told with its first cells.
    hint: u64,
}

/// What to ask for; cells before `from` are here already.
#[derive(Clone, Copy, Debug, Default)]
enum Next {
    #[default]
    First,
    AsManyAsNeeded {
        from: usize,
    },
    Cells {
        from: usize,
        cells: usize,
    },
}

impl Next {
    fn from(self) -> usize {
        match self {
            Next::First => 0,
            Next::AsManyAsNeeded { from } | Next::Cells { from, .. } => from,
        }
    }
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ComparisonResult {
    /// Another request.
    Ask,
    /// The difference is known.
    Known(Vec<ShortId>),
    /// More differs than these sketches tell: about so much, by what the peer says.
    TooMuch(u64),
    /// They do not tell it, of sets that change too fast.
    GiveUp,
    /// No sets have such cells.
    Nonsense,
}

impl SketchComparison {
    /// Of a part of the sets, in which about so much differs; `None` where it is too large. A
    /// quarter more of it is sketched, for what was not expected.
    pub(super) fn of_part(
        part: Part,
        expected: Estimate,
        store: &Store,
    ) -> Option<SketchComparison> {
        let cells = cells_for(expected);
        let part = PartScan::new(store, part, cells + cells / 4, 2 * limits::PART_MEMBERS_MAX)?;
        let next = Next::Cells { from: 0, cells };
        Some(SketchComparison { part: Some(part), next, ..SketchComparison::default() })
    }

    /// The part, where it is not the whole.
    pub(super) fn part(&self) -> Option<Part> {
        self.part.as_ref().map(PartScan::part)
    }

    /// Reads some more of our part; false if all of it was read before.
    pub(super) fn read_on(&mut self, store: &Store) -> bool {
        let unread = self.part.as_mut().filter(|part| !part.is_over());
        unread.map(|part| part.step(PART_STEP, store)).is_some()
    }

    /// The peer's answer, which may have come too early.
    pub(super) fn hold(&mut self, reply: SketchReply) {
        self.held = Some(reply);
    }

    /// What was held back, when it can be looked at.
    pub(super) fn release(&mut self) -> Option<SketchReply> {
        let is_read = self.part.as_ref().is_none_or(PartScan::is_over);
        self.held.take_if(|_| is_read)
    }

    /// Our sketch, and how many assertions it is of.
    fn ours<'a>(&'a self, store: &'a Store) -> (&'a Sketch, u64) {
        match &self.part {
            Some(part) => (part.sketch(), u64::from(part.sketch().members())),
            None => (store.sketch(), store.len()),
        }
    }

    /// What to ask the peer.
    pub(super) fn request(&self, store: &Store, root: u64) -> SketchRequest {
        // Of a part that is being read it is not known, and not of interest.
        let count = if self.part.is_some() { 0 } else { store.len() };
        let part = self.part();
        let of =
            |from, cells| SketchRequest { from, cells, count, part, ..SketchRequest::default() };
        match self.next {
            Next::First => SketchRequest { root, ..of(0, FIRST_CELLS) },
            Next::AsManyAsNeeded { from } => {
                SketchRequest { low_counts: store.sketch().low_counts(self.hint), ..of(from, 0) }
            }
            Next::Cells { from, cells } => of(from, cells),
        }
    }

    /// Takes the peer's cells.
    pub(super) fn handle_reply(&mut self, reply: &SketchReply, store: &Store) -> ComparisonResult {
        self.requests += 1;
        if reply.part != self.part() {
            return ComparisonResult::GiveUp;
        }
        if reply.from != self.next.from() {
            return ComparisonResult::Nonsense;
        }
        let known = self.difference.take().filter(|_| reply.from > 0);
        let (sketch, count) = self.ours(store);
        let counts = (count, reply.count);
        let mut difference = match known {
            Some(_) if counts != self.counts => return self.ask_anew(),
            Some(mut known) => {
                known.extend(sketch, &reply.cells);
                known
            }
            None => Difference::new(sketch, &reply.cells),
        };
        let (length, most) = (difference.len(), sketch.len());
        let decoded = difference.decode();
        self.counts = counts;
        let difference = self.difference.insert(difference);
        match decoded {
            Decoded::All if length > 0 => ComparisonResult::Known(difference.found().to_vec()),
            Decoded::Part if reply.cells.is_empty() && self.part.is_some() => {
                ComparisonResult::GiveUp
            }
            Decoded::Part if reply.cells.is_empty() => ComparisonResult::TooMuch(reply.estimate),
            Decoded::Part if matches!(self.next, Next::First) => {
                self.hint = store.sketch().estimate_by_hint(reply.count as u32, &reply.hint);
                self.ask(Next::AsManyAsNeeded { from: length })
            }
            Decoded::Part if length < most => {
                self.ask(Next::Cells { from: length, cells: (length / 16).max(FIRST_CELLS) })
            }
            Decoded::Nonsense => ComparisonResult::Nonsense,
            Decoded::Part => ComparisonResult::TooMuch(reply.estimate),
            Decoded::All => ComparisonResult::GiveUp,
        }
    }

    fn ask(&mut self, next: Next) -> ComparisonResult {
        self.next = next;
        if self.requests < REQUESTS_MAX { ComparisonResult::Ask } else { ComparisonResult::GiveUp }
    }

    /// From the first cell on, of a set that changed.
    fn ask_anew(&mut self) -> ComparisonResult {
        self.ask(match self.next {
            Next::First => Next::First,
            Next::Cells { from, cells } if self.part.is_some() => {
                Next::Cells { from: 0, cells: from + cells }
            }
            Next::AsManyAsNeeded { .. } | Next::Cells { .. } => Next::AsManyAsNeeded { from: 0 },
        })
    }
}
