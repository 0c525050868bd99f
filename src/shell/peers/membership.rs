//! The cluster's calls carried out: pings, probes for others, pushes of new assertions, rounds of
//! anti-entropy; names of seeds looked up; changes of members logged.
//!
//! In: what [`crate::cluster`] wants done. Out: ends of calls, reported to it. Never: judges a
//! member.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::future;
use log::Level;

use crate::base::{NodeId, limits};
use crate::cluster::gossip::{PushEnd, Row};
use crate::cluster::identity::Tag;
use crate::cluster::ping::{Next, Unacked, UnackedCause};
use crate::cluster::{Output, Target};
use crate::config::Endpoint;
use crate::shell::driver::Driver;
use crate::shell::driver::bulk::BulkReads;
use crate::shell::grpc::SettingsHeard;
use crate::shell::peers::anti_entropy::Peers;
use crate::shell::peers::client;
use crate::shell::peers::peer::Peer;
use crate::shell::peers::pool::Pool;
use crate::shell::runtime::log_limit;
use crate::shell::runtime::reactor::Timer;
use crate::shell::runtime::resolve::resolve;
use crate::shell::runtime::tasks::Tasks;
use crate::swim::{Ack, CallNumber, Event, Failure, Output as Call, Update};
use crate::wire::grpc::SharedSettings;
use crate::wire::status::{Code, Status};

/// Seeds that are missing are looked up again after this pause, which doubles.
const LOOK_UP_PAUSE_MIN: Duration = Duration::from_millis(500);
/// The longest pause; also how often names are looked up while all is well.
const LOOK_UP_PAUSE_MAX: Duration = Duration::from_secs(30);

/// Carries out what the cluster wants.
pub struct Membership {
    driver: Rc<Driver>,
    reads: Rc<BulkReads>,
    pool: Rc<Pool>,
    peers: Rc<Peers>,
    tasks: Tasks,
    /// As they are set, with the addresses that they had when they were last looked up.
    seeds: RefCell<Vec<(String, Vec<String>)>>,
}

impl Membership {
    /// Carries out the cluster's outputs from now on, those included that wait already.
    pub fn start(
        (driver, reads): (Rc<Driver>, Rc<BulkReads>),
        pool: Rc<Pool>,
        peers: Rc<Peers>,
        tasks: Tasks,
    ) -> Rc<Self> {
        let seeds = RefCell::default();
        let state = driver.clone();
        let membership = Rc::new(Membership { driver: state, reads, pool, peers, tasks, seeds });
        membership.pool.announce(&membership.settings());
        let carrier = Rc::downgrade(&membership);
        driver.observe_cluster(Box::new(move |output| {
            if let Some(membership) = carrier.upgrade() {
                membership.carry_out(output);
            }
        }));
        let observer = Rc::downgrade(&membership);
        membership.pool.observe_lost(Box::new(move |address| {
            let Some(membership) = observer.upgrade() else { return };
            let (driver, address) = (membership.driver.clone(), address.to_owned());
            // Connections may end while the replica is at work.
            membership.tasks.spawn(async move {
                driver.update(|replica, now, _| replica.handle_lost(now, &address));
            });
        }));
        membership
    }

    /// Looks the seeds up, again and again while some are missing, each by itself: a name whose
    /// look-up takes long keeps no other one waiting.
    pub fn find_seeds(self: &Rc<Self>, seeds: &[Endpoint]) {
        let names = seeds.iter().map(|seed| (seed.to_string(), Vec::new()));
        *self.seeds.borrow_mut() = names.collect();
        for number in 0..seeds.len() {
            let this = self.clone();
            self.tasks.spawn(async move { this.find_seed(number).await });
        }
    }

