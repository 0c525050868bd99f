//! The connection slots of a server, and which connection gives way when all of them are taken.
//!
//! In: connections as they come and go, requests that want a slot, bytes that want room. Out:
//! orders to the connection that has kept the server waiting longest; counts of who was turned
//! away. A newcomer at a full server joins a small reserve: its request is read, so that health and
//! metrics can always be asked for, and gets a slot if one has become free by then.
//!
//! Never: evicts a connection whose request the node works on, waits for a client.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Instant;

use futures_lite::future;

use super::Bounds;
use super::line::{Line, Order, Phase};
use crate::base::limits;
use crate::shell::runtime::budget::Budget;
use crate::shell::runtime::reactor::{self, Reactor, Timer, yield_now};
use crate::shell::runtime::socket::TcpStream;
use crate::shell::runtime::source::Source;

/// Why the server ended a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ending {
    /// All slots were taken, and it was the one that had idled longest.
    Idle,
    /// Slots or buffers were taken, and it was the slowest.
    Slow,
    /// It took longer than any connection may.
    Late,
    /// It came when no slot could be vacated.
    Refused,
}

impl Ending {
    const ALL: [(Ending, &'static str); 4] = [
        (Ending::Idle, "idle"),
        (Ending::Slow, "slow"),
        (Ending::Late, "late"),
        (Ending::Refused, "refused"),
    ];
}

/// What a server counts, for the metrics.
#[derive(Debug, Default)]
pub struct Counts {
    open: Cell<usize>,
    endings: Cell<[u64; 4]>,
}

impl Counts {
    /// Connections that are open now.
    pub fn open(&self) -> usize {
        self.open.get()
    }

    /// Connections that the server ended of its own accord, by its reason.
    pub fn endings(&self) -> [(&'static str, u64); 4] {
        Ending::ALL.map(|(why, reason)| (reason, self.endings.get()[why as usize]))
    }

    fn count(&self, why: Ending) {
        let mut endings = self.endings.get();
        endings[why as usize] += 1;
        self.endings.set(endings);
    }
}

/// A client as the budgets tell them apart: all connections of one host.
pub(super) struct Client {
    /// `None` if it had gone already when its connection was taken.
    source: Option<Source>,
    /// What it may take of the bytes of bodies.
    pub(super) held: Rc<Budget>,
    /// What it may take of the bytes of answers.
    pub(super) unsent: Rc<Budget>,
}

/// All connections of a server, with what they share.
pub(super) struct Slots {
    bounds: Bounds,
    reactor: Rc<Reactor>,
    open: RefCell<Vec<Rc<Line>>>,
    /// How many of the open connections have a slot; the others are the reserve.
    taken: Cell<usize>,
    held: Rc<Budget>,
    unsent: Rc<Budget>,
    counts: Rc<Counts>,
    /// The server's task, while it waits for a change of `open`.
    waiting: Cell<Option<Waker>>,
}

impl Slots {
    pub(super) fn new(bounds: Bounds, counts: Rc<Counts>) -> Slots {
        Slots {
            bounds,
            reactor: reactor::current().expect("the reactor was made at the start"),
            open: RefCell::default(),
            taken: Cell::new(0),
            held: Budget::new(bounds.held_max),
            unsent: Budget::new(bounds.unsent_max),
            counts,
            waiting: Cell::default(),
        }
    }

    pub(super) fn reactor(&self) -> &Reactor {
        &self.reactor
    }

    pub(super) fn connections(&self) -> usize {
        self.open.borrow().len()
    }

    /// Takes a newcomer in. If all slots are taken, one is vacated: the task of the connection that
    /// gives way runs before the newcomer's, which finds the slot free when its request has come.
    pub(super) async fn register(self: &Rc<Self>, stream: TcpStream) -> Open {
        self.make_room().await;
        let client = self.client(stream.source());
        let line = Rc::new(Line::new(stream, client, self.clone()));
        if !self.try_give(&line) {
            self.vacate();
        }
        self.open.borrow_mut().push(line.clone());
        self.note_change();
        Open { line, slots: self.clone() }
    }

    /// Waits until one more connection fits into the reserve. No client can make that long: the
    /// connection that has waited there longest gives way, however young it is.
    async fn make_room(&self) {
        while self.connections() >= self.bounds.connections_max + self.bounds.reserve_max {
            let now = self.reactor.now();
            self.evict(|line| line.age(now).filter(|_| !line.has_slot()));
            self.changed().await;
        }
    }

    /// Gives a connection whose request has come a slot, if one is free or can soon be vacated. The
    /// request of another newcomer may be quicker and take what was vacated for this one.
    pub(super) async fn claim(&self, line: &Line) -> bool {
        if line.has_slot() || self.try_give(line) {
            return true;
        }
        let end = self.reactor.now() + self.bounds.slot_wait_max;
        while self.reactor.now() < end && line.order() != Order::Evict {
            if self.vacate() {
                yield_now().await;
            } else {
                // Nobody is slow yet.
                let evicted = line.evicted();
                future::or(evicted, Timer::after(limits::HTTP_SLOT_PAUSE)).await;
            }
            if self.try_give(line) {
                return true;
            }
        }
        self.counts.count(Ending::Refused);
        false
    }

    fn try_give(&self, line: &Line) -> bool {
        let is_free = self.taken.get() < self.bounds.connections_max;
        if is_free {
            line.take_slot();
            self.taken.set(self.taken.get() + 1);
        }
        is_free
    }

