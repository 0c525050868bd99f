//! Who lacks most of what a peer has, and takes its log.
//!
//! Never: looks at how it travels.

use std::collections::BTreeMap;

use super::*;
use crate::sync::calls::RECORDS_MAX;
use crate::sync::intake::{OFFERS_BYTES_MAX, WAITING_BYTES_MAX, WAITING_MAX};
use crate::sync::log_pull::{LogPull, Scope};

#[test]
fn who_lacks_most_takes_the_log_as_it_is() {
    for (ours, theirs, pages) in [(0, 5000, 2), (3, 70, 1), (600, 5000, 2), (700, 5000, 0)] {
        let mut node = TestNode::with(100_000..100_000 + ours);
        let mut peer = Honest::sketching(TestNode::with(0..theirs));
        let report = run(&mut node, &mut peer);
        assert_eq!((report.received, report.sent, &report.error), (theirs, ours, &None));
        assert_eq!(node.root(), peer.node.root());
        assert_eq!((peer.record_pages > 0, peer.leaf_pages), (pages > 0, 0), "{ours} and {theirs}");
    }
}

#[test]
fn a_peer_without_records_is_compared_with() {
    let mut node = TestNode::with(0..0);
    let mut peer = Honest::new(TestNode::with(0..3000));
    let report = run(&mut node, &mut peer);
    assert_eq!((report.received, &report.error), (3000, &None));
    assert_eq!((node.root(), peer.record_pages), (peer.node.root(), 0));
}

/// The number of rows is the peer's word, whatever waits here besides.
#[test]
fn progress_counts_no_further_than_numbers_go() {
    let mut node = TestNode::with(0..0);
    let mut session = Session::new(node.root(), 0, Strategy::Sketches(PeerHistory::default()));
    let from = RowCursor { numbering: 7, row: 0 };
    let span = Span { from, next: 1, rows: u64::MAX };
    let records = Records { span, good: (0..9).map(claim).collect(), bad: 0 };
    for reply in [Reply::Roots { matched: false, count: u64::MAX }, Reply::Records(records)] {
        let output = session.poll_output(&node.store, &node.bodies);
        let Some(Output::Call(number, _)) = output else { panic!("{output:?}") };
        session.handle_reply(number, reply, &node.store, &node.bodies);
    }
    assert_eq!(session.progress().to_receive, u64::MAX);
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
    let mut node = TestNode::with(0..0);
    let all = 20_000;
    let mut peer = Cut { peer: Honest::sketching(TestNode::with(0..all)), pages: 3 };
    let report = run(&mut node, &mut peer);
    assert_eq!(report.error.as_deref(), Some("cut off"));
    let first = node.store.len();
    assert!(first > 0 && first < all, "{first}");
    let numbering = peer.peer.node.store.numbering();
    let pulled = BTreeMap::from([(numbering, first)]);
    (peer.pages, peer.peer.record_pages) = (usize::MAX, 0);
    let session =
        Session::new(node.root(), node.store.len(), Strategy::Sketches(PeerHistory::default()))
            .resuming(pulled);
    let report = run_session(&mut node, &mut peer, session);
    assert_eq!((report.error, report.received), (None, all - first));
    assert_eq!(node.root(), peer.peer.node.root());
}

/// How far a session goes for which the disk stores nothing: assertions that it offers, those that
/// wait, and the most that came in one answer.
fn pull_without_disk(peer: &mut Honest) -> (usize, usize, usize) {
    let node = TestNode::with(0..0);
    let mut session = Session::new(Digest::ZERO, 0, Strategy::Sketches(PeerHistory::default()));
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
            Output::Offer(..) => offered += 1,
            other => panic!("{other:?}"),
        }
    }
    (offered, session.traffic.intake.len() - offered, page)
}

