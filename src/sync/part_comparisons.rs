//! Comparing sets part by part, if more differs than the sketch of the whole decodes.
//!
//! In: an estimate of the difference, answers for parts. Out: requests for one part after the
//! other, two of them in flight at once, and the ids of each. Hashes are random, so all parts of a
//! size differ by about as much: what the first ones decoded to says how many cells the next ones
//! take. Our side of a part is read in slices, while the peer reads its own.
//!
//! ```text
//! todo --begin_next--> ToAsk --poll_request--> Asked --handle_reply--> Answered
//!   ^                    ^                                                |
//!   |                    |                                    our side is read, too
//!   |                    |                                                v
//!   |                    +----- more cells are needed ----------- compared: decoded --> done
//!   +--- four quarters, since too much differs -------------------+
//! ```
//!
//! Never: has more than two parts in memory, begins a part while [`WAITING_MAX`] ids wait for their
//! exchange, compares a part twice.

use std::collections::VecDeque;

use super::messages::{SketchReply, SketchRequest};
use super::sketch_comparison::{ComparisonResult, SketchComparison};
use crate::base::limits;
use crate::sketch::{Estimate, Part, ShortId};
use crate::store::Store;

/// Parts in flight at once: while one is exchanged, the next is read and sent.
pub(super) const PARTS_MAX: usize = 2;
/// Ids that may wait for their exchange when another part begins.
const WAITING_MAX: usize = limits::PART_DIFFERENCES as usize;
/// The error of an estimate of the whole, for what is to be expected of a part: twice the 1 % that
/// it is off by for the most part.
const ERROR: f64 = 0.02;
/// The whole set, in the units of [`PartComparisons::covered`].
const WHOLE: u64 = 1 << 32;

/// How far the comparison of a part is.
#[derive(Debug)]
enum PartStage {
    /// The next request for it is due.
    ToAsk,
    /// A request is in flight.
    Asked,
    /// The answer came, and waits until our side is read.
    Answered(SketchReply),
}

/// A comparison of all parts of two sets.
#[derive(Debug)]
pub(super) struct PartComparisons {
    /// Parts that were not begun.
    todo: VecDeque<Part>,
    /// Parts with sketches in memory, up to a megabyte each.
    under_way: Vec<(SketchComparison, PartStage)>,
    /// Differing ids of the whole sets, by what is known so far: the measure for the next part.
    expected: u64,
    /// Ids that the finished parts decoded to.
    decoded: u64,
    /// How much of the set the finished parts are, in units of 2^-32: parts that were split have
    /// other sizes.
    covered: u64,
    /// How many parts are finished. One alone says little about all.
    done: u32,
}

/// What the answer for a part came to, for the session.
#[derive(Debug)]
pub(super) enum PartResult {
    /// The ids of a part.
    Decoded {
        /// The ids that only one of the sets has.
        ids: Vec<ShortId>,
        /// Differing ids of the whole sets by extrapolation, if two parts or more are finished.
        total: Option<u64>,
    },
    /// Parts do not decode, or cost too many cells: the leaves have to show the difference.
    Abandon,
    /// No sets have such cells.
    Nonsense,
}

/// A part of our set is too large to be sketched.
#[derive(Debug)]
pub(super) struct PartTooLarge;

impl PartComparisons {
    /// All parts of sets with at most `members` members, of which about `expected` differ.
    pub(super) fn new(expected: u64, members: u64) -> PartComparisons {
        // Twice as many as by the bound, since parts of random hashes are not of equal size.
        let by_members = members.div_ceil(limits::PART_MEMBERS_MAX / 2);
        let count = expected.div_ceil(limits::PART_DIFFERENCES).max(by_members);
        let todo = Part::all(count).collect();
        PartComparisons { todo, under_way: Vec::new(), expected, decoded: 0, covered: 0, done: 0 }
    }

    pub(super) fn is_over(&self) -> bool {
        self.todo.is_empty() && self.under_way.is_empty()
    }

    /// Begins another part, if the bounds allow it. `waiting` ids wait for their exchange.
    pub(super) fn begin_next(&mut self, waiting: usize, store: &Store) -> Result<(), PartTooLarge> {
        // What the parts before decoded to is exchanged first: it takes memory, and shows whether
        // the peer has what its cells claim before more of them are asked for.
        let is_due = self.under_way.len() < PARTS_MAX && waiting < WAITING_MAX;
        if let Some(part) = self.todo.pop_front_if(|_| is_due) {
            let expected = self.expected_in(part);
            let comparison =
                SketchComparison::of_part(part, expected, store).ok_or(PartTooLarge)?;
            self.under_way.push((comparison, PartStage::ToAsk));
        }
        self.check();
        Ok(())
    }

