//! The gRPC server: services over HTTP/2, on the node's own parts.
//!
//! In: connections, and the [`Service`]s that answer calls. Out: their answers, or the status that
//! tells a client what was wrong. Health and reflection are built in.
//!
//! Every connection is one task that drives its streams itself: an answer that is there at once
//! costs no task, no timer and no wake-up. Bounded: connections, streams, message size, bytes of
//! calls that are not answered yet, bytes of answers that a client does not fetch.
//!
//! Where a cluster key is set, only calls that carry it reach a service between nodes. Health and
//! reflection stay open, as orchestrators and operators have no key.
//!
//! Never: knows a message of the services, trusts a length, ends accepting because of an error,
//! keeps anything of a call whose key it has not seen.

mod admission;
mod call;
mod connection;
mod flood;
mod health;
pub mod identity;
mod link;
mod metadata;
mod methods;
mod reflection;
mod respond;
mod streaming;
mod wakers;

use std::cell::{Cell, OnceCell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use async_executor::{LocalExecutor, Task};
use bytes::Bytes;
use futures_lite::future;

pub use self::link::Ending;
use self::link::Link;
use self::methods::Methods;
use crate::base::secret::Fingerprint;
use crate::base::{Capacity, Secret, limits};
use crate::shell::grpc::identity::Identity;
use crate::shell::runtime::budget::Budget;
use crate::shell::runtime::log_limit;
use crate::shell::runtime::reactor::Timer;
use crate::shell::runtime::socket::{Ends, TcpListener, TcpStream};
use crate::wire::grpc::{Code, Status};

/// One call whose request has arrived whole.
#[derive(Debug)]
pub struct Call {
    /// The request message, without its frame.
    pub message: Bytes,
    /// Which connection it came by; never used twice.
    pub connection: u64,
    /// What the client said it waits at most.
    pub timeout: Option<Duration>,
    /// Between which hosts it came; `None` by another way than a network.
    pub ends: Option<Ends>,
}

impl Call {
    /// Whether the caller is on this machine.
    pub fn is_near(&self) -> bool {
        self.ends.is_none_or(|ends| ends.is_near())
    }

    /// The caller's host, for the log.
    pub fn caller(&self) -> String {
        self.ends.map_or_else(|| "this process".to_owned(), |ends| ends.far.to_string())
    }
}

/// An answer that is being made.
pub type Work = Pin<Box<dyn Future<Output = Result<Bytes, Status>>>>;

/// Hears what a caller says of its settings.
pub type SettingsHeard = Box<dyn Fn(&[u8])>;

/// How a call is answered.
pub enum Answer {
    /// At once, which is by far the cheapest.
    Now(Result<Bytes, Status>),
    /// Later. The future is dropped when the client goes away or its time is up.
    Later(Work),
    /// Later, by an answer of up to so many bytes. It is begun when there is room, and told for how
    /// many bytes.
    Large(usize, Box<dyn FnOnce(usize) -> Work>),
}

/// A set of unary methods under one name.
pub trait Service {
    /// The full name, `package.Service`.
    fn name(&self) -> &'static str;
    /// The methods; a call of any other is answered `UNIMPLEMENTED` before its body is read.
    fn methods(&self) -> &'static [&'static str];
    /// Whether callers need no cluster key.
    fn is_open(&self) -> bool {
        false
    }
    /// Answers a call of one of [`Service::methods`].
    fn call(&self, method: &'static str, call: &Call) -> Answer;
}

/// A server for a fixed list of services. A clone is another handle of the same.
#[derive(Clone)]
pub struct Server {
    shared: Rc<Shared>,
}

/// What clients may take together.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Open connections, those kept for peers and health not counted.
    pub connections_max: usize,
    /// Calls whose requests are not whole: of peers, and of all others.
    pub half_open_max: usize,
    /// Bytes of requests.
    pub held_max: usize,
    /// Bytes of answers that are not sent.
    pub unsent_max: usize,
    /// Streams that may stay open.
    pub streams_max: usize,
    /// Calls side by side on one connection.
    pub calls_max: u32,
}

impl Bounds {
    /// Those of a node with so much memory.
    pub fn of(capacity: &Capacity) -> Bounds {
        Bounds {
            connections_max: capacity.connections,
            half_open_max: capacity.half_open,
            held_max: capacity.grpc_held,
            unsent_max: capacity.grpc_unsent,
            streams_max: capacity.streams,
            calls_max: capacity.calls,
        }
    }
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds::of(&Capacity::default())
    }
}

