//! The peers that this node talks to, each by its address, the least lately used forgotten first.
//!
//! In: addresses. Out: peers to call. Each open connection costs both ends some 20 KiB, so there
//! are few at a time (`limits::PEERS_MAX`); one more closes the one that has been idle longest.
//!
//! Never: closes a connection that a call runs on.

use std::cell::RefCell;
use std::rc::Rc;

use crate::base::{Secret, limits};
use crate::shell::grpc::identity::Identity;
use crate::shell::peers::peer::{Dialer, Lost, Made, Peer};
use crate::shell::runtime::tasks::Tasks;
use crate::wire::grpc::SharedSettings;

/// The peers that this node has called, one for each address.
pub struct Pool {
    dialer: Rc<Dialer>,
    /// The most lately used last.
    peers: RefCell<Vec<Rc<Peer>>>,
}

impl Pool {
    /// Calls carry `key`, the cluster's, where there is one.
    pub fn new(tasks: Tasks, key: Option<&Secret>) -> Rc<Pool> {
        Rc::new(Pool { dialer: Dialer::new(tasks, key), peers: RefCell::default() })
    }

    /// Has `lost` called for every connection that ends, whichever side ended it.
    pub fn observe_lost(&self, lost: Lost) {
        self.dialer.observe_lost(lost);
    }

    /// Calls carry another key from now on.
    pub fn change_key(&self, key: &Secret) {
        self.dialer.change_key(key);
    }

    /// Has `made` called for every connection that is made.
    pub fn observe_made(&self, made: Made) {
        self.dialer.observe_made(made);
    }

    /// What calls say of this process; its own server has to know it.
    pub fn identity(&self) -> Rc<Identity> {
        self.dialer.identity().clone()
    }

    /// Has every new connection say how this node is set.
    pub fn announce(&self, settings: &SharedSettings) {
        self.dialer.announce(settings);
    }

    /// Whether calls carry a cluster key.
    pub fn has_key(&self) -> bool {
        self.dialer.has_key()
    }

    /// The peer at `host:port`; nothing is dialled before it is called.
    pub fn peer(&self, address: &str) -> Rc<Peer> {
        let mut peers = self.peers.borrow_mut();
        let peer = match peers.iter().position(|peer| peer.address() == address) {
            Some(index) => peers.remove(index),
            None => Peer::new(address.to_owned(), self.dialer.clone()),
        };
        while peers.len() >= limits::PEERS_MAX {
            // Others may hold a peer between two calls; its connection is theirs as long.
            let Some(idle) = peers.iter().position(|peer| Rc::strong_count(peer) == 1) else {
                break;
            };
            drop(peers.remove(idle));
        }
        peers.push(peer.clone());
        peer
    }

    /// How many peers are connected, for `/metrics`.
    pub fn connections(&self) -> usize {
        self.peers.borrow().iter().filter(|peer| peer.is_connected()).count()
    }
}

#[cfg(test)]
mod tests {
    use async_executor::LocalExecutor;

    use super::*;

    #[test]
    fn the_peer_idle_longest_is_dropped_for_another() {
        let pool = Pool::new(Tasks::new(Rc::new(LocalExecutor::new())), None);
        let held = pool.peer("held:1");
        let first = Rc::downgrade(&pool.peer("first:1"));
        let second = Rc::downgrade(&pool.peer("second:1"));
        drop(pool.peer("first:1"));
        for number in 3..limits::PEERS_MAX {
            drop(pool.peer(&format!("other:{number}")));
        }
        assert!(first.upgrade().is_some() && second.upgrade().is_some());
        drop(pool.peer("one:more"));
        assert!(first.upgrade().is_some() && second.upgrade().is_none());
        assert!(Rc::ptr_eq(&held, &pool.peer("held:1")));
        assert_eq!(pool.peers.borrow().len(), limits::PEERS_MAX);
    }
}
