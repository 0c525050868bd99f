//! The HTTP/1.1 server: hyper's protocol, our bounds.
//!
//! In: connections, and a [`Handler`] that answers requests. Out: its answers; for a request that
//! cannot be read, or does not come, an error in the same shape as all others. One task serves a
//! connection; a single timer watches over all of them.
//!
//! Bounded: connections, head, body, the time each phase of a request may take.
//!
//! Never: knows a route, ends accepting because of an error.

mod body;
pub mod client;
mod line;

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use async_executor::{LocalExecutor, Task};
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

use self::line::{Io, Line, Order, Phase, Shared};
use super::reactor::Timer;
use super::socket::{TcpListener, TcpStream};
use crate::base::{Capacity, limits};
use crate::wire::http::JSON;
use crate::wire::http::policy::Violation;
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
    /// Open connections.
    pub connections_max: usize,
    /// Time for a head, or for a body.
    pub read_max: Duration,
    /// Time between requests.
    pub idle_max: Duration,
    /// Time for an answer to be fetched.
    pub write_max: Duration,
    /// Bytes of bodies that are not whole, of all connections together.
    pub held_max: usize,
    /// Bytes of answers that are not fetched, of all connections together.
    pub unsent_max: usize,
}

impl Bounds {
    /// Those of a node with so much memory.
    pub fn of(capacity: &Capacity) -> Bounds {
        Bounds {
            connections_max: capacity.connections,
            read_max: limits::HTTP_READ_MAX,
            idle_max: limits::HTTP_IDLE_MAX,
            write_max: limits::HTTP_WRITE_MAX,
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
    lines: Rc<Lines>,
}

/// How many connections are open, for whoever wants to know.
pub type Gauge = Rc<Cell<usize>>;

/// The open connections.
struct Lines {
    open: RefCell<Vec<Rc<Line>>>,
    gauge: Gauge,
    shared: Rc<Shared>,
    /// Who waits for a change of `open`: the server's one task.
    waiting: Cell<Option<Waker>>,
}

impl<H: Handler> Server<H> {
    /// A server that answers with `handler`, and keeps `gauge` right.
    pub fn new(handler: Rc<H>, bounds: Bounds, gauge: Gauge) -> Server<H> {
        Server { handler, bounds, lines: Rc::new(Lines::new(gauge, &bounds)) }
    }

    /// Connections that are open now.
    pub fn connections(&self) -> usize {
        self.lines.open.borrow().len()
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
        let accept = future::or(self.accept_all(executor, &listener, &mut tasks), self.watch());
        future::or(accept, stop).await;
        drop(listener);
        self.lines.open.borrow().iter().for_each(|line| line.give(Order::Finish));
        let drained = async {
            while self.connections() > 0 {
                self.lines.changed().await;
            }
        };
        future::or(drained, Timer::after(limits::DRAIN_MAX)).await;
        // Dropping a task ends its connection.
        drop(tasks);
    }

    async fn accept_all(
        &self,
        executor: &LocalExecutor<'static>,
        listener: &TcpListener,
        tasks: &mut Vec<Task<()>>,
    ) {
        let mut failed = false;
        loop {
            self.make_room().await;
            tasks.retain(|task| !task.is_finished());
            match listener.accept().await {
                Ok(stream) => {
                    failed = false;
                    let open = Open::register(&self.lines, stream);
                    tasks.push(executor.spawn(serve(open, self.handler.clone())));
                }
                Err(error) => {
                    if !failed {
                        log::warn!("cannot accept a connection, trying again: {error}");
                    }
                    failed = true;
                    Timer::after(limits::ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Waits until one more connection may be open.
    async fn make_room(&self) {
        while self.connections() >= self.bounds.connections_max {
            self.lines.send_off_idlest();
            self.lines.changed().await;
        }
    }

    /// Sends off connections that take too long. While none is open, nothing ticks.
    async fn watch(&self) {
        let tick = self.bounds.read_max / TICKS;
        let ticks = |span: Duration| (span.as_nanos() / tick.as_nanos().max(1)) as u32;
        loop {
            while self.connections() == 0 {
                self.lines.changed().await;
            }
            Timer::after(tick).await;
            let now = self.lines.shared.clock.get().wrapping_add(1);
            self.lines.shared.clock.set(now);
            for line in self.lines.open.borrow().iter() {
                let allowed = match line.phase() {
                    Phase::Idle => self.bounds.idle_max,
                    Phase::Head | Phase::Body => self.bounds.read_max,
                    Phase::Writing => self.bounds.write_max,
                    Phase::Working => continue,
                };
                if now.wrapping_sub(line.since()) > ticks(allowed) {
                    line.give(Order::Late);
                }
            }
        }
    }
}

impl Lines {
    fn new(gauge: Gauge, bounds: &Bounds) -> Lines {
        let shared = Rc::new(Shared::new(bounds.held_max, bounds.unsent_max));
        Lines { open: RefCell::default(), gauge, shared, waiting: Cell::default() }
    }

    /// Asks the connection that has waited longest for its next request to go.
    fn send_off_idlest(&self) {
        let open = self.open.borrow();
        let idle =
            open.iter().filter(|line| line.phase() == Phase::Idle && line.order() == Order::Serve);
        if let Some(line) = idle.min_by_key(|line| line.since()) {
            line.give(Order::Finish);
        }
    }

    async fn changed(&self) {
        let before = self.open.borrow().len();
        poll_fn(|context| {
            self.waiting.set(Some(context.waker().clone()));
            if self.open.borrow().len() == before { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }

    fn note_change(&self) {
        self.gauge.set(self.open.borrow().len());
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }
}

/// A connection's place among the open ones; given up when the connection ends, however it ends.
struct Open {
    line: Rc<Line>,
    lines: Rc<Lines>,
}

impl Open {
    fn register(lines: &Rc<Lines>, stream: TcpStream) -> Open {
        let line = Rc::new(Line::new(stream, lines.shared.clone()));
        lines.open.borrow_mut().push(line.clone());
        lines.note_change();
        Open { line, lines: lines.clone() }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.lines.open.borrow_mut().retain(|line| !Rc::ptr_eq(line, &self.line));
        self.lines.note_change();
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
        _ if status == StatusCode::TOO_MANY_REQUESTS || *rejection == Rejection::Starting => {
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
        .max_buf_size(limits::HTTP_HEAD_BYTES_MAX)
        .serve_connection(Io(line.clone()), service);
    let mut connection = pin!(connection);
    poll_fn(|context| {
        line.listen(context);
        match (line.order(), line.phase()) {
            (Order::Serve, _) | (Order::Late, Phase::Working | Phase::Body) => {}
            (Order::Finish, Phase::Idle) | (Order::Late, _) => return Poll::Ready(End::Ordered),
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
    let (head, incoming) = request.into_parts();
    let is_awaited = head.headers.contains_key(EXPECT);
    let mut body = Body::new(incoming, line.clone(), is_awaited);
    let mut response = handler.handle(head, &mut body).await;
    let bytes = response.body().size_hint().exact().unwrap_or(0);
    if line.claim(usize::try_from(bytes).unwrap_or(usize::MAX)).is_err() {
        response = refuse(&Rejection::Crowded);
        handler.note_refused(&Rejection::Crowded);
    }
    if !body.discard().await {
        line.leave_unread();
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    line.end_work();
    Ok(response)
}