    /// A name that cannot be looked up for a while keeps the addresses it had.
    async fn find_seed(&self, number: usize) {
        let name = self.seeds.borrow()[number].0.clone();
        let mut pause = LOOK_UP_PAUSE_MIN;
        loop {
            let found = resolve(&name).await;
            let is_found = found.is_ok();
            match found {
                Ok(addresses) => {
                    let addresses = addresses.iter().map(ToString::to_string).collect();
                    self.seeds.borrow_mut()[number].1 = addresses;
                }
                Err(why) => warn_of_seed(&name, &why.to_string()),
            }
            let all = self.seeds.borrow().iter().flat_map(|seed| seed.1.clone()).collect();
            let are_all_found = self.seeds.borrow().iter().all(|seed| !seed.1.is_empty());
            // Names of services list more and more nodes while these start.
            let is_lonely = self.driver.update(|replica, now, _| {
                replica.handle_seeds(now, all, are_all_found);
                let swim = replica.cluster().swim();
                swim.unmatched_seeds().next().is_some() || swim.present().next().is_none()
            });
            let is_well = is_found && !is_lonely;
            pause = if is_well { LOOK_UP_PAUSE_MAX } else { (pause * 2).min(LOOK_UP_PAUSE_MAX) };
            Timer::after(pause.mul_f64(0.75 + 0.5 * fastrand::f64())).await;
        }
    }

    /// A ping failed. If it went to a seed at which no member is known, its operator has to hear
    /// why: this node may stay alone for it.
    fn note_failed(&self, peer: &Peer, status: &Status) {
        let address = peer.address();
        log::debug!("ping {address}: {status}");
        let seeds = self.seeds.borrow();
        let seed = seeds.iter().find(|seed| seed.1.iter().any(|known| known == address));
        let Some((name, _)) = seed.filter(|_| self.is_lonely(address)) else { return };
        let location = if name == address { String::new() } else { format!("at {address} ") };
        let why = match status.code {
            Code::Unauthenticated if self.pool.has_key() => {
                "has another cluster key than this node: STEMEDB_CLUSTER_KEY has to be the same \
                 on all nodes"
            }
            Code::Unauthenticated => {
                "asks for a cluster key, which this node lacks: set STEMEDB_CLUSTER_KEY"
            }
            _ if peer.is_refused() => {
                "refuses connections: nothing listens there; seeds are gRPC ports, by default 18182"
            }
            // The peer speaks of itself as this node.
            Code::FailedPrecondition => &format!("answers: \"{}\"", status.message),
            _ => &status.message,
        };
        warn_of_seed(name, &format!("{location}{why}"));
    }

    fn is_lonely(&self, address: &str) -> bool {
        self.driver.read(|replica, _| {
            replica.cluster().swim().unmatched_seeds().any(|seed| seed == address)
        })
    }

    /// What has to be the same on all nodes, as it is on this one.
    fn settings(&self) -> SharedSettings {
        self.driver.read(|replica, _| {
            let map = replica.cluster().map();
            let (shards, replication_factor) = (map.shards(), map.factor());
            SharedSettings { node: replica.node(), shards, replication_factor }
        })
    }

    /// Compares what nodes that connect say of their settings.
    pub fn hearer(self: Rc<Self>) -> SettingsHeard {
        Box::new(move |said| self.compare_settings(said))
    }

    fn compare_settings(&self, said: &[u8]) {
        let (own, Some(other)) = (self.settings(), SharedSettings::read(said)) else { return };
        let pairs = [
            ("shards", own.shards, other.shards),
            ("replication-factor", own.replication_factor, other.replication_factor),
        ];
        for (flag, own, said) in pairs.into_iter().filter(|(_, own, said)| own != said) {
            let node = other.node.to_string();
            let line = format_args!(
                "member {node} has --{flag} {said}, this node has {own}: it has to be the same on \
                 all nodes, or gateways look for claims where they are not"
            );
            log_limit::warn((module_path!(), &node, flag), line);
        }
    }

    /// Says goodbye, and waits until a few have heard it.
    pub async fn leave(&self) {
        self.driver.update(|replica, now, _| replica.handle_leave(now));
        let heard = async {
            while self.driver.read(|replica, _| replica.cluster().swim().calls_under_way() > 0) {
                Timer::after(Duration::from_millis(5)).await;
            }
        };
        future::or(heard, Timer::after(limits::GOAWAY_GRACE)).await;
    }

