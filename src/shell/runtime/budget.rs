//! A bound on bytes that several holders have together.
//!
//! In: what each holds, or wants to hold. Out: a refusal for the holder that would pass the bound,
//! or a wait, first come first served. Never: lets a waiting holder starve, counts a byte after it
//! is held.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

/// Bytes that may be held, and how many of them are.
#[derive(Debug)]
pub(crate) struct Budget {
    used: Cell<usize>,
    max: usize,
    whole: Option<Rc<Budget>>,
    queue: RefCell<VecDeque<Waiting>>,
    next_number: Cell<u64>,
    /// Of the task that is woken when a holder begins to wait.
    watcher: RefCell<Option<Waker>>,
}

/// A holder that waits for free bytes.
#[derive(Debug)]
struct Waiting {
    number: u64,
    waker: Option<Waker>,
}

/// The budget has fewer free bytes than were asked for; nothing changed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Budget {
    pub(crate) fn new(max: usize) -> Rc<Budget> {
        Budget::with(max, None)
    }

    /// A part of `whole` that takes up to `max` of it, so that one client leaves something to the
    /// others.
    pub(crate) fn within(whole: &Rc<Budget>, max: usize) -> Rc<Budget> {
        Budget::with(max.min(whole.max), Some(whole.clone()))
    }

    fn with(max: usize, whole: Option<Rc<Budget>>) -> Rc<Budget> {
        let (used, queue, next_number, watcher) = Default::default();
        Rc::new(Budget { used, max, whole, queue, next_number, watcher })
    }

    #[cfg(test)]
    pub(crate) fn used(&self) -> usize {
        self.used.get()
    }

    /// What it may hold at most.
    pub(crate) fn max(&self) -> usize {
        self.max
    }

    /// Whether a holder waits for free bytes.
    pub(crate) fn is_awaited(&self) -> bool {
        !self.queue.borrow().is_empty()
    }

    /// Has the task woken when a holder begins to wait.
    pub(crate) fn watch(&self, context: &Context<'_>) {
        *self.watcher.borrow_mut() = Some(context.waker().clone());
    }

    /// Whether `more` bytes fit now.
    pub(crate) fn fits(&self, more: usize) -> bool {
        self.fits_own(more) && self.whole.as_ref().is_none_or(|whole| whole.fits(more))
    }

    fn fits_own(&self, more: usize) -> bool {
        more <= self.max - self.used.get().min(self.max)
    }

    fn change(&self, from: usize, to: usize) {
        self.used.set(self.used.get() - from + to);
        if to < from {
            self.wake_first();
        }
        if let Some(whole) = &self.whole {
            whole.change(from, to);
        }
    }

    fn wake_first(&self) {
        let mut queue = self.queue.borrow_mut();
        if let Some(waker) = queue.front_mut().and_then(|first| first.waker.take()) {
            waker.wake();
        }
    }
}

/// An entry in the queue of a budget; dropping it leaves the queue.
#[derive(Debug)]
struct Queued {
    budget: Rc<Budget>,
    number: u64,
}

impl Queued {
    fn enter(budget: &Rc<Budget>) -> Queued {
        let number = budget.next_number.get();
        budget.next_number.set(number + 1);
        budget.queue.borrow_mut().push_back(Waiting { number, waker: None });
        if let Some(watcher) = budget.watcher.take() {
            watcher.wake();
        }
        Queued { budget: budget.clone(), number }
    }

    /// Ready while this entry is the first and `more` bytes are free.
    fn poll(&self, more: usize, context: &Context<'_>) -> Poll<()> {
        let mut queue = self.budget.queue.borrow_mut();
        let is_first = queue.front().is_some_and(|first| first.number == self.number);
        if is_first && self.budget.fits_own(more) {
            return Poll::Ready(());
        }
        let own = queue.iter_mut().find(|waiting| waiting.number == self.number);
        if let Some(own) = own {
            own.waker = Some(context.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.budget.queue.borrow_mut().retain(|waiting| waiting.number != self.number);
        self.budget.wake_first();
    }
}

/// One holder's part; given back when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Rc<Budget>,
    bytes: usize,
    /// Its entries in the queues of its budget and, once it is the first there, of the whole: so
    /// one client has one entry in the queue that all clients share. Boxed, since most shares never
    /// wait and a share moves with what it is for.
    queued: Option<Box<(Queued, Option<Queued>)>>,
}

impl Share {
    /// A part of nothing yet.
    pub(crate) fn new(budget: &Rc<Budget>) -> Share {
        Share { budget: budget.clone(), bytes: 0, queued: None }
    }

