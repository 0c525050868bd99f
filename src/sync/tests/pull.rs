//! Who lacks most of what a peer has, and takes its log.
//!
//! Never: looks at how it travels.

use super::*;

#[test]
fn who_lacks_most_takes_the_log_as_it_is() {
    for (ours, theirs, pages) in [(0, 5000, 2), (3, 70, 1), (600, 5000, 2), (700, 5000, 0)] {
        let mut node = Node::with(100_000..100_000 + ours);
        let mut peer = Honest::sketching(Node::with(0..theirs));
        let report = run(&mut node, &mut peer);
        assert_eq!((report.received, report.sent, &report.error), (theirs, ours, &None));
        assert_eq!(node.root(), peer.node.root());
        assert_eq!((peer.record_pages > 0, peer.leaf_pages), (pages > 0, 0), "{ours} and {theirs}");
    }
}

#[test]
fn a_peer_without_records_is_compared_with() {
    let mut node = Node::with(0..0);
    let mut peer = Honest::new(Node::with(0..3000));
    let report = run(&mut node, &mut peer);
    assert_eq!((report.received, &report.error), (3000, &None));
    assert_eq!((node.root(), peer.record_pages), (peer.node.root(), 0));
}

/// Ends after so many pages, as a connection does.
struct Cut {
    peer: Honest,
    pages: usize,
}

impl Peer for Cut {
    fn reply(&mut self, request: Request) -> Result<Reply, String> {
        if self.peer.record_pages == self.pages {
            return Err("cut off".into());
        }
        self.peer.reply(request)
    }
}

#[test]
fn a_pull_that_was_cut_off_goes_on_where_it_was() {
    let mut node = Node::with(0..0);
    let all = 20_000;
    let mut peer = Cut { peer: Honest::sketching(Node::with(0..all)), pages: 3 };
    let report = run(&mut node, &mut peer);
    assert_eq!(report.error.as_deref(), Some("cut off"));
    let first = node.store.len();
    assert!(first > 0 && first < all, "{first}");
    let numbering = peer.peer.node.store.numbering();
    let pulled = BTreeMap::from([(numbering, first)]);
    (peer.pages, peer.peer.record_pages) = (usize::MAX, 0);
    let session = Session::new(node.root(), node.store.len(), Way::Sketches(Past::default()))
        .resuming(pulled);
    let report = run_session(&mut node, &mut peer, session);
    assert_eq!((report.error, report.received), (None, all - first));
    assert_eq!(node.root(), peer.peer.node.root());
}

/// How far a session goes that nobody stores anything for: assertions that it offers, those that
/// wait, and the most that came in one answer.
fn pull_without_disk(peer: &mut Honest) -> (usize, usize, usize) {
    let node = Node::with(0..0);
    let mut session = Session::new(Digest::ZERO, 0, Way::Sketches(Past::default()));
    let (mut offered, mut page) = (0, 0);
    while let Some(output) = session.poll_output(&node.store, &node.bodies) {
        match output {
            Output::Call(number, request) => {
                let reply = peer.reply(request).expect("honest");
                if let Reply::Records(records) = &reply {
                    page = page.max(records.good.len());
                }
                session.handle_reply(number, reply, &node.store, &node.bodies);
            }
            Output::Offer(_) => offered += 1,
            other => panic!("{other:?}"),
        }
    }
    (offered, session.offers.len(), page)
}

#[test]
fn a_pull_waits_for_a_disk_that_does_not_keep_up() {
    let mut peer = Honest::sketching(Node::with(0..30_000));
    let (offered, waiting, page) = pull_without_disk(&mut peer);
    assert!(waiting >= PULLED_MAX && waiting < PULLED_MAX + page, "{waiting}");
    assert!(offered <= OFFERS_MAX && offered + waiting < 30_000, "{offered} and {waiting}");
}

#[test]
fn large_assertions_wait_by_their_bytes() {
    let large = |number: u64| {
        let text = format!("{number} {}", "x".repeat(40_000));
        let mut draft = Draft::new("s".into(), "p".into(), Object::Text(text));
        draft.timestamp = Some(number);
        draft.check(&mut HlcClock::new(NodeId::NONE), Wall(0)).expect("a good draft").seal()
    };
    let mut node = Node::with(0..0);
    (0..400).for_each(|number| assert!(node.add(large(number))));
    // They lie nearer in this log than they could: each answer has many.
    let (offered, waiting, page) = pull_without_disk(&mut Honest::sketching(node));
    let bytes = 40_000 * waiting;
    assert!((offered - 1) * 40_000 < OFFERS_BYTES_MAX, "{offered}");
    assert!(bytes < PULLED_BYTES_MAX + 40_300 * page && waiting < 400, "{waiting}");
}

#[test]
fn the_next_records_are_asked_for_while_those_before_are_looked_at() {
    let mut node = Node::with(0..0);
    let mut peer = Honest::sketching(Node::with(0..9000));
    let mut session = Session::new(node.root(), 0, Way::Sketches(Past::default()));
    let mut opened = VecDeque::new();
    let mut most = 0;
    loop {
        match session.poll_output(&node.store, &node.bodies) {
            Some(Output::Call(number, request)) => {
                let reply = peer.reply(request).expect("honest");
                if let Reply::Records(records) = &reply {
                    session.handle_span(number, records.span);
                    // Once more is as if it were not.
                    session.handle_span(number, records.span);
                    opened.push_back((number, reply));
                } else {
                    session.handle_reply(number, reply, &node.store, &node.bodies);
                }
                most = most.max(opened.len());
            }
            Some(Output::Offer(sealed)) => {
                let before = session.pulled().map_or(0, |cursor| cursor.row);
                let row = node.store.len();
                assert!(before <= row, "{before} of {row} is said to be stored");
                assert!(node.add(sealed));
                session.handle_stored(Ok(true));
            }
            Some(Output::Done) => break,
            Some(Output::Turn) => session.handle_turn(),
            None => {
                // Those that came last are known first.
                let (number, reply) = opened.pop_back().expect("something is waited for");
                session.handle_reply(number, reply, &node.store, &node.bodies);
            }
        }
    }
    assert_eq!((most, node.root()), (OPENED_MAX + 1, peer.node.root()));
    assert_eq!(session.pulled().map(|cursor| cursor.row), Some(9000));
    assert_eq!(session.report().received, 9000);
}
