//! Server reflection, both versions: the stream around [`crate::wire::reflection`].
//!
//! In: requests, in order. Out: their answers, in order; the next request is read when the client's
//! window has taken the answer before it, so that one answer at most waits.
//!
//! Never: answers a second stream from the first's state; there is none.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use h2::SendStream;
use prost::Message;

use super::call::{Ask, Incoming};
use super::respond::{self, Frame};
use super::streaming::Open;
use crate::wire::grpc::{Code, Status};
use crate::wire::pb::reflection::ServerReflectionRequest;
use crate::wire::reflection;

/// The service's full name.
pub(super) const V1: &str = "grpc.reflection.v1.ServerReflection";
/// What it was called before; the same messages.
pub(super) const V1ALPHA: &str = "grpc.reflection.v1alpha.ServerReflection";

/// Answers one stream of questions.
pub(super) async fn serve(mut ask: Ask, mut incoming: Incoming) {
    let mut open = match ask.open_stream(Instant::now()) {
        Ok(open) => open,
        Err(status) => {
            respond::refuse(&mut ask.respond, &status);
            return ask.count(status.code);
        }
    };
    let Some(mut stream) = respond::begin(&mut ask.respond) else {
        return ask.count(Code::Cancelled);
    };
    let status = loop {
        let question =
            poll_fn(|context| poll_question(&mut incoming, &mut stream, &mut open, context)).await;
        let answer = match question {
            Ok(Some(question)) => ask.reflect(&question),
            Ok(None) => Err(Status::new(Code::Ok, "")),
            Err(status) => Err(status),
        };
        incoming.forget();
        match answer {
            Ok(answer) => {
                ask.link.note_stream();
                if stream.send_data(Frame::new(answer), false).is_err() {
                    return ask.count(Code::Cancelled);
                }
            }
            Err(status) => break status,
        }
    };
    ask.count(status.code);
    respond::end(&mut stream, &status);
}

/// The next question, once there is room for its answer. The room is asked for byte by byte: any at
/// all means that everything before it is within the client's window.
fn poll_question(
    incoming: &mut Incoming,
    stream: &mut SendStream<Frame>,
    open: &mut Open,
    context: &mut Context<'_>,
) -> Poll<Result<Option<Bytes>, Status>> {
    if let Poll::Ready(status) = open.poll_end(context) {
        return Poll::Ready(Err(status));
    }
    if stream.capacity() == 0 {
        stream.reserve_capacity(1);
        if stream.capacity() == 0 && !matches!(ready!(stream.poll_capacity(context)), Some(Ok(_))) {
            return Poll::Ready(Err(Status::new(Code::Cancelled, "the client left")));
        }
    }
    incoming.poll_message(context)
}

impl Ask {
    fn reflect(&self, question: &[u8]) -> Result<Bytes, Status> {
        let question = ServerReflectionRequest::decode(question).map_err(|error| {
            let message = format!("the message is no ServerReflectionRequest: {error}");
            Status::new(Code::InvalidArgument, message)
        })?;
        let answer = reflection::answer(question, self.link.shared.methods.names());
        Ok(answer.encode_to_vec().into())
    }
}
