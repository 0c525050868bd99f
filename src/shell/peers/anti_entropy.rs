//! Runs sessions of anti-entropy: carries a session's calls to its peer and the answers back.
//!
//! In: a peer, and what the session wants asked. Out: a report. Calls under way are as many as the
//! session asks for, each with its deadline. Never: decides what to ask.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use async_channel::Sender;
use bytes::Bytes;

use crate::base::{NodeId, limits};
use crate::cluster::Target;
use crate::replica::SessionCounts;
use crate::shell::driver::{Driver, Errand};
use crate::shell::peers::client;
use crate::shell::peers::peer::Peer;
use crate::shell::peers::pool::Pool;
use crate::shell::runtime::log_limit;
use crate::shell::runtime::rate_limit::RateLimiter;
use crate::shell::runtime::reactor::yield_now;
use crate::shell::runtime::tasks::Tasks;
use crate::sync::{Reply, SessionReport, WireBytes};
use crate::wire::grpc::SYNC_SERVICE;
use crate::wire::metrics::Cycles;
use crate::wire::pb::sync as pb;

type Asked = Pin<Box<dyn Future<Output = (u32, Result<Reply, String>, WireBytes)>>>;

/// What one peer gave and took in a round.
#[derive(Clone, Debug)]
pub struct PeerReport {
    /// The peer's address.
    pub address: String,
    /// What came of it.
    pub report: SessionReport,
}

/// Who waits for which members' reports.
#[derive(Default)]
struct Agenda {
    targets: Vec<Target>,
    waiting: Vec<Sender<Vec<PeerReport>>>,
    is_running: bool,
}

/// Runs anti-entropy with members, one after the other.
pub struct Peers {
    driver: Rc<Driver>,
    pool: Rc<Pool>,
    tasks: Tasks,
    limiter: Rc<RateLimiter>,
    agenda: RefCell<Agenda>,
}

impl Peers {
    /// Nothing is dialled before somebody asks.
    pub fn new(
        driver: Rc<Driver>,
        pool: Rc<Pool>,
        tasks: Tasks,
        limiter: RateLimiter,
    ) -> Rc<Peers> {
        let agenda = RefCell::default();
        Rc::new(Peers { driver, pool, tasks, limiter: Rc::new(limiter), agenda })
    }

    /// Levels with every member now, and tells how it went. Goes on when who asked has gone.
    pub async fn sync_now(self: &Rc<Self>) -> Vec<PeerReport> {
        let targets = self.driver.read(|replica, _| replica.cluster().targets());
        let (reports, answer) = async_channel::bounded(1);
        self.agenda.borrow_mut().waiting.push(reports);
        self.sync_with(targets);
        answer.recv().await.unwrap_or_default()
    }

    /// Levels with these members, now or after those who come first.
    pub fn sync_with(self: &Rc<Self>, targets: Vec<Target>) {
        let mut agenda = self.agenda.borrow_mut();
        for target in targets {
            if !agenda.targets.contains(&target) {
                agenda.targets.push(target);
            }
        }
        if !std::mem::replace(&mut agenda.is_running, true) {
            let peers = self.clone();
            self.tasks.spawn(async move { peers.run_agenda().await });
        }
    }

    /// Sessions that ended since the start, by peer.
    pub fn cycles(&self) -> Vec<(NodeId, Cycles)> {
        let cycles = |SessionCounts { all, useless }| Cycles { all, useless };
        self.driver.read(|replica, _| {
            replica.session_counts().map(|(node, counts)| (node, cycles(counts))).collect()
        })
    }

    async fn run_agenda(&self) {
        loop {
            let (targets, waiting) = {
                let mut agenda = self.agenda.borrow_mut();
                agenda.is_running = !agenda.targets.is_empty() || !agenda.waiting.is_empty();
                if !agenda.is_running {
                    return;
                }
                (std::mem::take(&mut agenda.targets), std::mem::take(&mut agenda.waiting))
            };
            let mut reports = Vec::with_capacity(targets.len());
            for target in targets {
                reports.push(self.run_session(target).await);
            }
            for waiting in waiting {
                // Whoever asked may have gone.
                let _ = waiting.try_send(reports.clone());
            }
        }
    }

