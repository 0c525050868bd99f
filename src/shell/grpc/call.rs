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
use http::Request;

use super::connection::Running;
use super::link::{HalfOpen, Link, add};
use super::metadata::Metadata;
use super::methods::Kind;
use super::respond::{self, Frame};
use super::streaming::late;
use super::{Answer, Call, Work, health, reflection};
use crate::base::limits;
use crate::shell::runtime::budget::{Full, Share};
use crate::shell::runtime::reactor::Timer;
use crate::wire::frame::{self, FrameReader, PREFIX_BYTES};
use crate::wire::grpc::{Code, Status};

/// Answers a request, or gives what still has to be waited for. Its headers are judged here and
/// kept nowhere.
pub(super) fn begin(
    link: &Rc<Link>,
    request: Request<RecvStream>,
    mut respond: SendResponse<Frame>,
) -> Option<Running> {
    let (head, mut body) = request.into_parts();
    let metadata = Metadata::read(&head.headers);
    if let Err((code, status)) = metadata.check_http(&head.method) {
        respond::refuse_http(&mut respond, code, &status);
        return None;
    }
    let methods = &link.shared.methods;
    let found = methods.find(head.uri.path());
    let method = found.as_ref().ok().copied();
    let kind = methods.get(method).kind;
    let checked = found.and_then(|_| metadata.check_key(link, methods.is_open(kind)));
    if let (Ok(()), Some(settings)) = (&checked, metadata.settings)
        && let Some(hear) = link.shared.settings.get()
    {
        hear(settings);
    }
    let timeout = match checked.and_then(|()| metadata.timeout()) {
        Ok(timeout) => timeout,
        Err(status) => {
            methods.get(method).count(status.code);
            respond::refuse(&mut respond, &status);
            return None;
        }
    };
    if !methods.is_open(kind)
        && let Err(status) = metadata.check_caller(link)
    {
        methods.get(method).count(status.code);
        respond::refuse_caller(&mut respond, &status, link);
        return None;
    }
    if let Err(status) = metadata.check_encoding() {
        methods.get(method).count(status.code);
        respond::refuse_encoding(&mut respond, &status);
        return None;
    }
    let ask = Ask { link: link.clone(), method, timeout, respond };
    let mut piece = Bytes::new();
    if let Kind::Unary(service) = kind {
        piece = match take_whole(&mut body) {
            Ok(message) => {
                drop(body);
                add(&link.traffic.messages, message.len() + PREFIX_BYTES);
                return ask.begin(service, message);
            }
            Err(piece) => piece,
        };
    }
    let Some(half_open) = link.begin_half_open() else {
        ask.refuse("too many calls are open whose requests are not whole");
        return None;
    };
    let incoming = Incoming::new(link, body, piece, half_open);
    match kind {
        Kind::Unary(service) => Some(Box::pin(ask.receive(service, incoming))),
        Kind::Watch => Some(Box::pin(health::watch(ask, incoming))),
        Kind::Reflect => Some(Box::pin(reflection::serve(ask, incoming))),
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
    link: Rc<Link>,
    body: RecvStream,
    /// What of the last DATA frame is not looked at.
    piece: Bytes,
    reader: FrameReader,
    share: Share,
    /// Whether there is room for all of the message that is being read.
    is_arriving: bool,
    ended: bool,
    _half_open: HalfOpen,
}

impl Incoming {
    /// The rest of `body`, of which `piece` has been taken off already.
    fn new(link: &Rc<Link>, body: RecvStream, piece: Bytes, half_open: HalfOpen) -> Incoming {
        let mut incoming = Incoming {
            link: link.clone(),
            body,
            piece: Bytes::new(),
            reader: FrameReader::new(limits::GRPC_MESSAGE_BYTES_MAX),
            share: Share::new(&link.held),
            is_arriving: false,
            ended: false,
            _half_open: half_open,
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
            if !self.piece.is_empty()
                && let Some(message) = self.reader.read(&mut self.piece)?
            {
                self.set_arriving(false);
                return Poll::Ready(Ok(Some(message)));
            }
            if self.ended {
                self.reader.finish()?;
                return Poll::Ready(Ok(None));
            }
            if let Some(length) = self.reader.length().filter(|_| !self.is_arriving) {
                // Before more than a window of the message is here: all of it has its room.
                let bytes = length + limits::CALL_BYTES;
                ready!(self.share.poll_resize(bytes, context)).map_err(|Full| self.too_large())?;
                self.set_arriving(true);
            }
            match ready!(self.body.poll_data(context)) {
                Some(Ok(piece)) => self.take(piece),
                Some(Err(error)) => return Poll::Ready(Err(broken(&error))),
                None => self.ended = true,
            }
        }
    }

    /// Nothing is kept of the messages that came.
    pub(super) fn forget(&mut self) {
        self.share.resize(0).unwrap_or_else(|Full| unreachable!("a share always becomes smaller"));
    }

    fn too_large(&self) -> Status {
        let (length, max) = (self.reader.length().unwrap_or(0), self.link.held.max());
        let message = format!("the message has {length} bytes, this node has memory for {max}");
        Status::new(Code::ResourceExhausted, message)
    }

    fn set_arriving(&mut self, is_arriving: bool) {
        let arriving = &self.link.traffic.arriving;
        let change = isize::from(is_arriving) - isize::from(self.is_arriving);
        arriving.set(arriving.get().saturating_add_signed(change));
        self.is_arriving = is_arriving;
    }

    fn take(&mut self, piece: Bytes) {
        add(&self.link.traffic.messages, piece.len());
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

impl Drop for Incoming {
    fn drop(&mut self) {
        self.set_arriving(false);
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

    /// Ends a call for which there is no room.
    pub(super) fn refuse(mut self, why: &'static str) {
        self.finish(Err(Status::new(Code::ResourceExhausted, why)), None);
    }

    /// When the time is up that the client gave the call.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        self.timeout.and_then(|span| now.checked_add(span))
    }

    fn begin(mut self, service: usize, message: Bytes) -> Option<Running> {
        let bytes = message.len() + limits::CALL_BYTES;
        let answer = match self.answer(service, message) {
            Answer::Now(outcome) => {
                self.finish(outcome, None);
                return None;
            }
            answer => answer,
        };
        let deadline = self.timeout.and_then(|_| self.deadline(Instant::now()));
        let mut share = Share::new(&self.link.held);
        match (answer, share.try_resize(bytes)) {
            // What most calls are that have to wait: their room is there at once.
            (Answer::Later(work), Ok(())) => Some(Box::pin(self.wait(work, share, deadline))),
            (answer, _) => Some(Box::pin(self.wait_for_room(answer, (bytes, share), deadline))),
        }
    }

    fn answer(&self, service: usize, message: Bytes) -> Answer {
        let (connection, timeout) = (self.link.number, self.timeout);
        let call = Call { message, connection, timeout, ends: self.link.ends };
        let methods = &self.link.shared.methods;
        methods.call(service, methods.get(self.method), &call)
    }

    fn finish(&mut self, outcome: Result<Bytes, Status>, room: Option<Share>) {
        let code = respond::finish(&mut self.respond, outcome, room, &self.link);
        self.link.note_answer();
        self.count(code);
    }

    /// Receives the rest of the request, and then answers it.
    async fn receive(mut self, service: usize, mut incoming: Incoming) {
        let now = Instant::now();
        let deadline = self.deadline(now);
        let late = now + limits::GRPC_READ_MAX;
        let late = deadline.map_or(late, |deadline| deadline.min(late));
        let request = incoming.only_message();
        let Some(request) = bounded(&mut self.respond, Some(late), request).await else {
            return self.count(Code::Cancelled);
        };
        let share = std::mem::replace(&mut incoming.share, Share::new(&self.link.held));
        drop(incoming);
        let (answer, bytes) = match request {
            Ok(message) => {
                let bytes = message.len() + limits::CALL_BYTES;
                (self.answer(service, message), bytes)
            }
            Err(status) => (Answer::Now(Err(status)), 0),
        };
        match answer {
            Answer::Now(outcome) => self.finish(outcome, None),
            answer => self.wait_for_room(answer, (bytes, share), deadline).await,
        }
    }

    /// Waits for an answer that is being made; the call has its room until it is there.
    async fn wait(mut self, work: Work, _room: Share, deadline: Option<Instant>) {
        let _working = self.link.begin_work();
        match bounded(&mut self.respond, deadline, work).await {
            Some(outcome) => self.finish(outcome, None),
            None => self.count(Code::Cancelled),
        }
    }

    /// Waits until there is room for the call and its answer, and then for the answer.
    async fn wait_for_room(
        mut self,
        answer: Answer,
        (bytes, mut share): (usize, Share),
        deadline: Option<Instant>,
    ) {
        let _working = self.link.begin_work();
        let unsent = self.link.unsent.clone();
        let working = async {
            // Nothing to wait for where the request came in pieces and has its room already.
            poll_fn(|context| share.poll_resize(bytes, context)).await.map_err(no_room)?;
            match answer {
                Answer::Now(outcome) => outcome.map(|message| (message, None)),
                Answer::Later(work) => work.await.map(|message| (message, None)),
                Answer::Large(most, work) => {
                    let most = most.min(unsent.max());
                    let mut room = Share::new(&unsent);
                    poll_fn(|context| room.poll_resize(most, context)).await.map_err(no_room)?;
                    work(most).await.map(|message| (message, Some(room)))
                }
            }
        };
        match bounded(&mut self.respond, deadline, working).await {
            Some(Ok((message, room))) => self.finish(Ok(message), room),
            Some(Err(status)) => self.finish(Err(status), None),
            None => self.count(Code::Cancelled),
        }
    }
}

fn no_room(_: Full) -> Status {
    Status::new(Code::ResourceExhausted, "this node has not enough memory for the call")
}

/// What `work` gives, or `DEADLINE_EXCEEDED`, or `None` if the client takes the call back.
pub(super) async fn bounded<T>(
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
            Some(timer) => Pin::new(timer).poll(context).map(|()| Some(Err(late()))),
            None => Poll::Pending,
        }
    })
    .await
}
