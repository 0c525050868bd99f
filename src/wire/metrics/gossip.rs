//! What the metrics say of new assertions on their way.
//!
//! In: the counts of gossip. Out: samples. Never: judges them.

use super::{ClusterReadings, Page};

impl Page {
    pub(super) fn gossip(&mut self, now: &ClusterReadings) {
        let name = "stemedb_gossip_pushes_total";
        self.head(name, "counter", "New assertions pushed to a peer, by what became of it.");
        self.sample(name, &[("outcome", "taken")], now.gossip.pushed);
        self.sample(name, &[("outcome", "failed")], now.gossip.failed);
        let help = "New assertions not pushed to a peer but left to anti-entropy.";
        self.one("stemedb_gossip_dropped_total", "counter", help, now.gossip.dropped);
        let help = "New assertions that went around a peer that refused them.";
        self.one("stemedb_gossip_rerouted_total", "counter", help, now.gossip.rerouted);
        let help = "Sessions of anti-entropy begun because a peer's digest was another one.";
        self.one("stemedb_sync_differences_total", "counter", help, now.differences);
        let help = "New assertions that wait to be pushed to a peer.";
        self.one("stemedb_gossip_waiting", "gauge", help, now.gossip_waiting);
    }
}
