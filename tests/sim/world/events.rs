//! What happens in a run: messages that arrive, ends of waits, work that disks have done, faults.
//!
//! In: nothing. Out: kinds of events, and what they carry. Never: makes one happen.

use stemedb_edge::cluster::identity::Tag;
use stemedb_edge::swim::{self, Failure, Update};

use super::faults::Fault;
use crate::node::{Answer, Call, Message};

pub(super) enum Event {
    /// A request arrives.
    Request {
        to: usize,
        from: usize,
        call: Call,
    },
    /// An answer arrives.
    Answer {
        to: usize,
        call: u64,
        answer: Answer,
        /// What the answering node says of its cluster.
        tag: Tag,
    },
    /// The caller learns that no process listens, or that it called itself.
    Refused {
        to: usize,
        call: u64,
        failure: Failure,
    },
    /// The caller has waited long enough.
    Late {
        to: usize,
        call: u64,
    },
    /// The caller's connection to an address ended.
    Lost {
        to: usize,
        address: String,
    },
    DiskDone {
        node: usize,
        life: u64,
    },
    Timer {
        node: usize,
        life: u64,
    },
    Fault(Fault),
    Claim,
    /// A client asks a gateway.
    Ask,
    Forge,
}

impl Event {
    /// The news that it carries.
    pub(super) fn updates(&mut self) -> Option<&mut Vec<Update>> {
        match self {
            Event::Request { call, .. } => match &mut call.message {
                Message::Ping(updates, _) | Message::ProbeFor(_, updates) => Some(updates),
                _ => None,
            },
            Event::Answer { answer: Answer::Ack(ack, _), .. } => Some(&mut ack.updates),
            Event::Answer { answer: Answer::Probed(_, updates), .. } => Some(updates),
            _ => None,
        }
    }

    /// The node that does nothing with it while it stalls.
    pub(super) fn concerns(&self) -> Option<usize> {
        match self {
            Event::Request { to, .. }
            | Event::Answer { to, .. }
            | Event::Refused { to, .. }
            | Event::Late { to, .. }
            | Event::Lost { to, .. } => Some(*to),
            Event::DiskDone { node, .. } | Event::Timer { node, .. } => Some(*node),
            Event::Fault(_) | Event::Claim | Event::Ask | Event::Forge => None,
        }
    }
}

pub(super) fn refused(to: usize, call: u64) -> Event {
    Event::Refused { to, call, failure: Failure::Refused }
}

/// What an event of the membership adds to the trace.
pub(super) fn event_number(event: &swim::Event) -> u64 {
    use swim::Event::{Changed, Duplicate, Moved, OwnSeed, Reachable, Unanswered};
    match event {
        Changed(_, state) => 100 + state.map_or(0, |state| 1 + state as u64),
        Moved(..) => 110,
        Duplicate(_) => 111,
        Reachable(_, is_reachable) => 112 + u64::from(*is_reachable),
        Unanswered(..) => 114,
        OwnSeed(_) => 115,
    }
}
