//! One run of anti-entropy with one peer: compare, find out what differs, fetch, give.
//!
//! In: our root and count, the peer's answers, what became of the assertions it gave. Out: one call
//! or assertion at a time, and a report at the end. The session coordinates the machines of this
//! module: each keeps its own state, the session says which of them asks next. Here is what each
//! phase asks for; `replies` has what becomes of the answers.
//!
//! | phase | asks for | then |
//! |---|---|---|
//! | compare | roots | over (equal), pull (the peer has far more), sketch, walk (no sketches) |
//! | pull | rows in order | over (that was all), sketch |
//! | sketch | cells of the whole | exchange, pull (the peer had our root once), walk (too costly) |
//! | exchange | bodies, gives others, cells of parts | collisions, recount, sketch, walk, over |
//! | collisions | digests and leaves of buckets | over, walk (no digests) |
//! | recount | roots | exchange, over, walk (asked too often) |
//! | walk | leaves, page by page | drain |
//! | drain | bodies | push |
//! | push | gives what was not shown | recount, over |
//!
//! ```text
//! compare -> sketch -> exchange -> collisions -> over
//!    |  \    ^  |  ^    |   ^
//!    |   v   |  |  |    v   |
//!    |   pull   |  +-- recount
//!    v          v
//!   walk -> drain -> push -> over          any phase -> over: a fault, a failed call
//! ```
//!
//! Never: opens a connection, reads a clock, keeps an assertion's body after the disk has it.

use std::collections::BTreeMap;

use super::calls::{CallPurpose, FETCH_MAX, RECORDS_MAX};
use super::compare::{Compare, Slice};
use super::exchange::CallSet;
use super::leaf_walk::LeafWalk;
use super::log_pull::LogPull;
use super::messages::{Output, Reply, Request, RowCursor, SketchReply, Span, Stored, short_root};
use super::part_comparisons::PartComparisons;
use super::peer_fault::PeerFault;
use super::peer_verdict::PeerVerdict;
use super::phase::{AfterExchange, SessionPhase};
use super::report::{Progress, SessionReport, WireBytes};
use super::set_sizes::SetSizes;
use super::sketch_comparison::SketchComparison;
use super::strategy::{PeerHistory, Strategy};
use super::traffic::{Traffic, batch};
use crate::base::Digest;
use crate::journal::Bodies;
use crate::model::Sealed;
use crate::sketch::short_id;
use crate::store::Store;

/// One run of anti-entropy with one peer.
#[derive(Debug)]
pub struct Session {
    /// Which machine asks next.
    pub(super) phase: SessionPhase,
    /// Both sets' sizes and our root, as they were when the peer was first asked.
    pub(super) sizes: SetSizes,
    /// The calls and assertions on their way.
    pub(super) traffic: Traffic,
    /// What the sets differ in, by sketches.
    pub(super) compare: Compare,
    /// What the sets differ in, by the leaves of a peer without sketches.
    pub(super) walk: LeafWalk,
    /// The peer's rows in order, instead of a comparison, if most of them are missing here. Kept
    /// after its phase, since its last assertions are stored later.
    pub(super) pull: Option<LogPull>,
    /// Rows that earlier pulls reached, by the numbering of the peer's rows.
    pub(super) pulled: BTreeMap<u64, u64>,
    /// The evidence against the peer.
    pub(super) verdict: PeerVerdict,
    /// What the session came to so far; its history decides about the next one.
    pub(super) report: SessionReport,
}

impl Session {
    /// A session for a set of `count` assertions with this root, which begins by `strategy`.
    pub fn new(root: Digest, count: u64, strategy: Strategy) -> Session {
        let (whole, history) = match strategy {
            Strategy::Sketches(history) => (Some(SketchComparison::default()), history),
            Strategy::Leaves => (None, PeerHistory::default()),
        };
        Session {
            sizes: SetSizes::new(root, count),
            phase: SessionPhase::Compare,
            traffic: Traffic::default(),
            compare: Compare::new(whole, history),
            pull: None,
            pulled: BTreeMap::new(),
            walk: LeafWalk::new(count),
            verdict: PeerVerdict::default(),
            report: SessionReport::default(),
        }
    }

    /// The session goes on where earlier pulls were cut off: rows by numbering.
    pub fn resuming(mut self, pulled: BTreeMap<u64, u64>) -> Session {
        self.pulled = pulled;
        self
    }

