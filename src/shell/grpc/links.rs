//! All connections, and which of them goes where there is not enough for all.
//!
//! In: newcomers; calls that wait for slots or budget. Out: the connection that goes. A client that
//! has shown the cluster key stays before one that has not, one of a host that has not taken most
//! slots before one of a host that has, and one that came or was answered lately before one that
//! was not. A newcomer therefore has as much time for its first call as it takes others to fill all
//! slots again.
//!
//! Never: ends a connection that the node works for, turns away a client that has shown the cluster
//! key for one that has not.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::link::{Admission, HalfOpen, Link};
use super::state::{Ending, ServerState};
use crate::base::limits;
use crate::shell::runtime::reactor::Timer;
use crate::shell::runtime::socket::Ends;
use crate::shell::runtime::source::Source;

/// The connections that are open now.
pub(super) struct Links {
    state: Rc<ServerState>,
    pub(super) list: RefCell<Vec<Rc<Link>>>,
    /// The task that waits for a change of `list`: the end of the server.
    waiting: Cell<Option<Waker>>,
}

impl Links {
    pub(super) fn new(state: &Rc<ServerState>) -> Rc<Links> {
        let (list, waiting) = Default::default();
        Rc::new(Links { state: state.clone(), list, waiting })
    }

    /// Takes in the `number`th connection until the guard is dropped; another one may have to go.
    pub(super) fn register(self: &Rc<Self>, number: u64, ends: Option<Ends>) -> Registered {
        let link = Link::new(number, &self.state, self.admit(), ends);
        self.list.borrow_mut().push(link.clone());
        Registered { links: self.clone(), link }
    }

    pub(super) fn len(&self) -> usize {
        self.list.borrow().len()
    }

    /// Has all connections look at the server's state again.
    pub(super) fn wake_all(&self) {
        self.list.borrow().iter().for_each(|link| link.wake());
    }

