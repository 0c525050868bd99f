//! A bound on bytes that many hold together.
//!
//! In: what each holds. Out: a refusal for the one that would pass the bound. Never: waits.

use std::cell::Cell;
use std::rc::Rc;

/// Bytes that may be held, and how many of them are.
#[derive(Debug)]
pub(super) struct Budget {
    used: Cell<usize>,
    max: usize,
    whole: Option<Rc<Budget>>,
}

/// The budget has no room for what was asked; nothing changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Budget {
    pub(super) fn new(max: usize) -> Rc<Budget> {
        Rc::new(Budget { used: Cell::new(0), max, whole: None })
    }

    /// A part of `whole` that may take up half of it, so that one connection leaves something to
    /// the others.
    pub(super) fn within(whole: &Rc<Budget>) -> Rc<Budget> {
        let (max, whole) = (whole.max / 2, Some(whole.clone()));
        Rc::new(Budget { used: Cell::new(0), max, whole })
    }

    pub(super) fn used(&self) -> usize {
        self.used.get()
    }

    fn has_room(&self, more: usize) -> bool {
        let room = self.max - self.used.get().min(self.max);
        more <= room && self.whole.as_ref().is_none_or(|whole| whole.has_room(more))
    }

    fn change(&self, from: usize, to: usize) {
        self.used.set(self.used.get() - from + to);
        if let Some(whole) = &self.whole {
            whole.change(from, to);
        }
    }
}

/// One holder's part; given back when dropped.
#[derive(Debug)]
pub(super) struct Share {
    budget: Rc<Budget>,
    bytes: usize,
}

impl Share {
    /// A part of nothing yet.
    pub(super) fn new(budget: &Rc<Budget>) -> Share {
        Share { budget: budget.clone(), bytes: 0 }
    }

    /// Makes the part `bytes` large.
    pub(super) fn resize(&mut self, bytes: usize) -> Result<(), Full> {
        if bytes > self.bytes && !self.budget.has_room(bytes - self.bytes) {
            return Err(Full);
        }
        self.budget.change(self.bytes, bytes);
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.change(self.bytes, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_fit_together_and_come_back() {
        let budget = Budget::new(100);
        let (mut one, mut two) = (Share::new(&budget), Share::new(&budget));
        assert_eq!(one.resize(60), Ok(()));
        assert_eq!(two.resize(41), Err(Full));
        assert_eq!(two.resize(40), Ok(()));
        assert_eq!(one.resize(61), Err(Full));
        assert_eq!(one.resize(10), Ok(()));
        drop(two);
        assert_eq!(budget.used(), 10);
    }

    #[test]
    fn a_part_takes_half_of_the_whole_at_most_and_only_what_is_there() {
        let whole = Budget::new(100);
        let (one, two, three) =
            (Budget::within(&whole), Budget::within(&whole), Budget::within(&whole));
        let (mut first, mut second) = (Share::new(&one), Share::new(&two));
        assert_eq!((first.resize(51), first.resize(50)), (Err(Full), Ok(())));
        assert_eq!(second.resize(40), Ok(()));
        let mut third = Share::new(&three);
        assert_eq!((third.resize(11), third.resize(10)), (Err(Full), Ok(())));
        drop((first, second));
        assert_eq!((whole.used(), one.used(), three.used()), (10, 0, 10));
    }
}
