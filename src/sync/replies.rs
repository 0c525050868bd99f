//! What becomes of the peer's answers, and of a session whose phase has nothing left to ask.
//!
//! In: one answer of the kind that was asked for. Out: what is missing on either side, assertions
//! for the disk, the next phase, the peer judged by what it said before.
//!
//! Never: believes that an answer is as long, as new or as true as it should be, asks for anything,
//! stores anything.

use std::collections::BTreeSet;

use super::calls::CallPurpose;
use super::collision_check::CollisionCheck;
use super::exchange::CallSet;
use super::log_pull::{LogPull, Scope};
use super::messages::{Records, RowCursor, SketchReply, Span};
use super::part_comparisons::{PartComparisons, PartResult};
use super::peer_fault::PeerFault;
use super::phase::{AfterExchange, SessionPhase};
use super::session::Session;
use super::sketch_comparison::ComparisonResult;
use crate::base::{Digest, limits};
use crate::journal::Bodies;
use crate::model::Sealed;
use crate::sketch::{Part, ShortId};
use crate::store::Store;

impl Session {
    /// Chooses how to find out what differs.
    pub(super) fn handle_roots(&mut self, matched: bool, count: u64) {
        self.report.rounds += 1;
        self.sizes.theirs = count;
        self.report.peer_count = count;
        self.phase = match &self.compare.whole {
            _ if matched => SessionPhase::Over,
            Some(_) if LogPull::is_cheaper(self.sizes.ours, count) => {
                // An empty node lacks everything and has nothing to give: no comparison follows.
                let scope = if self.sizes.ours == 0 { Scope::Everything } else { Scope::Most };
                self.pull = Some(LogPull::new(RowCursor::default(), scope));
                SessionPhase::Pull
            }
            Some(_) => SessionPhase::Sketch,
            None => SessionPhase::Walk,
        };
    }

    /// The peer has no such call.
    pub(super) fn handle_unsupported(&mut self, purpose: &CallPurpose) {
        match purpose {
            CallPurpose::Records if self.phase == SessionPhase::Pull => {
                self.phase = SessionPhase::Sketch;
            }
            CallPurpose::Records => {}
            CallPurpose::Sketch(_) => {
                self.report.lacks_sketch = true;
                self.start_walk();
            }
            CallPurpose::Digests => self.check_by_leaves(),
            _ => self.reject(PeerFault::OtherKind),
        }
    }

    /// The peer's count after all that it named was exchanged.
    ///
    /// Fewer differ than the peer said. That is true if other nodes gave either side the rest
    /// meanwhile: then so many assertions came to one of them that this session did not bring.
    pub(super) fn handle_recount(&mut self, count: u64, store: &Store) {
        let SessionPhase::Recount(differing) = self.phase else { return };
        let brought = (self.report.received, self.report.sent);
        // The peer may say any number of assertions, twice.
        let came = self.sizes.grown((store.len(), count), brought);
        if differing.saturating_add(came) < limits::SKETCH_DIFFERENCES_MAX / 2 {
            return self.reject(PeerFault::Overstates(differing));
        }
        self.verdict.excuse_large_claim();
        // A sketch of the whole shows the rest for fewer bytes than parts do.
        let has_parts_left = self.compare.parts.take().is_some_and(|parts| !parts.is_over());
        let is_left = self.traffic.missing.short_ids() > 0 || !self.traffic.exchange.is_empty();
        self.phase = match (has_parts_left, is_left) {
            (true, _) => SessionPhase::Exchange(AfterExchange::CompareAgain),
            (false, true) => SessionPhase::Exchange(AfterExchange::End),
            (false, false) => SessionPhase::Over,
        };
    }

    /// The peer had our root once: its rows from there on are all that we lack.
    pub(super) fn handle_since(&mut self, since: RowCursor) {
        // Only the first request carries our root. A second answer of this kind would send the
        // session from the sketch to the rows and back for ever.
        if self.pull.is_some() {
            return self.reject(PeerFault::RowsSinceNoRoot);
        }
        self.report.rounds += 1;
        self.pull = Some(LogPull::new(since, Scope::Everything));
        self.phase = SessionPhase::Pull;
    }

