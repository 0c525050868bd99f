//! The gateway: what has a subject goes to a live replica of the subject's shard, everything else
//! is this node's to answer.
//!
//! In: requests of the API's routes. Out: the API's answers, of this node where it is a replica,
//! else of the first replica that answers. A replica that cannot be reached, breaks off, dies or
//! is overloaded is followed by the next one; a claim may reach two of them, and is the same
//! claim. The gateway waits for one that is slow: another would do the same work again. It
//! passes on to the replica that the client has left. A request with an API key goes to members
//! that have shown the cluster key alone: else this node answers it itself.
//!
//! Never: forwards what was forwarded, puts two stamps on one claim, holds more of other nodes'
//! answers than its budget, asks two replicas at once.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use futures_lite::future;
use http::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;

use crate::base::{FairSlots, NodeId, limits};
use crate::journal::Obstacle;
use crate::shell::api::Api;
use crate::shell::driver::Driver;
use crate::shell::http::client::{ClientLink, ExchangeError};
use crate::shell::http::{Body, Handler, refuse};
use crate::shell::peers::key_holders::KeyHolders;
use crate::shell::runtime::budget::{Budget, Share};
use crate::shell::runtime::reactor::Timer;
use crate::shell::runtime::resolve::resolve;
use crate::shell::runtime::timeout::within;
use crate::swim::State;
use crate::wire::http::{
    AGENT_ID, ANSWERED_BY, API_KEY, FORWARDED, FORWARDED_FOR, REQUEST_ID, Route, STAMP, client,
    route, stamp_text,
};
use crate::wire::json;
use crate::wire::metrics::GatewayOutcome;
use crate::wire::rejection::Rejection;

/// How often the map is looked at while a failed request waits for it to change.
const REMAP_PAUSE: Duration = Duration::from_millis(20);
/// How often a node that is waited for is looked at: it dies after a second or more.
const ALIVE_PAUSE: Duration = Duration::from_millis(250);

/// Routes requests.
pub struct Gateway {
    api: Rc<Api>,
    driver: Rc<Driver>,
    holders: Rc<KeyHolders>,
    /// Connections without a request, the most lately used last.
    idle: RefCell<Vec<(String, ClientLink)>>,
    held: Rc<Budget>,
    /// Calls that wait for other nodes, by the hosts that made them.
    calls: RefCell<FairSlots<u64>>,
}

/// A call's slot; given back when dropped.
struct Call<'a> {
    calls: &'a RefCell<FairSlots<u64>>,
    peer: u64,
}

/// A request on its way to another node.
struct Forward {
    method: Method,
    target: String,
    headers: Vec<(http::HeaderName, HeaderValue)>,
    body: Bytes,
    /// The host that sent it.
    peer: u64,
}

/// What another node answered.
type BackendAnswer = Response<Full<Bytes>>;

/// Another node that may answer.
#[derive(PartialEq, Eq)]
struct Backend {
    node: NodeId,
    api_addr: String,
}

impl Gateway {
    /// Routes by the map of the node behind `driver`; answers as `api` does. Of other nodes'
    /// answers it holds up to `unsent_max` bytes.
    pub fn new(
        api: Rc<Api>,
        driver: Rc<Driver>,
        holders: Rc<KeyHolders>,
        unsent_max: usize,
    ) -> Rc<Gateway> {
        let held = Budget::new(unsent_max);
        let calls = RefCell::new(FairSlots::new(limits::QUERIES_WAITING_MAX));
        Rc::new(Gateway { api, driver, holders, idle: RefCell::default(), held, calls })
    }

