//! The gateway: what has a subject goes to a live replica of the subject's shard, a cursor to its
//! node, a claim that another node took for this gateway to that node while it is not here.
//! Everything else is this node's to answer.
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
use http::request::Parts;
use http::{Response, StatusCode};

use crate::base::{Digest, FairSlots, Hlc, limits};
use crate::cluster::forwarding::recent::WrittenAt;
use crate::cluster::forwarding::{
    Attempt, AttemptEnd, ForwardRefusal, ForwardRequest, ForwardStep, ForwardTarget, ForwardView,
    Forwarding,
};
use crate::model::{Listing, Query};
use crate::shell::api::Api;
use crate::shell::api::forward::{BackendAnswer, Forward, stamp_value};
use crate::shell::api::own_writes::OwnWrites;
use crate::shell::driver::Driver;
use crate::shell::http::client::{ClientLink, ExchangeError};
use crate::shell::http::{AnswerBody, Body, Handler, HttpAnswer, refuse};
use crate::shell::peers::key_holders::KeyHolders;
use crate::shell::peers::pool::Pool;
use crate::shell::runtime::budget::{Budget, Share};
use crate::shell::runtime::reactor::Timer;
use crate::shell::runtime::resolve::resolve;
use crate::shell::runtime::timeout::within;
use crate::wire::http::{API_KEY, FORWARDED, Route, STAMP, route};
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
    own_writes: OwnWrites,
}

/// A call's slot, if it has taken one; given back when dropped.
struct CallSlot<'a> {
    calls: &'a RefCell<FairSlots<u64>>,
    peer: u64,
    is_taken: bool,
}

/// Which claims a request adds, or asks for.
#[derive(Default)]
enum About {
    /// None, or none that were written lately: a page after the first one is of older claims.
    #[default]
    Nothing,
    /// It is a claim on this subject.
    Claim(String),
    /// It has many claims, which this node takes: it has the whole set, and a claim of a batch for
    /// each of several nodes would share its flush with none.
    Batch,
    /// It asks for claims on this subject.
    Subject(String),
    /// It asks for claims on any subject.
    All,
}

/// What is to be done with a request.
#[derive(Default)]
struct Plan {
    about: About,
    /// What to forward; `None` if this node answers whatever it holds.
    forward: Option<(ForwardRequest, Forward)>,
}

/// How a request ended that other nodes may have answered.
enum Passed {
    /// This node is to answer, with this stamp.
    Here(Option<Hlc>),
    Answered(BackendAnswer),
    Refused(ForwardRefusal),
}

impl Gateway {
    /// Routes by the map of the node behind `driver`; answers as `api` does. It calls other nodes
    /// by `pool`, and of their answers holds up to `unsent_max` bytes.
    pub fn new(
        api: Rc<Api>,
        driver: Rc<Driver>,
        (pool, holders, unsent_max): (Rc<Pool>, Rc<KeyHolders>, usize),
    ) -> Rc<Gateway> {
        let held = Budget::new(unsent_max);
        let calls = RefCell::new(FairSlots::new(limits::QUERIES_WAITING_MAX));
        let own_writes = OwnWrites::new(driver.clone(), pool);
        Rc::new(Gateway { api, driver, holders, idle: RefCell::default(), held, calls, own_writes })
    }