    /// Pings `target` for another member: whether it answered under its id, or lives by its calls.
    pub async fn relay(&self, target: &(NodeId, String), timeout: Duration) -> bool {
        let news = self.driver.update(|replica, now, _| replica.handle_relay(now, target.0));
        let Some(news) = news else { return true };
        let peer = self.pool.peer(&target.1);
        peer.forget_pause();
        let Ok(ack) = client::ping(&self.driver, &peer, (news, None), timeout).await else {
            return false;
        };
        let (is_ours, is_reached) = self.driver.update(|replica, now, _| {
            replica.handle_relayed(now, (target.0, &target.1), ack, peer.tag())
        });
        if !is_ours {
            self.is_foreign(&peer);
        }
        is_reached
    }

    fn carry_out(self: &Rc<Self>, output: Output) {
        let this = self.clone();
        match output {
            Output::Swim(Call::Ping { number, rpc_addr, updates, digest, timeout }) => {
                let news = (updates, digest);
                self.tasks.spawn(async move { this.ping(number, rpc_addr, news, timeout).await });
            }
            Output::Swim(Call::AskProbe { number, via, target, updates, timeout }) => {
                let asking =
                    async move { this.ask_probe((number, via), target, updates, timeout).await };
                self.tasks.spawn(asking);
            }
            Output::Push { to, rpc_addr, row } => {
                self.tasks.spawn(async move {
                    this.push(Target { node: Some(to), rpc_addr }, row).await
                });
            }
            Output::Sync(number, round, target) => {
                self.peers.begin_session((number, round), target);
            }
            Output::RoundBegan(round) => self.peers.begin_round(round),
            Output::RoundOver(round) => self.peers.end_round(round),
            Output::Swim(Call::Event(event)) | Output::Event(event) => {
                log_event(&event);
            }
            Output::Tagged(tag) => self.pool.identity().set_tag(tag),
            Output::Rebalanced(moved) => {
                let line = format_args!("shards rebalanced moved={moved}");
                log_limit::note(Level::Info, (module_path!(), "", "rebalanced shards"), line);
            }
        }
    }

    async fn ping(
        &self,
        number: CallNumber,
        address: String,
        news: (Vec<Update>, Option<u64>),
        timeout: Duration,
    ) {
        let peer = self.pool.peer(&address);
        let mut is_first = true;
        loop {
            let had_connection = peer.is_connected();
            peer.forget_pause();
            let answered = client::ping(&self.driver, &peer, news.clone(), timeout).await;
            let status = match answered {
                Ok(ack) => return self.acked(number, &peer, ack),
                Err(status) => status,
            };
            let (is_own, is_refused) = (peer.is_own(), peer.is_refused());
            let is_foreign = !is_refused && self.is_foreign(&peer);
            let cause = cause_of(status.code);
            let unacked =
                Unacked { is_first, had_connection, cause, is_own, is_refused, is_foreign };
            match unacked.next() {
                Next::Again => is_first = false,
                Next::Failed { failure, abandons_connection } => {
                    if abandons_connection {
                        peer.abandon_connection();
                    }
                    if failure != Failure::Own {
                        self.note_failed(&peer, &status);
                    }
                    return self.driver.update(|replica, now, _| {
                        replica.handle_probe_failed(now, number, failure);
                    });
                }
            }
        }
    }

    fn acked(&self, number: CallNumber, peer: &Peer, (ack, digest): (Ack, Option<u64>)) {
        let is_ours = self.driver.update(|replica, now, _| {
            replica.handle_ack(now, number, (peer.address(), ack, digest), peer.tag())
        });
        if !is_ours {
            self.is_foreign(peer);
        }
    }

    /// Whether the peer's last answer is of another cluster; says so.
    fn is_foreign(&self, peer: &Peer) -> bool {
        let identity = self.pool.identity();
        let both = identity.cluster().zip(peer.tag().and_then(Tag::settled));
        let foreign = both.filter(|(ours, theirs)| ours != theirs);
        if let Some((ours, theirs)) = foreign {
            identity.note_foreign(peer.address(), ours, theirs);
        }
        foreign.is_some()
    }

    async fn ask_probe(
        &self,
        (number, via): (CallNumber, String),
        target: (NodeId, String),
        updates: Vec<Update>,
        timeout: Duration,
    ) {
        let peer = self.pool.peer(&via);
        match client::probe_for(&self.driver, &peer, &target, updates, timeout).await {
            Ok((acked, news)) => {
                self.driver
                    .update(|replica, now, _| replica.handle_probed(now, number, acked, news));
            }
            Err(status) => {
                let is_unknown = status.code == Code::Unimplemented;
                self.driver.update(|replica, now, _| {
                    replica.handle_unprobed(now, number, (&via, is_unknown));
                });
            }
        }
    }

