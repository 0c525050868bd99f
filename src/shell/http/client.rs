//! The HTTP/1.1 client: hyper's protocol on one connection, one request at a time.
//!
//! In: addresses and requests. Out: answers, whole. A caller that is itself asked by a client hands
//! on that the client has closed its sending half. Never: takes more of an answer than its caller
//! can hold.

use std::cell::Cell;
use std::fmt;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures_lite::future;
use http::Request;
use http::response::Parts;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, Connection, SendRequest};

use crate::shell::runtime::socket::TcpStream;

/// hyper's half of a connection, which has to be polled beside its requests.
type Driven = Pin<Box<Connection<Io, Full<Bytes>>>>;

/// An open connection; it moves only while an exchange runs.
pub struct ClientLink {
    wire: Rc<Wire>,
    sender: SendRequest<Full<Bytes>>,
    /// `None` once it ended. Only when it is dropped do requests that came too late hear of it.
    connection: Option<Driven>,
}

/// The stream, and how far a request on it has gone.
struct Wire {
    stream: TcpStream,
    is_begun: Cell<bool>,
    is_sent: Cell<bool>,
    /// Nothing is to be sent after the request.
    is_last: Cell<bool>,
}

/// Closes the sending half of a link; see [`ClientLink::closer`].
pub struct Closer(Rc<Wire>);

/// The stream in hyper's hands.
struct Io(Rc<Wire>);

/// Why an exchange came to nothing.
#[derive(Debug)]
pub enum ExchangeError {
    /// The connection ended, or what came was no answer.
    Broken(hyper::Error),
    /// The answer has more bytes than the caller can hold.
    TooLarge,
}

impl fmt::Display for ExchangeError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExchangeError::Broken(error) => error.fmt(out),
            ExchangeError::TooLarge => out.write_str("the answer is too large"),
        }
    }
}

impl ClientLink {
    /// Connects to the first address that answers.
    pub async fn connect(addresses: &[SocketAddr]) -> Result<ClientLink, String> {
        let mut why = "no address".to_string();
        for &address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    let (is_begun, is_sent, is_last) = Default::default();
                    let wire = Rc::new(Wire { stream, is_begun, is_sent, is_last });
                    let shaken = http1::handshake(Io(wire.clone())).await;
                    let (sender, connection) = shaken.map_err(|error| error.to_string())?;
                    return Ok(ClientLink { wire, sender, connection: Some(Box::pin(connection)) });
                }
                Err(error) => why = format!("no connection: {error}"),
            }
        }
        Err(why)
    }

    /// One request and its whole answer; `may_grow` is asked before the answer grows to so many
    /// bytes. After a failure the link is of no more use.
    pub async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
        mut may_grow: impl FnMut(usize) -> bool,
    ) -> Result<(Parts, Bytes), ExchangeError> {
        let mut whole = BytesMut::new();
        let take = |_: &Parts, piece: Bytes| {
            let fits = may_grow(whole.len() + piece.len());
            if fits {
                whole.extend_from_slice(&piece);
            }
            fits
        };
        let head = self.exchange_by_piece(request, take).await?;
        Ok((head, whole.freeze()))
    }

    /// One request, and its answer piece by piece as it comes, until `take` refuses one.
    pub async fn exchange_by_piece(
        &mut self,
        request: Request<Full<Bytes>>,
        mut take: impl FnMut(&Parts, Bytes) -> bool,
    ) -> Result<Parts, ExchangeError> {
        let ClientLink { wire, sender, connection } = self;
        wire.begin();
        let asking = async {
            sender.ready().await.map_err(ExchangeError::Broken)?;
            let answer = sender.send_request(request).await.map_err(ExchangeError::Broken)?;
            let (head, mut body) = answer.into_parts();
            while let Some(frame) = body.frame().await {
                let Ok(piece) = frame.map_err(ExchangeError::Broken)?.into_data() else { continue };
                if !take(&head, piece) {
                    return Err(ExchangeError::TooLarge);
                }
            }
            Ok(head)
        };
        // Polled beside the question, the connection carries it; at its end the question fails.
        let carrying = async {
            if let Some(open) = connection {
                // How it ended is what the question hears.
                let _ = open.await;
            }
            *connection = None;
            future::pending().await
        };
        future::or(asking, carrying).await
    }

    /// What closes the sending half while an exchange runs.
    pub fn closer(&self) -> Closer {
        Closer(self.wire.clone())
    }

    /// Whether another request may be sent.
    pub fn is_open(&self) -> bool {
        self.connection.is_some() && !self.sender.is_closed() && !self.wire.is_last.get()
    }
}

impl Closer {
    /// Closes the sending half as soon as the request is sent: the server learns that no client
    /// waits for what takes long. The answer still comes, but no other exchange.
    pub fn close(&self) {
        self.0.is_last.set(true);
        self.0.close_if_due();
    }
}

impl Wire {
    fn begin(&self) {
        self.is_begun.set(false);
        self.is_sent.set(false);
    }

    fn note_written(&self) {
        self.is_begun.set(true);
        self.is_sent.set(false);
    }

    /// hyper flushes when all that it has to say is written.
    fn note_flushed(&self) {
        self.is_sent.set(self.is_begun.get());
        self.close_if_due();
    }

    fn close_if_due(&self) {
        if self.is_last.get() && self.is_sent.get() {
            // A connection that cannot be closed has ended, which the exchange hears.
            let _ = self.stream.close_write();
        }
    }
}

impl hyper::rt::Read for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.stream.poll_fill(context, buffer).map_ok(drop)
    }
}

impl hyper::rt::Write for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.note_written();
        self.0.stream.poll_write_bytes(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.note_written();
        self.0.stream.poll_write_slices(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.note_flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.stream.close_write())
    }
}
