//! One run of anti-entropy with one peer: compare, find out what differs, fetch, give.
//!
//! In: our root and count, the peer's answers, what became of the assertions it gave. Out: one call
//! or assertion at a time, and a report at the end. The session coordinates the machines of this
//! module: each keeps its own state, the session says which of them asks next. `requests` has what
//! is asked in each phase, `replies` what becomes of the answers.
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

use super::calls::{CallPurpose, Calls, FETCH_MAX};
use super::compare::{Compare, Slice};
use super::exchange::{CallSet, Exchange};
use super::intake::Intake;
use super::leaf_walk::LeafWalk;
use super::log_pull::LogPull;
use super::messages::{Reply, Request, RowCursor, SketchReply, Span};
use super::missing::Missing;
use super::part_comparisons::PARTS_MAX;
use super::peer_fault::PeerFault;
use super::peer_verdict::PeerVerdict;
use super::report::{Progress, SessionReport, WireBytes};
use super::set_sizes::SetSizes;
use super::sketch_comparison::SketchComparison;
use super::strategy::{PeerHistory, Strategy};
use crate::base::{Digest, limits};
use crate::journal::Bodies;
use crate::model::Sealed;
use crate::sketch::short_id;
use crate::store::Store;

/// Ids that a session holds at once, whatever the peer answers: those of two parts and what waits
/// when they are begun, and pages of leaves. A pull holds none.
const IDS_MAX: usize = limits::PART_DIFFERENCES as usize
    + PARTS_MAX * limits::SKETCH_CELLS_MAX
    + 2 * limits::LEAVES_MAX;

/// What a session wants done next.
#[derive(Clone, Debug)]
pub enum Output {
    /// Send this; the answer comes back under the number.
    Call(u32, Request),
    /// Store this assertion; its fate comes back by [`Session::handle_stored`] under the number.
    Offer(u32, Sealed),
    /// Serve others first; then call [`Session::handle_resumed`].
    Yield,
    /// The session is over.
    Done,
}

/// What became of an assertion that a session offered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stored {
    /// It is stored, and was not here before.
    New,
    /// It was here already.
    Known,
    /// It could not be stored, for this reason.
    Failed(String),
}

/// One run of anti-entropy with one peer.
#[derive(Debug)]
pub struct Session {
    /// Which machine asks next.
    pub(super) phase: SessionPhase,
    /// Both sets' sizes and our root, as they were when the peer was first asked.
    pub(super) sizes: SetSizes,
    /// Calls in flight, so that an answer counts for what was asked, once.
    pub(super) calls: Calls,
    /// What the sets differ in, by sketches.
    pub(super) compare: Compare,
    /// What the sets differ in, by the leaves of a peer without sketches.
    pub(super) walk: LeafWalk,
    /// The peer's rows in order, instead of a comparison, if most of them are missing here. Kept
    /// after its phase, since its last assertions are stored later.
    pub(super) pull: Option<LogPull>,
    /// Rows that earlier pulls reached, by the numbering of the peer's rows.
    pub(super) pulled: BTreeMap<u64, u64>,
    /// Assertions that comparison and walk found to be missing here.
    pub(super) missing: Missing,
    /// Assertions that they found to be missing there.
    pub(super) exchange: Exchange,
    /// Assertions that came and are not stored yet.
    pub(super) intake: Intake,
    /// The evidence against the peer.
    pub(super) verdict: PeerVerdict,
    /// What the session came to so far; its history decides about the next one.
    pub(super) report: SessionReport,
}

/// Which machine asks next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum SessionPhase {
    /// The peer is asked for its root.
    Compare,
    /// The peer's log is read in order.
    Pull,
    /// The sketches of the whole sets are compared.
    Sketch,
    /// What is known to differ travels, while parts are compared.
    Exchange(AfterExchange),
    /// Buckets of the Merkle trees are compared.
    CollisionCheck,
    /// Only so few differ, though the peer said more: this node asks whether the sets changed.
    Recount(u64),
    /// The peer's leaves come page by page.
    Walk,
    /// The last page came; what it showed to be missing is fetched.
    Drain,
    /// The peer is given what its leaves did not show.
    Push,
    /// Nothing more is asked; answers and flushes under way are waited for.
    Over,
}

/// What follows when everything known is exchanged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum AfterExchange {
    /// The end, or a check for collisions.
    End,
    /// Parts were abandoned because the sets changed: the sketches of the whole are compared again.
    CompareAgain,
}

impl SessionPhase {
    fn name(self) -> &'static str {
        match self {
            SessionPhase::Compare | SessionPhase::Recount(_) => "compare",
            SessionPhase::Pull => "pull",
            SessionPhase::Sketch => "sketch",
            SessionPhase::Exchange(_) => "exchange",
            SessionPhase::CollisionCheck => "collisions",
            SessionPhase::Walk | SessionPhase::Drain => "walk",
            SessionPhase::Push => "push",
            SessionPhase::Over => "end",
        }
    }
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
            calls: Calls::default(),
            compare: Compare::new(whole, history),
            pull: None,
            pulled: BTreeMap::new(),
            missing: Missing::default(),
            exchange: Exchange::default(),
            walk: LeafWalk::new(count),
            verdict: PeerVerdict::default(),
            intake: Intake::default(),
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
        match (self.calls.end(number), reply) {
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
                self.exchange.set_calls(CallSet::Extended);
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
                self.missing.extend_short(left.unwrap_or_default());
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
        if self.calls.open(number) {
            self.handle_records_span(number, span);
        }
        self.check();
    }

    /// A call failed; the session ends with this reason.
    pub fn handle_failed(&mut self, number: u32, reason: String) {
        self.calls.end(number);
        self.fail(reason);
        self.check();
    }

    /// The assertion offered under this number is stored, or could not be.
    pub fn handle_stored(&mut self, number: u32, stored: Stored) {
        // A number that was not offered, or was answered before, changes nothing.
        if self.intake.handle_stored(number) {
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
        let offer = self.intake.poll_offer();
        let offer = offer.map(|(number, sealed)| Output::Offer(number, sealed));
        let output = offer.or_else(|| self.poll_phase(store, bodies));
        self.check();
        output
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
        let known = self.missing.hashes() + self.missing.short_ids();
        let waiting = self.intake.len();
        Progress {
            phase: self.phase.name(),
            received: self.report.received,
            sent: self.report.sent,
            // The peer may say any number of rows.
            to_receive: pulled
                .map_or(0, LogPull::remaining)
                .saturating_add((known + waiting) as u64),
            to_send: self.exchange.len() as u64,
            bytes_in: self.report.bytes_in,
            bytes_out: self.report.bytes_out,
        }
    }

    /// What the session did so far.
    pub fn report(&self) -> &SessionReport {
        &self.report
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

    fn fail(&mut self, reason: String) {
        self.report.error.get_or_insert(reason);
        // Calls and offers in flight stay: `Over` waits for them, so that the report counts what
        // the disk still stores.
        self.phase = SessionPhase::Over;
        self.missing.abandon();
        self.exchange.abandon();
        self.intake.abandon();
        self.compare.parts = None;
    }

    /// Each phase has its machine, parts are under way in phases that go on with them alone, and
    /// what the session holds is bounded whatever the peer answered.
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
        let ids = self.missing.hashes() + self.missing.short_ids() + self.exchange.len();
        debug_assert!(ids <= IDS_MAX, "{ids} ids");
        // Each call whose leaves were not given was a useless one.
        let withheld = self.verdict.useless() as usize * FETCH_MAX;
        debug_assert!(self.walk.unobtainable() <= withheld);
    }
}