    /// The peer took `taken` of the `given` assertions of a call.
    pub(super) fn handle_given(&mut self, given: u64, taken: u64, refusal: String) {
        if taken > given {
            return self.reject(PeerFault::TookTooMany { taken, given });
        }
        self.report.sent += taken;
        if !refusal.is_empty() {
            self.note(&PeerFault::Refuses(refusal.clone()));
        }
        // A peer whose disk is full is not given the whole difference.
        if self.traffic.exchange.is_refused_by(taken) {
            self.reject(PeerFault::TakesNothing(refusal));
        }
    }

    pub(super) fn handle_leaves(
        &mut self,
        leaves: &[Digest],
        truncated: bool,
        store: &Store,
        bodies: &dyn Bodies,
    ) {
        if leaves.len() > limits::LEAVES_MAX {
            return self.reject(PeerFault::TooManyLeaves(leaves.len()));
        }
        let mut news = 0;
        for leaf in leaves {
            match store.find_row(leaf, bodies) {
                Some(row) => news += u64::from(self.walk.note_shown(row)),
                None if self.walk.is_unobtainable(leaf) => {}
                None => {
                    self.traffic.missing.push(*leaf);
                    news += 1;
                }
            }
        }
        let (known, count) = (self.known(), self.sizes.theirs);
        if !truncated || known >= count {
            self.phase = SessionPhase::Drain;
        } else if news == 0 {
            // `GetLeaves` has no cursor: a peer that always shows its first page would be asked for
            // ever.
            self.note(&PeerFault::HidesLeaves { known, count });
            self.phase = SessionPhase::Drain;
            self.walk.give_nothing();
        }
    }

    /// How many of the peer's leaves were shown.
    pub(super) fn known(&self) -> u64 {
        self.walk.known(self.verdict.fetched()) + self.traffic.missing.hashes() as u64
    }

    /// The rows of an answer are known before its assertions are: the next can be asked for.
    pub(super) fn handle_records_span(&mut self, number: u32, span: Span) {
        let known = self.pulled.get(&span.from.numbering).copied();
        let pull = self.pull.as_mut().filter(|_| self.phase == SessionPhase::Pull);
        if let Some(Err(fault)) = pull.map(|pull| pull.handle_span(number, span, known)) {
            self.reject(fault);
        }
    }

    /// Assertions of the peer's log. A peer that gives nothing new in too many answers is compared
    /// with instead.
    pub(super) fn handle_records(
        &mut self,
        number: u32,
        records: Records,
        store: &Store,
        bodies: &dyn Bodies,
    ) {
        self.note_false(records.bad);
        let pull = self.pull.as_mut().filter(|_| self.phase == SessionPhase::Pull);
        let Some(pull) = pull else { return };
        pull.handle_records(number, records.good.len());
        let is_over = pull.is_over();
        let is_known = |sealed: &Sealed| store.find_row(&sealed.digest(), bodies).is_some();
        // The last answer is excused, since no other follows it.
        if records.good.iter().all(is_known) && !is_over {
            self.verdict.note_useless();
        }
        records.good.into_iter().for_each(|sealed| self.traffic.intake.push(sealed));
        if self.verdict.is_exhausted() {
            self.phase = SessionPhase::Sketch;
        }
    }

    fn note_false(&mut self, bad: u64) {
        if bad > 0 {
            self.verdict.note_useless();
            self.report.is_useless = true;
            self.note(&PeerFault::FalseAssertions(bad));
        }
    }