    /// What to forward, and for which subject; `None` if this node answers whatever it holds.
    async fn plan(
        &self,
        head: &Parts,
        body: &mut Body,
    ) -> Result<Option<(String, Forward)>, Rejection> {
        self.api.admit(head)?;
        if head.headers.contains_key(&FORWARDED) {
            return Ok(None);
        }
        let route = route(&head.method, &head.uri)?;
        let own = self.driver.read(|replica, _| replica.node());
        if let Some(subject) = route.subject() {
            let forward = Forward::of(head, own, Bytes::new(), body);
            return Ok(Some((subject.to_owned(), forward)));
        }
        if route != Route::Assert || body.is_absent() {
            return Ok(None);
        }
        let bytes = body.read().await?;
        let json::AssertBody::Claim(draft) = json::parse_body(&bytes)? else { return Ok(None) };
        let mut forward = Forward::of(head, own, bytes, body);
        if draft.timestamp.is_none() && draft.stamp.is_none() {
            let wall = self.driver.wall();
            let stamp = self.driver.update(|replica, _, _| replica.stamp(wall));
            forward.put(STAMP, &stamp_text(stamp));
        }
        Ok(Some((draft.subject, forward)))
    }

    /// Whether the replicas of a subject's shard become others than `failed` before long: a node
    /// that died is noticed, and its shards are assigned to others.
    async fn is_assigned_to_others(
        &self,
        subject: &str,
        forward: &Forward,
        failed: &[Backend],
    ) -> bool {
        let assigned = async {
            while self.backends(subject, forward).is_some_and(|backends| backends == failed) {
                Timer::after(REMAP_PAUSE).await;
            }
        };
        within(limits::GATEWAY_REMAP_MAX, assigned).await.is_some()
    }

    /// The replicas of a subject's shard, those last that cannot be called or are suspected; `None`
    /// if this node is one of them, or none has an API that others reach and may see the API key. A
    /// claim goes to the others while the disk here takes nothing: it comes back as a push, by
    /// which this node finds out that it can write again.
    fn backends(&self, subject: &str, forward: &Forward) -> Option<Vec<Backend>> {
        self.driver.read(|replica, _| {
            let cluster = replica.cluster();
            let mut owners: Vec<NodeId> = cluster.map().owners(subject).collect();
            let obstacle = replica.queue().obstacle().filter(|it| *it != Obstacle::NoSpace);
            if forward.method == Method::POST && obstacle.is_some() && owners.len() > 1 {
                owners.retain(|owner| *owner != replica.node());
            }
            if owners.contains(&replica.node()) {
                return None;
            }
            let news = |owner: &NodeId| cluster.swim().present().find(|news| news.node == *owner);
            let mut found: Vec<_> = owners.iter().filter_map(news).collect();
            if !found.is_empty() {
                found.retain(|news| !news.api_addr.is_empty());
                found.first()?;
            }
            if forward.headers.iter().any(|(name, _)| *name == API_KEY) {
                found.retain(|news| self.holders.is_trusted(news.node, &news.api_addr));
                found.first()?;
            }
            let is_reachable =
                |node| cluster.swim().member(node).is_some_and(|member| member.is_reachable);
            found.sort_by_key(|news| (!is_reachable(news.node), news.state != State::Alive));
            let backend = |news: &crate::swim::Update| Backend {
                node: news.node,
                api_addr: news.api_addr.clone(),
            };
            Some(found.into_iter().map(backend).collect())
        })
    }

    /// The answer of another node; `None` if this one is to answer.
    async fn pass_on(
        &self,
        subject: &str,
        forward: &Forward,
        body: &Body,
    ) -> Option<Result<BackendAnswer, Rejection>> {
        let mut may_try_again = true;
        loop {
            let backends = self.backends(subject, forward)?;
            let result = self.forward(forward, &backends, body).await;
            let is_over = matches!(result, Ok(_) | Err(Rejection::OverBudget)) || !may_try_again;
            if is_over || !self.is_assigned_to_others(subject, forward, &backends).await {
                return Some(result);
            }
            may_try_again = false;
        }
    }

