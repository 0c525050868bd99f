//! Damaged records brought back: by their digests, from members that have them, until none is
//! missing.
//!
//! In: positions that did not read well, as readers find them. Out: calls of `FetchAssertions`, and
//! what comes offered like anything else. What has no name comes by anti-entropy.
//!
//! Never: stores what does not hash to the name that was asked for, asks without a pause.

use std::rc::Rc;
use std::time::Duration;

use async_channel::Receiver;
use futures_lite::future;

use crate::journal::Position;
use crate::shell::disk::Checkpoint;
use crate::shell::driver::Driver;
use crate::shell::peers::client;
use crate::shell::peers::pool::Pool;
use crate::shell::runtime::log_limit;
use crate::shell::runtime::reactor::Timer;
use crate::sync::{Reply, WireBytes};

/// Between two rounds: this at first, so that neighbours are asked for together, then twice as much
/// each time.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest pause. A round without members in reach costs nothing.
const PAUSE_MAX: Duration = Duration::from_secs(10);

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
        let mut pause = PAUSE_MIN;
        loop {
            let is_whole = self.driver.read(|replica, _| replica.damages().wanted().is_empty());
            let next_round = async {
                if is_whole {
                    future::pending::<()>().await;
                }
                Timer::after(pause).await;
                None
            };
            let found = async { self.found.recv().await.ok() };
            match future::or(found, next_round).await {
                Some(at) => {
                    // It takes the damaged record for a good one, even when another is there.
                    if let Err(fault) = self.checkpoint.forget() {
                        log::warn!("{fault}: the kept index is left as it is");
                    }
                    self.driver.update(|replica, _, bodies| replica.handle_damage(at, bodies));
                    pause = PAUSE_MIN;
                }
                None => {
                    self.ask_around(pool).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    /// Asks one member after the other for what is still missing.
    async fn ask_around(&self, pool: &Pool) {
        let targets = self.driver.read(|replica, _| replica.cluster().targets());
        for target in targets {
            let (mut wanted, obstacle) = self
                .driver
                .read(|replica, _| (replica.damages().wanted(), replica.queue().obstacle()));
            if obstacle.is_some() {
                // One shows whether the disk takes records again.
                wanted.truncate(1);
            }
            if wanted.is_empty() {
                return;
            }
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
}
