//! One session against peers of all kinds: honest, fuller, emptier, Byzantine.

mod byzantine;
mod collision_check;
mod log_pull;
mod part_comparisons;

use std::collections::VecDeque;

use super::calls::{FETCH_MAX, PUSHES_MAX};
use super::intake::OFFERS_MAX;
use super::row_set::RowSet;
use super::*;
use crate::base::{Digest, HlcClock, NodeId, Wall, limits};
use crate::journal::{Bodies, Committed, Position};
use crate::model::{Draft, Object, Sealed};
use crate::sketch::{Cell, short_id};
use crate::store::{Applied, BucketScan, Store};

/// A node's store with its bodies in memory.
struct TestNode {
    store: Store,
    bodies: Memory,
}

/// The position is the index times this: some 2000 records are a megabyte.
const STRIDE: u64 = 512;

#[derive(Default)]
struct Memory(Vec<Sealed>);

impl Bodies for Memory {
    fn digest_at(&self, at: Position) -> Option<Digest> {
        self.sealed_at(at).map(|sealed| sealed.digest())
    }

    fn sealed_at(&self, at: Position) -> Option<Sealed> {
        self.0.get(usize::try_from(at.0).ok()? / STRIDE as usize).cloned()
    }
}

fn claim(number: u64) -> Sealed {
    let text = format!("claim {number}");
    let mut draft = Draft::new("s".into(), "p".into(), Object::Text(text));
    draft.timestamp = Some(number);
    draft.check(&mut HlcClock::new(NodeId::NONE), Wall(0)).expect("a good draft").seal()
}

impl TestNode {
    fn with(claims: impl IntoIterator<Item = u64>) -> TestNode {
        let mut node = TestNode { store: Store::new(1), bodies: Memory::default() };
        for number in claims {
            node.add(claim(number));
        }
        node
    }

    fn add(&mut self, sealed: Sealed) -> bool {
        let position = Position(self.bodies.0.len() as u64 * STRIDE);
        self.bodies.0.push(sealed.clone());
        let applied = self.store.apply(&Committed::recovered(position, sealed), &self.bodies);
        self.store.update_sketch();
        matches!(applied, Applied::New(_))
    }

    fn root(&mut self) -> Digest {
        loop {
            if let Some(root) = self.store.root_step(1000, self.store.rows()) {
                return root.digest;
            }
        }
    }

    fn sealed(&self, digest: &Digest) -> Option<Sealed> {
        self.bodies.sealed_at(self.store.find(digest, &self.bodies)?)
    }
}

/// A peer: takes a request, gives a reply.
trait Peer {
    fn reply(&mut self, request: Request) -> Result<Reply, String>;
}

/// Walks on through its leaves in pages of `page`, and gives at most `fetch` bodies at a time.
struct Honest {
    node: TestNode,
    has_sketch: bool,
    has_parts: bool,
    has_digests: bool,
    buckets: usize,
    /// Assertions given to it that it had.
    repeated: usize,
    leaf_pages: usize,
    record_pages: usize,
    page: usize,
    fetch: usize,
    reached: Option<Digest>,
}

impl Honest {
    fn new(node: TestNode) -> Honest {
        Honest {
            node,
            has_sketch: false,
            has_parts: true,
            has_digests: true,
            buckets: 0,
            repeated: 0,
            leaf_pages: 0,
            record_pages: 0,
            page: limits::LEAVES_MAX,
            fetch: limits::FETCH_HASHES_MAX,
            reached: None,
        }
    }

    fn sketching(node: TestNode) -> Honest {
        Honest { has_sketch: true, ..Honest::new(node) }
    }
}

