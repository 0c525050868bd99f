//! The gateway: what has a subject goes to a live replica of the subject's shard, everything else
//! is this node's to answer.
//!
//! In: requests of the API's routes. Out: the API's answers, of this node where it is a replica,
//! else of the first replica that answers. Who is asked, in which order and for how long
//! `cluster::forwarding` says; here are the connections. A request with an API key goes to members
//! that have shown the cluster key alone: else this node answers it itself.
//!
//! Never: decides who is asked, forwards what was forwarded, holds more of other nodes' answers
//! than its budget.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_lite::future;
use http::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;

use crate::base::{FairSlots, Hlc, NodeId, limits};
use crate::cluster::forwarding::{
    Attempt, AttemptEnd, ForwardRefusal, ForwardRequest, ForwardStep, ForwardTarget, ForwardView,
    Forwarding,
};
use crate::shell::api::Api;
use crate::shell::driver::Driver;
use crate::shell::http::client::{ClientLink, ExchangeError};
use crate::shell::http::{Body, Handler, refuse};
use crate::shell::peers::key_holders::KeyHolders;
use crate::shell::runtime::budget::{Budget, Share};
use crate::shell::runtime::reactor::Timer;
use crate::shell::runtime::resolve::resolve;
use crate::shell::runtime::timeout::within;
use crate::wire::http::{
    AGENT_ID, ANSWERED_BY, API_KEY, FORWARDED, FORWARDED_FOR, REQUEST_ID, Route, STAMP, client,
    route, stamp_text,
};
use crate::wire::json;
use crate::wire::metrics::GatewayOutcome;
use crate::wire::rejection::Rejection;

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

/// A call's slot, if it has taken one; given back when dropped.
struct CallSlot<'a> {
    calls: &'a RefCell<FairSlots<u64>>,
    peer: u64,
    is_taken: bool,
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

/// How a request ended that other nodes may have answered.
enum Passed {
    /// This node is to answer, with this stamp.
    Here(Option<Hlc>),
    Answered(BackendAnswer),
    Refused(ForwardRefusal),
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

    /// What to forward, and what it is about; `None` if this node answers whatever it holds.
    async fn plan(
        &self,
        head: &Parts,
        body: &mut Body,
    ) -> Result<Option<(ForwardRequest, Forward)>, Rejection> {
        self.api.admit(head)?;
        if head.headers.contains_key(&FORWARDED) {
            return Ok(None);
        }
        let route = route(&head.method, &head.uri)?;
        let own = self.driver.read(|replica, _| replica.node());
        let target = match (route.cursor(), route.subject()) {
            // Its row is a row of that node, whatever the query is about.
            (Some(cursor), _) => Some(ForwardTarget::Node(cursor.numbering.node)),
            (None, Some(subject)) => Some(ForwardTarget::Subject(subject.to_owned())),
            (None, None) => None,
        };
        let forwarded = |target, is_claim, stamp| ForwardRequest {
            target,
            is_claim,
            has_api_key: head.headers.contains_key(API_KEY),
            stamp,
        };
        if let Some(target) = target {
            let request = forwarded(target, false, None);
            return Ok(Some((request, Forward::of(head, own, Bytes::new(), body))));
        }
        if route != Route::Assert || body.is_absent() {
            return Ok(None);
        }
        let bytes = body.read().await?;
        let json::AssertBody::Claim(draft) = json::parse_body(&bytes)? else { return Ok(None) };
        let is_timeless = draft.timestamp.is_none() && draft.stamp.is_none();
        let stamp = is_timeless.then(|| {
            let wall = self.driver.wall();
            self.driver.update(|replica, _, _| replica.stamp(wall))
        });
        let request = forwarded(ForwardTarget::Subject(draft.subject), true, stamp);
        Ok(Some((request, Forward::of(head, own, bytes, body))))
    }

    /// Does for a request what its plan says, until that ends.
    async fn pass_on(&self, request: ForwardRequest, forward: &Forward, body: &Body) -> Passed {
        let mut machine = Forwarding::new(self.driver.now(), request);
        machine.handle_timeout(self.driver.now(), &self.view(&machine));
        let mut slot = CallSlot { calls: &self.calls, peer: forward.peer, is_taken: false };
        let (mut number, mut answer) = (0, None);
        let mut asking = pin!(None);
        loop {
            while let Some(step) = machine.poll_step() {
                match step {
                    ForwardStep::AnswerHere(stamp) => return Passed::Here(stamp),
                    ForwardStep::TakeSlot => {
                        machine.handle_slot(self.driver.now(), slot.take());
                    }
                    ForwardStep::Ask(attempt) => {
                        number = attempt.number;
                        asking.set(Some(self.ask(attempt, forward, body)));
                    }
                    ForwardStep::Failed(why) => {
                        asking.set(None);
                        answer = None;
                        log::debug!("a replica: {}", Rejection::from(why));
                        self.api.metrics().borrow_mut().count_gateway_retry();
                    }
                    ForwardStep::Answered => {
                        return Passed::Answered(answer.expect("the attempt that ended gave it"));
                    }
                    ForwardStep::Refuse(why) => return Passed::Refused(why),
                }
            }
            let asked = poll_fn(|context| match asking.as_mut().as_pin_mut() {
                Some(asking) => asking.poll(context).map(Some),
                None => Poll::Pending,
            });
            match future::or(asked, self.deadline(&machine)).await {
                Some(result) => {
                    asking.set(None);
                    let end = match &result {
                        Ok(response) => AttemptEnd::Answered {
                            is_overloaded: response.status() == StatusCode::SERVICE_UNAVAILABLE,
                        },
                        Err(end) => end.clone(),
                    };
                    answer = result.ok();
                    machine.handle_attempt_ended(self.driver.now(), number, end);
                }
                None => machine.handle_timeout(self.driver.now(), &self.view(&machine)),
            }
        }
    }

