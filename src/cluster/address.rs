//! Which addresses this node advertises: what is set, what is bound, and else the address by which
//! this node reaches others, which its connections show.
//!
//! In: near ends of connections. Out: the addresses to advertise, when they change. Nothing depends
//! on a default route. Never: advertises an address that stands for all, or one that is only this
//! machine's beside one that is not.

use std::net::{IpAddr, SocketAddr};

/// How an address of this node came to be known; the stronger evidence wins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Evidence {
    /// Packets to the rest of the world leave by it; another network may lead to the members.
    Route,
    /// Another node called it: an address that one of them can dial, perhaps by a private way.
    Called,
    /// Another node was reached from it: the way there is the way that members use.
    Dialled,
}

/// The address of a listener, as far as it is known at the start.
#[derive(Clone, Debug)]
pub struct Listener {
    /// What the operator says that others dial.
    pub given: Option<String>,
    /// What is bound; an address that stands for all cannot be advertised.
    pub bound: SocketAddr,
}

/// The advertised addresses of gRPC and HTTP API; empty is unknown.
pub type Advertised = (String, String);

/// The advertised addresses of a node, as they are chosen.
///
/// ```text
/// unknown --any evidence--> known --stronger evidence, or the address is lost--> known, another
/// ```
#[derive(Clone, Debug)]
pub struct OwnAddresses {
    /// The gRPC listener, which decides for both where the API's is open.
    rpc: Listener,
    api: Listener,
    /// The address that stands for one that is bound to all, and how it is known.
    known: Option<(IpAddr, Evidence)>,
    /// The last that a connection showed: the one to take when `known` is lost.
    latest: Option<IpAddr>,
}

impl OwnAddresses {
    /// Of a node whose packets leave by `route`, where there is a default route.
    pub fn new(rpc: Listener, api: Listener, route: Option<IpAddr>) -> OwnAddresses {
        let mut new = OwnAddresses { rpc, api, known: None, latest: None };
        if let Some(ip) = route {
            new.observe(ip, Evidence::Route, |_| true);
        }
        new
    }

    /// Whether anything is left to be observed.
    pub fn is_open(&self) -> bool {
        [&self.rpc, &self.api]
            .into_iter()
            .any(|it| it.given.is_none() && it.bound.ip().is_unspecified())
    }

    /// A connection of another node or to one has its near end at `ip`. `is_held` says whether an
    /// address is one of the machine's: what is known stays as long as it is, so that a node with
    /// two networks does not move with every call. True if others are to be informed.
    pub fn observe(
        &mut self,
        ip: IpAddr,
        evidence: Evidence,
        is_held: impl Fn(IpAddr) -> bool,
    ) -> bool {
        // A socket for both versions shows IPv4 peers as `::ffff:a.b.c.d`.
        let ip = ip.to_canonical();
        if !self.is_fit(ip) {
            return false;
        }
        self.latest = Some(ip);
        let is_better = match self.known {
            None => true,
            // What is known only becomes known better: members need not hear of that.
            Some((known, before)) if known == ip => {
                self.known = Some((ip, before.max(evidence)));
                false
            }
            // An address of this machine alone is good for peers on it, and for no other.
            Some((known, _)) if known.is_loopback() != ip.is_loopback() => known.is_loopback(),
            Some((known, before)) => evidence > before || !is_held(known),
        };
        if is_better {
            self.known = Some((ip, evidence));
        }
        self.check_invariants();
        is_better
    }

    /// Looks whether the machine still has the address; true if another is to be advertised.
    pub fn check(&mut self, is_held: impl Fn(IpAddr) -> bool) -> bool {
        let (Some((known, _)), Some(latest)) = (self.known, self.latest) else { return false };
        let is_lost = known != latest && !is_held(known) && is_held(latest);
        if is_lost {
            self.known = Some((latest, Evidence::Dialled));
        }
        self.check_invariants();
        is_lost
    }

    /// Its invariants: others could dial what stands for an open address.
    fn check_invariants(&self) {
        let known = self.known.map(|(ip, _)| ip);
        debug_assert!(known.is_none_or(|ip| self.is_fit(ip)), "{known:?}");
        debug_assert!(self.latest.is_none() || known.is_some(), "seen and not taken");
    }

    /// The addresses to advertise.
    pub fn advertised(&self) -> Advertised {
        let rpc = self.of(&self.rpc);
        let is_near_alone = |address: &str| {
            let ip = address.parse().map(|address: SocketAddr| address.ip());
            ip.is_ok_and(|ip| ip.is_loopback())
        };
        let api = match (&self.api.given, self.api.bound.ip()) {
            // A gateway elsewhere would call itself.
            (None, ip) if ip.is_loopback() && !is_near_alone(&rpc) => String::new(),
            _ => self.of(&self.api),
        };
        (rpc, api)
    }

