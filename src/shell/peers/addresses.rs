//! Where others find this node, as its connections show it; and what others say of themselves that
//! leads nowhere from here.
//!
//! In: near ends of connections, addresses that peers sent. Out: this node's addresses for the
//! membership; refusals, counted and logged. Never: decides which address is better.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::rc::Rc;
use std::time::Duration;

use crate::cluster::address::{Advertised, Evidence, Listener, OwnAddresses};
use crate::config::Endpoint;
use crate::shell::driver::Driver;
use crate::shell::grpc::identity::Identity;
use crate::shell::peers::pool::Pool;
use crate::shell::runtime::log_limit;
use crate::shell::runtime::reactor::Timer;
use crate::shell::runtime::socket::outgoing;
use crate::shell::runtime::tasks::Tasks;
use crate::wire::foreign;

/// How often a node looks whether it still has the address that it advertises; three system calls.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// The addresses that a node knows of itself when it starts.
pub(crate) fn at_start(
    (rpc, rpc_bound): (Option<&Endpoint>, SocketAddr),
    (api, api_bound): (Option<&Endpoint>, SocketAddr),
) -> OwnAddresses {
    let listener = |given: Option<&Endpoint>, bound| {
        let given = given.map(Endpoint::to_string);
        Listener { given, bound }
    };
    OwnAddresses::new(listener(rpc, rpc_bound), listener(api, api_bound), outgoing(rpc_bound))
}

/// Follows the node's own address.
struct Follower {
    driver: Rc<Driver>,
    known: RefCell<OwnAddresses>,
}

impl Follower {
    /// Begins with what is known at the start.
    fn new(driver: Rc<Driver>, known: OwnAddresses, tasks: &Tasks) -> Rc<Follower> {
        let is_open = known.is_open();
        let follower = Rc::new(Follower { driver, known: RefCell::new(known) });
        if is_open {
            let checking = Rc::downgrade(&follower);
            tasks.spawn(async move {
                loop {
                    Timer::after(CHECK_INTERVAL).await;
                    let Some(follower) = checking.upgrade() else { return };
                    follower.update(|known| known.check(is_held));
                }
            });
        }
        follower
    }

    /// A connection with another node has its near end there.
    fn observe(&self, ip: IpAddr, evidence: Evidence) {
        self.update(|known| known.observe(ip, evidence, is_held));
    }

    fn update(&self, change: impl FnOnce(&mut OwnAddresses) -> bool) {
        let mut known = self.known.borrow_mut();
        if !known.is_open() || !change(&mut known) {
            return;
        }
        let advertised: Advertised = known.advertised();
        drop(known);
        let (rpc, api) = (&advertised.0, &advertised.1);
        let line = format_args!("advertised from now on: rpc={rpc} api={api}");
        log_limit::note(log::Level::Info, (module_path!(), "", "advertised addresses"), line);
        self.driver.update(|replica, now, _| {
            replica.handle_addresses(now, advertised);
        });
    }
}

/// Follows the node's own address, as its connections show it; what calls say of this process.
pub(crate) fn follow(
    driver: &Rc<Driver>,
    own: OwnAddresses,
    pool: &Pool,
    tasks: &Tasks,
) -> Rc<Identity> {
    let dialled = Follower::new(driver.clone(), own, tasks);
    let (called, identity) = (dialled.clone(), pool.identity());
    pool.observe_made(Box::new(move |ip| dialled.observe(ip, Evidence::Dialled)));
    identity.observe_called(Box::new(move |ip| called.observe(ip, Evidence::Called)));
    identity
}

/// Whether the address is one of this machine: only such a one can be bound.
fn is_held(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}

/// Addresses that `peer` sent lead nowhere from here: so many, and one of them.
pub(crate) fn note_refused(driver: &Driver, peer: &str, refused: Option<(u64, String)>) {
    let Some((count, address)) = refused else { return };
    driver.update(|replica, now, _| {
        replica.handle_refused_addresses(now, count);
    });
    let address = foreign::shown(&address);
    let line = format_args!(
        "{peer} sends {address} as a node's address: it leads nowhere from another machine (set \
         STEMEDB_ADVERTISE_RPC_ADDR and STEMEDB_ADVERTISE_API_ADDR there)"
    );
    log_limit::warn((module_path!(), peer, "unusable addresses"), line);
}