    /// Resolves when the machine wants to know what time it is.
    async fn deadline<T>(&self, machine: &Forwarding) -> Option<T> {
        match machine.next_deadline() {
            Some(deadline) => Timer::after(deadline.since(self.driver.now())).await,
            None => future::pending().await,
        }
        None
    }

    fn view(&self, machine: &Forwarding) -> ForwardView {
        let mut view = self.driver.read(|replica, _| {
            let cluster = replica.cluster();
            machine.view(cluster.map(), cluster.swim(), replica.queue().obstacle())
        });
        for owner in &mut view.others {
            owner.is_key_holder = self.holders.is_trusted(owner.node, &owner.api_addr);
        }
        view
    }

    /// One attempt at one node.
    async fn ask(
        &self,
        attempt: Attempt,
        forward: &Forward,
        body: &Body,
    ) -> Result<BackendAnswer, AttemptEnd> {
        let address = &attempt.candidate.api_addr;
        let kept = if attempt.may_reuse { self.take_idle(address) } else { None };
        let was_kept = kept.is_some();
        let broken = |why: String| AttemptEnd::Broken { was_kept, why };
        let mut link = match kept {
            Some(link) => link,
            None => connect(address, attempt.connect_max).await.map_err(broken)?,
        };
        let mut share = Share::new(&self.held);
        let request = forward.request(address, attempt.stamp);
        let request = request.map_err(|error| broken(error.to_string()))?;
        let may_grow = |bytes| share.resize(bytes).is_ok();
        let closer = link.closer();
        let handing_on = async {
            if attempt.ends_with_client {
                poll_fn(|context| body.poll_client_left(context)).await;
                closer.close();
            }
            future::pending().await
        };
        match future::or(link.exchange(request, may_grow), handing_on).await {
            Ok((answer, body)) => {
                self.keep(address, link);
                Ok(respond(answer, body, attempt.candidate.node))
            }
            Err(ExchangeError::Broken(error)) => Err(broken(error.to_string())),
            Err(ExchangeError::TooLarge) => Err(AttemptEnd::TooLarge),
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
        let passed = match plan {
            Some((request, forward)) => self.pass_on(request, &forward, body).await,
            None => Passed::Here(None),
        };
        let (outcome, response) = match passed {
            Passed::Here(stamp) => {
                // Wherever the claim is taken in the end, it has the stamp of this node.
                head.headers.extend(stamp.map(|stamp| (Some(STAMP), stamp_value(stamp))));
                self.api.metrics().borrow_mut().count_gateway(GatewayOutcome::Local);
                return self.api.handle(head, body).await;
            }
            Passed::Answered(response) => (GatewayOutcome::Forwarded, response),
            Passed::Refused(why) => {
                let is_busy = why == ForwardRefusal::Waiting;
                let outcome =
                    if is_busy { GatewayOutcome::Refused } else { GatewayOutcome::Failed };
                (outcome, refuse(&why.into()))
            }
        };
        let mut metrics = self.api.metrics().borrow_mut();
        metrics.count_gateway(outcome);
        metrics.count_http(response.status().as_u16());
        response
    }

    fn note_refused(&self, rejection: &Rejection) {
        self.api.note_refused(rejection);
    }
}

impl CallSlot<'_> {
    fn take(&mut self) -> bool {
        self.is_taken = self.calls.borrow_mut().take(self.peer);
        self.is_taken
    }
}

impl Drop for CallSlot<'_> {
    fn drop(&mut self) {
        if self.is_taken {
            self.calls.borrow_mut().give_back(&self.peer);
        }
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

    fn request(&self, host: &str, stamp: Option<Hlc>) -> http::Result<Request<Full<Bytes>>> {
        let mut builder = Request::builder().method(&self.method).uri(&self.target);
        builder = builder.header(HOST, host);
        for (name, value) in &self.headers {
            builder = builder.header(name, value);
        }
        if let Some(stamp) = stamp {
            builder = builder.header(STAMP, stamp_value(stamp));
        }
        builder.body(Full::new(self.body.clone()))
    }
}

fn stamp_value(stamp: Hlc) -> HeaderValue {
    HeaderValue::from_str(&stamp_text(stamp)).expect("digits, hyphens, hex")
}

async fn connect(address: &str, most: Duration) -> Result<ClientLink, String> {
    let connecting = async { ClientLink::connect(&resolve(address).await?).await };
    let late = || Err(format!("no connection within {most:?}"));
    within(most, connecting).await.unwrap_or_else(late)
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
