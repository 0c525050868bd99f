//! The network: delays, loss, duplicates, cuts, resets.
//!
//! In: senders, receivers and times of messages. Out: when it arrives, if it does. As datagrams:
//! lost, doubled, overtaken. As TCP: in order per direction; a lost segment comes 200 ms later for
//! each time that it is lost, as connections between nodes are set (`src/shell/runtime/socket.rs`),
//! and after doubling pauses from the seventh time on; what is sent into a cut comes when it heals,
//! unless its caller has given up.

use std::collections::{BTreeMap, BTreeSet};

use stemedb_edge::base::Random;

/// How calls travel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    /// Each message on its own.
    Datagrams,
    /// In order, or late.
    Tcp,
}

pub(crate) struct Net {
    mode: Mode,
    /// Messages lost, of a thousand.
    pub(crate) loss: u64,
    /// Directions in which nothing passes.
    pub(crate) cuts: BTreeSet<(usize, usize)>,
    /// Those whom no call reaches; answers to their own calls do.
    pub(crate) behind_nat: BTreeSet<usize>,
    /// One that is sent nothing about another.
    pub(crate) uninformed: Option<(usize, usize)>,
    /// Who cannot call whom; answers pass.
    pub(crate) uncallable: BTreeSet<(usize, usize)>,
    last: BTreeMap<(usize, usize), u64>,
    /// What was sent into a cut, by direction: when, and under which number.
    held: BTreeMap<(usize, usize), Vec<(u64, u64)>>,
}

/// When copies of a message arrive.
pub(crate) type Arrivals = Vec<u64>;

/// What Linux waits at least before it sends a segment again.
const RETRANSMISSION: u64 = 200_000;
/// Times after which the pauses double, where few segments are in flight: Linux has them as
/// `TCP_THIN_LINEAR_RETRIES`.
const LINEAR_TRIES: u32 = 6;

impl Net {
    pub(crate) fn new(mode: Mode) -> Net {
        let (cuts, behind_nat, uninformed, uncallable) = Default::default();
        let (last, held) = Default::default();
        Net { mode, loss: 0, cuts, behind_nat, uninformed, uncallable, last, held }
    }

    /// A message under `number` is sent now.
    pub(crate) fn send(
        &mut self,
        now: u64,
        way: (usize, usize),
        number: u64,
        random: &mut Random,
    ) -> Arrivals {
        let delay = 200 + random.below(2000) as u64;
        let is_lost = |random: &mut Random, loss| (random.below(1000) as u64) < loss;
        if self.mode == Mode::Datagrams {
            if self.cuts.contains(&way) || is_lost(random, self.loss) {
                return Vec::new();
            }
            let mut arrivals = vec![now + delay];
            if random.below(50) == 0 {
                arrivals.push(now + delay + random.below(50_000) as u64);
            }
            return arrivals;
        }
        if self.cuts.contains(&way) {
            self.held.entry(way).or_default().push((now, number));
            return Vec::new();
        }
        let (mut late, mut pause, mut tries) = (0, RETRANSMISSION, 0);
        while late < 20 * RETRANSMISSION && is_lost(random, self.loss) {
            late += pause;
            tries += 1;
            if tries > LINEAR_TRIES {
                pause *= 2;
            }
        }
        let last = self.last.entry(way).or_default();
        *last = (*last).max(now + delay + late) + 1;
        vec![*last]
    }

    /// Nothing is cut any more: what was held comes at its next retransmission.
    pub(crate) fn heal(&mut self, now: u64, random: &mut Random) -> Vec<(u64, u64)> {
        self.cuts.clear();
        self.loss = 0;
        let held = std::mem::take(&mut self.held).into_values().flatten();
        held.map(|(sent, number)| {
            let wait = now.saturating_sub(sent).clamp(RETRANSMISSION, 60_000_000);
            (now + random.below(wait as usize) as u64, number)
        })
        .collect()
    }
}
