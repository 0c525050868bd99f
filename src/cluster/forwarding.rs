//! What a gateway does with one request: this node answers it, or one of the owners of its
//! subject's shard does.
//!
//! ```text
//! Placing --this node is to answer--> Over (AnswerHere)
//! Placing --others are--> NeedsSlot --a slot--> Asking
//!                         NeedsSlot --none is free--> Over (Refuse)
//! Asking --an answer--> Over (Answered)
//! Asking --no answer, a candidate is left--> Asking
//! Asking --no answer, none is left, first time--> Remapping --other candidates--> Asking
//! Asking --no answer, none is left, second time--> Over (Refuse)
//! Remapping --this node is to answer--> Over (AnswerHere)
//! Remapping --GATEWAY_REMAP_MAX--> Over (Refuse)
//! Asking, Remapping --GATEWAY_ANSWER_MAX--> Over (Refuse)
//! ```
//!
//! In: what the request is about, the owners as the member list has them, how attempts ended, time.
//! Out: attempts, one at a time, and the end. An owner that cannot be reached, breaks off, dies or
//! is overloaded is followed by the next one; a claim may reach two of them, and is the same claim.
//! An owner that is slow is waited for: another one would do the same work again.
//!
//! Never: asks two owners at once, asks a node that is no candidate, puts two stamps on one claim,
//! waits without an end.

mod candidates;
pub mod recent;

use std::collections::VecDeque;
use std::time::Duration;

use super::newcomers::Newcomers;
use super::shard::ShardMap;
use crate::base::{Digest, Hlc, Moment, limits};
use crate::journal::Obstacle;
use crate::swim::Swim;
pub use candidates::{Candidate, ForwardRequest, ForwardTarget, ForwardView, Owner};

/// How often the map is looked at while a failed request waits for it to change.
const REMAP_PAUSE: Duration = Duration::from_millis(20);
/// How often a node that is waited for is looked at: it dies after a second or more.
const ALIVE_PAUSE: Duration = Duration::from_millis(250);

/// One try at one candidate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attempt {
    /// Counts the attempts of the request, for [`Forwarding::handle_attempt_ended`].
    pub number: u32,
    /// The node to ask.
    pub candidate: Candidate,
    /// See [`ForwardRequest::stamp`].
    pub stamp: Option<Hlc>,
    /// Whether a kept connection will do.
    pub may_reuse: bool,
    /// How long connecting may take.
    pub connect_max: Duration,
    /// Whether the attempt ends when the client leaves. A claim is taken even then; a long
    /// query would be answered for no reader.
    pub ends_with_client: bool,
}

/// How an attempt ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AttemptEnd {
    /// An answer came, whole.
    Answered {
        /// It says that the node can answer nothing now.
        is_overloaded: bool,
    },
    /// The connection ended, none could be made, or what came was no answer.
    Broken {
        /// Whether the connection was kept from an earlier request.
        was_kept: bool,
        /// What went wrong, for the client.
        why: String,
    },
    /// The answer has more bytes than the gateway can hold.
    TooLarge,
}

/// Why a request gets no owner's answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ForwardRefusal {
    /// Too many requests wait for other nodes.
    Waiting,
    /// The map names no owner that takes part.
    NoneLive,
    /// The owner at this address has died.
    Died(String),
    /// The owner at this address can answer nothing now.
    Overloaded(String),
    /// The owner at this address was not reached, or broke off, for this reason.
    Unreachable(String, String),
    /// The answer has more bytes than the gateway can hold.
    TooLarge,
    /// No owner answered in time.
    Late,
}

/// What is to be done for the request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ForwardStep {
    /// This node answers, with this stamp. The request is over.
    AnswerHere(Option<Hlc>),
    /// A slot among those that wait for other nodes; [`Forwarding::handle_slot`] says whether there
    /// was one. It is held until the request is over.
    TakeSlot,
    /// To ask this candidate, and no other one from now on.
    Ask(Attempt),
    /// The attempt that was the last came to nothing, for metrics and log.
    Failed(ForwardRefusal),
    /// The answer of the last attempt is the client's. The request is over.
    Answered,
    /// The client gets an error. The request is over.
    Refuse(ForwardRefusal),
}

