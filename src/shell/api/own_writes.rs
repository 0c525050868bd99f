//! What clients of the gateway wrote, for those that read at the same gateway.
//!
//! In: claims that were taken, questions. Out: claims that other nodes took are here before this
//! node answers a question about them: a call of `FetchAssertions` to each such node. Which ones
//! are missing `cluster::forwarding::recent` says.
//!
//! Never: holds a question longer than `limits::GATEWAY_CATCH_UP_MAX`, runs two fetches at once.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::pin::pin;
use std::rc::Rc;

use crate::base::{Digest, NodeId, limits};
use crate::cluster::forwarding::recent::{RecentWrites, WrittenAt};
use crate::shell::driver::Driver;
use crate::shell::peers::client;
use crate::shell::peers::pool::Pool;
use crate::shell::runtime::log_limit;
use crate::shell::runtime::semaphore::Semaphore;
use crate::shell::runtime::timeout::within;
use crate::sync::{Reply, WireBytes};

/// The recent claims of a gateway.
pub struct OwnWrites {
    driver: Rc<Driver>,
    pool: Rc<Pool>,
    recent: Rc<RefCell<RecentWrites>>,
    /// Questions that come together need the same claims: the first one fetches them for all.
    fetching: Semaphore,
}

/// A batch of claims that this node takes; over when dropped.
pub struct BatchUnderWay {
    driver: Rc<Driver>,
    recent: Rc<RefCell<RecentWrites>>,
}

impl Drop for BatchUnderWay {
    fn drop(&mut self) {
        self.recent.borrow_mut().handle_batch_end(self.driver.now());
    }
}

impl OwnWrites {
    /// Of the gateway of the node behind `driver`, which calls other nodes by `pool`.
    pub fn new(driver: Rc<Driver>, pool: Rc<Pool>) -> OwnWrites {
        OwnWrites { driver, pool, recent: Rc::default(), fetching: Semaphore::new(1) }
    }

    /// A node took a claim; see [`RecentWrites::handle_written`].
    pub fn note(&self, subject: &str, node: NodeId, elsewhere: Option<Digest>) {
        self.recent.borrow_mut().handle_written(self.driver.now(), subject, node, elsewhere);
    }

    /// What notes that this node takes claims by the line, when it has taken the first one.
    pub fn batch(&self) -> impl FnOnce() -> BatchUnderWay + use<> {
        let (driver, recent) = (self.driver.clone(), self.recent.clone());
        move || {
            recent.borrow_mut().handle_batch();
            BatchUnderWay { driver, recent }
        }
    }

    /// The node that took a claim which is not here.
    pub fn holder(&self, digest: &Digest) -> Option<NodeId> {
        let node = self.recent.borrow_mut().node_of(self.driver.now(), digest)?;
        (!self.is_here(digest)).then_some(node)
    }

    /// Where the recent claims on a subject are.
    pub fn written_at(&self, subject: &str) -> WrittenAt {
        self.recent.borrow_mut().written_at(self.driver.now(), subject)
    }

    /// Has the recent claims on a subject, or all of them, here.
    pub async fn catch_up(&self, subject: Option<&str>) {
        if self.missing(subject).is_empty() {
            return;
        }
        let fetching = async {
            let _permit = self.fetching.acquire().await;
            self.fetch(subject).await;
        };
        // What came by another way meanwhile is seen by the count alone.
        let _ = within(limits::GATEWAY_CATCH_UP_MAX, pin!(fetching)).await;
        let left: usize = self.missing(subject).values().map(Vec::len).sum();
        if left > 0 {
            log_limit::warn(
                (module_path!(), "", "incomplete"),
                format_args!("the gateway answers without {left} claims that other nodes took"),
            );
        }
    }

    async fn fetch(&self, subject: Option<&str>) {
        let mut left = usize::MAX;
        loop {
            let missing = self.missing(subject);
            let count = missing.values().map(Vec::len).sum();
            // An answer may have fewer claims than were asked for, but none is no progress.
            if count == 0 || count >= left {
                return;
            }
            left = count;
            for (node, wanted) in missing {
                self.fetch_from(node, &wanted[..wanted.len().min(limits::FETCH_HASHES_MAX)]).await;
            }
        }
    }

    async fn fetch_from(&self, node: NodeId, wanted: &[Digest]) {
        let address = self.driver.read(|replica, _| {
            let member = replica.cluster().swim().member(node)?;
            member.news.state.is_present().then(|| member.news.rpc_addr.clone())
        });
        let Some(address) = address else { return };
        let peer = self.pool.peer(&address);
        match client::fetch(&self.driver, &peer, wanted, &mut WireBytes::default()).await {
            Ok(Reply::Fetched { good, .. }) => {
                self.driver.offer_all(good).await;
            }
            Ok(_) => {}
            Err(why) => log::debug!("claims that {address} took: {why}"),
        }
    }

    fn missing(&self, subject: Option<&str>) -> BTreeMap<NodeId, Vec<Digest>> {
        let is_here = |digest: &Digest| self.is_here(digest);
        self.recent.borrow_mut().missing(self.driver.now(), subject, is_here)
    }

    fn is_here(&self, digest: &Digest) -> bool {
        self.driver.read(|replica, bodies| replica.store().find(digest, bodies).is_some())
    }
}
