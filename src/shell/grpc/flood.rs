//! Recognises a client that makes work and no calls.
//!
//! In: bytes that a connection brought beside the messages of its calls, and calls that were
//! answered. Out: whether it has gone on too fast for too long. Never: counts a slow client's
//! pings together over hours, reads the clock for a client that calls.

use std::time::Instant;

use crate::base::limits;

/// What one connection brought that was no message of a call: pings, settings, window updates,
/// priorities, heads of calls that it took back, frames of a few bytes.
#[derive(Debug, Default)]
pub(super) struct Flood {
    answers: u64,
    /// Up to here it has been looked at.
    seen: u64,
    /// When the bytes after `seen` began to come.
    begun: Option<Instant>,
    /// Since when they have come too fast, time after time.
    fast_since: Option<Instant>,
}

impl Flood {
    /// Whether the client has to go. `overhead` shrinks when messages are taken whose bytes had
    /// come before; `answers` only grow.
    pub(super) fn is_flood(
        &mut self,
        overhead: u64,
        answers: u64,
        now: impl FnOnce() -> Instant,
    ) -> bool {
        // A call that was answered pays for all before it: window updates for large answers are
        // overhead, too.
        if answers != self.answers {
            *self = Flood { answers, seen: overhead, ..Flood::default() };
        }
        // Bytes of a message count as overhead until the message is taken. Without this a client
        // could send ahead and flood unseen until it has caught up.
        self.seen = self.seen.min(overhead);
        if overhead - self.seen < limits::FLOOD_BYTES {
            return false;
        }
        let now = now();
        let begun = self.begun.replace(now);
        self.seen = overhead;
        // Bytes that came before the first look have no known rate.
        let Some(begun) = begun else { return false };
        if now - begun >= limits::FLOOD_MAX {
            // Slower than the bound once: a quiet client's pings never add up to a flood.
            self.fast_since = None;
            return false;
        }
        now - *self.fast_since.get_or_insert(begun) >= limits::FLOOD_MAX
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// After how many seconds a client is cut off that brings so many bytes a second for a minute,
    /// and has a call answered each so many seconds.
    fn cut_off(bytes_per_second: u64, calls_every: Option<u64>) -> Option<u64> {
        let (mut flood, start) = (Flood::default(), Instant::now());
        let steps = 1..=600_u64;
        steps.into_iter().find(|step| {
            let answers = calls_every.map_or(0, |seconds| step / 10 / seconds);
            let now = || start + Duration::from_millis(100 * step);
            flood.is_flood(bytes_per_second * step / 10, answers, now)
        })
    }

    #[test]
    fn a_client_that_makes_work_for_ten_seconds_without_a_call_is_cut_off() {
        for rate in [100 << 10, 1 << 20, 70 << 20] {
            let after = cut_off(rate, None).expect("a flood");
            assert!((100..=120).contains(&after), "{rate} bytes a second: {after} tenths");
        }
        assert_eq!(cut_off(70 << 20, Some(5)), None, "it calls");
        for rate in [100, limits::FLOOD_BYTES / 11] {
            assert_eq!(cut_off(rate, None), None, "{rate} bytes a second harm no other client");
        }
    }

    #[test]
    fn pings_of_a_quiet_client_never_add_up() {
        let (mut flood, start) = (Flood::default(), Instant::now());
        for hour in 0..10_000_u32 {
            let overhead = u64::from(hour) * limits::FLOOD_BYTES;
            assert!(!flood.is_flood(overhead, 0, || start + Duration::from_secs(3600) * hour));
        }
    }
}