    /// Done when a connection has come or gone.
    pub(super) async fn changed(&self) {
        let before = self.len();
        poll_fn(|context| {
            self.waiting.set(Some(context.waker().clone()));
            if self.len() == before { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }

    fn remove(&self, link: &Rc<Link>) {
        self.list.borrow_mut().retain(|it| !Rc::ptr_eq(it, link));
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }

    /// Frees a slot for one more connection: the one of the least worth goes. Where none may go,
    /// the newcomer gets a provisional slot.
    fn admit(&self) -> Admission {
        let links = self.list.borrow();
        let open = || links.iter().filter(|link| link.ending().is_none());
        // Provisional slots are beyond the bound: they do not count against it.
        let turned_away = open().filter(|link| link.is_turned_away()).count();
        if open().count() - turned_away < self.state.bounds.connections_max {
            return Admission::Regular;
        }
        let staying = open().filter(|link| !link.is_turned_away());
        // One host that dialled again and again had taken every slot of clients that had not called
        // yet. A host with more than half of the slots now pays with its own.
        let greediest = self.greediest(&links);
        let worth = |link: &Rc<Link>| link.worth(greediest);
        let least = staying.filter_map(|link| Some((worth(link)?, link))).min_by_key(|it| it.0);
        if let Some((_, link)) = least {
            link.end(Ending::AtCapacity);
            return Admission::Regular;
        }
        // The oldest has had its time to show the key or to ask for health.
        if turned_away >= limits::CONNECTIONS_KEPT
            && let Some(oldest) = open().find(|link| link.is_turned_away())
        {
            oldest.end(Ending::AtCapacity);
        }
        Admission::Provisional
    }

    /// The host that has more than half of all slots without the cluster key.
    fn greediest(&self, links: &[Rc<Link>]) -> Option<Source> {
        let mut counts = BTreeMap::<Source, usize>::new();
        let keyless = links.iter().filter(|link| !link.is_peer() && link.ending().is_none());
        keyless
            .filter_map(|link| link.source())
            .for_each(|source| *counts.entry(source).or_default() += 1);
        let (source, count) = counts.into_iter().max_by_key(|(_, count)| *count)?;
        (count > self.state.bounds.connections_max / 2).then_some(source)
    }

    /// A call of `link` whose request is not whole until the guard is dropped; `None` if there are
    /// too many. Then the client with most of them goes, unless it is this one.
    pub(super) fn begin_half_open(&self, link: &Rc<Link>) -> Option<HalfOpen> {
        let all = self.state.half_open(link.is_peer()).get();
        let is_full = all >= self.state.bounds.half_open_max;
        // The first call of a client is taken all the same: those of the client that goes end with
        // it.
        let may = !is_full || self.end_most_half_open(link) || link.half_open() == 0;
        may.then(|| link.begin_half_open())
    }

    /// Ends the connection with most calls whose requests are not whole, for one more of `link`.
    /// False: that is `link` itself.
    fn end_most_half_open(&self, link: &Rc<Link>) -> bool {
        let links = self.list.borrow();
        let like = |other: &&Rc<Link>| other.is_peer() == link.is_peer();
        let open = links.iter().filter(|other| other.ending().is_none()).filter(like);
        let most = open.max_by_key(|other| other.half_open());
        // A client with a single such call does not go for the first call of another.
        let other = most.filter(|most| most.half_open() > link.half_open().max(1));
        other.map(|other| other.end(Ending::AtCapacity)).is_some()
    }

    fn is_awaited(&self) -> bool {
        self.state.held.is_awaited() || self.state.unsent.is_awaited()
    }

    async fn awaited(&self) {
        poll_fn(|context| {
            self.state.held.watch(context);
            self.state.unsent.watch(context);
            if self.is_awaited() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// While calls wait for budget, ends connections that hold some and do not move: those that
    /// moved under [`limits::STALLED_BYTES`] since the last check, or else the slowest, unless it
    /// moved [`limits::QUICK_BYTES`].
    pub(super) async fn end_stalled(&self) {
        loop {
            self.awaited().await;
            // A fresh start: what moved while no call waited does not matter.
            self.each(|link| link.owed_before.set(link.traffic.owed()));
            while self.is_awaited() {
                Timer::after(limits::STALL_LOOK).await;
                if self.is_awaited() {
                    self.check_stalled();
                }
            }
        }
    }

    fn check_stalled(&self) {
        let mut slowest: Option<(u64, Rc<Link>)> = None;
        let mut has_ended = false;
        self.each(|link| {
            let owed = link.traffic.owed();
            let pair = link.owed_before.replace(owed).zip(owed);
            let Some(moved) = pair.map(|(before, now)| now - before) else { return };
            // First those that do not move at all; only where there are none, the slowest.
            if moved < limits::STALLED_BYTES {
                has_ended = true;
                link.end(Ending::Stalled);
            } else if slowest.as_ref().is_none_or(|(least, _)| moved < *least) {
                slowest = Some((moved, link.clone()));
            }
        });
        let slowest = slowest.filter(|(moved, _)| !has_ended && *moved < limits::QUICK_BYTES);
        if let Some((_, link)) = slowest {
            link.end(Ending::Stalled);
        }
    }

    fn each(&self, check: impl FnMut(&Rc<Link>)) {
        self.list.borrow().iter().for_each(check);
    }
}

/// Takes the link out of the server's list when the connection ends, however it ends.
pub(super) struct Registered {
    links: Rc<Links>,
    pub(super) link: Rc<Link>,
}

impl Registered {
    /// The connection has ended but for its last frames: it takes no slot any more. `None`: too
    /// many are in this state already.
    pub(super) fn begin_farewell(&self) -> Option<Farewell> {
        // At once: a newcomer has the slot while this client still reads.
        self.links.remove(&self.link);
        let state = &self.links.state;
        let count = state.farewells.get();
        (count < limits::FAREWELLS_MAX).then(|| {
            state.farewells.set(count + 1);
            Farewell(state.clone())
        })
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.links.remove(&self.link);
    }
}

/// A connection that is read until its client closes it.
pub(super) struct Farewell(Rc<ServerState>);

impl Drop for Farewell {
    fn drop(&mut self) {
        self.0.farewells.set(self.0.farewells.get() - 1);
    }
}
