//! Anti-entropy with one peer: compare, find out what differs, fetch, push.
//!
//! In: our root and count, the peer's answers, what became of the assertions it gave. Out: one call
//! or assertion at a time, and a report at the end. What differs is read from sketches where the
//! peer has them, and where not so much differs that they do not tell; else by a walk through all
//! leaves, by the five standard RPCs alone. Memory is what differs by sketch, or one bit per
//! assertion we hold plus one page of leaves, whatever the peer does.
//!
//! Never: opens a connection, reads a clock, keeps an assertion body.

mod call;
mod comparison;
mod pull;
mod rows;

pub use call::{Cursor, Records, Reply, Report, Request, SketchReply, SketchRequest, WireBytes};
pub use comparison::answer as answer_sketch;
pub use pull::{answer as answer_records, short_root};

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::base::{Digest, limits};
use crate::journal::Bodies;
use crate::model::Sealed;
use crate::sketch::{ShortId, short_id};
use crate::store::{Row, Store};
use comparison::{Comparison, Step};
use pull::Pull;
use rows::Rows;

/// Fetches under way at once, those whose assertions wait for our disk included: one travels while
/// the other is stored, and together they fit in the commit queue.
const FETCHES_MAX: usize = 2;
/// Assertions that wait for our disk at once, half of what it holds for everybody: others get in.
const OFFERS_MAX: usize = limits::COMMIT_QUEUE_MAX / 2;
/// Bytes of them.
const OFFERS_BYTES_MAX: usize = limits::COMMIT_QUEUE_BYTES_MAX / 2;
/// Gossip calls under way at once; what the peer groups into one of its flushes.
const PUSHES_MAX: usize = 32;
/// `Give` calls under way at once.
const GIVES_MAX: usize = 2;
/// Answers of a peer that may be worthless (false bytes, nothing new) before the session ends.
const WORTHLESS_MAX: u32 = 4;

/// What a session wants done next.
#[derive(Clone, Debug)]
pub enum Output {
    /// Send this; the answer comes back under the number.
    Call(u32, Request),
    /// Store this assertion; its fate comes back by [`Session::handle_stored`].
    Offer(Sealed),
    /// The session is over.
    Done,
}

/// One run of anti-entropy with one peer.
#[derive(Debug)]
pub struct Session {
    local: (Digest, u64),
    phase: Phase,
    next_number: u32,
    asked: BTreeMap<u32, Asked>,
    comparison: Option<Comparison>,
    pull: Option<Pull>,
    /// How far earlier pulls came, by the numbering of the peer's rows.
    pulled: BTreeMap<u64, u64>,
    missing: VecDeque<Digest>,
    missing_short: VecDeque<ShortId>,
    surplus: VecDeque<Row>,
    unobtainable: BTreeSet<Digest>,
    offers: VecDeque<Sealed>,
    /// Sizes of those that wait for the disk, which takes them in about this order.
    offered: VecDeque<usize>,
    offered_bytes: usize,
    seen: Rows,
    rows_at_start: u64,
    push_from: u64,
    peer_count: u64,
    fetched: u64,
    worthless: u32,
    report: Report,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Compare,
    Pull,
    Sketch,
    Trade,
    Walk,
    Drain,
    Push,
    Over,
}

#[derive(Debug)]
enum Asked {
    Roots,
    Leaves,
    Fetch(Vec<Digest>),
    Gossip,
    Sketch,
    Records,
    FetchShort(Vec<ShortId>),
    Give,
}

impl Session {
    /// A session for a set of `count` assertions with this root; `by_sketch` tries the sketches
    /// first.
    pub fn new(root: Digest, count: u64, by_sketch: bool) -> Session {
        Session {
            local: (root, count),
            phase: Phase::Compare,
            next_number: 0,
            asked: BTreeMap::new(),
            comparison: by_sketch.then(Comparison::default),
            pull: None,
            pulled: BTreeMap::new(),
            missing: VecDeque::new(),
            missing_short: VecDeque::new(),
            surplus: VecDeque::new(),
            unobtainable: BTreeSet::new(),
            offers: VecDeque::new(),
            offered: VecDeque::new(),
            offered_bytes: 0,
            seen: Rows::default(),
            rows_at_start: count,
            push_from: 0,
            peer_count: 0,
            fetched: 0,
            worthless: 0,
            report: Report::default(),
        }
    }

    /// It goes on where earlier pulls were cut off: rows by the numbering of a peer's rows.
    pub fn resuming(mut self, pulled: BTreeMap<u64, u64>) -> Session {
        self.pulled = pulled;
        self
    }

    /// How far it has pulled.
    pub fn pulled(&self) -> Option<Cursor> {
        self.pull.as_ref().map(Pull::reached).filter(|cursor| cursor.numbering != 0)
    }