#[test]
fn a_pull_waits_for_a_disk_that_does_not_keep_up() {
    let mut peer = Honest::sketching(TestNode::with(0..30_000));
    let (offered, waiting, page) = pull_without_disk(&mut peer);
    assert!(waiting >= WAITING_MAX && waiting < WAITING_MAX + page, "{waiting}");
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
    let mut node = TestNode::with(0..0);
    (0..400).for_each(|number| assert!(node.add(large(number))));
    // They lie nearer in this log than they could: each answer has many.
    let (offered, waiting, page) = pull_without_disk(&mut Honest::sketching(node));
    let bytes = 40_000 * waiting;
    assert!((offered - 1) * 40_000 < OFFERS_BYTES_MAX, "{offered}");
    assert!(bytes < WAITING_BYTES_MAX + 40_300 * page && waiting < 400, "{waiting}");
}

/// What a pull asks for and what is stored, if each answer is held back for as long as others come,
/// and looked at last come first.
struct Backwards {
    node: TestNode,
    session: Session,
    opened: Vec<(u32, Reply)>,
    asked: Vec<RowRange>,
    /// Answers at once that were looked at or on their way.
    most: usize,
}

impl Backwards {
    fn new() -> Backwards {
        let node = TestNode::with(0..0);
        let session = Session::new(Digest::ZERO, 0, Strategy::Sketches(PeerHistory::default()));
        Backwards { node, session, opened: Vec::new(), asked: Vec::new(), most: 0 }
    }

    fn run(&mut self, peer: &mut impl Peer) -> SessionReport {
        loop {
            let Backwards { node, session, .. } = self;
            match session.poll_output(&node.store, &node.bodies) {
                Some(Output::Call(number, request)) => {
                    if let Request::Records(range) = &request {
                        self.asked.push(*range);
                    }
                    let reply = peer.reply(request).expect("no failure");
                    self.opened.push((number, reply));
                    self.most = self.most.max(self.opened.len());
                }
                Some(Output::Offer(number, sealed)) => {
                    let known = session.pulled().map_or(0, |cursor| cursor.row);
                    let new = node.add(sealed);
                    session.handle_stored(number, stored(new));
                    let rows = node.store.rows();
                    assert!(known <= rows, "{known} of {rows} are said to be stored");
                }
                Some(Output::Done) => return session.report().clone(),
                Some(Output::Yield) => session.handle_resumed(),
                None => {
                    let spans = self.opened.iter().filter_map(|(number, reply)| match reply {
                        Reply::Records(records) => Some((*number, records.span)),
                        _ => None,
                    });
                    // Again is as if it were not.
                    spans.for_each(|(number, span)| session.handle_span(number, span));
                    if let Some(output) = session.poll_output(&node.store, &node.bodies) {
                        let Output::Call(number, request) = output else { panic!("{output:?}") };
                        let Request::Records(range) = &request else { panic!("{request:?}") };
                        self.asked.push(*range);
                        let reply = peer.reply(request).expect("no failure");
                        self.opened.push((number, reply));
                        self.most = self.most.max(self.opened.len());
                        continue;
                    }
                    let (number, reply) = self.opened.pop().expect("something is waited for");
                    session.handle_reply(number, reply, &node.store, &node.bodies);
                }
            }
        }
    }
}

#[test]
fn row_ranges_are_asked_for_side_by_side_and_come_in_any_order() {
    let (mut pull, mut peer) = (Backwards::new(), Honest::sketching(TestNode::with(0..20_000)));
    let report = pull.run(&mut peer);
    assert_eq!((report.error, report.received), (None, 20_000));
    assert_eq!((pull.most, pull.node.root()), (RECORDS_MAX + 1, peer.node.root()));
    assert_eq!(pull.session.pulled().map(|cursor| cursor.row), Some(20_000));
    let mut rows: Vec<u64> = pull.asked.iter().map(|range| range.from.row).collect();
    rows.sort_unstable();
    rows.dedup();
    assert_eq!(rows.len(), pull.asked.len(), "nothing is asked for twice: {:?}", pull.asked);
    assert!(pull.asked.iter().any(|range| range.until.is_some()));
}

/// Gives rows past those that were asked for.
struct Endless(Honest);

