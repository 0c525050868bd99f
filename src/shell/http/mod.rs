//! The HTTP/1.1 server: hyper's protocol, our bounds.
//!
//! In: connections, and a [`Handler`] that answers requests. Out: its answers; for a request that
//! cannot be read, or does not come, an error in the same shape as all others. One task serves a
//! connection; a single timer watches over all of them.
//!
//! Bounded: connections, head, body, the time each phase of a request may take, the rate of bodies
//! and answers, the work that one connection gets between two looks at epoll.
//!
//! Never: knows a route, ends accepting because of an error or because all slots are taken.

mod body;
pub mod client;
mod closing;
mod line;
pub mod policed;
mod progress;
mod slots;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use async_executor::LocalExecutor;
use bytes::Bytes;
use futures_lite::future;
use http::header::{
    ACCEPT_ENCODING, ALLOW, CONNECTION, CONTENT_TYPE, EXPECT, HeaderValue, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use http::request::Parts;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;

pub use body::Body;
pub use slots::Counts;

use self::line::{Io, Line, Order, Phase};
use self::slots::{Open, Reporter, Slots};
use crate::base::{Capacity, limits};
use crate::shell::runtime::accept::accept_all;
use crate::shell::runtime::reactor::Timer;
use crate::shell::runtime::socket::{TcpListener, TcpStream};
use crate::wire::http::policy::Violation;
use crate::wire::http::{JSON, is_vital};
use crate::wire::rejection::Rejection;

/// Ticks of the server's clock in [`Bounds::read_max`]: how exact timeouts are.
const TICKS: u32 = 4;

/// Answers requests.
pub trait Handler: 'static {
    /// The answer to a request. A refused body need not be read.
    fn handle(&self, head: Parts, body: &mut Body) -> impl Future<Output = Response<Full<Bytes>>>;

    /// Hears of a request that was refused outside of [`Handler::handle`].
    fn note_refused(&self, rejection: &Rejection);
}

/// What clients may take; made of `base::limits` but in tests.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Connections that have a slot.
    pub connections_max: usize,
    /// Connections beyond them, which may ask for health and metrics and wait for a slot.
    pub reserve_max: usize,
    /// How long a request may wait for a slot.
    pub slot_wait_max: Duration,
    /// How long a connection may keep others waiting for its slot or its bytes.
    pub patience: Duration,
    /// Time for a head, and how long a body or an answer may stay under `rate_min`.
    pub read_max: Duration,
    /// Time between requests.
    pub idle_max: Duration,
    /// Time for a body, and for an answer, in all.
    pub transfer_max: Duration,
    /// Bytes a second of a body, or of an answer.
    pub rate_min: u64,
    /// Bytes of bodies that came in pieces, of all connections together.
    pub held_max: usize,
    /// Bytes of answers that are not fetched, of all connections together.
    pub unsent_max: usize,
}

impl Bounds {
    /// Those of a node with so much memory.
    pub fn of(capacity: &Capacity) -> Bounds {
        Bounds {
            connections_max: capacity.connections,
            reserve_max: capacity.connections.div_ceil(limits::HTTP_RESERVE_PART),
            slot_wait_max: limits::HTTP_SLOT_WAIT_MAX,
            patience: limits::HTTP_PATIENCE,
            read_max: limits::HTTP_READ_MAX,
            idle_max: limits::HTTP_IDLE_MAX,
            transfer_max: limits::HTTP_TRANSFER_MAX,
            rate_min: limits::HTTP_RATE_MIN,
            held_max: capacity.http_held,
            unsent_max: capacity.http_unsent,
        }
    }
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds::of(&Capacity::default())
    }
}

/// A server over one handler.
pub struct Server<H> {
    handler: Rc<H>,
    bounds: Bounds,
    slots: Rc<Slots>,
}

impl<H: Handler> Server<H> {
    /// A server that answers with `handler`, and keeps `counts` right.
    pub fn new(handler: Rc<H>, bounds: Bounds, counts: Rc<Counts>) -> Server<H> {
        Server { handler, bounds, slots: Rc::new(Slots::new(bounds, counts)) }
    }

    /// Connections that are open now.
    pub fn connections(&self) -> usize {
        self.slots.connections()
    }

    /// Accepts connections and answers their requests until `stop` is done; then lets running
    /// requests end, for at most [`limits::DRAIN_MAX`].
    pub async fn serve(
        &self,
        executor: &LocalExecutor<'static>,
        listener: TcpListener,
        stop: impl Future<Output = ()>,
    ) {
        let mut tasks = Vec::new();
        let address =
            listener.local_addr().map_or_else(|error| error.to_string(), |at| at.to_string());
        let watch = self.watch(Reporter::new(address));
        let register = async |stream: TcpStream| self.slots.register(stream).await;
        let spawn = |open: Open| executor.spawn(serve(open, self.handler.clone()));
        let accept = accept_all(&listener, "http", &mut tasks, register, spawn);
        future::or(future::or(accept, watch), stop).await;
        drop(listener);
        self.slots.finish();
        let drained = async {
            while self.connections() > 0 {
                self.slots.changed().await;
            }
        };
        future::or(drained, Timer::after(limits::DRAIN_MAX)).await;
        // Dropping a task ends its connection.
        drop(tasks);
    }