    async fn plan(&self, head: &Parts, body: &mut Body) -> Result<Plan, Rejection> {
        self.api.admit(head)?;
        if head.headers.contains_key(&FORWARDED) {
            return Ok(Plan::default());
        }
        let own = self.driver.read(|replica, _| replica.node());
        let mut request = ForwardRequest {
            target: ForwardTarget::Node(own),
            is_claim: false,
            has_api_key: head.headers.contains_key(API_KEY),
            stamp: None,
            written: WrittenAt::Nowhere,
        };
        let (mut about, mut bytes) = (About::Nothing, Bytes::new());
        match route(&head.method, &head.uri)? {
            Route::Query(Query { cursor: Some(cursor), .. }) => {
                request.target = ForwardTarget::Node(cursor.numbering.node);
            }
            Route::Conflicts(_) => return Ok(Plan::here(About::All)),
            // Statements are claims on other subjects, which other nodes may have taken.
            Route::Query(query) | Route::Skeptic(query) | Route::Layered(query)
                if query.asks_statements() =>
            {
                return Ok(Plan::here(About::All));
            }
            Route::Query(Query { subject, .. })
            | Route::Skeptic(Query { subject, .. })
            | Route::Layered(Query { subject, .. })
            | Route::Names(Listing { subject, .. }) => {
                let Some(subject) = subject else { return Ok(Plan::here(About::All)) };
                request.written = self.own_writes.written_at(&subject);
                request.target = ForwardTarget::Subject(subject.clone());
                about = About::Subject(subject);
            }
            Route::Assertion(digest) => match self.own_writes.holder(&digest) {
                Some(node) => request.target = ForwardTarget::Claim(digest, node),
                None => return Ok(Plan::default()),
            },
            Route::AssertBatch => return Ok(Plan::here(About::Batch)),
            route @ (Route::Assert | Route::Vote) if !body.is_absent() => {
                bytes = body.read().await?;
                let parsed = match route {
                    Route::Vote => json::parse_vote(&bytes)?,
                    _ => json::parse_body(&bytes)?,
                };
                let draft = match parsed {
                    json::AssertBody::Claim(draft) => draft,
                    // Bytes are taken here, whichever node owns the subject that they may have.
                    json::AssertBody::Bytes(sealed) => {
                        let subject = sealed.assertion().map(|assertion| assertion.subject);
                        return Ok(Plan::here(subject.map_or(About::Nothing, About::Claim)));
                    }
                };
                request.is_claim = true;
                if draft.timestamp.is_none() && draft.stamp.is_none() {
                    let wall = self.driver.wall();
                    request.stamp = Some(self.driver.update(|replica, _, _| replica.stamp(wall)));
                }
                request.target = ForwardTarget::Subject(draft.subject.clone());
                about = About::Claim(draft.subject);
            }
            _ => return Ok(Plan::default()),
        }
        Ok(Plan { about, forward: Some((request, Forward::of(head, own, bytes, body))) })
    }

    /// This node answers. A question waits for what other nodes took for this gateway.
    async fn answer_here(&self, about: About, head: Parts, body: &mut Body) -> HttpAnswer {
        match &about {
            About::Nothing | About::Claim(_) | About::Batch => {}
            About::All => self.own_writes.catch_up(None).await,
            About::Subject(subject) => self.own_writes.catch_up(Some(subject)).await,
        }
        let mut answer = self.api.handle(head, body).await;
        match about {
            About::Claim(subject) if answer.status().is_success() => {
                let own = self.driver.read(|replica, _| replica.node());
                self.own_writes.note(&subject, own, None);
            }
            About::Batch if answer.status().is_success() => {
                let begin = self.own_writes.batch();
                answer.body_mut().keep_once_stored(move || Box::new(begin()));
            }
            _ => {}
        }
        answer
    }

    /// Another node answered.
    fn take_answer(&self, about: &About, answer: BackendAnswer) -> HttpAnswer {
        let (head, body) = answer.response.into_parts();
        if let (About::Claim(subject), true) = (about, head.status.is_success())
            && let Some(digest) = json::answer::asserted_digest(&body)
        {
            self.own_writes.note(subject, answer.node, Some(digest));
        }
        Response::from_parts(head, AnswerBody::whole(body))
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
                        Ok(BackendAnswer { response, .. }) => AttemptEnd::Answered {
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
        let mut view = self.driver.read(|replica, bodies| {
            let cluster = replica.cluster();
            let has = |digest: &Digest| replica.store().find(digest, bodies).is_some();
            let known = (cluster.map(), cluster.swim(), cluster.newcomers());
            machine.view(known, replica.queue().obstacle(), has)
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
                Ok(BackendAnswer::of(attempt.candidate.node, answer, body))
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

impl Plan {
    fn here(about: About) -> Plan {
        Plan { about, forward: None }
    }
}

impl Handler for Gateway {
    async fn handle(&self, mut head: Parts, body: &mut Body) -> HttpAnswer {
        // What is wrong with a request the API says in its own words.
        let Plan { about, forward } = self.plan(&head, body).await.unwrap_or_default();
        let passed = match forward {
            Some((request, forward)) => self.pass_on(request, &forward, body).await,
            None => Passed::Here(None),
        };
        let (outcome, response) = match passed {
            Passed::Here(stamp) => {
                // Wherever the claim is taken in the end, it has the stamp of this node.
                head.headers.extend(stamp.map(|stamp| (Some(STAMP), stamp_value(stamp))));
                self.api.metrics().borrow_mut().count_gateway(GatewayOutcome::Local);
                return self.answer_here(about, head, body).await;
            }
            Passed::Answered(answer) => {
                (GatewayOutcome::Forwarded, self.take_answer(&about, answer))
            }
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

async fn connect(address: &str, most: Duration) -> Result<ClientLink, String> {
    let connecting = async {
        let addresses = resolve(address).await.map_err(|error| error.to_string())?;
        ClientLink::connect(&addresses).await
    };
    let late = || Err(format!("no connection within {most:?}"));
    within(most, pin!(connecting)).await.unwrap_or_else(late)
}
