//! Messages of `stemedb.edge.v1` that name a length or a count.
//!
//! In: bytes of one. Out: a failed assertion where it is not refused, nor read as it is written, or
//! is answered with more than it may be. Never: reads one otherwise than the node does.

use bytes::Bytes;
use prost::Message;

use super::input::Input;
use crate::base::{Digest, limits};
use crate::journal::{Bodies, Position};
use crate::model::Sealed;
use crate::store::Store;
use crate::sync::{RowCursor, RowRange, SketchReply, answer_records, answer_sketch};
use crate::wire::pb::edge;
use crate::wire::sketches;

/// The log of a node that has none.
struct Nothing;

impl Bodies for Nothing {
    fn digest_at(&self, _: Position) -> Option<Digest> {
        None
    }

    fn sealed_at(&self, _: Position) -> Option<Sealed> {
        None
    }
}

pub(super) fn messages(input: &mut Input<'_>) {
    let kind = input.byte();
    let bytes = Bytes::copy_from_slice(input.0);
    let (few, none) = (Store::new(1), Nothing);
    match kind % 6 {
        0 => {
            let response = edge::SketchResponse::decode(bytes);
            let Some(Ok(reply)) = response.ok().map(|it| sketches::read_sketch_response(&it))
            else {
                return;
            };
            check_cells(&reply);
        }
        1 => {
            let request = edge::SketchRequest::decode(bytes);
            let Some(Ok(request)) = request.ok().map(sketches::read_sketch_request) else { return };
            let written = sketches::sketch_request(request.clone());
            assert_eq!(sketches::read_sketch_request(written), Ok(request.clone()));
            check_cells(&answer_sketch(&few, &request));
        }
        2 => {
            if let Ok(ids) = sketches::read_short_ids(&bytes) {
                assert_eq!(sketches::short_ids(&ids), bytes);
            }
            if let Ok(leaves) = sketches::read_leaves(&bytes) {
                assert_eq!(sketches::leaves(&leaves), bytes);
            }
            assert!(sketches::read_digests(&bytes).is_err() || bytes.len() == 8 * limits::BUCKETS);
        }
        3 => {
            let request = edge::LeavesOfRequest::decode(bytes);
            let Some(Ok(part)) = request.ok().map(|it| sketches::read_leaves_of(&it)) else {
                return;
            };
            assert!(
                (1..=limits::PART_BITS_MAX).contains(&part.bits) && part.number >> part.bits == 0
            );
            assert_eq!(few.leaves_of(part, 10), []);
        }
        4 => {
            let Ok(request) = edge::RecordsRequest::decode(bytes) else { return };
            let from = RowCursor { numbering: request.numbering, row: request.from };
            let wanted = RowRange { from, until: Some(request.until) };
            let records = answer_records(&few, wanted, &none);
            assert!(records.good.is_empty() && records.span.rows == 0);
        }
        _ => {
            let response = edge::SketchResponse { cells: bytes, ..Default::default() };
            sketches::read_sketch_response(&response).iter().for_each(check_cells);
        }
    }
}

/// Cells are bounded, and come back as they went.
fn check_cells(reply: &SketchReply) {
    assert!(reply.cells.len() <= limits::SKETCH_CELLS_MAX);
    let written = sketches::sketch_response(reply);
    // A row is written as one more, of which there is none after the last.
    let is_writable = reply.since.is_none_or(|since| since.row < u64::MAX);
    assert!(!is_writable || sketches::read_sketch_response(&written).as_ref() == Ok(reply));
}
