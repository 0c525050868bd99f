//! Anti-entropy with one peer by the five standard RPCs: compare, walk the leaves, fetch, push.
//!
//! In: our root and count, the peer's answers, what became of the assertions it gave. Out: one call
//! or assertion at a time, and a report at the end. Memory is one bit per assertion we hold plus
//! one page of leaves, whatever the peer does.
//!
//! Never: opens a connection, reads a clock, keeps an assertion body.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::base::{Digest, NodeId, limits};
use crate::journal::Bodies;
use crate::model::Sealed;
use crate::store::{Row, Store};

/// Fetches under way at once, those whose assertions wait for our disk included: one travels while
/// the other is stored, and together they fit in the commit queue.
const FETCHES_MAX: usize = 2;
/// Gossip calls under way at once; what the peer groups into one of its flushes.
const PUSHES_MAX: usize = 32;
/// Answers of a peer that may be worthless (false bytes, nothing new) before the session ends.
const WORTHLESS_MAX: u32 = 4;

/// What a session asks of the peer.
#[derive(Clone, Debug)]
pub enum Request {
    /// `ExchangeRoots` with our root and count.
    Roots {
        /// Our Merkle root.
        root: Digest,
        /// How many assertions we hold.
        count: u64,
    },
    /// `GetLeaves`, a full page.
    Leaves,
    /// `FetchAssertions`, at most [`limits::FETCH_HASHES_MAX`].
    Fetch(Vec<Digest>),
    /// `Gossip` of an assertion the peer lacks.
    Gossip(Sealed),
}

/// What the peer answered; its kind is that of the request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// To [`Request::Roots`].
    Roots {
        /// Does the peer call the sets equal?
        matched: bool,
        /// How many assertions it says it holds.
        count: u64,
    },
    /// To [`Request::Leaves`].
    Leaves {
        /// Some or all of its leaves.
        leaves: Vec<Digest>,
        /// Are there more than one page holds?
        truncated: bool,
    },
    /// To [`Request::Fetch`]: the assertions whose bytes hash to what was asked for.
    Fetched {
        /// Checked assertions.
        good: Vec<Sealed>,
        /// How many did not hash right, or carried a false signature.
        bad: u64,
    },
    /// To [`Request::Gossip`].
    Gossiped {
        /// Empty when the peer took it, else why not.
        refusal: String,
    },
}

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

/// What a session gave and took, for `POST /v1/admin/sync`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The peer's identity, where it told it.
    pub node_id: Option<NodeId>,
    /// Assertions taken from the peer and stored.
    pub received: u64,
    /// Assertions the peer took from us.
    pub sent: u64,
    /// gRPC message bytes received, with their 5-byte prefixes.
    pub bytes_in: u64,
    /// gRPC message bytes sent, with their 5-byte prefixes.
    pub bytes_out: u64,
    /// Of both: bytes of assertions.
    pub body_bytes: u64,
    /// Requests that had to be answered before the difference was known.
    pub rounds: u64,
    /// Milliseconds from first request to last answer.
    pub ms: u64,
    /// Why the session ended early or did less than all.
    pub error: Option<String>,
}

/// What one call cost: gRPC message bytes with their 5-byte prefixes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WireBytes {
    /// To the peer.
    pub sent: u64,
    /// From the peer.
    pub received: u64,
    /// Of both: bytes of assertions.
    pub body: u64,
}

/// One run of anti-entropy with one peer.
#[derive(Debug)]
pub struct Session {
    local: (Digest, u64),
    phase: Phase,
    next_number: u32,
    asked: BTreeMap<u32, Asked>,
    missing: VecDeque<Digest>,
    unobtainable: BTreeSet<Digest>,
    offers: VecDeque<Sealed>,
    offers_waiting: usize,
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
}

impl Session {
    /// A session for a set of `count` assertions with this root.
    pub fn new(root: Digest, count: u64) -> Session {
        Session {
            local: (root, count),
            phase: Phase::Compare,
            next_number: 0,
            asked: BTreeMap::new(),
            missing: VecDeque::new(),
            unobtainable: BTreeSet::new(),
            offers: VecDeque::new(),
            offers_waiting: 0,
            seen: Rows::default(),
            rows_at_start: count,
            push_from: 0,
            peer_count: 0,
            fetched: 0,
            worthless: 0,
            report: Report::default(),
        }
    }

