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

use bytes::{Buf, Bytes};
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, Method as Verb, Request, StatusCode};

use super::connection::{Link, Running};
use super::methods::Kind;
use super::respond::{self, Frame};
use super::{Answer, Call, health, reflection};
use crate::base::limits;
use crate::shell::budget::Share;
use crate::shell::reactor::Timer;
use crate::wire::frame::{self, PREFIX_BYTES, Reader};
use crate::wire::grpc::{self, Code, Status};

/// Answers a request, or gives what still has to be waited for.
pub(super) fn begin(
    link: &Rc<Link>,
    request: Request<RecvStream>,
    mut respond: SendResponse<Frame>,
) -> Option<Running> {
    let (head, mut body) = request.into_parts();
    let wishes = Wishes::read(&head.headers);
    if let Err(code) = wishes.check_http(&head.method) {
        respond::refuse_http(&mut respond, code);
        return None;
    }
    let methods = &link.shared.methods;
    let found = methods.find(head.uri.path());
    let method = found.as_ref().ok().copied();
    let timeout = match found.and_then(|_| wishes.timeout()) {
        Ok(timeout) => timeout,
        Err(status) => {
            methods.get(method).count(status.code);
            respond::refuse(&mut respond, &status);
            return None;
        }
    };
    if let Err(status) = wishes.check_encoding() {
        methods.get(method).count(status.code);
        respond::refuse_encoding(&mut respond, &status);
        return None;
    }
    let kind = methods.get(method).kind;
    let mut piece = Bytes::new();
    if let Kind::Unary(service) = kind {
        piece = match take_whole(&mut body) {
            Ok(message) => {
                drop(body);
                let ask = Ask { link: link.clone(), method, timeout, respond };
                return ask.begin(service, head.headers, message);
            }
            Err(piece) => piece,
        };
    }
    let ask = Ask { link: link.clone(), method, timeout, respond };
    let incoming = Incoming::new(link, body, piece);
    match kind {
        Kind::Unary(service) => Some(Box::pin(ask.receive(service, head.headers, incoming))),
        Kind::Watch => Some(Box::pin(health::watch(ask, incoming))),
        Kind::Reflect => Some(Box::pin(reflection::serve(ask, incoming))),
    }
}

/// What the headers say about the call. Looked for in one pass: a look-up by name costs about as
/// much as comparing with all of the few names there are.
#[derive(Default)]
struct Wishes<'a> {
    content_type: Option<&'a [u8]>,
    timeout: Option<&'a [u8]>,
    encoding: Option<&'a [u8]>,
}

impl<'a> Wishes<'a> {
    fn read(headers: &'a HeaderMap) -> Wishes<'a> {
        let mut wishes = Wishes::default();
        for (name, value) in headers {
            let wish = match name.as_str() {
                "content-type" => &mut wishes.content_type,
                "grpc-timeout" => &mut wishes.timeout,
                "grpc-encoding" => &mut wishes.encoding,
                _ => continue,
            };
            wish.get_or_insert(value.as_bytes());
        }
        wishes
    }

    fn check_http(&self, verb: &Verb) -> Result<(), StatusCode> {
        if *verb != Verb::POST {
            return Err(StatusCode::METHOD_NOT_ALLOWED);
        }
        match self.content_type {
            Some(content_type) if grpc::is_grpc(content_type) => Ok(()),
            _ => Err(StatusCode::UNSUPPORTED_MEDIA_TYPE),
        }
    }

    fn timeout(&self) -> Result<Option<Duration>, Status> {
        self.timeout.map(grpc::parse_timeout).transpose()
    }

    fn check_encoding(&self) -> Result<(), Status> {
        self.encoding.map_or(Ok(()), grpc::check_encoding)
    }
}

/// The message, if the request is there to its end, in one DATA frame, with nothing wrong about it:
/// what most are. Else what was taken off the body so far.
fn take_whole(body: &mut RecvStream) -> Result<Bytes, Bytes> {
    let mut context = Context::from_waker(Waker::noop());
    let Poll::Ready(Some(Ok(mut piece))) = body.poll_data(&mut context) else {
        return Err(Bytes::new());
    };
    if body.is_end_stream() && frame::is_whole(&piece) {
        // The window comes back with the end of the stream.
        piece.advance(PREFIX_BYTES);
        return Ok(piece);
    }
    Err(piece)
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
    /// The rest of `body`, of which `piece` has been taken off already.
    fn new(link: &Link, body: RecvStream, piece: Bytes) -> Incoming {
        let mut incoming = Incoming {
            body,
            piece: Bytes::new(),
            reader: Reader::new(limits::GRPC_MESSAGE_BYTES_MAX),
            share: Share::new(&link.held),
            ended: false,
        };
        incoming.take(piece);
        incoming
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
    async fn only_message(&mut self) -> Result<Bytes, Status> {
        let first = poll_fn(|context| self.poll_message(context)).await?;
        let problem = match (first, poll_fn(|context| self.poll_message(context)).await?) {
            (Some(message), None) => return Ok(message),
            (Some(_), Some(_)) => "the method takes one message, more than one came",
            (None, _) => "the method takes one message, none came",
        };
        Err(Status::new(Code::Unimplemented, problem))
    }
}

/// The stream broke: the client took it back, or the connection is gone.
fn broken(error: &h2::Error) -> Status {
    let code = error.reason().map_or(Code::Cancelled, |reason| Code::of_reset(reason.into()));
    Status::new(code, error.to_string())
}

/// A call under way.
pub(super) struct Ask {
    pub(super) link: Rc<Link>,
    method: Option<usize>,
    timeout: Option<Duration>,
    pub(super) respond: SendResponse<Frame>,
}

impl Ask {
    /// Counts the call as ended with `code`.
    pub(super) fn count(&self, code: Code) {
        self.link.shared.methods.get(self.method).count(code);
    }

    fn begin(mut self, service: usize, headers: HeaderMap, message: Bytes) -> Option<Running> {
        match self.answer(service, headers, message) {
            Answer::Now(outcome) => {
                self.finish(outcome);
                None
            }
            Answer::Later(work) => {
                let deadline = self.timeout.and_then(|span| Instant::now().checked_add(span));
                Some(Box::pin(self.wait(work, deadline)))
            }
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
    async fn receive(mut self, service: usize, headers: HeaderMap, mut incoming: Incoming) {
        let now = Instant::now();
        let deadline = self.timeout.and_then(|span| now.checked_add(span));
        let late = now + limits::GRPC_READ_MAX;
        let late = deadline.map_or(late, |deadline| deadline.min(late));
        let request = incoming.only_message();
        let Some(request) = bounded(&mut self.respond, Some(late), request).await else {
            return self.count(Code::Cancelled);
        };
        drop(incoming);
        let answer = match request {
            Ok(message) => self.answer(service, headers, message),
            Err(status) => Answer::Now(Err(status)),
        };
        match answer {
            Answer::Now(outcome) => self.finish(outcome),
            Answer::Later(work) => self.wait(work, deadline).await,
        }
    }

    async fn wait(mut self, work: Work, deadline: Option<Instant>) {
        match bounded(&mut self.respond, deadline, work).await {
            Some(outcome) => self.finish(outcome),
            None => self.count(Code::Cancelled),
        }
    }
}

type Work = Pin<Box<dyn Future<Output = Result<Bytes, Status>>>>;

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