    /// As [`Gateway::pass_on`], for as long as an answer may take, if not too many calls wait.
    async fn pass_on_within(
        &self,
        subject: &str,
        forward: &Forward,
        body: &Body,
    ) -> Option<Result<BackendAnswer, Rejection>> {
        self.backends(subject, forward)?;
        let Some(_call) = Call::begin(&self.calls, forward.peer) else {
            return Some(Err(Rejection::Waiting));
        };
        let passed = within(limits::GATEWAY_ANSWER_MAX, self.pass_on(subject, forward, body)).await;
        passed.unwrap_or_else(|| {
            Some(Err(Rejection::Late(format!("none within {:?}", limits::GATEWAY_ANSWER_MAX))))
        })
    }

    /// The first answer that is one, or why there is none.
    async fn forward(
        &self,
        forward: &Forward,
        backends: &[Backend],
        body: &Body,
    ) -> Result<BackendAnswer, Rejection> {
        let mut why = Rejection::Unreachable("none is live".into());
        for backend in backends {
            let lost = async {
                self.lost(backend.node).await;
                Err(Rejection::Unreachable(format!("{} has died", backend.api_addr)))
            };
            let asked = future::or(self.ask(forward, backend, body), lost).await;
            let rejection = match asked {
                Ok(response) if response.status() != StatusCode::SERVICE_UNAVAILABLE => {
                    return Ok(response);
                }
                // It answered; another answer would take the same budget.
                Err(Rejection::OverBudget) => return Err(Rejection::OverBudget),
                Ok(_) => Rejection::Overloaded(format!("{} answers 503", backend.api_addr)),
                Err(rejection) => rejection,
            };
            log::debug!("replica {}: {rejection}", backend.api_addr);
            self.api.metrics().borrow_mut().count_gateway_retry();
            why = rejection;
        }
        Err(why)
    }

    /// Resolves when the failure detector has declared a node dead. Its connection may look alive
    /// for long after that: a host without power sends no word. One that leaves answers first.
    async fn lost(&self, node: NodeId) {
        let is_lost = || {
            self.driver.read(|replica, _| {
                let member = replica.cluster().swim().member(node);
                member.is_none_or(|member| member.news.state == State::Dead)
            })
        };
        while !is_lost() {
            Timer::after(ALIVE_PAUSE).await;
        }
    }

    /// A connection that was idle may have ended meanwhile: that says nothing, a new one is made.
    async fn ask(
        &self,
        forward: &Forward,
        backend: &Backend,
        body: &Body,
    ) -> Result<BackendAnswer, Rejection> {
        let address = &backend.api_addr;
        let refuse = |why: String| Rejection::Unreachable(format!("{address}: {why}"));
        let mut kept = self.take_idle(address);
        loop {
            let was_kept = kept.is_some();
            let mut link = match kept.take() {
                Some(link) => link,
                None => connect(address).await.map_err(refuse)?,
            };
            let mut share = Share::new(&self.held);
            let request = forward.request(address);
            let request = request.map_err(|error| refuse(error.to_string()))?;
            let may_grow = |bytes| share.resize(bytes).is_ok();
            let closer = link.closer();
            let handing_on = async {
                // A claim is taken even if its client has left; a long query is abandoned.
                if forward.body.is_empty() {
                    poll_fn(|context| body.poll_client_left(context)).await;
                    closer.close();
                }
                future::pending().await
            };
            match future::or(link.exchange(request, may_grow), handing_on).await {
                Ok((answer, body)) => {
                    self.keep(address, link);
                    return Ok(respond(answer, body, backend.node));
                }
                Err(ExchangeError::Broken(_)) if was_kept => {}
                Err(ExchangeError::Broken(error)) => return Err(refuse(error.to_string())),
                Err(ExchangeError::TooLarge) => return Err(Rejection::OverBudget),
            }
        }
    }

    fn take_idle(&self, address: &str) -> Option<ClientLink> {
        let mut idle = self.idle.borrow_mut();
        idle.retain(|(_, link)| link.is_open());
        let index = idle.iter().rposition(|(at, _)| at == address)?;
        Some(idle.remove(index).1)
    }

    fn keep(&self, address: &str, link: ClientLink) {
        let mut idle = self.idle.borrow_mut();
        if !link.is_open() {
            return;
        }
        if idle.len() >= limits::GATEWAY_IDLE_MAX {
            idle.remove(0);
        }
        idle.push((address.to_owned(), link));
    }
}