/// What all connections know.
struct Shared {
    methods: Methods,
    key: Cell<Option<Fingerprint>>,
    /// What this process says of itself, once it says anything.
    identity: OnceCell<Rc<Identity>>,
    bounds: Bounds,
    phase: Cell<Phase>,
    links: RefCell<Vec<Rc<Link>>>,
    /// The task that waits for a change of `links`: the end of the server.
    waiting: Cell<Option<Waker>>,
    /// Connections and answers so far; the clock by which connections are idle.
    events: Cell<u64>,
    /// Calls whose requests are not whole: of clients without the cluster key, and of peers.
    half_open: [Cell<usize>; 2],
    /// Streams that stay open.
    streams: Cell<usize>,
    /// Connections that have ended and hear their clients out.
    farewells: Cell<usize>,
    /// Connections that the server ended, by [`Ending`].
    endings: [Cell<u64>; Ending::ALL.len()],
    /// Bytes of requests.
    held: Rc<Budget>,
    /// Bytes of answers that are not sent.
    unsent: Rc<Budget>,
    /// Hears what nodes say of their settings.
    settings: OnceCell<SettingsHeard>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// New calls are taken.
    Serving,
    /// No new connection, no new call; running ones may end.
    Draining,
}

impl Server {
    /// A server that answers with `services`, and with health and reflection. Where there is a
    /// `key`, calls of services that are not open have to bring it.
    pub fn new(services: Vec<Box<dyn Service>>, key: Option<&Secret>, bounds: Bounds) -> Server {
        let (links, waiting, events, half_open, streams, farewells, endings) = Default::default();
        let shared = Shared {
            methods: Methods::new(services),
            key: Cell::new(key.map(Secret::fingerprint)),
            identity: OnceCell::new(),
            bounds,
            phase: Cell::new(Phase::Serving),
            links,
            waiting,
            events,
            half_open,
            streams,
            farewells,
            endings,
            held: Budget::new(bounds.held_max),
            unsent: Budget::new(bounds.unsent_max),
            settings: OnceCell::new(),
        };
        Server { shared: Rc::new(shared) }
    }

    /// Whether calls have to bring this very key.
    pub fn has_key(&self, key: &Secret) -> bool {
        self.shared.key.get().is_some_and(|kept| kept.matches(key.expose().as_bytes()))
    }

    /// Calls have to bring another key from now on, on open connections, too.
    pub fn change_key(&self, key: &Secret) {
        self.shared.key.set(Some(key.fingerprint()));
    }

    /// Judges calls by what other nodes say of themselves with them, before the first is served.
    pub fn identify_by(&self, identity: Rc<Identity>) {
        let _ = self.shared.identity.set(identity);
    }

    /// Has `hear` told what callers that have shown the key say of their settings.
    pub fn observe_settings(&self, hear: SettingsHeard) {
        self.shared.settings.get_or_init(|| hear);
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
        let accept =
            future::or(self.accept_all(executor, &listener, &mut tasks), self.end_stalled());
        future::or(accept, stop).await;
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

    /// Serves one connection that came by another way than [`Server::serve`], until it ends.
    pub async fn serve_stream(&self, number: u64, stream: TcpStream) {
        let place = (self.shared.make_room(), stream.ends());
        let link = Link::register(number, &self.shared, place);
        connection::serve(link, stream).await;
    }

    /// Connections that are open now.
    pub fn connections(&self) -> usize {
        self.shared.links.borrow().len()
    }

    /// Connections that the server ended of its own accord, by its reason.
    pub fn endings(&self) -> impl Iterator<Item = (Ending, u64)> {
        let counts = self.shared.endings.iter().map(Cell::get);
        Ending::ALL.into_iter().zip(counts.collect::<Vec<_>>())
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
            tasks.retain(|task| !task.is_finished());
            match listener.accept().await {
                Ok(stream) => {
                    failed = false;
                    accepted += 1;
                    let is_provisional = self.shared.make_room();
                    let place = (is_provisional, stream.ends());
                    let link = Link::register(accepted, &self.shared, place);
                    tasks.push(executor.spawn(connection::serve(link, stream)));
                }
                Err(error) => {
                    if !failed {
                        let line = format_args!("grpc: cannot accept a connection: {error}");
                        log_limit::warn((module_path!(), "", "failed accepts"), line);
                    }
                    failed = true;
                    Timer::after(limits::ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

impl Shared {
    fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.links.borrow().iter().for_each(|link| link.wake());
    }

    /// The next time of the clock that counts connections and answers.
    fn next_event(&self) -> u64 {
        self.events.set(self.events.get() + 1);
        self.events.get()
    }

    fn count_ending(&self, ending: Ending) {
        let count = &self.endings[ending as usize];
        count.set(count.get() + 1);
        let name = ending.name();
        log_limit::warn(
            (module_path!(), "", name),
            format_args!("a connection was ended by the node: {name}"),
        );
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
