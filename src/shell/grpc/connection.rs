//! One connection: its h2 machine, and every call on it, driven by one task.
//!
//! In: bytes of a client, wake-ups of running calls. Out: answers; the end, once the client is
//! gone, silent, idle for long, or does not read what it asked for.
//!
//! Requests that come together are collected until h2 has no more, then answered, then flushed
//! together: a hundred calls that come in one read leave in one write.
//!
//! Never: spawns a task, sets a timer for a call that is answered at once, reads the clock for a
//! client that calls.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use futures_lite::future;
use h2::RecvStream;
use h2::server::{Builder, SendResponse};
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::call::{self, Running};
use super::flood::Flood;
use super::keepalive::{Decision, Keepalive};
use super::link::{Link, add};
use super::links::Registered;
use super::respond::Frame;
use super::shared::Shared;
use super::state::Ending;
use super::wakers::{PARTS_MAX, Woken};
use crate::base::limits;
use crate::shell::runtime::reactor::Timer;
use crate::shell::runtime::socket::TcpStream;

/// Calls that can run at a time: h2 lets no more streams be open, but a stream that was reset is
/// not open any more while its call still runs.
const CALLS_MAX: usize = PARTS_MAX - 2;
const H2: usize = PARTS_MAX - 2;
const KEEPALIVE: usize = PARTS_MAX - 1;
const _: () = assert!(limits::STREAMS_MAX as usize + 32 <= CALLS_MAX);

/// Serves one connection until it ends.
pub(super) async fn serve(shared: Rc<Shared>, registered: Registered, stream: TcpStream) {
    let link = &registered.link;
    let stream = Rc::new(stream);
    let io = CountedSocket { stream: stream.clone(), link: link.clone() };
    let handshake = async { settings(shared.state.bounds.calls_max).handshake(io).await.ok() };
    // A client that connects and says nothing would keep its slot for as long as it likes.
    let late = async {
        future::or(Timer::after(limits::HANDSHAKE_MAX), link.unwanted()).await;
        None
    };
    if let Some(h2) = future::or(handshake, late).await {
        let mut connection = Connection::new(shared, link.clone(), h2);
        poll_fn(|context| connection.poll(context)).await;
    }
    // Closing a socket with bytes unread resets the connection (RFC 1122, section 4.2.2.13), and
    // the client might lose the GOAWAY. So the rest is read, for a bounded time.
    if let Some(_farewell) = link.ending().and_then(|_| registered.begin_farewell()) {
        let heard = stream.hear_out(limits::FAREWELL_BYTES_MAX);
        future::or(heard, Timer::after(limits::GOAWAY_GRACE)).await;
    }
}

fn settings(calls_max: u32) -> Builder {
    let mut builder = Builder::new();
    builder
        // A stream beyond it gets REFUSED_STREAM, which clients may try again (RFC 9113, section
        // 8.7).
        .max_concurrent_streams(calls_max)
        .initial_window_size(limits::STREAM_WINDOW_BYTES)
        // All streams may be full at once: one that waits for budget does not stop the others.
        .initial_connection_window_size(calls_max * limits::STREAM_WINDOW_BYTES)
        // h2 would take 16 MiB of headers for each call.
        .max_header_list_size(limits::HEADER_LIST_BYTES_MAX)
        .max_send_buffer_size(limits::STREAM_SEND_BYTES_MAX)
        // A client may open streams before it has read the SETTINGS (RFC 9113, section 6.5.3): a
        // thousand that are refused must not end its connection.
        .max_local_error_reset_streams(Some(limits::LOCAL_RESETS_MAX))
        .data_frame_budget(limits::DATA_FRAME_BUDGET);
    builder
}

/// A socket that counts what it does, for the sake of the timers.
struct CountedSocket {
    stream: Rc<TcpStream>,
    link: Rc<Link>,
}

