//! Our side: a session of `sync` against `answer_sketch`, over whole stores without bodies.
//!
//! In: how much is common and how much is not. Out: what it cost until the session knows what it
//! lacks. Messages are encoded as the node does, with gRPC's five bytes in front.
//!
//! Never: answers anything else than a sketch.

use std::cell::Cell;
use std::hint::black_box;
use std::time::Instant;

use prost::Message;
use stemedb_edge::base::{Digest, HlcClock, Moment, NodeId, Ticket, Wall, limits};
use stemedb_edge::journal::{self, Bodies, CommitQueue, Committed, Config, Done, Position};
use stemedb_edge::model::{Draft, Object, Sealed};
use stemedb_edge::sketch::ShortId;
use stemedb_edge::store::Store;
use stemedb_edge::sync::{
    Output, PeerHistory, Reply, Request, Session, Stored, Strategy, answer_sketch,
};
use stemedb_edge::wire::frame::PREFIX_BYTES;
use stemedb_edge::wire::pb::sync as pb;
use stemedb_edge::wire::sketches;

use super::Cost;
use super::set::{self, Share};

/// What a record of 300 bytes takes in the log.
const FRAME_BYTES: u64 = 344;

/// Records in a segment.
const SEGMENT_RECORDS: u64 = (limits::SEGMENT_BYTES_MAX - 32) / FRAME_BYTES;

/// The position of the record of this number.
fn position(number: u64) -> Position {
    let first = Position::first_of(number / SEGMENT_RECORDS);
    Position(first.0 + number % SEGMENT_RECORDS * FRAME_BYTES)
}

/// A record that was written there.
fn committed(at: Position, sealed: Sealed) -> Committed {
    let mut queue = CommitQueue::new(Config::default(), at, 0);
    queue.enqueue(sealed, Ticket(0)).expect("an empty queue");
    queue.handle_timeout(Moment::ZERO);
    queue.poll_work().expect("an idle disk");
    queue.handle_done(Moment::ZERO, Done::Well);
    match queue.poll_output() {
        Some(journal::Output::Committed(committed, _)) => committed,
        _ => panic!("it is written"),
    }
}

/// The hash of a record is made of its position, its body is always the same; counts how often one
/// is read.
struct Imagined {
    seed: u64,
    body: Sealed,
    read: Cell<u64>,
}

impl Bodies for Imagined {
    fn digest_at(&self, at: Position) -> Option<Digest> {
        self.read.set(self.read.get() + 1);
        let number = at.segment() * SEGMENT_RECORDS + at.offset() / FRAME_BYTES;
        Some(set::digest(self.seed, number))
    }

    fn sealed_at(&self, at: Position) -> Option<Sealed> {
        let digest = self.digest_at(at)?;
        Some(Sealed::recovered(digest, self.body.bytes().clone()))
    }
}

struct Side {
    share: Share,
    store: Store,
    bodies: Imagined,
}

impl Side {
    fn new(share: Share, seed: u64, body: Sealed) -> Side {
        let bodies = Imagined { seed, body, read: Cell::new(0) };
        Side { share, store: Store::new(1), bodies }
    }

    fn by_short(&self, ids: &[ShortId]) -> Vec<Sealed> {
        let rows = ids.iter().filter_map(|id| self.store.find_short(*id));
        let positions = rows.filter_map(|row| self.store.position(row));
        positions.filter_map(|at| self.bodies.sealed_at(at)).collect()
    }

    fn add(&mut self, number: u64) {
        let at = position(number);
        let sealed = self.bodies.sealed_at(at).expect("every position has one");
        self.store.append(&committed(at, sealed));
    }
}

/// Two nodes' sets.
pub struct Pair {
    common: u64,
    next: u64,
    one: Side,
    two: Side,
}

impl Pair {
    /// Two that have the same.
    pub fn new(common: u64) -> Pair {
        Pair::with_seed(common, 0)
    }

