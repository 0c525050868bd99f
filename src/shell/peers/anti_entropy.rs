//! Runs sessions of anti-entropy: carries a session's calls to its peer and the answers back.
//!
//! In: a peer, and what the session wants asked. Out: a report. Calls under way are as many as the
//! session asks for, each with its deadline. Never: decides what to ask, or which peer is next.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use async_channel::Sender;
use litemap::LiteMap;

use crate::base::{NodeId, limits};
use crate::cluster::{RoundNumber, SessionNumber, Target};
use crate::shell::driver::{Driver, SessionCommand};
use crate::shell::peers::client;
use crate::shell::peers::peer::Peer;
use crate::shell::peers::pool::Pool;
use crate::shell::runtime::log_limit;
use crate::shell::runtime::rate_limit::RateLimiter;
use crate::shell::runtime::reactor::yield_now;
use crate::shell::runtime::tasks::Tasks;
use crate::sync::{Reply, SessionCounts, SessionReport, WireBytes};

type Asked = Pin<Box<dyn Future<Output = (u32, Result<Reply, String>, WireBytes)>>>;

/// What one peer gave and took in a round.
#[derive(Clone, Debug)]
pub struct PeerReport {
    /// The peer's address.
    pub address: String,
    /// What the session came to.
    pub report: SessionReport,
}

/// A caller that waits for a round.
type Caller = Sender<Vec<PeerReport>>;

/// Reports of a round under way, and the callers that wait for them.
#[derive(Default)]
struct RoundReports {
    /// Callers that asked before it began: its end answers them.
    callers: Vec<Caller>,
    reports: Vec<PeerReport>,
}

/// Runs the sessions that the queue begins.
pub struct Peers {
    driver: Rc<Driver>,
    pool: Rc<Pool>,
    tasks: Tasks,
    limiter: Rc<RateLimiter>,
    /// Callers that asked since the last round began: the next one is theirs.
    callers: RefCell<Vec<Caller>>,
    rounds: RefCell<LiteMap<RoundNumber, RoundReports>>,
}

impl Peers {
    /// Nothing is dialled before the first session.
    pub fn new(
        driver: Rc<Driver>,
        pool: Rc<Pool>,
        tasks: Tasks,
        limiter: RateLimiter,
    ) -> Rc<Peers> {
        let (callers, rounds) = Default::default();
        Rc::new(Peers { driver, pool, tasks, limiter: Rc::new(limiter), callers, rounds })
    }

    /// Reconciles with every member now. Out: how it went. Goes on when the caller has gone.
    pub async fn sync_now(&self) -> Vec<PeerReport> {
        let (reports, answer) = async_channel::bounded(1);
        self.callers.borrow_mut().push(reports);
        self.driver.update(|replica, now, _| replica.handle_sync_request(now));
        answer.recv().await.unwrap_or_default()
    }

    /// A round begins, which the callers until now wait for.
    pub(super) fn begin_round(&self, round: RoundNumber) {
        let callers = self.callers.take();
        self.rounds.borrow_mut().insert(round, RoundReports { callers, reports: Vec::new() });
    }

    /// All its sessions have ended.
    pub(super) fn end_round(&self, round: RoundNumber) {
        let Some(RoundReports { callers, reports }) = self.rounds.borrow_mut().remove(&round)
        else {
            return;
        };
        for caller in callers {
            // The caller may have gone.
            let _ = caller.try_send(reports.clone());
        }
    }

    /// Runs a session with this peer, for the reports of that round.
    pub(super) fn begin_session(
        self: &Rc<Self>,
        (number, round): (SessionNumber, RoundNumber),
        target: Target,
    ) {
        let peers = self.clone();
        self.tasks.spawn(async move {
            let report = peers.run_session(number, target).await;
            if let Some(round) = peers.rounds.borrow_mut().get_mut(&round) {
                round.reports.push(report);
            }
            peers.driver.update(|replica, now, _| replica.handle_session_over(now, number));
        });
    }

    /// Sessions that ended since the start, by peer.
    pub fn cycles(&self) -> Vec<(NodeId, SessionCounts)> {
        self.driver.read(|replica, _| replica.session_counts().collect())
    }

    async fn run_session(&self, number: SessionNumber, target: Target) -> PeerReport {
        let Target { node, rpc_addr: address } = target;
        let peer = self.pool.peer(&address);
        // The cluster believes that it is there, whatever became of earlier dials.
        peer.forget_pause();
        let report = self.reconcile((number, node), &peer).await;
        match &report.error {
            Some(error) => {
                let line = format_args!("sync with {address}: {error}");
                log_limit::warn((module_path!(), &address, "failed syncs"), line);
            }
            None => log::debug!("sync with {address}: {report:?}"),
        }
        PeerReport { address, report }
    }

    /// Reconciles with one peer. A member is known by its id; the node behind a seed is asked for
    /// it first.
    async fn reconcile(
        &self,
        (number, node): (SessionNumber, Option<NodeId>),
        peer: &Rc<Peer>,
    ) -> SessionReport {
        let start = Instant::now();
        let (known, bytes) = match node {
            Some(node) => (Ok(node), WireBytes::default()),
            None => greet(&self.driver, peer).await,
        };
        let mut report = match known {
            Ok(node) => {
                let session = (number, node);
                let report = run((&self.driver, &self.limiter), (session, peer)).await;
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

/// Asks a peer for its id.
async fn greet(driver: &Driver, peer: &Rc<Peer>) -> (Result<NodeId, String>, WireBytes) {
    let mut bytes = WireBytes::default();
    let node_id = client::greet(driver, peer, &mut bytes).await;
    let node_id = node_id.map_err(|error| error.to_string());
    let own = driver.read(|replica, _| replica.node());
    let other = node_id.and_then(|node_id| match node_id == own {
        true => Err("the peer has this node's own id".to_owned()),
        false => Ok(node_id),
    });
    (other, bytes)
}

async fn run(
    (driver, limiter): (&Rc<Driver>, &Rc<RateLimiter>),
    (session, peer): ((SessionNumber, NodeId), &Rc<Peer>),
) -> SessionReport {
    // Everything a session wants at one time fits, so that the driver never finds it full.
    let (commands, inbox) = async_channel::bounded(2 * limits::CALLS_IN_FLIGHT_MAX);
    let session = driver.start_session(session, commands).await;
    let mut asked: Vec<Asked> = Vec::new();
    loop {
        let mut next = std::pin::pin!(inbox.recv());
        let event = poll_fn(|context| match poll_any(&mut asked, context) {
            Poll::Ready(answered) => Poll::Ready(Ok(answered)),
            Poll::Pending => next.as_mut().poll(context).map(Err),
        });
        match event.await {
            Ok((number, reply, bytes)) => {
                driver.peer_answered((session, number), reply, bytes);
            }
            Err(Ok(SessionCommand::Call(number, request))) => {
                let asking = client::ask(driver.clone(), peer.clone(), (session, number), request);
                let limiter = limiter.clone();
                asked.push(Box::pin(async move {
                    let answered = asking.await;
                    limiter.spend(answered.2.body).await;
                    answered
                }));
            }
            Err(Ok(SessionCommand::Yield)) => {
                yield_now().await;
                driver.resume_session(session);
            }
            Err(Ok(SessionCommand::Done(report))) => break report,
            Err(Err(_)) => return SessionReport::default(),
        }
    }
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
