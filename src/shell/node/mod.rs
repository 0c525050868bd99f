//! A node from start to stop: lock, recover, bind, serve, drain, flush.
//!
//! In: settings. Out: an exit code. Never: goes on after a write or a flush failed.

mod displaced;
pub mod rebuild;
pub mod reload;
pub mod risks;
mod start_error;
mod stop;

use std::cell::Cell;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use async_channel::{Receiver, Sender};
use async_executor::LocalExecutor;
use futures_lite::future;

use self::displaced::displaced;
use self::rebuild::Rebuilt;
use self::reload::Reload;
use self::start_error::StartError;
use self::stop::Stop;
use crate::base::{Capacity, ClusterId, Moment, NodeId, Secret, Wall, capacity, limits};
use crate::cluster::address::OwnAddresses;
use crate::cluster::identity::Origin;
use crate::cluster::{self, Cluster};
use crate::config::Settings;
use crate::journal::{self, CommitQueue, Position};
use crate::replica::Replica;
use crate::shell::api::api_key::ApiKeyCheck;
use crate::shell::api::gateway::Gateway;
use crate::shell::api::readiness::Readiness;
use crate::shell::api::starting;
use crate::shell::api::{Api, Context};
use crate::shell::disk::{self, Checkpoint, Directory, Disk, Fault, Indexer, Reader};
use crate::shell::driver::Driver;
use crate::shell::driver::bulk::BulkReads;
use crate::shell::driver::clocks;
use crate::shell::driver::verify::Verifier;
use crate::shell::grpc;
use crate::shell::http;
use crate::shell::http::policed::Policed;
use crate::shell::peers::addresses;
use crate::shell::peers::anti_entropy::Peers;
use crate::shell::peers::cluster_id;
use crate::shell::peers::key_holders::KeyHolders;
use crate::shell::peers::membership::Membership;
use crate::shell::peers::pool::Pool;
use crate::shell::repair::fetch::Repairer;
use crate::shell::repair::scrub::{Scrubbed, Scrubber};
use crate::shell::runtime::clock;
use crate::shell::runtime::log_limit;
use crate::shell::runtime::logger;
use crate::shell::runtime::memory;
use crate::shell::runtime::process;
use crate::shell::runtime::rate_limit::RateLimiter;
use crate::shell::runtime::reactor::{self, Timer};
use crate::shell::runtime::secrets;
use crate::shell::runtime::signals::{Signal, Signals};
use crate::shell::runtime::socket::TcpListener;
use crate::shell::runtime::supervisor::Supervisor;
use crate::shell::runtime::tasks::Tasks;
use crate::shell::services::edge::EdgeService;
use crate::shell::services::sync::SyncService;
use crate::sketch::SketchKey;
use crate::swim::{self, State, Update};
use crate::wire::http::Cors;
use crate::wire::http::policy::{Hosts, Policy};
use crate::wire::metrics::GrpcCount;

/// A write or a flush failed: what the page cache holds is unknown, a restart recovers.
const EXIT_DISK: u8 = 74;
/// How often free memory goes back to the system after a burst.
const TRIM_INTERVAL: Duration = Duration::from_secs(10);

/// Runs a node until it is asked to stop or its disk fails.
pub fn run(settings: &Settings) -> ExitCode {
    memory::tune_allocator();
    // The signals first: threads inherit that they are blocked.
    let signals = match prepare(settings) {
        Ok(signals) => signals,
        Err(error) => {
            eprintln!("stemedb-edge: {error}");
            return ExitCode::from(error.exit_code());
        }
    };
    let supervisor = Rc::new(Supervisor::of_environment());
    let code = match start(settings, (signals, supervisor)) {
        Ok(Some(node)) => node.serve(settings),
        Ok(None) => {
            log::info!("stopped before the log was read");
            ExitCode::SUCCESS
        }
        Err(why) => {
            logger::last_words("node", &format!("cannot start: {why}"));
            ExitCode::from(why.exit_code())
        }
    };
    logger::drain();
    code
}

