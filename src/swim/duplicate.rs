//! Another live node under this node's id: a copied data directory, one id set for all replicas.
//!
//! ```text
//! none --answer under this id--> suspected --3 answers, a second apart--> certain
//!   ^                               |                                       |
//!   +------- 3 pings in a row without an answer under this id --------------+
//! ```
//!
//! In: answers under this node's id that another process gave (a node refuses its own calls), time.
//! Out: pings that look whether it is still there, what to report. A node that introduces itself
//! under this id is pinged at the address that it gives: a claim alone proves nothing.
//!
//! Never: believes what the other one says.

use std::time::Duration;

use crate::base::Moment;

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
struct Duplicate {
    /// Where it answers: what distinguishes it from this node, since the id does not.
    address: String,
    /// Answers that counted; [`ANSWERS_MIN`] make it certain.
    answers: u32,
    /// Pings since the last answer.
    unanswered: u32,
    /// An answer counts from then on: two within a pause may be of one dying process.
    counts_at: Moment,
    /// When to look whether it is still there.
    next_ping: Moment,
}

impl Duplicate {
    fn is_certain(&self) -> bool {
        self.answers >= ANSWERS_MIN
    }

    fn pause(&self) -> Duration {
        if self.is_certain() { PAUSE_REPORTED } else { PAUSE }
    }
}

/// What an answer under this node's id leads to.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Finding {
    /// It was known, or the answer came within the pause after another one.
    Known,
    /// It may be an earlier life: members that mix the two up are to follow the later one.
    Refute,
    /// It is certain, at this address.
    Certain(String),
}

/// What is due about the other one.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Due {
    /// To ping it there.
    Ping(String),
    /// It is gone; `true`: it had been reported.
    Gone(bool),
}

/// The other node with this id, if there is one. One is enough to know of.
#[derive(Debug, Default)]
pub(super) struct Duplicates(Option<Duplicate>);

impl Duplicates {
    /// Where it answers, if it is certain.
    pub(super) fn certain(&self) -> Option<&str> {
        let certain = self.0.as_ref().filter(|known| known.is_certain());
        certain.map(|known| known.address.as_str())
    }

    /// Whether one is known at that address.
    pub(super) fn is_at(&self, address: &str) -> bool {
        self.0.as_ref().is_some_and(|known| known.address == address)
    }

    pub(super) fn deadline(&self) -> Option<Moment> {
        self.0.as_ref().map(|known| known.next_ping)
    }

    /// Another process answered under this node's id at that address. The first one that is certain
    /// is followed until it is gone.
    pub(super) fn handle_answer(&mut self, now: Moment, address: &str) -> Finding {
        let is_other = |known: &Duplicate| known.address != address && !known.is_certain();
        if self.0.as_ref().is_none_or(is_other) {
            let (address, next_ping) = (address.to_owned(), now + PAUSE);
            let (answers, unanswered, counts_at) = (0, 0, now);
            self.0 = Some(Duplicate { address, answers, unanswered, counts_at, next_ping });
        }
        let Some(known) = self.0.as_mut().filter(|known| known.address == address) else {
            return Finding::Known;
        };
        known.unanswered = 0;
        if now < known.counts_at {
            return Finding::Known;
        }
        known.answers = known.answers.saturating_add(1);
        known.counts_at = now + known.pause();
        match known.is_certain() {
            true => Finding::Certain(known.address.clone()),
            false => Finding::Refute,
        }
    }

    /// What is due now.
    pub(super) fn handle_timeout(&mut self, now: Moment) -> Option<Due> {
        let known = self.0.as_mut().filter(|known| known.next_ping <= now)?;
        if known.unanswered >= UNANSWERED_MAX {
            return self.0.take().map(|known| Due::Gone(known.is_certain()));
        }
        known.unanswered += 1;
        known.next_ping = now + known.pause();
        Some(Due::Ping(known.address.clone()))
    }

    pub(super) fn check(&self) {
        let is_sane = |known: &Duplicate| known.unanswered <= UNANSWERED_MAX;
        debug_assert!(self.0.as_ref().is_none_or(is_sane), "{self:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_answers_a_second_apart_are_certain_and_three_silences_end_it() {
        let (mut known, mut now) = (Duplicates::default(), Moment::ZERO);
        let mut findings = Vec::new();
        for _ in 0..3 {
            findings.push(known.handle_answer(now, "b:1"));
            assert_eq!(known.handle_answer(now, "b:1"), Finding::Known, "of one moment");
            now = now + PAUSE;
        }
        assert_eq!(findings, [Finding::Refute, Finding::Refute, Finding::Certain("b:1".into())]);
        assert_eq!(known.handle_answer(now, "c:1"), Finding::Known, "one is enough");
        let due = std::iter::from_fn(|| {
            now = known.deadline()?;
            known.check();
            known.handle_timeout(now)
        });
        let due: Vec<Due> = due.collect();
        assert_eq!((due.len(), due.last()), (4, Some(&Due::Gone(true))));
    }
}