    /// How large the part is.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Makes the part `bytes` large.
    pub(crate) fn resize(&mut self, bytes: usize) -> Result<(), Full> {
        if bytes > self.bytes && !self.budget.fits(bytes - self.bytes) {
            return Err(Full);
        }
        self.budget.change(self.bytes, bytes);
        self.bytes = bytes;
        Ok(())
    }

    /// Makes the part `bytes` large once as many are free, after the holders that came before.
    /// `Full`: there never are.
    pub(crate) fn poll_resize(
        &mut self,
        bytes: usize,
        context: &Context<'_>,
    ) -> Poll<Result<(), Full>> {
        if bytes > self.budget.max {
            return Poll::Ready(Err(Full));
        }
        let may_grow = self.queued.is_none() && self.try_resize(bytes).is_ok();
        if may_grow || bytes <= self.bytes && self.resize(bytes).is_ok() {
            return Poll::Ready(Ok(()));
        }
        // Two that hold something and wait for more would wait for each other.
        debug_assert!(self.bytes == 0, "all is asked for at once");
        let more = bytes - self.bytes;
        let queued =
            self.queued.get_or_insert_with(|| Box::new((Queued::enter(&self.budget), None)));
        let (own, of_whole) = &mut **queued;
        ready!(own.poll(more, context));
        if let Some(whole) = &self.budget.whole {
            let entry = of_whole.get_or_insert_with(|| Queued::enter(whole));
            ready!(entry.poll(more, context));
        }
        self.budget.change(self.bytes, bytes);
        self.bytes = bytes;
        self.queued = None;
        Poll::Ready(Ok(()))
    }

    /// Makes the part `bytes` large if as many are free and no other share waits.
    pub(crate) fn try_resize(&mut self, bytes: usize) -> Result<(), Full> {
        if self.is_preceded() { Err(Full) } else { self.resize(bytes) }
    }

    /// Whether an earlier caller waits: the budget is granted in order of arrival.
    fn is_preceded(&self) -> bool {
        let whole = self.budget.whole.as_ref();
        self.budget.is_awaited() || whole.is_some_and(|whole| whole.is_awaited())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.change(self.bytes, 0);
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::{block_on, poll_fn, poll_once};

    use super::*;

    async fn grown(share: &mut Share, bytes: usize) -> Result<(), Full> {
        poll_fn(|context| share.poll_resize(bytes, context)).await
    }

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
    fn a_part_takes_its_most_and_only_what_is_there() {
        let whole = Budget::new(100);
        let [one, two, three] = [50, 50, 200].map(|max| Budget::within(&whole, max));
        let (mut first, mut second) = (Share::new(&one), Share::new(&two));
        assert_eq!((first.resize(51), first.resize(50)), (Err(Full), Ok(())));
        assert_eq!(second.resize(40), Ok(()));
        let mut third = Share::new(&three);
        assert_eq!((third.resize(11), third.resize(10)), (Err(Full), Ok(())));
        drop((first, second));
        assert_eq!((whole.used(), one.used(), three.used()), (10, 0, 10));
    }

    #[test]
    fn waiting_shares_are_served_in_order_and_a_leaver_holds_up_none() {
        let whole = Budget::new(100);
        let parts = [0, 1, 2].map(|_| Budget::within(&whole, 80));
        let mut first = Share::new(&parts[0]);
        assert_eq!(block_on(grown(&mut first, 80)), Ok(()));
        let [mut large, mut gone, mut small] = [1, 1, 2].map(|at| Share::new(&parts[at]));
        let mut large_waits = Box::pin(grown(&mut large, 70));
        assert!(block_on(poll_once(&mut large_waits)).is_none());
        let mut gone_waits = Box::pin(grown(&mut gone, 5));
        let mut small_waits = Box::pin(grown(&mut small, 20));
        assert!(block_on(poll_once(&mut gone_waits)).is_none(), "its client waits already");
        assert!(block_on(poll_once(&mut small_waits)).is_none(), "the large one came first");
        drop(gone_waits);
        assert!(whole.is_awaited());
        drop(first);
        assert_eq!(block_on(large_waits), Ok(()));
        assert_eq!(block_on(small_waits), Ok(()));
        assert_eq!((whole.used(), whole.is_awaited()), (90, false));
        assert_eq!(block_on(grown(&mut small, 81)), Err(Full), "it would wait for ever");
    }
}