    /// Sends off connections that take too long. While none is open, nothing ticks.
    async fn watch(&self, mut reporter: Reporter) {
        loop {
            while self.connections() == 0 {
                self.slots.changed().await;
            }
            Timer::after(self.bounds.read_max / TICKS).await;
            self.slots.send_off_late();
            reporter.report(&self.slots);
        }
    }
}

/// An error as all of them look.
pub fn refuse(rejection: &Rejection) -> Response<Full<Bytes>> {
    let (status, _) = rejection.status();
    let mut response = Response::new(Full::new(Bytes::from(rejection.body())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, JSON);
    match rejection {
        Rejection::Method(allowed) => {
            headers.insert(ALLOW, HeaderValue::from_static(allowed));
        }
        Rejection::KeyMissing => {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("ApiKey"));
        }
        // RFC 9110 12.5.3: what would be taken instead.
        Rejection::Policy(Violation::ContentCoding) => {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        Rejection::Starting | Rejection::AtCapacity => {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        _ if status == StatusCode::TOO_MANY_REQUESTS => {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        _ => {}
    }
    response
}

/// How hyper and we parted.
enum End {
    /// hyper is done with the connection.
    Done(hyper::Result<()>),
    /// The server does not want to go on.
    Ordered,
}

/// Serves one connection until it ends.
async fn serve<H: Handler>(open: Open, handler: Rc<H>) {
    let line = &open.line;
    let is_head = |line: &Line| line.phase() == Phase::Head || line.is_silenced();
    let rejection = match converse(line, &handler).await {
        End::Done(Err(error)) if error.is_parse_too_large() && is_head(line) => {
            Some(Rejection::HeadTooLarge)
        }
        End::Done(Err(_)) if is_head(line) => Some(Rejection::Head),
        End::Ordered if line.order() == Order::Evict => {
            let is_owed = is_head(line) || line.phase() == Phase::Idle && line.has_asked().await;
            is_owed.then_some(Rejection::AtCapacity)
        }
        End::Ordered if is_head(line) => Some(Rejection::Timeout),
        End::Done(_) | End::Ordered => None,
    };
    if let Some(rejection) = &rejection {
        line.refuse(rejection).await;
        handler.note_refused(rejection);
    }
    if rejection.is_some() || line.is_unread() {
        line.linger().await;
    }
}

async fn converse<H: Handler>(line: &Rc<Line>, handler: &Rc<H>) -> End {
    let service =
        service_fn(|request: Request<Incoming>| answer(line.clone(), handler.clone(), request));
    let connection = Builder::new()
        .half_close(true)
        .header_read_timeout(None)
        // The buffer's bound alone lets a head pass that is larger but complete when it is read.
        .max_header_size(limits::HTTP_HEAD_BYTES_MAX)
        .max_buf_size(limits::HTTP_HEAD_BYTES_MAX)
        .serve_connection(Io(line.clone()), service);
    let mut connection = pin!(connection);
    poll_fn(|context| {
        line.listen(context);
        match (line.order(), line.phase()) {
            (Order::Serve, _)
            | (Order::Late | Order::Evict, Phase::Waiting | Phase::Working | Phase::Body) => {}
            (Order::Finish, Phase::Idle) | (Order::Late | Order::Evict, _) => {
                return Poll::Ready(End::Ordered);
            }
            (Order::Finish, _) => connection.as_mut().graceful_shutdown(),
        }
        connection.as_mut().poll(context).map(End::Done)
    })
    .await
}

async fn answer<H: Handler>(
    line: Rc<Line>,
    handler: Rc<H>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    line.begin_answer();
    line.take_turn(1).await;
    let (head, incoming) = request.into_parts();
    let is_awaited = head.headers.contains_key(EXPECT);
    let mut body = Body::new(incoming, line.clone(), is_awaited);
    let is_admitted = is_vital(&head) || line.claim_slot().await;
    let mut response = if is_admitted {
        handler.handle(head, &mut body).await
    } else {
        handler.note_refused(&Rejection::AtCapacity);
        refuse(&Rejection::AtCapacity)
    };
    let bytes = response.body().size_hint().exact().unwrap_or(0);
    if line.claim(usize::try_from(bytes).unwrap_or(usize::MAX)).is_err() {
        response = refuse(&Rejection::OverBudget);
        handler.note_refused(&Rejection::OverBudget);
    }
    // Without a slot, a body is not waited for and the connection does not stay.
    let is_read = if is_admitted { body.discard().await } else { body.is_ended() };
    if !is_read {
        line.leave_unread();
    }
    if !is_read || !is_admitted {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    line.end_work();
    Ok(response)
}
