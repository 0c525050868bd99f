//! The 5-byte frames around gRPC messages, to be read and to be written.
//!
//! In: bytes in pieces of any size. Out: whole messages, or a status that says what is wrong.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | 0: as it is; 1: compressed, which this node never agrees to |
//! | 4 | length of the message, big-endian |
//! | length | the message |
//!
//! Never: allocates for a length that was only claimed, keeps a byte past the limit.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::status::{Code, Status};
use crate::base::limits;

/// The flag and the length in front of each message.
pub const PREFIX_BYTES: usize = 5;

/// The frame's first bytes, for a message of `length`.
pub fn prefix(length: usize) -> [u8; PREFIX_BYTES] {
    let length = u32::try_from(length).expect("a message is under GRPC_MESSAGE_BYTES_MAX");
    let [a, b, c, d] = length.to_be_bytes();
    [0, a, b, c, d]
}

/// Whether `bytes` are exactly one frame, uncompressed and not too long.
pub fn is_whole(bytes: &[u8]) -> bool {
    let Some((&[0, a, b, c, d], message)) = bytes.split_first_chunk() else { return false };
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    length == message.len() && length <= limits::GRPC_MESSAGE_BYTES_MAX
}

/// Bytes reserved for a message before they come: a large answer is not moved at each growth, and
/// a false length costs no more than this.
const RESERVED_BYTES: usize = 256 << 10;

/// Takes the messages of one direction of a stream out of its bytes.
#[derive(Debug)]
pub struct FrameReader {
    message_bytes_max: usize,
    head: [u8; PREFIX_BYTES],
    head_filled: usize,
    body: BytesMut,
}

impl FrameReader {
    /// A reader that refuses messages of more than `message_bytes_max`.
    pub fn new(message_bytes_max: usize) -> FrameReader {
        FrameReader {
            message_bytes_max,
            head: [0; PREFIX_BYTES],
            head_filled: 0,
            body: BytesMut::new(),
        }
    }

    /// Takes the next message off the front of `piece`, or all of `piece` towards it. A message
    /// that lies in one piece is not copied.
    pub fn read(&mut self, piece: &mut Bytes) -> Result<Option<Bytes>, Status> {
        if self.head_filled < PREFIX_BYTES {
            let take = piece.len().min(PREFIX_BYTES - self.head_filled);
            piece.copy_to_slice(&mut self.head[self.head_filled..][..take]);
            self.head_filled += take;
            if self.head_filled < PREFIX_BYTES {
                return Ok(None);
            }
            self.check_head()?;
        }
        let missing = self.said_length() - self.body.len();
        if missing > piece.len() {
            self.body.reserve(missing.min(RESERVED_BYTES));
            self.body.put(piece.split_to(piece.len()));
            return Ok(None);
        }
        self.head_filled = 0;
        if self.body.is_empty() {
            return Ok(Some(piece.split_to(missing)));
        }
        self.body.put(piece.split_to(missing));
        Ok(Some(self.body.split().freeze()))
    }

    /// How long the message will be that has begun, once that is known.
    pub fn length(&self) -> Option<usize> {
        (self.head_filled == PREFIX_BYTES).then(|| self.said_length())
    }

    /// How many bytes of an unfinished message are held here.
    pub fn held(&self) -> usize {
        self.body.len()
    }

    /// Says what is wrong if the stream ends now.
    pub fn finish(&self) -> Result<(), Status> {
        if self.head_filled == 0 {
            return Ok(());
        }
        let message = if self.head_filled < PREFIX_BYTES {
            format!("the stream ends after {} of a message's 5 prefix bytes", self.head_filled)
        } else {
            let (got, length) = (self.body.len(), self.said_length());
            format!("the stream ends after {got} of a message's {length} bytes")
        };
        Err(Status::new(Code::Internal, message))
    }

    fn said_length(&self) -> usize {
        let [_, length @ ..] = self.head;
        u32::from_be_bytes(length) as usize
    }

    fn check_head(&self) -> Result<(), Status> {
        match self.head[0] {
            0 => {}
            1 => {
                let message = "the message is flagged as compressed, but grpc-encoding named none";
                return Err(Status::new(Code::Internal, message));
            }
            flag => {
                let message = format!("the message's first byte is {flag}, not 0 or 1");
                return Err(Status::new(Code::Internal, message));
            }
        }
        let (length, max) = (self.said_length(), self.message_bytes_max);
        if length > max {
            let message = format!("the message has {length} bytes, at most {max} are taken");
            return Err(Status::new(Code::ResourceExhausted, message));
        }
        Ok(())
    }
}

