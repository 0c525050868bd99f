//! One call, from its headers to its status.
//!
//! In: a request that h2 has opened. Out: an answer at once, or a future that ends with one. The
//! future ends early when the client takes the call back or its time is up.
//!
//! Never: reads a body before its headers are judged, keeps a header.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::{Buf, Bytes};
use h2::RecvStream;
use h2::server::SendResponse;
use http::Request;

use super::ask::{Ask, bounded};
use super::incoming::Incoming;
use super::link::{Link, add};
use super::metadata::Metadata;
use super::methods::MethodKind;
use super::respond::{self, Frame};
use super::service::{Answer, Call, Service, Work};
use super::shared::Shared;
use super::stream::Stream;
use crate::base::limits;
use crate::shell::runtime::budget::{Full, Share};
use crate::wire::frame::{self, PREFIX_BYTES};
use crate::wire::grpc::{Code, Status};

/// A call that could not be answered at once.
pub(super) type Running = Pin<Box<dyn Future<Output = ()>>>;

/// Answers a request, or gives what still has to be waited for. Its headers are judged here and
/// kept nowhere.
pub(super) fn begin(
    shared: &Shared,
    link: &Rc<Link>,
    request: Request<RecvStream>,
    mut respond: SendResponse<Frame>,
) -> Option<Running> {
    let (head, body) = request.into_parts();
    let metadata = Metadata::read(&head.headers);
    // HTTP before gRPC: a client that speaks none looks for an HTTP status (gRPC over HTTP/2,
    // "Responses").
    if let Err((code, status)) = metadata.check_http(&head.method) {
        respond::refuse_http(&mut respond, code, &status);
        return None;
    }
    let route = match shared.methods.find(head.uri.path()) {
        Ok(route) => route,
        Err(status) => {
            shared.methods.unknown().count(status.code);
            respond::refuse(&mut respond, &status);
            return None;
        }
    };
    let is_open = route.service.is_open();
    // The key before anything that costs: 100 clients with 120 open calls and 14 KB of metadata
    // each had made the node take 201 MB.
    let checked = metadata.check_key(link, is_open);
    if let (Ok(()), Some(settings)) = (&checked, metadata.settings)
        && let Some(hear) = link.state.settings.get()
    {
        // They come with the first call on a connection, so that no message carries them.
        hear(settings);
    }
    let timeout = match checked.and_then(|()| metadata.timeout()) {
        Ok(timeout) => timeout,
        Err(status) => {
            route.method.count(status.code);
            respond::refuse(&mut respond, &status);
            return None;
        }
    };
    if !is_open && let Err(status) = metadata.check_caller(link) {
        route.method.count(status.code);
        respond::refuse_caller(&mut respond, &status, link);
        return None;
    }
    if let Err(status) = metadata.check_encoding() {
        route.method.count(status.code);
        respond::refuse_encoding(&mut respond, &status);
        return None;
    }
    let ask = Ask { link: link.clone(), method: route.method.clone(), timeout, respond };
    // Of its headers the call keeps the timeout: 14 KB of them for each of 128 calls would be 1.8
    // MB a connection.
    match route.kind {
        MethodKind::Unary => begin_unary(shared, ask, &route.service, body),
        MethodKind::Stream => {
            let (ask, incoming) = receive(shared, ask, body, Bytes::new())?;
            Some(route.service.serve(ask.method.name, Stream::new(ask, incoming)))
        }
    }
}

fn begin_unary(
    shared: &Shared,
    ask: Ask,
    service: &Rc<dyn Service>,
    mut body: RecvStream,
) -> Option<Running> {
    match take_whole(&mut body) {
        Ok(message) => {
            drop(body);
            add(&ask.link.traffic.messages, message.len() + PREFIX_BYTES);
            answer_whole(ask, &**service, message)
        }
        Err(piece) => {
            let (ask, incoming) = receive(shared, ask, body, piece)?;
            Some(Box::pin(answer_received(ask, service.clone(), incoming)))
        }
    }
}

