//! The HTTP/1.1 client: hyper's protocol on one connection, one request at a time.
//!
//! In: addresses and requests. Out: answers, whole. Never: takes more of an answer than its caller
//! has room for.

use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use futures_lite::future;
use http::Request;
use http::response::Parts;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, Connection, SendRequest};

use crate::shell::socket::TcpStream;

/// hyper's half of a connection, which has to be polled beside its requests.
type Driven = Pin<Box<Connection<TcpStream, Full<Bytes>>>>;

/// An open connection; it moves only while an exchange runs.
pub struct Link {
    sender: SendRequest<Full<Bytes>>,
    /// `None` once it ended. Only when it is dropped do requests that came too late hear of it.
    connection: Option<Driven>,
}

/// Why an exchange came to nothing.
#[derive(Debug)]
pub enum Failure {
    /// The connection ended, or what came was no answer.
    Broken(hyper::Error),
    /// The answer has more bytes than the caller has room for.
    TooLarge,
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Broken(error) => error.fmt(out),
            Failure::TooLarge => out.write_str("the answer is too large"),
        }
    }
}

impl Link {
    /// Connects to the first address that answers.
    pub async fn connect(addresses: &[SocketAddr]) -> Result<Link, String> {
        let mut why = "no address".to_string();
        for &address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    let shaken = http1::handshake(stream).await;
                    let (sender, connection) = shaken.map_err(|error| error.to_string())?;
                    return Ok(Link { sender, connection: Some(Box::pin(connection)) });
                }
                Err(error) => why = format!("no connection: {error}"),
            }
        }
        Err(why)
    }

    /// One request and its whole answer; `has_room` is asked before the answer grows to so many
    /// bytes. After a failure the link is of no more use.
    pub async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
        mut has_room: impl FnMut(usize) -> bool,
    ) -> Result<(Parts, Bytes), Failure> {
        let Link { sender, connection } = self;
        let asking = async {
            sender.ready().await.map_err(Failure::Broken)?;
            let answer = sender.send_request(request).await.map_err(Failure::Broken)?;
            let (head, mut body) = answer.into_parts();
            let mut whole = BytesMut::new();
            while let Some(frame) = body.frame().await {
                let Ok(piece) = frame.map_err(Failure::Broken)?.into_data() else { continue };
                if !has_room(whole.len() + piece.len()) {
                    return Err(Failure::TooLarge);
                }
                whole.extend_from_slice(&piece);
            }
            Ok((head, whole.freeze()))
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

    /// Whether another request may be sent.
    pub fn is_open(&self) -> bool {
        self.connection.is_some() && !self.sender.is_closed()
    }
}
