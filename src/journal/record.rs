//! Frames of the log: bytes of one record, header of one segment, and what a scan may conclude.
//!
//! In: sealed bytes, or the bytes of a segment. Out: frames, or what was found and where a scan
//! goes on. `docs/journal-format.md` draws the layout. Never: opens a file, allocates by a foreign
//! length.

use std::fmt;
use std::ops::Range;

use crate::base::{Digest, limits};

/// Length, checksum and digest in front of a payload.
pub const FRAME_HEAD_BYTES: usize = 40;
/// Magic, version, number and checksum at the start of a segment.
pub const SEGMENT_HEAD_BYTES: usize = 32;
/// Frames start at multiples of this.
pub const ALIGNMENT: usize = 8;
/// The format this build writes, and the newest it reads.
pub const VERSION: u32 = 1;

const MAGIC: [u8; 8] = *b"STEMEDGE";

// A head of 40 bytes and this padding keep every frame's start a multiple of 8, so that a search
// for the next frame behind damage looks at one offset in eight.
/// Bytes that a payload takes in the log, head and padding included.
pub fn frame_bytes(payload: usize) -> usize {
    (FRAME_HEAD_BYTES + payload).next_multiple_of(ALIGNMENT)
}

/// Appends one frame to `out`.
pub fn encode(digest: &Digest, payload: &[u8], out: &mut Vec<u8>) {
    let length = u32::try_from(payload.len()).expect("limits keep a payload in 32 bits");
    let start = out.len();
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&checksum(length, digest, payload).to_le_bytes());
    // Here although it is the payload's hash: a look-up by hash reads 40 bytes and hashes nothing.
    out.extend_from_slice(&digest.0);
    out.extend_from_slice(payload);
    out.resize(start + frame_bytes(payload.len()), 0);
}

fn checksum(length: u32, digest: &Digest, payload: &[u8]) -> u32 {
    // Over the length, too: a flipped bit in it would show other bytes as the payload.
    let sum = crc32c::crc32c(&length.to_le_bytes());
    let sum = crc32c::crc32c_append(sum, &digest.0);
    crc32c::crc32c_append(sum, payload)
}

/// The head of a frame, as written; only the checksum over all of it makes it trusted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    length: u32,
    sum: u32,
    digest: Digest,
}

impl Head {
    /// Reads a head; `None` if its length is none that was ever written.
    pub fn read(bytes: &[u8; FRAME_HEAD_BYTES]) -> Option<Head> {
        let number = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let head = Head {
            length: number(0),
            sum: number(4),
            digest: Digest::from_slice(&bytes[8..]).expect("40 less 8 is 32"),
        };
        // Zeros are no head: they are what a file is grown by ahead of its frames.
        (1..=limits::ASSERTION_BYTES_MAX).contains(&head.payload_bytes()).then_some(head)
    }

    /// Length of the payload behind the head.
    pub fn payload_bytes(&self) -> usize {
        self.length as usize
    }

    /// The digest the head claims.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Whether head and payload are what was written.
    pub fn vouches_for(&self, payload: &[u8]) -> bool {
        payload.len() == self.payload_bytes()
            && checksum(self.length, &self.digest, payload) == self.sum
    }
}

/// The whole frame at the start of `bytes`: its digest and where its payload lies.
pub fn decode(bytes: &[u8]) -> Option<(Digest, Range<usize>)> {
    let head = Head::read(bytes.first_chunk()?)?;
    let range = FRAME_HEAD_BYTES..FRAME_HEAD_BYTES + head.payload_bytes();
    head.vouches_for(bytes.get(range.clone())?).then_some((head.digest, range))
}

/// The first bytes of segment `number`; `before` is the offset at which the one before it ended.
pub fn segment_head(number: u64, before: u32) -> [u8; SEGMENT_HEAD_BYTES] {
    let mut head = [0; SEGMENT_HEAD_BYTES];
    head[..8].copy_from_slice(&MAGIC);
    head[8..12].copy_from_slice(&VERSION.to_le_bytes());
    head[16..24].copy_from_slice(&number.to_le_bytes());
    head[24..28].copy_from_slice(&before.to_le_bytes());
    let sum = crc32c::crc32c(&head[..28]);
    head[28..].copy_from_slice(&sum.to_le_bytes());
    head
}

