//! Time as plain numbers: monotonic moments, wall time and the hybrid logical clock.
//!
//! In: readings somebody else took. Out: comparisons, sums and HLC stamps (Kulkarni et al.,
//! "Logical Physical Clocks", section 4). Never: reads a clock.

use std::ops::Add;
use std::time::Duration;

use super::{NodeId, limits};

/// A monotonic point in time: microseconds since some start that only its owner knows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Moment(pub u64);

impl Moment {
    /// The start of this node's monotonic time.
    pub const ZERO: Moment = Moment(0);

    /// How long ago `earlier` was; zero if it lies ahead.
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Moment {
    type Output = Moment;

    fn add(self, span: Duration) -> Moment {
        let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        Moment(self.0.saturating_add(micros))
    }
}

/// Wall-clock time: Unix milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Wall(pub u64);

impl Wall {
    /// Whole Unix seconds.
    pub fn seconds(self) -> u64 {
        self.0 / 1000
    }
}

/// A hybrid logical timestamp; ordered by time, then counter, then node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Hlc {
    /// Unix milliseconds.
    pub time: u64,
    /// Tells apart stamps of one millisecond.
    pub counter: u32,
    /// The node that made the stamp; [`NodeId::NONE`] when a body's own timestamp did.
    pub node: NodeId,
}

/// A remote stamp lies further ahead of this node's wall clock than [`limits::HLC_DRIFT_MAX`].
/// The sender's clock (or ours) is wrong; nothing changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Drift {
    /// Milliseconds by which the stamp is ahead.
    pub ahead: u64,
}

impl std::fmt::Display for Drift {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let allowed = limits::HLC_DRIFT_MAX.as_millis();
        write!(
            out,
            "hlc_time is {} ms ahead of this node's clock, at most {allowed} are allowed",
            self.ahead
        )
    }
}

/// The node's hybrid logical clock.
#[derive(Clone, Debug)]
pub struct HlcClock {
    node: NodeId,
    time: u64,
    counter: u32,
}

impl HlcClock {
    /// A clock that has seen nothing yet.
    pub fn new(node: NodeId) -> HlcClock {
        HlcClock { node, time: 0, counter: 0 }
    }

    /// A new stamp, later than all this clock made or saw.
    pub fn tick(&mut self, wall: Wall) -> Hlc {
        self.advance(wall.0, 0, 0);
        Hlc { time: self.time, counter: self.counter, node: self.node }
    }

    /// Takes in a stamp of another node.
    pub fn observe(&mut self, remote: Hlc, wall: Wall) -> Result<(), Drift> {
        let ahead = remote.time.saturating_sub(wall.0);
        if u128::from(ahead) > limits::HLC_DRIFT_MAX.as_millis() {
            return Err(Drift { ahead });
        }
        self.advance(wall.0, remote.time, remote.counter);
        Ok(())
    }

    /// Goes on after a stamp that this node made before a restart, however far ahead of the wall
    /// clock it lies: the clock may have been set back.
    pub fn resume(&mut self, last: Hlc) {
        (self.time, self.counter) = (self.time, self.counter).max((last.time, last.counter));
    }

    /// The paper's receive event; a send event is one with a remote time of zero. A full counter
    /// borrows the next millisecond, so that stamps never repeat.
    fn advance(&mut self, wall: u64, remote_time: u64, remote_counter: u32) {
        let time = self.time.max(wall).max(remote_time);
        let mut counter = None;
        for (seen_time, seen_counter) in [(self.time, self.counter), (remote_time, remote_counter)]
        {
            if seen_time == time {
                counter = counter.max(Some(seen_counter));
            }
        }
        (self.time, self.counter) = match counter {
            None => (time, 0),
            Some(u32::MAX) => (time + 1, 0),
            Some(seen) => (time, seen + 1),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_rise_whatever_the_wall_clock_does() {
        let mut clock = HlcClock::new(NodeId([1; 16]));
        let stamps: Vec<Hlc> = [5, 5, 3, 9].map(|wall| clock.tick(Wall(wall))).to_vec();
        assert!(stamps.windows(2).all(|pair| pair[0] < pair[1]), "{stamps:?}");
        assert_eq!((stamps[2].time, stamps[2].counter), (5, 2));
        assert_eq!((stamps[3].time, stamps[3].counter), (9, 0));
    }

    #[test]
    fn a_remote_stamp_pulls_the_clock_ahead_within_the_allowed_drift() {
        let allowed = u64::try_from(limits::HLC_DRIFT_MAX.as_millis()).expect("a small number");
        let mut clock = HlcClock::new(NodeId([1; 16]));
        let remote = |time| Hlc { time, counter: 7, node: NodeId([2; 16]) };
        assert_eq!(clock.observe(remote(1000 + allowed), Wall(1000)), Ok(()));
        assert_eq!(clock.tick(Wall(1000)).counter, 9);
        let refused = clock.observe(remote(1001 + allowed), Wall(1000));
        assert_eq!(refused, Err(Drift { ahead: allowed + 1 }));
    }

    #[test]
    fn stamps_rise_over_a_restart_with_a_clock_set_back() {
        let mut clock = HlcClock::new(NodeId([1; 16]));
        let last = Hlc { time: 10_000_000, counter: 3, node: NodeId([1; 16]) };
        clock.resume(last);
        assert!(clock.tick(Wall(5)) > last);
    }

    #[test]
    fn a_full_counter_borrows_the_next_millisecond() {
        let mut clock = HlcClock::new(NodeId([1; 16]));
        let full = Hlc { time: 5, counter: u32::MAX, node: NodeId([2; 16]) };
        clock.observe(full, Wall(5)).expect("within the drift");
        assert!(clock.tick(Wall(5)) > full);
    }
}
