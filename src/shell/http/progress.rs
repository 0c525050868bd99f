//! How far a connection has come in what it does, and whether that is fast enough.
//!
//! In: bytes that moved, and when. Out: whether the client has taken too long. What counts is bytes
//! a second: a client that moves a byte each few seconds is as late as one that does nothing.
//!
//! Never: reads a clock.

use std::time::{Duration, Instant};

use super::bounds::Bounds;
use crate::base::limits;

/// One phase of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    /// When the current state began.
    since: Instant,
    /// Bytes that have moved since `measured`.
    moved: u64,
    measured: Instant,
    /// When the last of them did.
    moved_at: Instant,
}

impl Progress {
    /// Of a phase that began at `since`, and of which nothing has been measured until `now`.
    pub(super) fn new(since: Instant, now: Instant) -> Progress {
        Progress { since, moved: 0, measured: now, moved_at: now }
    }

    pub(super) fn note(&mut self, bytes: usize, now: Instant) {
        self.moved += bytes as u64;
        self.moved_at = now;
    }

    /// Leaves out a time in which the client was not waited for.
    pub(super) fn skip(&mut self, time: Duration) {
        self.since += time;
        self.measured += time;
        self.moved_at += time;
    }

    pub(super) fn age(&self, now: Instant) -> Duration {
        now - self.since
    }

    /// How long ago the last byte moved.
    pub(super) fn stalled(&self, now: Instant) -> Duration {
        now - self.moved_at
    }

    /// How long it has taken beyond what its bytes take at [`limits::HTTP_PATIENCE_RATE`].
    pub(super) fn waited(&self, now: Instant) -> Duration {
        let bought = time_for(self.moved, limits::HTTP_PATIENCE_RATE);
        (now - self.measured).saturating_sub(bought)
    }

    /// Whether a transfer is too slow. The measure begins again whenever it has been fast enough,
    /// so that a fast start buys no slow rest.
    pub(super) fn is_slow(&mut self, now: Instant, bounds: &Bounds) -> bool {
        if self.moved > 0 && time_for(self.moved, bounds.rate_min) >= now - self.measured {
            self.moved = 0;
            self.measured = now;
        }
        now - self.measured > bounds.read_max
    }
}

/// What so many bytes take at so many a second.
fn time_for(bytes: u64, rate: u64) -> Duration {
    Duration::from_micros(bytes.saturating_mul(1_000_000) / rate.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When a transfer is called late that moves `bytes` every `pause`, until it has moved `all`.
    fn late_after(bytes: usize, pause: Duration, all: usize) -> Option<Duration> {
        let bounds = Bounds::default();
        let start = Instant::now();
        let (mut progress, mut moved) = (Progress::new(start, start), 0);
        let tick = bounds.read_max / 4;
        let (mut next_piece, mut next_look) = (start + pause, start + tick);
        while moved < all {
            if next_piece <= next_look {
                progress.note(bytes, next_piece);
                (moved, next_piece) = (moved + bytes, next_piece + pause);
            } else {
                let is_long = progress.age(next_look) > bounds.transfer_max;
                if progress.is_slow(next_look, &bounds) || is_long {
                    return Some(next_look - start);
                }
                next_look += tick;
            }
        }
        None
    }

    #[test]
    fn a_slow_link_gets_the_largest_body_through_and_a_drip_does_not() {
        let seconds = Duration::from_secs;
        let all = limits::HTTP_BODY_BYTES_MAX;
        assert_eq!(late_after(4096, seconds(1), all), None, "4 KiB/s");
        assert_eq!(late_after(20_480, seconds(5), all), None, "4 KiB/s in bursts");
        let bound = limits::HTTP_READ_MAX * 3 / 2;
        for (bytes, pause) in [(1, 5), (1, 1), (1000, 1), (29_000, 15)] {
            let late = late_after(bytes, seconds(pause), all);
            assert!(late.is_some_and(|late| late <= bound), "{bytes} each {pause} s: {late:?}");
        }
        let forever = late_after(2048, seconds(1), usize::MAX);
        assert!(forever.is_some_and(|late| late <= limits::HTTP_TRANSFER_MAX + bound));
    }

    #[test]
    fn a_fast_start_buys_no_slow_rest() {
        let (bounds, start) = (Bounds::default(), Instant::now());
        let mut progress = Progress::new(start, start);
        progress.note(1 << 20, start);
        let after = |seconds| start + Duration::from_secs(seconds);
        assert!(!progress.is_slow(after(1), &bounds));
        assert!(!progress.is_slow(after(31), &bounds));
        assert!(progress.is_slow(after(32), &bounds));
    }
}
