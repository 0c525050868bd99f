//! Answering a peer that wants cells.
//!
//! In: its request. Out: cells of our sketch, or of a part's, which is made for it in slices.
//! Never: makes the sketch of a part that is too large, answers what it cannot say in one message.

use super::call::{SketchReply, SketchRequest};
use crate::base::limits;
use crate::sketch::{Estimate, Sketch, unpack_counts};
use crate::store::{PartScan, Store};

/// Normal deviations of estimate and decoding for which there are cells: one comparison in a
/// hundred and fifty asks for more.
const DEVIATIONS: f64 = 2.7;
/// Cells beyond what the rule says, for the long tail of small differences.
const SPARE_CELLS: f64 = 24.0;

/// An answer being made.
#[derive(Debug)]
pub struct Answering {
    request: SketchRequest,
    /// The inner one is none where the part is too large.
    part: Option<Option<PartScan>>,
}

impl Answering {
    /// To this request.
    pub fn new(store: &Store, request: SketchRequest) -> Answering {
        let is_counting = !request.counts.is_empty() || !request.low_counts.packed.is_empty();
        let cells = match is_counting {
            true => limits::SKETCH_CELLS_MAX,
            false => request.from.saturating_add(request.cells),
        };
        let most = limits::PART_MEMBERS_MAX;
        let part = request.part.map(|part| PartScan::new(store, part, cells, most));
        Answering { request, part }
    }

    /// Reads about so many members of the part, if it is one; the answer when it is there.
    pub fn step(&mut self, budget: usize, store: &Store) -> Option<SketchReply> {
        let (sketch, count) = match &mut self.part {
            None => (store.sketch(), store.len()),
            // No cells of no part: too much for us.
            Some(None) => return Some(SketchReply::default()),
            Some(Some(part)) => {
                part.step(budget, store).then_some(())?;
                (part.sketch(), u64::from(part.sketch().members()))
            }
        };
        Some(reply(sketch, count, &self.request))
    }
}

/// Answers at once.
pub fn answer(store: &Store, request: &SketchRequest) -> SketchReply {
    let mut answering = Answering::new(store, request.clone());
    let mut steps = std::iter::repeat_with(|| answering.step(usize::MAX, store));
    steps.find_map(|reply| reply).expect("one step does all")
}

fn reply(sketch: &Sketch, count: u64, request: &SketchRequest) -> SketchReply {
    let &SketchRequest { from, part, .. } = request;
    let mut reply = SketchReply { from, count, part, ..SketchReply::default() };
    // Counts beyond 32 bits wrap around here as they do in the sketch.
    let all = request.count as u32;
    let estimate = if !request.low_counts.packed.is_empty() {
        sketch.estimate_by_low(all, &request.low_counts)
    } else if !request.counts.is_empty() {
        sketch.estimate(&unpack_counts(all, &request.counts))
    } else {
        if from == 0 && part.is_none() {
            reply.hint = sketch.hint();
        }
        reply.cells = sketch.cells(from, request.cells);
        return reply;
    };
    reply.estimate = estimate.differing;
    if estimate.differing <= limits::SKETCH_DIFFERENCES_MAX {
        reply.cells = sketch.cells(from, cells_for(estimate).saturating_sub(from));
    }
    reply
}

/// Cells that decode such a difference: 1.36 for each, some more where fewer differ, and more
/// again as the estimate is unsure. Measured over thousands of sets, like the constants.
pub(super) fn cells_for(estimate: Estimate) -> usize {
    let differing = estimate.differing as f64;
    let (each, unsure) = (1.36 * differing, 1.36 * differing * estimate.error);
    let deviation = (unsure * unsure + differing).sqrt();
    ((each + SPARE_CELLS + DEVIATIONS * deviation) as usize).min(limits::SKETCH_CELLS_MAX)
}
