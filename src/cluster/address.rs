//! What others are told to dial: what is set, what is bound, and else the address by which this
//! node reaches them, which its connections show.
//!
//! In: near ends of connections. Out: the addresses to advertise, when they change. Nothing depends
//! on a default route. Never: advertises an address that stands for all, or one that is only this
//! machine's beside one that is not.

use std::net::{IpAddr, SocketAddr};

/// How an address of this node came to be known; what is known better wins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Evidence {
    /// Packets to the rest of the world leave by it.
    Route,
    /// Another node called it.
    Called,
    /// Another node was reached from it.
    Dialled,
}

/// Where a listener is, as far as it is known at the start.
#[derive(Clone, Debug)]
pub struct Listener {
    /// What the operator says that others dial.
    pub given: Option<String>,
    /// What is bound.
    pub bound: SocketAddr,
}

/// The addresses of gRPC and HTTP API that others are told; empty is unknown.
pub type Advertised = (String, String);

/// The choice of a node.
#[derive(Clone, Debug)]
pub struct Whereabouts {
    rpc: Listener,
    api: Listener,
    known: Option<(IpAddr, Evidence)>,
    /// The last that a connection showed.
    latest: Option<IpAddr>,
}

impl Whereabouts {
    /// Of a node whose packets leave by `route`, where there is a default route.
    pub fn new(rpc: Listener, api: Listener, route: Option<IpAddr>) -> Whereabouts {
        let mut new = Whereabouts { rpc, api, known: None, latest: None };
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

    /// A connection of another node or to one has its near end at `ip`. `is_held` tells whether an
    /// address is one of the machine's: what is known stays as long as it is, so that a node with
    /// two networks does not move with every call. True if others are to be told.
    pub fn observe(
        &mut self,
        ip: IpAddr,
        evidence: Evidence,
        is_held: impl Fn(IpAddr) -> bool,
    ) -> bool {
        let ip = ip.to_canonical();
        if !self.is_fit(ip) {
            return false;
        }
        self.latest = Some(ip);
        let is_better = match self.known {
            None => true,
            Some((known, before)) if known == ip => {
                self.known = Some((ip, before.max(evidence)));
                false
            }
            Some((known, _)) if known.is_loopback() != ip.is_loopback() => known.is_loopback(),
            Some((known, before)) => evidence > before || !is_held(known),
        };
        if is_better {
            self.known = Some((ip, evidence));
        }
        is_better
    }

    /// Looks whether the machine still has the address; true if others are to be told of another.
    pub fn check(&mut self, is_held: impl Fn(IpAddr) -> bool) -> bool {
        let (Some((known, _)), Some(latest)) = (self.known, self.latest) else { return false };
        let is_lost = known != latest && !is_held(known) && is_held(latest);
        if is_lost {
            self.known = Some((latest, Evidence::Dialled));
        }
        is_lost
    }

    /// What others are told.
    pub fn advertised(&self) -> Advertised {
        let rpc = self.of(&self.rpc);
        let is_near_alone = |address: &str| {
            let ip = address.parse().map(|address: SocketAddr| address.ip());
            ip.is_ok_and(|ip| ip.is_loopback())
        };
        let api = match (&self.api.given, self.api.bound.ip()) {
            // Others would call themselves.
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

    /// Whether others could dial `ip`, and somebody would listen. The zone of a link-local address
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

    fn told(of: &Whereabouts) -> (String, String) {
        of.advertised()
    }

    fn both(rpc: &str, api: &str) -> (String, String) {
        (rpc.to_owned(), api.to_owned())
    }

    #[test]
    fn what_is_bound_to_all_is_where_others_are_reached_from() {
        let (rpc, api) = (listener("0.0.0.0:7"), listener("0.0.0.0:8"));
        let mut own = Whereabouts::new(rpc, api, None);
        assert!(own.is_open());
        assert_eq!(told(&own), both("", ""), "nothing is known yet");
        for bad in ["0.0.0.0", "fe80::1", "2001:db8::1", "224.0.0.1"] {
            assert!(!own.observe(ip(bad), Evidence::Dialled, |_| true), "{bad}");
        }
        let all = |_| true;
        assert!(own.observe(ip("127.0.0.1"), Evidence::Dialled, all));
        assert_eq!(told(&own), both("127.0.0.1:7", "127.0.0.1:8"));
        assert!(own.observe(ip("10.0.0.1"), Evidence::Called, all), "for more than this machine");
        assert!(!own.observe(ip("127.0.0.1"), Evidence::Dialled, all));
        assert!(own.observe(ip("::ffff:10.0.0.2"), Evidence::Dialled, all), "better known");
        assert!(!own.observe(ip("10.9.0.1"), Evidence::Dialled, all), "the other is there still");
        assert_eq!(told(&own), both("10.0.0.2:7", "10.0.0.2:8"));
        // The lease is over: the next connection leaves by another address.
        let is_held = |it| it == ip("10.0.0.3");
        assert!(own.observe(ip("10.0.0.3"), Evidence::Dialled, is_held));
        assert_eq!(told(&own), both("10.0.0.3:7", "10.0.0.3:8"));
    }

    #[test]
    fn an_address_that_goes_makes_room_for_the_last_one_seen() {
        let (rpc, api) = (listener("[::]:7"), listener("[::]:8"));
        let mut own = Whereabouts::new(rpc, api, Some(ip("10.0.0.1")));
        assert_eq!(told(&own).0, "10.0.0.1:7");
        assert!(!own.check(|_| false), "nothing better is known");
        assert!(own.observe(ip("2001:db8::1"), Evidence::Dialled, |_| true));
        assert!(!own.observe(ip("2001:db8::2"), Evidence::Dialled, |_| true));
        assert!(!own.check(|_| true));
        assert!(own.check(|it| it == ip("2001:db8::2")));
        assert_eq!(told(&own), both("[2001:db8::2]:7", "[2001:db8::2]:8"));
    }

    #[test]
    fn what_is_set_or_bound_stands() {
        let given = |text: &str| Listener { given: Some(text.into()), ..listener("0.0.0.0:9") };
        let set = Whereabouts::new(given("a:1"), given("b:2"), None);
        assert_eq!((set.is_open(), told(&set)), (false, both("a:1", "b:2")));
        for (rpc, api, expected) in [
            ("10.0.0.1:7", "10.0.0.1:8", both("10.0.0.1:7", "10.0.0.1:8")),
            ("10.0.0.1:7", "0.0.0.0:8", both("10.0.0.1:7", "10.0.0.1:8")),
            ("127.0.0.1:7", "127.0.0.1:8", both("127.0.0.1:7", "127.0.0.1:8")),
            // An API on loopback is nobody's who is elsewhere.
            ("10.0.0.1:7", "127.0.0.1:8", both("10.0.0.1:7", "")),
            ("0.0.0.0:7", "127.0.0.1:8", both("", "")),
        ] {
            let own = Whereabouts::new(listener(rpc), listener(api), None);
            assert_eq!(told(&own), expected, "{rpc} {api}");
        }
    }
}