/// Where the request stands; see the head.
#[derive(Debug)]
enum ForwardState {
    Placing,
    /// With the candidates, so that what needs no other node takes no slot.
    NeedsSlot(Vec<Candidate>),
    Asking {
        /// In the order in which they are asked.
        candidates: Vec<Candidate>,
        /// Of the one that is asked.
        index: usize,
        /// When to see again whether that one has died.
        look_at: Moment,
    },
    Remapping {
        /// All of these failed: others, or the same in another order, may do better.
        failed: Vec<Candidate>,
        /// Why the last one did, which the client gets if the map stays as it is.
        why: ForwardRefusal,
        /// When the client has waited long enough for another map.
        until: Moment,
        /// When to see again whether the map has changed.
        look_at: Moment,
    },
    Over,
}

/// One request at a gateway.
#[derive(Debug)]
pub struct Forwarding {
    /// Each look at the map asks what it is about.
    request: ForwardRequest,
    state: ForwardState,
    /// When the request began; from its slot on when it has to be over.
    until: Moment,
    /// Whether the wait for another map is still to come: a cluster that falls apart changes its
    /// map again and again, and the client would wait for the last change.
    may_remap: bool,
    /// Attempts that began: an end is of the last one, or of one that is over.
    attempts: u32,
    /// At most two: how an attempt failed, and what follows.
    steps: VecDeque<ForwardStep>,
}

impl Forwarding {
    /// A request that has come; [`Forwarding::handle_timeout`] decides where it goes.
    pub fn new(now: Moment, request: ForwardRequest) -> Forwarding {
        Forwarding {
            request,
            state: ForwardState::Placing,
            until: now,
            may_remap: true,
            attempts: 0,
            steps: VecDeque::new(),
        }
    }

    /// Whether there is a slot for the request.
    pub fn handle_slot(&mut self, now: Moment, is_taken: bool) {
        if let ForwardState::NeedsSlot(candidates) = &mut self.state {
            let candidates = std::mem::take(candidates);
            self.until = now + limits::GATEWAY_ANSWER_MAX;
            match is_taken {
                true => self.ask_all(now, candidates),
                false => self.end(ForwardStep::Refuse(ForwardRefusal::Waiting)),
            }
        }
        self.check();
    }

    /// An attempt ended; one that is over already is passed by.
    pub fn handle_attempt_ended(&mut self, now: Moment, number: u32, end: AttemptEnd) {
        let Some(asked) = self.asked().filter(|_| number == self.attempts) else { return };
        let address = asked.api_addr.clone();
        match end {
            AttemptEnd::Answered { is_overloaded: false } => self.end(ForwardStep::Answered),
            AttemptEnd::Answered { is_overloaded: true } => {
                self.fail(now, ForwardRefusal::Overloaded(address));
            }
            // It may have ended long ago, which says nothing of the candidate; a dial does.
            AttemptEnd::Broken { was_kept: true, .. } => self.ask(now, false),
            AttemptEnd::Broken { was_kept: false, why } => {
                self.fail(now, ForwardRefusal::Unreachable(address, why));
            }
            // Another node's answer would take the same bytes.
            AttemptEnd::TooLarge => self.end(ForwardStep::Refuse(ForwardRefusal::TooLarge)),
        }
        self.check();
    }

    /// Time passed; safe to call early or late.
    pub fn handle_timeout(&mut self, now: Moment, view: &ForwardView) {
        let is_waiting =
            matches!(self.state, ForwardState::Asking { .. } | ForwardState::Remapping { .. });
        if is_waiting && now >= self.until {
            self.end(ForwardStep::Refuse(ForwardRefusal::Late));
        }
        match &mut self.state {
            ForwardState::Placing => match self.request.candidates(view) {
                None => self.answer_here(),
                Some(candidates) => {
                    self.state = ForwardState::NeedsSlot(candidates);
                    self.steps.push_back(ForwardStep::TakeSlot);
                }
            },
            // Its connection may look alive for long: a host without power sends no word.
            ForwardState::Asking { candidates, index, .. } if view.is_asked_lost => {
                let address = candidates[*index].api_addr.clone();
                self.fail(now, ForwardRefusal::Died(address));
            }
            ForwardState::Asking { look_at, .. } => *look_at = now + ALIVE_PAUSE,
            ForwardState::Remapping { .. } => self.remap(now, view),
            ForwardState::NeedsSlot(_) | ForwardState::Over => {}
        }
        self.check();
    }

    /// The next thing to do; drain until `None` after every other call.
    pub fn poll_step(&mut self) -> Option<ForwardStep> {
        self.steps.pop_front()
    }

