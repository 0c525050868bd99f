//! The client of a request, for fairness between clients.
//!
//! In: addresses. Out: a key by which calls of one client are grouped. Never: grants anything: an
//! address proves nothing.

use std::net::IpAddr;

/// Where a call comes from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Client {
    /// The host at the other end of the connection.
    pub peer: u64,
    /// The client whose request that host says it forwards (a gateway, a proxy). A host may name
    /// whom it likes: this divides its own share and adds nothing to it.
    pub behind: Option<u64>,
}

impl Client {
    /// A caller at `peer` that asks for `behind`.
    pub fn new(peer: IpAddr, behind: Option<IpAddr>) -> Client {
        Client { peer: key(peer), behind: behind.map(key) }
    }
}

/// The network that one subscriber usually has for itself: an address of version 4, a /64 of
/// version 6, within which a host may take any address at any time.
fn key(address: IpAddr) -> u64 {
    match address.to_canonical() {
        // As an IPv4-mapped address begins, moved to where no network of version 6 begins.
        IpAddr::V4(address) => 0xffff_0000_0000 | u64::from(u32::from(address)),
        IpAddr::V6(address) => (u128::from(address) >> 64) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_an_address_or_a_network_of_64_bits() {
        let client = |text: &str| Client::new(text.parse().expect("an address"), None);
        assert_eq!(client("192.0.2.1"), client("::ffff:192.0.2.1"));
        assert_ne!(client("192.0.2.1"), client("192.0.2.2"));
        assert_eq!(client("2001:db8::1"), client("2001:db8::ffff:1"));
        assert_ne!(client("2001:db8::1"), client("2001:db8:0:1::1"));
        let behind = Some("192.0.2.2".parse().expect("an address"));
        let proxied = Client::new("192.0.2.1".parse().expect("an address"), behind);
        assert_eq!(proxied.peer, client("192.0.2.1").peer);
        assert_ne!(proxied, client("192.0.2.1"));
    }
}
