//! Calls to other nodes: one HTTP/2 connection per peer, dialled when it is first needed.
//!
//! In: a peer's address and request messages. Out: answer messages, or the status of the call. A
//! connection that dies is dialled anew by the next call, not before a pause that grows with each
//! failure. Never: sends more calls than the peer's window for small frames holds, waits without
//! end.

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::{self, SendRequest};
use http::header::{CONTENT_TYPE, HeaderName, TE, USER_AGENT};
use http::{HeaderValue, Method, Request};

use crate::base::{Secret, limits};
use crate::cluster::identity::Tag;
use crate::shell::grpc::identity::Identity;
use crate::shell::peers::answer::{of_h2, read_answer};
use crate::shell::runtime::resolve::{ResolveError, resolve};
use crate::shell::runtime::semaphore::Semaphore;
use crate::shell::runtime::socket::TcpStream;
use crate::shell::runtime::tasks::Tasks;
use crate::shell::runtime::timeout::within;
use crate::wire::frame;
use crate::wire::grpc::{
    CLUSTER_KEY, CONTENT_TYPE as GRPC, SETTINGS, SharedSettings, format_timeout,
};
use crate::wire::status::{Code, Status};

/// Bytes a peer may send on one stream before we have read them: an answer to `Records`, so that it
/// does not wait for us. A connection's window holds two of them and the answers of other calls.
const WINDOW_BYTES: u32 = (limits::RECORDS_BYTES + (64 << 10)) as u32;
/// A peer may send frames of this size: a large answer takes a quarter of the reads.
const FRAME_BYTES: u32 = 64 << 10;
/// How long dialling may take.
const DIAL_MAX: Duration = Duration::from_secs(5);
/// The pause after a failed dial; it doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(30);

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// Why a peer could not be dialled.
#[derive(Debug)]
enum DialError {
    /// Its name has no address.
    Resolve(ResolveError),
    /// The look-up found an empty list.
    NoAddress,
    /// The last of its addresses does not take a connection.
    Connect(io::Error),
    /// What answers there does not speak HTTP/2.
    Handshake(h2::Error),
    /// None of it happened within [`DIAL_MAX`].
    Late,
}

impl fmt::Display for DialError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DialError::Resolve(error) => error.fmt(out),
            DialError::NoAddress => out.write_str("the name has no address"),
            DialError::Connect(error) => error.fmt(out),
            DialError::Handshake(error) => error.fmt(out),
            DialError::Late => write!(out, "no connection within {} ms", DIAL_MAX.as_millis()),
        }
    }
}

/// Hears of a connection that ended, by the peer's address.
pub type Lost = Box<dyn Fn(&str)>;

/// Hears of a connection that was made, by this node's address on it.
pub type Made = Box<dyn Fn(IpAddr)>;

/// What dialling needs, the same for all peers.
pub struct Dialer {
    tasks: Tasks,
    key: RefCell<Option<HeaderValue>>,
    identity: Rc<Identity>,
    /// What the first call on each connection carries.
    settings: OnceCell<HeaderValue>,
    lost: RefCell<Option<Lost>>,
    made: RefCell<Option<Made>>,
}

impl Dialer {
    /// Calls carry `key`, the cluster's, where there is one.
    pub fn new(tasks: Tasks, key: Option<&Secret>) -> Rc<Dialer> {
        let key = RefCell::new(key.map(header_of));
        let (settings, lost, made) = Default::default();
        Rc::new(Dialer { tasks, key, settings, identity: Identity::new(), lost, made })
    }

    /// What calls say of this process.
    pub fn identity(&self) -> &Rc<Identity> {
        &self.identity
    }

    /// Has `made` called for every connection that is made.
    pub fn observe_made(&self, made: Made) {
        *self.made.borrow_mut() = Some(made);
    }

    /// Has every new connection say how this node is set.
    pub fn announce(&self, settings: &SharedSettings) {
        let value = HeaderValue::try_from(settings.to_string());
        self.settings.get_or_init(|| value.expect("hex digits and numbers are visible ASCII"));
    }

    /// Whether calls carry a cluster key.
    pub fn has_key(&self) -> bool {
        self.key.borrow().is_some()
    }

    /// Calls carry another key from now on, on open connections, too.
    pub fn change_key(&self, key: &Secret) {
        self.key.replace(Some(header_of(key)));
    }

    /// Has `lost` called for every connection that ends.
    pub fn observe_lost(&self, lost: Lost) {
        *self.lost.borrow_mut() = Some(lost);
    }
}

