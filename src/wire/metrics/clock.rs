//! What the metrics say of clocks.
//!
//! In: the clocks, looked at. Out: samples. Never: judges them.

use super::Page;
use crate::cluster::clocks::ClockReading;

impl Page {
    pub(super) fn clock(&mut self, now: &ClockReading) {
        let name = "stemedb_hlc_ahead_seconds";
        self.head(name, "gauge", "How far the HLC is ahead of the wall clock.");
        self.sample(name, &[], seconds(now.hlc_ahead as f64));
        let help = "Times the HLC was set back to the wall clock, which had been further ahead.";
        self.one("stemedb_clock_set_back_total", "counter", help, now.set_back);
        let help = "Readings of other clocks too far ahead to move this node's.";
        self.one("stemedb_clock_readings_refused_total", "counter", help, now.refused);
        let name = "stemedb_peer_clock_skew_seconds";
        self.head(name, "gauge", "How far a member's clock is ahead of this node's, by node id.");
        for (peer, ahead) in &now.peers {
            self.sample(name, &[("peer", &peer.to_string())], seconds(*ahead as f64));
        }
    }
}

fn seconds(ms: f64) -> f64 {
    ms / 1000.0
}
