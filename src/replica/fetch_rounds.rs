//! When damaged records are fetched, and from which member.
//!
//! ```text
//! Idle --damage--> Paused --the pause is over--> Between --a member is left--> Fetching
//! Fetching --the fetch is over--> Between --no member is left--> Paused, for twice as long
//! Paused --the pause is over, and nothing is missing by name--> Idle
//! ```
//!
//! In: damage, time, members, ends of fetches. Out: the member to ask next. Never: runs two fetches
//! at a time, begins a round without a pause before it.

use std::collections::VecDeque;
use std::time::Duration;

use crate::base::{Moment, limits};
use crate::cluster::Target;

/// Before the first round, so that records which lie beside each other are fetched together; twice
/// as much before each round after it.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest pause. A round without members in reach costs nothing.
const PAUSE_MAX: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
enum FetchState {
    #[default]
    Idle,
    Paused(Moment),
    Between(VecDeque<Target>),
    Fetching(VecDeque<Target>),
}

/// Rounds of fetches: in each, one member after the other is asked for what is still missing.
#[derive(Debug, Default)]
pub(super) struct FetchRounds {
    state: FetchState,
    /// The pause before the next round. It grows, because a record that no member has is asked for
    /// as long as the node runs.
    pause: Duration,
}

impl FetchRounds {
    /// A record was found damaged: the next round is near, for the record may be at hand.
    pub(super) fn handle_damage(&mut self, now: Moment) {
        self.pause = PAUSE_MIN;
        if let FetchState::Idle | FetchState::Paused(_) = self.state {
            self.state = FetchState::Paused(now + PAUSE_MIN);
        }
        self.check();
    }

    /// The member to ask now, if it is time and records are missing by name. A round asks the
    /// `targets` of its beginning, as far as they may still answer: one that is gone would hold up
    /// those behind it for as long as a call may take.
    pub(super) fn next(
        &mut self,
        now: Moment,
        is_missing: bool,
        targets: impl FnOnce() -> Vec<Target>,
        may_answer: impl Fn(&Target) -> bool,
    ) -> Option<Target> {
        match &mut self.state {
            FetchState::Paused(until) if *until <= now && !is_missing => {
                self.state = FetchState::Idle
            }
            FetchState::Paused(until) if *until <= now => {
                self.state = FetchState::Between(targets().into())
            }
            _ => {}
        }
        if let FetchState::Between(rest) = &mut self.state {
            let next = std::iter::from_fn(|| rest.pop_front()).find(&may_answer);
            let next = next.filter(|_| is_missing);
            self.state = match next {
                Some(_) => FetchState::Fetching(std::mem::take(rest)),
                None => {
                    self.pause = (self.pause * 2).min(PAUSE_MAX);
                    FetchState::Paused(now + self.pause)
                }
            };
            self.check();
            return next;
        }
        None
    }

    /// The fetch is over, and what it brought is in the log or refused.
    pub(super) fn handle_fetched(&mut self) {
        if let FetchState::Fetching(rest) = &mut self.state {
            self.state = FetchState::Between(std::mem::take(rest));
        }
        self.check();
    }

    /// When [`FetchRounds::next`] is to be called, whatever else happens.
    pub(super) fn due(&self) -> Option<Moment> {
        match self.state {
            FetchState::Idle | FetchState::Fetching(_) => None,
            FetchState::Paused(until) => Some(until),
            FetchState::Between(_) => Some(Moment::ZERO),
        }
    }

    fn check(&self) {
        debug_assert!(self.pause <= PAUSE_MAX);
        if let FetchState::Between(rest) | FetchState::Fetching(rest) = &self.state {
            debug_assert!(rest.len() <= 2 * limits::MEMBERS_MAX);
            debug_assert!(self.pause >= PAUSE_MIN);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(count: usize) -> Vec<Target> {
        (0..count).map(|number| Target { node: None, rpc_addr: format!("m:{number}") }).collect()
    }

    fn after(millis: u64) -> Moment {
        Moment::ZERO + Duration::from_millis(millis)
    }

    fn ask(rounds: &mut FetchRounds, now: Moment, count: usize) -> Option<Target> {
        rounds.next(now, true, || members(count), |target| target.rpc_addr != "m:7")
    }

    #[test]
    fn a_round_asks_each_member_once_and_pauses_grow() {
        let mut rounds = FetchRounds::default();
        assert_eq!(rounds.due(), None);
        rounds.handle_damage(after(0));
        assert_eq!((rounds.due(), ask(&mut rounds, after(99), 2)), (Some(after(100)), None));
        for (at, next) in [(100, 300), (300, 700), (700, 1500)] {
            for number in 0..2 {
                let target = ask(&mut rounds, after(at), 2).expect("a member is left");
                assert_eq!(target, members(2)[number]);
                assert_eq!(ask(&mut rounds, after(at), 2), None, "one fetch at a time");
                rounds.handle_fetched();
            }
            assert_eq!(ask(&mut rounds, after(at), 2), None);
            assert_eq!(rounds.due(), Some(after(next)));
        }
        for _ in 0..20 {
            let due = rounds.due().expect("records are missing");
            assert_eq!(ask(&mut rounds, due, 0), None, "no member is in reach");
            assert!(rounds.due() <= Some(due + PAUSE_MAX));
        }
        rounds.handle_damage(after(60_000));
        assert_eq!(rounds.due(), Some(after(60_100)), "new damage ends a long pause");
    }

    #[test]
    fn a_round_ends_when_nothing_is_missing() {
        let mut rounds = FetchRounds::default();
        rounds.handle_damage(after(0));
        assert!(ask(&mut rounds, after(100), 3).is_some());
        rounds.handle_damage(after(110));
        assert_eq!(rounds.due(), None, "damage found meanwhile waits for the fetch");
        rounds.handle_fetched();
        assert_eq!(rounds.next(after(120), false, || members(3), |_| true), None);
        let due = rounds.due().expect("a last look");
        assert_eq!(rounds.next(due, false, || members(3), |_| true), None);
        assert_eq!(rounds.due(), None);
    }

    #[test]
    fn a_member_that_is_gone_meanwhile_is_passed_by() {
        let mut rounds = FetchRounds::default();
        rounds.handle_damage(after(0));
        for number in [0, 1, 2, 3, 4, 5, 6, 8] {
            let target = ask(&mut rounds, after(100), 9).expect("a member is left");
            assert_eq!(target.rpc_addr, format!("m:{number}"));
            rounds.handle_fetched();
        }
        assert_eq!(ask(&mut rounds, after(100), 9), None);
    }
}