    /// An answer arrived. One that nobody asked for, or of another kind, ends the session.
    pub fn handle_reply(&mut self, number: u32, reply: Reply, store: &Store, bodies: &dyn Bodies) {
        match (self.asked.remove(&number), reply) {
            (Some(Asked::Roots), Reply::Roots { matched, count }) => {
                self.report.rounds += 1;
                self.peer_count = count;
                self.phase = match &self.comparison {
                    _ if matched => Phase::Over,
                    Some(_) if Pull::is_worth(self.local.1, count) => {
                        self.pull = Some(Pull::new(Cursor::default(), self.local.1 == 0));
                        Phase::Pull
                    }
                    Some(_) => Phase::Sketch,
                    None => Phase::Walk,
                };
            }
            (Some(Asked::Sketch), Reply::Sketch(SketchReply { since: Some(since), .. })) => {
                self.report.rounds += 1;
                self.pull = Some(Pull::new(since, true));
                self.phase = Phase::Pull;
            }
            (Some(Asked::Records), Reply::Records(records)) => {
                self.take_records(records, store, bodies);
            }
            (Some(Asked::Records), Reply::Unsupported) => self.phase = Phase::Sketch,
            (Some(Asked::Sketch), Reply::Sketch(reply)) => {
                self.report.rounds += 1;
                self.take_cells(&reply, store);
            }
            (Some(Asked::Sketch), Reply::Unsupported) => self.phase = Phase::Walk,
            (Some(Asked::FetchShort(wanted)), Reply::Fetched { good, bad }) => {
                let short = |sealed: &Sealed| short_id(&sealed.digest());
                let left = self.take_fetched(wanted, good, bad, short);
                self.missing_short.extend(left.unwrap_or_default());
            }
            (Some(Asked::Give), Reply::Given { taken, refusal }) => {
                self.report.sent += taken;
                if !refusal.is_empty() {
                    self.note(format!("the peer refused an assertion: {refusal}"));
                }
            }
            (Some(Asked::Leaves), Reply::Leaves { leaves, truncated }) => {
                self.report.rounds += 1;
                self.take_leaves(&leaves, truncated, store, bodies);
            }
            (Some(Asked::Fetch(wanted)), Reply::Fetched { good, bad }) => {
                match self.take_fetched(wanted, good, bad, Sealed::digest) {
                    Ok(left) => self.missing.extend(left),
                    Err(mut lacking) => self.unobtainable.append(&mut lacking),
                }
            }
            (Some(Asked::Gossip), Reply::Gossiped { refusal }) if refusal.is_empty() => {
                self.report.sent += 1;
            }
            (Some(Asked::Gossip), Reply::Gossiped { refusal }) => {
                self.note(format!("the peer refused an assertion: {refusal}"));
            }
            _ => self.fail("the peer's answer is not of the kind asked for".into()),
        }
    }

    /// A call failed; the session ends with this reason.
    pub fn handle_failed(&mut self, number: u32, reason: String) {
        self.asked.remove(&number);
        self.fail(reason);
    }

    /// An offered assertion is stored (true: it was new), or could not be.
    pub fn handle_stored(&mut self, fate: Result<bool, String>) {
        self.offered_bytes -= self.offered.pop_front().unwrap_or(0);
        match fate {
            Ok(new) => self.report.received += u64::from(new),
            Err(reason) => self.fail(reason),
        }
    }

    /// Bytes of one call, as the wire counted them.
    pub fn count_bytes(&mut self, bytes: WireBytes) {
        self.report.bytes_out += bytes.sent;
        self.report.bytes_in += bytes.received;
        self.report.body_bytes += bytes.body;
    }

    /// What to do next; `None` while an answer is waited for.
    pub fn poll_output(&mut self, store: &Store, bodies: &dyn Bodies) -> Option<Output> {
        let has_room = self.offered.len() < OFFERS_MAX && self.offered_bytes < OFFERS_BYTES_MAX;
        if let Some(sealed) = self.offers.pop_front_if(|_| has_room) {
            self.offered.push_back(sealed.bytes().len());
            self.offered_bytes += sealed.bytes().len();
            return Some(Output::Offer(sealed));
        }
        match self.phase {
            Phase::Compare if self.asked.is_empty() => {
                let (root, count) = self.local;
                Some(self.call(Asked::Roots, Request::Roots { root, count }))
            }
            Phase::Sketch if self.asked.is_empty() => {
                let comparison = self.comparison.as_ref().expect("this phase has one");
                // What came since then was pulled already.
                let root = if self.pull.is_none() { short_root(&self.local.0) } else { 0 };
                let request = comparison.request(store, root);
                Some(self.call(Asked::Sketch, Request::Sketch(request)))
            }
            Phase::Compare | Phase::Sketch => None,
            Phase::Pull => self.poll_pull(store, bodies),
            Phase::Trade => self.poll_trade(store, bodies),
            Phase::Walk | Phase::Drain => self.poll_walk(store, bodies),
            Phase::Push => self.poll_push(store, bodies),
            Phase::Over if self.asked.is_empty() && self.stored_all() => Some(Output::Done),
            Phase::Over => None,
        }
    }

