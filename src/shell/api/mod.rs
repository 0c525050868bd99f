//! The HTTP API of this node: each route carried out by the driver.
//!
//! In: requests. Out: answers in JSON, metrics as text. Routes, shapes and statuses are `wire`'s.
//! Never: decides anything about an assertion.

pub mod api_key;
mod batch;
pub mod forward;
pub mod gateway;
pub mod own_writes;
pub mod readiness;
pub mod starting;

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::time::Instant;

use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Response, StatusCode};
use hyper::body::Body as _;

use crate::base::Digest;
use crate::cluster::gossip::Origin;
use crate::model::{NameKind, RootAgents, Sealed};
use crate::replica::Replica;
use crate::scan::{Scan, TooMany};
use crate::shell::api::api_key::ApiKeyCheck;
use crate::shell::api::readiness::Readiness;
use crate::shell::driver::{Driver, Refusal};
use crate::shell::http::{AnswerBody, Body, Counts, Handler, HttpAnswer, refuse};
use crate::shell::peers::anti_entropy::Peers;
use crate::shell::repair::scrub::Scrubbed;
use crate::shell::runtime::logger;
use crate::shell::runtime::memory;
use crate::store::Root;
use crate::wire::http::conditional::Validators;
use crate::wire::http::{
    JSON, NDJSON, Route, STAMP, client, is_json, is_ndjson, parse_stamp, preflight, route,
};
use crate::wire::json;
use crate::wire::json::answer::{self, Presence};
use crate::wire::json::health::{self, HealthReadings};
use crate::wire::metrics::{
    self, ClusterReadings, DamageReadings, Endpoint, GrpcCount, Metrics, Readings,
};
use crate::wire::openapi;
use crate::wire::rejection::Rejection;

/// What the API shows of the rest of the node.
pub struct Context {
    /// Whether the node is ready, for `/v1/health`.
    pub readiness: Rc<Readiness>,
    /// Memory that the bounds follow.
    pub memory_bytes: u64,
    /// Counts of the API's listener, for `/metrics`.
    pub http_connections: Rc<Counts>,
    /// Counts of the gateway's listener, for `/metrics`.
    pub gateway_connections: Rc<Counts>,
    /// How many gRPC connections are open, for `/metrics`.
    pub grpc_connections: Box<dyn Fn() -> usize>,
    /// Connections that a server ended: listener, reason, how many.
    pub ended: Box<dyn Fn() -> Vec<(&'static str, &'static str, u64)>>,
    /// Open connections to other nodes.
    pub peer_connections: Box<dyn Fn() -> usize>,
    /// What the scrubber read and found, for `/metrics`.
    pub scrubbed: Rc<Cell<Scrubbed>>,
    /// Whose statements about agents and epochs lenses count.
    pub root_agents: RootAgents,
    /// How many gRPC calls ended with which code, for `/metrics`.
    pub grpc_counts: Box<dyn Fn() -> Vec<GrpcCount>>,
}

/// Answers the API's requests from this node alone.
pub struct Api {
    driver: Rc<Driver>,
    peers: Rc<Peers>,
    api_key_check: ApiKeyCheck,
    context: Context,
    metrics: Rc<RefCell<Metrics>>,
}

/// A good answer on its way.
struct Answer {
    status: StatusCode,
    content_type: HeaderValue,
    body: AnswerBody,
    /// To `OPTIONS`: the methods of the route.
    preflight: Option<&'static str>,
    /// Of what may be kept: until when.
    validators: Option<Validators>,
}

impl Api {
    /// The API of the node behind `driver`; from now on the log's flushes are counted.
    pub fn new(
        driver: Rc<Driver>,
        peers: Rc<Peers>,
        api_key_check: ApiKeyCheck,
        context: Context,
    ) -> Rc<Api> {
        let metrics = Rc::new(RefCell::new(Metrics::default()));
        let counted = metrics.clone();
        driver.observe_flushes(Box::new(move |report| {
            let mut metrics = counted.borrow_mut();
            if report.records > 0 {
                metrics.count_write(report.records, report.bytes);
            }
            if let Some(took) = report.flush {
                metrics.count_fsync(took);
            }
        }));
        Rc::new(Api { driver, peers, api_key_check, context, metrics })
    }