    /// When [`Forwarding::handle_timeout`] wants to be called next.
    pub fn next_deadline(&self) -> Option<Moment> {
        match &self.state {
            ForwardState::Placing => Some(self.until),
            ForwardState::Asking { look_at, .. } => Some(self.until.min(*look_at)),
            ForwardState::Remapping { until, look_at, .. } => {
                Some(self.until.min(*until).min(*look_at))
            }
            ForwardState::NeedsSlot(_) | ForwardState::Over => None,
        }
    }

    /// What the machine has to know of the cluster and, by `has`, of the claims here; who may see
    /// API keys is left to the caller.
    pub fn view(
        &self,
        cluster: (&ShardMap, &Swim, &Newcomers),
        obstacle: Option<Obstacle>,
        has: impl Fn(&Digest) -> bool,
    ) -> ForwardView {
        let asked = self.asked().map(|asked| asked.node);
        ForwardView::new(&self.request.target, cluster, obstacle, asked, has)
    }

    /// The candidate that is asked now.
    pub fn asked(&self) -> Option<&Candidate> {
        match &self.state {
            ForwardState::Asking { candidates, index, .. } => candidates.get(*index),
            _ => None,
        }
    }

    fn answer_here(&mut self) {
        self.end(ForwardStep::AnswerHere(self.request.stamp));
    }

    fn end(&mut self, step: ForwardStep) {
        self.state = ForwardState::Over;
        self.steps.push_back(step);
    }

    fn ask_all(&mut self, now: Moment, candidates: Vec<Candidate>) {
        if candidates.is_empty() {
            return self.fail_all(now, candidates, ForwardRefusal::NoneLive);
        }
        self.state = ForwardState::Asking { candidates, index: 0, look_at: now };
        self.ask(now, true);
    }

    /// Asks the candidate whose index it is.
    fn ask(&mut self, now: Moment, may_reuse: bool) {
        let ForwardState::Asking { candidates, index, look_at } = &mut self.state else { return };
        // It may have died while those before it were asked.
        *look_at = now;
        self.attempts += 1;
        self.steps.push_back(ForwardStep::Ask(Attempt {
            number: self.attempts,
            candidate: candidates[*index].clone(),
            stamp: self.request.stamp,
            may_reuse,
            connect_max: limits::GATEWAY_CONNECT_MAX,
            ends_with_client: !self.request.is_claim,
        }));
    }

    /// The candidate that was asked gave no answer.
    fn fail(&mut self, now: Moment, why: ForwardRefusal) {
        let ForwardState::Asking { candidates, index, .. } = &mut self.state else { return };
        self.steps.push_back(ForwardStep::Failed(why.clone()));
        *index += 1;
        if *index == candidates.len() {
            let failed = std::mem::take(candidates);
            return self.fail_all(now, failed, why);
        }
        self.ask(now, true);
    }

    /// No candidate is left. A node that died is noticed before long, and its shards are assigned
    /// to others.
    fn fail_all(&mut self, now: Moment, failed: Vec<Candidate>, why: ForwardRefusal) {
        if !self.may_remap {
            return self.end(ForwardStep::Refuse(why));
        }
        let until = now + limits::GATEWAY_REMAP_MAX;
        self.state = ForwardState::Remapping { failed, why, until, look_at: now };
    }

    fn remap(&mut self, now: Moment, view: &ForwardView) {
        let candidates = self.request.candidates(view);
        let ForwardState::Remapping { failed, why, until, look_at } = &mut self.state else {
            return;
        };
        match candidates {
            None => self.answer_here(),
            Some(candidates) if candidates != *failed => {
                self.may_remap = false;
                self.ask_all(now, candidates);
            }
            Some(_) if now >= *until => {
                let why = why.clone();
                self.end(ForwardStep::Refuse(why));
            }
            Some(_) => *look_at = now + REMAP_PAUSE,
        }
    }

    /// The invariants.
    fn check(&self) {
        match &self.state {
            ForwardState::Asking { candidates, index, .. } => {
                debug_assert!(*index < candidates.len(), "{index} of {}", candidates.len());
                debug_assert!(self.attempts > 0, "it waits for no attempt");
            }
            ForwardState::Remapping { .. } => debug_assert!(self.may_remap, "a second wait"),
            ForwardState::Placing => debug_assert!(self.attempts == 0, "asked before it is placed"),
            ForwardState::NeedsSlot(_) => {
                debug_assert!(self.attempts == 0, "asked without a slot");
            }
            ForwardState::Over => {}
        }
        // How the last attempt failed, and what follows.
        debug_assert!(self.steps.len() <= 2, "{:?}", self.steps);
    }
}

#[cfg(test)]
mod tests;
