//! The connection slots of a server, and which connection gives way when all of them are taken.
//!
//! In: connections as they come and go, requests that want a slot, bytes that want budget. Out:
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

use super::bounds::Bounds;
use super::connection::{Client, HttpConnection, Order, Phase, counted};
use crate::base::limits;
use crate::shell::runtime::budget::{Budget, Full};
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

/// All connections of a server, with what they share.
pub(super) struct Slots {
    bounds: Bounds,
    reactor: Rc<Reactor>,
    open: RefCell<Vec<Rc<HttpConnection>>>,
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

    pub(super) fn connections(&self) -> usize {
        self.open.borrow().len()
    }

    /// Takes a newcomer in. If all slots are taken, one is vacated: the task of the connection that
    /// gives way runs before the newcomer's, which finds the slot free when its request has come.
    pub(super) async fn register(self: &Rc<Self>, stream: TcpStream) -> Admitted {
        self.free_reserve().await;
        let client = self.client(stream.source());
        let connection = Rc::new(HttpConnection::new(stream, client, self.reactor.clone()));
        if !self.try_give(&connection) {
            self.vacate();
        }
        self.open.borrow_mut().push(connection.clone());
        self.note_change();
        Admitted { connection, slots: self.clone() }
    }

    /// Waits until one more connection fits into the reserve. No client can make that long: the
    /// connection that has waited there longest gives way, however young it is.
    async fn free_reserve(&self) {
        while self.connections() >= self.bounds.connections_max + self.bounds.reserve_max {
            let now = self.reactor.now();
            self.evict(|connection| connection.age(now).filter(|_| !connection.has_slot()));
            self.changed().await;
        }
    }

    /// Gives a connection whose request has come a slot, if one is free or can be vacated in
    /// [`limits::HTTP_SLOT_WAIT_MAX`]. The request of another newcomer may be quicker and take what
    /// was vacated for this one.
    async fn claim(&self, connection: &HttpConnection) -> bool {
        if connection.has_slot() || self.try_give(connection) {
            return true;
        }
        let end = self.reactor.now() + self.bounds.slot_wait_max;
        while self.reactor.now() < end && connection.order() != Order::Evict {
            if self.vacate() {
                yield_now().await;
            } else {
                // No connection is slow yet.
                let evicted = connection.evicted();
                future::or(evicted, Timer::after(limits::HTTP_SLOT_PAUSE)).await;
            }
            if self.try_give(connection) {
                return true;
            }
        }
        self.counts.count(Ending::Refused);
        false
    }

    fn try_give(&self, connection: &HttpConnection) -> bool {
        let is_free = self.taken.get() < self.bounds.connections_max;
        if is_free {
            connection.take_slot();
            self.taken.set(self.taken.get() + 1);
        }
        is_free
    }

    /// Evicts the slowest connection with a slot, if one is slow.
    fn vacate(&self) -> bool {
        self.evict_slow(HttpConnection::has_slot)
    }

    /// Frees bytes of a budget where `claimant` was refused `bytes` more: the slowest of those that
    /// have a part of it goes. Where `whole` has as many free, it is the part of the claimant's own
    /// client that is full, and no other client can free bytes of that.
    fn evict_holder(
        &self,
        claimant: &HttpConnection,
        whole: &Budget,
        bytes: usize,
        part: impl Fn(&HttpConnection) -> usize,
    ) {
        let is_own = whole.fits(bytes);
        self.evict_slow(|other| {
            let is_eligible = !is_own || Rc::ptr_eq(other.client(), claimant.client());
            is_eligible && !std::ptr::eq(other, claimant) && part(other) > 0
        });
    }

    /// Evicts, of the connections that `is_eligible`, the one that has been waited for longest
    /// beyond what is tolerable, if there is one.
    fn evict_slow(&self, is_eligible: impl Fn(&HttpConnection) -> bool) -> bool {
        let now = self.reactor.now();
        self.evict(|connection| {
            connection.lag(now, self.bounds.patience).filter(|_| is_eligible(connection))
        })
    }

    /// Sends off the connection with the greatest `lag`; the first of several.
    fn evict<L: Ord>(&self, lag: impl Fn(&HttpConnection) -> Option<L>) -> bool {
        let open = self.open.borrow();
        let served = open.iter().filter(|connection| connection.order() == Order::Serve);
        let lags = served.filter_map(|connection| Some((lag(connection)?, connection)));
        let found = lags.min_by(|(one, _), (other, _)| other.cmp(one));
        if let Some((_, connection)) = &found {
            let is_idle = matches!(connection.phase(), Phase::Idle | Phase::Lingering);
            self.counts.count(if is_idle { Ending::Idle } else { Ending::Slow });
            connection.give(Order::Evict);
        }
        found.is_some()
    }

    /// Sends off all connections that are past their time.
    pub(super) fn send_off_late(&self) {
        let now = self.reactor.now();
        for connection in
            self.open.borrow().iter().filter(|connection| connection.is_late(now, &self.bounds))
        {
            // The end of an idle connection is no refusal.
            if connection.phase() != Phase::Idle && connection.order() == Order::Serve {
                self.counts.count(Ending::Late);
            }
            connection.give(Order::Late);
        }
    }

    /// Has every connection end with the request that is under way.
    pub(super) fn finish(&self) {
        self.open.borrow().iter().for_each(|connection| connection.give(Order::Finish));
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
        let known =
            open.iter().map(|connection| connection.client()).find(|it| it.source == source);
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

/// A connection among the open ones, and what it asks of them; ends with the connection, however
/// that ends.
pub(super) struct Admitted {
    pub(super) connection: Rc<HttpConnection>,
    slots: Rc<Slots>,
}

impl Admitted {
    /// The connection of a request that is not for the reserve gets a slot, if there is one.
    pub(super) async fn claim_slot(&self) -> bool {
        self.connection.enter(Phase::Waiting);
        let has_slot = self.slots.claim(&self.connection).await;
        self.connection.enter(Phase::Working);
        has_slot
    }

    /// Takes budget for an answer until it is written; the slowest client that holds some goes if
    /// there is not enough.
    pub(super) fn reserve_answer(&self, bytes: usize) -> Result<(), Full> {
        self.connection.claim(bytes).inspect_err(|Full| {
            let part = HttpConnection::unsent;
            self.slots.evict_holder(&self.connection, &self.slots.unsent, counted(bytes), part);
        })
    }

    /// Takes budget for the request's body, of which there are so many bytes; the slowest client
    /// that holds some goes if there is not enough.
    pub(super) fn reserve_body(&self, bytes: usize) -> Result<(), Full> {
        self.connection.hold(bytes).inspect_err(|Full| {
            let more = bytes - self.connection.held();
            self.slots.evict_holder(&self.connection, &self.slots.held, more, HttpConnection::held);
        })
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let slots = &self.slots;
        slots.open.borrow_mut().retain(|connection| !Rc::ptr_eq(connection, &self.connection));
        slots.taken.set(slots.taken.get() - usize::from(self.connection.has_slot()));
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