    /// An answer arrived. One to no call, or of another kind, ends the session.
    pub fn handle_reply(&mut self, number: u32, reply: Reply, store: &Store, bodies: &dyn Bodies) {
        // The call ends whatever the answer is: a second answer is one to no call.
        match (self.traffic.calls.end(number), reply) {
            (Some(CallPurpose::Roots), Reply::Roots { matched, count }) => {
                self.handle_roots(matched, count);
            }
            (Some(CallPurpose::Recount), Reply::Roots { count, .. }) => {
                self.handle_recount(count, store);
            }
            (
                Some(CallPurpose::Sketch(None)),
                Reply::Sketch(SketchReply { since: Some(since), .. }),
            ) => self.handle_since(since),
            (Some(CallPurpose::Sketch(part)), Reply::Sketch(reply)) => {
                self.report.rounds += 1;
                // A node that answers cells has all calls of `stemedb.edge.v1`.
                self.traffic.exchange.set_calls(CallSet::Extended);
                self.handle_cells(part, reply, store);
            }
            (Some(purpose), Reply::Unsupported) => self.handle_unsupported(&purpose),
            (Some(CallPurpose::Records), Reply::Records(records)) => {
                self.handle_records_span(number, records.span);
                self.handle_records(number, records, store, bodies);
            }
            (Some(CallPurpose::Opened), Reply::Records(records)) => {
                self.handle_records(number, records, store, bodies);
            }
            (Some(CallPurpose::Digests), Reply::Digests(digests)) => self.handle_digests(digests),
            (Some(CallPurpose::LeavesOf(part)), Reply::Leaves { leaves, .. }) => {
                self.handle_bucket(part, &leaves, store, bodies);
            }
            (Some(CallPurpose::FetchShort(wanted)), Reply::Fetched { good, bad }) => {
                let short = |sealed: &Sealed| short_id(&sealed.digest());
                let left = self.handle_fetched(wanted, good, bad, short);
                self.traffic.missing.extend_short(left.unwrap_or_default());
            }
            (Some(CallPurpose::Give(given)), Reply::Given { taken, refusal }) => {
                self.handle_given(given, taken, refusal);
            }
            (Some(CallPurpose::Leaves), Reply::Leaves { leaves, truncated }) => {
                self.report.rounds += 1;
                self.handle_leaves(&leaves, truncated, store, bodies);
            }
            (Some(CallPurpose::Fetch(wanted)), Reply::Fetched { good, bad }) => {
                self.handle_fetched_by_hash(wanted, good, bad);
            }
            (Some(CallPurpose::Gossip), Reply::Gossiped { refusal }) => {
                self.handle_given(1, u64::from(refusal.is_empty()), refusal);
            }
            _ => self.reject(PeerFault::OtherKind),
        }
        self.check();
    }

    /// An answer with records arrived; its assertions come by [`Session::handle_reply`].
    pub fn handle_span(&mut self, number: u32, span: Span) {
        if self.traffic.calls.open(number) {
            self.handle_records_span(number, span);
        }
        self.check();
    }

    /// A call failed; the session ends with this reason.
    pub fn handle_failed(&mut self, number: u32, reason: String) {
        self.traffic.calls.end(number);
        self.fail(reason);
        self.check();
    }

    /// The assertion offered under this number is stored, or could not be.
    pub fn handle_stored(&mut self, number: u32, stored: Stored) {
        // A number that was not offered, or was answered before, changes nothing.
        if self.traffic.intake.handle_stored(number) {
            self.report.received += u64::from(stored == Stored::New);
            match (stored, &mut self.pull) {
                (Stored::Failed(reason), _) => self.fail(reason),
                (_, Some(pull)) => pull.handle_stored(),
                (_, None) => {}
            }
        }
        self.check();
    }

    /// Others were served since the session yielded.
    pub fn handle_resumed(&mut self) {
        self.compare.slice = Slice::Ready;
        self.check();
    }

    /// Bytes of one call, as the wire counted them.
    pub fn count_bytes(&mut self, bytes: WireBytes) {
        self.report.bytes_out += bytes.sent;
        self.report.bytes_in += bytes.received;
        self.report.body_bytes += bytes.body;
    }

    /// What to do next; `None` while an answer is waited for.
    pub fn poll_output(&mut self, store: &Store, bodies: &dyn Bodies) -> Option<Output> {
        // Offers first: what waits for the disk holds up the next request.
        let offer = self.traffic.intake.poll_offer();
        let offer = offer.map(|(number, sealed)| Output::Offer(number, sealed));
        let output = offer.or_else(|| self.poll_phase(store, bodies));
        self.check();
        output
    }

