//! The comparison of one sketch with the peer's, of the whole sets or of a part.
//!
//! In: cells of the peer's sketch. Out: which cells to ask for next, or the ids of the difference.
//!
//! ```text
//! First: 22 cells, enough for some ten differences
//!   | not decoded: the peer's hint gives the order of magnitude
//!   v
//! AsManyAsNeeded: our low counts, by which the peer estimates how many cells it takes
//!   | not decoded (4 to 8 of 1,000 sets)
//!   v
//! Cells: a sixteenth more, again and again      <-- a part begins here: what to expect is known
//! ```
//!
//! If a set changes between two answers, the comparison begins with cell 0 again.
//!
//! Never: asks more than [`REQUESTS_MAX`] times, asks for more cells than the sketch has, decodes
//! cells of two states of a set together.

use super::answer::cells_for;
use super::messages::{SketchReply, SketchRequest};
use crate::base::limits;
use crate::sketch::{Decoded, Difference, Estimate, Part, ShortId, Sketch};
use crate::store::{PartScan, Store};

/// Cells asked for at first: they decode some ten differences.
const FIRST_CELLS: usize = 22;
/// Requests to one peer before the leaves have to show the difference.
const REQUESTS_MAX: u32 = 16;
/// Members of a part that are read before the session yields: about 2 ms.
const PART_STEP: usize = 4096;

/// The comparison of one pair of sketches, cell by cell.
#[derive(Debug, Default)]
pub(super) struct SketchComparison {
    /// Our side of a part, whose sketch is made for this comparison; `None` for the whole set,
    /// whose sketch the store keeps.
    part: Option<PartScan>,
    /// What is decoded so far, kept so that cells travel once.
    difference: Option<Difference>,
    /// How many assertions we and the peer had when the cells were read: other counts mean that a
    /// set changed, and the cells do not fit together.
    counts: (u64, u64),
    /// Requests answered so far. A peer whose set changes all the time would be asked for ever.
    requests: u32,
    /// Which cells are asked for next.
    next: Next,
    /// About how many differ, by the hint that came with the peer's first cells: it chooses which
    /// of our low counts to send.
    hint: u64,
}

/// What to ask for; cells before `from` are here already.
#[derive(Clone, Copy, Debug, Default)]
enum Next {
    /// The first cells of the whole set.
    #[default]
    First,
    /// As many cells as the peer's estimate says.
    AsManyAsNeeded { from: usize },
    /// A number of cells that we choose.
    Cells { from: usize, cells: usize },
}

impl Next {
    fn from(self) -> usize {
        match self {
            Next::First => 0,
            Next::AsManyAsNeeded { from } | Next::Cells { from, .. } => from,
        }
    }
}

/// What an answer came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ComparisonResult {
    /// Another request is needed.
    Ask,
    /// The ids of the difference.
    Decoded(Vec<ShortId>),
    /// More differs than these sketches decode: about so much, by the peer's estimate.
    TooMuch(u64),
    /// The sets change too fast, or the peer compares no parts.
    Abandon,
    /// No sets have such cells.
    Nonsense,
}

impl SketchComparison {
    /// A comparison of a part, in which about so much differs; `None` if the part is too large.
    pub(super) fn of_part(
        part: Part,
        expected: Estimate,
        store: &Store,
    ) -> Option<SketchComparison> {
        let cells = cells_for(expected);
        // A quarter more is sketched, for parts that differ in more: the scan cannot be extended.
        let part = PartScan::new(store, part, cells + cells / 4, 2 * limits::PART_MEMBERS_MAX)?;
        let next = Next::Cells { from: 0, cells };
        Some(SketchComparison { part: Some(part), next, ..SketchComparison::default() })
    }

    /// The part, if it is not the whole.
    pub(super) fn part(&self) -> Option<Part> {
        self.part.as_ref().map(PartScan::part)
    }

    /// Reads some more of our part; false if all of it was read before.
    pub(super) fn read_on(&mut self, store: &Store) -> bool {
        let unread = self.part.as_mut().filter(|part| !part.is_over());
        unread.map(|part| part.step(PART_STEP, store)).is_some()
    }

    /// Whether our side is there, so that an answer can be compared with it.
    pub(super) fn is_read(&self) -> bool {
        self.part.as_ref().is_none_or(PartScan::is_over)
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
        // A part that is being read has no count yet, and the peer needs none: no low counts go.
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
        let result = self.decode(reply, store);
        self.check();
        result
    }

    fn decode(&mut self, reply: &SketchReply, store: &Store) -> ComparisonResult {
        // A peer that knows no parts, or to which this one is too large, does not name it.
        if reply.part != self.part() {
            return ComparisonResult::Abandon;
        }
        if reply.from != self.next.from() {
            return ComparisonResult::Nonsense;
        }
        // An answer from cell 0 on replaces what came before.
        let known = self.difference.take().filter(|_| reply.from > 0);
        let (sketch, count) = self.ours(store);
        let counts = (count, reply.count);
        let mut difference = match known {
            Some(_) if counts != self.counts => return self.ask_from_start(),
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
            Decoded::All if length > 0 => ComparisonResult::Decoded(difference.found().to_vec()),
            Decoded::Part if reply.cells.is_empty() && self.part.is_some() => {
                ComparisonResult::Abandon
            }
            // No cells in answer to low counts: the peer estimates more than its sketch decodes.
            Decoded::Part if reply.cells.is_empty() => ComparisonResult::TooMuch(reply.estimate),
            Decoded::Part if matches!(self.next, Next::First) => {
                // A peer's count wraps as those of the cells do.
                self.hint = store.sketch().estimate_by_hint(reply.count as u32, &reply.hint);
                self.ask(Next::AsManyAsNeeded { from: length })
            }
            Decoded::Part if length < most => {
                // The estimate was a little short: the rest is asked for in small steps.
                self.ask(Next::Cells { from: length, cells: (length / 16).max(FIRST_CELLS) })
            }
            Decoded::Nonsense => ComparisonResult::Nonsense,
            Decoded::Part => ComparisonResult::TooMuch(reply.estimate),
            // All of no cells: the peer sent none where it was asked for some.
            Decoded::All => ComparisonResult::Abandon,
        }
    }

    fn ask(&mut self, next: Next) -> ComparisonResult {
        self.next = next;
        if self.requests < REQUESTS_MAX { ComparisonResult::Ask } else { ComparisonResult::Abandon }
    }

    /// Asks from the first cell on, since a set changed.
    fn ask_from_start(&mut self) -> ComparisonResult {
        self.ask(match self.next {
            Next::First => Next::First,
            Next::Cells { from, cells } if self.part.is_some() => {
                Next::Cells { from: 0, cells: from + cells }
            }
            Next::AsManyAsNeeded { .. } | Next::Cells { .. } => Next::AsManyAsNeeded { from: 0 },
        })
    }

    /// Requests and cells keep their bounds, and only a part begins with cells of our choice.
    fn check(&self) {
        debug_assert!(self.requests <= REQUESTS_MAX);
        let cells = self.difference.as_ref().map_or(0, Difference::len);
        debug_assert!(cells <= limits::SKETCH_CELLS_MAX);
        debug_assert!(self.part.is_none() || matches!(self.next, Next::Cells { .. }));
    }
}