    /// Has the slowest connection give its slot up, if one is slow.
    fn vacate(&self) -> bool {
        self.evict_slow(Line::has_slot)
    }

    /// Makes room in a budget where `claimant` was refused `bytes` more: the slowest of those that
    /// have a part of it goes. Where `whole` has room, it is the claimant's own client's part that
    /// is full, and no other client can make room in that.
    pub(super) fn evict_holder(
        &self,
        claimant: &Line,
        whole: impl Fn(&Slots) -> &Budget,
        bytes: usize,
        part: impl Fn(&Line) -> usize,
    ) {
        let is_own = whole(self).fits(bytes);
        self.evict_slow(|line| {
            let is_eligible = !is_own || Rc::ptr_eq(line.client(), claimant.client());
            is_eligible && !std::ptr::eq(line, claimant) && part(line) > 0
        });
    }

    /// Bytes of bodies, of all clients.
    pub(super) fn held(&self) -> &Budget {
        &self.held
    }

    /// Bytes of answers, of all clients.
    pub(super) fn unsent(&self) -> &Budget {
        &self.unsent
    }

    /// Sends off, of the connections that `is_eligible`, the one that has been waited for longest
    /// beyond what is tolerable, if there is one.
    fn evict_slow(&self, is_eligible: impl Fn(&Line) -> bool) -> bool {
        let now = self.reactor.now();
        self.evict(|line| line.lag(now, self.bounds.patience).filter(|_| is_eligible(line)))
    }

    /// Sends off the connection with the greatest `lag`; the first of several.
    fn evict<L: Ord>(&self, lag: impl Fn(&Line) -> Option<L>) -> bool {
        let open = self.open.borrow();
        let served = open.iter().filter(|line| line.order() == Order::Serve);
        let lags = served.filter_map(|line| Some((lag(line)?, line)));
        let found = lags.min_by(|(one, _), (other, _)| other.cmp(one));
        if let Some((_, line)) = &found {
            let is_idle = matches!(line.phase(), Phase::Idle | Phase::Lingering);
            self.counts.count(if is_idle { Ending::Idle } else { Ending::Slow });
            line.give(Order::Evict);
        }
        found.is_some()
    }

    /// Sends off all connections that are past their time.
    pub(super) fn send_off_late(&self) {
        let now = self.reactor.now();
        for line in self.open.borrow().iter().filter(|line| line.is_late(now, &self.bounds)) {
            // The end of an idle connection is no refusal.
            if line.phase() != Phase::Idle && line.order() == Order::Serve {
                self.counts.count(Ending::Late);
            }
            line.give(Order::Late);
        }
    }

    /// Has every connection end with the request that is under way.
    pub(super) fn finish(&self) {
        self.open.borrow().iter().for_each(|line| line.give(Order::Finish));
    }

    /// Waits until a connection has come or gone.
    pub(super) async fn changed(&self) {
        let before = self.connections();
        poll_fn(|context| {
            self.waiting.set(Some(context.waker().clone()));
            if self.connections() == before { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }

    fn note_change(&self) {
        self.counts.open.set(self.connections());
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }

    /// The client of this host: as the connections that it has open know it, or a new one.
    fn client(&self, source: Option<Source>) -> Rc<Client> {
        let open = self.open.borrow();
        let known = open.iter().map(|line| line.client()).find(|it| it.source == source);
        known.cloned().unwrap_or_else(|| {
            // Half, but what one request takes at most in any case.
            let held = (self.bounds.held_max / 2).max(limits::HTTP_BODY_BYTES_MAX);
            let unsent = (self.bounds.unsent_max / 2).max(2 * limits::PAGE_BYTES_MAX);
            let held = Budget::within(&self.held, held);
            let unsent = Budget::within(&self.unsent, unsent);
            Rc::new(Client { source, held, unsent })
        })
    }
}

/// A connection's membership of the open ones; ends with the connection, however that ends.
pub(super) struct Open {
    pub(super) line: Rc<Line>,
    slots: Rc<Slots>,
}

impl Drop for Open {
    fn drop(&mut self) {
        let slots = &self.slots;
        slots.open.borrow_mut().retain(|line| !Rc::ptr_eq(line, &self.line));
        slots.taken.set(slots.taken.get() - usize::from(self.line.has_slot()));
        slots.note_change();
    }
}

/// Logs how many connections the server ended: one line a minute at most, whatever clients do.
pub(super) struct Reporter {
    listener: String,
    logged: [u64; 4],
    next: Option<Instant>,
}

impl Reporter {
    pub(super) fn new(listener: String) -> Reporter {
        Reporter { listener, logged: Default::default(), next: None }
    }

    pub(super) fn report(&mut self, slots: &Slots) {
        let (endings, now) = (slots.counts.endings(), slots.reactor.now());
        let counts = endings.map(|(_, count)| count);
        if counts == self.logged || self.next.is_some_and(|next| now < next) {
            return;
        }
        let news = endings.iter().zip(self.logged);
        let news = news.map(|((reason, count), logged)| format!("{reason}={}", count - logged));
        let (listener, news) = (&self.listener, news.collect::<Vec<_>>().join(" "));
        let taken = slots.taken.get();
        log::warn!("{listener}: connections ended: {news}; slots taken: {taken}");
        self.logged = counts;
        self.next = Some(now + limits::ENDINGS_LOG_INTERVAL);
    }
}
