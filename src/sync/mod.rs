//! Anti-entropy with one peer: compare, find out what differs, fetch, push.
//!
//! In: our root and count, the peer's answers, what became of the assertions it gave. Out: one call
//! or assertion at a time, and a report at the end. What differs is read from sketches where the
//! peer has them, and where not so much differs that they do not tell; else by a walk through all
//! leaves, by the five standard RPCs alone. Memory is what differs by sketch, or one bit per
//! assertion we hold plus one page of leaves, whatever the peer does.
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
//! Any false answer leads to over, with its reason in the report.
//!
//! Never: opens a connection, reads a clock, keeps an assertion body.

mod answer;
mod calls;
mod collision_check;
mod compare;
mod exchange;
mod intake;
mod leaf_walk;
mod log_pull;
mod messages;
mod missing;
mod part_comparisons;
mod peer_verdict;
mod replies;
mod requests;
mod row_set;
mod set_sizes;
mod sketch_comparison;

pub use answer::{Answering, RecordsAnswering, answer as answer_sketch, answer_records};
pub use collision_check::{DecodedSum, PeerHistory};
pub use log_pull::short_root;
pub use messages::{
    Progress, Records, Reply, Request, RowCursor, RowRange, SessionReport, SketchReply,
    SketchRequest, Span, Strategy, WireBytes,
};

use std::collections::BTreeMap;

use crate::base::{Digest, limits};
use crate::journal::Bodies;
use crate::model::Sealed;
use crate::sketch::short_id;
use crate::store::Store;
use calls::{CallPurpose, Calls};
use compare::Compare;
use exchange::Exchange;
use intake::Intake;
use leaf_walk::LeafWalk;
use log_pull::LogPull;
use missing::Missing;
use peer_verdict::PeerVerdict;
use set_sizes::SetSizes;
use sketch_comparison::SketchComparison;

/// Assertions asked for, or given, in one call: each side holds them several times over, as
/// message, as frames and as records, and a call costs some 100 bytes more than they do.
const FETCH_MAX: usize = limits::FETCH_HASHES_MAX / 4;
/// Fetches under way at once, those whose assertions wait for our disk included: one travels while
/// the other is stored, and together they fit in the commit queue.
const FETCHES_MAX: usize = 2;
/// Calls for records under way at once: one travels while the peer reads for the other. With those
/// whose records are looked at they are one more at most.
const RECORDS_MAX: usize = 2;
/// Gossip calls under way at once; what the peer groups into one of its flushes.
const PUSHES_MAX: usize = 32;
/// `Give` calls under way at once.
const GIVES_MAX: usize = 2;

/// What a session wants done next.
#[derive(Clone, Debug)]
pub enum Output {
    /// Send this; the answer comes back under the number.
    Call(u32, Request),
    /// Store this assertion; its fate comes back by [`Session::handle_stored`] under the number.
    Offer(u32, Sealed),
    /// Others may go on first; then call [`Session::handle_resumed`].
    Yield,
    /// The session is over.
    Done,
}

