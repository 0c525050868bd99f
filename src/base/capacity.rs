//! The bounds that follow the memory a node may use.
//!
//! In: bytes of memory. Out: every bound of [`Capacity`]. From [`FULL`] on the bounds are
//! those of [`super::limits`]; below, they shrink with what is left beside the program itself, down
//! to what one request of the largest size takes.
//!
//! Never: asks the system for its memory.

use super::limits;

/// Memory with which nothing has to shrink: all bounds together stay under it.
pub const FULL: u64 = 256 << 20;
/// Memory that no bound may have: the program, its sketch, its tree, stacks of its threads.
const FIXED: u64 = 8 << 20;
/// Memory below which a node does not start: a row table, and one claim being stored.
pub const LEAST: u64 = 12 << 20;
/// Bytes of memory for each row of the index that is kept in memory, of 60 bytes, twice that while
/// rows are written.
const PER_ROW: u64 = 512;
/// Memory for each query that is looked at, whose page and lens take up to 9 MiB.
const PER_QUERY: u64 = 32 << 20;
/// HTTP API, gateway and gRPC.
const LISTENERS: u64 = 3;
/// Descriptors below those of connections: standard streams, listeners, epoll, the files of the
/// directory.
const OWN_DESCRIPTORS: u64 = 24;
/// With less memory, what the kernel holds for sockets has to be bounded, too: it counts in a
/// cgroup.
const SMALL: u64 = 128 << 20;

/// The bounds that follow the memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capacity {
    /// Open connections of a listener.
    pub connections: usize,
    /// Bytes of HTTP request bodies, of each listener.
    pub http_held: usize,
    /// Bytes of HTTP answers that are not fetched, of each listener; as many of other nodes' at the
    /// gateway.
    pub http_unsent: usize,
    /// Bytes of gRPC requests that are on their way or worked on.
    pub grpc_held: usize,
    /// Bytes of gRPC answers that are not fetched.
    pub grpc_unsent: usize,
    /// gRPC calls whose requests are not whole.
    pub half_open: usize,
    /// gRPC streams that stay open.
    pub streams: usize,
    /// gRPC calls side by side on one connection: h2 keeps some 1.8 KiB for each that there ever
    /// were until the connection ends.
    pub calls: u32,
    /// Queries that are looked at side by side.
    pub queries: usize,
    /// Bytes that wait for their flush.
    pub queue: usize,
    /// Bytes that one flush writes.
    pub batch: usize,
    /// Rows of the index in memory before they become a file.
    pub rows: usize,
    /// Bytes that the kernel may hold for a socket; `None`: what it thinks best.
    pub socket: Option<usize>,
}

impl Capacity {
    /// What fits into so many bytes of memory.
    pub fn of(memory: u64) -> Capacity {
        let left = memory.saturating_sub(FIXED).min(FULL - FIXED);
        let share = |full: usize, least: usize| {
            let share = full as u128 * u128::from(left) / u128::from(FULL - FIXED);
            usize::try_from(share).expect("a part of a usize").max(least).min(full)
        };
        let count = |each: u64| usize::try_from(memory / each).unwrap_or(usize::MAX);
        let one_claim = limits::ASSERTION_BYTES_MAX + (256 << 10);
        let queue = share(limits::COMMIT_QUEUE_BYTES_MAX, one_claim);
        Capacity {
            connections: share(limits::CONNECTIONS_MAX, 128),
            http_held: share(limits::HTTP_HELD_BYTES_MAX, limits::HTTP_BODY_BYTES_MAX),
            http_unsent: share(limits::HTTP_UNSENT_BYTES_MAX, 2 * limits::PAGE_BYTES_MAX),
            grpc_held: share(limits::GRPC_HELD_BYTES_MAX, one_claim),
            grpc_unsent: share(limits::GRPC_UNSENT_BYTES_MAX, one_claim),
            half_open: share(limits::HALF_OPEN_ALL_MAX, 16),
            streams: share(limits::STREAMS_OPEN_ALL_MAX, 32),
            calls: u32::try_from(count(1 << 20)).unwrap_or(u32::MAX).clamp(16, limits::STREAMS_MAX),
            queries: count(PER_QUERY).clamp(1, limits::QUERIES_MAX),
            queue,
            batch: (queue / 2).max(one_claim).min(limits::BATCH_BYTES_MAX),
            rows: count(PER_ROW).min(limits::SPILL_ROWS),
            socket: (memory < SMALL).then(|| count(1024).clamp(16 << 10, 128 << 10)),
        }
    }

