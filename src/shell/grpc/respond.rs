//! What goes back to the client: headers, framed messages, trailers.
//!
//! In: answers and statuses. Out: HTTP/2 frames, in h2's queue. An error without a message is one
//! HEADERS frame ("trailers only").
//!
//! Never: waits; h2 sends what the client's window allows, when it allows it.

use std::io::IoSlice;
use std::rc::Rc;

use bytes::{Buf, Bytes};
use h2::SendStream;
use h2::server::SendResponse;
use http::header::{ALLOW, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};

use super::link::{Link, add};
use crate::base::limits;
use crate::shell::runtime::budget::Share;
use crate::wire::frame::{self, PREFIX_BYTES};
use crate::wire::grpc::{self, Code, Status};
use crate::wire::status::encode_message;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// A message with its prefix, on its way out, and the part of a budget it holds until it is sent.
pub(crate) struct Frame {
    prefix: [u8; PREFIX_BYTES],
    prefix_sent: usize,
    message: Bytes,
    counted: Option<Counted>,
}

/// What is known of a message that waits for its client.
struct Counted {
    /// Its part of the budget; a small answer does without.
    share: Option<Share>,
    left: usize,
    link: Rc<Link>,
}

impl Counted {
    fn resize(&mut self, left: usize) {
        let (traffic, moved) = (&self.link.traffic, self.left - left);
        add(&traffic.sent, moved);
        traffic.queued.set(traffic.queued.get() - moved as u64);
        self.left = left;
        if let Some(share) = &mut self.share {
            share.resize(left).expect("a share always becomes smaller");
        }
    }
}

impl Drop for Counted {
    /// The client took its call back, or all is sent: it has moved on either way.
    fn drop(&mut self) {
        self.resize(0);
    }
}

impl Frame {
    /// A frame that no budget counts.
    pub(crate) fn new(message: Bytes) -> Frame {
        Frame { prefix: frame::prefix(message.len()), prefix_sent: 0, message, counted: None }
    }

    /// A frame that is counted until it is sent: in the part of the budget that was kept for it,
    /// else among the small answers of its connection, or in what is left of the budget.
    fn counted(message: Bytes, budget: Option<Share>, link: &Rc<Link>) -> Result<Frame, Status> {
        let (left, queued) = (message.len(), link.traffic.queued.get());
        // Counting each answer in the budget of all had made calls 2 to 4 % dearer. What is small
        // is counted in its connection's bytes alone.
        let is_small = left <= limits::GRPC_SMALL_ANSWER_BYTES
            && queued < limits::GRPC_SMALL_ANSWERS_BYTES_MAX as u64;
        let mut share = (budget.is_some() || !is_small)
            .then(|| budget.unwrap_or_else(|| Share::new(&link.unsent)));
        if share.as_mut().is_some_and(|share| share.resize(left).is_err()) {
            let message =
                "clients leave too many answers unread, the budget has no bytes left for another";
            return Err(Status::new(Code::ResourceExhausted, message));
        }
        add(&link.traffic.queued, left);
        let counted = Some(Counted { share, left, link: link.clone() });
        Ok(Frame { counted, ..Frame::new(message) })
    }
}

impl Buf for Frame {
    fn remaining(&self) -> usize {
        PREFIX_BYTES - self.prefix_sent + self.message.len()
    }

    fn chunk(&self) -> &[u8] {
        match &self.prefix[self.prefix_sent..] {
            [] => &self.message,
            prefix => prefix,
        }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        // Prefix and message as two slices of one `writev`: a large answer is not copied.
        let parts = [&self.prefix[self.prefix_sent..], &self.message];
        let parts = parts.into_iter().filter(|part| !part.is_empty());
        slices.iter_mut().zip(parts).map(|(slice, part)| *slice = IoSlice::new(part)).count()
    }

    fn advance(&mut self, count: usize) {
        let of_prefix = count.min(PREFIX_BYTES - self.prefix_sent);
        self.prefix_sent += of_prefix;
        self.message.advance(count - of_prefix);
        if let Some(counted) = &mut self.counted {
            counted.resize(self.message.len());
        }
    }
}