    /// What the session did so far.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// The next records are asked for while those before are stored.
    fn poll_pull(&mut self, store: &Store, bodies: &dyn Bodies) -> Option<Output> {
        let pull = self.pull.as_ref().expect("this phase has one");
        if !self.asked.is_empty() || !self.offers.is_empty() {
            return None;
        }
        if !pull.is_over() {
            let cursor = pull.request();
            return Some(self.call(Asked::Records, Request::Records(cursor)));
        }
        if !self.stored_all() {
            return None;
        }
        self.phase = if pull.is_all() { Phase::Over } else { Phase::Sketch };
        self.poll_output(store, bodies)
    }

    /// Both directions at once.
    fn poll_trade(&mut self, store: &Store, bodies: &dyn Bodies) -> Option<Output> {
        let gives = self.asked.values().filter(|asked| matches!(asked, Asked::Give)).count();
        let fetches = self.asked.len() - gives + self.fetches_unstored();
        if !self.missing_short.is_empty() && fetches < FETCHES_MAX {
            let count = self.missing_short.len().min(limits::FETCH_HASHES_MAX);
            let wanted: Vec<ShortId> = self.missing_short.drain(..count).collect();
            return Some(self.call(Asked::FetchShort(wanted.clone()), Request::FetchShort(wanted)));
        }
        if !self.surplus.is_empty() && gives < GIVES_MAX {
            let given = self.next_gift(store, bodies);
            return Some(self.call(Asked::Give, Request::Give(given)));
        }
        if self.asked.is_empty() && self.missing_short.is_empty() {
            self.phase = Phase::Over;
            return self.poll_output(store, bodies);
        }
        None
    }

    /// Fetches whose assertions are not all stored yet, in units of a full one.
    fn fetches_unstored(&self) -> usize {
        (self.offers.len() + self.offered.len()).div_ceil(limits::FETCH_HASHES_MAX)
    }

    fn stored_all(&self) -> bool {
        self.offers.is_empty() && self.offered.is_empty()
    }

    /// Assertions that fit in one message.
    fn next_gift(&mut self, store: &Store, bodies: &dyn Bodies) -> Vec<Sealed> {
        let (mut given, mut bytes) = (Vec::new(), 0);
        while given.len() < limits::FETCH_HASHES_MAX && bytes < limits::GIVE_BYTES_MAX {
            let Some(row) = self.surplus.pop_front() else { break };
            let sealed = store.position(row).and_then(|at| bodies.sealed_at(at));
            bytes += sealed.as_ref().map_or(0, |sealed| sealed.bytes().len());
            given.extend(sealed);
        }
        given
    }

    fn poll_walk(&mut self, store: &Store, bodies: &dyn Bodies) -> Option<Output> {
        let quiet = self.missing.is_empty();
        let underway = self.asked.len() + self.fetches_unstored();
        if !quiet && underway < FETCHES_MAX {
            let count = self.missing.len().min(limits::FETCH_HASHES_MAX);
            let wanted: Vec<Digest> = self.missing.drain(..count).collect();
            return Some(self.call(Asked::Fetch(wanted.clone()), Request::Fetch(wanted)));
        }
        if !quiet || !self.asked.is_empty() {
            return None;
        }
        if self.phase == Phase::Walk {
            return Some(self.call(Asked::Leaves, Request::Leaves));
        }
        self.phase = Phase::Push;
        self.poll_push(store, bodies)
    }

    fn poll_push(&mut self, store: &Store, bodies: &dyn Bodies) -> Option<Output> {
        while self.asked.len() < PUSHES_MAX {
            let Some(row) = self.seen.next_absent(self.push_from, self.rows_at_start) else {
                if self.asked.is_empty() {
                    self.phase = Phase::Over;
                    return self.poll_output(store, bodies);
                }
                return None;
            };
            self.push_from = row + 1;
            let position = Row::try_from(row).ok().and_then(|row| store.position(row));
            if let Some(sealed) = position.and_then(|at| bodies.sealed_at(at)) {
                return Some(self.call(Asked::Gossip, Request::Gossip(sealed)));
            }
        }
        None
    }

