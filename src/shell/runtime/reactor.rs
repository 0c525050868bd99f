//! The event loop of the state thread: descriptors, timers, and the executor's tasks.
//!
//! In: readiness of descriptors, the clock, wakes from other threads. Out: woken tasks. Interest is
//! edge-triggered and registered once per descriptor, and readiness is remembered, so that a call
//! on an idle node costs one wait, one read and one write. A round is one wait and the tasks that
//! run after it.
//!
//! Never: runs on two threads, notifies the poller for a wake of its own thread.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::AsFd;
use std::pin::{Pin, pin};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use async_executor::LocalExecutor;

use super::poller::{Event, Notifier, Poller};

/// Time after a wait in which streams may go beyond their quotas.
const BUSY_MAX: Duration = Duration::from_micros(500);

thread_local! {
    static CURRENT: RefCell<Option<Rc<Reactor>>> = const { RefCell::new(None) };
}

/// The reactor of this thread; made at the first call.
pub fn current() -> io::Result<Rc<Reactor>> {
    CURRENT.with_borrow_mut(|slot| {
        if slot.is_none() {
            *slot = Some(Rc::new(Reactor::new()?));
        }
        Ok(slot.clone().expect("just made"))
    })
}

/// Work that all tasks of a round share: the reactor does it before it waits.
pub trait RoundEnd {
    /// All tasks that were ready have run.
    fn handle_round_end(&self);
}

/// The poller, timers, and the sources that wait for events.
pub struct Reactor {
    poller: RefCell<Poller>,
    /// What the last wait found; kept for its capacity.
    events: RefCell<Vec<Event>>,
    wake: Arc<WakeFlag>,
    sources: RefCell<BTreeMap<u64, Rc<EventSource>>>,
    next_source: Cell<u64>,
    timers: RefCell<BTreeMap<(Instant, u64), Waker>>,
    next_timer: Cell<u64>,
    /// Tasks that go on in the next round, whose wait returns at once then.
    yielded: RefCell<Vec<Waker>>,
    /// Listeners to the ends of rounds; gone ones are left out at the next registration.
    round_ends: RefCell<Vec<Weak<dyn RoundEnd>>>,
    /// How often the reactor has waited: a task that yields goes on when this has grown.
    rounds: Cell<u64>,
    /// When the last one ended.
    now: Cell<Instant>,
}

/// How other threads reach a parked reactor.
struct WakeFlag {
    notifier: Notifier,
    notified: AtomicBool,
    parked: AtomicBool,
}

impl Wake for WakeFlag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.notified.store(true, Ordering::SeqCst);
        if self.parked.swap(false, Ordering::SeqCst) {
            self.notifier.notify();
        }
    }
}

/// Whether the future that [`Reactor::block_on`] runs was woken itself.
struct OwnWake {
    woken: AtomicBool,
    reactor: Arc<WakeFlag>,
}

impl Wake for OwnWake {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::SeqCst);
        self.reactor.wake_by_ref();
    }
}

/// `task`, polled when it was woken. The executor polls what it runs in each round, whatever the
/// round is for: all listeners, the signals and some timers of the node with each ping.
fn when_woken(
    mut task: Pin<&mut dyn Future<Output = ()>>,
    own: &Arc<OwnWake>,
) -> impl Future<Output = ()> {
    let waker = Waker::from(own.clone());
    poll_fn(move |_| {
        if !own.woken.swap(false, Ordering::SeqCst) {
            return Poll::Pending;
        }
        task.as_mut().poll(&mut Context::from_waker(&waker))
    })
}

/// Remembered readiness of one descriptor.
#[derive(Default)]
pub struct EventSource {
    key: u64,
    readable: Side,
    writable: Side,
    /// The peer will send no more: there is always an end to read.
    ended: Cell<bool>,
    /// Both directions are closed: a write always fails at once.
    broken: Cell<bool>,
    /// Of the task that waits for the peer to send no more, without reading.
    end_waker: Cell<Option<Waker>>,
}

#[derive(Default)]
struct Side {
    ready: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Side {
    fn raise(&self) {
        self.ready.set(true);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        if self.ready.get() {
            return Poll::Ready(());
        }
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            *waker = Some(context.waker().clone());
        }
        Poll::Pending
    }
}

impl EventSource {
    /// Ready once a read may find something.
    pub fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        self.readable.poll(context)
    }

    /// Ready once a write may find space.
    pub fn poll_writable(&self, context: &mut Context<'_>) -> Poll<()> {
        self.writable.poll(context)
    }

    /// Ready once the peer will send no more, whatever is still to be read.
    pub fn poll_ended(&self, context: &mut Context<'_>) -> Poll<()> {
        if self.ended.get() {
            return Poll::Ready(());
        }
        self.end_waker.set(Some(context.waker().clone()));
        Poll::Pending
    }

    /// A read found nothing more.
    pub fn drained(&self) {
        self.readable.ready.set(self.ended.get());
    }

    /// A write found no more space.
    pub fn filled(&self) {
        self.writable.ready.set(self.broken.get());
    }
}

