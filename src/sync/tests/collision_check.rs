//! Members that share a short id, made up: a body with a hash that is not its own. Never: says
//! what such a hash costs who may write.

use super::*;

/// A member whose hash begins with `front` and ends with `end`.
fn colliding(front: u64, end: u8) -> Sealed {
    let mut digest = Digest([end; 32]);
    digest.0[..8].copy_from_slice(&front.to_be_bytes());
    Sealed::recovered(digest, claim(u64::from(end)).bytes().clone())
}

/// Runs sessions as a node does, each after the one before, until the sets are equal.
fn converge(node: &mut TestNode, peer: &mut Honest) -> Vec<SessionReport> {
    let (mut past, mut reports) = (PeerHistory::default(), Vec::new());
    while node.root() != peer.node.root() {
        assert!(reports.len() < 30, "never equal: {:?}", reports.last());
        let root = node.root();
        let report = run_after(past, node, peer);
        past = past.and(&report, root);
        reports.push(report);
    }
    reports
}

#[test]
fn members_that_share_a_short_id_cost_a_second_session_and_some_buckets() {
    const FRONT: u64 = 0x1234_5678_9abc_def0;
    let pair = || [colliding(FRONT, 1), colliding(FRONT, 2)];
    // Whose the first is, and the second; 0: of both.
    for owners in [[1, 2], [1, 1], [2, 2], [0, 2], [0, 1], [1, 0]] {
        for has_digests in [true, false] {
            let mut node = TestNode::with(0..3000);
            let mut peer = Honest { has_digests, ..Honest::sketching(TestNode::with(0..3000)) };
            for (owner, sealed) in owners.into_iter().zip(pair()) {
                if owner != 2 {
                    assert!(node.add(sealed.clone()));
                }
                if owner != 1 {
                    assert!(peer.node.add(sealed));
                }
            }
            let reports = converge(&mut node, &mut peer);
            let last = reports.last().expect("they were not equal");
            assert!(reports.len() <= 2 && last.error.is_none(), "{owners:?}: {reports:?}");
            let is_walked = reports.len() == 2 && !has_digests;
            assert_eq!(peer.leaf_pages, usize::from(is_walked), "{owners:?}");
            assert!(peer.buckets <= 1, "{owners:?}: {} buckets", peer.buckets);
            assert!(!last.is_blind() && !last.is_useless);
        }
    }
}

#[test]
fn who_writes_on_and_on_hides_a_pair_for_some_sessions_only() {
    let mut node = TestNode::with(0..2000);
    let mut peer = Honest::sketching(TestNode::with(0..2000));
    assert!(node.add(colliding(77, 1)) && peer.node.add(colliding(77, 2)));
    let mut past = PeerHistory::default();
    let equal_after = (0..30).position(|session| {
        peer.node.add(claim(5000 + session));
        let root = node.root();
        let report = run_after(past, &mut node, &mut peer);
        past = past.and(&report, root);
        assert_eq!(report.error, None);
        node.root() == peer.node.root()
    });
    assert_eq!((equal_after, peer.leaf_pages), (Some(16), 0));
}

#[test]
fn many_pairs_are_found_over_several_sessions() {
    let mut node = TestNode::with(0..2000);
    let mut peer = Honest::sketching(TestNode::with(0..2000));
    for number in 0..100_u64 {
        let front = number << 56 | number << 52 | 9;
        assert!(node.add(colliding(front, 1)) && peer.node.add(colliding(front, 2)));
    }
    let reports = converge(&mut node, &mut peer);
    assert_eq!((reports.len(), peer.buckets, peer.leaf_pages), (4, 100, 0));
}

#[test]
fn a_peer_without_digests_is_walked_through_only_if_nothing_else_can_be_the_reason() {
    let mut node = TestNode::with(0..11_000);
    let peer = Honest { has_digests: false, ..Honest::sketching(TestNode::with(0..11_000)) };
    let mut peer = Honest { page: 20_000, ..peer };
    assert!(node.add(colliding(77, 1)) && peer.node.add(colliding(77, 2)));
    let root = node.root();
    let first = run(&mut node, &mut peer);
    assert!(first.is_blind());
    let other = PeerHistory::default().and(&first, Digest::ZERO);
    let report = run_after(other, &mut node, &mut peer);
    assert_eq!((report.is_blind(), report.error, peer.leaf_pages), (true, None, 0));
    let same = PeerHistory::default().and(&first, root);
    let report = run_after(same, &mut node, &mut peer);
    assert_eq!(report.error.as_deref(), Some("11001 leaves in one answer, 10000 allowed"));
}
