//! What the server knows of each connection, and which one goes when there is no place for another.
//!
//! In: what a connection does. Out: counts, orders to end. A client that has shown the cluster key
//! stays before one that has not, one of a host that has not taken most places before one of a host
//! that has, and one that came or was answered lately before one that was not. A newcomer therefore
//! has as much time for its first call as it takes others to fill all places anew.
//!
//! Never: ends a connection that the node works for, polls one.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use h2::Reason;
use http::HeaderMap;

use super::wakers::Woken;
use super::{Phase, Shared};
use crate::base::limits;
use crate::shell::grpc::identity::Identity;
use crate::shell::runtime::budget::Budget;
use crate::shell::runtime::socket::Ends;
use crate::shell::runtime::source::Source;

/// Why the server ends a connection of its own accord.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// All places are taken, and this one was of the least use.
    Crowded,
    /// It made work for long and no call.
    Flood,
    /// It did not fetch its answers while others waited for room.
    Stalled,
}

impl Ending {
    /// All, in the order of their numbers.
    pub const ALL: [Ending; 3] = [Ending::Crowded, Ending::Flood, Ending::Stalled];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Ending::Crowded => "crowded",
            Ending::Flood => "flood",
            Ending::Stalled => "stalled",
        }
    }

    /// What GOAWAY says.
    pub(super) fn reason(self) -> Reason {
        match self {
            Ending::Crowded => Reason::NO_ERROR,
            Ending::Flood | Ending::Stalled => Reason::ENHANCE_YOUR_CALM,
        }
    }
}

/// What others know of a connection.
pub(super) struct Link {
    pub(super) number: u64,
    pub(super) shared: Rc<Shared>,
    pub(super) woken: Arc<Woken>,
    /// Calls under way.
    running: Cell<usize>,
    /// Of these, the ones whose request is whole: the node works on them, not the client.
    working: Cell<usize>,
    /// Of these, the ones whose request is not whole.
    half_open: Cell<usize>,
    /// Of these, the streams that may stay open for as long as the client likes.
    streams: Cell<usize>,
    /// When, by the server's count of events, it came or was last answered.
    last_used: Cell<u64>,
    /// Calls that were answered, streams that were opened.
    answers: Cell<u64>,
    /// It has shown the cluster key.
    is_peer: Cell<bool>,
    /// It came when all places were taken: it may show the key or ask for health.
    is_provisional: bool,
    /// Where it comes from, and by which address.
    pub(super) ends: Option<Ends>,
    /// The client's host as a share of places.
    source: Option<Source>,
    /// Another node calls: it said so.
    is_node: Cell<bool>,
    /// It should end as soon as no call runs.
    is_leaving: Cell<bool>,
    ending: Cell<Option<Ending>>,
    pub(super) traffic: Traffic,
    /// What [`Traffic::owed`] was when it was last looked at.
    pub(super) owed_before: Cell<Option<u64>>,
    /// Bytes of its requests, as part of the server's.
    pub(super) held: Rc<Budget>,
    /// Bytes of its answers that are not sent, as part of the server's.
    pub(super) unsent: Rc<Budget>,
}

/// What moved on a connection so far, in bytes.
#[derive(Default)]
pub(super) struct Traffic {
    /// Reads that brought something.
    pub(super) reads: Cell<u64>,
    /// All that the client sent.
    pub(super) received: Cell<u64>,
    /// Of that, messages of calls with their prefixes.
    pub(super) messages: Cell<u64>,
    /// Requests for which there is room, and whose end has not come.
    pub(super) arriving: Cell<usize>,
    /// Answers that h2 has and did not send.
    pub(super) queued: Cell<u64>,
    /// Answers that h2 has sent.
    pub(super) sent: Cell<u64>,
}

impl Traffic {
    /// Whether the client could move something, and what it has moved.
    pub(super) fn owed(&self) -> Option<u64> {
        let is_owing = self.arriving.get() > 0 || self.queued.get() > 0;
        is_owing.then(|| self.messages.get() + self.sent.get())
    }
}

pub(super) fn add(cell: &Cell<u64>, more: usize) {
    cell.set(cell.get() + more as u64);
}

