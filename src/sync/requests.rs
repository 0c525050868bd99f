//! What a session asks for next, phase by phase.
//!
//! In: the phase, what the machines hold. Out: one call, a yield, or nothing while answers are
//! waited for. A phase that has nothing left to ask goes over into the next one.
//!
//! Never: has more calls in flight than `calls` allows, asks while what came before waits
//! for the disk, looks at an answer.

use super::calls::{CallPurpose, FETCH_MAX, FETCHES_MAX, GIVES_MAX, RECORDS_MAX};
use super::collision_check::CollisionCheck;
use super::compare::Slice;
use super::exchange::CallSet;
use super::messages::{Request, short_root};
use super::part_comparisons::PartComparisons;
use super::peer_fault::PeerFault;
use super::session::{AfterExchange, Output, Session, SessionPhase};
use super::set_sizes::SetSizes;
use super::sketch_comparison::SketchComparison;
use crate::base::limits;
use crate::journal::Bodies;
use crate::model::Sealed;
use crate::sketch::short_id;
use crate::store::Store;

impl Session {
    /// What the phase asks for.
    pub(super) fn poll_phase(&mut self, store: &Store, bodies: &dyn Bodies) -> Option<Output> {
        match self.phase {
            SessionPhase::Compare if self.calls.is_empty() => {
                let SetSizes { root, ours: count, .. } = self.sizes;
                Some(self.call(CallPurpose::Roots, Request::Roots { root, count }))
            }
            SessionPhase::Sketch if self.calls.is_empty() => Some(self.ask_for_cells(store)),
            SessionPhase::Recount(_) if self.calls.is_empty() => {
                // The root is still the first one: the peer compares it to nothing we need.
                let (root, count) = (self.sizes.root, store.len());
                Some(self.call(CallPurpose::Recount, Request::Roots { root, count }))
            }
            SessionPhase::Compare | SessionPhase::Sketch | SessionPhase::Recount(_) => None,
            SessionPhase::Pull => self.poll_pull(store, bodies),
            SessionPhase::Exchange(_) => self.poll_exchange(store, bodies),
            SessionPhase::CollisionCheck => self.poll_collisions(store, bodies),
            SessionPhase::Walk | SessionPhase::Drain => self.poll_walk(store, bodies),
            SessionPhase::Push => self.poll_push(store, bodies),
            SessionPhase::Over if self.calls.is_empty() && self.intake.is_idle() => {
                self.report.is_useless |= self.verdict.withheld_everything();
                Some(Output::Done)
            }
            // The disk answers each offer, and the caller each call, if only with a failure.
            SessionPhase::Over => None,
        }
    }

    fn ask_for_cells(&mut self, store: &Store) -> Output {
        let comparison = self.compare.whole.as_ref().expect("this phase has one");
        // A root that the peer had once makes it answer with the rows since then. After a pull or a
        // recount that would bring again what came since.
        let is_first = self.pull.is_none() && self.sizes.is_first_count();
        let root = if is_first { short_root(&self.sizes.root) } else { 0 };
        let request = comparison.request(store, root);
        self.call(CallPurpose::Sketch(None), Request::Sketch(request))
    }

    /// The next records are asked for while those before are hashed and stored.
    fn poll_pull(&mut self, store: &Store, bodies: &dyn Bodies) -> Option<Output> {
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
        let is_everything = pull.is_everything();
        // A comparison before all is stored would find what is on its way to be missing.
        if !self.calls.is_empty() || !self.intake.is_idle() {
            return None;
        }
        self.phase = if is_everything { SessionPhase::Over } else { SessionPhase::Sketch };
        self.poll_phase(store, bodies)
    }

    /// Both directions at once, while parts are compared.
    fn poll_exchange(&mut self, store: &Store, bodies: &dyn Bodies) -> Option<Output> {
        self.handle_part_results(store);
        let SessionPhase::Exchange(then) = self.phase else {
            return self.poll_phase(store, bodies);
        };
        if self.missing.short_ids() > 0 && self.may_fetch() {
            let wanted = self.missing.take_short();
            let purpose = CallPurpose::FetchShort(wanted.clone());
            return Some(self.call(purpose, Request::FetchShort(wanted)));
        }
        if let Some(output) = self.poll_give(store, bodies) {
            return Some(output);
        }
        if let Some(output) = self.poll_parts(store) {
            return Some(output);
        }
        if !matches!(self.phase, SessionPhase::Exchange(_)) {
            return self.poll_phase(store, bodies);
        }
        let is_over = self.compare.parts.as_ref().is_none_or(PartComparisons::is_over);
        if !is_over || !self.calls.is_empty() || self.missing.short_ids() > 0 {
            return None;
        }
        match then {
            AfterExchange::CompareAgain => {
                // What is not stored yet would differ once more.
                if !self.intake.is_idle() {
                    return None;
                }
                self.compare.whole = Some(SketchComparison::default());
                self.phase = SessionPhase::Sketch;
            }
            AfterExchange::End => self.end_exchange(),
        }
        self.poll_phase(store, bodies)
    }

    /// All that the sketches decoded to is exchanged.
    fn end_exchange(&mut self) {
        let is_doubtful = self.compare.history.is_doubtful(self.report.decoded);
        if is_doubtful && self.report.error.is_none() && self.compare.collisions.is_none() {
            self.compare.collisions = Some(CollisionCheck::default());
            self.phase = SessionPhase::CollisionCheck;
        } else {
            self.phase = SessionPhase::Over;
            self.judge();
        }
    }