    /// What the phase asks for.
    fn poll_phase(&mut self, store: &Store, bodies: &dyn Bodies) -> Option<Output> {
        match self.phase {
            SessionPhase::Compare if self.traffic.calls.is_empty() => {
                let SetSizes { root, ours: count, .. } = self.sizes;
                Some(self.traffic.call(CallPurpose::Roots, Request::Roots { root, count }))
            }
            SessionPhase::Sketch if self.traffic.calls.is_empty() => {
                Some(self.ask_for_cells(store))
            }
            SessionPhase::Recount(_) if self.traffic.calls.is_empty() => {
                // The root is still the first one: the peer compares it to nothing we need.
                let (root, count) = (self.sizes.root, store.len());
                Some(self.traffic.call(CallPurpose::Recount, Request::Roots { root, count }))
            }
            SessionPhase::Compare | SessionPhase::Sketch | SessionPhase::Recount(_) => None,
            SessionPhase::Pull => self.poll_pull(store, bodies),
            SessionPhase::Exchange(_) => self.poll_exchange(store, bodies),
            SessionPhase::CollisionCheck => self.poll_collisions(store, bodies),
            SessionPhase::Walk | SessionPhase::Drain => self.poll_walk(store, bodies),
            SessionPhase::Push => self.poll_push(store, bodies),
            SessionPhase::Over if self.traffic.is_idle() => {
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
        self.traffic.call(CallPurpose::Sketch(None), Request::Sketch(request))
    }

    /// The next records are asked for while those before are hashed and stored.
    fn poll_pull(&mut self, store: &Store, bodies: &dyn Bodies) -> Option<Output> {
        let pull = self.pull.as_mut().expect("this phase has one");
        if !pull.is_over() {
            let unanswered = self.traffic.calls.unanswered();
            let is_full = !self.traffic.intake.has_capacity();
            if unanswered >= RECORDS_MAX || self.traffic.calls.len() > RECORDS_MAX || is_full {
                return None;
            }
            let range = pull.ask(self.traffic.calls.next())?;
            return Some(self.traffic.call(CallPurpose::Records, Request::Records(range)));
        }
        let is_everything = pull.is_everything();
        // A comparison before all is stored would find what is on its way to be missing.
        if !self.traffic.is_idle() {
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
        let fetch = self.traffic.poll_fetch_short();
        let output = fetch.or_else(|| self.traffic.poll_give(store, bodies));
        if let Some(output) = output.or_else(|| self.poll_parts(store)) {
            return Some(output);
        }
        if !matches!(self.phase, SessionPhase::Exchange(_)) {
            return self.poll_phase(store, bodies);
        }
        let is_over = self.compare.parts.as_ref().is_none_or(PartComparisons::is_over);
        if !is_over || !self.traffic.calls.is_empty() || self.traffic.missing.short_ids() > 0 {
            return None;
        }
        match then {
            AfterExchange::CompareAgain => {
                // What is not stored yet would differ once more.
                if !self.traffic.intake.is_idle() {
                    return None;
                }
                self.compare.whole = Some(SketchComparison::default());
                self.phase = SessionPhase::Sketch;
            }
            AfterExchange::End => self.end_exchange(),
        }
        self.poll_phase(store, bodies)
    }

    /// The next request for a part, or a slice of our own side.
    fn poll_parts(&mut self, store: &Store) -> Option<Output> {
        let waiting = self.traffic.missing.short_ids() + self.traffic.exchange.len();
        let parts = self.compare.parts.as_mut()?;
        if parts.begin_next(waiting, store).is_err() {
            self.fall_back_to_leaves();
            return None;
        }
        if let Some(request) = parts.poll_request(store) {
            return Some(
                self.traffic.call(CallPurpose::Sketch(request.part), Request::Sketch(request)),
            );
        }
        if self.compare.slice == Slice::Ready && parts.read_on(store) {
            self.compare.slice = Slice::Yielded;
            return Some(Output::Yield);
        }
        None
    }

    fn poll_collisions(&mut self, store: &Store, bodies: &dyn Bodies) -> Option<Output> {
        let fetch = self.traffic.poll_fetch(false);
        if let Some(output) = fetch.or_else(|| self.traffic.poll_give(store, bodies)) {
            return Some(output);
        }
        let check = self.compare.collisions.as_mut().expect("this phase has one");
        if check.begin() {
            return Some(self.traffic.call(CallPurpose::Digests, Request::Digests));
        }
        if check.is_reading() && self.compare.slice == Slice::Ready {
            check.read_on(store);
            self.compare.slice = Slice::Yielded;
            return Some(Output::Yield);
        }
        // One bucket after the other: what the last one showed is exchanged first.
        if !self.traffic.calls.is_empty() || self.traffic.missing.hashes() > 0 || check.is_reading()
        {
            return None;
        }
        if let Some(part) = check.next_bucket() {
            return Some(self.traffic.call(CallPurpose::LeavesOf(part), Request::LeavesOf(part)));
        }
        self.report.checked_collisions = true;
        self.phase = SessionPhase::Over;
        self.judge_leaves(store);
        self.poll_phase(store, bodies)
    }

    fn poll_walk(&mut self, store: &Store, bodies: &dyn Bodies) -> Option<Output> {
        if let Some(output) = self.traffic.poll_fetch(self.compare.collisions.is_none()) {
            return Some(output);
        }
        // One page at a time: its hashes are all that a walk holds.
        if self.traffic.missing.hashes() > 0 || !self.traffic.calls.is_empty() {
            return None;
        }
        if self.phase == SessionPhase::Walk {
            return Some(self.traffic.call(CallPurpose::Leaves, Request::Leaves));
        }
        self.phase = SessionPhase::Push;
        self.poll_push(store, bodies)
    }

    /// Gives what the peer's leaves did not show.
    fn poll_push(&mut self, store: &Store, bodies: &dyn Bodies) -> Option<Output> {
        let calls = self.traffic.exchange.calls();
        if self.traffic.calls.len() >= calls.gives_max() {
            return None;
        }
        match calls {
            CallSet::Extended => {
                let given = batch(|| self.walk.next_unshown(store, bodies));
                if !given.is_empty() {
                    return Some(self.traffic.give(given));
                }
            }
            CallSet::Standard => {
                if let Some(sealed) = self.walk.next_unshown(store, bodies) {
                    return Some(self.traffic.call(CallPurpose::Gossip, Request::Gossip(sealed)));
                }
            }
        }
        if !self.traffic.calls.is_empty() {
            return None;
        }
        self.phase = SessionPhase::Over;
        self.judge_leaves(store);
        // Leaves are whole hashes.
        self.report.checked_collisions = true;
        self.poll_phase(store, bodies)
    }

    /// How far a pull has come, for the session after this one; `None` if the peer's numbering is
    /// not known.
    pub fn pulled(&self) -> Option<RowCursor> {
        self.pull.as_ref().map(LogPull::reached).filter(|cursor| cursor.numbering != 0)
    }

    /// How far the session is, for `/v1/cluster/status` and the metrics.
    pub fn progress(&self) -> Progress {
        // After the pull its remaining rows are found by comparison, and counted there.
        let pulled = if self.phase == SessionPhase::Pull { self.pull.as_ref() } else { None };
        let known = self.traffic.missing.hashes() + self.traffic.missing.short_ids();
        let waiting = self.traffic.intake.len();
        Progress {
            phase: self.phase.name(),
            received: self.report.received,
            sent: self.report.sent,
            // The peer may say any number of rows.
            to_receive: pulled
                .map_or(0, LogPull::remaining)
                .saturating_add((known + waiting) as u64),
            to_send: self.traffic.exchange.len() as u64,
            bytes_in: self.report.bytes_in,
            bytes_out: self.report.bytes_out,
        }
    }

    /// What the session did so far.
    pub fn report(&self) -> &SessionReport {
        &self.report
    }

    /// Each phase has its machine, and parts are under way in phases that go on with them alone.
    fn check(&self) {
        let has_machine = match self.phase {
            SessionPhase::Pull => self.pull.is_some(),
            SessionPhase::Sketch => self.compare.whole.is_some(),
            SessionPhase::CollisionCheck => self.compare.collisions.is_some(),
            _ => true,
        };
        debug_assert!(has_machine, "{:?}", self.phase);
        let is_comparing = self.compare.parts.as_ref().is_some_and(|parts| !parts.is_over());
        let has_parts = matches!(self.phase, SessionPhase::Exchange(_) | SessionPhase::Recount(_));
        debug_assert!(!is_comparing || has_parts, "{:?}", self.phase);
        self.traffic.check();
        // Each call whose leaves were not given was a useless one.
        let withheld = self.verdict.useless() as usize * FETCH_MAX;
        debug_assert!(self.walk.unobtainable() <= withheld);
    }
}
