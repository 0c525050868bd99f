//! Every RPC between nodes, translated: what a node calls, what it is called with, what it answers.
//!
//! In: values of the modules below, or messages of another node. Out: the other form. A message of
//! protobuf is built and read here alone.
//!
//! Never: trusts a length, makes a call.

pub mod edge;
pub mod sync;

use std::fmt;

use bytes::Bytes;
use prost::Message;

use super::bad_message::BadMessage;
use super::status::{Code, Status};
use crate::base::{Digest, Hlc, NodeId};

/// A call to another node: where it goes, its message, and how its answer is read.
pub struct OutgoingCall<A> {
    /// The path of the method.
    pub path: &'static str,
    /// The request, without its frame.
    pub message: Bytes,
    read: fn(Bytes) -> Result<A, ReadError>,
}

impl<A> OutgoingCall<A> {
    fn new(
        path: &'static str,
        request: &impl Message,
        read: fn(Bytes) -> Result<A, ReadError>,
    ) -> OutgoingCall<A> {
        OutgoingCall { path, message: encode(request), read }
    }

    fn extended(
        path: &'static str,
        message: Bytes,
        read: fn(Bytes) -> Result<A, ReadError>,
    ) -> OutgoingCall<A> {
        OutgoingCall { path, message, read }
    }

    /// Reads an answer message.
    pub fn read(&self, answer: Bytes) -> Result<A, CallError> {
        (self.read)(answer).map_err(|error| match error {
            ReadError::Protobuf(error) => {
                let method = self.path.rsplit('/').next().unwrap_or_default();
                let message = format!("the peer's answer to {method} is none: {error}");
                CallError::Status(Status::new(Code::Internal, message))
            }
            ReadError::Rule(bad) => CallError::Answer(bad),
        })
    }
}

/// Why a call has no answer that can be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CallError {
    /// The call ended with this status.
    Status(Status),
    /// The peer's answer breaks a rule.
    Answer(BadMessage),
}

impl CallError {
    /// Whether the peer has no such method: it is an older node, or another program.
    pub fn is_unimplemented(&self) -> bool {
        matches!(self, CallError::Status(status) if status.code == Code::Unimplemented)
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::Status(status) => status.fmt(out),
            CallError::Answer(bad) => bad.fmt(out),
        }
    }
}

impl From<Status> for CallError {
    fn from(status: Status) -> CallError {
        CallError::Status(status)
    }
}

impl From<CallError> for Status {
    fn from(error: CallError) -> Status {
        match error {
            CallError::Status(status) => status,
            CallError::Answer(bad) => Status::new(Code::Internal, bad.to_string()),
        }
    }
}

/// Bytes that a peer says are an assertion, and the digest that it says they have, if it does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ForeignBody {
    /// What they are to hash to.
    pub claimed: Option<Digest>,
    /// The encoded message.
    pub bytes: Bytes,
}

impl ForeignBody {
    /// Bytes without a digest: it need not travel, as it is that of the bytes.
    fn unnamed(bytes: Bytes) -> ForeignBody {
        ForeignBody { claimed: None, bytes }
    }
}

/// Why an answer cannot be read.
enum ReadError {
    Protobuf(prost::DecodeError),
    Rule(BadMessage),
}

impl From<prost::DecodeError> for ReadError {
    fn from(error: prost::DecodeError) -> ReadError {
        ReadError::Protobuf(error)
    }
}

impl From<BadMessage> for ReadError {
    fn from(bad: BadMessage) -> ReadError {
        ReadError::Rule(bad)
    }
}

fn encode(message: &impl Message) -> Bytes {
    Bytes::from(message.encode_to_vec())
}

/// A message of `sync.proto` and what an extension says behind it. Protobuf merges messages that
/// follow each other, and passes fields by that it does not know.
fn encode_extended(message: &impl Message, extension: &impl Message) -> Bytes {
    let mut bytes = message.encode_to_vec();
    bytes.extend_from_slice(&extension.encode_to_vec());
    Bytes::from(bytes)
}

/// A request; `INVALID_ARGUMENT` if it is not the method's.
fn decode<M: Message + Default>(message: &Bytes) -> Result<M, Status> {
    // A clone of `Bytes` shares them: fields of prost type `bytes` point into the frame.
    M::decode(message.clone()).map_err(|error| {
        Status::new(Code::InvalidArgument, format!("the message is not the method's: {error}"))
    })
}

fn invalid(bad: BadMessage) -> Status {
    Status::new(Code::InvalidArgument, bad.to_string())
}

/// The sender's clock, where it came along.
fn read_stamp(time: u64, counter: u32, node: &[u8]) -> Result<Option<Hlc>, BadMessage> {
    if node.is_empty() && time == 0 {
        return Ok(None);
    }
    match NodeId::from_slice(node) {
        Some(node) => Ok(Some(Hlc { time, counter, node })),
        None => Err(BadMessage::StampNode { bytes: node.len() }),
    }
}