    async fn run_session(&self, target: Target) -> PeerReport {
        let Target { node, rpc_addr: address } = target;
        let peer = self.pool.peer(&address);
        // Who is asked now is thought to be there, whatever became of earlier dials.
        peer.forget_pause();
        let report = self.level(node, &peer).await;
        match &report.error {
            Some(error) => {
                let line = format_args!("sync with {address}: {error}");
                log_limit::warn((module_path!(), &address, "failed syncs"), line);
            }
            None => log::debug!("sync with {address}: {report:?}"),
        }
        PeerReport { address, report }
    }

    /// Levels this node with one peer. A member is known by name; who is behind a seed is asked
    /// first.
    async fn level(&self, node: Option<NodeId>, peer: &Rc<Peer>) -> SessionReport {
        let start = Instant::now();
        let (known, bytes) = match node {
            Some(node) => (Ok(node), WireBytes::default()),
            None => greet(&self.driver, peer).await,
        };
        let mut report = match known {
            Ok(node) => {
                let report = run((&self.driver, &self.limiter), (node, peer)).await;
                SessionReport { node_id: Some(node), ..report }
            }
            Err(reason) => SessionReport { error: Some(reason), ..SessionReport::default() },
        };
        report.bytes_out += bytes.sent;
        report.bytes_in += bytes.received;
        report.ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        report
    }
}

/// Asks a peer who it is.
async fn greet(driver: &Driver, peer: &Rc<Peer>) -> (Result<NodeId, String>, WireBytes) {
    let node_id = Bytes::copy_from_slice(&driver.read(|replica, _| replica.node()).0);
    let request = pb::PingRequest { node_id, updates: Vec::new() };
    let mut bytes = WireBytes::default();
    let answer =
        client::call::<pb::PingResponse>(peer, SYNC_SERVICE, "Ping", &request, &mut bytes).await;
    let node_id = answer.and_then(|answer| {
        NodeId::from_slice(&answer.node_id)
            .ok_or_else(|| format!("the peer's node_id has {} bytes, not 16", answer.node_id.len()))
    });
    let own = driver.read(|replica, _| replica.node());
    let other = node_id.and_then(|node_id| match node_id == own {
        true => Err("the peer has this node's own id".to_owned()),
        false => Ok(node_id),
    });
    (other, bytes)
}

async fn run(
    (driver, limiter): (&Rc<Driver>, &Rc<RateLimiter>),
    (node, peer): (NodeId, &Rc<Peer>),
) -> SessionReport {
    // Everything a session wants at one time fits, so that the driver never finds it full.
    let (errands, inbox) = async_channel::bounded(2 * limits::CALLS_IN_FLIGHT_MAX);
    let session = driver.start_session(node, errands).await;
    let mut asked: Vec<Asked> = Vec::new();
    let report = loop {
        let mut next = std::pin::pin!(inbox.recv());
        let event = poll_fn(|context| match poll_any(&mut asked, context) {
            Poll::Ready(answered) => Poll::Ready(Ok(answered)),
            Poll::Pending => next.as_mut().poll(context).map(Err),
        });
        match event.await {
            Ok((number, reply, bytes)) => {
                driver.peer_answered((session, number), reply, bytes);
            }
            Err(Ok(Errand::Call(number, request))) => {
                let asking = client::ask(driver.clone(), peer.clone(), (session, number), request);
                let limiter = limiter.clone();
                asked.push(Box::pin(async move {
                    let answered = asking.await;
                    limiter.spend(answered.2.body).await;
                    answered
                }));
            }
            Err(Ok(Errand::Turn)) => {
                yield_now().await;
                driver.take_turn(session);
            }
            Err(Ok(Errand::Done(report))) => break report,
            Err(Err(_)) => return SessionReport::default(),
        }
    };
    report
}

fn poll_any(
    asked: &mut Vec<Asked>,
    context: &mut Context<'_>,
) -> Poll<(u32, Result<Reply, String>, WireBytes)> {
    for index in 0..asked.len() {
        if let Poll::Ready(answered) = asked[index].as_mut().poll(context) {
            drop(asked.swap_remove(index));
            return Poll::Ready(answered);
        }
    }
    Poll::Pending
}
