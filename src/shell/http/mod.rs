//! The HTTP/1.1 server: hyper's protocol, our bounds.
//!
//! In: connections, and a [`Handler`] that answers requests. Out: its answers; for a request that
//! cannot be read, or does not come, an error in the same shape as all others. One task serves a
//! connection; a single timer watches over all of them.
//!
//! Bounded: connections, head, body, the time each phase of a request may take, the rate of bodies
//! and answers, the work that one connection gets in one round of the reactor.
//!
//! Never: knows a route, ends accepting because of an error or because all slots are taken.

mod answer_body;
mod body;
mod bounds;
pub mod client;
mod closing;
mod connection;
mod handler;
pub mod policed;
mod progress;
mod refusal;
mod slots;
mod stream_wait;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use async_executor::LocalExecutor;
use futures_lite::future;
use http::Request;
use http::header::{CONNECTION, EXPECT, HeaderValue};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;

pub use answer_body::{AnswerBody, HttpAnswer, Outlet};
pub use body::Body;
pub use bounds::Bounds;
pub use handler::Handler;
pub use refusal::refuse;
pub use slots::Counts;

use self::connection::{HttpConnection, HyperStream, Order, Phase};
use self::handler::AnyHandler;
use self::slots::{Admitted, Reporter, Slots};
use crate::base::limits;
use crate::shell::runtime::accept::accept_all;
use crate::shell::runtime::reactor::Timer;
use crate::shell::runtime::socket::{TcpListener, TcpStream};
use crate::wire::http::is_vital;
use crate::wire::rejection::Rejection;

/// Ticks of the server's clock in [`Bounds::read_max`]: how exact timeouts are.
const TICKS: u32 = 4;

/// A server over one handler.
pub struct Server {
    handler: Rc<dyn AnyHandler>,
    bounds: Bounds,
    slots: Rc<Slots>,
}

impl Server {
    /// A server that answers with `handler`, and keeps `counts` right.
    pub fn new(handler: Rc<impl Handler>, bounds: Bounds, counts: Rc<Counts>) -> Server {
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
        let spawn = |admitted| executor.spawn(serve(admitted, self.handler.clone()));
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

/// How hyper and we parted.
enum ConnectionEnd {
    /// hyper is done with the connection.
    Done(hyper::Result<()>),
    /// The server does not want to go on.
    Ordered,
}

/// Serves one connection until it ends.
async fn serve(admitted: Admitted, handler: Rc<dyn AnyHandler>) {
    let admitted = Rc::new(admitted);
    let connection = &admitted.connection;
    let is_head =
        |connection: &HttpConnection| connection.phase() == Phase::Head || connection.is_silenced();
    let rejection = match converse(&admitted, &handler).await {
        ConnectionEnd::Done(Err(error)) if error.is_parse_too_large() && is_head(connection) => {
            Some(Rejection::HeadTooLarge)
        }
        ConnectionEnd::Done(Err(_)) if is_head(connection) => Some(Rejection::Head),
        ConnectionEnd::Ordered if connection.order() == Order::Evict => {
            let is_owed = is_head(connection)
                || connection.phase() == Phase::Idle && connection.has_asked().await;
            is_owed.then_some(Rejection::AtCapacity)
        }
        ConnectionEnd::Ordered if is_head(connection) => Some(Rejection::Timeout),
        ConnectionEnd::Done(_) | ConnectionEnd::Ordered => None,
    };
    if let Some(rejection) = &rejection {
        connection.refuse(rejection).await;
        handler.hear_refused(rejection);
    }
    if rejection.is_some() || connection.is_unread() {
        connection.linger().await;
    }
}

async fn converse(admitted: &Rc<Admitted>, handler: &Rc<dyn AnyHandler>) -> ConnectionEnd {
    let connection = &admitted.connection;
    let service =
        service_fn(|request: Request<Incoming>| answer(admitted.clone(), handler.clone(), request));
    let protocol = Builder::new()
        .half_close(true)
        .header_read_timeout(None)
        // The buffer's bound alone lets a head pass that is larger but complete when it is read.
        .max_header_size(limits::HTTP_HEAD_BYTES_MAX)
        .max_buf_size(limits::HTTP_HEAD_BYTES_MAX)
        .serve_connection(HyperStream(connection.clone()), service);
    let mut protocol = pin!(protocol);
    poll_fn(|context| {
        connection.listen(context);
        match (connection.order(), connection.phase()) {
            (Order::Serve, _)
            | (Order::Late | Order::Evict, Phase::Waiting | Phase::Working | Phase::Body) => {}
            // The work of the answer ends it, unless the client does not take what there is.
            (Order::Late | Order::Evict, Phase::Streaming) if !connection.is_blocked() => {}
            (Order::Finish, Phase::Idle) => {
                // A request may be here that was not read yet: its connection would be reset.
                if let Poll::Ready(end) = protocol.as_mut().poll(context) {
                    return Poll::Ready(ConnectionEnd::Done(end));
                }
                if connection.phase() == Phase::Idle {
                    return Poll::Ready(ConnectionEnd::Ordered);
                }
                protocol.as_mut().graceful_shutdown();
            }
            (Order::Late | Order::Evict, _) => return Poll::Ready(ConnectionEnd::Ordered),
            (Order::Finish, _) => protocol.as_mut().graceful_shutdown(),
        }
        protocol.as_mut().poll(context).map(ConnectionEnd::Done)
    })
    .await
}

async fn answer(
    admitted: Rc<Admitted>,
    handler: Rc<dyn AnyHandler>,
    request: Request<Incoming>,
) -> Result<HttpAnswer, Infallible> {
    let connection = &admitted.connection;
    connection.begin_answer();
    connection.take_permit(1).await;
    let (head, incoming) = request.into_parts();
    let is_awaited = head.headers.contains_key(EXPECT);
    let mut body = Body::new(incoming, admitted.clone(), is_awaited);
    let is_admitted = is_vital(&head) || admitted.claim_slot().await;
    let mut response = if is_admitted {
        handler.begin(head, &mut body).await
    } else {
        handler.hear_refused(&Rejection::AtCapacity);
        refuse(&Rejection::AtCapacity)
    };
    let bytes = response.body().size_hint().exact().unwrap_or(0);
    if admitted.reserve_answer(usize::try_from(bytes).unwrap_or(usize::MAX)).is_err() {
        response = refuse(&Rejection::OverBudget);
        handler.hear_refused(&Rejection::OverBudget);
    }
    if response.body().is_made() {
        connection.begin_stream();
        return Ok(response);
    }
    // Without a slot, a body is not waited for and the connection does not stay.
    let is_read = if is_admitted { body.discard().await } else { body.is_ended() };
    if !is_read {
        connection.leave_unread();
    }
    if !is_read || !is_admitted {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    connection.end_work();
    Ok(response)
}