    /// Cells of a part, or of the whole set.
    pub(super) fn handle_cells(&mut self, part: Option<Part>, reply: SketchReply, store: &Store) {
        self.compare.note_cells(reply.cells.len());
        if let Some(part) = part {
            // Parts may have been abandoned meanwhile: then the answer is passed over.
            if let Some(parts) = &mut self.compare.parts {
                parts.handle_reply(part, reply);
            }
            return;
        }
        let comparison = self.compare.whole.as_mut().expect("this phase has one");
        match comparison.handle_reply(&reply, store) {
            ComparisonResult::Ask if self.compare.is_costly() => self.fall_back_to_leaves(),
            ComparisonResult::Ask => {}
            ComparisonResult::TooMuch(estimate) => self.compare_parts(estimate, store),
            ComparisonResult::Nonsense => self.reject(PeerFault::NoSketch),
            ComparisonResult::Abandon => self.fall_back_to_leaves(),
            ComparisonResult::Decoded(ids) => {
                self.report.decoded = Some((0, 0));
                self.assign_ids(ids, store);
                self.phase = SessionPhase::Exchange(AfterExchange::End);
            }
        }
    }

    /// Goes on with parts of the sets.
    fn compare_parts(&mut self, estimate: u64, store: &Store) {
        self.verdict.note_large_claim();
        let members = store.len().max(self.sizes.theirs);
        // The peer may claim any number: a part per 5,000 of 2^40 is as many parts as there are.
        let estimate = estimate.clamp(limits::SKETCH_DIFFERENCES_MAX, 1 << 40);
        self.compare.parts = Some(PartComparisons::new(estimate, members));
        self.phase = SessionPhase::Exchange(AfterExchange::End);
    }

    /// Cells of parts came, or our own side of one is read.
    pub(super) fn handle_part_results(&mut self, store: &Store) {
        loop {
            let is_costly = self.compare.is_costly();
            let parts = self.compare.parts.as_mut();
            let Some(result) = parts.and_then(|parts| parts.poll_result(store, is_costly)) else {
                return;
            };
            match result {
                PartResult::Decoded { ids, total } => {
                    self.assign_ids(ids, store);
                    // Two parts of thousands say enough about all of them.
                    if let Some(total) = total.filter(|total| self.verdict.is_overstated(*total)) {
                        self.recount(total);
                    }
                }
                PartResult::Abandon => self.fall_back_to_leaves(),
                PartResult::Nonsense => self.reject(PeerFault::NoSketch),
            }
        }
    }

    /// Asks the peer whether the sets changed since it gave its estimate; not for ever.
    fn recount(&mut self, differing: u64) {
        if !self.sizes.take_recount() {
            return self.fall_back_to_leaves();
        }
        self.phase = SessionPhase::Recount(differing);
    }

    /// An id that our index has is missing there, any other is missing here.
    fn assign_ids(&mut self, ids: Vec<ShortId>, store: &Store) {
        self.compare.note_ids(ids.len());
        for id in ids {
            let (count, sum) = self.report.decoded.unwrap_or_default();
            self.report.decoded = Some((count + 1, sum.wrapping_add(id)));
            match store.find_short(id) {
                Some(row) => self.traffic.exchange.push(row),
                // A damaged record: our sketch has it, the peer never had it and cannot give it.
                None if store.is_lost(id) => {}
                None => self.traffic.missing.push_short(id),
            }
        }
    }

    /// Sketches do not show the difference that the peer says there is: its leaves have to.
    pub(super) fn fall_back_to_leaves(&mut self) {
        self.verdict.note_difference_owed();
        self.start_walk();
    }

    /// The leaves show everything, including what is known already.
    fn start_walk(&mut self) {
        self.compare.parts = None;
        self.traffic.missing.abandon_short();
        self.traffic.exchange.abandon();
        self.phase = SessionPhase::Walk;
    }

    pub(super) fn handle_digests(&mut self, digests: Vec<ShortId>) {
        if let Some(check) = &mut self.compare.collisions {
            check.handle_digests(digests);
        }
        self.verdict.note_difference_owed();
    }

    /// The peer has no digests. Its leaves are walked if they are one page, or if nothing has
    /// changed since the last session, so that only a collision can be the reason.
    fn check_by_leaves(&mut self) {
        let is_steady = self.compare.history.is_of_root(&self.sizes.root);
        if is_steady || self.sizes.theirs <= limits::LEAVES_MAX as u64 {
            self.fall_back_to_leaves();
        } else {
            self.phase = SessionPhase::Over;
        }
    }