    /// As it is, but with no more connections than so many descriptors are enough for: the reserve
    /// of a listener and the slots for newcomers are of use only if they can be accepted.
    pub fn within(self, descriptors: u64) -> Capacity {
        let listener = descriptors.saturating_sub(OWN_DESCRIPTORS) / LISTENERS;
        let reserve = limits::HTTP_RESERVE_PART as u64;
        let connections = usize::try_from(listener * reserve / (reserve + 1)).unwrap_or(usize::MAX);
        Capacity { connections: self.connections.min(connections).max(1), ..self }
    }
}

impl Default for Capacity {
    /// That of a machine with more than enough memory.
    fn default() -> Capacity {
        Capacity::of(FULL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn with_memory_enough_the_bounds_are_those_of_limits() {
        let all = Capacity::of(FULL);
        assert_eq!(all, Capacity::of(u64::MAX));
        assert_eq!((all.connections, all.queries), (limits::CONNECTIONS_MAX, limits::QUERIES_MAX));
        assert_eq!((all.http_held, all.batch), (limits::HTTP_HELD_BYTES_MAX, 4 << 20));
        assert_eq!((all.rows, all.socket), (limits::SPILL_ROWS, None));
    }

    #[test]
    fn less_memory_never_gives_more_and_always_space_for_one() {
        let mut before = Capacity::of(LEAST);
        for memory in (LEAST / MIB)..300 {
            let now = Capacity::of(memory * MIB);
            let pairs = [
                (before.connections, now.connections),
                (before.http_held, now.http_held),
                (before.http_unsent, now.http_unsent),
                (before.grpc_held, now.grpc_held),
                (before.grpc_unsent, now.grpc_unsent),
                (before.half_open, now.half_open),
                (before.streams, now.streams),
                (before.queries, now.queries),
                (before.queue, now.queue),
                (before.batch, now.batch),
                (before.rows, now.rows),
            ];
            assert!(pairs.iter().all(|(less, more)| less <= more), "{memory} MiB");
            assert!(now.batch > limits::ASSERTION_BYTES_MAX + 4096 && now.queue >= now.batch / 2);
            assert!(now.http_held >= limits::HTTP_BODY_BYTES_MAX);
            before = now;
        }
    }

    #[test]
    fn connections_and_their_reserve_fit_into_the_descriptors() {
        let all = Capacity::default();
        assert_eq!(all.within(1024), all);
        for descriptors in OWN_DESCRIPTORS + 6..1024 {
            let connections = all.within(descriptors).connections;
            let taken = connections + connections.div_ceil(limits::HTTP_RESERVE_PART);
            let taken = LISTENERS * taken as u64;
            assert!(connections > 0 && taken <= descriptors - OWN_DESCRIPTORS, "{descriptors}");
        }
        assert_eq!(all.within(0).connections, 1);
    }

    /// What claims being stored take together, body, text and canonical bytes, stays within the
    /// memory that there is for them.
    #[test]
    fn claims_being_stored_fit_into_small_memories() {
        for memory in [16, 24, 32, 64, 128_u64] {
            let it = Capacity::of(memory * MIB);
            let http = 2 * it.http_held;
            let log = it.queue + 2 * it.batch;
            let rows = 2 * 60 * it.rows;
            let all = (http + log + rows) as u64;
            assert!(all + 6 * MIB <= memory * MIB, "{memory} MiB: {all}");
        }
    }
}
