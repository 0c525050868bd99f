//! A bound on bytes per second, shared by all that one kind of work moves.
//!
//! In: bytes that came. Out: a wait as long as they may take at the rate. Never: saves up unused
//! bytes beyond `BURST`.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::shell::runtime::reactor::Timer;

/// How far use may run ahead: one message of a peer comes whole.
const BURST: Duration = Duration::from_millis(100);

/// A rate that several share.
pub struct RateLimiter {
    bytes_per_second: Option<u64>,
    /// When all that was spent is paid for.
    paid_at: Cell<Instant>,
}

impl RateLimiter {
    /// `None` is as fast as it goes.
    pub fn new(bytes_per_second: Option<u64>) -> RateLimiter {
        RateLimiter { bytes_per_second, paid_at: Cell::new(Instant::now()) }
    }

    /// Waits until so many bytes more may have come.
    pub async fn spend(&self, bytes: u64) {
        let wait = self.owe(bytes, Instant::now());
        if !wait.is_zero() {
            Timer::after(wait).await;
        }
    }

    fn owe(&self, bytes: u64, now: Instant) -> Duration {
        let Some(rate) = self.bytes_per_second else { return Duration::ZERO };
        let cost = Duration::from_secs_f64(bytes as f64 / rate as f64);
        self.paid_at.set(self.paid_at.get().max(now) + cost);
        self.paid_at.get().saturating_duration_since(now).saturating_sub(BURST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_is_paid_for_in_time() {
        let limiter = RateLimiter::new(Some(1000));
        let start = limiter.paid_at.get();
        assert_eq!(limiter.owe(100, start), Duration::ZERO);
        assert_eq!(limiter.owe(500, start), Duration::from_millis(500));
        let later = start + Duration::from_secs(10);
        assert_eq!(limiter.owe(1000, later), Duration::from_millis(900), "nothing is saved up");
        assert_eq!(RateLimiter::new(None).owe(u64::MAX, start), Duration::ZERO);
    }
}
