//! One HTTP connection as the server sees it: what it does, since when, and what it must do next.
//!
//! In: bytes both ways, ticks of the server's clock, orders to end. Out: hyper's view of the
//! stream; errors in our own words where hyper has none. Time is counted in ticks of the one clock
//! that all connections share, so that a request costs no timer and no reading of the clock.
//!
//! Never: parses HTTP.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use crate::base::limits;
use crate::shell::budget::{Budget, Full, Share};
use crate::shell::reactor::Timer;
use crate::shell::socket::TcpStream;
use crate::wire::rejection::Rejection;

/// Bytes that are thrown away at a time.
const SCRATCH_BYTES: usize = 4 << 10;

/// What all connections have in common.
pub(super) struct Shared {
    /// Counts ticks.
    pub(super) clock: Cell<u32>,
    /// Bytes of bodies that are not whole.
    pub(super) held: Rc<Budget>,
    /// Bytes of answers that are not written.
    pub(super) unsent: Rc<Budget>,
}

impl Shared {
    pub(super) fn new(held_max: usize, unsent_max: usize) -> Shared {
        Shared { clock: Cell::new(0), held: Budget::new(held_max), unsent: Budget::new(unsent_max) }
    }
}

/// What a connection is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// Between requests.
    Idle,
    /// A request head has begun to arrive.
    Head,
    /// A body is waited for.
    Body,
    /// The node works on the answer.
    Working,
    /// The answer is on its way.
    Writing,
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
}

/// A connection.
pub(super) struct Line {
    stream: TcpStream,
    shared: Rc<Shared>,
    phase: Cell<Phase>,
    since: Cell<u32>,
    order: Cell<Order>,
    waker: RefCell<Option<Waker>>,
    /// Bytes written now belong to an answer of ours.
    is_answering: Cell<bool>,
    /// hyper wanted to answer a head it could not read; the body-less answer was held back.
    is_silenced: Cell<bool>,
    /// The part of an answer on its way that counts.
    unsent: RefCell<Share>,
    /// The client may still be sending: it has to be heard out, or it may lose our answer.
    is_unread: Cell<bool>,
}

impl Line {
    pub(super) fn new(stream: TcpStream, shared: Rc<Shared>) -> Line {
        let since = Cell::new(shared.clock.get());
        let unsent = RefCell::new(Share::new(&shared.unsent));
        Line {
            stream,
            shared,
            phase: Cell::new(Phase::Idle),
            since,
            order: Cell::new(Order::Serve),
            waker: RefCell::default(),
            unsent,
            is_answering: Cell::new(false),
            is_silenced: Cell::new(false),
            is_unread: Cell::new(false),
        }
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// The tick at which the phase began.
    pub(super) fn since(&self) -> u32 {
        self.since.get()
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.since.set(self.shared.clock.get());
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
        self.enter(Phase::Working);
    }

    /// Makes room for an answer until it is written.
    pub(super) fn claim(&self, bytes: usize) -> Result<(), Full> {
        let counted = if bytes > limits::HTTP_SMALL_ANSWER_BYTES { bytes } else { 0 };
        self.unsent.borrow_mut().resize(counted)
    }

    /// Bytes of bodies that are not whole.
    pub(super) fn held(&self) -> &Rc<Budget> {
        &self.shared.held
    }

    /// The answer is handed to hyper.
    pub(super) fn end_work(&self) {
        self.enter(Phase::Writing);
    }

    fn end_answer(&self) {
        self.is_answering.set(false);
        self.claim(0).unwrap_or_else(|Full| unreachable!("giving back takes no room"));
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

    /// Answers a request that never became one.
    pub(super) async fn refuse(&self, rejection: &Rejection) {
        let (status, _) = rejection.status();
        let body = rejection.body();
        let reason = status.canonical_reason().unwrap_or_default();
        let answer = format!(
            "HTTP/1.1 {} {reason}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
             connection: close\r\n\r\n{body}",
            status.as_u16(),
            body.len()
        );
        let mut rest = answer.as_bytes();
        let send = poll_fn(|context| {
            while !rest.is_empty() {
                match ready!(self.stream.poll_write_bytes(context, rest)) {
                    Ok(count) => rest = &rest[count..],
                    Err(_) => break,
                }
            }
            Poll::Ready(())
        });
        futures_lite::future::or(send, Timer::after(limits::HTTP_LINGER_MAX)).await;
    }

    /// Says that nothing more comes, and hears the client out: closing a socket with bytes unread
    /// would reset the connection, and the client might never see the answer.
    pub(super) async fn linger(&self) {
        if self.stream.close_write().is_err() {
            return;
        }
        let mut scratch = Vec::with_capacity(SCRATCH_BYTES);
        let mut heard = 0;
        let listen = poll_fn(|context| {
            while heard < limits::HTTP_LINGER_BYTES_MAX {
                match ready!(self.stream.poll_recv(context, scratch.spare_capacity_mut())) {
                    Ok(count) if count > 0 => heard += count,
                    _ => break,
                }
            }
            Poll::Ready(())
        });
        futures_lite::future::or(listen, Timer::after(limits::HTTP_LINGER_MAX)).await;
    }
}

/// The stream in hyper's hands.
pub(super) struct Io(pub(super) Rc<Line>);

impl Io {
    /// Sends with `send`; an answer that hyper makes by itself is held back.
    fn write(
        &self,
        length: usize,
        send: impl FnOnce(&TcpStream) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if self.0.is_answering.get() {
            return send(&self.0.stream);
        }
        self.0.is_silenced.set(true);
        Poll::Ready(Ok(length))
    }
}

impl hyper::rt::Read for Io {
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

impl hyper::rt::Write for Io {
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

/// A future's output, or `None` when the server says that the client is too slow; that is then
/// dealt with, and the answer may be written.
pub(super) async fn unless_late<T>(line: &Line, work: impl Future<Output = T>) -> Option<T> {
    let mut work = std::pin::pin!(work);
    poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending if line.order() == Order::Late => {
            line.order.set(Order::Serve);
            Poll::Ready(None)
        }
        Poll::Pending => Poll::Pending,
    })
    .await
}