impl Peer for Honest {
    fn reply(&mut self, request: Request) -> Result<Reply, String> {
        let node = &mut self.node;
        Ok(match request {
            Request::Roots { root, .. } => {
                Reply::Roots { matched: root == node.root(), count: node.store.len() }
            }
            Request::Sketch(_) if !self.has_sketch => Reply::Unsupported,
            Request::Sketch(mut request) => {
                request.part = request.part.filter(|_| self.has_parts);
                Reply::Sketch(answer_sketch(&node.store, &request))
            }
            Request::Digests if !self.has_digests => Reply::Unsupported,
            Request::Digests => {
                let mut scan = BucketScan::default();
                while !scan.step(100, &node.store) {}
                Reply::Digests(scan.digests().to_vec())
            }
            Request::LeavesOf(part) => {
                self.buckets += 1;
                let leaves = node.store.leaves_of(part, self.page);
                Reply::Leaves { leaves, truncated: false }
            }
            Request::Records(_) if !self.has_sketch => Reply::Unsupported,
            Request::Records(wanted) => {
                self.record_pages += 1;
                Reply::Records(answer_records(&node.store, wanted, &node.bodies))
            }
            Request::FetchShort(ids) => {
                let rows = ids.iter().filter_map(|id| node.store.find_short(*id));
                let positions = rows.filter_map(|row| node.store.position(row));
                let good = positions.filter_map(|at| node.bodies.sealed_at(at));
                Reply::Fetched { good: good.take(self.fetch).collect(), bad: 0 }
            }
            Request::Give(given) => {
                let taken = given.len() as u64;
                let repeated = given.into_iter().filter(|sealed| !node.add(sealed.clone()));
                self.repeated += repeated.count();
                Reply::Given { taken, refusal: String::new() }
            }
            Request::Leaves => {
                self.leaf_pages += 1;
                let leaves = node.store.leaves(self.reached, self.page);
                self.reached = leaves.last().copied().filter(|_| leaves.len() == self.page);
                Reply::Leaves { leaves, truncated: node.store.len() > self.page as u64 }
            }
            Request::Fetch(wanted) => {
                let good: Vec<Sealed> = wanted.iter().filter_map(|id| node.sealed(id)).collect();
                Reply::Fetched { good: good.into_iter().take(self.fetch).collect(), bad: 0 }
            }
            Request::Gossip(sealed) => {
                node.add(sealed);
                Reply::Gossiped { refusal: String::new() }
            }
        })
    }
}

/// What a session hears of an assertion that is in the store now.
fn stored(is_new: bool) -> Stored {
    if is_new { Stored::New } else { Stored::Known }
}

/// Runs a session to its end; answers come in the order of the calls.
fn run(node: &mut TestNode, peer: &mut dyn Peer) -> SessionReport {
    run_after(PeerHistory::default(), node, peer)
}

/// As after earlier sessions with the peer.
fn run_after(past: PeerHistory, node: &mut TestNode, peer: &mut dyn Peer) -> SessionReport {
    let session = Session::new(node.root(), node.store.len(), Strategy::Sketches(past));
    run_session(node, peer, session)
}

fn run_session(node: &mut TestNode, peer: &mut dyn Peer, mut session: Session) -> SessionReport {
    let mut calls = VecDeque::new();
    for _ in 0..100_000 {
        match session.poll_output(&node.store, &node.bodies) {
            Some(Output::Yield) => session.handle_resumed(),
            Some(Output::Done) => return session.report().clone(),
            Some(Output::Call(number, request)) => {
                calls.push_back((number, request));
                assert!(calls.len() <= PUSHES_MAX, "calls under way are bounded");
            }
            Some(Output::Offer(number, sealed)) => {
                let fresh = node.add(sealed);
                session.handle_stored(number, stored(fresh));
            }
            None => {
                let (number, request) = calls.pop_front().expect("a session that waits has asked");
                match peer.reply(request) {
                    Ok(reply) => session.handle_reply(number, reply, &node.store, &node.bodies),
                    Err(reason) => session.handle_failed(number, reason),
                }
            }
        }
    }
    panic!("the session does not end: {:?}", session.report());
}