impl Link {
    /// A link that the server knows of until the guard is dropped.
    pub(super) fn register(
        number: u64,
        shared: &Rc<Shared>,
        (is_provisional, ends): (bool, Option<Ends>),
    ) -> Registered {
        let part = |whole: &Rc<Budget>| Budget::within(whole, limits::GRPC_CLIENT_BYTES_MAX);
        let link = Rc::new(Link {
            number,
            shared: shared.clone(),
            woken: Woken::new(),
            running: Cell::new(0),
            working: Cell::new(0),
            half_open: Cell::new(0),
            streams: Cell::new(0),
            last_used: Cell::new(shared.next_event()),
            answers: Cell::new(0),
            is_peer: Cell::new(false),
            is_provisional,
            ends,
            source: ends.map(|ends| Source::of(ends.far)),
            is_node: Cell::new(false),
            is_leaving: Cell::new(false),
            ending: Cell::new(None),
            traffic: Traffic::default(),
            owed_before: Cell::new(None),
            held: part(&shared.held),
            unsent: part(&shared.unsent),
        });
        shared.links.borrow_mut().push(link.clone());
        Registered(link)
    }

    /// Whether no call runs.
    pub(super) fn is_idle(&self) -> bool {
        self.running.get() == 0
    }

    pub(super) fn change_running(&self, by: isize) {
        self.running.set(self.running.get().saturating_add_signed(by));
    }

    /// The request of a call is whole until the guard is dropped.
    pub(super) fn begin_work(self: &Rc<Self>) -> Working {
        self.working.set(self.working.get() + 1);
        Working(self.clone())
    }

    /// A call whose request is not whole until the guard is dropped; `None` if there are too many.
    /// Then the client with most of them goes, unless it is this one.
    pub(super) fn begin_half_open(self: &Rc<Self>) -> Option<HalfOpen> {
        let half_open = &self.shared.half_open[usize::from(self.is_peer())];
        let is_full = half_open.get() >= self.shared.bounds.half_open_max;
        // The first one of a client finds its place: those of the client that goes end soon.
        let has_room =
            !is_full || self.shared.end_most_half_open(self) || self.half_open.get() == 0;
        has_room.then(|| {
            half_open.set(half_open.get() + 1);
            self.half_open.set(self.half_open.get() + 1);
            HalfOpen { link: self.clone(), is_peer: self.is_peer() }
        })
    }

    /// Its calls whose requests are not whole.
    pub(super) fn half_open(&self) -> usize {
        self.half_open.get()
    }

    /// A stream that stays open until the guard is dropped; `None` if there are too many.
    pub(super) fn begin_stream(self: &Rc<Self>) -> Option<Streaming> {
        let (own, all) = (self.streams.get(), self.shared.streams.get());
        if own >= limits::STREAMS_OPEN_MAX || all >= self.shared.bounds.streams_max {
            return None;
        }
        self.streams.set(own + 1);
        self.shared.streams.set(all + 1);
        Some(Streaming(self.clone()))
    }

    /// Calls that were answered.
    pub(super) fn answers(&self) -> u64 {
        self.answers.get()
    }

    /// A call was answered.
    pub(super) fn note_answer(&self) {
        self.note_stream();
        self.last_used.set(self.shared.next_event());
    }

    /// A stream was opened: a call, but no use that keeps a connection from making room.
    pub(super) fn note_stream(&self) {
        self.answers.set(self.answers.get() + 1);
    }

    /// Bytes that were no message.
    pub(super) fn overhead(&self) -> u64 {
        self.traffic.received.get().saturating_sub(self.traffic.messages.get())
    }

    pub(super) fn is_peer(&self) -> bool {
        self.is_peer.get()
    }

    /// The client has shown the cluster key.
    pub(super) fn note_key(&self) {
        self.is_peer.set(true);
    }

    /// The client is another node, as its metadata says.
    pub(super) fn note_node(&self, identity: &Identity) {
        if !self.is_node.replace(true)
            && let Some(ends) = self.ends
        {
            identity.note_called(ends.near);
        }
    }

    /// What answers say of this node's cluster: something to nodes alone.
    pub(super) fn put_tag(&self, headers: &mut HeaderMap) {
        if self.is_node.get()
            && let Some(identity) = self.shared.identity.get()
        {
            identity.put_tag(headers);
        }
    }

