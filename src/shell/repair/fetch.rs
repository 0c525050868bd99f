//! Damaged records brought back: by their digests, from the members that the replica names.
//!
//! In: positions that did not read well, as readers find them. Out: calls of `FetchAssertions`, and
//! what comes offered like anything else. What has no name comes by anti-entropy.
//!
//! Never: stores what does not hash to the name that was asked for, chooses a member or a moment.

use std::rc::Rc;

use async_channel::Receiver;
use futures_lite::future;

use crate::journal::Position;
use crate::replica::Fetch;
use crate::shell::disk::Checkpoint;
use crate::shell::driver::Driver;
use crate::shell::peers::client;
use crate::shell::peers::pool::Pool;
use crate::shell::runtime::log_limit;
use crate::shell::runtime::reactor::Timer;
use crate::sync::{Reply, WireBytes};

/// Brings back what is damaged.
pub struct Repairer {
    driver: Rc<Driver>,
    found: Receiver<Position>,
    checkpoint: Checkpoint,
}

impl Repairer {
    /// For the node behind `driver`, whose readers send what they `found` unreadable.
    pub fn new(driver: Rc<Driver>, found: Receiver<Position>, checkpoint: Checkpoint) -> Repairer {
        Repairer { driver, found, checkpoint }
    }

    /// Runs as long as the node.
    pub async fn run(self, pool: &Pool) {
        loop {
            let due = self.driver.read(|replica, _| replica.fetch_due());
            let next_fetch = async {
                match due {
                    Some(due) => Timer::after(due.since(self.driver.now())).await,
                    None => future::pending().await,
                }
                None
            };
            let found = async { self.found.recv().await.ok() };
            match future::or(found, next_fetch).await {
                Some(at) => {
                    // It takes the damaged record for a good one, even when another is there.
                    if let Err(fault) = self.checkpoint.forget() {
                        log::warn!("{fault}: the kept index is left as it is");
                    }
                    self.driver
                        .update(|replica, now, bodies| replica.handle_damage(now, at, bodies));
                }
                None => {
                    if let Some(fetch) =
                        self.driver.update(|replica, now, _| replica.next_fetch(now))
                    {
                        self.fetch(fetch, pool).await;
                        self.driver.update(|replica, _, _| replica.handle_fetched());
                    }
                }
            }
        }
    }

    async fn fetch(&self, Fetch { target, wanted }: Fetch, pool: &Pool) {
        let obstacle = self.driver.read(|replica, _| replica.queue().obstacle());
        let peer = pool.peer(&target.rpc_addr);
        let mut bytes = WireBytes::default();
        match client::fetch(&self.driver, &peer, &wanted, &mut bytes).await {
            Ok(Reply::Fetched { good, .. }) => {
                let (_, refusal) = self.driver.offer_all(good).await;
                if let (Some(why), None) = (&refusal, obstacle) {
                    log_limit::warn(
                        (module_path!(), "", "refused repairs"),
                        format_args!("repairing: {why}"),
                    );
                }
            }
            Ok(_) => {}
            Err(why) => log::debug!("repairing from {}: {why}", target.rpc_addr),
        }
    }
}