fn prepare(settings: &Settings) -> Result<Signals, StartError> {
    let signals = Signals::new(Signal::ALL)?;
    logger::start(reload::log_level(settings)?, settings.log_format)?;
    Ok(signals)
}

/// A node that is bound and recovered, and serves from now on.
struct Node {
    capacity: Capacity,
    memory: u64,
    signals: Signals,
    supervisor: Rc<Supervisor>,
    /// Asks to reload, and who is asked.
    reloads: (Sender<()>, Receiver<()>),
    driver: Rc<Driver>,
    repairer: Repairer,
    scrubber: Scrubber,
    cluster_key: Option<Secret>,
    api_key_check: ApiKeyCheck,
    api: TcpListener,
    gateway: TcpListener,
    rpc: TcpListener,
    own_addresses: OwnAddresses,
    /// Of API and gateway.
    policies: [Policy; 2],
    checkpoint: Checkpoint,
    directory: Directory,
}

/// Binds before the first change on disk; `None` if it is asked to stop meanwhile.
fn start(
    settings: &Settings,
    (signals, supervisor): (Signals, Rc<Supervisor>),
) -> Result<Option<Node>, StartError> {
    let memory = settings.memory.or_else(memory::available).unwrap_or(capacity::FULL);
    // A machine that has less at this moment is to start all the same.
    let memory = memory.max(capacity::LEAST);
    let capacity = Capacity::of(memory).within(process::sockets_end());
    let api = bind("bind-addr", settings.bind_addr, &capacity)?;
    let gateway = bind("gateway-addr", settings.gateway_addr, &capacity)?;
    let rpc = bind("rpc-addr", settings.rpc_addr, &capacity)?;
    let directory = Directory::open(&settings.data_dir)?;
    let key = settings.cluster_key.as_ref();
    let cluster_key = key.map(|key| secrets::load(key, "STEMEDB_CLUSTER_KEY")).transpose()?;
    let key = settings.api_key.as_ref();
    let api_key = key.map(|key| secrets::load(key, "STEMEDB_ROOT_API_KEY")).transpose()?;
    let node = disk::node_id(&settings.data_dir, settings.node_id)?;
    let (api_bound, gateway_bound) = (api.local_addr()?, gateway.local_addr()?);
    let rpc_bound = rpc.local_addr()?;
    let cluster = cluster_id::known(settings)?;
    let (me, own_addresses) = introduction(settings, node, (rpc_bound, api_bound));
    let reloads = async_channel::bounded(1);
    let log = directory.log().to_owned();
    let written = clocks::warn_at_start(clock::wall(), &log);
    let key = SketchKey::new(cluster_key.as_ref());
    let checkpoint = Checkpoint::new(&settings.data_dir, key);
    let kept = checkpoint.clone();
    let api_key_check = ApiKeyCheck::new(api_key.as_ref(), settings.open_metrics);
    let policies = [api_bound, gateway_bound].map(|bound| policy(settings, bound));
    let [of_api, of_gateway] = policies.clone();
    let listeners = [(&api, of_api), (&gateway, of_gateway)];
    let reading = move || rebuild::rebuild(&log, key, &kept, capacity.rows);
    let bounds = http::Bounds::of(&capacity);
    let recovered = starting::serve_while(
        listeners,
        (api_key_check.clone(), bounds),
        (&signals, &reloads.0, &supervisor),
        reading,
    );
    let Some(recovered) = recovered? else { return Ok(None) };
    let found = recovered?;
    let (unreadable, unread) = async_channel::bounded(limits::UNREADABLE_MAX);
    let kept = (unreadable.clone(), checkpoint.clone());
    let driver = drive((settings, &capacity), &directory, (me, cluster), (found, written), kept)?;
    log::info!("memory budget={} MiB", memory >> 20);
    log::info!("listening api={api_bound} gateway={gateway_bound} rpc={rpc_bound} node={node}");
    risks::warn(settings);
    let scrubber = Scrubber::new(driver.clone(), directory.log(), unreadable);
    let repairer = Repairer::new(driver.clone(), unread, checkpoint.clone());
    Ok(Some(Node {
        capacity,
        memory,
        signals,
        supervisor,
        reloads,
        driver,
        repairer,
        scrubber,
        cluster_key,
        api_key_check,
        api,
        gateway,
        rpc,
        own_addresses,
        policies,
        checkpoint,
        directory,
    }))
}