    fn of(&self, listener: &Listener) -> String {
        let Listener { given, bound } = listener;
        if let Some(given) = given {
            return given.clone();
        }
        // An API on all addresses is where gRPC is.
        let of_rpc = Some(self.rpc.bound.ip()).filter(|ip| !ip.is_unspecified());
        let ip = match bound.ip() {
            ip if ip.is_unspecified() => of_rpc.or(self.known.map(|(ip, _)| ip)),
            ip => Some(ip),
        };
        ip.map(|ip| SocketAddr::new(ip, bound.port()).to_string()).unwrap_or_default()
    }

    /// Whether others could dial `ip`, and this node would listen. The zone of a link-local address
    /// of version 6 means something on this machine alone.
    fn is_fit(&self, ip: IpAddr) -> bool {
        let is_bound = |it: &Listener| it.bound.is_ipv6() || ip.is_ipv4();
        let is_link_local = matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
        let is_one = !(ip.is_unspecified() || ip.is_multicast() || is_link_local);
        is_one && is_bound(&self.rpc)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(bound: &str) -> Listener {
        Listener { given: None, bound: bound.parse().expect("an address") }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn both(rpc: &str, api: &str) -> (String, String) {
        (rpc.to_owned(), api.to_owned())
    }

    #[test]
    fn what_is_bound_to_all_is_where_others_are_reached_from() {
        let (rpc, api) = (listener("0.0.0.0:7"), listener("0.0.0.0:8"));
        let mut own = OwnAddresses::new(rpc, api, None);
        assert!(own.is_open());
        assert_eq!(own.advertised(), both("", ""), "nothing is known yet");
        for bad in ["0.0.0.0", "fe80::1", "2001:db8::1", "224.0.0.1"] {
            assert!(!own.observe(ip(bad), Evidence::Dialled, |_| true), "{bad}");
        }
        let all = |_| true;
        assert!(own.observe(ip("127.0.0.1"), Evidence::Dialled, all));
        assert_eq!(own.advertised(), both("127.0.0.1:7", "127.0.0.1:8"));
        assert!(own.observe(ip("10.0.0.1"), Evidence::Called, all), "for more than this machine");
        assert!(!own.observe(ip("127.0.0.1"), Evidence::Dialled, all));
        assert!(own.observe(ip("::ffff:10.0.0.2"), Evidence::Dialled, all), "better known");
        assert!(!own.observe(ip("10.9.0.1"), Evidence::Dialled, all), "the other is there still");
        assert_eq!(own.advertised(), both("10.0.0.2:7", "10.0.0.2:8"));
        // The lease is over: the next connection leaves by another address.
        let is_held = |it| it == ip("10.0.0.3");
        assert!(own.observe(ip("10.0.0.3"), Evidence::Dialled, is_held));
        assert_eq!(own.advertised(), both("10.0.0.3:7", "10.0.0.3:8"));
    }

    #[test]
    fn an_address_that_goes_is_replaced_by_the_last_one_seen() {
        let (rpc, api) = (listener("[::]:7"), listener("[::]:8"));
        let mut own = OwnAddresses::new(rpc, api, Some(ip("10.0.0.1")));
        assert_eq!(own.advertised().0, "10.0.0.1:7");
        assert!(!own.check(|_| false), "nothing better is known");
        assert!(own.observe(ip("2001:db8::1"), Evidence::Dialled, |_| true));
        assert!(!own.observe(ip("2001:db8::2"), Evidence::Dialled, |_| true));
        assert!(!own.check(|_| true));
        assert!(own.check(|it| it == ip("2001:db8::2")));
        assert_eq!(own.advertised(), both("[2001:db8::2]:7", "[2001:db8::2]:8"));
    }

    #[test]
    fn what_is_set_or_bound_stands() {
        let given = |text: &str| Listener { given: Some(text.into()), ..listener("0.0.0.0:9") };
        let set = OwnAddresses::new(given("a:1"), given("b:2"), None);
        assert_eq!((set.is_open(), set.advertised()), (false, both("a:1", "b:2")));
        for (rpc, api, expected) in [
            ("10.0.0.1:7", "10.0.0.1:8", both("10.0.0.1:7", "10.0.0.1:8")),
            ("10.0.0.1:7", "0.0.0.0:8", both("10.0.0.1:7", "10.0.0.1:8")),
            ("127.0.0.1:7", "127.0.0.1:8", both("127.0.0.1:7", "127.0.0.1:8")),
            // An API on loopback is of no use elsewhere.
            ("10.0.0.1:7", "127.0.0.1:8", both("10.0.0.1:7", "")),
            ("0.0.0.0:7", "127.0.0.1:8", both("", "")),
        ] {
            let own = OwnAddresses::new(listener(rpc), listener(api), None);
            assert_eq!(own.advertised(), expected, "{rpc} {api}");
        }
    }
}
