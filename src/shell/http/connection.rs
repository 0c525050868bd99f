//! One HTTP connection as the server sees it: what it does, since when, and what it must do next.
//!
//! In: bytes both ways, orders to end. Out: hyper's view of the stream; errors in our own words
//! where hyper has none; how long it has kept the server waiting. Time is that of the reactor's
//! last round of the reactor, so that a request costs no timer and no reading of the clock.
//!
//! Never: parses HTTP, does more than one request in one round of the reactor.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use super::bounds::Bounds;
use super::progress::Progress;
use super::stream_wait::StreamWait;
use crate::base::limits;
use crate::shell::runtime::budget::{Budget, Full, Share};
use crate::shell::runtime::reactor::{Reactor, yield_now};
use crate::shell::runtime::socket::TcpStream;
use crate::shell::runtime::source::Source;
use crate::wire::rejection::Rejection;

/// What a connection is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// No request is under way.
    Idle,
    /// A request head has begun to arrive.
    Head,
    /// A body is waited for.
    Body,
    /// The request is here and waits for a slot.
    Waiting,
    /// The node works on the answer.
    Working,
    /// The answer is on its way.
    Writing,
    /// The answer is made and sent while the rest of the body comes.
    Streaming,
    /// All is said; what the client still sends is thrown away.
    Lingering,
}

/// What the server wants of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Order {
    /// Go on.
    Serve,
    /// End as soon as no request is under way.
    Finish,
    /// End now, the client was too slow.
    Late,
    /// End now, others want the slot or the bytes.
    Evict,
}

/// How long a connection has kept the server waiting beyond what it may, and whether it does so
/// without a request under way: those are evicted before all others.
pub(super) type Lag = (bool, Duration);

/// A client as the budgets count it: all connections of one host.
pub(super) struct Client {
    /// `None` if it had gone already when its connection was taken.
    pub(super) source: Option<Source>,
    /// What it may take of the bytes of bodies.
    pub(super) held: Rc<Budget>,
    /// What it may take of the bytes of answers.
    pub(super) unsent: Rc<Budget>,
}

/// A connection of a client, with its slot and its progress.
pub(super) struct HttpConnection {
    stream: TcpStream,
    reactor: Rc<Reactor>,
    client: Rc<Client>,
    has_slot: Cell<bool>,
    phase: Cell<Phase>,
    progress: Cell<Progress>,
    /// When the first piece of the request's body was waited for.
    body_since: Cell<Option<Instant>>,
    order: Cell<Order>,
    waker: RefCell<Option<Waker>>,
    /// Bytes written now belong to an answer of ours.
    is_answering: Cell<bool>,
    /// hyper wanted to answer a head it could not read; the body-less answer was held back.
    is_silenced: Cell<bool>,
    /// The part of the request's body that counts.
    held: RefCell<Share>,
    /// The part of an answer on its way that counts.
    unsent: RefCell<Share>,
    /// Whom an answer waits for that is made while it is sent.
    wait: StreamWait,
    /// The client may still be sending: it has to be heard out, or it may lose our answer.
    is_unread: Cell<bool>,
    /// The reactor's round in which this connection worked last, and its steps in it.
    round: Cell<u64>,
    steps: Cell<usize>,
}

impl HttpConnection {
    pub(super) fn new(
        stream: TcpStream,
        client: Rc<Client>,
        reactor: Rc<Reactor>,
    ) -> HttpConnection {
        let now = reactor.now();
        let held = RefCell::new(Share::new(&client.held));
        let unsent = RefCell::new(Share::new(&client.unsent));
        HttpConnection {
            stream,
            reactor,
            client,
            has_slot: Cell::new(false),
            phase: Cell::new(Phase::Idle),
            progress: Cell::new(Progress::new(now, now)),
            body_since: Cell::new(None),
            order: Cell::new(Order::Serve),
            waker: RefCell::default(),
            held,
            unsent,
            is_answering: Cell::new(false),
            is_silenced: Cell::new(false),
            wait: StreamWait::new(now),
            is_unread: Cell::new(false),
            round: Cell::new(0),
            steps: Cell::new(0),
        }
    }