/// What is wrong with the head of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadHead {
    /// Written by a newer build: nothing of the directory may be touched.
    Newer {
        /// The version that the segment's head names.
        version: u32,
    },
    /// Not what any build wrote.
    Damaged,
}

impl fmt::Display for BadHead {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadHead::Newer { version } => write!(
                out,
                "the segment has format version {version}, this build reads up to {VERSION}"
            ),
            BadHead::Damaged => write!(out, "the segment's head is damaged"),
        }
    }
}

/// Compares the head of segment `number` with what must stand there; returns where the segment
/// before it ended.
pub fn check_segment_head(bytes: &[u8], number: u64) -> Result<u32, BadHead> {
    let head = bytes.first_chunk::<SEGMENT_HEAD_BYTES>().ok_or(BadHead::Damaged)?;
    let before = u32::from_le_bytes([head[24], head[25], head[26], head[27]]);
    // Byte for byte: no bit of a head may be other than it was written.
    if *head == segment_head(number, before) {
        return Ok(before);
    }
    // A version that is only damaged must not stop the start: the checksum has to vouch for it.
    let sum = u32::from_le_bytes([head[28], head[29], head[30], head[31]]);
    let version = u32::from_le_bytes([head[8], head[9], head[10], head[11]]);
    if head[..8] == MAGIC && sum == crc32c::crc32c(&head[..28]) && version > VERSION {
        return Err(BadHead::Newer { version });
    }
    Err(BadHead::Damaged)
}

/// What stands at one offset of a segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Found {
    /// A record; the next frame starts at `next`.
    Record {
        /// The hash of the payload, as the frame's head has it.
        digest: Digest,
        /// Where the payload is in the bytes looked at.
        payload: Range<usize>,
        /// Where the next frame starts.
        next: usize,
    },
    /// Zeros to the end: nothing was written from here on.
    End,
    /// Bytes that are no record; the next record starts at `resume`.
    Damage {
        /// Where the next good record starts.
        resume: usize,
    },
    /// Bytes that are no record, and no record follows.
    Torn {
        /// The offset from which on only zeros follow.
        end: usize,
    },
}

/// Looks at `at` (a multiple of [`ALIGNMENT`]) in the bytes of a segment. Past damage only a frame
/// whose payload also hashes to its digest counts: a payload may hold the image of a frame.
pub fn scan(segment: &[u8], at: usize) -> Found {
    let rest = segment.get(at..).unwrap_or_default();
    if let Some((digest, payload)) = decode(rest) {
        let next = at + frame_bytes(payload.len());
        return Found::Record { digest, payload: at + payload.start..at + payload.end, next };
    }
    let Some(end) = last_written(rest) else { return Found::End };
    // A record before `end` may itself end in zeros behind it.
    match find(rest, ALIGNMENT, end) {
        Some(found) => Found::Damage { resume: at + found },
        None => Found::Torn { end: at + end },
    }
}

/// One past the last byte that is not zero.
pub fn last_written(bytes: &[u8]) -> Option<usize> {
    bytes.iter().rposition(|byte| *byte != 0).map(|last| last + 1)
}

/// The first offset in `from..to` (multiples of [`ALIGNMENT`]) where a whole frame starts whose
/// payload hashes to its digest.
pub fn find(bytes: &[u8], from: usize, to: usize) -> Option<usize> {
    let mut offsets = (from..to.min(bytes.len())).step_by(ALIGNMENT);
    offsets.find(|offset| {
        let rest = &bytes[*offset..];
        // Most of what is searched is zeros, for which a checksum would be a waste.
        rest[..ALIGNMENT.min(rest.len())] != [0; ALIGNMENT]
            && decode(rest).is_some_and(|(digest, payload)| Digest::of(&rest[payload]) == digest)
    })
}