/// Feeds `input` to a reader in pieces that its first bytes decide, and checks what must hold
/// whatever comes. For fuzzing.
#[doc(hidden)]
pub fn fuzz(input: &[u8]) {
    const MAX: usize = 300;
    let Some((&step, stream)) = input.split_first() else { return };
    let mut whole = FrameReader::new(MAX);
    let mut left = Bytes::copy_from_slice(stream);
    let mut expected = Vec::new();
    let end = loop {
        match whole.read(&mut left) {
            Ok(Some(message)) => expected.push(message),
            Ok(None) => break whole.finish(),
            Err(status) => break Err(status),
        }
    };
    let mut reader = FrameReader::new(MAX);
    let mut found = Vec::new();
    let mut broken = None;
    for piece in stream.chunks(usize::from(step).max(1)) {
        let mut piece = Bytes::copy_from_slice(piece);
        while broken.is_none() {
            match reader.read(&mut piece) {
                Ok(Some(message)) => found.push(message),
                Ok(None) => break,
                Err(status) => broken = Some(status),
            }
            assert!(reader.held() <= MAX, "no more is held than a message may have");
        }
    }
    assert_eq!(found, expected, "how the bytes are cut changes nothing");
    assert_eq!(broken.map_or_else(|| reader.finish(), Err), end);
    let framed: usize = found.iter().map(|message| message.len() + PREFIX_BYTES).sum();
    assert!(framed <= stream.len());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(message: &[u8]) -> Vec<u8> {
        [&prefix(message.len()), message].concat()
    }

    /// Reads `stream` in pieces of `step` bytes: the messages, and how it ended.
    fn read(stream: &[u8], step: usize) -> (Vec<Bytes>, Result<(), Status>) {
        let mut reader = FrameReader::new(1000);
        let mut messages = Vec::new();
        for piece in stream.chunks(step) {
            let mut piece = Bytes::copy_from_slice(piece);
            loop {
                match reader.read(&mut piece) {
                    Ok(Some(message)) => messages.push(message),
                    Ok(None) => break,
                    Err(status) => return (messages, Err(status)),
                }
            }
        }
        (messages, reader.finish())
    }

    #[test]
    fn messages_come_out_whatever_the_pieces() {
        let stream = [framed(b""), framed(b"one"), framed(&[7; 1000])].concat();
        for step in [1, 2, 3, 5, 7, 64, 999, 5000] {
            let (messages, end) = read(&stream, step);
            let lengths: Vec<usize> = messages.iter().map(Bytes::len).collect();
            assert_eq!((lengths, end), (vec![0, 3, 1000], Ok(())), "step {step}");
            assert_eq!(messages[1], &b"one"[..]);
        }
    }

    #[test]
    fn a_message_in_one_piece_is_not_copied() {
        let mut piece = Bytes::from(framed(b"message"));
        let start = piece[PREFIX_BYTES..].as_ptr();
        let message = FrameReader::new(1000).read(&mut piece).expect("well framed").expect("whole");
        assert_eq!((message.as_ptr(), &message[..]), (start, &b"message"[..]));
    }

    #[test]
    fn broken_streams_have_different_errors() {
        let rows: [(&[u8], Code, &str); 5] = [
            (&[0, 0], Code::Internal, "after 2 of a message's 5 prefix bytes"),
            (&[0, 0, 0, 0, 9, 1, 2], Code::Internal, "after 2 of a message's 9 bytes"),
            (&[0, 0, 0, 3, 233], Code::ResourceExhausted, "1001 bytes, at most 1000"),
            (&[0, 255, 255, 255, 255], Code::ResourceExhausted, "4294967295 bytes"),
            (&[2, 0, 0, 0, 0], Code::Internal, "first byte is 2"),
        ];
        for (stream, code, text) in rows {
            for step in [1, 100] {
                let status = read(stream, step).1.expect_err("broken");
                assert_eq!(status.code, code);
                assert!(status.message.contains(text), "{status}");
            }
        }
        assert_eq!(read(&[1, 0, 0, 0, 0], 9).1.map_err(|status| status.code), Err(Code::Internal));
    }

    #[test]
    fn fuzz_body_stands_random_streams() {
        let mut random = fastrand::Rng::with_seed(2);
        for _ in 0..20_000 {
            let mut input = vec![random.u8(..)];
            for _ in 0..random.usize(..4) {
                let message: Vec<u8> = (0..random.usize(..320)).map(|_| random.u8(..)).collect();
                input.extend(framed(&message));
            }
            if random.bool() && input.len() > 1 {
                input.truncate(random.usize(1..input.len()));
            }
            if random.u8(..) < 64 && input.len() > 1 {
                let start = random.usize(1..input.len());
                input[start] = random.u8(..);
            }
            fuzz(&input);
        }
    }
}
