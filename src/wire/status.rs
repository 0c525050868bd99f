//! gRPC status: a code and a message, as they stand in trailers.
//!
//! In: codes of our own, trailers, HTTP statuses and HTTP/2 resets of a peer. Out: [`Status`], and
//! the percent-encoded text of its message.
//!
//! Never: decides which error a call deserves.

use std::borrow::Cow;
use std::fmt;

/// The canonical codes, with their numbers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Code {
    /// No error.
    Ok = 0,
    /// The caller took its call back.
    Cancelled = 1,
    /// An error of an unknown kind.
    Unknown = 2,
    /// The request is wrong, whatever the state of the server.
    InvalidArgument = 3,
    /// The time of the call was up.
    DeadlineExceeded = 4,
    /// What was asked for is not there.
    NotFound = 5,
    /// What was to be made is there already.
    AlreadyExists = 6,
    /// The caller may not do this.
    PermissionDenied = 7,
    /// A limit is reached: size, space or number.
    ResourceExhausted = 8,
    /// The server is not in the state this needs.
    FailedPrecondition = 9,
    /// A conflict with another call; the whole may be tried again.
    Aborted = 10,
    /// Past the end of what is there.
    OutOfRange = 11,
    /// No such method, or no such compression.
    Unimplemented = 12,
    /// A rule of the protocol is broken.
    Internal = 13,
    /// Not reachable now; the call may be tried again.
    Unavailable = 14,
    /// Data is lost.
    DataLoss = 15,
    /// The caller did not say who it is.
    Unauthenticated = 16,
}

impl Code {
    /// Every code, in the order of their numbers.
    pub const ALL: [Code; 17] = [
        Code::Ok,
        Code::Cancelled,
        Code::Unknown,
        Code::InvalidArgument,
        Code::DeadlineExceeded,
        Code::NotFound,
        Code::AlreadyExists,
        Code::PermissionDenied,
        Code::ResourceExhausted,
        Code::FailedPrecondition,
        Code::Aborted,
        Code::OutOfRange,
        Code::Unimplemented,
        Code::Internal,
        Code::Unavailable,
        Code::DataLoss,
        Code::Unauthenticated,
    ];

    /// The code of a `grpc-status` value; one that is no code at all reads as `Unknown`.
    pub fn parse(value: &[u8]) -> Code {
        std::str::from_utf8(value)
            .ok()
            .and_then(|digits| digits.parse::<usize>().ok())
            .and_then(|number| Code::ALL.get(number).copied())
            .unwrap_or(Code::Unknown)
    }

    /// What an HTTP status says when no `grpc-status` came with it: a proxy answered.
    pub fn of_http(status: u16) -> Code {
        match status {
            400 => Code::Internal,
            401 => Code::Unauthenticated,
            403 => Code::PermissionDenied,
            404 => Code::Unimplemented,
            429 | 502 | 503 | 504 => Code::Unavailable,
            _ => Code::Unknown,
        }
    }

    /// What the error code of an HTTP/2 `RST_STREAM` or `GOAWAY` says.
    pub fn of_reset(reason: u32) -> Code {
        const REFUSED_STREAM: u32 = 7;
        const CANCEL: u32 = 8;
        const ENHANCE_YOUR_CALM: u32 = 11;
        const INADEQUATE_SECURITY: u32 = 12;
        match reason {
            REFUSED_STREAM => Code::Unavailable,
            CANCEL => Code::Cancelled,
            ENHANCE_YOUR_CALM => Code::ResourceExhausted,
            INADEQUATE_SECURITY => Code::PermissionDenied,
            _ => Code::Internal,
        }
    }

    /// The value of `grpc-status`.
    pub fn digits(self) -> &'static str {
        const DIGITS: [&str; 17] = [
            "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15",
            "16",
        ];
        DIGITS[self as usize]
    }

    /// The name that specifications and metrics use.
    pub fn name(self) -> &'static str {
        const NAMES: [&str; 17] = [
            "OK",
            "CANCELLED",
            "UNKNOWN",
            "INVALID_ARGUMENT",
            "DEADLINE_EXCEEDED",
            "NOT_FOUND",
            "ALREADY_EXISTS",
            "PERMISSION_DENIED",
            "RESOURCE_EXHAUSTED",
            "FAILED_PRECONDITION",
            "ABORTED",
            "OUT_OF_RANGE",
            "UNIMPLEMENTED",
            "INTERNAL",
            "UNAVAILABLE",
            "DATA_LOSS",
            "UNAUTHENTICATED",
        ];
        NAMES[self as usize]
    }
}

impl fmt::Display for Code {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// How a call ended, when not with an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// The canonical code, by which a caller decides whether to try again.
    pub code: Code,
    /// The reason, for people to read; may be empty.
    pub message: Cow<'static, str>,
}

impl Status {
    /// A status of `code` that says `message`.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Status {
        Status { code, message: message.into() }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Status {}

/// A message as a `grpc-message` value: all but printable ASCII, and `%` itself, as `%XX`.
pub fn encode_message(message: &str) -> Cow<'_, str> {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    if message.bytes().all(stands_for_itself) {
        return Cow::Borrowed(message);
    }
    let mut encoded = String::with_capacity(message.len() * 3);
    for byte in message.bytes() {
        if stands_for_itself(byte) {
            encoded.push(byte as char);
        } else {
            let digits = [byte >> 4, byte & 15].map(|half| DIGITS[usize::from(half)] as char);
            encoded.push('%');
            encoded.extend(digits);
        }
    }
    Cow::Owned(encoded)
}

fn stands_for_itself(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'%'
}

/// The message of a `grpc-message` value. Nothing is refused: a broken escape stands for itself,
/// and what is no UTF-8 shows as the replacement character.
pub fn decode_message(value: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value;
    while let [byte, after @ ..] = rest {
        let escape = (*byte == b'%').then(|| after.get(..2)).flatten().and_then(two_hex_digits);
        bytes.push(escape.unwrap_or(*byte));
        rest = if escape.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn two_hex_digits(digits: &[u8]) -> Option<u8> {
    let value = |digit: u8| (digit as char).to_digit(16).map(|value| value as u8);
    Some(value(digits[0])? << 4 | value(digits[1])?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_encoded_and_decoded_whatever_is_in_them() {
        let rows = [
            ("", ""),
            ("plain text, ~!", "plain text, ~!"),
            ("100%", "100%25"),
            ("\t\ntest \u{263A}\u{1F608}\r\n", "%09%0Atest %E2%98%BA%F0%9F%98%88%0D%0A"),
        ];
        for (message, encoded) in rows {
            assert_eq!(encode_message(message), encoded);
            assert_eq!(decode_message(encoded.as_bytes()), message);
        }
    }

    #[test]
    fn broken_escapes_stand_for_themselves() {
        for (value, message) in
            [("%", "%"), ("%4", "%4"), ("%zz!", "%zz!"), ("%%41", "%A"), ("a%2", "a%2")]
        {
            assert_eq!(decode_message(value.as_bytes()), message);
        }
        assert_eq!(decode_message(b"%FF\xFE."), "\u{FFFD}\u{FFFD}.");
    }

    #[test]
    fn codes_are_read_by_number_and_anything_else_is_unknown() {
        for (number, code) in Code::ALL.into_iter().enumerate() {
            assert_eq!((code as usize, code.digits().parse()), (number, Ok(number)));
            assert_eq!(Code::parse(code.digits().as_bytes()), code);
        }
        for value in ["", "17", "-1", "OK", "4294967296"] {
            assert_eq!(Code::parse(value.as_bytes()), Code::Unknown, "{value}");
        }
    }
}