    /// Whether the client may call what anybody may, though all places are taken.
    pub(super) fn is_turned_away(&self) -> bool {
        self.is_provisional && !self.is_peer.get()
    }

    /// Asks the connection to end as soon as no call runs.
    pub(super) fn leave(&self) {
        self.is_leaving.set(true);
        self.wake();
    }

    /// Has the connection end now.
    pub(super) fn end(&self, ending: Ending) {
        if self.ending.get().is_none() {
            self.ending.set(Some(ending));
            self.shared.count_ending(ending);
            self.wake();
        }
    }

    /// Why the connection has to end now, if it has.
    pub(super) fn ending(&self) -> Option<Ending> {
        self.ending.get()
    }

    /// Has the connection and all its calls look at the server's state again.
    pub(super) fn wake(&self) {
        self.woken.wake_all();
    }

    /// Whether the connection should end as soon as it can.
    pub(super) fn is_unwanted(&self) -> bool {
        let is_over = self.is_leaving.get() || self.ending.get().is_some();
        is_over || self.shared.phase.get() == Phase::Draining
    }

    /// Done once the connection should end.
    pub(super) async fn unwanted(&self) {
        poll_fn(|context| {
            self.woken.begin(context.waker());
            self.woken.end();
            if self.is_unwanted() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Where it comes from.
    /// The client's address, as log lines have it.
    pub(super) fn host(&self) -> String {
        self.ends.map_or_else(|| "an unknown address".to_owned(), |ends| ends.far.to_string())
    }

    pub(super) fn source(&self) -> Option<Source> {
        self.source
    }

    /// What it is worth to keep, or `None` if it must be kept; `crowd` is the host, if there is
    /// one, that has more than half of all places.
    pub(super) fn worth(&self, crowd: Option<Source>) -> Option<Worth> {
        let is_peer = self.is_peer.get();
        let is_kept = self.working.get() > 0 || is_peer && !self.is_idle();
        (!is_kept && self.ending.get().is_none()).then_some(Worth {
            is_peer,
            is_one_of_few: crowd.is_none() || self.source != crowd,
            last_used: self.last_used.get(),
        })
    }
}

/// Which of two connections stays, in the order of the fields.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Worth {
    is_peer: bool,
    is_one_of_few: bool,
    last_used: u64,
}

/// Takes the link out of the server's list when the connection ends, however it ends.
pub(super) struct Registered(pub(super) Rc<Link>);

impl Registered {
    /// The connection has ended but for its last words: it takes no place any more. `None`: too
    /// many are in this state already.
    pub(super) fn begin_farewell(&self) -> Option<Farewell> {
        let shared = &self.0.shared;
        self.leave_list();
        let count = shared.farewells.get();
        (count < limits::FAREWELLS_MAX).then(|| {
            shared.farewells.set(count + 1);
            Farewell(shared.clone())
        })
    }

    fn leave_list(&self) {
        let shared = &self.0.shared;
        shared.links.borrow_mut().retain(|link| !Rc::ptr_eq(link, &self.0));
        shared.note_links_changed();
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.leave_list();
    }
}

/// A connection that hears its client out.
pub(super) struct Farewell(Rc<Shared>);

impl Drop for Farewell {
    fn drop(&mut self) {
        self.0.farewells.set(self.0.farewells.get() - 1);
    }
}

/// A call that the node works on.
pub(super) struct Working(Rc<Link>);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.working.set(self.0.working.get() - 1);
    }
}

/// A call whose request is not whole.
pub(super) struct HalfOpen {
    link: Rc<Link>,
    is_peer: bool,
}

impl Drop for HalfOpen {
    fn drop(&mut self) {
        let half_open = &self.link.shared.half_open[usize::from(self.is_peer)];
        half_open.set(half_open.get() - 1);
        self.link.half_open.set(self.link.half_open.get() - 1);
    }
}

/// A stream that stays open.
pub(super) struct Streaming(Rc<Link>);

impl Drop for Streaming {
    fn drop(&mut self) {
        self.0.streams.set(self.0.streams.get() - 1);
        self.0.shared.streams.set(self.0.shared.streams.get() - 1);
    }
}