    async fn push(&self, target: Target, row: Row) {
        let Some(to) = target.node else { return };
        let end = match self.reads.row(row).await {
            Some(sealed) => {
                let peer = self.pool.peer(&target.rpc_addr);
                client::push(&self.driver, &peer, &sealed, limits::PUSH_MAX).await
            }
            None => PushEnd::Failed,
        };
        self.driver.update(|replica, _, _| {
            replica.handle_pushed((to, row), end);
        });
    }
}

fn cause_of(code: Code) -> UnackedCause {
    match code {
        Code::Unavailable => UnackedCause::Broken,
        Code::DeadlineExceeded => UnackedCause::Late,
        _ => UnackedCause::Error,
    }
}

/// Once a minute for each seed.
fn warn_of_seed(name: &str, why: &str) {
    let line = format_args!("seed {name}: {why}");
    log_limit::warn((module_path!(), name, "unreached seeds"), line);
}

fn log_event(event: &Event) {
    match event {
        Event::Changed(node, Some(state)) => {
            let line = format_args!("member {node} is {}", state.name());
            log_limit::note(Level::Info, (module_path!(), &node.to_string(), state.name()), line);
        }
        Event::Changed(node, None) => log::debug!("member {node} is forgotten"),
        Event::Moved(node, address) => {
            let line = format_args!("member {node} is at {address} now");
            log_limit::note(Level::Info, (module_path!(), &node.to_string(), "moves"), line);
        }
        Event::OwnSeed(address) => {
            let line = format_args!("the seed {address} is this node itself");
            log_limit::note(Level::Info, (module_path!(), address, "own seeds"), line);
        }
        Event::Reachable(node, false) => {
            let line = format_args!(
                "member {node} is reached only by its own calls: it is alive, but nothing answers \
                 at its address; see its firewall, NAT and STEMEDB_ADVERTISE_RPC_ADDR"
            );
            log_limit::warn((module_path!(), &node.to_string(), "unreachable"), line);
        }
        Event::Unanswered(node, address) => {
            let line = format_args!(
                "node {node} calls and is no member: nothing answers as {node} at {address}, the \
                 address that it gives; see its STEMEDB_ADVERTISE_RPC_ADDR, NAT and firewall"
            );
            log_limit::warn((module_path!(), &node.to_string(), "unanswered"), line);
        }
        Event::Reachable(node, true) => {
            let line = format_args!("member {node} is reached at its address again");
            log_limit::note(Level::Info, (module_path!(), &node.to_string(), "reached"), line);
        }
        Event::Duplicate(Some(address)) => {
            let line = format_args!(
                "another live node has this node's id, at {address}: neither sees the other as a \
                 member; one of them needs a data directory, or a STEMEDB_NODE_ID, of its own (in \
                 a copied data directory remove the file node-id)"
            );
            log_limit::error((module_path!(), address, "duplicate node ids"), line);
        }
        Event::Duplicate(None) => log::info!("no other live node has this node's id any more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// musl's allocator maps what is not much smaller than two pages for itself, and unmaps it when
    /// it is freed.
    const TASK_BYTES_MAX: usize = 2048;

    /// Bytes of the future that `call` would make; it is not called.
    fn future_bytes<A, F: Future>(_: impl FnOnce(A) -> F) -> usize {
        size_of::<F>()
    }

    /// A ping had 7,688 bytes: three copies of each future with a time limit in the next.
    #[test]
    fn calls_are_small_enough_to_share_pages() {
        type Ping = (&'static Membership, CallNumber, (Vec<Update>, Option<u64>));
        let ping = |(membership, number, news): Ping| {
            membership.ping(number, String::new(), news, Duration::ZERO)
        };
        type Push = (&'static Membership, Target, Row);
        let push = |(membership, target, row): Push| membership.push(target, row);
        for bytes in [future_bytes(ping), future_bytes(push)] {
            assert!(bytes <= TASK_BYTES_MAX, "{bytes} bytes");
        }
    }
}