fn header_of(key: &Secret) -> HeaderValue {
    let mut value = HeaderValue::from_str(key.expose()).expect("a secret is visible ASCII");
    // HPACK must not remember it.
    value.set_sensitive(true);
    value
}

/// An open connection, and the number of the dial that made it.
#[derive(Clone)]
struct Connection {
    number: u64,
    requests: SendRequest<Bytes>,
}

/// One other node, by its address.
pub struct Peer {
    address: String,
    dialer: Rc<Dialer>,
    connection: RefCell<Option<Connection>>,
    /// Held by the one call that dials.
    dialling: Semaphore,
    /// Dials that failed, by which a call that waited for one sees that it did.
    failures: Cell<u64>,
    /// Why the last of them failed.
    failure: RefCell<Status>,
    dials: Cell<u64>,
    /// The dial whose connection has carried a call.
    announced: Cell<u64>,
    calls: Cell<usize>,
    is_refused: Cell<bool>,
    /// The last call that was answered came back to this process.
    is_own: Cell<bool>,
    /// What the last answer says of its node's cluster.
    tag: Cell<Option<Tag>>,
    /// The peer is on this machine, as its connection shows.
    is_near: Cell<bool>,
    pause: Cell<Duration>,
    not_before: Cell<Option<Instant>>,
}

impl Peer {
    /// A peer at `host:port`; nothing is dialled yet.
    pub fn new(address: String, dialer: Rc<Dialer>) -> Rc<Peer> {
        Rc::new(Peer {
            address,
            dialer,
            connection: RefCell::default(),
            dialling: Semaphore::new(1),
            failures: Cell::new(0),
            failure: RefCell::new(Status::new(Code::Unavailable, "not dialled yet")),
            dials: Cell::new(0),
            announced: Cell::new(0),
            calls: Cell::new(0),
            is_refused: Cell::new(false),
            is_own: Cell::new(false),
            tag: Cell::new(None),
            is_near: Cell::new(false),
            pause: Cell::new(PAUSE_MIN),
            not_before: Cell::new(None),
        })
    }

    /// The peer's `host:port`, as given.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Whether a connection is open.
    pub fn is_connected(&self) -> bool {
        self.connection.borrow().is_some()
    }

    /// Whether the host refused the connection when it was last dialled: the host is there, the
    /// node is not.
    pub fn is_refused(&self) -> bool {
        self.is_refused.get()
    }

    /// Whether the address is this process' own, as the last answer says.
    pub fn is_own(&self) -> bool {
        self.is_own.get()
    }

    /// What the node there says of its cluster, as of its last answer.
    pub fn tag(&self) -> Option<Tag> {
        self.tag.get()
    }

    /// Whether the peer is on this machine, as its connection shows.
    pub fn is_near(&self) -> bool {
        self.is_near.get()
    }

    /// Lets the next call dial at once, whatever became of the last dial.
    pub fn forget_pause(&self) {
        self.not_before.set(None);
    }

    /// Lets the next call dial anew: the peer does not answer on this connection.
    pub fn abandon_connection(&self) {
        self.connection.borrow_mut().take();
    }

