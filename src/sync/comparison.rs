//! Finding out by sketches what two sets differ in.
//!
//! In: cells of the peer's sketch. Out: which cells to ask for next, or the ids of the difference.
//! A few cells first, which is all that a small difference takes; then the counts of our own first
//! cells, by which the peer answers as many as are needed; then a little more, where that fell
//! short. A set that changes meanwhile is asked for anew.
//!
//! Never: asks on for ever, asks for more than the sketch has.

use super::call::{SketchReply, SketchRequest};
use crate::base::limits;
use crate::sketch::{Decoded, Difference, Part, ShortId, Sketch, pack_counts, unpack_counts};
use crate::store::Store;

/// Cells asked for at first: they tell of some ten differences.
const FIRST_CELLS: usize = 24;
/// Requests to one peer before the leaves have to tell.
const REQUESTS_MAX: u32 = 16;

/// One comparison under way.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    /// Of our set, where not all of it is compared.
    part: Option<(Part, Sketch)>,
    difference: Option<Difference>,
    /// How many assertions we and the peer had when the cells were read.
    counts: (u64, u64),
    requests: u32,
    next: Next,
}

#[derive(Clone, Copy, Debug, Default)]
enum Next {
    #[default]
    First,
    AsManyAsNeeded {
        from: usize,
    },
    More {
        from: usize,
        cells: usize,
    },
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Another request.
    Ask,
    /// The difference is known.
    Known(Vec<ShortId>),
    /// More differs, by what the peer says, than sketches tell.
    TooMuch,
    /// They do not tell it, of sets that change too fast.
    GiveUp,
    /// No sets have such cells.
    Nonsense,
}

impl Comparison {
    /// Of a part of the sets; `None` where it is too large.
    pub(super) fn of_part(part: Part, store: &Store) -> Option<Comparison> {
        let sketch = store.sketch_of(part)?;
        let next = Next::AsManyAsNeeded { from: 0 };
        Some(Comparison { part: Some((part, sketch)), next, ..Comparison::default() })
    }

    /// The part, where it is not the whole.
    pub(super) fn part(&self) -> Option<Part> {
        self.part.as_ref().map(|(part, _)| *part)
    }

    /// Our sketch, and how many assertions it is of.
    fn ours<'a>(&'a self, store: &'a Store) -> (&'a Sketch, u64) {
        match &self.part {
            Some((_, sketch)) => (sketch, u64::from(sketch.counts()[0])),
            None => (store.sketch(), store.len()),
        }
    }

    /// What to ask the peer.
    pub(super) fn request(&self, store: &Store, root: u64) -> SketchRequest {
        let (sketch, count) = self.ours(store);
        let of = |from, cells| {
            let part = self.part();
            SketchRequest { from, cells, count, part, ..SketchRequest::default() }
        };
        match self.next {
            Next::First => SketchRequest { root, ..of(0, FIRST_CELLS) },
            Next::AsManyAsNeeded { from } => {
                let counts = pack_counts(sketch.counts());
                SketchRequest { counts, ..of(from, 0) }
            }
            Next::More { from, cells } => of(from, cells),
        }
    }

    /// Takes the peer's cells. Some peers begin anew where counts tell how many are needed.
    pub(super) fn handle_reply(&mut self, reply: &SketchReply, store: &Store) -> Step {
        self.requests += 1;
        if reply.part != self.part() {
            return Step::GiveUp;
        }
        let known = self.difference.take().filter(|_| reply.from > 0);
        let (sketch, count) = self.ours(store);
        let counts = (count, reply.count);
        let mut difference = match known {
            Some(known) if reply.from != known.len() || counts != self.counts => {
                return self.ask(Next::AsManyAsNeeded { from: 0 });
            }
            Some(mut known) => {
                known.extend(sketch, &reply.cells);
                known
            }
            None => Difference::new(sketch, &reply.cells),
        };
        self.counts = counts;
        let length = difference.len();
        let decoded = difference.decode();
        let difference = self.difference.insert(difference);
        match decoded {
            Decoded::All if length > 0 => Step::Known(difference.found().to_vec()),
            Decoded::Part if reply.cells.is_empty() => Step::TooMuch,
            Decoded::Part if matches!(self.next, Next::First) => {
                self.ask(Next::AsManyAsNeeded { from: length })
            }
            Decoded::Part if length < limits::SKETCH_CELLS_MAX => {
                self.ask(Next::More { from: length, cells: (length / 16).max(FIRST_CELLS) })
            }
            Decoded::Nonsense => Step::Nonsense,
            Decoded::Part => Step::TooMuch,
            Decoded::All => Step::GiveUp,
        }
    }

    fn ask(&mut self, next: Next) -> Step {
        self.next = next;
        if self.requests < REQUESTS_MAX { Step::Ask } else { Step::GiveUp }
    }
}

/// Answers a peer's request from our sketch, or that of a part. No cells: too much differs for
/// them.
pub fn answer(store: &Store, request: &SketchRequest) -> SketchReply {
    let made;
    let (sketch, count) = match request.part {
        None => (store.sketch(), store.len()),
        Some(part) => match store.sketch_of(part) {
            Some(sketch) => {
                made = sketch;
                (&made, u64::from(made.counts()[0]))
            }
            None => return SketchReply::default(),
        },
    };
    let (from, part) = (request.from, request.part);
    let mut reply = SketchReply { from, count, part, ..SketchReply::default() };
    let mut cells = request.cells;
    if !request.counts.is_empty() {
        // Counts beyond 32 bits wrap around here as they do in the sketch.
        let theirs = unpack_counts(request.count as u32, &request.counts);
        reply.estimate = sketch.estimate(&theirs);
        cells = cells_for(reply.estimate).saturating_sub(request.from);
    }
    reply.cells = sketch.cells(reply.from, cells);
    reply
}

/// About 1.38 cells per difference decode, and the estimate errs by 6 %: with this margin not one
/// comparison in a hundred asks for more.
fn cells_for(estimate: u64) -> usize {
    if estimate > limits::SKETCH_DIFFERENCES_MAX {
        return 0;
    }
    (estimate * 160 / 100) as usize + 2 * FIRST_CELLS
}
