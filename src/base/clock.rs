//! Time as plain numbers: monotonic moments, wall time and the hybrid logical clock.
//!
//! In: readings of clocks. Out: comparisons, sums and HLC stamps (Kulkarni et al.,
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

/// 2026-11-27, when this version was made. A wall clock before it is wrong: most likely the machine
/// has no clock battery. Each release sets it; a constant keeps builds reproducible.
pub const RELEASED: Wall = Wall(1_795_737_600_000);

impl Wall {
    /// Unix seconds, rounded down: what a timestamp holds.
    pub fn seconds(self) -> u64 {
        self.0 / 1000
    }

    /// Whether `time` is a time that has not come: Unix milliseconds further ahead of this clock
    /// than clocks may drift.
    pub fn is_before(self, time: u64) -> bool {
        time > self.0.saturating_add(limits::HLC_DRIFT_MAX.as_millis() as u64)
    }
}

/// A hybrid logical timestamp; ordered by time, then counter, then node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Hlc {
    /// Unix milliseconds: of the wall clock, of a stamp ahead of it, or of the body's timestamp.
    pub time: u64,
    /// Orders stamps of one millisecond.
    pub counter: u32,
    /// The node that made the stamp; [`NodeId::NONE`] when a body's own timestamp did.
    pub node: NodeId,
}

/// The HLC was further ahead of the wall clock than clocks may drift, and follows it again: the
/// wall clock was set back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SetBack {
    /// What the HLC said, Unix milliseconds.
    pub from: u64,
    /// What the wall clock says.
    pub to: Wall,
}

/// Added to the least counter of a stamp with a [`SetBack`]: a millisecond that the wall
/// clock shows twice gets different stamps, unless 2^24 of them are made in it. (Stamps that are
/// equal would do no harm: an id is a hash of the whole claim, and every lens ends ties by it.)
const COUNTERS_OF_AN_ERA: u32 = 1 << 24;

/// The node's hybrid logical clock. What it says is never further ahead of the wall clock than
/// clocks may drift: not by a message, not by a stamp of an earlier life, and not after the wall
/// clock was set back.
#[derive(Clone, Debug)]
pub struct HlcClock {
    node: NodeId,
    time: u64,
    counter: u32,
    /// The least counter of a stamp; greater after each [`SetBack`].
    first: u32,
    set_back: Option<SetBack>,
    refused: u64,
}

impl HlcClock {
    /// A clock that has seen nothing yet.
    pub fn new(node: NodeId) -> HlcClock {
        HlcClock { node, time: 0, counter: 0, first: 0, set_back: None, refused: 0 }
    }

    /// A new stamp, later than all this clock made or saw since it was last set back.
    pub fn tick(&mut self, wall: Wall) -> Hlc {
        self.advance(wall, (0, 0));
        Hlc { time: self.time, counter: self.counter, node: self.node }
    }

    /// Takes in a stamp of another node. False, and nothing changed: it is further ahead of the
    /// wall clock than clocks may drift. The other node's clock is wrong, or this one's.
    pub fn observe(&mut self, remote: Hlc, wall: Wall) -> bool {
        let is_taken = !wall.is_before(next_after(remote.time, remote.counter, 0).0);
        if is_taken {
            self.advance(wall, (remote.time, remote.counter));
        }
        self.refused += u64::from(!is_taken);
        is_taken
    }

    /// Goes on after a stamp that this node made before a restart; false as in
    /// [`HlcClock::observe`]. A stamp that bears this node's id may be another's invention.
    pub fn resume(&mut self, last: Hlc, wall: Wall) -> bool {
        let is_taken = !wall.is_before(last.time);
        if is_taken {
            (self.time, self.counter) = (self.time, self.counter).max((last.time, last.counter));
        }
        is_taken
    }

    /// The time of the last stamp that it made or took, Unix milliseconds.
    pub fn time(&self) -> u64 {
        self.time
    }

    /// Stamps of others that it did not take.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// That it was set back since this was last asked.
    pub fn take_set_back(&mut self) -> Option<SetBack> {
        self.set_back.take()
    }

    fn advance(&mut self, wall: Wall, remote: (u64, u32)) {
        let mut next = self.after(wall, remote);
        if wall.is_before(next.0) {
            self.set_back = Some(SetBack { from: self.time, to: wall });
            (self.time, self.counter) = (0, 0);
            self.first = self.first.checked_add(COUNTERS_OF_AN_ERA).unwrap_or(self.first);
            next = self.after(wall, remote);
        }
        (self.time, self.counter) = next;
    }

    /// The paper's receive event; a send event is one with a remote time of zero.
    fn after(&self, wall: Wall, (remote_time, remote_counter): (u64, u32)) -> (u64, u32) {
        let time = self.time.max(wall.0).max(remote_time);
        let seen = [(self.time, self.counter), (remote_time, remote_counter)];
        let counters = seen.iter().filter(|(seen, _)| *seen == time).map(|(_, counter)| *counter);
        match counters.max() {
            None => (time, self.first),
            Some(counter) => next_after(time, counter, self.first),
        }
    }
}