    fn call(&mut self, asked: Asked, request: Request) -> Output {
        let number = self.next_number;
        self.next_number += 1;
        self.asked.insert(number, asked);
        Output::Call(number, request)
    }

    fn take_leaves(
        &mut self,
        leaves: &[Digest],
        truncated: bool,
        store: &Store,
        bodies: &dyn Bodies,
    ) {
        if leaves.len() > limits::LEAVES_MAX {
            let allowed = limits::LEAVES_MAX;
            return self.fail(format!("{} leaves in one answer, {allowed} allowed", leaves.len()));
        }
        let mut news = 0;
        for leaf in leaves {
            match store.find_row(leaf, bodies) {
                Some(row) => news += u64::from(self.seen.insert(u64::from(row))),
                None if self.unobtainable.contains(leaf) => {}
                None => {
                    self.missing.push_back(*leaf);
                    news += 1;
                }
            }
        }
        let known = self.known();
        if !truncated || known >= self.peer_count {
            self.phase = Phase::Drain;
        } else if news == 0 {
            self.note(format!("the peer shows {known} of its {} leaves", self.peer_count));
            self.phase = Phase::Drain;
            self.push_from = self.rows_at_start;
        }
    }

    /// How many of the peer's leaves we have heard of. Those fetched in this session count once,
    /// whether or not the walk comes by them again.
    fn known(&self) -> u64 {
        let old = self.seen.count_below(self.rows_at_start);
        let new = (self.seen.count - old).max(self.fetched);
        old + new + self.missing.len() as u64 + self.unobtainable.len() as u64
    }

    /// A peer that gives nothing new for long is compared with instead.
    fn take_records(&mut self, mut records: Records, store: &Store, bodies: &dyn Bodies) {
        let pull = self.pull.as_mut().expect("this phase has one");
        let known = self.pulled.get(&records.from.numbering).copied();
        if let Err(reason) = pull.handle(&records, known) {
            return self.fail(reason);
        }
        let is_over = pull.is_over();
        records.good.retain(|sealed| store.find_row(&sealed.digest(), bodies).is_none());
        self.note_false(records.bad);
        self.worthless += u32::from(records.good.is_empty() && !is_over);
        self.fetched += records.good.len() as u64;
        self.offers.extend(records.good);
        if self.worthless > WORTHLESS_MAX {
            self.phase = Phase::Sketch;
        }
    }

    fn note_false(&mut self, bad: u64) {
        if bad > 0 {
            self.worthless += 1;
            self.note(format!(
                "{bad} assertions of the peer did not match their hash or signature"
            ));
        }
    }

    /// What the sketches tell, or how to ask on. Where they do not tell, the leaves do.
    fn take_cells(&mut self, reply: &SketchReply, store: &Store) {
        let comparison = self.comparison.as_mut().expect("this phase has one");
        match comparison.handle_reply(reply, store) {
            Step::Ask => {}
            Step::GiveUp => self.phase = Phase::Walk,
            Step::Known(ids) => {
                self.report.is_blind = ids.is_empty();
                for id in ids {
                    match store.find_short(id) {
                        Some(row) => self.surplus.push_back(row),
                        None => self.missing_short.push_back(id),
                    }
                }
                self.phase = Phase::Trade;
            }
        }
    }

    /// Fewer than asked for is normal (an answer has a size limit) as long as something came: what
    /// is left is asked for again. `Err`: what the peer will not give.
    fn take_fetched<K: Ord>(
        &mut self,
        wanted: Vec<K>,
        good: Vec<Sealed>,
        bad: u64,
        key: impl Fn(&Sealed) -> K,
    ) -> Result<BTreeSet<K>, BTreeSet<K>> {
        let mut wanted: BTreeSet<K> = wanted.into_iter().collect();
        let before = wanted.len();
        for sealed in good {
            if wanted.remove(&key(&sealed)) {
                self.fetched += 1;
                self.offers.push_back(sealed);
            }
        }
        self.note_false(bad);
        if wanted.len() < before && bad == 0 {
            return Ok(wanted);
        }
        let lacking = wanted.len();
        self.note(format!("the peer names {lacking} assertions that it does not give"));
        self.worthless += u32::from(bad == 0);
        if self.worthless > WORTHLESS_MAX {
            self.fail("the peer does not give what its leaves promise".into());
        }
        Err(wanted)
    }

    fn note(&mut self, reason: String) {
        self.report.error.get_or_insert(reason);
    }

    fn fail(&mut self, reason: String) {
        self.note(reason);
        self.phase = Phase::Over;
        self.missing.clear();
        self.missing_short.clear();
        self.surplus.clear();
        self.offers.clear();
    }
}

#[cfg(test)]
mod tests;
