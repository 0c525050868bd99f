//! Whether a connection is still of use: its client lives, takes its answers, calls.
//!
//! In: counters of the link, time. Out: a ping, or that the connection is to leave or to end. One
//! timer for a connection: calls set none.
//!
//! Never: ends a connection that moves what it owes and is called.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::Duration;

use h2::{Ping, PingPong};

use super::link::Link;
use crate::base::limits;
use crate::shell::runtime::reactor::Timer;

/// Checks at each [`limits::KEEPALIVE_INTERVAL`] what a connection has moved since the last check.
pub(super) struct Keepalive {
    timer: Timer,
    waker: Waker,
    pings: Option<PingPong>,
    /// The link's counters at the last check.
    reads: u64,
    owed: Option<u64>,
    answers: u64,
    idle_ticks: u32,
    pinged: bool,
    is_leaving: bool,
}

/// What becomes of a connection at a check.
pub(super) enum Decision {
    /// The connection goes on.
    Stay,
    /// It takes no new calls and ends with its last one.
    Leave,
    /// It ends now, without a word: its client does not read.
    Drop,
}

impl Keepalive {
    pub(super) fn new(link: &Link, waker: Waker, pings: Option<PingPong>) -> Keepalive {
        Keepalive {
            timer: Timer::after(limits::KEEPALIVE_INTERVAL),
            waker,
            pings,
            reads: link.traffic.reads.get(),
            owed: link.traffic.owed(),
            answers: link.answers(),
            idle_ticks: 0,
            pinged: false,
            is_leaving: false,
        }
    }

    /// Whether a GOAWAY was sent.
    pub(super) fn is_leaving(&self) -> bool {
        self.is_leaving
    }

    /// A GOAWAY was sent: an idle connection ends after the grace.
    pub(super) fn leave(&mut self) {
        self.is_leaving = true;
        self.timer = Timer::after(limits::GOAWAY_GRACE);
    }

    pub(super) fn poll(&mut self, link: &Link) -> Decision {
        let waker = self.waker.clone();
        let mut context = Context::from_waker(&waker);
        // Again after each check: only a timer that was polled and is pending wakes the task.
        while Pin::new(&mut self.timer).poll(&mut context).is_ready() {
            let (verdict, next) = self.judge(link);
            if !matches!(verdict, Decision::Stay) {
                return verdict;
            }
            self.timer = Timer::after(next);
        }
        Decision::Stay
    }

    fn judge(&mut self, link: &Link) -> (Decision, Duration) {
        // Any read shows that the client lives; a busy one is never pinged.
        let silent = self.reads == link.traffic.reads.get();
        let owed = link.traffic.owed();
        let moved = self.owed.zip(owed).map(|(before, now)| now - before);
        // A byte a minute keeps TCP alive while a megabyte of answers waits: so bytes count,
        // whether or not another client waits for them.
        let stuck = moved.is_some_and(|moved| moved < limits::FETCHED_BYTES_MIN);
        let unused = link.is_idle() && self.answers == link.answers();
        self.reads = link.traffic.reads.get();
        self.owed = owed;
        self.answers = link.answers();
        // Five minutes without a call: a peer that comes back needs one round trip to connect
        // again.
        self.idle_ticks = if unused { self.idle_ticks + 1 } else { 0 };
        if self.is_leaving && link.is_idle() || silent && self.pinged || stuck {
            return (Decision::Drop, limits::KEEPALIVE_INTERVAL);
        }
        if self.idle_ticks >= limits::IDLE_TICKS_MAX {
            return (Decision::Leave, limits::KEEPALIVE_INTERVAL);
        }
        // A node's probes prove its connection, and the membership says when it is gone. In a large
        // cluster a probe comes less often than a check, and a ping would go beside most of them.
        self.pinged = silent && !link.is_node() && self.ping();
        let next = match (self.pinged, self.is_leaving) {
            (true, _) => limits::KEEPALIVE_TIMEOUT,
            (_, true) => limits::GOAWAY_GRACE,
            _ => limits::KEEPALIVE_INTERVAL,
        };
        (Decision::Stay, next)
    }

    /// Sends a ping. Any read shows that the client lives, so the answer itself is only taken off
    /// h2's hands, so that the next ping can be sent.
    fn ping(&mut self) -> bool {
        let Some(pings) = &mut self.pings else { return false };
        // h2 sends no second ping while the pong of the first is not taken.
        let mut context = Context::from_waker(Waker::noop());
        let _ = pings.poll_pong(&mut context);
        pings.send_ping(Ping::opaque()).is_ok()
    }
}