impl Reactor {
    fn new() -> io::Result<Reactor> {
        let poller = Poller::new()?;
        let wake = WakeFlag {
            notifier: poller.notifier(),
            notified: AtomicBool::new(false),
            parked: AtomicBool::new(false),
        };
        Ok(Reactor {
            poller: RefCell::new(poller),
            events: RefCell::default(),
            wake: Arc::new(wake),
            sources: RefCell::default(),
            next_source: Cell::new(0),
            timers: RefCell::default(),
            next_timer: Cell::new(0),
            yielded: RefCell::default(),
            round_ends: RefCell::default(),
            rounds: Cell::new(0),
            now: Cell::new(Instant::now()),
        })
    }

    /// Watches a descriptor until [`Reactor::forget`]. It starts out ready in both directions: the
    /// first read or write finds out.
    pub fn watch(&self, descriptor: impl AsFd) -> io::Result<Rc<EventSource>> {
        let key = self.next_source.get();
        self.next_source.set(key + 1);
        let source = Rc::new(EventSource { key, ..EventSource::default() });
        source.readable.ready.set(true);
        source.writable.ready.set(true);
        self.poller.borrow_mut().add(descriptor, key)?;
        self.sources.borrow_mut().insert(key, source.clone());
        Ok(source)
    }

    /// Stops watching a descriptor that is about to be closed.
    pub fn forget(&self, source: &EventSource, descriptor: impl AsFd) {
        self.poller.borrow_mut().remove(descriptor, source.key);
        self.sources.borrow_mut().remove(&source.key);
    }

    /// Rounds so far: what a connection may do in one round is counted by it.
    pub fn rounds(&self) -> u64 {
        self.rounds.get()
    }

    /// When the last wait ended: what a task may take as now, at no cost, where a
    /// millisecond or two do not matter.
    pub fn now(&self) -> Instant {
        self.now.get()
    }

    /// Whether streams that used their quotas up may go on in this round. The clock is read only
    /// for them.
    pub fn has_time(&self) -> bool {
        self.now.get().elapsed() < BUSY_MAX
    }

    /// Wakes a task after the next wait.
    pub fn wake_next_round(&self, waker: Waker) {
        self.yielded.borrow_mut().push(waker);
    }

    /// Has the end of each round reported to `listener` for as long as that lives.
    pub fn observe_round_ends(&self, listener: Weak<dyn RoundEnd>) {
        let mut listeners = self.round_ends.borrow_mut();
        listeners.retain(|listener| listener.strong_count() > 0);
        listeners.push(listener);
    }

    /// Runs the executor and `future` until the future is done.
    pub fn block_on<T>(&self, executor: &LocalExecutor<'_>, future: impl Future<Output = T>) -> T {
        let mut result = None;
        let task = async { result = Some(future.await) };
        self.run(executor, pin!(task));
        result.expect("it ran to its end")
    }

    /// Behind a pointer: the executor's loop is compiled once and not for each kind of future.
    fn run(&self, executor: &LocalExecutor<'_>, task: Pin<&mut dyn Future<Output = ()>>) {
        let waker = Waker::from(self.wake.clone());
        let mut context = Context::from_waker(&waker);
        let own = Arc::new(OwnWake { woken: AtomicBool::new(true), reactor: self.wake.clone() });
        let mut run = pin!(executor.run(when_woken(task, &own)));
        loop {
            // Cleared before the poll: the poll sees all that was woken until then.
            self.wake.notified.store(false, Ordering::SeqCst);
            if run.as_mut().poll(&mut context).is_ready() {
                return;
            }
            self.wait();
        }
    }

    /// One wait, and the wakes that come of it.
    fn wait(&self) {
        for listener in self.round_ends.borrow().iter().filter_map(Weak::upgrade) {
            listener.handle_round_end();
        }
        self.rounds.set(self.rounds.get() + 1);
        self.wake.parked.store(true, Ordering::SeqCst);
        let is_awaited = !self.yielded.borrow().is_empty();
        let timeout = if is_awaited || self.wake.notified.load(Ordering::SeqCst) {
            Some(Duration::ZERO)
        } else {
            self.until_next_timer()
        };
        let mut events = self.events.take();
        self.poller.borrow_mut().wait(timeout, |event| events.push(event));
        self.wake.parked.store(false, Ordering::SeqCst);
        self.now.set(Instant::now());
        events.drain(..).for_each(|event| self.dispatch(event));
        self.events.replace(events);
        self.fire_timers();
        // Last, so that the tasks that an event woke go first.
        self.yielded.take().into_iter().for_each(Waker::wake);
    }

