//! What a service is to the server: its names, its calls, its streams.
//!
//! In: nothing. Out: [`Service`], and what its methods are given and give. Never: knows how a
//! message arrives.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;

use super::stream::Stream;
use crate::shell::runtime::socket::Ends;
use crate::wire::grpc::Status;

/// One call whose request has arrived whole.
#[derive(Debug)]
pub struct Call {
    /// The request message, without its frame.
    pub message: Bytes,
    /// Which connection it came by; never used twice.
    pub connection: u64,
    /// How long the client waits at most, as it said.
    pub timeout: Option<Duration>,
    /// The hosts that it came between; `None` if it came by another way than a network.
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

/// A stream that is being served.
pub type Streamed = Pin<Box<dyn Future<Output = ()>>>;

/// How a call is answered.
pub enum Answer {
    /// At once, which costs no task, no timer and no wake-up.
    Now(Result<Bytes, Status>),
    /// Later. The future is dropped when the client goes away or its time is up.
    Later(Work),
    /// Later, by an answer of up to so many bytes. The work begins when the budget of unsent
    /// answers has them, and gets their number.
    Large(usize, Box<dyn FnOnce(usize) -> Work>),
}

impl Answer {
    /// An answer of up to `most` bytes; `work` gets the number of bytes that were granted.
    pub fn large<F: Future<Output = Result<Bytes, Status>> + 'static>(
        most: usize,
        work: impl FnOnce(usize) -> F + 'static,
    ) -> Answer {
        Answer::Large(most, Box::new(|granted| Box::pin(work(granted))))
    }
}

/// A set of methods under one name.
pub trait Service {
    /// The full name, `package.Service`.
    fn name(&self) -> &'static str;
    /// The unary methods. A call of a method that is neither here nor in [`Service::streams`] is
    /// answered `UNIMPLEMENTED` before its body is read.
    fn methods(&self) -> &'static [&'static str];
    /// The methods that take or give more than one message.
    fn streams(&self) -> &'static [&'static str] {
        &[]
    }
    /// Whether callers need no cluster key.
    fn is_open(&self) -> bool {
        false
    }
    /// Answers a call of one of [`Service::methods`].
    fn call(&self, method: &'static str, call: &Call) -> Answer;
    /// Serves a stream of one of [`Service::streams`].
    fn serve(&self, method: &'static str, _: Stream) -> Streamed {
        unreachable!("{method} is not among the streams of {}", self.name())
    }
}
