//! Sets of which more differs than the sketch decodes. Never: lets a call wait for a slice.

use super::*;
use crate::sync::exchange::CallSet;
use crate::sync::part_comparisons::PartComparisons;
use crate::sync::phase::{AfterExchange, SessionPhase};

/// Two nodes that differ in so much, both ways.
fn pair(differing: u64) -> (TestNode, Honest) {
    let node = TestNode::with((0..500).chain(10_000..10_000 + differing / 2));
    let peer = TestNode::with((0..500).chain(90_000..90_000 + differing / 2));
    (node, Honest::sketching(peer))
}

/// A session in the midst of parts, as if so much was said to differ.
fn session(node: &mut TestNode, peer: &Honest, expected: u64) -> Session {
    let mut session =
        Session::new(node.root(), node.store.len(), Strategy::Sketches(PeerHistory::default()));
    session.sizes.theirs = peer.node.store.len();
    session.compare.parts = Some(PartComparisons::new(expected, 1000));
    session.phase = SessionPhase::Exchange(AfterExchange::End);
    session.traffic.exchange.set_calls(CallSet::Extended);
    session
}

#[test]
fn parts_that_differ_in_more_than_was_said_are_split_until_they_decode() {
    for (expected, differing) in [(600, 600), (600, 3000), (1, 8000), (30_000, 3000)] {
        let (mut node, mut peer) = pair(differing);
        let session = session(&mut node, &peer, expected);
        let report = run_session(&mut node, &mut peer, session);
        assert_eq!((report.received, report.sent), (differing / 2, differing / 2), "{expected}");
        assert_eq!(report.error, None);
        assert_eq!((node.root(), peer.leaf_pages), (peer.node.root(), 0), "{expected}");
        assert!(report.rounds < 100, "{expected}: {report:?}");
    }
}

/// The calls travel for as long as the session has anything else to do.
#[test]
fn two_parts_are_under_way_and_our_own_side_is_read_in_slices() {
    let (mut node, mut peer) = pair(24_000);
    let mut session = session(&mut node, &peer, 24_000);
    let (mut calls, mut slices, mut most) = (VecDeque::new(), 0, 0);
    loop {
        match session.poll_output(&node.store, &node.bodies) {
            Some(Output::Done) => break,
            Some(Output::Yield) => {
                assert!(session.poll_output(&node.store, &node.bodies).is_none_or(|output| {
                    let Output::Call(number, request) = output else { return false };
                    calls.push_back((number, request));
                    true
                }));
                session.handle_resumed();
                slices += 1;
            }
            Some(Output::Call(number, request)) => calls.push_back((number, request)),
            Some(Output::Offer(number, sealed)) => {
                session.handle_stored(number, stored(node.add(sealed)));
            }
            None => {
                let is_part = |(_, request): &&(u32, Request)| {
                    matches!(request, Request::Sketch(SketchRequest { part: Some(_), .. }))
                };
                most = most.max(calls.iter().filter(is_part).count());
                let (number, request) = calls.pop_front().expect("it waits for something");
                let reply = peer.reply(request).expect("honest");
                session.handle_reply(number, reply, &node.store, &node.bodies);
            }
        }
    }
    assert_eq!(node.root(), peer.node.root());
    assert_eq!(most, 2);
    assert!((4..20).contains(&slices), "{slices} slices for 12,000 of our own");
}

#[test]
fn a_peer_that_has_no_cells_for_a_part_is_walked_through() {
    struct Refusing(Honest);
    impl Peer for Refusing {
        fn reply(&mut self, request: Request) -> Result<Reply, String> {
            match request {
                Request::Sketch(request) => {
                    let part = request.part;
                    Ok(Reply::Sketch(SketchReply { part, ..SketchReply::default() }))
                }
                other => self.0.reply(other),
            }
        }
    }
    let (mut node, peer) = pair(600);
    let session = session(&mut node, &peer, 600);
    let mut peer = Refusing(peer);
    let report = run_session(&mut node, &mut peer, session);
    assert_eq!((report.error, report.rounds), (None, 3));
    assert_eq!((node.root(), peer.0.leaf_pages), (peer.0.node.root(), 1));
}

/// A third node gives to the peer while it is compared: between any two answers it has more.
#[test]
fn a_slow_peer_whose_set_grows_is_not_accused() {
    struct Growing {
        peer: Honest,
        /// What others give it, and how much of that after each answer but the first few.
        left: std::ops::Range<u64>,
        step: usize,
        answers: u32,
    }
    impl Peer for Growing {
        fn reply(&mut self, request: Request) -> Result<Reply, String> {
            self.answers += 1;
            let is_part = matches!(&request, Request::Sketch(it) if it.part.is_some());
            if is_part {
                for number in self.left.by_ref().take(self.step) {
                    self.peer.node.add(claim(number));
                }
            }
            self.peer.reply(request)
        }
    }
    const HELD: u64 = 20_000;
    const ALL: u64 = HELD + limits::SKETCH_DIFFERENCES_MAX + 3_000;
    for step in [15_000, 6_000] {
        let mut node = TestNode::with(0..ALL);
        let peer = Honest::sketching(TestNode::with(0..HELD));
        // The last ones no other node has.
        let mut peer = Growing { peer, left: HELD..ALL - 500, step, answers: 0 };
        let report = run(&mut node, &mut peer);
        assert_eq!((report.error, report.is_useless), (None, false), "{step}");
        assert_eq!(node.root(), peer.peer.node.root(), "{step}");
        assert!(peer.answers < 500, "{step}: {} answers", peer.answers);
    }
}