/// The disk is slow: nothing is stored before the session has nothing else to do.
#[test]
fn what_waits_for_the_disk_is_bounded() {
    for sketching in [false, true] {
        let node = TestNode::with(0..10);
        let mut peer = Honest { has_sketch: sketching, ..Honest::new(TestNode::with(0..9000)) };
        let mut target = TestNode::with(0..10);
        let mut session =
            Session::new(target.root(), 10, Strategy::Sketches(PeerHistory::default()));
        let (mut calls, mut offers, mut most) = (VecDeque::new(), VecDeque::new(), 0);
        loop {
            match session.poll_output(&node.store, &node.bodies) {
                Some(Output::Yield) => session.handle_resumed(),
                Some(Output::Done) => break,
                Some(Output::Call(number, request)) => calls.push_back((number, request)),
                Some(Output::Offer(number, sealed)) => offers.push_back((number, sealed)),
                None => {
                    most = most.max(offers.len());
                    if let Some((number, request)) = calls.pop_front() {
                        let reply = peer.reply(request).expect("honest");
                        session.handle_reply(number, reply, &node.store, &node.bodies);
                    } else {
                        let next = offers.pop_front();
                        let (number, sealed) = next.expect("it waits for something");
                        session.handle_stored(number, stored(target.add(sealed)));
                    }
                }
            }
        }
        assert_eq!(target.store.len(), 9000, "{:?}", session.report());
        assert!((2 * FETCH_MAX..=OFFERS_MAX).contains(&most), "{most}");
    }
}

#[test]
fn equal_sets_take_one_round() {
    let mut node = TestNode::with(0..50);
    let report = run(&mut node, &mut Honest::new(TestNode::with((0..50).rev())));
    assert_eq!(report, SessionReport { rounds: 1, peer_count: 50, ..SessionReport::default() });
}

#[test]
fn a_difference_both_ways_is_exchanged() {
    for (page, fetch) in [(10_000, 1000), (7, 1000), (7, 2)] {
        let mut node = TestNode::with(0..60);
        let mut peer = Honest::new(TestNode::with(20..100));
        (peer.page, peer.fetch) = (page, fetch);
        let report = run(&mut node, &mut peer);
        assert_eq!(report.error, None);
        assert_eq!((report.received, report.sent), (40, 20), "page {page}, fetch {fetch}");
        assert_eq!(node.root(), peer.node.root());
        assert_eq!(node.store.len(), 100);
    }
}

#[test]
fn sketches_show_what_differs_without_a_look_at_the_leaves() {
    for (ours, theirs) in [(1, 0), (0, 1), (3, 5), (300, 200), (0, 4000)] {
        let mut node = TestNode::with(0..1000 + ours);
        let mut peer = Honest::sketching(TestNode::with((0..1000).chain(5000..5000 + theirs)));
        peer.fetch = 700;
        let report = run(&mut node, &mut peer);
        assert_eq!((report.received, report.sent, &report.error), (theirs, ours, &None));
        assert_eq!(node.root(), peer.node.root());
        assert_eq!((peer.leaf_pages, peer.repeated), (0, 0), "{ours} and {theirs}");
        let rounds = if ours + theirs < 10 { 2 } else { 3 };
        assert!(report.rounds <= rounds + u64::from(theirs > 3000) * 4, "{report:?}");
    }
}

/// Notes from where its cells were asked and how many it gave.
struct Watched {
    peer: Honest,
    given: Vec<(usize, usize)>,
}

impl Peer for Watched {
    fn reply(&mut self, request: Request) -> Result<Reply, String> {
        let reply = self.peer.reply(request);
        if let Ok(Reply::Sketch(reply)) = &reply {
            self.given.push((reply.from, reply.cells.len()));
        }
        reply
    }
}

#[test]
fn the_first_cells_travel_once() {
    let mut node = TestNode::with(0..1300);
    let peer = Honest::sketching(TestNode::with((0..1000).chain(5000..5200)));
    let mut peer = Watched { peer, given: Vec::new() };
    let report = run(&mut node, &mut peer);
    assert_eq!((report.received, report.sent, report.error), (200, 300, None));
    assert_eq!(node.root(), peer.peer.node.root());
    assert_eq!(peer.peer.leaf_pages, 0);
    let first = peer.given[0].1;
    assert_eq!(peer.given[1].0, first);
    let all: usize = peer.given.iter().map(|(_, cells)| cells).sum();
    assert!(all < 850, "{all} cells for 500 differences");
}

