//! A member as this node knows it, and which of two pieces of news about it stands.
//!
//! In: updates of others. Out: whether they are news, and whether they need proof. Never: keeps
//! more than one view of a member.

use std::time::Duration;

use super::STEPS_MAX;
use crate::base::{Moment, NodeId};

/// What is believed of a member, in the order in which it wins at equal incarnation (SWIM, section
/// 4.2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum State {
    /// It answers, or somebody says that it does.
    Alive,
    /// It did not answer; it may still refute that.
    Suspect,
    /// It did not refute it in time.
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
    /// The member's own count of its lives and refutations; only the member itself raises it.
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
    /// When hearsay last raised its incarnation.
    pub(super) stepped: Option<Moment>,
    /// When it was last pinged to check hearsay.
    pub(super) checked: Option<Moment>,
    /// Since when calls of this node fail; `None` if the last one was answered.
    pub(super) silent: Option<Moment>,
    /// When it last called this node.
    pub(super) called: Option<Moment>,
    /// Whether this node can call it; if not, it is alive by its own calls.
    pub is_reachable: bool,
}

/// What an update is worth that somebody else passes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Weight {
    /// It says nothing new.
    Old,
    /// It accuses a suspect once more.
    Confirms,
    /// It stands: whoever made it up gains nothing that the member cannot undo by one update.
    Stands,
    /// It would do harm if it were made up: the member itself is asked first.
    Unproven,
}

impl Member {
    /// One that answered a ping of this node.
    pub(super) fn new(news: Update, now: Moment) -> Member {
        let (stepped, checked, silent, called) = Default::default();
        Member { news, since: now, stepped, checked, silent, called, is_reachable: true }
    }

    /// Weighs hearsay. Deaths, revivals, other addresses and leaps of the incarnation need proof;
    /// `is_silent`: a ping of this node's own was not answered since the member is suspected.
    pub(super) fn weigh(
        &self,
        now: Moment,
        pause: Duration,
        update: &Update,
        is_silent: bool,
    ) -> Weight {
        let known = &self.news;
        // A clock that was set back makes an incarnation that is lower than in the life before.
        let is_far_behind = update.incarnation.saturating_add(STEPS_MAX) < known.incarnation;
        if is_far_behind && update.state == State::Alive {
            return Weight::Unproven;
        }
        if !update.beats(known) {
            let is_same = update.incarnation == known.incarnation;
            let confirms = is_same && update.state == State::Suspect;
            return if confirms { Weight::Confirms } else { Weight::Old };
        }
        if !known.state.is_present() {
            let is_back = update.state.is_present();
            return if is_back { Weight::Unproven } else { Weight::Old };
        }
        let may_step = self.stepped.is_none_or(|at| now.since(at) >= pause);
        let is_step = update.incarnation == known.incarnation
            || may_step && update.incarnation == known.incarnation + 1;
        let is_same_address =
            update.rpc_addr == known.rpc_addr && update.api_addr == known.api_addr;
        let is_harmless = match update.state {
            State::Alive => is_same_address,
            State::Suspect => true,
            State::Dead | State::Left => is_silent,
        };
        if is_step && is_harmless { Weight::Stands } else { Weight::Unproven }
    }
}
