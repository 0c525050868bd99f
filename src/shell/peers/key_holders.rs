//! Members that may be handed a client's API key.
//!
//! In: pings that carried the cluster key. Out: whether an address is that of a member that showed
//! it. Without a cluster key any host may call itself a member, so only this host is trusted (gRPC
//! listens on loopback alone then, if there are API keys at all).
//!
//! Never: takes another member's word for a member's address.

use std::cell::RefCell;
use std::net::IpAddr;

use litemap::LiteMap;

use crate::base::{NodeId, limits};
use crate::swim::Update;

/// Where the members are that showed the cluster key.
pub struct KeyHolders {
    has_key: bool,
    /// HTTP API addresses, as each gave its own.
    shown: RefCell<LiteMap<NodeId, String>>,
}

impl KeyHolders {
    /// Of a cluster with a key, or without.
    pub fn new(has_key: bool) -> KeyHolders {
        KeyHolders { has_key, shown: RefCell::default() }
    }

    /// A call that carried the cluster key introduced its caller.
    pub fn note(&self, introduction: &Update) {
        let mut shown = self.shown.borrow_mut();
        let Update { node, api_addr, .. } = introduction;
        if !self.has_key || shown.get(node) == Some(api_addr) {
            return;
        }
        if shown.len() >= limits::MEMBERS_MAX && !shown.contains_key(node) {
            // It shows the key again at its next ping.
            let evicted = shown.first().map(|(node, _)| *node);
            evicted.map(|node| shown.remove(&node));
        }
        shown.insert(*node, api_addr.clone());
    }

    /// The cluster has another key from now on, which no member has shown.
    pub fn forget_all(&self) {
        self.shown.borrow_mut().clear();
    }

    /// Whether a member whose API is there may see API keys.
    pub fn is_trusted(&self, node: NodeId, api_addr: &str) -> bool {
        match self.has_key {
            true => self.shown.borrow().get(&node).is_some_and(|shown| shown == api_addr),
            false => is_loopback(api_addr),
        }
    }
}

/// Whether an address is one of this host, and no name for it that a resolver might change.
fn is_loopback(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swim::State;

    fn update(number: u8, api_addr: &str) -> Update {
        Update {
            node: NodeId([number; 16]),
            rpc_addr: "10.0.0.1:18182".into(),
            api_addr: api_addr.into(),
            state: State::Alive,
            lamport: 0,
            incarnation: 1,
        }
    }

    #[test]
    fn keys_go_to_who_showed_the_cluster_key_from_where_it_is() {
        let holders = KeyHolders::new(true);
        let one = update(1, "10.0.0.1:18180");
        assert!(!holders.is_trusted(one.node, &one.api_addr));
        holders.note(&one);
        assert!(holders.is_trusted(one.node, &one.api_addr));
        assert!(!holders.is_trusted(one.node, "10.0.0.66:80"), "diverted");
        assert!(!holders.is_trusted(NodeId([2; 16]), &one.api_addr), "another member");
        assert!(!holders.is_trusted(NodeId([2; 16]), "127.0.0.1:18180"));
        holders.forget_all();
        assert!(!holders.is_trusted(one.node, &one.api_addr), "it showed another key");
    }

    #[test]
    fn without_a_cluster_key_they_stay_on_this_host() {
        let holders = KeyHolders::new(false);
        holders.note(&update(1, "10.0.0.1:18180"));
        for (address, is_trusted) in [
            ("127.0.0.1:18180", true),
            ("127.9.9.9:1", true),
            ("[::1]:18180", true),
            ("10.0.0.1:18180", false),
            ("localhost.evil.example:80", false),
            ("localhost:80", false),
            ("", false),
        ] {
            assert_eq!(holders.is_trusted(NodeId([1; 16]), address), is_trusted, "{address}");
        }
    }

    #[test]
    fn the_list_is_bounded() {
        let holders = KeyHolders::new(true);
        for number in 0..=limits::MEMBERS_MAX as u128 {
            let node = NodeId((number + 1).to_be_bytes());
            holders.note(&Update { node, ..update(1, "a:1") });
        }
        assert_eq!(holders.shown.borrow().len(), limits::MEMBERS_MAX);
    }
}