    /// The hashes that the peer has in a bucket.
    pub(super) fn handle_bucket(
        &mut self,
        part: Part,
        leaves: &[Digest],
        store: &Store,
        bodies: &dyn Bodies,
    ) {
        match CollisionCheck::compare_bucket(part, leaves, store) {
            Err(fault) => self.reject(fault),
            Ok((missing, lacking)) => {
                let rows = lacking.iter().filter_map(|hash| store.find_row(hash, bodies));
                rows.for_each(|row| self.traffic.exchange.push(row));
                self.traffic.missing.extend(missing);
            }
        }
    }

    /// Assertions that were asked for by hash.
    pub(super) fn handle_fetched_by_hash(
        &mut self,
        wanted: Vec<Digest>,
        good: Vec<Sealed>,
        bad: u64,
    ) {
        match self.handle_fetched(wanted, good, bad, Sealed::digest) {
            Ok(left) => self.traffic.missing.extend(left),
            // Two of them may share a short id, by which the peer finds one: ask by whole hashes.
            Err(lacking) if self.traffic.exchange.calls() == CallSet::Extended => {
                self.traffic.exchange.set_calls(CallSet::Standard);
                self.traffic.missing.extend(lacking);
            }
            Err(lacking) => self.walk.note_unobtainable(lacking),
        }
    }

    /// Assertions that were asked for. `Ok` has those to ask for again: an answer has a size limit,
    /// so fewer than asked for is normal as long as one came. `Err` has what the peer withholds.
    pub(super) fn handle_fetched<K: Ord>(
        &mut self,
        wanted: Vec<K>,
        good: Vec<Sealed>,
        bad: u64,
        key: impl Fn(&Sealed) -> K,
    ) -> Result<BTreeSet<K>, BTreeSet<K>> {
        let mut wanted: BTreeSet<K> = wanted.into_iter().collect();
        let before = wanted.len();
        self.traffic.take_wanted(&mut wanted, good, key);
        self.verdict.note_fetched(before - wanted.len());
        self.note_false(bad);
        if wanted.len() < before && bad == 0 {
            return Ok(wanted);
        }
        let lacking = wanted.len();
        self.note(&PeerFault::Withholds(lacking));
        if bad == 0 {
            self.verdict.note_useless();
        }
        self.verdict.note_withheld(lacking);
        if self.verdict.is_exhausted() {
            self.reject(PeerFault::GivesNothing);
        }
        Err(wanted)
    }

    /// All that the sketches decoded to is exchanged.
    pub(super) fn end_exchange(&mut self) {
        let is_doubtful = self.compare.history.is_doubtful(self.report.decoded);
        if is_doubtful && self.report.error.is_none() && self.compare.collisions.is_none() {
            self.compare.collisions = Some(CollisionCheck::default());
            self.phase = SessionPhase::CollisionCheck;
        } else {
            self.phase = SessionPhase::Over;
            self.judge();
        }
    }

    /// The leaves must bear out what the peer said of the sets before.
    pub(super) fn judge_leaves(&mut self, store: &Store) {
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

    pub(super) fn note(&mut self, fault: &PeerFault) {
        // The first fault names the cause; those that follow come from it.
        self.report.error.get_or_insert_with(|| fault.to_string());
    }

    /// The peer is Byzantine or broken, which makes no difference to this node.
    pub(super) fn reject(&mut self, fault: PeerFault) {
        self.report.is_useless = true;
        self.fail(fault.to_string());
    }

    /// The peer is gone: no answer to the calls in flight is waited for.
    pub fn handle_gone(&mut self, reason: String) {
        self.traffic.calls.abandon();
        self.fail(reason);
    }

    pub(super) fn fail(&mut self, reason: String) {
        self.report.error.get_or_insert(reason);
        self.phase = SessionPhase::Over;
        self.traffic.abandon();
        self.compare.parts = None;
    }
}