    /// The next request for a part, or a slice of our own side.
    fn poll_parts(&mut self, store: &Store) -> Option<Output> {
        let waiting = self.missing.short_ids() + self.exchange.len();
        let parts = self.compare.parts.as_mut()?;
        if parts.begin_next(waiting, store).is_err() {
            self.fall_back_to_leaves();
            return None;
        }
        if let Some(request) = parts.poll_request(store) {
            return Some(self.call(CallPurpose::Sketch(request.part), Request::Sketch(request)));
        }
        if self.compare.slice == Slice::Ready && parts.read_on(store) {
            self.compare.slice = Slice::Yielded;
            return Some(Output::Yield);
        }
        None
    }

    fn poll_collisions(&mut self, store: &Store, bodies: &dyn Bodies) -> Option<Output> {
        if let Some(output) = self.poll_fetch().or_else(|| self.poll_give(store, bodies)) {
            return Some(output);
        }
        let check = self.compare.collisions.as_mut().expect("this phase has one");
        if check.begin() {
            return Some(self.call(CallPurpose::Digests, Request::Digests));
        }
        if check.is_reading() && self.compare.slice == Slice::Ready {
            check.read_on(store);
            self.compare.slice = Slice::Yielded;
            return Some(Output::Yield);
        }
        // One bucket after the other: what the last one showed is exchanged first.
        if !self.calls.is_empty() || self.missing.hashes() > 0 || check.is_reading() {
            return None;
        }
        if let Some(part) = check.next_bucket() {
            return Some(self.call(CallPurpose::LeavesOf(part), Request::LeavesOf(part)));
        }
        self.report.checked_collisions = true;
        self.phase = SessionPhase::Over;
        self.judge_leaves(store);
        self.poll_phase(store, bodies)
    }

    /// Gives the peer what it is known to lack, if not too many calls do so already.
    fn poll_give(&mut self, store: &Store, bodies: &dyn Bodies) -> Option<Output> {
        if self.exchange.is_empty() || self.calls.gives() >= GIVES_MAX {
            return None;
        }
        let given = self.next_batch(store, bodies);
        Some(self.give(given))
    }

    /// Asks for what is known to be missing by its hash, if not too many calls do so already.
    fn poll_fetch(&mut self) -> Option<Output> {
        if self.missing.hashes() == 0 || !self.may_fetch() {
            return None;
        }
        let wanted = self.missing.take();
        // Short ids take a quarter of the bytes. Where they may collide, whole hashes are named.
        let is_unique = self.compare.collisions.is_none();
        let request = if self.exchange.calls() == CallSet::Extended && is_unique {
            Request::FetchShort(wanted.iter().map(short_id).collect())
        } else {
            Request::Fetch(wanted.clone())
        };
        Some(self.call(CallPurpose::Fetch(wanted), request))
    }

    /// Assertions that are not stored yet count as fetches, in units of a full one: a slow disk
    /// would otherwise let them pile up here.
    fn may_fetch(&self) -> bool {
        let unstored = self.intake.len().div_ceil(FETCH_MAX);
        self.calls.len() - self.calls.gives() + unstored < FETCHES_MAX
    }

    /// Assertions that fit in one message: those that the peer is known to lack, or did not show.
    fn next_batch(&mut self, store: &Store, bodies: &dyn Bodies) -> Vec<Sealed> {
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

    fn poll_walk(&mut self, store: &Store, bodies: &dyn Bodies) -> Option<Output> {
        if let Some(output) = self.poll_fetch() {
            return Some(output);
        }
        // One page at a time: its hashes are all that a walk holds.
        if self.missing.hashes() > 0 || !self.calls.is_empty() {
            return None;
        }
        if self.phase == SessionPhase::Walk {
            return Some(self.call(CallPurpose::Leaves, Request::Leaves));
        }
        self.phase = SessionPhase::Push;
        self.poll_push(store, bodies)
    }

    /// Gives what the peer's leaves did not show.
    fn poll_push(&mut self, store: &Store, bodies: &dyn Bodies) -> Option<Output> {
        let calls = self.exchange.calls();
        if self.calls.len() >= calls.gives_max() {
            return None;
        }
        match calls {
            CallSet::Extended => {
                let given = self.next_batch(store, bodies);
                if !given.is_empty() {
                    return Some(self.give(given));
                }
            }
            CallSet::Standard => {
                if let Some(sealed) = self.walk.next_unshown(store, bodies) {
                    return Some(self.call(CallPurpose::Gossip, Request::Gossip(sealed)));
                }
            }
        }
        if !self.calls.is_empty() {
            return None;
        }
        self.phase = SessionPhase::Over;
        self.judge_leaves(store);
        // Leaves are whole hashes.
        self.report.checked_collisions = true;
        self.poll_phase(store, bodies)
    }

    /// The leaves must bear out what the peer said of the sets before.
    fn judge_leaves(&mut self, store: &Store) {
        let count = self.sizes.ours;
        // In buckets only those leaves are seen that differ.
        let has_seen_all = self.report.checked_collisions || self.known() == count;
        // A set that grew meanwhile may have got the difference from a third node.
        let is_steady = store.len() == count && has_seen_all;
        let has_failed = self.verdict.failed_to_show_difference(self.report.sent);
        if has_failed && is_steady && self.sizes.theirs >= count {
            self.reject(PeerFault::ShowsNoDifference);
        }
        self.judge();
    }

    /// What differs must bear out what the peer said of it. If it does not, the peer's set may have
    /// changed: it is asked before it is accused.
    fn judge(&mut self) {
        let differing = self.verdict.fetched() + self.report.sent;
        if self.verdict.is_overstated(differing) {
            self.phase = SessionPhase::Recount(differing);
        }
    }

    fn give(&mut self, given: Vec<Sealed>) -> Output {
        self.call(CallPurpose::Give(given.len() as u64), Request::Give(given))
    }

    fn call(&mut self, purpose: CallPurpose, request: Request) -> Output {
        Output::Call(self.calls.begin(purpose), request)
    }
}
