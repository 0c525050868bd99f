//! One call, from its headers to its status.
//!
//! In: a request that h2 has opened. Out: an answer at once, or a future that ends with one. The
//! future ends early when the client takes the call back or its time is up.
//!
//! Never: reads a body that nobody will look at, answers twice.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::header::{CONTENT_TYPE, HeaderMap};
use http::request::Parts;
use http::{Method as Verb, Request, StatusCode};

use super::connection::{Link, Running};
use super::methods::Kind;
use super::respond::{self, Frame};
use super::{Answer, Call, health, reflection};
use crate::base::limits;
use crate::shell::budget::Share;
use crate::shell::reactor::Timer;
use crate::wire::frame::Reader;
use crate::wire::grpc::{self, Code, Status};

/// Answers a request, or gives what still has to be waited for.
pub(super) fn begin(
    link: &Rc<Link>,
    request: Request<RecvStream>,
    mut respond: SendResponse<Frame>,
) -> Option<Running> {
    let (head, body) = request.into_parts();
    if let Err(code) = check_http(&head) {
        respond::refuse_http(&mut respond, code);
        return None;
    }
    let methods = &link.shared.methods;
    let found = methods.find(head.uri.path());
    let method = found.as_ref().ok().copied();
    let timeout = match found.and_then(|_| read_timeout(&head.headers)) {
        Ok(timeout) => timeout,
        Err(status) => {
            methods.get(method).count(status.code);
            respond::refuse(&mut respond, &status);
            return None;
        }
    };
    if let Err(status) = grpc::check_encoding(&head.headers) {
        methods.get(method).count(status.code);
        respond::refuse_encoding(&mut respond, &status);
        return None;
    }
    let incoming = Incoming::new(link, body);
    let exchange = Exchange { link: link.clone(), method, timeout, incoming, respond };
    match methods.get(method).kind {
        Kind::Unary(service) => exchange.unary(service, head.headers),
        Kind::Watch => Some(Box::pin(health::watch(exchange))),
        Kind::Reflect => Some(Box::pin(reflection::serve(exchange))),
    }
}