/// Where the frames of damaged bytes lie: as the lengths in their heads say, if those lead from one
/// to the next and to the very end; else it is one piece.
#[expect(clippy::single_range_in_vec_init, reason = "one piece is one range")]
pub fn pieces(damaged: &[u8]) -> Vec<Range<usize>> {
    let mut pieces = Vec::new();
    let mut at = 0;
    while at < damaged.len() {
        // The lengths are not trusted: they must lead exactly to the end, which damage rarely does.
        let head = damaged[at..].first_chunk().and_then(Head::read);
        let Some(head) =
            head.filter(|head| frame_bytes(head.payload_bytes()) <= damaged.len() - at)
        else {
            return vec![0..damaged.len()];
        };
        let end = at + frame_bytes(head.payload_bytes());
        pieces.push(at..end);
        at = end;
    }
    pieces
}

/// Which record stood in damaged bytes that held just one. A payload that hashes to nearly the
/// digest in the head is whole, and the damage is in the head; else the head's digest is taken, if
/// its length fits: one of the two is. Where the length is what is damaged, the payload has one of
/// those that fit.
pub fn name(frame: &[u8]) -> Option<Digest> {
    let (head, payload) = frame.split_first_chunk::<FRAME_HEAD_BYTES>()?;
    let claimed = Digest::from_slice(&head[8..])?;
    let near = |length: usize| {
        let hash = Digest::of(&payload[..length]);
        (differing_bits(&hash, &claimed) <= NEAR_BITS).then_some(hash)
    };
    // One bit of damage is in one of the three: digest, length or payload.
    let fits = |head: &Head| frame_bytes(head.payload_bytes()) == frame.len();
    match Head::read(head).filter(fits) {
        Some(head) => near(head.payload_bytes()).or(Some(claimed)),
        None => (payload.len().saturating_sub(ALIGNMENT - 1).max(1)..=payload.len()).find_map(near),
    }
}

/// Hashes of different payloads differ in 128 of 256 bits, give or take 8: never in so few.
const NEAR_BITS: u32 = 64;

fn differing_bits(one: &Digest, two: &Digest) -> u32 {
    one.0.iter().zip(two.0).map(|(one, two)| (one ^ two).count_ones()).sum()
}

