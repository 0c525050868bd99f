//! What others can do to the log.

use vendor_tests::claims::claim;
use vendor_tests::node::Node;
use vendor_tests::peer::{Manner, Peer};
use vendor_tests::wait::until;

/// Each claim is pushed to the peer, which refuses each with a text that starts lines of its own.
#[tokio::test]
async fn a_peer_that_refuses_everything_is_one_line_and_writes_none_itself() {
    let peer = Peer::start(Manner::Refusing, []).await;
    let node = Node::start(&[("STEMEDB_SEEDS", &peer.address.to_string())]);
    until("the peer is a member", async || node.members().await.len() == 2).await;
    let mut number = 0;
    until("many pushes are refused", async || {
        for _ in 0..10 {
            node.assert(&claim(number)).await;
            number += 1;
        }
        peer.calls("Gossip") >= 100
    })
    .await;
    let log = node.log();
    let refusals: Vec<_> = log.lines().filter(|line| line.contains(" refuses ")).collect();
    assert_eq!(refusals.len(), 1, "{log}");
    let forged = "the shelf is full\\nERROR node: forged \\u{1b}[2J";
    assert!(refusals[0].starts_with("WARN calls: ") && refusals[0].ends_with(forged), "{log}");
    // The report of a session is for terminals, too.
    let report = node.sync().await[0]["error"].to_string();
    assert!(!report.contains('\u{1b}') && report.contains("forged \\\\u{1b}"), "{report}");
}