    /// The connection itself, for what is asked of it beside hyper.
    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase.get()
    }

    pub(super) fn client(&self) -> &Rc<Client> {
        &self.client
    }

    pub(super) fn has_slot(&self) -> bool {
        self.has_slot.get()
    }

    /// The connection has got a slot.
    pub(super) fn take_slot(&self) {
        self.has_slot.set(true);
    }

    /// Done when others want what this connection has.
    pub(super) async fn evicted(&self) {
        // An order wakes the task.
        poll_fn(|_| match self.order() {
            Order::Evict => Poll::Ready(()),
            _ => Poll::Pending,
        })
        .await;
    }

    pub(super) fn enter(&self, phase: Phase) {
        let now = self.reactor.now();
        let mut since = now;
        if phase == Phase::Body {
            // What is left of a refused body has no more time than the body had.
            since = self.body_since.get().unwrap_or(now);
            self.body_since.set(Some(since));
        }
        self.phase.set(phase);
        self.progress.set(Progress::new(since, now));
    }

    /// So many bytes of a body have come, or of an answer have gone.
    pub(super) fn note_moved(&self, bytes: usize) {
        let mut progress = self.progress.get();
        progress.note(bytes, self.reactor.now());
        self.progress.set(progress);
    }

    /// Whether the client has taken longer than any client may.
    pub(super) fn is_late(&self, now: Instant, bounds: &Bounds) -> bool {
        let mut progress = self.progress.get();
        match self.phase() {
            Phase::Waiting | Phase::Working | Phase::Lingering => false,
            Phase::Idle => progress.age(now) > bounds.idle_max,
            Phase::Streaming if !self.wait.is_for_client() => false,
            Phase::Head => progress.age(now) > bounds.read_max,
            Phase::Body | Phase::Writing | Phase::Streaming => {
                let is_slow = progress.is_slow(now, bounds);
                self.progress.set(progress);
                // A batch is as long as its client likes.
                let has_end = self.phase() != Phase::Streaming;
                is_slow || has_end && progress.age(now) > bounds.transfer_max
            }
        }
    }

    /// How long it has kept the server waiting; `None` if the node works for it.
    pub(super) fn age(&self, now: Instant) -> Option<Duration> {
        (self.phase() != Phase::Working).then(|| self.progress.get().age(now))
    }

    /// How long it has kept the server waiting beyond `patience`, which is what counts when others
    /// want its slot or its bytes; `None` if it has not.
    pub(super) fn lag(&self, now: Instant, patience: Duration) -> Option<Lag> {
        let progress = self.progress.get();
        let waited = match self.phase() {
            Phase::Waiting | Phase::Working => return None,
            Phase::Streaming if !self.wait.is_for_client() => return None,
            Phase::Idle | Phase::Lingering | Phase::Head => progress.age(now),
            Phase::Streaming if self.is_blocked() => progress.stalled(now),
            Phase::Body | Phase::Streaming => progress.waited(now),
            // The system takes an answer in large parts: how many bytes went lately says little,
            // that none has gone for a while says that the client does not read.
            Phase::Writing => progress.stalled(now),
        };
        let is_idle = matches!(self.phase(), Phase::Idle | Phase::Lingering);
        Some((is_idle, waited.checked_sub(patience)?))
    }

    pub(super) fn order(&self) -> Order {
        self.order.get()
    }

    /// Gives an order, and has the connection look at it.
    pub(super) fn give(&self, order: Order) {
        self.order.set(order);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Where orders reach the task.
    pub(super) fn listen(&self, context: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            *waker = Some(context.waker().clone());
        }
    }

    /// A request head has been read.
    pub(super) fn begin_answer(&self) {
        self.is_answering.set(true);
        self.body_since.set(None);
        self.enter(Phase::Working);
    }

    /// Counts one more step of work, a request or a piece of a body. Waits for the reactor's next
    /// round if this connection has done `max` in this one. A client may send hundreds of requests
    /// in one packet, or thousands of chunks; while the node works on them, one after the other, it
    /// would look at no other socket.
    pub(super) async fn take_permit(&self, max: usize) {
        let reactor = &self.reactor;
        if self.round.replace(reactor.rounds()) != reactor.rounds() {
            self.steps.set(0);
        }
        if self.steps.get() >= max {
            yield_now().await;
            self.round.set(reactor.rounds());
            self.steps.set(0);
        }
        self.steps.set(self.steps.get() + 1);
    }

    /// Takes budget for an answer until it is written.
    pub(super) fn claim(&self, bytes: usize) -> Result<(), Full> {
        self.unsent.borrow_mut().resize(counted(bytes))
    }

    /// Bytes of its answer that the budget counts.
    pub(super) fn unsent(&self) -> usize {
        self.unsent.borrow().bytes()
    }

    /// Takes budget for the request's body, of which there are so many bytes.
    pub(super) fn hold(&self, bytes: usize) -> Result<(), Full> {
        self.held.borrow_mut().resize(bytes)
    }

    /// Bytes of its request that the budget counts.
    pub(super) fn held(&self) -> usize {
        self.held.borrow().bytes()
    }

    /// As [`HttpConnection::hold`], once as many are free; nothing may be held before.
    pub(super) async fn hold_when_free(&self, bytes: usize) -> Result<(), Full> {
        poll_fn(|context| self.held.borrow_mut().poll_resize(bytes, context)).await
    }

    /// The body is needed no more.
    pub(super) fn let_go(&self) {
        self.hold(0).unwrap_or_else(|Full| unreachable!("giving back takes no budget"));
    }

    /// The answer is handed to hyper.
    pub(super) fn end_work(&self) {
        self.enter(Phase::Writing);
    }

    /// The answer is made while it is sent: from now on bytes count both ways, and time counts
    /// while the client is waited for.
    pub(super) fn begin_stream(&self) {
        self.wait.begin(self.reactor.now());
        self.enter(Phase::Streaming);
    }

    /// All of such an answer is handed to hyper.
    pub(super) fn end_stream(&self) {
        self.let_go();
        self.end_work();
    }

    /// Whether the rest of the body is all that such an answer waits for.
    pub(super) fn await_body(&self, is_awaited: bool) {
        self.skip(self.wait.await_body(is_awaited, self.reactor.now()));
    }

    /// Whether the client does not take what is sent.
    pub(super) fn is_blocked(&self) -> bool {
        self.wait.is_blocked()
    }

    fn skip(&self, time: Option<Duration>) {
        let mut progress = self.progress.get();
        progress.skip(time.unwrap_or_default());
        self.progress.set(progress);
    }

    fn end_answer(&self) {
        self.is_answering.set(false);
        self.claim(0).unwrap_or_else(|Full| unreachable!("giving back takes no budget"));
        self.enter(Phase::Idle);
    }

    /// The body was not read to its end.
    pub(super) fn leave_unread(&self) {
        self.is_unread.set(true);
    }

    pub(super) fn is_unread(&self) -> bool {
        self.is_unread.get()
    }

    /// hyper could not read a head, and nothing of an answer has been sent.
    pub(super) fn is_silenced(&self) -> bool {
        self.is_silenced.get()
    }
}