    /// An answer arrived. One that nobody asked for, or of another kind, ends the session.
    pub fn handle_reply(&mut self, number: u32, reply: Reply, store: &Store, bodies: &dyn Bodies) {
        match (self.asked.remove(&number), reply) {
            (Some(Asked::Roots), Reply::Roots { matched, count }) => {
                self.report.rounds += 1;
                self.peer_count = count;
                self.phase = if matched { Phase::Over } else { Phase::Walk };
            }
            (Some(Asked::Leaves), Reply::Leaves { leaves, truncated }) => {
                self.report.rounds += 1;
                self.take_leaves(&leaves, truncated, store, bodies);
            }
            (Some(Asked::Fetch(wanted)), Reply::Fetched { good, bad }) => {
                self.take_fetched(wanted, good, bad);
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
        self.offers_waiting -= 1;
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
        if let Some(sealed) = self.offers.pop_front() {
            self.offers_waiting += 1;
            return Some(Output::Offer(sealed));
        }
        match self.phase {
            Phase::Compare if self.asked.is_empty() => {
                let (root, count) = self.local;
                Some(self.call(Asked::Roots, Request::Roots { root, count }))
            }
            Phase::Compare => None,
            Phase::Walk | Phase::Drain => self.poll_walk(store, bodies),
            Phase::Push => self.poll_push(store, bodies),
            Phase::Over if self.asked.is_empty() && self.offers_waiting == 0 => Some(Output::Done),
            Phase::Over => None,
        }
    }

    /// What the session did so far.
    pub fn report(&self) -> &Report {
        &self.report
    }

    fn poll_walk(&mut self, store: &Store, bodies: &dyn Bodies) -> Option<Output> {
        let quiet = self.missing.is_empty();
        let underway = self.asked.len() + self.offers_waiting.div_ceil(limits::FETCH_HASHES_MAX);
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

    /// Fewer than asked for is normal (an answer has a size limit) as long as something came.
    fn take_fetched(&mut self, wanted: Vec<Digest>, good: Vec<Sealed>, bad: u64) {
        let mut wanted: BTreeSet<Digest> = wanted.into_iter().collect();
        let before = wanted.len();
        for sealed in good {
            if wanted.remove(&sealed.digest()) {
                self.fetched += 1;
                self.offers.push_back(sealed);
            }
        }
        if bad > 0 {
            self.note(format!(
                "{bad} assertions of the peer did not match their hash or signature"
            ));
        }
        if wanted.len() == before || bad > 0 {
            let lacking = wanted.len();
            self.note(format!("the peer names {lacking} assertions that it does not give"));
            self.worthless += 1;
            self.unobtainable.append(&mut wanted);
        } else {
            self.missing.extend(wanted);
        }
        if self.worthless > WORTHLESS_MAX {
            self.fail("the peer does not give what its leaves promise".into());
        }
    }

    fn note(&mut self, reason: String) {
        self.report.error.get_or_insert(reason);
    }

    fn fail(&mut self, reason: String) {
        self.note(reason);
        self.phase = Phase::Over;
        self.missing.clear();
        self.offers.clear();
    }
}

/// A set of row numbers, one bit each.
#[derive(Debug, Default)]
struct Rows {
    words: Vec<u64>,
    count: u64,
}

impl Rows {
    /// False if the row was there already.
    fn insert(&mut self, row: u64) -> bool {
        let word = usize::try_from(row / 64).expect("rows fit in memory");
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let fresh = self.words[word] >> (row % 64) & 1 == 0;
        self.words[word] |= 1 << (row % 64);
        self.count += u64::from(fresh);
        fresh
    }

    fn count_below(&self, end: u64) -> u64 {
        let whole = usize::try_from(end / 64).expect("rows fit in memory").min(self.words.len());
        let mut count: u64 =
            self.words[..whole].iter().map(|word| u64::from(word.count_ones())).sum();
        if let Some(word) = self.words.get(whole) {
            count += u64::from((word & !(u64::MAX << (end % 64))).count_ones());
        }
        count
    }

    /// The first row in `from..end` that is not in the set.
    fn next_absent(&self, from: u64, end: u64) -> Option<u64> {
        let mut row = from;
        while row < end {
            let word = usize::try_from(row / 64).ok().and_then(|word| self.words.get(word));
            let Some(word) = word else { return Some(row) };
            let free = (!word >> (row % 64)).trailing_zeros();
            if free < 64 - (row % 64) as u32 {
                let found = row + u64::from(free);
                return (found < end).then_some(found);
            }
            row = (row / 64 + 1) * 64;
        }
        None
    }
}

#[cfg(test)]
mod tests;