    fn with_seed(common: u64, seed: u64) -> Pair {
        let draft = Draft::new("subject".into(), "predicate".into(), Object::Boolean(true));
        let checked = draft.check(&mut HlcClock::new(NodeId::NONE), Wall(0));
        let body = checked.expect("a good draft").seal();
        let one = Side::new(Share::One, seed, body.clone());
        let two = Side::new(Share::Two, seed, body);
        let mut pair = Pair { common, next: 0, one, two };
        pair.grow(0);
        pair
    }

    /// Goes on until so much differs.
    pub fn grow(&mut self, differences: u64) {
        for number in self.next..self.common + differences {
            for side in [&mut self.one, &mut self.two] {
                if set::has(side.share, self.common, number) {
                    side.add(number);
                }
            }
        }
        self.next = self.common + differences;
        self.one.store.update_sketch();
        self.two.store.update_sketch();
    }

    /// The first asks the second.
    pub fn compare(&self) -> Cost {
        let start = Instant::now();
        let mut cost = self.exchange();
        cost.time = start.elapsed();
        cost
    }

    /// A function of its own, so that callgrind can count it apart from the building. What is
    /// exchanged between parts is not counted.
    #[inline(never)]
    fn exchange(&self) -> Cost {
        let (one, two) = (&self.one, &self.two);
        let mut session =
            Session::new(Digest::ZERO, one.store.len(), Strategy::Sketches(PeerHistory::default()));
        let mut cost = Cost::default();
        let (mut is_blind, mut in_parts) = (false, false);
        while let Some(output) = session.poll_output(&one.store, &one.bodies) {
            let (number, request) = match output {
                Output::Call(number, request) => (number, request),
                Output::Offer(number, _) => {
                    // Stored, to all appearances.
                    session.handle_stored(number, Stored::New);
                    continue;
                }
                Output::Yield => {
                    session.handle_resumed();
                    continue;
                }
                Output::Done => break,
            };
            let reply = match request {
                Request::Roots { .. } => {
                    Reply::Roots { matched: self.next == self.common, count: two.store.len() }
                }
                Request::Sketch(request) => {
                    in_parts |= request.part.is_some();
                    let reply = answer_sketch(&two.store, &request);
                    let asked = sketches::sketch_request(request).encode_to_vec();
                    let answered = sketches::sketch_response(&reply).encode_to_vec();
                    cost.bytes += (asked.len() + answered.len() + 2 * PREFIX_BYTES) as u64;
                    cost.rounds += 1;
                    Reply::Sketch(reply)
                }
                Request::FetchShort(ids) if in_parts => {
                    Reply::Fetched { good: two.by_short(&ids), bad: 0 }
                }
                Request::Give(given) if in_parts => {
                    Reply::Given { taken: given.len() as u64, refusal: String::new() }
                }
                Request::Leaves => return cost,
                _ => break,
            };
            one.bodies.read.set(0);
            session.handle_reply(number, reply, &one.store, &one.bodies);
            cost.touched += one.bodies.read.get();
            is_blind |= session.report().is_blind();
        }
        assert!(!is_blind, "the sketches show nothing");
        let exchanged = session.report().received + session.report().sent;
        if in_parts {
            // A part's sketch is made of its members.
            cost.touched += one.store.len() + two.store.len();
        }
        cost.found = Some(if in_parts { exchanged } else { self.next - self.common });
        black_box(cost)
    }
}

/// What the plain leaf list of a set costs: bytes of answers, and calls.
pub fn leaves(pair: &Pair) -> (u64, u64) {
    let (side, mut after, mut bytes, mut calls) = (&pair.two, None, 0, 0);
    loop {
        let leaves = side.store.leaves(after, limits::LEAVES_MAX);
        after = leaves.last().copied();
        let full = leaves.len() == limits::LEAVES_MAX;
        let leaves = leaves.iter().map(|leaf| leaf.0.to_vec().into()).collect();
        let answer = pb::GetLeavesResponse { leaves, truncated: full };
        bytes += (answer.encoded_len() + PREFIX_BYTES) as u64;
        calls += 1;
        if !full {
            return (bytes, calls);
        }
    }
}

/// Two sets that share nothing, of one seed.
pub fn apart(differences: u64, seed: u64) -> Cost {
    let mut pair = Pair::with_seed(0, seed);
    pair.grow(differences);
    pair.compare()
}