fn check_http(head: &Parts) -> Result<(), StatusCode> {
    if head.method != Verb::POST {
        return Err(StatusCode::METHOD_NOT_ALLOWED);
    }
    let content_type = head.headers.get(CONTENT_TYPE);
    if !content_type.is_some_and(|value| grpc::is_grpc(value.as_bytes())) {
        return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    Ok(())
}

fn read_timeout(headers: &HeaderMap) -> Result<Option<Duration>, Status> {
    let Some(value) = headers.get("grpc-timeout") else { return Ok(None) };
    match grpc::parse_timeout(value.as_bytes()) {
        Some(timeout) => Ok(Some(timeout)),
        None => {
            let message = format!("grpc-timeout is {value:?}, not 1 to 8 digits and one of HMSmun");
            Err(Status::new(Code::Internal, message))
        }
    }
}

/// The messages a client sends on one stream.
pub(super) struct Incoming {
    body: RecvStream,
    /// What of the last DATA frame is not looked at.
    piece: Bytes,
    reader: Reader,
    share: Share,
    ended: bool,
}

impl Incoming {
    fn new(link: &Link, body: RecvStream) -> Incoming {
        Incoming {
            body,
            piece: Bytes::new(),
            reader: Reader::new(limits::GRPC_MESSAGE_BYTES_MAX),
            share: Share::new(&link.held),
            ended: false,
        }
    }

    /// The next message; `None` after the last.
    pub(super) fn poll_message(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, Status>> {
        loop {
            if !self.piece.is_empty() {
                let message = self.reader.read(&mut self.piece)?;
                if self.share.resize(self.reader.held()).is_err() {
                    let message = "too many requests are on their way, there is no room for more";
                    return Poll::Ready(Err(Status::new(Code::ResourceExhausted, message)));
                }
                if message.is_some() {
                    return Poll::Ready(Ok(message));
                }
            }
            if self.ended {
                self.reader.finish()?;
                return Poll::Ready(Ok(None));
            }
            match ready!(self.body.poll_data(context)) {
                Some(Ok(piece)) => self.take(piece),
                Some(Err(error)) => return Poll::Ready(Err(broken(&error))),
                None => self.ended = true,
            }
        }
    }

    fn take(&mut self, piece: Bytes) {
        self.ended = self.body.is_end_stream();
        if !self.ended {
            // After the end h2 gives the window back by itself. An error means the same.
            let _ = self.body.flow_control().release_capacity(piece.len());
        }
        self.piece = piece;
    }

    /// The one message of a unary call, once the client has ended its side.
    fn poll_only(
        &mut self,
        first: &mut Option<Bytes>,
        context: &mut Context<'_>,
    ) -> Poll<Result<Bytes, Status>> {
        loop {
            let message = ready!(self.poll_message(context))?;
            let problem = match (message, first.is_some()) {
                (Some(message), false) => {
                    *first = Some(message);
                    continue;
                }
                (None, true) => return Poll::Ready(Ok(first.take().expect("just seen"))),
                (Some(_), true) => "the method takes one message, more than one came",
                (None, false) => "the method takes one message, none came",
            };
            return Poll::Ready(Err(Status::new(Code::Unimplemented, problem)));
        }
    }
}

/// The stream broke: the client took it back, or the connection is gone.
fn broken(error: &h2::Error) -> Status {
    let code = error.reason().map_or(Code::Cancelled, |reason| Code::of_reset(reason.into()));
    Status::new(code, error.to_string())
}

/// A call under way.
pub(super) struct Exchange {
    pub(super) link: Rc<Link>,
    method: Option<usize>,
    timeout: Option<Duration>,
    pub(super) incoming: Incoming,
    pub(super) respond: SendResponse<Frame>,
}

impl Exchange {
    /// Counts the call as ended with `code`.
    pub(super) fn count(&self, code: Code) {
        self.link.shared.methods.get(self.method).count(code);
    }

    fn unary(mut self, service: usize, headers: HeaderMap) -> Option<Running> {
        let mut first = None;
        let mut context = Context::from_waker(Waker::noop());
        match self.incoming.poll_only(&mut first, &mut context) {
            Poll::Ready(Ok(message)) => match self.answer(service, headers, message) {
                Answer::Now(outcome) => {
                    self.finish(outcome);
                    None
                }
                Answer::Later(work) => {
                    let deadline = self.timeout.and_then(|span| Instant::now().checked_add(span));
                    Some(Box::pin(self.wait(work, deadline)))
                }
            },
            Poll::Ready(Err(status)) => {
                self.finish(Err(status));
                None
            }
            Poll::Pending => Some(Box::pin(self.receive(service, headers, first))),
        }
    }

    fn answer(&self, service: usize, headers: HeaderMap, message: Bytes) -> Answer {
        let (connection, timeout) = (self.link.number, self.timeout);
        let call = Call { message, connection, timeout, headers };
        let methods = &self.link.shared.methods;
        methods.call(service, methods.get(self.method), &call)
    }

    fn finish(&mut self, outcome: Result<Bytes, Status>) {
        let code = respond::finish(&mut self.respond, outcome, &self.link.unsent);
        self.count(code);
    }

    /// Receives the rest of the request, and then answers it.
    async fn receive(mut self, service: usize, headers: HeaderMap, mut first: Option<Bytes>) {
        let now = Instant::now();
        let deadline = self.timeout.and_then(|span| now.checked_add(span));
        let late = now + limits::GRPC_READ_MAX;
        let late = deadline.map_or(late, |deadline| deadline.min(late));
        let incoming = &mut self.incoming;
        let request = poll_fn(|context| incoming.poll_only(&mut first, context));
        let Some(request) = bounded(&mut self.respond, Some(late), request).await else {
            return self.count(Code::Cancelled);
        };
        let answer = match request {
            Ok(message) => self.answer(service, headers, message),
            Err(status) => Answer::Now(Err(status)),
        };
        match answer {
            Answer::Now(outcome) => self.finish(outcome),
            Answer::Later(work) => self.wait(work, deadline).await,
        }
    }

    async fn wait(
        mut self,
        work: Pin<Box<dyn Future<Output = Result<Bytes, Status>>>>,
        deadline: Option<Instant>,
    ) {
        match bounded(&mut self.respond, deadline, work).await {
            Some(outcome) => self.finish(outcome),
            None => self.count(Code::Cancelled),
        }
    }
}

/// What `work` gives, or `DEADLINE_EXCEEDED`, or `None` if the client takes the call back.
async fn bounded<T>(
    respond: &mut SendResponse<Frame>,
    deadline: Option<Instant>,
    work: impl Future<Output = Result<T, Status>>,
) -> Option<Result<T, Status>> {
    let mut work = pin!(work);
    let mut timer = deadline.map(Timer::at);
    poll_fn(|context| {
        if let Poll::Ready(outcome) = work.as_mut().poll(context) {
            return Poll::Ready(Some(outcome));
        }
        if respond.poll_reset(context).is_ready() {
            return Poll::Ready(None);
        }
        match &mut timer {
            Some(timer) => Pin::new(timer).poll(context).map(|()| {
                let message = "the time that the call was given is up";
                Some(Err(Status::new(Code::DeadlineExceeded, message)))
            }),
            None => Poll::Pending,
        }
    })
    .await
}