/// What this node says of itself at first, and what is known of its addresses.
fn introduction(
    settings: &Settings,
    node: NodeId,
    (rpc_bound, api_bound): (SocketAddr, SocketAddr),
) -> (Update, OwnAddresses) {
    let own_addresses = addresses::at_start(
        (settings.advertise_rpc_addr.as_ref(), rpc_bound),
        (settings.advertise_api_addr.as_ref(), api_bound),
    );
    let (rpc_addr, api_addr) = own_addresses.advertised();
    let me = Update {
        node,
        rpc_addr,
        api_addr,
        state: State::Alive,
        lamport: 0,
        // Higher than in any life before.
        incarnation: clock::wall().0,
    };
    (me, own_addresses)
}

/// What a listener lets through. The name that gateways forward to is one of the node's own.
fn policy(settings: &Settings, bound: SocketAddr) -> Policy {
    let advertised = settings.advertise_api_addr.as_ref().map(|address| address.host.as_str());
    Policy {
        hosts: Hosts::new(settings.allowed_hosts.as_deref(), advertised, bound.ip()),
        cors: Cors { origins: settings.allowed_origins.clone() },
    }
}

fn bind(
    flag: &'static str,
    address: SocketAddr,
    capacity: &Capacity,
) -> Result<TcpListener, StartError> {
    let bound = TcpListener::bind(address).and_then(|listener| {
        capacity.socket.map_or(Ok(()), |bytes| listener.bound_buffers(bytes))?;
        Ok(listener)
    });
    bound.map_err(|error| StartError::Bind(flag, address, error))
}

/// The node with what recovery found, and the threads that it writes and verifies by.
fn drive(
    (settings, capacity): (&Settings, &Capacity),
    directory: &Directory,
    (me, kept): (Update, Option<ClusterId>),
    (Rebuilt { recovered, store, rest }, written): (Rebuilt, Wall),
    (unreadable, checkpoint): (Sender<Position>, Checkpoint),
) -> Result<Rc<Driver>, Fault> {
    let reader = Reader::watched(directory.log(), unreadable);
    let config = journal::Config {
        durability: settings.durability,
        bytes_max: settings.max_log_bytes,
        waiting_bytes_max: capacity.queue,
        batch_bytes_max: capacity.batch,
        zeros: settings.zeros_ahead,
        seed: fastrand::u64(..),
    };
    let queue = CommitQueue::new(config, recovered.tail, recovered.bytes);
    let disk = Disk::start(directory, recovered.tail)?;
    let verifier = Verifier::new(settings.skip_signatures);
    memory::trim();
    let cluster = cluster::Config {
        swim: swim::Config { probe_interval: settings.probe_interval },
        shards: settings.shards,
        replication_factor: settings.replication_factor,
        sync_interval: settings.anti_entropy_interval,
    };
    let proposal = ClusterId(disk::random_id()?);
    let (has_seeds, is_new) = (!settings.seeds.is_empty(), store.is_empty());
    let origin = Origin { kept, proposal, has_seeds, is_new };
    let cluster = Cluster::new(cluster, me, fastrand::u64(..), Moment::ZERO);
    let cluster = cluster.identified(origin, Moment::ZERO);
    let mut replica = Replica::new(cluster, queue, store);
    disk.obstacle().into_iter().for_each(|obstacle| replica.handle_obstacle(obstacle));
    replica.resume_clock(clock::wall(), written, &reader);
    let quarantined = (&recovered.damages_listed[..], recovered.damages);
    replica.handle_quarantined(Moment::ZERO, quarantined, !recovered.is_unrepaired, &reader);
    let indexer = Indexer::new(checkpoint);
    rest.into_iter().for_each(|spill| indexer.submit(spill));
    let driver = Driver::new(replica, (disk, indexer, reader), verifier);
    driver.bound_queries(capacity.queries);
    Ok(driver)
}