/// The message, if the request is there to its end, in one DATA frame, with nothing wrong about it:
/// what most are. Else what was taken off the body so far.
fn take_whole(body: &mut RecvStream) -> Result<Bytes, Bytes> {
    // h2 has all frames of one read before it gives the call. A request that is whole by then, as
    // most are, needs no waker and no future.
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

/// The messages that still have to come, or a refusal if too many calls wait for theirs.
fn receive(shared: &Shared, ask: Ask, body: RecvStream, piece: Bytes) -> Option<(Ask, Incoming)> {
    // A client may send a window of 32 KiB on each of its calls before the budget is asked. So
    // these calls are counted: 16 MiB of peers, and as many of all others.
    let Some(half_open) = shared.links.begin_half_open(&ask.link) else {
        let why = "too many calls are open whose requests are not whole";
        ask.finish(Err(Status::new(Code::ResourceExhausted, why)), None);
        return None;
    };
    let incoming = Incoming::new(&ask.link, body, piece, half_open);
    Some((ask, incoming))
}

/// Answers a call whose request came in one piece.
fn answer_whole(ask: Ask, service: &dyn Service, message: Bytes) -> Option<Running> {
    let bytes = message.len() + limits::CALL_BYTES;
    let answer = match answer_of(&ask, service, message) {
        Answer::Now(outcome) => {
            ask.finish(outcome, None);
            return None;
        }
        answer => answer,
    };
    // The clock is read here and not in `begin`: a call that is answered at once reads none.
    let deadline = ask.timeout.and_then(|_| ask.deadline(Instant::now()));
    let mut share = Share::new(&ask.link.held);
    match (answer, share.try_resize(bytes)) {
        // What most calls are that have to wait: the budget grants their bytes at once.
        (Answer::Later(work), Ok(())) => Some(Box::pin(wait(ask, work, share, deadline))),
        (answer, _) => Some(Box::pin(wait_for_budget(ask, answer, (bytes, share), deadline))),
    }
}

fn answer_of(ask: &Ask, service: &dyn Service, message: Bytes) -> Answer {
    let (connection, ends) = (ask.link.number, ask.link.ends);
    service.call(ask.method.name, &Call { message, connection, timeout: ask.timeout, ends })
}

/// Receives the rest of the request, and then answers it.
async fn answer_received(mut ask: Ask, service: Rc<dyn Service>, mut incoming: Incoming) {
    let now = Instant::now();
    let deadline = ask.deadline(now);
    // Whatever time the client gives itself: a request that trickles in holds budget that others
    // wait for.
    let late = now + limits::GRPC_READ_MAX;
    let late = deadline.map_or(late, |deadline| deadline.min(late));
    let request = incoming.only_message();
    let Some(request) = bounded(&mut ask.respond, Some(late), request).await else {
        return ask.abandon();
    };
    // The bytes of the request stay counted until the answer is made of them.
    let share = incoming.take_share();
    drop(incoming);
    let (answer, bytes) = match request {
        Ok(message) => {
            let bytes = message.len() + limits::CALL_BYTES;
            (answer_of(&ask, &*service, message), bytes)
        }
        Err(status) => (Answer::Now(Err(status)), 0),
    };
    match answer {
        Answer::Now(outcome) => ask.finish(outcome, None),
        answer => wait_for_budget(ask, answer, (bytes, share), deadline).await,
    }
}

/// Waits for an answer that is being made; the call has its budget until it is there.
async fn wait(mut ask: Ask, work: Work, _budget: Share, deadline: Option<Instant>) {
    // A connection that the node works for is not the one that goes when slots are short.
    let _working = ask.link.begin_work();
    match bounded(&mut ask.respond, deadline, work).await {
        Some(outcome) => ask.finish(outcome, None),
        None => ask.abandon(),
    }
}

/// Waits until the budgets grant the call and its answer, and then for the answer.
async fn wait_for_budget(
    mut ask: Ask,
    answer: Answer,
    (bytes, mut share): (usize, Share),
    deadline: Option<Instant>,
) {
    let _working = ask.link.begin_work();
    let unsent = ask.link.unsent.clone();
    let working = async {
        // Nothing to wait for where the request came in pieces and has its budget already.
        poll_fn(|context| share.poll_resize(bytes, context)).await.map_err(too_large)?;
        match answer {
            Answer::Now(outcome) => outcome.map(|message| (message, None)),
            Answer::Later(work) => work.await.map(|message| (message, None)),
            Answer::Large(most, work) => {
                // Before the answer is read from the disk: five clients that did not fetch had
                // filled the budget of answers for all.
                let most = most.min(unsent.max());
                let mut budget = Share::new(&unsent);
                poll_fn(|context| budget.poll_resize(most, context)).await.map_err(too_large)?;
                work(most).await.map(|message| (message, Some(budget)))
            }
        }
    };
    match bounded(&mut ask.respond, deadline, working).await {
        Some(Ok((message, budget))) => ask.finish(Ok(message), budget),
        Some(Err(status)) => ask.finish(Err(status), None),
        None => ask.abandon(),
    }
}

fn too_large(_: Full) -> Status {
    Status::new(Code::ResourceExhausted, "this node has not enough memory for the call")
}