/// Feeds arbitrary bytes to every reader of this file.
#[doc(hidden)]
pub fn fuzz(bytes: &[u8]) {
    let mut at = 0;
    loop {
        let next = match scan(bytes, at) {
            Found::Record { next, .. } => next,
            Found::Damage { resume } => resume,
            Found::End | Found::Torn { .. } => break,
        };
        assert!(next > at, "a scan moves on");
        let damaged = &bytes[at..next.min(bytes.len())];
        let pieces = pieces(damaged);
        assert_eq!(pieces.last().map_or(0, |last| last.end), damaged.len());
        for piece in pieces {
            let _ = name(&damaged[piece]);
        }
        at = next;
    }
    let _ = check_segment_head(bytes, 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(payloads: &[&[u8]]) -> Vec<u8> {
        let mut bytes = segment_head(3, 96).to_vec();
        for payload in payloads {
            encode(&Digest::of(payload), payload, &mut bytes);
        }
        bytes.resize(bytes.len() + 64, 0);
        bytes
    }

    #[test]
    fn frames_come_back_in_order_and_zeros_end_them() {
        let bytes = segment(&[b"one", b"second"]);
        let Found::Record { payload, next, .. } = scan(&bytes, SEGMENT_HEAD_BYTES) else {
            panic!("a record")
        };
        assert_eq!(&bytes[payload], b"one");
        let Found::Record { digest, next, .. } = scan(&bytes, next) else { panic!("a record") };
        assert_eq!(digest, Digest::of(b"second"));
        assert_eq!(scan(&bytes, next), Found::End);
    }

    #[test]
    fn every_flipped_bit_is_noticed_and_the_others_stay() {
        let good = segment(&[b"one", b"second", b"third"]);
        let start = SEGMENT_HEAD_BYTES + frame_bytes(3);
        let next = start + frame_bytes(6);
        for bit in start * 8..(start + FRAME_HEAD_BYTES + 6) * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(scan(&bytes, start), Found::Damage { resume: next }, "bit {bit}");
        }
        for bit in 0..SEGMENT_HEAD_BYTES * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(check_segment_head(&bytes, 3), Err(BadHead::Damaged), "bit {bit}");
        }
    }

    #[test]
    #[expect(clippy::single_range_in_vec_init, reason = "pieces are ranges")]
    fn every_flipped_bit_leaves_a_name() {
        for payload in [&b"one"[..], b"second", b"12345678", &[7; 300]] {
            let mut good = Vec::new();
            encode(&Digest::of(payload), payload, &mut good);
            for bit in 0..(FRAME_HEAD_BYTES + payload.len()) * 8 {
                let mut bytes = good.clone();
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(name(&bytes), Some(Digest::of(payload)), "bit {bit}");
            }
            let mut two = [&good[..], &good].concat();
            assert_eq!(name(&two), None, "two of them");
            assert_eq!(pieces(&two), [0..good.len(), good.len()..two.len()]);
            two[2] ^= 1;
            assert_eq!(pieces(&two), [0..two.len()]);
            assert_eq!(name(&good[..FRAME_HEAD_BYTES - 1]), None);
        }
        assert_eq!(name(&[0; 80]), None);
    }

    #[test]
    fn an_unfinished_tail_is_not_damage() {
        let good = segment(&[b"one", b"second"]);
        let start = SEGMENT_HEAD_BYTES + frame_bytes(3);
        for cut in start + 1..start + FRAME_HEAD_BYTES + 6 {
            let mut bytes = good.clone();
            bytes[cut..].fill(0);
            let Found::Torn { end } = scan(&bytes, start) else { panic!("cut at {cut}") };
            assert!(end <= cut);
        }
    }

    #[test]
    fn a_record_that_ends_in_zeros_is_found_behind_damage() {
        let mut bytes = segment(&[b"one", &[0; 20]]);
        bytes[SEGMENT_HEAD_BYTES] ^= 1;
        let resume = SEGMENT_HEAD_BYTES + frame_bytes(3);
        assert_eq!(scan(&bytes, SEGMENT_HEAD_BYTES), Found::Damage { resume });
    }

    #[test]
    fn the_image_of_a_frame_inside_a_payload_is_not_taken_for_one_with_a_false_digest() {
        let mut image = vec![0; 8];
        encode(&Digest::of(b"something else"), b"inner bytes!", &mut image);
        let mut bytes = segment(&[&image, b"last"]);
        bytes[SEGMENT_HEAD_BYTES + 10] ^= 1;
        let resume = SEGMENT_HEAD_BYTES + frame_bytes(image.len());
        assert_eq!(scan(&bytes, SEGMENT_HEAD_BYTES), Found::Damage { resume });
    }

    #[test]
    fn a_newer_format_is_not_damage() {
        let mut head = segment_head(3, 96);
        head[8] = 2;
        let sum = crc32c::crc32c(&head[..28]);
        head[28..].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(check_segment_head(&head, 3), Err(BadHead::Newer { version: 2 }));
        assert_eq!(check_segment_head(&segment_head(4, 96), 3), Err(BadHead::Damaged));
        assert_eq!(check_segment_head(&segment_head(3, 96), 3), Ok(96));
    }

    #[test]
    fn arbitrary_bytes_neither_panic_nor_hang() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..300 {
            let mut bytes = segment(&[b"one", b"second", b"third"]);
            for _ in 0..random.usize(0..9) {
                let at = random.usize(0..bytes.len());
                bytes[at] = random.u8(..);
            }
            fuzz(&bytes[SEGMENT_HEAD_BYTES..]);
        }
    }
}