    /// One unary call: a message there, a message back, within `timeout`.
    pub async fn call(
        self: &Rc<Self>,
        path: &str,
        message: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, Status> {
        if self.calls.get() >= limits::CALLS_IN_FLIGHT_MAX {
            let message = format!("{} calls to this peer are under way", self.calls.get());
            return Err(Status::new(Code::ResourceExhausted, message));
        }
        self.calls.set(self.calls.get() + 1);
        let counted = Counted(self.clone());
        let answer = within(timeout, pin!(self.exchange(path, message, timeout))).await;
        drop(counted);
        answer.unwrap_or_else(|| {
            let message = format!("no answer within {} ms", timeout.as_millis());
            Err(Status::new(Code::DeadlineExceeded, message))
        })
    }

    async fn exchange(
        self: &Rc<Self>,
        path: &str,
        message: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, Status> {
        let Connection { number, requests } = self.connection().await?;
        let mut connection = requests.ready().await.map_err(|error| {
            self.note_end(number);
            of_h2(&error)
        })?;
        let is_first = self.announced.replace(number) != number;
        let request = self.request(path, timeout, is_first)?;
        let (answer, mut body) =
            connection.send_request(request, false).map_err(|error| of_h2(&error))?;
        let mut framed = BytesMut::with_capacity(frame::PREFIX_BYTES + message.len());
        framed.put_slice(&frame::prefix(message.len()));
        framed.put(message);
        body.send_data(framed.freeze(), true).map_err(|error| of_h2(&error))?;
        let answer = answer.await.map_err(|error| of_h2(&error))?;
        self.is_own.set(self.dialer.identity.is_own(answer.headers()));
        self.tag.set(self.dialer.identity.tag_in(answer.headers()));
        read_answer(answer).await
    }

    fn request(
        &self,
        path: &str,
        timeout: Duration,
        is_first: bool,
    ) -> Result<Request<()>, Status> {
        let bad = |error: http::Error| Status::new(Code::Internal, error.to_string());
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(format!("http://{}{path}", self.address))
            .body(())
            .map_err(bad)?;
        let agent = concat!("stemedb-edge/", env!("CARGO_PKG_VERSION"));
        let headers = request.headers_mut();
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(GRPC));
        headers.insert(USER_AGENT, HeaderValue::from_static(agent));
        let timeout = HeaderValue::try_from(format_timeout(timeout));
        if let Some(key) = &*self.dialer.key.borrow() {
            headers.insert(CLUSTER_KEY, key.clone());
        }
        self.dialer.identity.put(headers);
        if let Some(settings) = self.dialer.settings.get().filter(|_| is_first) {
            headers.insert(SETTINGS, settings.clone());
        }
        headers.insert(GRPC_TIMEOUT, timeout.map_err(|error| bad(error.into()))?);
        Ok(request)
    }

    /// The open connection, or a new one, which all calls that come meanwhile wait for.
    async fn connection(self: &Rc<Self>) -> Result<Connection, Status> {
        let open = || self.connection.borrow().clone();
        if let Some(connection) = open() {
            return Ok(connection);
        }
        let failures = self.failures.get();
        let _dialling = self.dialling.acquire().await;
        if let Some(connection) = open() {
            return Ok(connection);
        }
        if self.failures.get() > failures {
            // The dial that this call waited for failed: its reason is this call's, too.
            return Err(self.failure.borrow().clone());
        }
        let wait = self.not_before.get().map(|at| at.saturating_duration_since(Instant::now()));
        if let Some(wait) = wait.filter(|wait| !wait.is_zero()) {
            let message = format!("the last dial failed, the next is in {} ms", wait.as_millis());
            return Err(Status::new(Code::Unavailable, message));
        }
        match within(DIAL_MAX, pin!(self.dial())).await.unwrap_or(Err(DialError::Late)) {
            Ok(connection) => {
                self.pause.set(PAUSE_MIN);
                self.not_before.set(None);
                Ok(connection)
            }
            Err(reason) => {
                let jitter = fastrand::f64() * 0.5 + 0.75;
                self.not_before.set(Some(Instant::now() + self.pause.get().mul_f64(jitter)));
                self.pause.set((self.pause.get() * 2).min(PAUSE_MAX));
                let status = Status::new(Code::Unavailable, format!("{}: {reason}", self.address));
                self.failures.set(self.failures.get() + 1);
                self.failure.replace(status.clone());
                Err(status)
            }
        }
    }

    /// Tries the name's addresses, one after the other.
    async fn connect(&self) -> Result<TcpStream, DialError> {
        let mut why = DialError::NoAddress;
        self.is_refused.set(false);
        for address in resolve(&self.address).await.map_err(DialError::Resolve)? {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    self.is_refused.set(false);
                    return Ok(stream);
                }
                Err(error) => {
                    self.is_refused.set(error.kind() == ErrorKind::ConnectionRefused);
                    why = DialError::Connect(error);
                }
            }
        }
        Err(why)
    }

    async fn dial(self: &Rc<Self>) -> Result<Connection, DialError> {
        let stream = self.connect().await?;
        if let Some(ends) = stream.ends() {
            self.is_near.set(ends.is_near());
            self.is_own.set(false);
            self.tag.set(None);
            if let Some(made) = self.dialer.made.borrow().as_ref() {
                made(ends.near);
            }
        }
        let handshake = client::Builder::new()
            .enable_push(false)
            .initial_window_size(WINDOW_BYTES)
            .initial_connection_window_size(3 * WINDOW_BYTES)
            .max_frame_size(FRAME_BYTES)
            .max_header_list_size(limits::HEADER_LIST_BYTES_MAX)
            .max_send_buffer_size(limits::ASSERTION_BYTES_MAX + limits::STREAM_SEND_BYTES_MAX)
            .max_concurrent_reset_streams(limits::CALLS_IN_FLIGHT_MAX)
            .handshake(stream);
        let (requests, connection) = handshake.await.map_err(DialError::Handshake)?;
        let number = self.dials.get() + 1;
        self.dials.set(number);
        let opened = Connection { number, requests };
        *self.connection.borrow_mut() = Some(opened.clone());
        let peer = Rc::downgrade(self);
        self.dialer.tasks.spawn(async move {
            let ended = connection.await;
            if let Some(peer) = peer.upgrade() {
                log::debug!("connection to {} ended: {ended:?}", peer.address);
                peer.note_end(number);
            }
        });
        Ok(opened)
    }

    /// A connection ended; what this node had abandoned itself is no news.
    fn note_end(&self, number: u64) {
        let mut open = self.connection.borrow_mut();
        if open.as_ref().is_none_or(|connection| connection.number != number) {
            return;
        }
        open.take();
        drop(open);
        if let Some(lost) = self.dialer.lost.borrow().as_ref() {
            lost(&self.address);
        }
    }
}

