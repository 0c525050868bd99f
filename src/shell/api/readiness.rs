//! Whether clients should send requests to this node, or to another one.
//!
//! In: what the replica knows of its members and its disk, the request to stop. Out: the answer of
//! `GET /v1/health/ready`, or why there is none.
//!
//! Never: stops a request: a node that is not ready answers all that reach it.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::shell::driver::Driver;
use crate::shell::runtime::reactor::Timer;
use crate::wire::json::health;
use crate::wire::rejection::Rejection;

/// How often a node that reached no other one looks again. It dials its seeds more often than that,
/// and a node that has joined does not look any more.
const JOIN_LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// What the node is ready for.
pub struct Readiness {
    driver: Rc<Driver>,
    /// Without seeds there is no other node to reach.
    has_seeds: bool,
    /// Load balancers have to see the end before the listeners close.
    is_draining: Cell<bool>,
}

impl Readiness {
    /// Of the node behind `driver`, which has recovered.
    pub fn new(driver: Rc<Driver>, has_seeds: bool) -> Rc<Readiness> {
        Rc::new(Readiness { driver, has_seeds, is_draining: Cell::new(false) })
    }

    /// The node was asked to stop: it is not ready any more.
    pub fn begin_drain(&self) {
        self.is_draining.set(true);
    }

    /// Whether another node was reached, or there is none to reach.
    pub fn has_joined(&self) -> bool {
        let has_met = self.driver.read(|replica, _| {
            let swim = replica.cluster().swim();
            swim.has_had_members() || swim.are_seeds_own()
        });
        !self.has_seeds || has_met
    }

    /// Done once the node has joined.
    pub async fn joined(&self) {
        while !self.has_joined() {
            Timer::after(JOIN_LOOK_INTERVAL).await;
        }
    }

    /// What a node that is ready answers. A disk that takes no claims is no reason to be without
    /// the node: it serves reads, and its gateway passes claims on.
    pub fn answer(&self) -> Result<String, Rejection> {
        if self.is_draining.get() {
            return Err(Rejection::Draining);
        }
        if !self.has_joined() {
            return Err(Rejection::NotJoined);
        }
        Ok(health::ready(self.driver.read(|replica, _| replica.queue().obstacle())))
    }
}
