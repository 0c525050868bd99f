//! Server reflection, both versions: the stream around [`crate::wire::reflection`].
//!
//! In: requests, in order. Out: their answers, in order; the next request is read when the client's
//! window has taken the answer before it, so that one answer at most waits.
//!
//! Never: answers a second stream from the first's state; there is none.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::SendStream;
use prost::Message;

use super::Phase;
use super::call::{Ask, Incoming};
use super::respond::{self, Frame};
use crate::wire::grpc::{Code, Status};
use crate::wire::pb::reflection::ServerReflectionRequest;
use crate::wire::reflection;

/// The service's full name.
pub(super) const V1: &str = "grpc.reflection.v1.ServerReflection";
/// What it was called before; the same messages.
pub(super) const V1ALPHA: &str = "grpc.reflection.v1alpha.ServerReflection";

/// Answers one stream of questions.
pub(super) async fn serve(mut ask: Ask, mut incoming: Incoming) {
    let Some(mut stream) = respond::begin(&mut ask.respond) else {
        return ask.count(Code::Cancelled);
    };
    let status = loop {
        match poll_fn(|context| ask.poll_question(&mut incoming, &mut stream, context)).await {
            Ok(Some(question)) => match ask.reflect(&question) {
                Ok(answer) => {
                    if stream.send_data(Frame::new(answer), false).is_err() {
                        return ask.count(Code::Cancelled);
                    }
                }
                Err(status) => break status,
            },
            Ok(None) => break Status::new(Code::Ok, ""),
            Err(status) => break status,
        }
    };
    ask.count(status.code);
    respond::end(&mut stream, &status);
}

impl Ask {
    /// The next question, once there is room for its answer. The room is asked for byte by byte:
    /// any at all means that everything before it is within the client's window.
    fn poll_question(
        &self,
        incoming: &mut Incoming,
        stream: &mut SendStream<Frame>,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, Status>> {
        if self.link.shared.phase.get() == Phase::Draining {
            return Poll::Ready(Err(Status::new(Code::Unavailable, "the server is stopping")));
        }
        if stream.capacity() == 0 {
            stream.reserve_capacity(1);
            if stream.capacity() == 0
                && !matches!(ready!(stream.poll_capacity(context)), Some(Ok(_)))
            {
                return Poll::Ready(Err(Status::new(Code::Cancelled, "the client left")));
            }
        }
        incoming.poll_message(context)
    }

    fn reflect(&self, question: &[u8]) -> Result<Bytes, Status> {
        let question = ServerReflectionRequest::decode(question).map_err(|error| {
            let message = format!("the message is no ServerReflectionRequest: {error}");
            Status::new(Code::InvalidArgument, message)
        })?;
        let answer = reflection::answer(question, self.link.shared.methods.names());
        Ok(answer.encode_to_vec().into())
    }
}
