//! What the membership wants called, how a call ended, and what the node hears of it.
//!
//! In: acks and failures, by the number of their call. Out: calls and events. Never: holds state.

use std::time::Duration;

use super::member::{State, Update};
use crate::base::NodeId;

/// Names one call; never used twice.
pub type CallNumber = u64;

/// What the node wants done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// `Ping` the node at this address.
    Ping {
        /// For [`super::Swim::handle_ack`] or [`super::Swim::handle_failed`].
        number: CallNumber,
        /// The gRPC address to dial.
        rpc_addr: String,
        /// News to carry.
        updates: Vec<Update>,
        /// The digest of this node's member list, where lists are to be compared.
        digest: Option<u64>,
        /// When an answer is of no use any more.
        timeout: Duration,
    },
    /// Ask another member whether it reaches the target (SWIM, section 3.1: `ping-req`).
    AskProbe {
        /// For [`super::Swim::handle_probed`] or [`super::Swim::handle_failed`].
        number: CallNumber,
        /// The gRPC address of the member that is asked.
        via: String,
        /// The member to reach, and its gRPC address.
        target: (NodeId, String),
        /// News to carry.
        updates: Vec<Update>,
        /// When an answer is of no use any more.
        timeout: Duration,
    },
    /// What the rest of the node has to know; no call.
    Event(Event),
}

/// A change that the rest of the node acts on, or that its operator reads in the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A member has a new state; `None`: it is forgotten.
    Changed(NodeId, Option<State>),
    /// A member is at another address.
    Moved(NodeId, String),
    /// Another live node has this node's id and answers at that address; `None`: no more.
    Duplicate(Option<String>),
    /// The seed at that address is this node itself.
    OwnSeed(String),
    /// A member calls this node and cannot be called; `true`: it can be again.
    Reachable(NodeId, bool),
    /// A node that is no member introduced itself, and does not answer at that address.
    Unanswered(NodeId, String),
}

/// How a call ended without an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// Nothing came within the time.
    Silent,
    /// The connection was refused or reset, or the answer was of another node.
    Refused,
    /// The call came back to this process: the address is one of its own.
    Own,
}

/// The answer to a ping.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ack {
    /// The id of the node that answered.
    pub node: NodeId,
    /// Its addresses: gRPC, HTTP API.
    pub addresses: (String, String),
    /// News it sent along.
    pub updates: Vec<Update>,
    /// The digest of its member list, if it was asked with one and knows such a thing.
    pub digest: Option<u64>,
}