    async fn answer(&self, head: &Parts, body: &mut Body) -> Result<Answer, Rejection> {
        self.api_key_check.admit(head)?;
        match route(&head.method, &head.uri)? {
            Route::Assert => self.assert(&head.headers, body, json::parse_body).await,
            Route::AssertBatch => self.assert_batch(&head.headers, body).await,
            Route::Vote => self.assert(&head.headers, body, json::parse_vote).await,
            Route::Assertion(digest) => self.assertion(&digest, &head.headers),
            Route::Query(query) => {
                let numbering = self.driver.read(|replica, _| replica.row_numbering());
                if let Some(cursor) = query.cursor.filter(|it| it.numbering != numbering) {
                    return Err(Rejection::Cursor { of: cursor.numbering, here: numbering });
                }
                let scan = Scan::page(query, self.driver.judging());
                self.scan(Endpoint::Query, scan, head, body).await
            }
            Route::Skeptic(query) => {
                let scan = Scan::skeptic(query, self.driver.judging());
                self.scan(Endpoint::Skeptic, scan, head, body).await
            }
            Route::Layered(query) => {
                let scan = Scan::layered(query, self.driver.judging());
                self.scan(Endpoint::Layered, scan, head, body).await
            }
            Route::Names(listing) => {
                let endpoint = match listing.kind {
                    NameKind::Subjects => Endpoint::Subjects,
                    NameKind::Predicates => Endpoint::Predicates,
                };
                self.scan(endpoint, Scan::names(listing, self.driver.judging()), head, body).await
            }
            Route::Conflicts(asked) => {
                let scan = Scan::conflicts(asked, self.driver.judging());
                self.scan(Endpoint::Conflicts, scan, head, body).await
            }
            Route::Health => Ok(say(StatusCode::OK, self.health().await)),
            Route::Live => Ok(say(StatusCode::OK, health::LIVE.to_owned())),
            Route::Ready => Ok(say(StatusCode::OK, self.context.readiness.answer()?)),
            Route::Metrics => Ok(self.scrape()),
            Route::Sync => {
                let reports = self.peers.sync_now().await;
                let peers = reports.iter().map(|peer| (peer.address.as_str(), &peer.report));
                Ok(say(StatusCode::OK, answer::synced(peers)))
            }
            Route::Cluster => {
                Ok(self.look(|replica| json::cluster::status(replica.cluster(), replica.syncs())))
            }
            Route::Ranges => {
                Ok(self.look(|replica| json::cluster::ranges(replica.cluster().map())))
            }
            Route::Shard(shard) => {
                let cluster =
                    |replica: &Replica| json::cluster::shard(replica.cluster().map(), shard);
                let text =
                    self.driver.read(|replica, _| cluster(replica)).ok_or(Rejection::Shard)?;
                Ok(say(StatusCode::OK, text))
            }
            Route::Document => {
                let document = AnswerBody::whole(openapi::document());
                Ok(Answer { body: document, ..say(StatusCode::OK, String::new()) })
            }
            Route::Options(allowed) => {
                let mut answer = say(StatusCode::NO_CONTENT, String::new());
                answer.preflight = Some(allowed);
                Ok(answer)
            }
        }
    }

    /// One assertion, unless the client has it already.
    fn assertion(&self, digest: &Digest, headers: &HeaderMap) -> Result<Answer, Rejection> {
        let (start, now) = (Instant::now(), self.driver.judging());
        let sealed = self.find(digest)?;
        let validators = Validators::of(&sealed, now, self.api_key_check.is_asking());
        let (status, text) = match validators.are_known(headers) {
            true => (StatusCode::NOT_MODIFIED, String::new()),
            false => (StatusCode::OK, answer::assertion(&sealed, now)),
        };
        let found = self.found(Endpoint::Assertion, start, text);
        Ok(Answer { status, validators: Some(validators), ..found })
    }

    /// What can be seen of the cluster at once.
    fn look(&self, show: impl FnOnce(&Replica) -> String) -> Answer {
        say(StatusCode::OK, self.driver.read(|replica, _| show(replica)))
    }

