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
        (self.incarnation, self.state) > (other.incarnation, other.state)
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
    /// How it is suspected, while it is.
    pub(super) suspicion: Option<Suspicion>,
}

/// A suspicion shortens with each independent confirmation (Lifeguard, section IV.B).
#[derive(Clone, Debug)]
pub(super) struct Suspicion {
    began: Moment,
    /// When those who said so of their own knowledge did, in Lamport time: that tells them apart.
    accusations: Vec<u64>,
    /// Whether one of them is this node's.
    is_own: bool,
    /// Bounds of its length, in microseconds.
    shortest: u64,
    longest: u64,
    /// Confirmations that bring it down to the shortest.
    enough: usize,
}

impl Suspicion {
    pub(super) fn new(began: Moment, lamport: u64, bounds: (u64, u64), enough: usize) -> Self {
        let (shortest, longest) = bounds;
        let accusations = vec![lamport];
        Suspicion { began, accusations, is_own: false, shortest, longest, enough }
    }

    /// False if that accusation is counted, or enough are.
    pub(super) fn confirm(&mut self, lamport: u64) -> bool {
        let is_news = self.accusations.len() <= self.enough && !self.accusations.contains(&lamport);
        if is_news {
            self.accusations.push(lamport);
        }
        is_news
    }

    /// This node's own accusation counts once; false if it did, or enough are.
    pub(super) fn confirm_own(&mut self, lamport: u64) -> bool {
        !std::mem::replace(&mut self.is_own, true) && self.confirm(lamport)
    }

    /// The member is known to be gone but for its word: nothing more has to confirm it.
    pub(super) fn settle(&mut self) {
        self.longest = self.shortest;
    }

    pub(super) fn deadline(&self) -> Moment {
        let confirmations = (self.accusations.len() - 1) as f64;
        let part = match self.enough {
            0 => 1.0,
            enough => ((confirmations + 1.0).ln() / (enough as f64 + 1.0).ln()).min(1.0),
        };
        let length = self.longest as f64 - part * (self.longest - self.shortest) as f64;
        Moment(self.began.0 + length as u64)
    }
}