    fn dispatch(&self, event: Event) {
        let Some(source) = self.sources.borrow().get(&event.key).cloned() else { return };
        source.broken.set(source.broken.get() | event.is_broken);
        source.ended.set(source.ended.get() | event.has_ended);
        if event.has_ended
            && let Some(waker) = source.end_waker.take()
        {
            waker.wake();
        }
        if event.has_ended || event.is_readable {
            source.readable.raise();
        }
        if event.is_broken || event.is_writable {
            source.writable.raise();
        }
    }

    fn until_next_timer(&self) -> Option<Duration> {
        let timers = self.timers.borrow();
        let ((due, _), _) = timers.first_key_value()?;
        Some(due.saturating_duration_since(Instant::now()))
    }

    fn fire_timers(&self) {
        loop {
            let mut timers = self.timers.borrow_mut();
            match timers.first_entry() {
                Some(entry) if entry.key().0 <= self.now.get() => {
                    let waker = entry.remove();
                    drop(timers);
                    waker.wake();
                }
                _ => return,
            }
        }
    }
}

/// Resolves when the reactor has looked for events: long work does its slices between two of them.
/// (The executor's own yield would run slice after slice, hundreds of them, before it looks.)
pub async fn yield_now() {
    let reactor = current().expect("the reactor was made at the start");
    let round = reactor.rounds();
    poll_fn(|context| {
        // Something else may wake the task before: only the count of rounds is proof.
        if reactor.rounds() != round {
            return Poll::Ready(());
        }
        reactor.wake_next_round(context.waker().clone());
        Poll::Pending
    })
    .await;
}

/// Resolves at a point in time.
pub struct Timer {
    reactor: Rc<Reactor>,
    due: Instant,
    key: Option<(Instant, u64)>,
}

impl Timer {
    /// A timer of this thread's reactor.
    pub fn at(due: Instant) -> Timer {
        let reactor = current().expect("the reactor was made at the start");
        Timer { reactor, due, key: None }
    }

    /// A timer that resolves after `span`.
    pub fn after(span: Duration) -> Timer {
        Timer::at(Instant::now() + span)
    }
}

impl Future for Timer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.due <= Instant::now() {
            return Poll::Ready(());
        }
        let number = self.reactor.next_timer.get();
        let key = self.key.unwrap_or((self.due, number));
        if self.key.replace(key).is_none() {
            self.reactor.next_timer.set(number + 1);
        }
        self.reactor.timers.borrow_mut().insert(key, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.reactor.timers.borrow_mut().remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;

    /// It was polled in each round: a hundred times.
    #[test]
    fn what_the_reactor_runs_is_polled_when_it_is_woken() {
        let executor = LocalExecutor::new();
        let asleep: Rc<Cell<Option<Waker>>> = Rc::default();
        let sleeper = asleep.clone();
        let worker = executor.spawn(async move {
            for _ in 0..100 {
                yield_now().await;
            }
            sleeper.take().expect("it waits").wake();
        });
        let mut polls = 0;
        current().expect("a reactor").block_on(
            &executor,
            poll_fn(|context| {
                polls += 1;
                asleep.set(Some(context.waker().clone()));
                if polls > 1 { Poll::Ready(()) } else { Poll::Pending }
            }),
        );
        assert!(worker.is_finished(), "{polls} polls");
    }

    /// With the executor's own yield it takes two hundred.
    #[test]
    fn long_work_lets_an_event_in_at_its_next_yield() {
        let (mut near, far) = UnixStream::pair().expect("two sockets");
        far.set_nonblocking(true).expect("a socket");
        let reactor = current().expect("a reactor");
        let source = reactor.watch(&far).expect("a descriptor");
        source.drained();
        let executor = LocalExecutor::new();
        let seen = Rc::new(Cell::new(false));
        let noted = seen.clone();
        let waiting = source.clone();
        let reader = executor.spawn(async move {
            poll_fn(|context| waiting.poll_readable(context)).await;
            noted.set(true);
        });
        let worker = executor.spawn(async move {
            // The reader waits, and the readiness that the watch began with is used up.
            yield_now().await;
            assert!(!seen.get(), "nothing was written");
            near.write_all(b"x").expect("space");
            let mut yields = 0;
            while !seen.get() {
                yield_now().await;
                yields += 1;
            }
            yields
        });
        let yields = reactor.block_on(&executor, async {
            reader.await;
            worker.await
        });
        assert!(yields <= 3, "{yields} yields");
        reactor.forget(&source, &far);
    }
}