/// The reading after this one within its millisecond. A full counter borrows the next millisecond,
/// so that stamps never repeat.
fn next_after(time: u64, counter: u32, first: u32) -> (u64, u32) {
    match counter.checked_add(1) {
        Some(counter) => (time, counter.max(first)),
        None => (time.saturating_add(1), first),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRIFT: u64 = limits::HLC_DRIFT_MAX.as_millis() as u64;
    const YEARS: u64 = 73 * 365 * 24 * 3600 * 1000;
    const NOW: u64 = 1_800_000_000_000;

    fn clock() -> HlcClock {
        HlcClock::new(NodeId([1; 16]))
    }

    fn of_another(time: u64, counter: u32) -> Hlc {
        Hlc { time, counter, node: NodeId([2; 16]) }
    }

    #[test]
    fn stamps_rise_whatever_the_wall_clock_does_within_the_drift() {
        let mut clock = clock();
        let stamps: Vec<Hlc> = [5, 5, 3, 9].map(|wall| clock.tick(Wall(wall))).to_vec();
        assert!(stamps.windows(2).all(|pair| pair[0] < pair[1]), "{stamps:?}");
        assert_eq!((stamps[2].time, stamps[2].counter), (5, 2));
        assert_eq!((stamps[3].time, stamps[3].counter), (9, 0));
        let first = clock.tick(Wall(NOW));
        let second = clock.tick(Wall(NOW - DRIFT));
        assert!(second > first && clock.take_set_back().is_none());
    }

    #[test]
    fn a_remote_stamp_pulls_the_clock_ahead_within_the_allowed_drift() {
        let mut clock = clock();
        assert!(clock.observe(of_another(1000 + DRIFT, 7), Wall(1000)));
        assert_eq!(clock.tick(Wall(1000)).counter, 9);
        for far in [of_another(1001 + DRIFT, 7), of_another(u64::MAX, u32::MAX)] {
            assert!(!clock.observe(far, Wall(1000)));
        }
        // What comes after it would be too far ahead.
        assert!(!clock.observe(of_another(1000 + DRIFT, u32::MAX), Wall(1000)));
        assert_eq!(clock.tick(Wall(1000)).counter, 10);
        assert_eq!(clock.take_set_back(), None);
    }

    #[test]
    fn a_wall_clock_that_was_set_back_is_followed() {
        let mut clock = clock();
        let before = clock.tick(Wall(NOW));
        let wrong = clock.tick(Wall(NOW + YEARS));
        assert_eq!(wrong.time, NOW + YEARS);
        let stamps: Vec<Hlc> = [NOW, NOW, NOW + 1].map(|wall| clock.tick(Wall(wall))).to_vec();
        assert_eq!(stamps.iter().map(|it| it.time).collect::<Vec<_>>(), [NOW, NOW, NOW + 1]);
        // The millisecond of the first stamp came a second time.
        assert!(before < stamps[0] && stamps[0] < stamps[1] && stamps[1] < stamps[2]);
        let set_back = clock.take_set_back();
        assert_eq!(set_back, Some(SetBack { from: NOW + YEARS, to: Wall(NOW) }));
        assert_eq!(clock.take_set_back(), None, "once");
        clock.tick(Wall(NOW + YEARS));
        assert!(clock.observe(of_another(NOW - 5, 3), Wall(NOW)), "a message sets it right, too");
        assert!(!Wall(NOW).is_before(clock.time()));
    }

    #[test]
    fn no_stamp_repeats_and_none_is_too_far_ahead_wherever_the_clock_leaps() {
        let mut random = fastrand::Rng::with_seed(3);
        let (mut clock, mut seen) = (clock(), std::collections::BTreeSet::new());
        for round in 0..200 {
            let wall = Wall([10, NOW, NOW + YEARS][random.usize(0..3)] + random.u64(0..4));
            for _ in 0..random.usize(1..20) {
                if random.u32(0..4) == 0 {
                    clock.observe(of_another(wall.0 + random.u64(0..9) * DRIFT / 6, 9), wall);
                }
                let stamp = clock.tick(wall);
                assert!(!wall.is_before(stamp.time), "{stamp:?} at {wall:?}");
                assert!(seen.insert(stamp), "{stamp:?} again in round {round}");
            }
        }
    }

    #[test]
    fn a_restart_goes_on_after_the_last_stamp_unless_it_is_too_far_ahead() {
        let mut clock = clock();
        let last = Hlc { time: NOW + DRIFT, counter: 3, node: NodeId([1; 16]) };
        assert!(clock.resume(last, Wall(NOW)));
        assert!(clock.tick(Wall(NOW)) > last);
        assert!(!clock.resume(Hlc { time: NOW + YEARS, ..last }, Wall(NOW)));
        assert_eq!(clock.tick(Wall(NOW)).time, NOW + DRIFT);
    }

    #[test]
    fn a_full_counter_borrows_the_next_millisecond() {
        let mut clock = clock();
        assert!(clock.observe(of_another(5, u32::MAX), Wall(5)));
        assert!(clock.tick(Wall(5)) > of_another(5, u32::MAX));
    }
}
