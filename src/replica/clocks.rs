//! Stamps: made, observed, continued after a restart.
//!
//! In: drafts, readings of other clocks, the log after a start. Out: sealed assertions and stamps.
//! Never: reads a clock, lets an assertion wait for one.

use super::{Output, Replica};
use crate::base::{Hlc, Moment, Wall};
use crate::cluster::clocks::ClockReading;
use crate::journal::Bodies;
use crate::model::{Draft, Invalid, Sealed};

/// Assertions looked through for this node's newest stamp after a restart: milliseconds of reading.
const RESUMED_ROWS: usize = 4096;

impl Replica {
    /// Continues after the newest stamp of this node among its last assertions, so that stamps rise
    /// over a restart; `written` is when the log was last written, as its file says.
    pub fn resume_clock(&mut self, wall: Wall, written: Wall, bodies: &dyn Bodies) {
        self.clocks.handle_written(written, wall);
        let mut far = None;
        let mut candidates = self.store.select([], None);
        for _ in 0..RESUMED_ROWS {
            let Some((_, position)) = self.store.next_candidate(&mut candidates) else { break };
            let assertion = bodies.sealed_at(position).and_then(|sealed| sealed.assertion());
            if let Some(own) = assertion.filter(|assertion| assertion.hlc.node == self.node) {
                if self.clocks.resume(own.hlc, wall) {
                    break;
                }
                // Made by a clock that was wrong, or by another node in this one's name: stamps
                // that went on after it would all lie in the future.
                far.get_or_insert(own.hlc);
            }
        }
        far.into_iter().for_each(|stamp| self.clocks.note_far_ahead(stamp));
        self.pump_clocks();
    }

    /// Makes a sealed assertion of a client's draft: checks every rule, stamps the HLC.
    pub fn seal(&mut self, draft: Draft, wall: Wall) -> Result<Sealed, Invalid> {
        // The client may say which hash it expects, and learns here that its bytes are others.
        let claimed = draft.hash;
        let checked = self.clocks.with_hlc(|hlc| draft.check(hlc, wall));
        self.pump_clocks();
        let sealed = checked?.seal();
        let actual = sealed.digest();
        match claimed.filter(|claimed| *claimed != actual) {
            Some(claimed) => Err(Invalid::Hash { claimed, actual }),
            None => Ok(sealed),
        }
    }

    /// A reading of the node's HLC, to go with a message.
    pub fn stamp(&mut self, wall: Wall) -> Hlc {
        let stamp = self.clocks.stamp(wall);
        self.pump_clocks();
        stamp
    }

    /// A message brought a reading of its sender's HLC.
    pub fn handle_stamp(&mut self, now: Moment, remote: Hlc, wall: Wall) {
        self.clocks.handle_reading(now, remote, wall, self.cluster.swim());
        self.pump_clocks();
    }

    /// The clocks, and what is wrong with this node's.
    pub fn clock(&self, now: Moment, wall: Wall) -> ClockReading {
        self.clocks.read(now, wall, self.cluster.swim())
    }

    /// The time by which claims are judged.
    pub fn judging(&self, now: Moment, wall: Wall) -> Wall {
        self.clocks.judging(now, wall, self.cluster.swim())
    }

    fn pump_clocks(&mut self) {
        self.outbox.extend(self.clocks.take_events().into_iter().map(Output::Clock));
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Memory, replica, store_sealed};
    use super::*;
    use crate::base::NodeId;
    use crate::cluster::clocks::ClockEvent;
    use crate::model::Object;

    const NOW: Wall = Wall(1_800_000_000_000);
    const FAR: Wall = Wall(NOW.0 + 73 * 365 * 24 * 3600 * 1000);

    fn draft(number: u64) -> Draft {
        Draft::new("s".into(), "p".into(), Object::Number(number as f64))
    }

    fn stamp_of(sealed: &Sealed) -> Hlc {
        sealed.assertion().expect("one of ours").hlc
    }

    fn events(replica: &mut Replica) -> Vec<ClockEvent> {
        let outputs = std::iter::from_fn(|| replica.poll_output());
        outputs
            .filter_map(|output| if let Output::Clock(event) = output { Some(event) } else { None })
            .collect()
    }

    /// A log whose assertions are stamped by a node at these times, in order; its next life.
    fn next_life(stamps: &[Hlc], wall: Wall) -> (Replica, Memory) {
        let (mut life, mut bodies) = (replica(), Memory::default());
        for (number, stamp) in stamps.iter().enumerate() {
            let mut draft = draft(number as u64);
            draft.stamp = Some(*stamp);
            let sealed = replica().seal(draft, wall).expect("a good draft");
            assert_eq!(stamp_of(&sealed), *stamp, "whichever clock made it");
            store_sealed(&mut life, &mut bodies, sealed);
        }
        life.resume_clock(wall, Wall(0), &bodies);
        (life, bodies)
    }

    #[test]
    fn a_restart_with_the_clock_right_again_goes_on_at_the_right_time() {
        let node = replica().node();
        let far = |counter| Hlc { time: FAR.0, counter, node };
        let good = Hlc { time: NOW.0 + 7, counter: 4, node };
        for stamps in [&[far(0), far(1)][..], &[good, far(0), far(1)][..]] {
            let (mut life, _) = next_life(stamps, NOW);
            assert_eq!(events(&mut life), [ClockEvent::FarAhead(far(1))]);
            let made = stamp_of(&life.seal(draft(9), NOW).expect("a good draft"));
            assert!(!NOW.is_before(made.time), "{made:?}");
            assert_eq!(made > good, stamps.len() > 2, "{made:?}");
        }
    }

    #[test]
    fn a_row_of_another_that_bears_this_nodes_id_is_not_gone_on_after() {
        let invented = Hlc { time: 253_402_300_799_000, counter: 0, node: replica().node() };
        let of_another = Hlc { node: NodeId([9; 16]), ..invented };
        let (mut life, _) = next_life(&[invented, of_another], NOW);
        assert_eq!(events(&mut life), [ClockEvent::FarAhead(invented)]);
        assert_eq!(life.stamp(NOW).time, NOW.0);
    }

    #[test]
    fn stamps_rise_over_a_restart_within_the_drift() {
        let last = Hlc { time: NOW.0 + 59_000, counter: 3, node: replica().node() };
        let (mut life, _) = next_life(&[last], NOW);
        assert!(life.stamp(NOW) > last);
        assert_eq!(events(&mut life), []);
    }
}