impl Peer for Endless {
    fn reply(&mut self, request: Request) -> Result<Reply, String> {
        self.0.reply(match request {
            Request::Records(wanted) => {
                Request::Records(RowRange { until: None, from: wanted.from })
            }
            other => other,
        })
    }
}

#[test]
fn a_peer_that_gives_rows_past_the_end_is_left() {
    let mut node = TestNode::with(0..0);
    let report = run(&mut node, &mut Endless(Honest::sketching(TestNode::with(0..20_000))));
    assert!(report.error.is_some_and(|error| error.contains("past row")));
}

/// Has its index made anew before an answer: rows are counted by another number.
struct Renumbered {
    peer: Honest,
    before: usize,
}

impl Peer for Renumbered {
    fn reply(&mut self, request: Request) -> Result<Reply, String> {
        if self.peer.record_pages == self.before {
            let TestNode { store, bodies } = &mut self.peer.node;
            let mut anew = Store::new(99);
            for (index, sealed) in bodies.0.iter().enumerate() {
                let position = Position(index as u64 * STRIDE);
                anew.apply(&Committed::recovered(position, sealed.clone()), bodies);
            }
            anew.update_sketch();
            *store = anew;
            self.before = usize::MAX;
        }
        self.peer.reply(request)
    }
}

#[test]
fn a_peer_that_numbers_its_rows_anew_is_pulled_from_its_first_row() {
    for before in 1..6 {
        let peer = Honest::sketching(TestNode::with(0..12_000));
        let (mut pull, mut peer) = (Backwards::new(), Renumbered { peer, before });
        let report = pull.run(&mut peer);
        assert_eq!((report.error, report.received), (None, 12_000), "before {before}");
        assert_eq!(pull.node.root(), peer.peer.node.root());
        let numbering = peer.peer.node.store.numbering();
        let reached = Some(RowCursor { numbering, row: 12_000 });
        assert_eq!(pull.session.pulled(), reached, "before {before}");
    }
}

#[test]
fn rows_per_answer_are_learnt_from_whole_answers_and_survive_the_end_of_a_segment() {
    let mut pull = LogPull::new(RowCursor::default(), Scope::Everything);
    let rows = 1_000_000;
    let mut give = |number: u32, most: u64| {
        let RowRange { from, until } = pull.ask(number).expect("rows are left");
        let next = until.unwrap_or(rows).min(from.row + most).min(rows);
        let span = Span { from: RowCursor { numbering: 7, row: from.row }, next, rows };
        pull.handle_span(number, span, None).expect("it moves on");
        pull.handle_records(number, 0);
        next - from.row
    };
    let counts: Vec<u64> = (0..20).map(|number| give(number, 3000)).collect();
    // What is left of a row range that was too long is asked for, and changes nothing.
    assert!(counts.iter().filter(|count| **count < 2000).count() <= 5, "{counts:?}");
    assert_eq!(give(20, 10), 10, "the end of a segment");
    let after: Vec<u64> = (21..30).map(|number| give(number, 3000)).collect();
    assert!(after.iter().filter(|count| **count < 1000).count() <= 3, "{after:?}");
}

#[test]
fn what_was_refused_does_not_count_as_stored() {
    let mut node = TestNode::with(0..0);
    let mut peer = Honest::sketching(TestNode::with(0..1000));
    let mut session = Session::new(node.root(), 0, Strategy::Sketches(PeerHistory::default()));
    let mut offered = 0;
    while let Some(output) = session.poll_output(&node.store, &node.bodies) {
        match output {
            Output::Call(number, request) => {
                let reply = peer.reply(request).expect("honest");
                session.handle_reply(number, reply, &node.store, &node.bodies);
            }
            Output::Offer(number, sealed) => {
                offered += 1;
                let outcome = if offered > 500 {
                    Stored::Failed("full".into())
                } else {
                    stored(node.add(sealed))
                };
                session.handle_stored(number, outcome);
            }
            Output::Done => break,
            Output::Yield => session.handle_resumed(),
        }
    }
    assert_eq!(session.report().error.as_deref(), Some("full"));
    assert_eq!(session.pulled().map(|cursor| cursor.row), Some(0));
}
