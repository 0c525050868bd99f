//! Sketches on the wire: cells, parts of the set, short ids, leaves and digests of buckets.
//!
//! In: messages of a peer, or values to send. Out: the other form. Never: trusts a length.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::bad_message::BadMessage;
use super::pb::edge as pb;
use crate::base::{Digest, limits};
use crate::sketch::{Cell, LowCounts, NARROW_FROM, Part, ShortId};
use crate::sync::{RowCursor, SketchReply, SketchRequest};

const CELL_BYTES: usize = 12;
const ID_BYTES: usize = size_of::<ShortId>();

/// What to ask a peer.
pub fn sketch_request(request: SketchRequest) -> pb::SketchRequest {
    let (part_bits, part) = write_part(request.part);
    pb::SketchRequest {
        from: request.from as u32,
        cells: request.cells as u32,
        assertion_count: request.count,
        root: request.root,
        part_bits,
        part,
        low_counts_from: request.low_counts.from as u32,
        low_counts: request.low_counts.packed.into(),
    }
}

/// Reads a request for cells.
pub fn read_sketch_request(request: pb::SketchRequest) -> Result<SketchRequest, BadMessage> {
    let part = read_part(request.part_bits, request.part)?;
    let low = request.low_counts;
    let count = 2 * low.len();
    if count > limits::SKETCH_LOW_COUNTS_MAX {
        return Err(BadMessage::LowCounts(count));
    }
    Ok(SketchRequest {
        from: request.from as usize,
        cells: request.cells as usize,
        count: request.assertion_count,
        low_counts: LowCounts { from: request.low_counts_from as usize, packed: low.into() },
        root: request.root,
        part,
    })
}

/// What to answer a peer.
pub fn sketch_response(reply: &SketchReply) -> pb::SketchResponse {
    pb::SketchResponse {
        from: reply.from as u32,
        cells: write_cells(reply),
        assertion_count: reply.count,
        estimate: reply.estimate,
        hint: Bytes::copy_from_slice(&reply.hint),
        since: reply.since.map_or(0, |since| since.row + 1),
        numbering: reply.since.map_or(0, |since| since.numbering),
        part_bits: write_part(reply.part).0,
        part: write_part(reply.part).1,
    }
}

/// Reads an answer with cells, or with the row to pull from.
pub fn read_sketch_response(response: &pb::SketchResponse) -> Result<SketchReply, BadMessage> {
    let from = response.from as usize;
    let cells = read_cells(from, &response.cells);
    let cells = cells.ok_or(BadMessage::Cells { bytes: response.cells.len() })?;
    Ok(SketchReply {
        from,
        cells,
        count: response.assertion_count,
        estimate: response.estimate,
        hint: response.hint.to_vec(),
        since: response
            .since
            .checked_sub(1)
            .map(|row| RowCursor { numbering: response.numbering, row }),
        part: read_part(response.part_bits, response.part)?,
    })
}

fn cell_bytes(index: usize) -> usize {
    CELL_BYTES - usize::from(index >= NARROW_FROM)
}

fn write_cells(reply: &SketchReply) -> Bytes {
    let mut written = BytesMut::with_capacity(reply.cells.len() * CELL_BYTES);
    for (index, cell) in (reply.from..).zip(&reply.cells) {
        written.put_u64_le(cell.ids);
        written.put_uint_le(u64::from(cell.checks), cell_bytes(index) - ID_BYTES);
    }
    written.freeze()
}

/// `None` if they do not fill the bytes, or are too many.
fn read_cells(from: usize, mut bytes: &[u8]) -> Option<Vec<Cell>> {
    let most = limits::SKETCH_CELLS_MAX;
    let mut cells = Vec::with_capacity((bytes.len() / (CELL_BYTES - 1)).min(most));
    while !bytes.is_empty() && cells.len() < most {
        let checks_bytes = cell_bytes(from.saturating_add(cells.len())) - ID_BYTES;
        let ids = bytes.try_get_u64_le().ok()?;
        let checks = bytes.get(..checks_bytes)?;
        bytes.advance(checks_bytes);
        let checks = checks.iter().rfold(0, |sum, byte| sum << 8 | u32::from(*byte));
        cells.push(Cell { ids, checks });
    }
    bytes.is_empty().then_some(cells)
}

fn write_part(part: Option<Part>) -> (u32, u32) {
    part.map_or((0, 0), |part| (part.bits, part.number))
}

fn read_part(bits: u32, number: u32) -> Result<Option<Part>, BadMessage> {
    match bits {
        0 => Ok(None),
        _ if bits > limits::PART_BITS_MAX => Err(BadMessage::PartBits(bits)),
        _ if number >> bits > 0 => Err(BadMessage::PartNumber { number, bits }),
        _ => Ok(Some(Part { bits, number })),
    }
}

/// Which leaves a peer wants.
pub fn read_leaves_of(request: &pb::LeavesOfRequest) -> Result<Part, BadMessage> {
    read_part(request.part_bits, request.part)?.ok_or(BadMessage::PartMissing)
}

/// Hashes, one after the other.
pub fn leaves(hashes: &[Digest]) -> Bytes {
    Bytes::from_iter(hashes.iter().flat_map(|hash| hash.0))
}