    /// The next request, with the part that it is for.
    pub(super) fn poll_request(&mut self, store: &Store) -> Option<SketchRequest> {
        let mut due = self.under_way.iter_mut();
        let (comparison, stage) = due.find(|(_, stage)| matches!(stage, PartStage::ToAsk))?;
        *stage = PartStage::Asked;
        // Roots are of whole sets: a part's request carries none.
        Some(comparison.request(store, 0))
    }

    /// Reads a slice of our side; false if all of it was read before.
    pub(super) fn read_on(&mut self, store: &Store) -> bool {
        self.under_way.iter_mut().any(|(comparison, _)| comparison.read_on(store))
    }

    /// An answer came. One for a part that is not under way any more is passed over.
    pub(super) fn handle_reply(&mut self, part: Part, reply: SketchReply) {
        let mut parts = self.under_way.iter_mut();
        if let Some((_, stage)) = parts.find(|(it, _)| it.part() == Some(part)) {
            *stage = PartStage::Answered(reply);
        }
        self.check();
    }

    /// Compares what came with what is read; `None` if nothing is left to compare. `is_costly` says
    /// that no more cells may be asked for.
    pub(super) fn poll_result(&mut self, store: &Store, is_costly: bool) -> Option<PartResult> {
        loop {
            let (at, result) = self.next_result(store)?;
            let ended = match result {
                ComparisonResult::Ask | ComparisonResult::TooMuch(_) if is_costly => {
                    Some(PartResult::Abandon)
                }
                ComparisonResult::Ask => {
                    self.under_way[at].1 = PartStage::ToAsk;
                    None
                }
                ComparisonResult::Decoded(ids) => {
                    // Its sketch, up to a megabyte, is of no more use.
                    let (comparison, _) = self.under_way.swap_remove(at);
                    self.note_done(comparison.part().expect("of a part"), ids.len());
                    let total = (self.done > 1).then_some(self.expected);
                    self.check();
                    Some(PartResult::Decoded { ids, total })
                }
                ComparisonResult::TooMuch(_) => self.split(at),
                ComparisonResult::Nonsense => Some(PartResult::Nonsense),
                ComparisonResult::Abandon => Some(PartResult::Abandon),
            };
            if ended.is_some() {
                return ended;
            }
            self.check();
        }
    }

    fn next_result(&mut self, store: &Store) -> Option<(usize, ComparisonResult)> {
        for (at, (comparison, stage)) in self.under_way.iter_mut().enumerate() {
            if let PartStage::Answered(_) = stage
                && comparison.is_read()
                && let PartStage::Answered(reply) = std::mem::replace(stage, PartStage::Asked)
            {
                return Some((at, comparison.handle_reply(&reply, store)));
            }
        }
        None
    }

    /// A part differs in more than its sketch decodes.
    fn split(&mut self, at: usize) -> Option<PartResult> {
        let (comparison, _) = self.under_way.swap_remove(at);
        // The other parts differ in as many: they are to be asked for with more cells at once.
        self.expected = self.expected.saturating_mul(2);
        let quarters = comparison.part().and_then(Part::split);
        let is_split = quarters.is_some();
        self.todo.extend(quarters.into_iter().flatten());
        (!is_split).then_some(PartResult::Abandon)
    }

    /// How many ids are expected to differ in a part.
    fn expected_in(&self, part: Part) -> Estimate {
        // Two parts' worth at most: a larger number may be a false claim of the peer's.
        let differing = (self.expected >> part.bits).min(2 * limits::PART_DIFFERENCES);
        let (here, others) = (differing.max(1) as f64, self.decoded.max(1) as f64);
        // Counts of random ids have the deviation of their root, here and in what it is taken from.
        let error = if self.covered > 0 { (1.0 / others).sqrt() } else { ERROR };
        Estimate { differing, error: (1.0 / here + error * error).sqrt() }
    }

    fn note_done(&mut self, part: Part, decoded: usize) {
        self.decoded += decoded as u64;
        self.done += 1;
        self.covered += WHOLE >> part.bits;
        // Ids times 2^32 exceed 64 bits from 2^32 ids on.
        self.expected = ((u128::from(self.decoded) << 32) / u128::from(self.covered)) as u64;
    }

    /// Parts are disjoint, and all together the whole: none was lost or done twice.
    fn check(&self) {
        debug_assert!(self.under_way.len() <= PARTS_MAX);
        let parts = self.under_way.iter().filter_map(|(it, _)| it.part());
        let under_way: u64 = parts.map(|part| WHOLE >> part.bits).sum();
        debug_assert!(self.covered + under_way <= WHOLE);
        debug_assert!(!self.is_over() || self.covered == WHOLE);
        debug_assert!(self.decoded == 0 || self.covered > 0);
    }
}
