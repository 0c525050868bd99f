//! A session of anti-entropy as the replica keeps it, and the tickets of what it offers.
//!
//! In: numbers of sessions and offers. Out: tickets, and back. Never: runs the session.

use crate::base::{Digest, NodeId, Ticket};
use crate::cluster::SessionNumber;
use crate::sync::Session;

/// Names one run of anti-entropy.
pub type SessionId = u64;

/// Tickets from here on are those of assertions that sessions offer; the shell gives those below.
pub(super) const SESSION_TICKETS: u64 = 1 << 63;

/// Sessions are numbered in 31 bits, which fit into a ticket beside the number of an offer, and
/// begin again at zero: by then the first is long over.
pub(super) const SESSIONS: SessionId = 1 << 31;

/// The ticket of an assertion that a session offers: the upper half names the session.
pub(super) fn ticket_of(id: SessionId, number: u32) -> Ticket {
    Ticket(SESSION_TICKETS | id << 32 | u64::from(number))
}

/// The session and its offer that such a ticket names.
pub(super) fn offer_of(ticket: Ticket) -> (SessionId, u32) {
    ((ticket.0 & !SESSION_TICKETS) >> 32, ticket.0 as u32)
}

/// A session under way, and what its outcome is judged by.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) session: Session,
    /// What the queue of sessions calls it, which waits for its first answer and its end.
    pub(super) number: SessionNumber,
    /// Its peer, which the outcome is held against.
    pub(super) peer: NodeId,
    /// This node's root when it began, which its report is compared by.
    pub(super) root: Digest,
    /// The damage that was known when it began: a session repairs none that came later. 0 if the
    /// peer cannot have brought it.
    pub(super) mark: u64,
}
