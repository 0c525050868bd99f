//! What a Byzantine node answers in place of the truth, and what a stranger makes up about members.
//!
//! In: an honest answer. Out: one of the same kind, as the shell would hand it on: bodies that do
//! not hash to what was asked for are counted there.

use stemedb_edge::base::{Digest, NodeId, Random};
use stemedb_edge::swim::{State, Update};
use stemedb_edge::sync::{Records, Reply, RowCursor, SketchReply, Span};

/// The false answer in place of a true one to a request of anti-entropy.
pub(crate) fn false_answer(reply: Reply, random: &mut Random) -> Reply {
    match reply {
        Reply::Roots { count, .. } => {
            let count = if random.below(2) == 0 { count } else { random.bits() };
            Reply::Roots { matched: false, count }
        }
        Reply::Sketch(SketchReply { mut cells, from, count, part, hint, .. }) => {
            for cell in &mut cells {
                cell.ids ^= random.bits();
            }
            let row = random.below(1000) as u64;
            let since = (random.below(4) == 0).then(|| RowCursor { numbering: random.bits(), row });
            let estimate = random.bits();
            let hint = hint.iter().map(|_| random.bits() as u8).collect();
            Reply::Sketch(SketchReply { from, cells, count, estimate, hint, since, part })
        }
        Reply::Records(records) => {
            let next = records.span.next.wrapping_add(random.below(3) as u64);
            let span = Span { next, rows: u64::MAX, ..records.span };
            Reply::Records(Records { span, good: Vec::new(), bad: 3 })
        }
        Reply::Leaves { .. } => {
            let leaf = |_| Digest::of(&random.bits().to_le_bytes());
            Reply::Leaves { leaves: (0..300).map(leaf).collect(), truncated: true }
        }
        Reply::Digests(digests) => {
            Reply::Digests(digests.iter().map(|digest| digest ^ random.bits()).collect())
        }
        Reply::Fetched { good, .. } => Reply::Fetched { good: Vec::new(), bad: good.len() as u64 },
        Reply::Given { taken, .. } => Reply::Given { taken: taken + 1000, refusal: String::new() },
        honest @ (Reply::Gossiped { .. } | Reply::Unsupported) => honest,
    }
}

/// Updates about members that exist and members that do not, with some fields made up.
pub(crate) fn forge(known: &[Update], random: &mut Random) -> Vec<Update> {
    let mut forged = Vec::new();
    for _ in 0..1 + random.below(6) {
        let mut update = known[random.below(known.len())].clone();
        if random.below(4) == 0 {
            update.node = NodeId((random.bits() as u128 + 1).to_be_bytes());
        }
        if random.below(3) == 0 {
            // An address that no node has.
            update.rpc_addr = format!("node{}.0:18182", 50 + random.below(50));
        }
        if random.below(3) == 0 {
            update.api_addr = "evil:80".into();
        }
        update.state = State::ALL[random.below(4)];
        let leaps = [0, 1, 2, 17, 1000, 1 << 40, u64::MAX / 2];
        update.incarnation = update.incarnation.saturating_add(leaps[random.below(leaps.len())]);
        update.lamport = update.lamport.saturating_add(leaps[random.below(leaps.len())]);
        forged.push(update);
    }
    forged
}