/// Answers a unary call; gives the code it ended with. A client that is gone is no error.
pub(super) fn finish(
    respond: &mut SendResponse<Frame>,
    outcome: Result<Bytes, Status>,
    budget: Option<Share>,
    link: &Rc<Link>,
) -> Code {
    match outcome.and_then(|message| Frame::counted(message, budget, link)) {
        Ok(frame) => {
            let mut response = head(StatusCode::OK);
            link.put_tag(response.headers_mut());
            if let Ok(mut stream) = respond.send_response(response, false)
                && stream.send_data(frame, false).is_ok()
            {
                // A client that is gone is no error of the server: h2 forgets the stream.
                let _ = stream.send_trailers(trailers_ok());
            }
            Code::Ok
        }
        Err(status) => {
            refuse(respond, &status);
            status.code
        }
    }
}

/// Ends a call that has sent nothing yet: a "trailers only" answer.
pub(super) fn refuse(respond: &mut SendResponse<Frame>, status: &Status) {
    let mut response = head(StatusCode::OK);
    put_status(response.headers_mut(), status);
    let _ = respond.send_response(response, true);
}

/// Ends a call of a node that is not answered: says who it has called.
pub(super) fn refuse_caller(respond: &mut SendResponse<Frame>, status: &Status, link: &Link) {
    let mut response = head(StatusCode::OK);
    put_status(response.headers_mut(), status);
    // The caller learns whom it has reached: an address of its own, or another cluster.
    if let Some(identity) = link.state.identity.get() {
        identity.put(response.headers_mut());
    }
    let _ = respond.send_response(response, true);
}

/// Ends a call whose messages are compressed in an unknown way: says what is known.
pub(super) fn refuse_encoding(respond: &mut SendResponse<Frame>, status: &Status) {
    let mut response = head(StatusCode::OK);
    put_status(response.headers_mut(), status);
    // gRPC's page on compression asks for it beside UNIMPLEMENTED.
    response.headers_mut().insert(GRPC_ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let _ = respond.send_response(response, true);
}

/// Ends a request that is not gRPC, or not ours: with a status of gRPC too, for clients that look
/// for nothing else.
pub(super) fn refuse_http(respond: &mut SendResponse<Frame>, code: StatusCode, status: &Status) {
    let mut response = head(code);
    put_status(response.headers_mut(), status);
    // RFC 9110, section 15.5.6.
    if code == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
    }
    let _ = respond.send_response(response, true);
}

/// Begins a stream of answers.
pub(super) fn begin(respond: &mut SendResponse<Frame>) -> Option<SendStream<Frame>> {
    respond.send_response(head(StatusCode::OK), false).ok()
}

/// Ends a stream of answers.
pub(super) fn end(stream: &mut SendStream<Frame>, status: &Status) {
    let mut trailers = HeaderMap::with_capacity(2);
    put_status(&mut trailers, status);
    let _ = stream.send_trailers(trailers);
}

fn head(code: StatusCode) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(grpc::CONTENT_TYPE));
    response
}

fn trailers_ok() -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(GRPC_STATUS, HeaderValue::from_static("0"));
    trailers
}

fn put_status(headers: &mut HeaderMap, status: &Status) {
    headers.insert(GRPC_STATUS, HeaderValue::from_static(status.code.digits()));
    if !status.message.is_empty() {
        // A message must not make the header list larger than a client takes.
        let end = status.message.floor_char_boundary(MESSAGE_BYTES_MAX);
        let message = HeaderValue::from_str(&encode_message(&status.message[..end]));
        headers.insert(GRPC_MESSAGE, message.expect("only printable ASCII is left"));
    }
}

/// Bytes of a status message; each may take three in the header, whose list common clients bound
/// by 8 KiB.
const MESSAGE_BYTES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_its_prefix_and_its_message_however_it_is_read() {
        let whole = [&[0, 0, 0, 0, 6][..], b"answer"].concat();
        for step in 1..=whole.len() {
            let mut frame = Frame::new(Bytes::from_static(b"answer"));
            let mut bytes = Vec::new();
            while frame.has_remaining() {
                let mut slices = [IoSlice::new(&[]); 2];
                let count = frame.chunks_vectored(&mut slices);
                let total: usize = slices[..count].iter().map(|slice| slice.len()).sum();
                assert_eq!(total, frame.remaining());
                let count = step.min(frame.chunk().len());
                bytes.extend_from_slice(&frame.chunk()[..count]);
                frame.advance(count);
            }
            assert_eq!(bytes, whole, "step {step}");
        }
    }
}
