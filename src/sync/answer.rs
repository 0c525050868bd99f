//! Answering a peer that wants cells, or records.
//!
//! In: its request. Out: cells of our sketch, or of a part's, which is made for it in slices;
//! records of a row range, read in slices.
//!
//! ```text
//! new --step, again and again--> answered
//! ```
//!
//! Never: makes the sketch of a part that is too large, answers more than fits in one message,
//! keeps anything of a peer after its answer.

use super::messages::{Records, RowCursor, RowRange, SketchReply, SketchRequest, Span};
use crate::base::limits;
use crate::journal::Bodies;
use crate::journal::record::frame_bytes;
use crate::sketch::{Estimate, Sketch};
use crate::store::{PartScan, Row, Store};

/// Standard deviations of estimate and decoding that the cells allow for. By it 4 to 8 of 1,000
/// comparisons need a third request.
const DEVIATIONS: f64 = 2.7;
/// Cells beyond what the rule says: how many a small difference takes has a long tail.
const SPARE_CELLS: f64 = 24.0;

/// Which sketch the cells are of.
#[derive(Debug)]
enum CellSource {
    /// The store's own, of the whole set.
    Whole,
    /// One of a part, which is made for this answer.
    Part(PartScan),
    /// None: the part has more members than a node sketches for a peer.
    TooLarge,
}

/// An answer with cells, being made.
#[derive(Debug)]
pub struct Answering {
    /// What the peer asked for.
    request: SketchRequest,
    /// What is read for it, slice by slice.
    source: CellSource,
}

impl Answering {
    /// An answer to this request, of which nothing is read yet.
    pub fn new(store: &Store, request: SketchRequest) -> Answering {
        // With low counts it is not known before the estimate how many cells go.
        let cells = match request.low_counts.packed.is_empty() {
            true => request.from.saturating_add(request.cells),
            false => limits::SKETCH_CELLS_MAX,
        };
        let most = limits::PART_MEMBERS_MAX;
        let source = match request.part {
            None => CellSource::Whole,
            Some(part) => PartScan::new(store, part, cells, most)
                .map_or(CellSource::TooLarge, CellSource::Part),
        };
        Answering { request, source }
    }

    /// Reads about `budget` members of the part, if it is one; the answer when all are read.
    pub fn step(&mut self, budget: usize, store: &Store) -> Option<SketchReply> {
        let (sketch, count) = match &mut self.source {
            CellSource::Whole => (store.sketch(), store.len()),
            // The part is not named in the answer, by which the peer knows.
            CellSource::TooLarge => return Some(SketchReply::default()),
            CellSource::Part(part) => {
                part.step(budget, store).then_some(())?;
                (part.sketch(), u64::from(part.sketch().members()))
            }
        };
        Some(reply(sketch, count, &self.request))
    }
}

/// Answers a request for cells in one step, for callers that serve no others meanwhile.
pub fn answer(store: &Store, request: &SketchRequest) -> SketchReply {
    let mut answering = Answering::new(store, request.clone());
    let mut steps = std::iter::repeat_with(|| answering.step(usize::MAX, store));
    steps.find_map(|reply| reply).expect("one step does all")
}

/// An answer with consecutive records of the log, being read.
#[derive(Debug)]
pub struct RecordsAnswering {
    /// The row that ends the range, or the last one at the start of the answer: a log that grows
    /// meanwhile does not make the answer longer.
    until: u64,
    /// What is read so far.
    records: Records,
    /// Bytes of the log that it takes.
    bytes: u64,
    /// Bytes after which it is full.
    bytes_max: u64,
}

impl RecordsAnswering {
    /// An answer with these rows, of about `bytes_max` bytes: the record that exceeds them is the
    /// last one, so that a record of any size gets through.
    pub fn new(store: &Store, wanted: RowRange, bytes_max: u64) -> RecordsAnswering {
        let (numbering, rows) = (store.numbering(), store.rows());
        let is_known = wanted.from.numbering == numbering;
        // The peer sees by the numbering of the answer that it begins with another row.
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
        // Records behind each other are one read of the disk.
        let Some(window) = store.window(rows, budget.min(self.bytes_max - self.bytes)) else {
            self.records.span.next = self.until;
            return true;
        };
        let good = bodies.sealed_at_all(&window.positions);
        self.bytes +=
            good.iter().map(|sealed| frame_bytes(sealed.bytes().len()) as u64).sum::<u64>();
        self.records.good.extend(good);
        self.records.span.next = u64::from(window.next);
        self.check();
        self.bytes >= self.bytes_max || self.records.span.next >= self.until
    }

    /// What was read, once it is all.
    pub fn into_records(self) -> Records {
        self.records
    }

    /// The answer moves on within its range, and has no more records than rows.
    fn check(&self) {
        let Span { from, next, rows } = self.records.span;
        debug_assert!(from.row <= next && next <= self.until && self.until <= rows);
        debug_assert!(self.records.good.len() as u64 <= next - from.row);
    }
}

/// Answers a request for records in one step, for callers that serve no others meanwhile.
pub fn answer_records(store: &Store, wanted: RowRange, bodies: &dyn Bodies) -> Records {
    let mut answering = RecordsAnswering::new(store, wanted, limits::RECORDS_BYTES);
    while !answering.step(limits::RECORDS_BYTES, store, bodies) {}
    answering.into_records()
}

fn reply(sketch: &Sketch, count: u64, request: &SketchRequest) -> SketchReply {
    let &SketchRequest { from, part, .. } = request;
    let mut reply = SketchReply { from, count, part, ..SketchReply::default() };
    if request.low_counts.packed.is_empty() {
        // The hint is of the whole set; a request with later cells had it before.
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

/// Cells that decode such a difference: 1.36 for each id, [`SPARE_CELLS`], and [`DEVIATIONS`] of
/// what estimate and decoding are off by. Measured over thousands of sets, like the constants.
pub(super) fn cells_for(estimate: Estimate) -> usize {
    let differing = estimate.differing as f64;
    let (each, unsure) = (1.36 * differing, 1.36 * differing * estimate.error);
    let deviation = (unsure * unsure + differing).sqrt();
    ((each + SPARE_CELLS + DEVIATIONS * deviation) as usize).min(limits::SKETCH_CELLS_MAX)
}
