//! The answer to a call of this node: headers, one message, trailers.
//!
//! In: an HTTP/2 response of another program. Out: its message, or the status of the call. Never:
//! takes more bytes than one message may have.

use bytes::Bytes;
use h2::Reason;
use http::header::HeaderMap;

use crate::base::limits;
use crate::wire::foreign;
use crate::wire::frame::FrameReader;
use crate::wire::status::{Code, Status, decode_message};

/// The message of a unary answer, or the status that it ends with.
pub(crate) async fn read_answer(answer: http::Response<h2::RecvStream>) -> Result<Bytes, Status> {
    let (head, mut body) = answer.into_parts();
    if head.headers.contains_key("grpc-status") {
        check_status(&head.headers)?;
    }
    if head.status != http::StatusCode::OK {
        let message = format!("HTTP status {}", head.status.as_u16());
        return Err(Status::new(Code::of_http(head.status.as_u16()), message));
    }
    let mut reader = FrameReader::new(limits::GRPC_MESSAGE_BYTES_MAX);
    let mut message = None;
    while let Some(piece) = body.data().await {
        let mut piece = piece.map_err(|error| of_h2(&error))?;
        body.flow_control().release_capacity(piece.len()).map_err(|error| of_h2(&error))?;
        while let Some(whole) = reader.read(&mut piece)? {
            if message.replace(whole).is_some() {
                return Err(Status::new(Code::Internal, "more than one message in the answer"));
            }
            if piece.is_empty() {
                break;
            }
        }
    }
    let trailers = body.trailers().await.map_err(|error| of_h2(&error))?;
    check_status(&trailers.unwrap_or_default())?;
    reader.finish()?;
    message.ok_or_else(|| Status::new(Code::Internal, "no message in the answer"))
}

fn check_status(headers: &HeaderMap) -> Result<(), Status> {
    let Some(code) = headers.get("grpc-status") else {
        return Err(Status::new(Code::Unknown, "the answer ended without a grpc-status"));
    };
    match Code::parse(code.as_bytes()) {
        Code::Ok => Ok(()),
        code => {
            let message = headers.get("grpc-message").map(|value| decode_message(value.as_bytes()));
            Err(Status::new(code, foreign::shown(&message.unwrap_or_default())))
        }
    }
}

/// The status of a call that HTTP/2 ended.
pub(crate) fn of_h2(error: &h2::Error) -> Status {
    // Text where a frame should begin reads as a length far beyond the largest frame.
    if error.is_library() && error.reason() == Some(Reason::FRAME_SIZE_ERROR) {
        let message = "what answers there is no gRPC, an HTTP port perhaps: nodes reach each other \
                       at their gRPC ports, by default 18182";
        return Status::new(Code::Unavailable, message);
    }
    let code = match error.reason() {
        Some(reason) if !error.is_go_away() => Code::of_reset(reason.into()),
        _ => Code::Unavailable,
    };
    Status::new(code, error.to_string())
}
