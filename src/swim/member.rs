//! A member as this node knows it, and which of two pieces of news about it stands.
//!
//! In: updates of others. Out: whether they are news. Never: keeps more than one view of a member.

use crate::base::{Moment, NodeId};

/// What is believed of a member, in the order in which it wins at equal incarnation (SWIM, section
/// 4.2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum State {
    /// It answers, or somebody says that it does.
    Alive,
    /// It did not answer; it may still object.
    Suspect,
    /// It did not object in time.
    Dead,
    /// It said that it goes.
    Left,
}

impl State {
    /// All, in the order of their numbers on the wire.
    pub const ALL: [State; 4] = [State::Alive, State::Suspect, State::Dead, State::Left];

    /// From its number on the wire; `None` is one that this version does not know.
    pub fn of(number: u32) -> Option<State> {
        State::ALL.get(usize::try_from(number).ok()?).copied()
    }

    /// Its name in JSON and metrics.
    pub fn name(self) -> &'static str {
        match self {
            State::Alive => "Alive",
            State::Suspect => "Suspect",
            State::Dead => "Dead",
            State::Left => "Left",
        }
    }

    /// Whether it takes part: is probed, holds shards, is gossiped to.
    pub fn is_present(self) -> bool {
        matches!(self, State::Alive | State::Suspect)
    }
}

/// News of one member, as it travels.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Update {
    /// Whom it is about.
    pub node: NodeId,
    /// Where its gRPC is.
    pub rpc_addr: String,
    /// Where its HTTP API is.
    pub api_addr: String,
    /// What is believed of it.
    pub state: State,
    /// The Lamport time of whoever made the news.
    pub lamport: u64,
    /// The member's own count of its lives and objections; only the member itself raises it.
    pub incarnation: u64,
}

impl Update {
    /// Whether it stands against `other`, which is about the same member.
    pub fn beats(&self, other: &Update) -> bool {
        self.rank() > other.rank()
    }

    /// What decides which of two pieces of news stands.
    pub(super) fn rank(&self) -> (u64, State) {
        (self.incarnation, self.state)
    }

    /// About how many bytes it takes in a message.
    pub fn wire_bytes(&self) -> usize {
        self.rpc_addr.len() + self.api_addr.len() + 48
    }
}

/// One other member.
#[derive(Clone, Debug)]
pub struct Member {
    /// The latest that stands.
    pub news: Update,
    /// When its state last changed.
    pub since: Moment,
}