impl Node {
    fn serve(self, settings: &Settings) -> ExitCode {
        let executor = Rc::new(LocalExecutor::new());
        let reactor = reactor::current().expect("the listeners have made it");
        settings.warnings.iter().for_each(|warning| log::warn!("{warning}"));
        let tasks = Tasks::new(executor.clone());
        let key = self.cluster_key.as_ref();
        let pool = Pool::new(tasks.clone(), key);
        let limiter = RateLimiter::new(settings.sync_rate);
        let peers = Peers::new(self.driver.clone(), pool.clone(), tasks.clone(), limiter);
        let reads = BulkReads::new(self.driver.clone());
        let state = (self.driver.clone(), reads.clone());
        let membership = Membership::start(state, pool.clone(), peers.clone(), tasks.clone());
        membership.find_seeds(&settings.seeds);
        keep_going((&self.driver, &self.supervisor), &tasks);
        let scrubbed = self.scrubber.done();
        keep_whole(self.repairer, pool.clone(), self.scrubber, settings.scrub_rate, &tasks);
        let (stop, stopped) = async_channel::bounded::<()>(1);
        let holders = Rc::new(KeyHolders::new(key.is_some()));
        let sync = SyncService::new(self.driver.clone(), reads.clone(), holders.clone());
        let edge = EdgeService::new(self.driver.clone(), reads, membership.clone());
        let services: Vec<Box<dyn grpc::Service>> = vec![Box::new(sync), Box::new(edge)];
        let grpc = grpc::Server::new(services, key, grpc::Bounds::of(&self.capacity));
        cluster_id::follow(&self.driver, &pool, settings.data_dir.clone());
        grpc.identify_by(addresses::follow(&self.driver, self.own_addresses, &pool, &tasks));
        grpc.observe_settings(membership.clone().hearer());
        let keyed = (self.driver.clone(), pool.clone(), grpc.clone(), holders.clone());
        let reload = Reload::new(settings, self.api_key_check.clone(), keyed);
        tasks.spawn(reload.run(self.reloads.1.clone(), self.supervisor.clone()));
        let counts: [Rc<http::Counts>; 2] = Default::default();
        let readiness = Readiness::new(self.driver.clone(), !settings.seeds.is_empty());
        let context =
            context((settings, self.memory, &readiness), (&pool, &grpc), &counts, scrubbed);
        let api = Api::new(self.driver.clone(), peers, self.api_key_check.clone(), context);
        let calls = (pool.clone(), holders, self.capacity.http_unsent);
        let gateway = Gateway::new(api.clone(), self.driver.clone(), calls);
        let ([at_api, at_gateway], [of_api, of_gateway]) = (counts, self.policies);
        let bounds = http::Bounds::of(&self.capacity);
        let api = http::Server::new(Policed::new(api, of_api), bounds, at_api);
        let gateway = http::Server::new(Policed::new(gateway, of_gateway), bounds, at_gateway);
        let serving = async {
            let rpc = grpc.serve(&executor, self.rpc, until(stopped.clone()));
            let api = api.serve(&executor, self.api, until(stopped.clone()));
            let gateway = gateway.serve(&executor, self.gateway, until(stopped.clone()));
            self.supervisor.note_ready();
            future::zip(rpc, future::zip(api, gateway)).await;
            ExitCode::SUCCESS
        };
        let asks = (self.signals, self.reloads.0, self.supervisor.clone());
        let ending = Stop::new(asks, readiness, grpc.clone());
        tasks.spawn(ending.health());
        let asked = async {
            ending.drain(settings.drain_delay).await;
            membership.leave().await;
            stop.close();
            // One more signal ends the waiting for requests that run.
            ending.next().await;
            ExitCode::SUCCESS
        };
        let failed = async {
            let fault =
                future::or(self.driver.run_disk(), displaced(&self.driver, &self.directory)).await;
            log::error!("{fault}; nothing more can be written, restart to recover");
            ExitCode::from(EXIT_DISK)
        };
        let ended = future::or(failed, future::or(asked, serving));
        let code = reactor.block_on(&executor, ended);
        stop::keep_rest(code, &self.driver, &self.checkpoint);
        log::info!("stopped");
        code
    }
}