    async fn assert(
        &self,
        headers: &HeaderMap,
        body: &mut Body,
        parse: impl FnOnce(&[u8]) -> Result<json::AssertBody, json::Malformed>,
    ) -> Result<Answer, Rejection> {
        if !is_json(headers) {
            return Err(Rejection::MediaType);
        }
        check_is_there(headers, body)?;
        let taken = match parse(&body.read().await?)? {
            json::AssertBody::Bytes(sealed) => self.driver.offer(sealed, Origin::Here).await,
            json::AssertBody::Claim(mut draft) => {
                if let Some(text) = headers.get(STAMP) {
                    let stamp = text.to_str().ok().and_then(parse_stamp).ok_or(Rejection::Stamp)?;
                    // What the body says of its time comes first.
                    if draft.timestamp.is_none() {
                        draft.stamp.get_or_insert(stamp);
                    }
                }
                self.driver.assert(*draft).await
            }
        };
        match taken {
            Ok(done) => {
                let (status, presence) = match done.created {
                    true => (StatusCode::CREATED, Presence::New),
                    false => (StatusCode::OK, Presence::Known),
                };
                Ok(say(status, answer::asserted(&done.digest, presence)))
            }
            Err(Refusal::Invalid(invalid)) => Err(Rejection::Invalid(invalid)),
            Err(Refusal::Log(refusal)) => Err(Rejection::Log(refusal)),
        }
    }

    async fn assert_batch(
        &self,
        headers: &HeaderMap,
        body: &mut Body,
    ) -> Result<Answer, Rejection> {
        if !is_ndjson(headers) {
            return Err(Rejection::LinesMediaType);
        }
        check_is_there(headers, body)?;
        let driver = self.driver.clone();
        let made = body.answer_while(move |body, outlet| batch::run(driver, body, outlet)).await?;
        let answer = say(StatusCode::OK, String::new());
        Ok(Answer { content_type: NDJSON, body: made, ..answer })
    }

    fn find(&self, digest: &Digest) -> Result<Sealed, Rejection> {
        match self.driver.find(digest) {
            Some(sealed) => Ok(sealed),
            None if self.driver.read(|replica, bodies| replica.is_damaged(digest, bodies)) => {
                Err(Rejection::Damaged(*digest))
            }
            None => Err(Rejection::Unknown(*digest)),
        }
    }

    async fn scan(
        &self,
        endpoint: Endpoint,
        scan: Scan,
        head: &Parts,
        body: &Body,
    ) -> Result<Answer, Rejection> {
        let start = Instant::now();
        let client = client(body.peer(), &head.headers);
        let scan = scan.trusting(self.context.root_agents.clone());
        let running = self.driver.scan(client, scan);
        let mut running = running.map_err(|TooMany| Rejection::Waiting)?;
        let view = poll_fn(|context| {
            if body.poll_client_left(context).is_ready() {
                running.note_client_left();
            }
            Pin::new(&mut running).poll(context)
        });
        let view = view.await.ok_or(Rejection::ClientLeft)?;
        let numbering = self.driver.read(|replica, _| replica.row_numbering());
        Ok(self.found(endpoint, start, answer::view(&view, numbering)))
    }

    fn found(&self, endpoint: Endpoint, start: Instant, text: String) -> Answer {
        self.metrics.borrow_mut().count_query(endpoint, start.elapsed());
        say(StatusCode::OK, text)
    }

    async fn health(&self) -> String {
        let Root { digest: root, count: assertions, .. } = self.driver.root().await;
        let uptime_seconds = self.uptime_seconds();
        let has_joined = self.context.readiness.has_joined();
        self.driver.read(|replica, _| {
            let clock = &replica.clock(self.driver.now(), self.driver.wall());
            let swim = replica.cluster().swim();
            health::health(&HealthReadings {
                node: replica.node(),
                cluster: replica.cluster().identity().tag().settled(),
                assertions,
                opaque: replica.store().opaque(),
                damages: replica.damages(),
                obstacle: replica.queue().obstacle(),
                duplicate: swim.duplicate(),
                root,
                uptime_seconds,
                has_joined,
                clock,
            })
        })
    }