impl Handler for Gateway {
    async fn handle(&self, mut head: Parts, body: &mut Body) -> Response<Full<Bytes>> {
        // What is wrong with a request the API says in its own words.
        let plan = self.plan(&head, body).await.ok().flatten();
        let mut answered = None;
        if let Some((subject, forward)) = &plan {
            answered = self.pass_on_within(subject, forward, body).await;
            // Wherever the claim is taken in the end, it has the stamp of this node.
            let stamp = forward.headers.iter().find(|(name, _)| *name == STAMP);
            head.headers.extend(stamp.cloned().map(|(name, value)| (Some(name), value)));
        }
        let Some(answered) = answered else {
            self.api.metrics().borrow_mut().count_gateway(GatewayOutcome::Local);
            return self.api.handle(head, body).await;
        };
        let outcome = match &answered {
            Ok(_) => GatewayOutcome::Forwarded,
            Err(Rejection::Waiting) => GatewayOutcome::Refused,
            Err(_) => GatewayOutcome::Failed,
        };
        self.api.metrics().borrow_mut().count_gateway(outcome);
        let response = answered.unwrap_or_else(|rejection| refuse(&rejection));
        self.api.metrics().borrow_mut().count_http(response.status().as_u16());
        response
    }

    fn note_refused(&self, rejection: &Rejection) {
        self.api.note_refused(rejection);
    }
}

impl<'a> Call<'a> {
    fn begin(calls: &'a RefCell<FairSlots<u64>>, peer: u64) -> Option<Call<'a>> {
        let is_taken = calls.borrow_mut().take(peer);
        is_taken.then(|| Call { calls, peer })
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.calls.borrow_mut().give_back(&self.peer);
    }
}

impl Forward {
    /// Of `head` what the other node needs to know.
    fn of(head: &Parts, own: NodeId, body: Bytes, from: &Body) -> Forward {
        // To a question for the head alone our server answers with the head alone.
        let method = if head.method == Method::HEAD { Method::GET } else { head.method.clone() };
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
        let kept = [API_KEY, AGENT_ID, REQUEST_ID, CONTENT_TYPE, ACCEPT].into_iter();
        let headers = kept.filter_map(|name| Some((name.clone(), head.headers.get(name)?.clone())));
        let peer = from.peer();
        let key = client(peer, &head.headers).peer;
        let mut forward = Forward { method, target, headers: headers.collect(), body, peer: key };
        forward.put(FORWARDED, &own.to_string());
        if let Some(peer) = peer {
            forward.put(FORWARDED_FOR, &peer.to_string());
        }
        forward
    }

    fn put(&mut self, name: http::HeaderName, text: &str) {
        let value = HeaderValue::from_str(text).expect("digits, hex, hyphens, an address");
        self.headers.push((name, value));
    }

    fn request(&self, host: &str) -> http::Result<Request<Full<Bytes>>> {
        let mut builder = Request::builder().method(&self.method).uri(&self.target);
        builder = builder.header(HOST, host);
        for (name, value) in &self.headers {
            builder = builder.header(name, value);
        }
        builder.body(Full::new(self.body.clone()))
    }
}

async fn connect(address: &str) -> Result<ClientLink, String> {
    let connecting = async { ClientLink::connect(&resolve(address).await?).await };
    let late = || Err(format!("no connection within {:?}", limits::GATEWAY_CONNECT_MAX));
    within(limits::GATEWAY_CONNECT_MAX, connecting).await.unwrap_or_else(late)
}

fn respond(answer: http::response::Parts, body: Bytes, node: NodeId) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    for name in [CONTENT_TYPE, http::header::RETRY_AFTER, http::header::ALLOW] {
        if let Some(value) = answer.headers.get(&name) {
            headers.insert(name, value.clone());
        }
    }
    let node = HeaderValue::from_str(&node.to_string()).expect("hex");
    headers.insert(ANSWERED_BY, node);
    response
}
