//! Another live node under this node's id: a copied data directory, one id set for all replicas.
//!
//! In: answers under this node's id that another process gave (a node refuses its own calls), time.
//! Out: pings that look whether it is still there, events. Whoever introduces itself under this id
//! is pinged where it says that it is: a claim alone proves nothing.
//!
//! Never: takes the other one's word for anything.

use std::time::Duration;

use super::member::{State, Update};
use super::probe::Purpose;
use super::{Event, Output, Swim};
use crate::base::{Moment, NodeId};

/// Answers, a pause apart, before it is reported: one may be of the node's earlier life, which has
/// not ended yet.
const ANSWERS_MIN: u32 = 3;
/// Between two pings before it is reported: both sides notice within 10 seconds.
const PAUSE: Duration = Duration::from_secs(1);
/// Between two pings from then on.
const PAUSE_REPORTED: Duration = Duration::from_secs(5);
/// So many pings in a row without an answer under this id end it.
const UNANSWERED_MAX: u32 = 3;

/// What is known of the other one.
#[derive(Debug)]
pub(super) struct Duplicate {
    address: String,
    answers: u32,
    unanswered: u32,
    /// An answer counts from then on.
    counts_at: Moment,
    next_ping: Moment,
}

impl Duplicate {
    fn is_certain(&self) -> bool {
        self.answers >= ANSWERS_MIN
    }

    fn pause(&self) -> Duration {
        if self.is_certain() { PAUSE_REPORTED } else { PAUSE }
    }

    pub(super) fn deadline(&self) -> Moment {
        self.next_ping
    }
}

impl Swim {
    /// Where another live node answers under this node's id, if that is certain.
    pub fn duplicate(&self) -> Option<&str> {
        let certain = self.duplicate.as_ref().filter(|duplicate| duplicate.is_certain());
        certain.map(|duplicate| duplicate.address.as_str())
    }

    /// Somebody introduces itself under this node's id.
    pub(super) fn check_duplicate(&mut self, now: Moment, from: NodeId, update: Update) {
        let is_known = |known: &Duplicate| known.address == update.rpc_addr;
        let is_somewhere = update.state == State::Alive && !update.rpc_addr.is_empty();
        if is_somewhere && !self.duplicate.as_ref().is_some_and(is_known) {
            self.check(now, update, from == self.me.node);
        }
    }

    /// Another process answered under this node's id at that address. The first one is followed
    /// until it is gone; one is enough to know of.
    pub(super) fn note_duplicate(&mut self, now: Moment, address: &str) {
        let is_other = |known: &Duplicate| known.address != address && !known.is_certain();
        if self.duplicate.as_ref().is_none_or(is_other) {
            self.duplicate = Some(Duplicate {
                address: address.to_owned(),
                answers: 0,
                unanswered: 0,
                counts_at: now,
                next_ping: now + PAUSE,
            });
        }
        let Some(known) = self.duplicate.as_mut().filter(|known| known.address == address) else {
            return;
        };
        known.unanswered = 0;
        if now < known.counts_at {
            return;
        }
        known.answers = known.answers.saturating_add(1);
        known.counts_at = now + known.pause();
        if known.is_certain() {
            let event = Event::Duplicate(Some(known.address.clone()));
            self.outbox.push_back(Output::Event(event));
        } else {
            // If it is an earlier life, whoever mixes the two up follows the later one.
            self.refute(now, self.me.incarnation);
        }
    }

    /// Looks whether the other one is still there.
    pub(super) fn ping_duplicate(&mut self, now: Moment) {
        let Some(known) = self.duplicate.as_mut().filter(|known| known.next_ping <= now) else {
            return;
        };
        if known.unanswered >= UNANSWERED_MAX {
            let was_certain = self.duplicate.take().is_some_and(|known| known.is_certain());
            if was_certain {
                self.outbox.push_back(Output::Event(Event::Duplicate(None)));
            }
            return;
        }
        known.unanswered += 1;
        known.next_ping = now + known.pause();
        let address = known.address.clone();
        let updates = self.news_for(None);
        self.ping(now, (Purpose::Disseminate, None), address, updates);
    }
}
