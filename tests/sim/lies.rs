//! What a lying node answers in place of the truth.
//!
//! In: an honest answer. Out: one of the same kind, as the shell would hand it on: bodies that do
//! not hash to what was asked for are counted there.

use stemedb_edge::base::{Digest, Random};
use stemedb_edge::sync::{Cursor, Records, Reply, SketchReply, Span};

/// The lie in place of an answer to a question of anti-entropy.
pub(crate) fn lie(reply: Reply, random: &mut Random) -> Reply {
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
            let since = (random.below(4) == 0).then(|| Cursor { numbering: random.bits(), row });
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
