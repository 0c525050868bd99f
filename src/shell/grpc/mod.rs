//! The gRPC server: services over HTTP/2, on the node's own parts.
//!
//! In: connections, and the [`Service`]s that answer calls. Out: their answers, or the status that
//! tells a client what was wrong. Health and reflection are built in.
//!
//! Every connection is one task that drives its streams itself: an answer that is there at once
//! costs no task, no timer and no wake-up. Bounded: connections, streams, message size, bytes of
//! requests that are not whole yet, bytes of answers that a client does not fetch.
//!
//! Never: knows a message of the services, trusts a length, ends accepting because of an error.

mod call;
mod connection;
mod health;
mod methods;
mod reflection;
mod respond;
mod wakers;

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use async_executor::{LocalExecutor, Task};
use bytes::Bytes;
use futures_lite::future;
use http::HeaderMap;

use self::connection::Link;
use self::methods::Methods;
use super::budget::Budget;
use super::reactor::Timer;
use super::socket::TcpListener;
use crate::base::limits;
use crate::wire::grpc::{self, Code, Status};

/// One call whose request has arrived whole.
#[derive(Debug)]
pub struct Call {
    /// The request message, without its frame.
    pub message: Bytes,
    /// Which connection it came by; never used twice.
    pub connection: u64,
    /// What the client said it waits at most.
    pub timeout: Option<Duration>,
    headers: HeaderMap,
}

impl Call {
    /// The first text value of a metadata name.
    pub fn metadata(&self, name: &str) -> Option<&str> {
        grpc::metadata(&self.headers, name)
    }

    /// The values of a `-bin` metadata name; `None` if one is not base64.
    pub fn binary_metadata(&self, name: &str) -> Option<Vec<Vec<u8>>> {
        grpc::binary_metadata(&self.headers, name)
    }
}

/// How a call is answered.
pub enum Answer {
    /// At once, which is by far the cheapest.
    Now(Result<Bytes, Status>),
    /// Later. The future is dropped when the client goes away or its time is up.
    Later(Pin<Box<dyn Future<Output = Result<Bytes, Status>>>>),
}

/// A set of unary methods under one name.
pub trait Service {
    /// The full name, `package.Service`.
    fn name(&self) -> &'static str;
    /// The methods; a call of any other is answered `UNIMPLEMENTED` before its body is read.
    fn methods(&self) -> &'static [&'static str];
    /// Answers a call of one of [`Service::methods`].
    fn call(&self, method: &'static str, call: &Call) -> Answer;
}

/// A server for a fixed list of services. A clone is another handle of the same.
#[derive(Clone)]
pub struct Server {
    shared: Rc<Shared>,
}

/// What all connections know.
struct Shared {
    methods: Methods,
    phase: Cell<Phase>,
    links: RefCell<Vec<Rc<Link>>>,
    /// Who waits for a change of `links`: the accept loop, or the end of the server.
    waiting: Cell<Option<Waker>>,
    /// Calls begun so far; the clock by which connections are idle.
    calls: Cell<u64>,
    /// Bytes of requests that are not complete.
    held: Rc<Budget>,
    /// Bytes of answers that are not sent.
    unsent: Rc<Budget>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// New calls are taken.
    Serving,
    /// No new connection, no new call; running ones may end.
    Draining,
}

impl Server {
    /// A server that answers with `services`, and with health and reflection.
    pub fn new(services: Vec<Box<dyn Service>>) -> Server {
        let shared = Shared {
            methods: Methods::new(services),
            phase: Cell::new(Phase::Serving),
            links: RefCell::default(),
            waiting: Cell::new(None),
            calls: Cell::new(0),
            held: Budget::new(limits::GRPC_HELD_BYTES_MAX),
            unsent: Budget::new(limits::GRPC_UNSENT_BYTES_MAX),
        };
        Server { shared: Rc::new(shared) }
    }

    /// Accepts connections and answers their calls until `stop` is done; then lets running calls
    /// end, for at most [`limits::DRAIN_MAX`].
    pub async fn serve(
        &self,
        executor: &LocalExecutor<'static>,
        listener: TcpListener,
        stop: impl Future<Output = ()>,
    ) {
        let mut tasks = Vec::new();
        future::or(self.accept_all(executor, &listener, &mut tasks), stop).await;
        drop(listener);
        self.shared.enter(Phase::Draining);
        let drained = async {
            while self.connections() > 0 {
                self.shared.links_changed().await;
            }
        };
        future::or(drained, Timer::after(limits::DRAIN_MAX)).await;
        // Dropping a task ends its connection and all calls on it.
        drop(tasks);
    }

    /// Connections that are open now.
    pub fn connections(&self) -> usize {
        self.shared.links.borrow().len()
    }

    /// Calls that have ended, by service, method and code, those that occurred. Calls of unknown
    /// methods stand under empty names.
    pub fn counts(&self) -> Vec<(&'static str, &'static str, Code, u64)> {
        self.shared.methods.counts()
    }

    async fn accept_all(
        &self,
        executor: &LocalExecutor<'static>,
        listener: &TcpListener,
        tasks: &mut Vec<Task<()>>,
    ) {
        let mut failed = false;
        let mut accepted = 0;
        loop {
            self.make_room().await;
            tasks.retain(|task| !task.is_finished());
            match listener.accept().await {
                Ok(stream) => {
                    failed = false;
                    accepted += 1;
                    let link = Link::register(accepted, &self.shared);
                    tasks.push(executor.spawn(connection::serve(link, stream)));
                }
                Err(error) => {
                    if !failed {
                        log::warn!("grpc: cannot accept a connection, trying again: {error}");
                    }
                    failed = true;
                    Timer::after(limits::ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Waits until one more connection may be open. The one that has been without a call for the
    /// longest time is asked to go.
    async fn make_room(&self) {
        while self.connections() >= limits::CONNECTIONS_MAX {
            if let Some(link) = self.shared.idlest() {
                link.close();
            }
            self.shared.links_changed().await;
        }
    }
}

impl Shared {
    fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.links.borrow().iter().for_each(|link| link.wake());
    }

    /// The connection without a running call that was used least lately.
    fn idlest(&self) -> Option<Rc<Link>> {
        let links = self.links.borrow();
        let idle = links.iter().filter(|link| link.is_idle());
        idle.min_by_key(|link| link.last_call()).cloned()
    }

    async fn links_changed(&self) {
        let before = self.links.borrow().len();
        poll_fn(|context| {
            self.waiting.set(Some(context.waker().clone()));
            if self.links.borrow().len() == before { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }

    fn note_links_changed(&self) {
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests;
