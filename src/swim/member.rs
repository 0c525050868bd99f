//! A member as this node knows it, and which of two pieces of news about it stands.
//!
//! In: updates of others. Out: whether they are news, and whether they need proof. Never: keeps
//! more than one view of a member.

use std::time::Duration;

use crate::base::{Moment, NodeId};

/// Steps that a member's incarnation may be ahead of what it says itself. Within them the higher
/// one stands, and the member catches up; a few refutations may be under way at a time. Beyond them
/// its own answer stands: its clock was set back, or the other one was made up.
pub(super) const STEPS_MAX: u64 = 16;

/// What is believed of a member, in the order in which it wins at equal incarnation (SWIM, section
/// 4.2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum State {
    /// It answers, or another member says that it does.
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

    /// Whether it takes part: is probed, holds shards, is gossiped to. A suspect does, or each
    /// false suspicion would move shards.
    pub fn is_present(self) -> bool {
        matches!(self, State::Alive | State::Suspect)
    }
}

/// News of one member, as it travels.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Update {
    /// The member that it is about.
    pub node: NodeId,
    /// The address of its gRPC.
    pub rpc_addr: String,
    /// The address of its HTTP API.
    pub api_addr: String,
    /// What is believed of it.
    pub state: State,
    /// The Lamport time of the node that made the news.
    pub lamport: u64,
    /// The member's own count of its lives and refutations (SWIM, section 4.2). Only the member
    /// raises it; what another node passes on moves it by a step at most.
    pub incarnation: u64,
}

impl Update {
    /// Whether it stands against `other`, which is about the same member.
    pub fn beats(&self, other: &Update) -> bool {
        self.rank() > other.rank()
    }

    /// What decides which of two pieces of news stands. The Lamport time has no part in it: two
    /// nodes that suspect one member must not overwrite each other without end.
    pub(super) fn rank(&self) -> (u64, State) {
        (self.incarnation, self.state)
    }

    /// About how many bytes it takes in a message: ids and numbers take 48 with their tags.
    pub fn wire_bytes(&self) -> usize {
        self.rpc_addr.len() + self.api_addr.len() + 48
    }
}

/// Another member, as this node sees it.
#[derive(Clone, Debug)]
pub struct Member {
    /// The latest that stands.
    pub news: Update,
    /// When its state last changed: the dead are forgotten after a while.
    pub since: Moment,
    /// When hearsay last raised its incarnation: it may do so once in a probe interval, or a
    /// stranger would climb to any number step by step.
    pub(super) stepped: Option<Moment>,
    /// When it was last pinged to verify hearsay, which bounds how often a stranger can cause that.
    pub(super) checked: Option<Moment>,
    /// Since when calls of this node fail; `None` if the last one was answered.
    pub(super) silent: Option<Moment>,
    /// When it last called this node: with `silent` it shows that the member lives behind NAT.
    pub(super) called: Option<Moment>,
    /// Whether this node can call it; if not, it is alive by its own calls.
    pub is_reachable: bool,
    /// It says nothing of itself but that it answers, as the standard allows.
    pub(super) is_plain: bool,
    /// What it adds to the digest of the member list, as it was last counted.
    pub(super) counted: u64,
}

/// What an update is worth that another node passes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Weight {
    /// It says nothing new.
    Old,
    /// It accuses a suspect once more.
    Confirms,
    /// It stands: a stranger that made it up gains nothing that the member cannot undo by one
    /// update.
    Stands,
    /// It would do harm if it were made up: the member itself is asked first.
    Unproven,
}

impl Member {
    /// One that answered a ping of this node.
    pub(super) fn new(news: Update, now: Moment) -> Member {
        let (stepped, checked, silent, called) = Default::default();
        Member {
            news,
            since: now,
            stepped,
            checked,
            silent,
            called,
            is_reachable: true,
            is_plain: false,
            counted: 0,
        }
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
            // The member has its whole suspicion to refute it.
            State::Suspect => true,
            State::Dead | State::Left => is_silent,
        };
        if is_step && is_harmless { Weight::Stands } else { Weight::Unproven }
    }
}
