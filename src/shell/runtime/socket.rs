//! TCP on the reactor, in the shapes that h2 (tokio's io traits) and hyper want.
//!
//! In: addresses and descriptors. Out: byte streams. Reads go into uninitialised memory: zeroing it
//! first would cost a pass over what the kernel overwrites. A stream moves a bounded number of
//! bytes in each direction in a round of the reactor; then its task waits while others are served.
//!
//! Never: blocks, resolves a name.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use rustix::net::{
    self, AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, sockopt,
};

use crate::base::limits;
use crate::shell::runtime::process;
use crate::shell::runtime::quota::Quota;
use crate::shell::runtime::reactor::{self, Reactor};
use crate::shell::runtime::source::Source;

/// Connections the kernel holds for us until we accept them.
const BACKLOG: i32 = 256;
/// SIGPIPE is ignored by the standard library, so that a send needs no flag against it.
const SEND_FLAGS: SendFlags = SendFlags::empty();
/// Bytes that are thrown away at a time.
const SCRATCH_BYTES: usize = 4 << 10;

/// A descriptor that the reactor watches.
struct Watched {
    descriptor: OwnedFd,
    source: Rc<reactor::EventSource>,
    reactor: Rc<Reactor>,
}

impl Watched {
    fn new(descriptor: OwnedFd) -> io::Result<Watched> {
        let reactor = reactor::current()?;
        let source = reactor.watch(&descriptor)?;
        Ok(Watched { descriptor, source, reactor })
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.reactor.forget(&self.source, &self.descriptor);
    }
}

fn open(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = net::socket_with(family, SocketType::STREAM, NEW_FLAGS, None)?;
    Ok(new_socket(socket).and_then(keep_some)?)
}

/// What the kernel sets on a socket as it makes it, where it can.
#[cfg(not(target_vendor = "apple"))]
const NEW_FLAGS: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);
#[cfg(target_vendor = "apple")]
const NEW_FLAGS: SocketFlags = SocketFlags::empty();

/// Sets on a new socket what [`NEW_FLAGS`] could not.
fn new_socket(socket: OwnedFd) -> Result<OwnedFd, Errno> {
    #[cfg(target_vendor = "apple")]
    {
        rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&socket, true)?;
    }
    Ok(socket)
}

/// A socket, unless it is one of the last descriptors, which are the log's.
fn keep_some(socket: OwnedFd) -> Result<OwnedFd, Errno> {
    thread_local! {
        static END: u64 = process::sockets_end();
    }
    let number = u64::from(socket.as_raw_fd().unsigned_abs());
    if number < END.with(|end| *end) { Ok(socket) } else { Err(Errno::MFILE) }
}

/// Has what is lost sent again each 200 ms, not after 200, 400, 800 ms and so on, for six times,
/// while fewer than four segments are in flight: what follows a lost push waits for it. Streams
/// with more in flight see losses by the acknowledgements of what follows.
#[cfg(target_os = "linux")]
fn retransmit_steadily(socket: &OwnedFd) {
    // A kernel without it backs off as all others do.
    let _ = sockopt::set_tcp_thin_linear_timeouts(socket, true);
}

#[cfg(not(target_os = "linux"))]
fn retransmit_steadily(_: &OwnedFd) {}

/// The hosts at both ends of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ends {
    /// This one, by the address that the connection leaves by.
    pub near: IpAddr,
    /// The peer's address.
    pub far: IpAddr,
}

impl Ends {
    /// Whether both are this machine.
    pub fn is_near(&self) -> bool {
        self.far.to_canonical().is_loopback() || self.far == self.near
    }
}

/// The address that packets to the rest of the world leave by, if there is a way out for what
/// listens at `bound`. Nothing is sent.
pub fn outgoing(bound: SocketAddr) -> Option<IpAddr> {
    // Documentation's own networks (RFC 5737, RFC 3849) belong to no host, so that the default
    // route decides.
    let (any, away): (SocketAddr, SocketAddr) = match bound {
        SocketAddr::V4(_) => (([0; 4], 0).into(), ([192, 0, 2, 1], 9).into()),
        SocketAddr::V6(_) => {
            (([0_u16; 8], 0).into(), ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 9).into())
        }
    };
    let own = UdpSocket::bind(any).and_then(|socket| {
        socket.connect(away)?;
        socket.local_addr()
    });
    own.ok().map(|own| own.ip())
}