/// A call under way; counted down even when it is dropped.
struct Counted(Rc<Peer>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.calls.set(self.0.calls.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use std::future::{Future, poll_fn};
    use std::task::Poll;

    use async_executor::LocalExecutor;
    use futures_lite::future::zip;

    use super::*;
    use crate::shell::grpc::{Bounds, Server};
    use crate::shell::runtime::reactor;
    use crate::shell::runtime::socket::TcpListener;
    use crate::wire::health::{Serving, response};

    /// Calls while there is no connection: as many as there may be of one peer.
    const CALLS: usize = limits::CALLS_IN_FLIGHT_MAX;

    fn on_a_reactor(test: impl AsyncFnOnce(Rc<LocalExecutor<'static>>)) {
        let executor = Rc::new(LocalExecutor::new());
        let reactor = reactor::current().expect("a reactor");
        reactor.block_on(&executor.clone(), test(executor));
    }

    async fn call_at_once(peer: &Rc<Peer>) -> Vec<Result<Bytes, Status>> {
        let mut answers = Vec::new();
        let calls = (0..CALLS).map(|_| {
            peer.call("/grpc.health.v1.Health/Check", Bytes::new(), Duration::from_secs(60))
        });
        let mut calls: Vec<_> = calls.map(Box::pin).collect();
        poll_fn(|context| {
            calls.retain_mut(|call| match call.as_mut().poll(context) {
                Poll::Ready(answer) => {
                    answers.push(answer);
                    false
                }
                Poll::Pending => true,
            });
            if calls.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        answers
    }

    #[test]
    fn calls_that_come_together_share_one_dial() {
        on_a_reactor(async |executor| {
            let listener = TcpListener::bind("127.0.0.1:0".parse().expect("an address"));
            let listener = listener.expect("a free port");
            let address = listener.local_addr().expect("bound").to_string();
            let server = Server::new(Vec::new(), None, Bounds::default());
            let peer = Peer::new(address, Dialer::new(Tasks::new(executor.clone()), None));
            let (stop, stopped) = async_channel::bounded::<()>(1);
            let serve = server.serve(&executor, listener, async {
                let _ = stopped.recv().await;
            });
            let calls = async {
                let answers = call_at_once(&peer).await;
                assert_eq!(answers.len(), CALLS);
                let serving = response(Serving::Yes);
                assert!(answers.iter().all(|answer| answer.as_ref() == Ok(&serving)));
                assert_eq!(peer.dials.get(), 1);
                assert_eq!(server.connections(), 1);
                peer.abandon_connection();
                stop.send(()).await.expect("the server hears it");
            };
            within(Duration::from_secs(60), pin!(zip(serve, calls))).await.expect("both end");
        });
    }

    #[test]
    fn calls_that_waited_for_a_dial_that_failed_hear_why() {
        on_a_reactor(async |executor| {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
            let address = listener.local_addr().expect("bound").to_string();
            drop(listener);
            let peer = Peer::new(address, Dialer::new(Tasks::new(executor), None));
            let answers = call_at_once(&peer).await;
            assert_eq!(answers.len(), CALLS);
            let first = answers[0].as_ref().expect_err("no listener");
            assert!(first.message.contains("refused"), "{first}");
            assert!(answers.iter().all(|answer| answer.as_ref() == Err(first)), "{answers:?}");
            assert_eq!(peer.failures.get(), 1);
        });
    }
}
