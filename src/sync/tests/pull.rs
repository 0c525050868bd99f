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

#[test]
fn a_pull_waits_for_a_disk_that_does_not_keep_up() {
    let mut node = Node::with(0..0);
    let mut peer = Honest::sketching(Node::with(0..30_000));
    let mut session = Session::new(node.root(), 0, Way::Sketches(Past::default()));
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
    let waiting = session.offers.len();
    assert!(waiting >= PULLED_MAX && waiting < PULLED_MAX + page, "{waiting}");
    assert!(offered <= OFFERS_MAX && offered + waiting < 30_000, "{offered} and {waiting}");
}