/// Bytes of an answer that the budget counts: a small one costs no more than its connection.
pub(super) fn counted(bytes: usize) -> usize {
    if bytes > limits::HTTP_SMALL_ANSWER_BYTES { bytes } else { 0 }
}

/// The stream as hyper uses it.
pub(super) struct HyperStream(pub(super) Rc<HttpConnection>);

impl HyperStream {
    /// Sends with `send`; an answer that hyper makes by itself is held back.
    fn write(
        &self,
        length: usize,
        send: impl FnOnce(&TcpStream) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if self.0.is_answering.get() {
            let sent = send(&self.0.stream);
            if self.0.phase() == Phase::Streaming {
                self.0.skip(self.0.wait.block(sent.is_pending(), self.0.reactor.now()));
            }
            let sent = ready!(sent);
            sent.iter().for_each(|count| self.0.note_moved(*count));
            return Poll::Ready(sent);
        }
        self.0.is_silenced.set(true);
        Poll::Ready(Ok(length))
    }
}

impl hyper::rt::Read for HyperStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let count = ready!(self.0.stream.poll_fill(context, buffer))?;
        if count > 0 && self.0.phase() == Phase::Idle {
            self.0.enter(Phase::Head);
        }
        Poll::Ready(Ok(()))
    }
}

impl hyper::rt::Write for HyperStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write(bytes.len(), |stream| stream.poll_write_bytes(context, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = slices.iter().map(|slice| slice.len()).sum();
        self.write(length, |stream| stream.poll_write_slices(context, slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// hyper flushes when all it had to say is written.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.0.phase() == Phase::Writing {
            self.0.end_answer();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(if self.0.is_silenced() { Ok(()) } else { self.0.stream.close_write() })
    }
}

/// A future's output, or why it is not waited for any longer; the client may be answered that.
pub(super) async fn unless_late<T>(
    connection: &HttpConnection,
    work: impl Future<Output = T>,
) -> Result<T, Rejection> {
    let mut work = std::pin::pin!(work);
    poll_fn(|context| match (work.as_mut().poll(context), connection.order()) {
        (Poll::Ready(done), _) => Poll::Ready(Ok(done)),
        (Poll::Pending, Order::Late) => {
            connection.order.set(Order::Serve);
            Poll::Ready(Err(Rejection::Timeout))
        }
        // The order stands: the connection ends with this answer.
        (Poll::Pending, Order::Evict) => Poll::Ready(Err(Rejection::AtCapacity)),
        (Poll::Pending, Order::Serve | Order::Finish) => Poll::Pending,
    })
    .await
}
