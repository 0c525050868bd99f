//! TCP on the reactor, in the shapes that h2 (tokio's io traits) and hyper want.
//!
//! In: addresses and descriptors. Out: byte streams. Reads go into uninitialised room, so that
//! nobody pays for zeroing what the kernel overwrites. Never: blocks, resolves a name.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use rustix::net::{
    self, AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, sockopt,
};

use super::reactor::{self, Reactor, Source};

/// Connections the kernel holds for us until we accept them.
const BACKLOG: i32 = 256;

/// A descriptor and its place in the reactor.
struct Watched {
    descriptor: OwnedFd,
    source: Rc<Source>,
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
        self.reactor.forget(&self.source);
    }
}

fn open(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(net::socket_with(family, SocketType::STREAM, flags, None)?)
}

/// The address that packets to the rest of the world leave by, with the port of `bound`; `bound`
/// itself where there is no way out. Nothing is sent.
pub fn outgoing(bound: SocketAddr) -> SocketAddr {
    // Documentation's own networks (RFC 5737, RFC 3849) are nobody's, so that the default route
    // decides.
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
    own.map_or(bound, |own| SocketAddr::new(own.ip(), bound.port()))
}

/// A listening socket.
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
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        loop {
            ready!(self.0.source.poll_readable(context));
            match net::accept_with(&self.0.descriptor, flags) {
                Ok(descriptor) => return Poll::Ready(TcpStream::adopt(descriptor)),
                Err(Errno::AGAIN) => self.0.source.drained(),
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }
}

/// A connected socket, without Nagle's delay.
pub struct TcpStream(Watched);

impl TcpStream {
    fn adopt(descriptor: OwnedFd) -> io::Result<TcpStream> {
        sockopt::set_tcp_nodelay(&descriptor, true)?;
        Ok(TcpStream(Watched::new(descriptor)?))
    }

    /// Connects; bound the wait from outside.
    pub async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
        let descriptor = open(address)?;
        match net::connect(&descriptor, &address) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(error.into()),
        }
        let stream = TcpStream::adopt(descriptor)?;
        stream.0.source.filled();
        poll_fn(|context| stream.0.source.poll_writable(context)).await;
        sockopt::socket_error(&stream.0.descriptor)??;
        Ok(stream)
    }

    /// Fills the front of `room`; the count says how much of it is initialised now. 0 is the end.
    pub(super) fn poll_recv(
        &self,
        context: &mut Context<'_>,
        room: &mut [MaybeUninit<u8>],
    ) -> Poll<io::Result<usize>> {
        let capacity = room.len();
        loop {
            ready!(self.0.source.poll_readable(context));
            match net::recv(&self.0.descriptor, &mut *room, RecvFlags::empty()) {
                Ok(((filled, _), _)) => {
                    let count = filled.len();
                    if count < capacity {
                        self.0.source.drained();
                    }
                    return Poll::Ready(Ok(count));
                }
                Err(Errno::AGAIN) => self.0.source.drained(),
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    /// Reads into hyper's buffer; the count says how much.
    #[allow(unsafe_code)]
    pub(super) fn poll_fill(
        &self,
        context: &mut Context<'_>,
        mut buffer: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<usize>> {
        // SAFETY: `poll_recv` only writes initialised bytes into the slice, it never
        // de-initialises.
        let room = unsafe { buffer.as_mut() };
        let count = ready!(self.poll_recv(context, room))?;
        // SAFETY: `poll_recv` counts what the kernel wrote at the front of the slice.
        unsafe { buffer.advance(count) };
        Poll::Ready(Ok(count))
    }

    fn poll_send(
        &self,
        context: &mut Context<'_>,
        send: impl Fn(&OwnedFd) -> rustix::io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.source.poll_writable(context));
            match send(&self.0.descriptor) {
                Ok(count) => return Poll::Ready(Ok(count)),
                Err(Errno::AGAIN) => self.0.source.filled(),
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    pub(super) fn poll_write_bytes(
        &self,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_send(context, |socket| net::send(socket, bytes, SendFlags::NOSIGNAL))
    }

    pub(super) fn poll_write_slices(
        &self,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_send(context, |socket| rustix::io::writev(socket, slices))
    }

    pub(super) fn close_write(&self) -> io::Result<()> {
        match net::shutdown(&self.0.descriptor, Shutdown::Write) {
            Ok(()) | Err(Errno::NOTCONN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl tokio::io::AsyncRead for TcpStream {
    #[allow(unsafe_code)]
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // SAFETY: `poll_recv` only writes initialised bytes into the slice, it never
        // de-initialises.
        let room = unsafe { buffer.unfilled_mut() };
        let count = ready!(self.poll_recv(context, room))?;
        // SAFETY: `poll_recv` counts what the kernel wrote at the front of the slice.
        unsafe { buffer.assume_init(count) };
        buffer.advance(count);
        Poll::Ready(Ok(()))
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

impl hyper::rt::Read for TcpStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_fill(context, buffer).map_ok(drop)
    }
}

impl hyper::rt::Write for TcpStream {
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