#[test]
fn too_many_for_the_sketch_are_found_part_by_part_or_by_the_leaves() {
    for has_parts in [true, false] {
        let mut node = TestNode::with((0..8_000).chain(90_000..90_300));
        let mut peer = Honest { has_parts, ..Honest::sketching(TestNode::with(0..58_000)) };
        let report = run(&mut node, &mut peer);
        assert!(!report.is_useless);
        assert_eq!((report.received, report.sent, report.error), (50_000, 300, None));
        assert_eq!(node.root(), peer.node.root());
        assert_eq!((peer.leaf_pages == 0, peer.record_pages), (has_parts, 0));
    }
}

#[test]
fn sets_that_change_while_they_are_compared_are_compared_anew() {
    struct Growing(Honest, u64);
    impl Peer for Growing {
        fn reply(&mut self, request: Request) -> Result<Reply, String> {
            if matches!(request, Request::Sketch(_)) && self.1 < 9_010 {
                self.0.node.add(claim(self.1));
                self.1 += 1;
            }
            self.0.reply(request)
        }
    }
    let mut peer = Growing(Honest::sketching(TestNode::with(0..5000)), 9000);
    let mut node = TestNode::with(5000..5100);
    let report = run(&mut node, &mut peer);
    assert_eq!((report.error, report.sent), (None, 100));
    assert_eq!(node.root(), peer.0.node.root());
}

#[test]
fn sketches_that_show_nothing_are_reported_as_blind() {
    struct Deaf(Honest);
    impl Peer for Deaf {
        fn reply(&mut self, request: Request) -> Result<Reply, String> {
            match request {
                Request::Roots { .. } => Ok(Reply::Roots { matched: false, count: 10 }),
                other => self.0.reply(other),
            }
        }
    }
    let report =
        run(&mut TestNode::with(0..10), &mut Deaf(Honest::sketching(TestNode::with(0..10))));
    assert!(report.is_blind() && report.error.is_none(), "{report:?}");
}

#[test]
fn an_empty_side_gets_everything_whichever_it_is() {
    let mut empty = TestNode::with([]);
    let mut full = Honest::new(TestNode::with(0..3000));
    full.page = 1000;
    assert_eq!(run(&mut empty, &mut full).received, 3000);
    assert_eq!(empty.root(), full.node.root());
    let mut node = TestNode::with(0..300);
    let mut peer = Honest::new(TestNode::with([]));
    assert_eq!(run(&mut node, &mut peer).sent, 300);
    assert_eq!(node.root(), peer.node.root());
}

#[test]
fn a_failed_call_ends_the_session_with_its_reason() {
    struct Mute;
    impl Peer for Mute {
        fn reply(&mut self, _: Request) -> Result<Reply, String> {
            Err("connection refused".into())
        }
    }
    let report = run(&mut TestNode::with(0..5), &mut Mute);
    assert_eq!(report.error.as_deref(), Some("connection refused"));
}

#[test]
fn rows_find_the_first_that_is_absent() {
    let mut rows = RowSet::default();
    for row in (0..130).filter(|row| *row != 64 && *row != 129) {
        assert!(rows.insert(row));
        assert!(!rows.insert(row));
    }
    assert_eq!(rows.count, 128);
    assert_eq!([0, 64, 66, 200].map(|end| rows.count_below(end)), [0, 64, 65, 128]);
    assert_eq!(rows.next_absent(0, 200), Some(64));
    assert_eq!(rows.next_absent(65, 200), Some(129));
    assert_eq!(rows.next_absent(65, 129), None);
    assert_eq!(rows.next_absent(130, 200), Some(130));
    assert_eq!(rows.next_absent(500, 501), Some(500));
}

#[test]
fn a_record_that_is_lost_here_is_not_asked_of_a_peer_that_never_had_it() {
    let mut node = TestNode::with((0..1000).chain([9_000, 9_001]));
    let last = Position((node.bodies.0.len() as u64 - 1) * STRIDE);
    node.bodies.0.pop();
    assert!(node.store.quarantine(last, &node.bodies).is_some());
    let mut peer = Honest::sketching(TestNode::with(0..1000));
    let report = run(&mut node, &mut peer);
    assert_eq!((report.sent, report.received, report.error), (1, 0, None));
    assert!(!report.is_useless, "the peer promised nothing");
}