/// Repairs what readers and, if it may read so many bytes a second, the scrubber find damaged.
fn keep_whole(
    repairer: Repairer,
    pool: Rc<Pool>,
    scrubber: Scrubber,
    scrub_rate: Option<u64>,
    tasks: &Tasks,
) {
    tasks.spawn(async move { repairer.run(&pool).await });
    if let Some(rate) = scrub_rate {
        tasks.spawn(async move { scrubber.run(rate).await });
    }
}

/// What the API shows of the rest of the node.
fn context(
    (settings, memory_bytes, readiness): (&Settings, u64, &Rc<Readiness>),
    (pool, grpc): (&Rc<Pool>, &grpc::Server),
    [at_api, at_gateway]: &[Rc<http::Counts>; 2],
    scrubbed: Rc<Cell<Scrubbed>>,
) -> Context {
    let (connections, counts, pool) = (grpc.clone(), grpc.clone(), pool.clone());
    let ended = grpc.clone();
    Context {
        readiness: readiness.clone(),
        memory_bytes,
        root_agents: settings.root_agents.clone(),
        ended: Box::new(move || {
            let endings = ended.endings();
            endings.map(|(ending, count)| ("grpc", ending.name(), count)).collect()
        }),
        grpc_connections: Box::new(move || connections.connections()),
        peer_connections: Box::new(move || pool.connections()),
        grpc_counts: Box::new(move || {
            let counts = counts.counts().into_iter();
            counts
                .map(|(_, method, code, count)| GrpcCount { method, code: code.name(), count })
                .collect()
        }),
        http_connections: at_api.clone(),
        gateway_connections: at_gateway.clone(),
        scrubbed,
    }
}

/// All that goes on by itself.
fn keep_going((driver, supervisor): (&Rc<Driver>, &Rc<Supervisor>), tasks: &Tasks) {
    let alive = supervisor.clone();
    tasks.spawn(async move { alive.keep_alive().await });
    tasks.spawn(run_driver(driver.clone()));
    if memory::KEEPS_FREE_PAGES {
        tasks.spawn(trim_after_bursts());
    }
    tasks.spawn(log_limit::log_left_out());
}

/// Deadlines, queries in slices, runs of the index: all that goes on without a call.
async fn run_driver(driver: Rc<Driver>) {
    let scans = future::or(driver.run_deadlines(), driver.run_scans());
    future::or(driver.run_indexer(), scans).await;
}

/// Done when the node is asked to stop.
async fn until(stopped: Receiver<()>) {
    // The channel carries nothing: it closes.
    let _ = stopped.recv().await;
}

/// A burst of connections leaves free memory in the heap that the allocator keeps.
async fn trim_after_bursts() {
    let mut trimmer = memory::Trimmer::new(memory::resident());
    loop {
        Timer::after(TRIM_INTERVAL).await;
        if trimmer.is_due(memory::resident()) {
            memory::trim();
        }
    }
}