/// One run of anti-entropy with one peer.
#[derive(Debug)]
pub struct Session {
    /// Which machine asks next.
    phase: SessionPhase,
    /// Both sets' sizes and our root, as they were when the peer was first asked.
    sizes: SetSizes,
    /// So that an answer is taken for what was asked, once.
    calls: Calls,
    /// What the sets differ in, by sketches.
    compare: Compare,
    /// What the sets differ in, by the leaves of a peer without sketches.
    walk: LeafWalk,
    /// The peer's rows in order, instead of a comparison, where most of them are missing.
    pull: Option<LogPull>,
    /// How far earlier pulls came, by the numbering of the peer's rows.
    pulled: BTreeMap<u64, u64>,
    /// What comparison and walk found to be missing here.
    missing: Missing,
    /// What they found to be missing there.
    exchange: Exchange,
    /// What came and is not stored yet.
    intake: Intake,
    /// What speaks against the peer.
    verdict: PeerVerdict,
    /// What is told of the session at its end.
    report: SessionReport,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum SessionPhase {
    Compare,
    Pull,
    Sketch,
    Exchange,
    CollisionCheck,
    /// Less differs than the peer said: this node asks whether the sets changed meanwhile. The
    /// number is how much differs.
    Recount(u64),
    Walk,
    Drain,
    Push,
    Over,
}

impl SessionPhase {
    fn name(self) -> &'static str {
        match self {
            SessionPhase::Compare | SessionPhase::Recount(_) => "compare",
            SessionPhase::Pull => "pull",
            SessionPhase::Sketch => "sketch",
            SessionPhase::Exchange => "exchange",
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
        let whole = (strategy != Strategy::Leaves).then(SketchComparison::default);
        let past =
            if let Strategy::Sketches(past) = strategy { past } else { PeerHistory::default() };
        Session {
            sizes: SetSizes::new(root, count),
            phase: SessionPhase::Compare,
            calls: Calls::default(),
            compare: Compare::new(whole, past),
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

    /// It goes on where earlier pulls were cut off: rows by the numbering of a peer's rows.
    pub fn resuming(mut self, pulled: BTreeMap<u64, u64>) -> Session {
        self.pulled = pulled;
        self
    }

    /// How far it has pulled.
    pub fn pulled(&self) -> Option<RowCursor> {
        self.pull.as_ref().map(LogPull::reached).filter(|cursor| cursor.numbering != 0)
    }

    /// An answer arrived. One that nobody asked for, or of another kind, ends the session.
    pub fn handle_reply(&mut self, number: u32, reply: Reply, store: &Store, bodies: &dyn Bodies) {
        match (self.calls.end(number), reply) {
            (Some(CallPurpose::Roots), Reply::Roots { matched, count }) => {
                self.handle_roots(matched, count);
            }
            (Some(CallPurpose::Recount), Reply::Roots { count, .. }) => {
                self.handle_recount(count, store)
            }
            (
                Some(CallPurpose::Sketch(None)),
                Reply::Sketch(SketchReply { since: Some(since), .. }),
            ) => {
                self.handle_since(since);
            }
            (
                Some(asked @ (CallPurpose::Records | CallPurpose::Opened)),
                Reply::Records(records),
            ) => {
                if matches!(asked, CallPurpose::Records) {
                    self.handle_records_span(number, records.span);
                }
                self.handle_records(number, records, store, bodies);
            }
            (Some(CallPurpose::Records), Reply::Unsupported) => {
                if self.phase == SessionPhase::Pull {
                    self.phase = SessionPhase::Sketch;
                }
            }
            (Some(CallPurpose::Sketch(part)), Reply::Sketch(reply)) => {
                self.report.rounds += 1;
                self.exchange.takes_many = true;
                self.handle_cells(part, reply, store);
            }
            (Some(CallPurpose::Sketch(_)), Reply::Unsupported) => {
                self.report.lacks_sketch = true;
                self.start_walk();
            }
            (Some(CallPurpose::Digests), Reply::Digests(digests)) => self.handle_digests(digests),
            (Some(CallPurpose::Digests), Reply::Unsupported) => self.check_by_leaves(),
            (Some(CallPurpose::LeavesOf(part)), Reply::Leaves { leaves, .. }) => {
                self.handle_bucket(part, &leaves, store, bodies);
            }
            (Some(CallPurpose::FetchShort(wanted)), Reply::Fetched { good, bad }) => {
                let short = |sealed: &Sealed| short_id(&sealed.digest());
                let left = self.handle_fetched(wanted, good, bad, short);
                self.missing.extend_short(left.unwrap_or_default());
            }
            (Some(CallPurpose::Give(given)), Reply::Given { taken, refusal }) => {
                self.handle_given(given, taken, &refusal);
            }
            (Some(CallPurpose::Leaves), Reply::Leaves { leaves, truncated }) => {
                self.report.rounds += 1;
                self.handle_leaves(&leaves, truncated, store, bodies);
            }
            (Some(CallPurpose::Fetch(wanted)), Reply::Fetched { good, bad }) => {
                match self.handle_fetched(wanted, good, bad, Sealed::digest) {
                    Ok(left) => self.missing.extend(left),
                    // Two of them may share a short id.
                    Err(lacking) if self.exchange.takes_many => {
                        self.exchange.takes_many = false;
                        self.missing.extend(lacking);
                    }
                    Err(lacking) => self.walk.note_unobtainable(lacking),
                }
            }
            (Some(CallPurpose::Gossip), Reply::Gossiped { refusal }) => {
                let taken = u64::from(refusal.is_empty());
                self.report.sent += taken;
                self.note_refusal(taken, &refusal);
            }
            _ => self.reject("the peer's answer is not of the kind asked for".into()),
        }
    }

    /// An answer with records arrived; its assertions come by [`Session::handle_reply`].
    pub fn handle_span(&mut self, number: u32, span: Span) {
        if self.calls.open(number) {
            self.handle_records_span(number, span);
        }
    }

    /// A call failed; the session ends with this reason.
    pub fn handle_failed(&mut self, number: u32, reason: String) {
        self.calls.end(number);
        self.fail(reason);
    }

    /// The assertion offered under this number is stored (true: it was new), or could not be.
    pub fn handle_stored(&mut self, number: u32, fate: Result<bool, String>) {
        if !self.intake.handle_stored(number) {
            return;
        }
        match (fate, &mut self.pull) {
            (Ok(new), pull) => {
                self.report.received += u64::from(new);
                pull.iter_mut().for_each(LogPull::handle_stored);
            }
            (Err(reason), _) => self.fail(reason),
        }
    }

    /// It is the session's turn again.
    pub fn handle_resumed(&mut self) {
        self.compare.has_yielded = false;
    }

    /// Bytes of one call, as the wire counted them.
    pub fn count_bytes(&mut self, bytes: WireBytes) {
        self.report.bytes_out += bytes.sent;
        self.report.bytes_in += bytes.received;
        self.report.body_bytes += bytes.body;
    }

    /// What to do next; `None` while an answer is waited for.
    pub fn poll_output(&mut self, store: &Store, bodies: &dyn Bodies) -> Option<Output> {
        if let Some((number, sealed)) = self.intake.poll_offer() {
            return Some(Output::Offer(number, sealed));
        }
        match self.phase {
            SessionPhase::Compare if self.calls.is_empty() => {
                let SetSizes { root, ours: count, .. } = self.sizes;
                Some(self.call(CallPurpose::Roots, Request::Roots { root, count }))
            }
            SessionPhase::Sketch if self.calls.is_empty() => {
                let comparison = self.compare.whole.as_ref().expect("this phase has one");
                // What came since then was pulled already.
                let is_first = self.pull.is_none() && self.sizes.is_first_count();
                let root = if is_first { short_root(&self.sizes.root) } else { 0 };
                let request = comparison.request(store, root);
                Some(self.call(CallPurpose::Sketch(None), Request::Sketch(request)))
            }
            SessionPhase::Recount(_) if self.calls.is_empty() => {
                let (root, count) = (self.sizes.root, store.len());
                Some(self.call(CallPurpose::Recount, Request::Roots { root, count }))
            }
            SessionPhase::Compare | SessionPhase::Sketch | SessionPhase::Recount(_) => None,
            SessionPhase::Pull => self.poll_pull(store, bodies),
            SessionPhase::Exchange => self.poll_exchange(store, bodies),
            SessionPhase::CollisionCheck => self.poll_collisions(store, bodies),
            SessionPhase::Walk | SessionPhase::Drain => self.poll_walk(store, bodies),
            SessionPhase::Push => self.poll_push(store, bodies),
            SessionPhase::Over if self.calls.is_empty() && self.intake.is_idle() => {
                self.report.is_useless |= self.verdict.withheld_everything();
                Some(Output::Done)
            }
            SessionPhase::Over => None,
        }
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        let pulled = if self.phase == SessionPhase::Pull { self.pull.as_ref() } else { None };
        let known = self.missing.hashes() + self.missing.short_ids();
        let waiting = self.intake.len();
        Progress {
            phase: self.phase.name(),
            received: self.report.received,
            sent: self.report.sent,
            // The peer may say any number of rows.
            to_receive: pulled.map_or(0, LogPull::left).saturating_add((known + waiting) as u64),
            to_send: self.exchange.len() as u64,
            bytes_in: self.report.bytes_in,
            bytes_out: self.report.bytes_out,
        }
    }

    /// What the session did so far.
    pub fn report(&self) -> &SessionReport {
        &self.report
    }

    fn note(&mut self, reason: String) {
        self.report.error.get_or_insert(reason);
    }

    /// The peer lies, or is broken: it makes no difference to us.
    fn reject(&mut self, reason: String) {
        self.report.is_useless = true;
        self.fail(reason);
    }

    fn fail(&mut self, reason: String) {
        self.note(reason);
        self.phase = SessionPhase::Over;
        self.missing.abandon();
        self.exchange.abandon();
        self.intake.abandon();
        self.compare.parts = None;
    }
}

#[cfg(test)]
mod tests;
