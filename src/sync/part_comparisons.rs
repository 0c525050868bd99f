//! Comparing sets part by part, where more differs than the sketch of the whole tells.
//!
//! In: about how much differs. Out: questions for one part after the other, two of them in flight
//! at once, while what the parts before told is exchanged. Hashes are random, so that all parts of
//! a size differ by about as much: what the first ones told says how many cells the next ones take.
//! Our own side of a part is read in slices, while the peer reads its own.
//!
//! Never: has more than two parts in memory, goes on while what was told is not exchanged.

use std::collections::VecDeque;

use super::messages::SketchReply;
use super::sketch_comparison::{ComparisonResult, SketchComparison};
use super::{CallPurpose, Output, Request, Session, SessionPhase};
use crate::base::limits;
use crate::sketch::{Estimate, Part};
use crate::store::Store;

/// PartComparisons under way at once: while one is exchanged, the next is read and sent.
const PARTS_MAX: usize = 2;
/// Ids that may wait for their exchange when another part is asked for.
const WAITING_MAX: usize = limits::PART_DIFFERENCES as usize;
/// What an estimate of the whole is off by, at most, for what is to be expected of a part.
const ERROR: f64 = 0.02;

/// PartComparisons under way.
#[derive(Debug)]
pub(super) struct PartComparisons {
    todo: VecDeque<Part>,
    under_way: Vec<(SketchComparison, bool)>,
    /// How much differs in all of the set, by what is known so far.
    expected: u64,
    /// What the parts that are done told, and how much of the set they are, in units of 2^-32.
    decoded: u64,
    covered: u64,
    done: u32,
}

impl PartComparisons {
    /// Of sets with so many members at most, in which about so much differs.
    pub(super) fn new(expected: u64, members: u64) -> PartComparisons {
        let by_members = members.div_ceil(limits::PART_MEMBERS_MAX / 2);
        let count = expected.div_ceil(limits::PART_DIFFERENCES).max(by_members);
        let todo = Part::all(count).collect();
        PartComparisons { todo, under_way: Vec::new(), expected, decoded: 0, covered: 0, done: 0 }
    }

    pub(super) fn is_over(&self) -> bool {
        self.todo.is_empty() && self.under_way.is_empty()
    }

    /// An answer came.
    pub(super) fn hold(&mut self, part: Part, reply: SketchReply) {
        let mut comparisons = self.under_way.iter_mut().map(|(comparison, _)| comparison);
        if let Some(comparison) = comparisons.find(|it| it.part() == Some(part)) {
            comparison.hold(reply);
        }
    }

    /// How much is to be expected to differ in a part; where that is very much, a part of it is
    /// found out first.
    fn expected(&self, part: Part) -> Estimate {
        let differing = (self.expected >> part.bits).min(2 * limits::PART_DIFFERENCES);
        let (here, others) = (differing.max(1) as f64, self.decoded.max(1) as f64);
        let error = if self.covered > 0 { (1.0 / others).sqrt() } else { ERROR };
        Estimate { differing, error: (1.0 / here + error * error).sqrt() }
    }

    fn note(&mut self, part: Part, decoded: usize) {
        self.decoded += decoded as u64;
        self.done += 1;
        self.covered += 1 << (32 - part.bits);
        self.expected = ((u128::from(self.decoded) << 32) / u128::from(self.covered)) as u64;
    }
}

impl Session {
    /// The next question, or a slice of our own side.
    pub(super) fn poll_parts(&mut self, store: &Store) -> Option<Output> {
        let waiting = self.missing.short_ids() + self.exchange.len();
        let parts = self.compare.parts.as_mut()?;
        let has_capacity = parts.under_way.len() < PARTS_MAX && waiting < WAITING_MAX;
        if let Some(part) = parts.todo.pop_front_if(|_| has_capacity) {
            match SketchComparison::of_part(part, parts.expected(part), store) {
                Some(comparison) => parts.under_way.push((comparison, true)),
                None => {
                    self.fall_back_to_leaves();
                    return None;
                }
            }
        }
        let asking = parts.under_way.iter_mut().find(|(_, is_asking)| *is_asking);
        if let Some((comparison, is_asking)) = asking {
            *is_asking = false;
            let request = comparison.request(store, 0);
            let asked = CallPurpose::Sketch(comparison.part());
            return Some(self.call(asked, Request::Sketch(request)));
        }
        if self.compare.has_yielded {
            return None;
        }
        self.compare.has_yielded =
            parts.under_way.iter_mut().any(|(comparison, _)| comparison.read_on(store));
        self.compare.has_yielded.then_some(Output::Yield)
    }

    /// The peer's cells of a part came, or our own side of it is read.
    pub(super) fn handle_part_replies(&mut self, store: &Store) {
        loop {
            let Some(parts) = self.compare.parts.as_mut() else { return };
            let mut released = parts.under_way.iter_mut().enumerate().filter_map(|(at, under)| {
                let reply = under.0.release()?;
                Some((at, under.0.handle_reply(&reply, store)))
            });
            let Some((at, step)) = released.next() else { return };
            self.handle_part_result(at, step, store);
        }
    }

    fn handle_part_result(&mut self, at: usize, step: ComparisonResult, store: &Store) {
        let is_costly = self.compare.is_costly();
        let parts = self.compare.parts.as_mut().expect("one of its parts");
        match step {
            ComparisonResult::Ask | ComparisonResult::TooMuch(_) if is_costly => {
                self.fall_back_to_leaves()
            }
            ComparisonResult::Ask => parts.under_way[at].1 = true,
            ComparisonResult::Known(ids) => {
                let (comparison, _) = parts.under_way.swap_remove(at);
                parts.note(comparison.part().expect("of a part"), ids.len());
                // Two parts of thousands tell about all.
                let expected = parts.expected;
                let is_doubtful = parts.done > 1 && self.verdict.is_overstated(expected);
                self.assign_ids(ids, store);
                if is_doubtful {
                    self.recount(expected);
                }
            }
            ComparisonResult::TooMuch(_) => {
                let (comparison, _) = parts.under_way.swap_remove(at);
                parts.expected = parts.expected.saturating_mul(2);
                match comparison.part().and_then(Part::split) {
                    Some(quarters) => parts.todo.extend(quarters),
                    None => self.fall_back_to_leaves(),
                }
            }
            ComparisonResult::Nonsense => {
                self.reject("the peer's cells are not those of a sketch".into())
            }
            ComparisonResult::GiveUp => self.fall_back_to_leaves(),
        }
    }

    /// Asks the peer whether the sets changed since it said how much differs; not for ever.
    pub(super) fn recount(&mut self, differing: u64) {
        if !self.sizes.may_recount() {
            return self.fall_back_to_leaves();
        }
        self.phase = SessionPhase::Recount(differing);
    }

    /// Goes on with the parts of the sets.
    pub(super) fn compare_parts(&mut self, estimate: u64, store: &Store) {
        self.verdict.set_claims_large(true);
        let members = store.len().max(self.sizes.theirs);
        let estimate = estimate.clamp(limits::SKETCH_DIFFERENCES_MAX, 1 << 40);
        self.compare.parts = Some(PartComparisons::new(estimate, members));
        self.phase = SessionPhase::Exchange;
    }
}