    fn scrape(&self) -> Answer {
        let (assertions, opaque) = self.driver.read(|replica, _| {
            let store = replica.store();
            (store.len(), store.opaque())
        });
        let (log_bytes, log_bytes_max) = self.driver.read(|replica, _| {
            let queue = replica.queue();
            (queue.log_bytes(), queue.log_bytes_max())
        });
        let mut ended = (self.context.ended)();
        let context = &self.context;
        let listeners =
            [("http", &context.http_connections), ("gateway", &context.gateway_connections)];
        for (listener, counts) in listeners {
            let endings = counts.endings().into_iter();
            ended.extend(endings.map(|(reason, count)| (listener, reason, count)));
        }
        let now = self.driver.now();
        let (queries_waiting, scans) = self.driver.scans();
        let Scrubbed { bytes, passes, found } = self.context.scrubbed.get();
        let readings = Readings {
            queries_waiting: queries_waiting as u64,
            scans,
            scrubbed: [bytes, passes, found],
            assertions,
            opaque,
            log_bytes,
            log_bytes_max,
            damages: self.driver.read(|replica, _| DamageReadings::of(replica.damages())),
            obstacle: self.driver.read(|replica, _| replica.queue().obstacle()),
            resident_bytes: memory::resident(),
            memory_bytes: self.context.memory_bytes,
            http_connections: self.context.http_connections.open() as u64,
            gateway_connections: self.context.gateway_connections.open() as u64,
            grpc_connections: (self.context.grpc_connections)() as u64,
            ended,
            log_lines_dropped: logger::dropped(),
            uptime_seconds: self.uptime_seconds(),
            sync_cycles: self.peers.cycles(),
            grpc: (self.context.grpc_counts)(),
            cluster: self.driver.read(|replica, _| {
                let syncs = replica.syncs().map(|(_, progress)| progress).collect();
                ClusterReadings::of(replica.cluster(), syncs, now)
            }),
            peer_connections: (self.context.peer_connections)() as u64,
            clock: self.driver.read(|replica, _| Some(replica.clock(now, self.driver.wall()))),
        };
        let mut answer = say(StatusCode::OK, metrics::render(&self.metrics.borrow(), &readings));
        answer.content_type = HeaderValue::from_static(metrics::CONTENT_TYPE);
        answer
    }

    /// Whether the request may be answered at all.
    pub fn admit(&self, head: &Parts) -> Result<(), Rejection> {
        self.api_key_check.admit(head)
    }

    /// What is counted since the start.
    pub fn metrics(&self) -> &RefCell<Metrics> {
        &self.metrics
    }

    fn uptime_seconds(&self) -> u64 {
        self.driver.now().0 / 1_000_000
    }
}

impl Handler for Api {
    async fn handle(&self, head: Parts, body: &mut Body) -> HttpAnswer {
        let answered = self.answer(&head, body).await;
        let response = match answered {
            Ok(answer) => {
                let methods = answer.preflight;
                let mut response = respond(answer);
                if let Some(allowed) = methods {
                    preflight(allowed, response.headers_mut());
                }
                response
            }
            Err(rejection) => refuse(&rejection),
        };
        self.metrics.borrow_mut().count_http(response.status().as_u16());
        response
    }

    fn note_refused(&self, rejection: &Rejection) {
        self.metrics.borrow_mut().count_http(rejection.status().0.as_u16());
    }
}

/// An empty body has a length, too.
fn check_is_there(headers: &HeaderMap, body: &Body) -> Result<(), Rejection> {
    let is_there = !body.is_absent() || headers.contains_key(CONTENT_LENGTH);
    if is_there { Ok(()) } else { Err(Rejection::Length) }
}

fn say(status: StatusCode, body: String) -> Answer {
    let (body, preflight, validators) = (AnswerBody::whole(body), None, None);
    Answer { status, content_type: JSON, body, preflight, validators }
}

fn respond(answer: Answer) -> HttpAnswer {
    let is_empty = answer.body.is_end_stream();
    let mut response = Response::new(answer.body);
    *response.status_mut() = answer.status;
    if let Some(Validators { tag, cache }) = answer.validators {
        response.headers_mut().insert(ETAG, tag);
        response.headers_mut().insert(CACHE_CONTROL, cache);
    }
    if !is_empty {
        response.headers_mut().insert(CONTENT_TYPE, answer.content_type);
    }
    response
}
