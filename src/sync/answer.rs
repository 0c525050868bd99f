//! Answering a peer that wants cells, or records.
//!
//! In: its request. Out: cells of our sketch, or of a part's, which is made for it in slices;
//! records of a row range, read in slices.
//!
//! Never: makes the sketch of a part that is too large, answers what it cannot say in one message.

use super::messages::{Records, RowCursor, RowRange, SketchReply, SketchRequest, Span};
use crate::base::limits;
use crate::journal::Bodies;
use crate::journal::record::frame_bytes;
use crate::sketch::{Estimate, Sketch};
use crate::store::{PartScan, Row, Store};

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
        let cells = match request.low_counts.packed.is_empty() {
            true => request.from.saturating_add(request.cells),
            false => limits::SKETCH_CELLS_MAX,
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

/// Records from a row on that lie together in the log, being read.
#[derive(Debug)]
pub struct RecordsAnswering {
    until: u64,
    records: Records,
    bytes: u64,
    bytes_max: u64,
}

impl RecordsAnswering {
    /// The rows that are wanted, in an answer of about `bytes_max` bytes: what is begun within them
    /// is told whole.
    pub fn new(store: &Store, wanted: RowRange, bytes_max: u64) -> RecordsAnswering {
        let (numbering, rows) = (store.numbering(), store.rows());
        let is_known = wanted.from.numbering == numbering;
        let row = if is_known { wanted.from.row.min(rows) } else { 0 };
        // Rows of another numbering say nothing here: the peer begins with the first one.
        let until = wanted.until.filter(|_| is_known).map_or(rows, |until| until.clamp(row, rows));
        let span = Span { from: RowCursor { numbering, row }, next: row, rows };
        let records = Records { span, ..Records::default() };
        RecordsAnswering { until, records, bytes: 0, bytes_max }
    }

    /// Reads about `budget` bytes more; true when all are there.
    pub fn step(&mut self, budget: u64, store: &Store, bodies: &dyn Bodies) -> bool {
        let narrow = |row| Row::try_from(row).expect("no more than there are");
        let rows = narrow(self.records.span.next)..narrow(self.until);
        let Some(window) = store.window(rows, budget.min(self.bytes_max - self.bytes)) else {
            self.records.span.next = self.until;
            return true;
        };
        let good = bodies.sealed_at_all(&window.places);
        self.bytes +=
            good.iter().map(|sealed| frame_bytes(sealed.bytes().len()) as u64).sum::<u64>();
        self.records.good.extend(good);
        self.records.span.next = u64::from(window.next);
        self.bytes >= self.bytes_max || self.records.span.next >= self.until
    }

    /// What was read, once it is all.
    pub fn into_records(self) -> Records {
        self.records
    }
}

/// Answers at once.
pub fn answer_records(store: &Store, wanted: RowRange, bodies: &dyn Bodies) -> Records {
    let mut answering = RecordsAnswering::new(store, wanted, limits::RECORDS_BYTES);
    while !answering.step(limits::RECORDS_BYTES, store, bodies) {}
    answering.into_records()
}

fn reply(sketch: &Sketch, count: u64, request: &SketchRequest) -> SketchReply {
    let &SketchRequest { from, part, .. } = request;
    let mut reply = SketchReply { from, count, part, ..SketchReply::default() };
    if request.low_counts.packed.is_empty() {
        if from == 0 && part.is_none() {
            reply.hint = sketch.hint();
        }
        reply.cells = sketch.cells(from, request.cells);
        return reply;
    }
    // Counts beyond 32 bits wrap around here as they do in the sketch.
    let estimate = sketch.estimate_by_low(request.count as u32, &request.low_counts);
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
