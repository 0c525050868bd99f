//! What the server knows of one connection: its calls, its traffic, what it is worth.
//!
//! In: what the connection does. Out: counts, orders to end. Guards count calls and streams, so
//! that a future that is dropped halfway is counted down, too.
//!
//! Never: polls the connection, knows another one.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use http::HeaderMap;

use super::identity::Identity;
use super::state::{Ending, ServerState};
use super::wakers::Woken;
use crate::base::limits;
use crate::shell::runtime::budget::Budget;
use crate::shell::runtime::socket::Ends;
use crate::shell::runtime::source::Source;

/// What kind of slot a connection got.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Admission {
    /// One of those that every client may have.
    Regular,
    /// One of those kept for peers and for health: the client may show the key or ask for health.
    Provisional,
}

/// What others know of a connection.
pub(super) struct Link {
    /// By which the server finds it in its list.
    pub(super) number: u64,
    pub(super) state: Rc<ServerState>,
    /// Its streams that have something to do: one task looks at these alone.
    pub(super) woken: Arc<Woken>,
    /// Calls under way: a connection with none may be closed.
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
    /// A provisional one that shows no key ends soon, or clients would take the slots of peers.
    admission: Admission,
    /// Where it comes from, and by which address.
    pub(super) ends: Option<Ends>,
    /// The client's host, by which slots are counted.
    source: Option<Source>,
    /// Another node calls: it said so.
    is_node: Cell<bool>,
    /// It should end as soon as no call runs.
    is_leaving: Cell<bool>,
    /// Why it ended, for the metrics; the first reason stays.
    ending: Cell<Option<Ending>>,
    /// What moved, by which floods and clients that read nothing are found.
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
    /// Reads that brought bytes: a connection without new ones is silent to the keepalive.
    pub(super) reads: Cell<u64>,
    /// All that the client sent.
    pub(super) received: Cell<u64>,
    /// Of that, messages of calls with their prefixes.
    pub(super) messages: Cell<u64>,
    /// Requests that have their budget, and whose end has not come.
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
    /// The link of a connection that has just come, the `number`th of the server.
    pub(super) fn new(
        number: u64,
        state: &Rc<ServerState>,
        admission: Admission,
        ends: Option<Ends>,
    ) -> Rc<Link> {
        let part = |whole: &Rc<Budget>| Budget::within(whole, limits::GRPC_CLIENT_BYTES_MAX);
        Rc::new(Link {
            number,
            state: state.clone(),
            woken: Woken::new(),
            running: Cell::new(0),
            working: Cell::new(0),
            half_open: Cell::new(0),
            streams: Cell::new(0),
            last_used: Cell::new(state.next_event()),
            answers: Cell::new(0),
            is_peer: Cell::new(false),
            admission,
            ends,
            source: ends.map(|ends| Source::of(ends.far)),
            is_node: Cell::new(false),
            is_leaving: Cell::new(false),
            ending: Cell::new(None),
            traffic: Traffic::default(),
            owed_before: Cell::new(None),
            held: part(&state.held),
            unsent: part(&state.unsent),
        })
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

    /// A call whose request is not whole until the guard is dropped.
    pub(super) fn begin_half_open(self: &Rc<Self>) -> HalfOpen {
        // The key may come while the call is open: it is counted down where it was counted up.
        let (is_peer, all) = (self.is_peer(), self.state.half_open(self.is_peer()));
        all.set(all.get() + 1);
        self.half_open.set(self.half_open.get() + 1);
        HalfOpen { link: self.clone(), is_peer }
    }

    /// Its calls whose requests are not whole.
    pub(super) fn half_open(&self) -> usize {
        self.half_open.get()
    }

    /// A stream that stays open until the guard is dropped; `None` if there are too many.
    pub(super) fn begin_stream(self: &Rc<Self>) -> Option<StreamSlot> {
        let (own, all) = (self.streams.get(), self.state.streams.get());
        // 200 connections with 128 watches of health each had taken 73 MB.
        if own >= limits::STREAMS_OPEN_MAX || all >= self.state.bounds.streams_max {
            return None;
        }
        self.streams.set(own + 1);
        self.state.streams.set(all + 1);
        Some(StreamSlot(self.clone()))
    }

    pub(super) fn answers(&self) -> u64 {
        self.answers.get()
    }

    pub(super) fn note_answer(&self) {
        // A watch of health is no use: clients that were once answered had kept their slots, and
        // watchers left 40 % of new clients without one.
        self.note_stream();
        self.last_used.set(self.state.next_event());
    }

    /// A stream was opened: a call, but no use that keeps the connection its slot.
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
        // Once for a connection: the address at which a node called is the connection's.
        if !self.is_node.replace(true)
            && let Some(ends) = self.ends
        {
            identity.note_called(ends.near);
        }
    }

    /// Whether the client is another node.
    pub(super) fn is_node(&self) -> bool {
        self.is_node.get()
    }

    /// What answers say of this node's cluster: something to nodes alone.
    pub(super) fn put_tag(&self, headers: &mut HeaderMap) {
        if self.is_node.get()
            && let Some(identity) = self.state.identity.get()
        {
            identity.put_tag(headers);
        }
    }

    /// Whether the client may call open services alone, as all slots are taken.
    pub(super) fn is_turned_away(&self) -> bool {
        self.admission == Admission::Provisional && !self.is_peer.get()
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
            self.state.count_ending(ending);
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
        // Draining is the state of the server, not an order to each connection.
        let is_over = self.is_leaving.get() || self.ending.get().is_some();
        is_over || self.state.is_draining.get()
    }

    /// Done once the connection should end.
    pub(super) async fn unwanted(&self) {
        poll_fn(|context| {
            // During the handshake no part of the connection exists that could be woken: the task
            // is.
            self.woken.begin(context.waker());
            self.woken.end();
            if self.is_unwanted() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// The client's address, as log lines have it.
    pub(super) fn host(&self) -> String {
        self.ends.map_or_else(|| "an unknown address".to_owned(), |ends| ends.far.to_string())
    }

    pub(super) fn source(&self) -> Option<Source> {
        self.source
    }

    /// What it is worth to keep, or `None` if it must be kept; `greediest` is the host, if
    /// there is one, that has more than half of all slots.
    pub(super) fn worth(&self, greediest: Option<Source>) -> Option<Worth> {
        let is_peer = self.is_peer.get();
        // A peer's call that is cut off is a failed probe, or a session that begins again.
        let is_kept = self.working.get() > 0 || is_peer && !self.is_idle();
        (!is_kept && self.ending.get().is_none()).then_some(Worth {
            is_peer,
            is_one_of_few: greediest.is_none() || self.source != greediest,
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
        let all = self.link.state.half_open(self.is_peer);
        all.set(all.get() - 1);
        self.link.half_open.set(self.link.half_open.get() - 1);
    }
}

/// A stream that stays open.
pub(super) struct StreamSlot(Rc<Link>);

impl Drop for StreamSlot {
    fn drop(&mut self) {
        self.0.streams.set(self.0.streams.get() - 1);
        self.0.state.streams.set(self.0.state.streams.get() - 1);
    }
}
