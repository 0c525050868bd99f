//! What a session asks for next, phase by phase.
//!
//! Never: has more calls under way than is bounded, asks while what came before waits for the disk.

use super::part_comparisons::PartComparisons;
use super::sketch_comparison::SketchComparison;
use super::{CallPurpose, Output, Request, Session, SessionPhase};
use super::{FETCH_MAX, FETCHES_MAX, GIVES_MAX, PUSHES_MAX, RECORDS_MAX};
use crate::base::limits;
use crate::journal::Bodies;
use crate::model::Sealed;
use crate::sketch::short_id;
use crate::store::Store;

impl Session {
    /// The next records are asked for while those before are looked at, and stored.
    pub(super) fn poll_pull(&mut self, store: &Store, bodies: &dyn Bodies) -> Option<Output> {
        let pull = self.pull.as_mut().expect("this phase has one");
        if !pull.is_over() {
            let unanswered = self.calls.unanswered();
            let is_full = !self.intake.has_capacity();
            if unanswered >= RECORDS_MAX || self.calls.len() > RECORDS_MAX || is_full {
                return None;
            }
            let range = pull.ask(self.calls.next())?;
            return Some(self.call(CallPurpose::Records, Request::Records(range)));
        }
        let is_all = pull.is_all();
        if !self.calls.is_empty() || !self.intake.is_idle() {
            return None;
        }
        self.phase = if is_all { SessionPhase::Over } else { SessionPhase::Sketch };
        self.poll_output(store, bodies)
    }

    /// Both directions at once.
    pub(super) fn poll_exchange(&mut self, store: &Store, bodies: &dyn Bodies) -> Option<Output> {
        self.handle_part_replies(store);
        if self.phase != SessionPhase::Exchange {
            return self.poll_output(store, bodies);
        }
        if self.missing.short_ids() > 0 && self.may_fetch() {
            let wanted = self.missing.take_short();
            return Some(
                self.call(CallPurpose::FetchShort(wanted.clone()), Request::FetchShort(wanted)),
            );
        }
        if let Some(output) = self.poll_give(store, bodies) {
            return Some(output);
        }
        if let Some(output) = self.poll_parts(store) {
            return Some(output);
        }
        if self.phase != SessionPhase::Exchange {
            return self.poll_output(store, bodies);
        }
        let is_over = self.compare.parts.as_ref().is_none_or(PartComparisons::is_over);
        if !is_over || !self.calls.is_empty() || self.missing.short_ids() > 0 {
            return None;
        }
        if self.compare.is_anew {
            if !self.intake.is_idle() {
                return None;
            }
            self.compare.is_anew = false;
            self.compare.whole = Some(SketchComparison::default());
            self.phase = SessionPhase::Sketch;
            return self.poll_output(store, bodies);
        }
        self.end_exchange();
        self.poll_output(store, bodies)
    }

    /// Gives the peer what it is known to lack, if not too much is under way.
    pub(super) fn poll_give(&mut self, store: &Store, bodies: &dyn Bodies) -> Option<Output> {
        if self.exchange.is_empty() || self.calls.gives() >= GIVES_MAX {
            return None;
        }
        let given = self.next_batch(store, bodies);
        Some(self.give(given))
    }

    /// Asks for what is known to be missing by its hash, if not too much is under way.
    pub(super) fn poll_fetch(&mut self) -> Option<Output> {
        if self.missing.hashes() == 0 || !self.may_fetch() {
            return None;
        }
        let wanted = self.missing.take();
        // Where short ids are in doubt, whole hashes are asked for.
        let request = if self.exchange.takes_many && self.compare.buckets.is_none() {
            Request::FetchShort(wanted.iter().map(short_id).collect())
        } else {
            Request::Fetch(wanted.clone())
        };
        Some(self.call(CallPurpose::Fetch(wanted), request))
    }

    /// Those whose assertions are not all stored yet count as well, in units of a full one.
    fn may_fetch(&self) -> bool {
        let unstored = self.intake.len().div_ceil(FETCH_MAX);
        self.calls.len() - self.calls.gives() + unstored < FETCHES_MAX
    }

    /// Assertions that fit in one message: those known to be lacked, or those not seen.
    pub(super) fn next_batch(&mut self, store: &Store, bodies: &dyn Bodies) -> Vec<Sealed> {
        let (mut given, mut bytes) = (Vec::new(), 0);
        while given.len() < FETCH_MAX && bytes < limits::GIVE_BYTES_MAX {
            let sealed = if self.phase == SessionPhase::Push {
                self.walk.next_unshown(store, bodies)
            } else {
                self.exchange.next(store, bodies)
            };
            let Some(sealed) = sealed else { break };
            bytes += sealed.bytes().len();
            given.push(sealed);
        }
        given
    }

    pub(super) fn poll_walk(&mut self, store: &Store, bodies: &dyn Bodies) -> Option<Output> {
        if let Some(output) = self.poll_fetch() {
            return Some(output);
        }
        if self.missing.hashes() > 0 || !self.calls.is_empty() {
            return None;
        }
        if self.phase == SessionPhase::Walk {
            return Some(self.call(CallPurpose::Leaves, Request::Leaves));
        }
        self.phase = SessionPhase::Push;
        self.poll_push(store, bodies)
    }

    /// What the peer's leaves did not show: many in one call where the peer takes them so.
    pub(super) fn poll_push(&mut self, store: &Store, bodies: &dyn Bodies) -> Option<Output> {
        let most = if self.exchange.takes_many { GIVES_MAX } else { PUSHES_MAX };
        if self.calls.len() >= most {
            return None;
        }
        if self.exchange.takes_many {
            let given = self.next_batch(store, bodies);
            if !given.is_empty() {
                return Some(self.give(given));
            }
        } else if let Some(sealed) = self.walk.next_unshown(store, bodies) {
            return Some(self.call(CallPurpose::Gossip, Request::Gossip(sealed)));
        }
        if !self.calls.is_empty() {
            return None;
        }
        self.phase = SessionPhase::Over;
        self.judge_leaves(store);
        self.report.checked_collisions = true;
        self.poll_output(store, bodies)
    }

    /// The leaves must bear out what the peer said of the sets before.
    pub(super) fn judge_leaves(&mut self, store: &Store) {
        let count = self.sizes.ours;
        // In buckets only those leaves are seen that differ.
        let has_seen_all = self.report.checked_collisions || self.known() == count;
        let is_steady = store.len() == count && has_seen_all;
        let owes = self.verdict.failed_to_show_difference(self.report.sent);
        if owes && is_steady && self.sizes.theirs >= count {
            self.reject("the peer says that the sets differ, and shows no difference".into());
        }
        self.judge();
    }

    /// What differs must bear out what the peer said of it.
    pub(super) fn judge(&mut self) {
        let differing = self.verdict.fetched() + self.report.sent;
        if self.verdict.is_overstated(differing) {
            self.phase = SessionPhase::Recount(differing);
        }
    }

    fn give(&mut self, given: Vec<Sealed>) -> Output {
        self.call(CallPurpose::Give(given.len() as u64), Request::Give(given))
    }

    pub(super) fn call(&mut self, asked: CallPurpose, request: Request) -> Output {
        Output::Call(self.calls.begin(asked), request)
    }
}