/// A listening socket that the reactor watches.
pub struct TcpListener(Watched);

impl TcpListener {
    /// Binds and listens; port 0 takes any free port.
    pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
        let descriptor = open(address)?;
        sockopt::set_socket_reuseaddr(&descriptor, true)?;
        net::bind(&descriptor, &address)?;
        net::listen(&descriptor, BACKLOG)?;
        Ok(TcpListener(Watched::new(descriptor)?))
    }

    /// Lets the kernel hold no more than so many bytes each way for a connection accepted here.
    pub fn bound_buffers(&self, bytes: usize) -> io::Result<()> {
        sockopt::set_socket_recv_buffer_size(&self.0.descriptor, bytes)?;
        sockopt::set_socket_send_buffer_size(&self.0.descriptor, bytes)?;
        Ok(())
    }

    /// Another hold on the same queue of connections.
    pub fn try_clone(&self) -> io::Result<TcpListener> {
        let descriptor = rustix::io::fcntl_dupfd_cloexec(&self.0.descriptor, 0)?;
        Ok(TcpListener(Watched::new(descriptor)?))
    }

    /// The address in fact bound.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::try_from(net::getsockname(&self.0.descriptor)?)?)
    }

    /// The next connection. A connection that died in the queue is passed over; running out of
    /// descriptors is an error the caller waits out.
    pub async fn accept(&self) -> io::Result<TcpStream> {
        poll_fn(|context| self.poll_accept(context)).await
    }

    fn poll_accept(&self, context: &mut Context<'_>) -> Poll<io::Result<TcpStream>> {
        loop {
            ready!(self.0.source.poll_readable(context));
            let accepted = net::accept_with(&self.0.descriptor, NEW_FLAGS);
            match accepted.and_then(new_socket).and_then(keep_some) {
                Ok(descriptor) => {
                    return Poll::Ready(TcpStream::adopt(descriptor, limits::ROUND_READ_BYTES));
                }
                Err(Errno::AGAIN) => self.0.source.drained(),
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }
}

/// A connected socket, without Nagle's delay.
pub struct TcpStream {
    socket: Watched,
    to_read: Quota,
    to_write: Quota,
}

impl TcpStream {
    fn adopt(descriptor: OwnedFd, read_per_round: usize) -> io::Result<TcpStream> {
        sockopt::set_tcp_nodelay(&descriptor, true)?;
        TcpStream::watch(descriptor, read_per_round)
    }

    /// The two ends of a connection that leaves this process by no network: a server's and a
    /// client's.
    pub fn pair() -> io::Result<(TcpStream, TcpStream)> {
        let (family, kind) = (AddressFamily::UNIX, SocketType::STREAM);
        let (near, far) = net::socketpair(family, kind, NEW_FLAGS, None)?;
        let near = TcpStream::watch(new_socket(near)?, limits::ROUND_READ_BYTES)?;
        Ok((near, TcpStream::watch(new_socket(far)?, limits::ROUND_READ_BYTES_CLIENT)?))
    }

    fn watch(descriptor: OwnedFd, read_per_round: usize) -> io::Result<TcpStream> {
        Ok(TcpStream {
            socket: Watched::new(descriptor)?,
            to_read: Quota::new(read_per_round),
            to_write: Quota::new(limits::ROUND_WRITE_BYTES),
        })
    }

    /// Connects; bound the wait from outside.
    pub async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
        let descriptor = open(address)?;
        retransmit_steadily(&descriptor);
        match net::connect(&descriptor, &address) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(error.into()),
        }
        let stream = TcpStream::adopt(descriptor, limits::ROUND_READ_BYTES_CLIENT)?;
        stream.socket.source.filled();
        poll_fn(|context| stream.socket.source.poll_writable(context)).await;
        sockopt::socket_error(&stream.socket.descriptor)??;
        Ok(stream)
    }

    /// The host at the other end, as far as its share is concerned.
    pub(crate) fn source(&self) -> Option<Source> {
        self.peer().map(Source::of)
    }

    /// The hosts at both ends; `None` once there is no connection any more.
    pub fn ends(&self) -> Option<Ends> {
        let near = net::getsockname(&self.socket.descriptor).ok()?;
        let near = SocketAddr::try_from(near).ok()?.ip();
        Some(Ends { near, far: self.peer()? })
    }

    /// The host at the other end; `None` once there is no connection any more.
    pub fn peer(&self) -> Option<IpAddr> {
        let address = net::getpeername(&self.socket.descriptor).ok()??;
        SocketAddr::try_from(address).ok().map(|address| address.ip())
    }

    /// Ready once the other end has closed its sending half, or all of the connection.
    pub(crate) fn poll_ended(&self, context: &mut Context<'_>) -> Poll<()> {
        self.socket.source.poll_ended(context)
    }

    /// Fills the front of `buffer`; the count says how much of it is initialised now. 0 is the end.
    pub(crate) fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffer: &mut [MaybeUninit<u8>],
    ) -> Poll<io::Result<usize>> {
        let left = ready!(self.to_read.poll_left(&self.socket.reactor, context));
        let capacity = buffer.len().min(left);
        let buffer = &mut buffer[..capacity];
        loop {
            ready!(self.socket.source.poll_readable(context));
            match net::recv(&self.socket.descriptor, &mut *buffer, RecvFlags::empty()) {
                Ok(((filled, _), _)) => {
                    let count = filled.len();
                    if count < capacity {
                        self.socket.source.drained();
                    }
                    self.to_read.spend(count);
                    return Poll::Ready(Ok(count));
                }
                Err(Errno::AGAIN) => self.socket.source.drained(),
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    /// Reads into hyper's buffer; how many bytes.
    #[allow(unsafe_code)]
    pub(crate) fn poll_fill(
        &self,
        context: &mut Context<'_>,
        mut buffer: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<usize>> {
        // SAFETY: `poll_recv` only writes initialised bytes into the slice, it never
        // de-initialises.
        let memory = unsafe { buffer.as_mut() };
        let count = ready!(self.poll_recv(context, memory))?;
        // SAFETY: `poll_recv` counts what the kernel wrote at the front of the slice.
        unsafe { buffer.advance(count) };
        Poll::Ready(Ok(count))
    }

    /// Reads into tokio's buffer.
    #[allow(unsafe_code)]
    pub(crate) fn poll_read_buffer(
        &self,
        context: &mut Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // SAFETY: `poll_recv` only writes initialised bytes into the slice, it never
        // de-initialises.
        let memory = unsafe { buffer.unfilled_mut() };
        let count = ready!(self.poll_recv(context, memory))?;
        // SAFETY: `poll_recv` counts what the kernel wrote at the front of the slice.
        unsafe { buffer.assume_init(count) };
        buffer.advance(count);
        Poll::Ready(Ok(()))
    }

    /// Says that nothing more comes, and reads what the client still sends, to its end or for as
    /// many bytes: closing a socket with bytes unread resets the connection, and the client might
    /// never see the last answer. Bound the wait from outside.
    pub(crate) async fn hear_out(&self, bytes_max: usize) {
        if self.close_write().is_err() {
            return;
        }
        let mut scratch = [MaybeUninit::uninit(); SCRATCH_BYTES];
        let mut heard = 0;
        while heard < bytes_max {
            match poll_fn(|context| self.poll_recv(context, &mut scratch)).await {
                Ok(count @ 1..) => heard += count,
                _ => return,
            }
        }
    }

    fn poll_send(
        &self,
        context: &mut Context<'_>,
        send: impl Fn(&OwnedFd, usize) -> rustix::io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let left = ready!(self.to_write.poll_left(&self.socket.reactor, context));
        loop {
            ready!(self.socket.source.poll_writable(context));
            match send(&self.socket.descriptor, left) {
                Ok(count) => {
                    self.to_write.spend(count);
                    return Poll::Ready(Ok(count));
                }
                Err(Errno::AGAIN) => self.socket.source.filled(),
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    pub(crate) fn poll_write_bytes(
        &self,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_send(context, |socket, left| {
            net::send(socket, &bytes[..bytes.len().min(left)], SEND_FLAGS)
        })
    }

    pub(crate) fn poll_write_slices(
        &self,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length: usize = slices.iter().map(|slice| slice.len()).sum();
        self.poll_send(context, |socket, left| {
            match slices.iter().find(|slice| !slice.is_empty()) {
                // More than is left in this round: the first slice alone, which needs no new list.
                Some(first) if length > left => {
                    net::send(socket, &first[..first.len().min(left)], SEND_FLAGS)
                }
                _ => rustix::io::writev(socket, slices),
            }
        })
    }

    pub(crate) fn close_write(&self) -> io::Result<()> {
        match net::shutdown(&self.socket.descriptor, Shutdown::Write) {
            Ok(()) | Err(Errno::NOTCONN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl tokio::io::AsyncRead for TcpStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_read_buffer(context, buffer)
    }
}

impl tokio::io::AsyncWrite for TcpStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_bytes(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_slices(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.close_write())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io::{Read, Write};

    use async_executor::LocalExecutor;

    use super::*;
    use crate::shell::runtime::quota::AGAIN_MAX;
    use crate::shell::runtime::reactor::yield_now;

    /// A quota, and those that there may be time for.
    const AGAIN: usize = 1 + AGAIN_MAX as usize;
    const ALL: usize = 3 * AGAIN * limits::ROUND_WRITE_BYTES;

    /// Reads or writes as a protocol machine does, until the stream has no more; how many bytes.
    async fn exhaust(step: impl Fn(&mut Context<'_>) -> Poll<io::Result<usize>>) -> usize {
        let mut moved = 0;
        poll_fn(|context| {
            while let Poll::Ready(Ok(count @ 1..)) = step(context) {
                moved += count;
            }
            Poll::Ready(())
        })
        .await;
        moved
    }

    #[test]
    fn a_stream_that_is_always_ready_moves_its_quota_in_a_round() {
        let reactor = reactor::current().expect("a reactor");
        let executor = LocalExecutor::new();
        reactor.block_on(&executor, async {
            let listener = TcpListener::bind(([127, 0, 0, 1], 0).into()).expect("a free port");
            let address = listener.local_addr().expect("bound");
            let far = std::thread::spawn(move || {
                let mut far = std::net::TcpStream::connect(address).expect("it listens");
                far.write_all(&vec![7; ALL]).expect("the node reads");
                far.read_exact(&mut vec![0; ALL]).expect("the node writes");
            });
            let stream = listener.accept().await.expect("a client");
            let bytes = vec![7; ALL];
            let (mut all, mut most) = (0, 0);
            while all < ALL {
                let memory = || [MaybeUninit::uninit(); 4096];
                let count = exhaust(|context| stream.poll_recv(context, &mut memory())).await;
                (all, most) = (all + count, most.max(count));
                yield_now().await;
            }
            assert!(most <= AGAIN * limits::ROUND_READ_BYTES, "{most}");
            (all, most) = (0, 0);
            while all < ALL {
                let sent = Cell::new(all);
                let count = exhaust(|context| {
                    let rest = &bytes[sent.get()..];
                    let halves = rest.split_at(rest.len() / 2);
                    let slices = [halves.0, halves.1].map(IoSlice::new);
                    let written = stream.poll_write_slices(context, &slices);
                    written.map_ok(|count| {
                        sent.set(sent.get() + count);
                        count
                    })
                });
                let count = count.await;
                (all, most) = (all + count, most.max(count));
                yield_now().await;
            }
            assert!(most <= AGAIN * limits::ROUND_WRITE_BYTES, "{most}");
            far.join().expect("all went both ways");
        });
    }
}
