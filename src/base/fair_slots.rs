//! Slots that holders share: none takes more of them than it leaves free.
//!
//! In: who wants one. Out: whether there is one. Half of the slots are one holder's at most, a
//! third each goes to two of them, and so on: the next holder finds a free one (dynamic
//! thresholds, Choudhury and Hahne 1998). Never: waits.

/// A number of slots, and who holds how many.
#[derive(Clone, Debug)]
pub struct FairSlots<K> {
    held: Vec<K>,
    max: usize,
}

impl<K: PartialEq> FairSlots<K> {
    /// `max` of them, all free.
    pub fn new(max: usize) -> FairSlots<K> {
        FairSlots { held: Vec::new(), max }
    }

    /// How many slots are taken.
    pub fn taken(&self) -> usize {
        self.held.len()
    }

    /// Whether `holder` may take one more.
    pub fn may_take(&self, holder: &K) -> bool {
        let own = self.held.iter().filter(|held| *held == holder).count();
        own < self.max - self.held.len()
    }

    /// Takes one, if [`FairSlots::may_take`] says so.
    pub fn take(&mut self, holder: K) -> bool {
        let may = self.may_take(&holder);
        if may {
            self.held.push(holder);
        }
        may
    }

    /// Frees a slot of `holder`; without one, nothing changes.
    pub fn give_back(&mut self, holder: &K) {
        if let Some(index) = self.held.iter().position(|held| held == holder) {
            self.held.swap_remove(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_leaves_half_and_the_next_ones_their_share() {
        let mut slots = FairSlots::new(8);
        let mut take = |holder: u8| (0..8).filter(|_| slots.take(holder)).count();
        assert_eq!([take(1), take(2), take(3), take(4)], [4, 2, 1, 1]);
        slots.give_back(&1);
        assert!(!slots.take(1) && !slots.take(4) && slots.take(5) && !slots.take(6));
        assert_eq!(slots.taken(), 8);
    }
}