impl AsyncRead for CountedSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        // Counted here, as nothing else sees a byte: h2 answers pings and takes frames by itself.
        ready!(self.stream.poll_read_buffer(context, buffer))?;
        let traffic = &self.link.traffic;
        add(&traffic.reads, 1);
        add(&traffic.received, buffer.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for CountedSocket {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream.poll_write_bytes(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream.poll_write_slices(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    // The socket has no buffer of its own: what was written is the kernel's.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The sending half alone: the client still has to read what was sent.
        Poll::Ready(self.stream.close_write())
    }
}

type Arrived = (Request<RecvStream>, SendResponse<Frame>);

struct Connection {
    shared: Rc<Shared>,
    link: Rc<Link>,
    woken: Arc<Woken>,
    h2: h2::server::Connection<CountedSocket, Frame>,
    h2_waker: Waker,
    arrived: Vec<Arrived>,
    /// Whether the last call came without company. The next one then is answered before h2 is asked
    /// for more, which saves asking it once again to flush.
    alone: bool,
    calls: Vec<Option<Running>>,
    /// One for each slot of `calls`, made at first use; a slot that is free again keeps its waker.
    call_wakers: Vec<Waker>,
    flood: Flood,
    keepalive: Keepalive,
}

impl Connection {
    fn new(
        shared: Rc<Shared>,
        link: Rc<Link>,
        mut h2: h2::server::Connection<CountedSocket, Frame>,
    ) -> Connection {
        let woken = link.woken.clone();
        let keepalive = Keepalive::new(&link, woken.waker(KEEPALIVE), h2.ping_pong());
        woken.add(H2);
        woken.add(KEEPALIVE);
        Connection {
            shared,
            link,
            h2_waker: woken.waker(H2),
            woken,
            h2,
            arrived: Vec::new(),
            alone: true,
            calls: Vec::new(),
            call_wakers: Vec::new(),
            flood: Flood::default(),
            keepalive,
        }
    }

    /// Drives whatever part was woken, until none is.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.woken.begin(context.waker());
        loop {
            // Calls before h2: the answers that they give leave with the write that h2 does
            // afterwards.
            while let Some(slot) = self.woken.take_below(CALLS_MAX) {
                self.poll_call(slot);
            }
            let ended = (self.woken.remove(KEEPALIVE) && self.poll_keepalive().is_ready())
                || (self.woken.remove(H2) && self.poll_h2().is_ready());
            if ended {
                return Poll::Ready(());
            }
            // Given as a function: the clock is read once for each `FLOOD_BYTES`, not for each
            // read.
            if self.flood.is_flood(self.link.overhead(), self.link.answers(), Instant::now) {
                self.link.end(Ending::Flood);
            }
            if let Some(ending) = self.link.ending() {
                // One try to send GOAWAY: a client that does not read is not waited for.
                self.h2.abrupt_shutdown(ending.reason());
                let _ = self.poll_h2();
                return Poll::Ready(());
            }
            // A part that was woken since it was polled is polled again: its wake-up woke no task.
            if self.woken.end() {
                return Poll::Pending;
            }
        }
    }

    fn poll_call(&mut self, slot: usize) {
        let Some(running) = self.calls.get_mut(slot).and_then(Option::as_mut) else { return };
        let mut context = Context::from_waker(&self.call_wakers[slot]);
        if running.as_mut().poll(&mut context).is_ready() {
            self.calls[slot] = None;
            self.link.change_running(-1);
        }
    }

    fn poll_h2(&mut self) -> Poll<()> {
        // A clone of the waker, as `self` is borrowed below: a counter, no allocation.
        let waker = self.h2_waker.clone();
        let mut context = Context::from_waker(&waker);
        let mut count = 0;
        loop {
            // Before the poll: a wake-up that comes during it must lead to another one.
            self.woken.remove(H2);
            match self.h2.poll_accept(&mut context) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    count += 1;
                    // A hundred calls that come in one read are answered after h2 has taken all of
                    // them, and leave in one write. A single call does not wait for that.
                    if count == 1 && self.alone {
                        self.begin(request, respond);
                    } else {
                        self.arrived.push((request, respond));
                    }
                }
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(()),
                Poll::Pending => break,
            }
        }
        if count > 0 {
            self.alone = count == 1;
        }
        let mut arrived = std::mem::take(&mut self.arrived);
        for (request, respond) in arrived.drain(..) {
            self.begin(request, respond);
            // There is something to send, or a stream to forget.
            self.woken.add(H2);
        }
        self.arrived = arrived;
        Poll::Pending
    }

    fn begin(&mut self, request: Request<RecvStream>, respond: SendResponse<Frame>) {
        if let Some(running) = call::begin(&self.shared, &self.link, request, respond) {
            self.run(running);
        }
    }

    /// Keeps a call that could not be answered at once. One for which there is no slot is dropped,
    /// which resets its stream.
    fn run(&mut self, running: Running) {
        // The first free slot: what is looked through stays as short as the most calls at a time.
        let slot = self.calls.iter().position(Option::is_none).unwrap_or(self.calls.len());
        // h2 counts a reset stream no more, but its call may still run: slots can be short.
        if slot == CALLS_MAX {
            return;
        }
        if slot == self.calls.len() {
            self.calls.push(None);
            self.call_wakers.push(self.woken.waker(slot));
        }
        self.calls[slot] = Some(running);
        self.link.change_running(1);
        self.woken.add(slot);
    }

    fn poll_keepalive(&mut self) -> Poll<()> {
        if self.link.is_unwanted() && !self.keepalive.is_leaving() {
            self.keepalive.leave();
            // Two GOAWAYs (RFC 9113, section 6.8): calls that are on their way are answered.
            self.h2.graceful_shutdown();
            self.woken.add(H2);
        }
        match self.keepalive.poll(&self.link) {
            Decision::Stay => Poll::Pending,
            Decision::Leave => {
                self.link.leave();
                Poll::Pending
            }
            Decision::Drop => Poll::Ready(()),
        }
    }
}
