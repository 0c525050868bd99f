//! Wakers that say which part of a connection can go on.
//!
//! In: wake-ups of numbered parts, from any thread. Out: the numbers, and one wake-up of the
//! connection's task, unless that is running and will look by itself.
//!
//! Never: polls all parts because one of them can go on.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

/// Parts there may be: the streams of a connection, and some for the connection itself.
pub(super) const PARTS_MAX: usize = 192;
/// A machine word each: 32-bit MIPS and PowerPC change no 64 bits at once.
const WORD_BITS: usize = usize::BITS as usize;
const WORDS: usize = PARTS_MAX / WORD_BITS;

/// Which parts of a connection were woken since the last poll.
pub(super) struct Woken {
    words: [AtomicUsize; WORDS],
    running: AtomicBool,
    task: Mutex<Option<Waker>>,
}

struct Part {
    number: usize,
    woken: Arc<Woken>,
}

impl Wake for Part {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // The mark before the look at `running`, and `end` the other way round: with weaker orders
        // than SeqCst each could miss the other, and the wake-up would be lost.
        self.woken.add(self.number);
        // Most wake-ups are the task's own: h2 wakes its part for each frame that is queued. They
        // would have the executor poll the connection once more for nothing.
        if !self.woken.running.load(Ordering::SeqCst) {
            self.woken.wake_task();
        }
    }
}

impl Woken {
    pub(super) fn new() -> Arc<Woken> {
        Arc::new(Woken {
            words: Default::default(),
            running: AtomicBool::new(false),
            task: Mutex::new(None),
        })
    }

    /// The waker of a part.
    pub(super) fn waker(self: &Arc<Self>, number: usize) -> Waker {
        assert!(number < PARTS_MAX, "part {number} of at most {PARTS_MAX}");
        Waker::from(Arc::new(Part { number, woken: self.clone() }))
    }

    /// Marks a part; for the running task itself, which looks again before it ends.
    pub(super) fn add(&self, number: usize) {
        self.words[number / WORD_BITS].fetch_or(1 << (number % WORD_BITS), Ordering::SeqCst);
    }

    /// Takes a part's mark off.
    pub(super) fn remove(&self, number: usize) -> bool {
        let bit = 1 << (number % WORD_BITS);
        self.words[number / WORD_BITS].fetch_and(!bit, Ordering::SeqCst) & bit != 0
    }

    /// Takes any marked part under `below`.
    pub(super) fn take_below(&self, below: usize) -> Option<usize> {
        self.words.iter().enumerate().find_map(|(index, word)| {
            let bits = word.load(Ordering::SeqCst);
            let number = index * WORD_BITS + bits.trailing_zeros() as usize;
            (bits != 0 && number < below && self.remove(number)).then_some(number)
        })
    }

    /// The task runs from now on; wake-ups of its parts need not wake it.
    pub(super) fn begin(&self, task: &Waker) {
        self.running.store(true, Ordering::SeqCst);
        let mut known = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        // The executor gives one task the same waker each time: a clone for the first poll alone.
        if !known.as_ref().is_some_and(|known| known.will_wake(task)) {
            *known = Some(task.clone());
        }
    }

    /// The task stops running. False if a part was woken in the very last moment: go on.
    pub(super) fn end(&self) -> bool {
        self.running.store(false, Ordering::SeqCst);
        let quiet = self.words.iter().all(|word| word.load(Ordering::SeqCst) == 0);
        if !quiet {
            self.running.store(true, Ordering::SeqCst);
        }
        quiet
    }

    /// Marks all parts and wakes the task.
    pub(super) fn wake_all(&self) {
        // Bits of parts that do not exist lead to no call, and are taken off with the others.
        self.words.iter().for_each(|word| word.store(usize::MAX, Ordering::SeqCst));
        self.wake_task();
    }

    fn wake_task(&self) {
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = task.as_ref() {
            task.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_every_word_are_marked_and_taken() {
        let woken = Woken::new();
        let parts = [0, 31, 32, 63, 64, 127, 128, PARTS_MAX - 2, PARTS_MAX - 1];
        parts.iter().for_each(|part| woken.waker(*part).wake());
        for part in parts {
            assert_eq!(woken.take_below(part), None, "{part} is the least that is left");
            assert_eq!(woken.take_below(part + 1), Some(part));
        }
        assert_eq!(woken.take_below(PARTS_MAX), None);
        woken.wake_all();
        assert!((0..PARTS_MAX).all(|part| woken.remove(part)));
    }
}
