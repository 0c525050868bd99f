//! What the clients of an HTTP server may take.
//!
//! In: the capacity of the node. Out: [`Bounds`]. Never: enforces one.

use std::time::Duration;

use crate::base::{Capacity, limits};

/// What clients may take; made of `base::limits` but in tests.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Connections that have a slot.
    pub connections_max: usize,
    /// Connections beyond them, which may ask for health and metrics and wait for a slot.
    pub reserve_max: usize,
    /// How long a request may wait for a slot.
    pub slot_wait_max: Duration,
    /// How long a connection may keep others waiting for its slot or its bytes.
    pub patience: Duration,
    /// Time for a head, and how long a body or an answer may stay under `rate_min`.
    pub read_max: Duration,
    /// How long a connection may wait between two requests.
    pub idle_max: Duration,
    /// Time for a body, and for an answer, in all.
    pub transfer_max: Duration,
    /// Bytes a second of a body, or of an answer.
    pub rate_min: u64,
    /// Bytes of bodies that came in pieces, of all connections together.
    pub held_max: usize,
    /// Bytes of answers that are not fetched, of all connections together.
    pub unsent_max: usize,
}

impl Bounds {
    /// Those of a node with so much memory.
    pub fn of(capacity: &Capacity) -> Bounds {
        Bounds {
            connections_max: capacity.connections,
            reserve_max: capacity.connections.div_ceil(limits::HTTP_RESERVE_PART),
            slot_wait_max: limits::HTTP_SLOT_WAIT_MAX,
            patience: limits::HTTP_PATIENCE,
            read_max: limits::HTTP_READ_MAX,
            idle_max: limits::HTTP_IDLE_MAX,
            transfer_max: limits::HTTP_TRANSFER_MAX,
            rate_min: limits::HTTP_RATE_MIN,
            held_max: capacity.http_held,
            unsent_max: capacity.http_unsent,
        }
    }
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds::of(&Capacity::default())
    }
}