/// The hashes in a peer's answer.
pub fn read_leaves(bytes: &[u8]) -> Result<Vec<Digest>, BadMessage> {
    let (leaves, rest) = bytes.as_chunks::<32>();
    if !rest.is_empty() || leaves.len() > limits::LEAVES_MAX {
        return Err(BadMessage::Leaves { bytes: bytes.len() });
    }
    Ok(leaves.iter().copied().map(Digest).collect())
}

/// The digests in a peer's answer.
pub fn read_digests(bytes: &[u8]) -> Result<Vec<ShortId>, BadMessage> {
    let (digests, rest) = bytes.as_chunks::<ID_BYTES>();
    if !rest.is_empty() || digests.len() != limits::BUCKETS {
        return Err(BadMessage::Digests { bytes: bytes.len() });
    }
    Ok(digests.iter().map(|digest| ShortId::from_be_bytes(*digest)).collect())
}

/// Short ids, one after the other.
pub fn short_ids(ids: &[ShortId]) -> Bytes {
    Bytes::from_iter(ids.iter().flat_map(|id| id.to_be_bytes()))
}

/// The short ids in a peer's request.
pub fn read_short_ids(bytes: &[u8]) -> Result<Vec<ShortId>, BadMessage> {
    let (ids, rest) = bytes.as_chunks::<ID_BYTES>();
    if !rest.is_empty() {
        return Err(BadMessage::ShortIdBytes { bytes: bytes.len() });
    }
    if ids.len() > limits::FETCH_SHORT_MAX {
        return Err(BadMessage::ShortIdCount(ids.len()));
    }
    Ok(ids.iter().map(|id| ShortId::from_be_bytes(*id)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_answers_come_back_as_they_went() {
        let part = Some(Part { bits: 3, number: 7 });
        let low_counts = LowCounts { from: 3, packed: vec![7, 250] };
        let request = SketchRequest { from: 7, cells: 9, count: 11, low_counts, root: 8, part };
        assert_eq!(read_sketch_request(sketch_request(request.clone())), Ok(request));
        let cells = vec![Cell { ids: 1 << 63, checks: 3 }, Cell { ids: 2, checks: u32::MAX }];
        let since = Some(RowCursor { numbering: 5, row: 0 });
        let reply =
            SketchReply { from: 7, cells, count: 11, estimate: 13, hint: vec![1, 9], since, part };
        assert_eq!(read_sketch_response(&sketch_response(&reply)), Ok(reply.clone()));
        let from = NARROW_FROM - 1;
        let reply = SketchReply { from, ..reply };
        let response = sketch_response(&reply);
        assert_eq!(response.cells.len(), 12 + 11);
        let cells = read_sketch_response(&response).expect("two cells").cells;
        assert_eq!((cells[0], cells[1].ids, cells[1].checks), (reply.cells[0], 2, 0xff_ffff));
        let ids = [1, u64::MAX, 1 << 40];
        assert_eq!(read_short_ids(&short_ids(&ids)), Ok(ids.to_vec()));
    }

    #[test]
    fn lengths_are_not_trusted() {
        let low_counts = Bytes::from(vec![0; limits::SKETCH_LOW_COUNTS_MAX / 2 + 1]);
        let request = pb::SketchRequest { low_counts, ..Default::default() };
        assert!(
            read_sketch_request(request)
                .expect_err("too many")
                .to_string()
                .contains("at most 16384")
        );
        for (part_bits, part) in [(19, 0), (3, 8)] {
            let request = pb::SketchRequest { part_bits, part, ..Default::default() };
            assert!(read_sketch_request(request).is_err());
        }
        let cells = |count: usize| Bytes::from(vec![0; count]);
        for length in
            [1, CELL_BYTES - 1, CELL_BYTES + 1, CELL_BYTES * (limits::SKETCH_CELLS_MAX + 1)]
        {
            let response = pb::SketchResponse { cells: cells(length), ..Default::default() };
            assert!(read_sketch_response(&response).is_err(), "{length} bytes");
        }
        for length in [0, 8, 8 * limits::BUCKETS - 8, 8 * limits::BUCKETS + 1] {
            assert!(read_digests(&vec![0; length]).is_err(), "{length} bytes");
        }
        assert_eq!(read_digests(&vec![0; 8 * limits::BUCKETS]).map(|all| all.len()), Ok(4096));
        let hashes = [Digest([3; 32]), Digest([7; 32])];
        assert_eq!(read_leaves(&leaves(&hashes)), Ok(hashes.to_vec()));
        assert!(read_leaves(&[0; 33]).is_err());
        assert!(read_leaves(&vec![0; 32 * (limits::LEAVES_MAX + 1)]).is_err());
        let none = pb::LeavesOfRequest::default();
        assert!(read_leaves_of(&none).is_err());
        let bucket = pb::LeavesOfRequest { part_bits: 12, part: 4095 };
        assert_eq!(read_leaves_of(&bucket), Ok(Part { bits: 12, number: 4095 }));
        assert!(read_short_ids(&[0; 7]).is_err());
        assert!(read_short_ids(&vec![0; 8 * (limits::FETCH_SHORT_MAX + 1)]).is_err());
    }
}
