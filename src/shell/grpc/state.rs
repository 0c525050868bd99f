//! What all connections of a server have in common: bounds, budgets, counts, whom to ask.
//!
//! In: events of connections. Out: counts. Never: knows a connection.

use std::cell::{Cell, OnceCell};
use std::rc::Rc;

use h2::Reason;

use super::identity::Identity;
use crate::base::Capacity;
use crate::base::secret::Fingerprint;
use crate::shell::runtime::budget::Budget;
use crate::shell::runtime::log_limit;

/// What clients may take together.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Open connections, those kept for peers and health not counted.
    pub connections_max: usize,
    /// Calls whose requests are not whole: of peers, and of all others.
    pub half_open_max: usize,
    /// Bytes of requests that all connections hold together.
    pub held_max: usize,
    /// Bytes of answers that are not sent.
    pub unsent_max: usize,
    /// Streams that may stay open.
    pub streams_max: usize,
    /// Calls side by side on one connection.
    pub calls_max: u32,
}

impl Bounds {
    /// Those of a node with so much memory.
    pub fn of(capacity: &Capacity) -> Bounds {
        Bounds {
            connections_max: capacity.connections,
            half_open_max: capacity.half_open,
            held_max: capacity.grpc_held,
            unsent_max: capacity.grpc_unsent,
            streams_max: capacity.streams,
            calls_max: capacity.calls,
        }
    }
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds::of(&Capacity::default())
    }
}

/// Why the server ends a connection of its own accord.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// All slots are taken, and this connection was of the least use.
    AtCapacity,
    /// It made work for [`crate::base::limits::FLOOD_MAX`] and no call.
    Flood,
    /// It did not fetch its answers while other calls waited for the budget.
    Stalled,
}

impl Ending {
    /// All, in the order of their numbers.
    pub const ALL: [Ending; 3] = [Ending::AtCapacity, Ending::Flood, Ending::Stalled];

    /// The label of the counter in `/metrics`.
    pub fn name(self) -> &'static str {
        match self {
            Ending::AtCapacity => "at_capacity",
            Ending::Flood => "flood",
            Ending::Stalled => "stalled",
        }
    }

    /// The error code of the GOAWAY (RFC 9113, section 7).
    pub(super) fn reason(self) -> Reason {
        match self {
            // NO_ERROR has clients open another connection at once; gRPC libraries take
            // ENHANCE_YOUR_CALM for a reason to ping less often and to wait.
            Ending::AtCapacity => Reason::NO_ERROR,
            Ending::Flood | Ending::Stalled => Reason::ENHANCE_YOUR_CALM,
        }
    }
}

/// Hears what a caller says of its settings.
pub type SettingsHeard = Box<dyn Fn(&[u8])>;

/// What the connections of a server share: services, budgets, counts.
pub(super) struct ServerState {
    /// What calls of services that are not open have to bring.
    pub(super) key: Cell<Option<Fingerprint>>,
    /// What this process says of itself, once it says anything.
    pub(super) identity: OnceCell<Rc<Identity>>,
    pub(super) bounds: Bounds,
    /// What health says of the services. Load balancers have to see `false` while calls are still
    /// answered, or those that they send meanwhile would fail.
    pub(super) is_serving: Cell<bool>,
    /// No new connection and no new call is taken; running ones may end.
    pub(super) is_draining: Cell<bool>,
    /// Connections and answers so far; the clock by which connections are idle.
    events: Cell<u64>,
    /// Calls whose requests are not whole: of clients without the cluster key, and of peers. Two
    /// counts, so that no client without the key takes a slot from a peer.
    half_open: [Cell<usize>; 2],
    /// Streams that stay open now, against their bound.
    pub(super) streams: Cell<usize>,
    /// Connections that have ended and are read until their clients close them.
    pub(super) farewells: Cell<usize>,
    /// Connections that the server ended, by [`Ending`].
    endings: [Cell<u64>; Ending::ALL.len()],
    /// The budget of request bytes of all connections.
    pub(super) held: Rc<Budget>,
    /// Bytes of answers that are not sent.
    pub(super) unsent: Rc<Budget>,
    /// Hears what nodes say of their settings.
    pub(super) settings: OnceCell<SettingsHeard>,
}

impl ServerState {
    pub(super) fn new(key: Option<Fingerprint>, bounds: Bounds) -> Rc<ServerState> {
        let (is_draining, events, half_open, streams, farewells, endings) = Default::default();
        Rc::new(ServerState {
            key: Cell::new(key),
            identity: OnceCell::new(),
            bounds,
            is_serving: Cell::new(true),
            is_draining,
            events,
            half_open,
            streams,
            farewells,
            endings,
            held: Budget::new(bounds.held_max),
            unsent: Budget::new(bounds.unsent_max),
            settings: OnceCell::new(),
        })
    }

    /// The next time of the clock that counts connections and answers.
    pub(super) fn next_event(&self) -> u64 {
        // A count instead of a reading: a call that is answered at once reads no clock.
        self.events.set(self.events.get() + 1);
        self.events.get()
    }

    /// Calls whose requests are not whole, of peers or of all others.
    pub(super) fn half_open(&self, is_peer: bool) -> &Cell<usize> {
        &self.half_open[usize::from(is_peer)]
    }

    pub(super) fn count_ending(&self, ending: Ending) {
        let count = &self.endings[ending as usize];
        count.set(count.get() + 1);
        let name = ending.name();
        log_limit::warn(
            (module_path!(), "", name),
            format_args!("a connection was ended by the node: {name}"),
        );
    }

    /// Connections that the server ended, by its reason.
    pub(super) fn endings(&self) -> impl Iterator<Item = (Ending, u64)> {
        let counts = self.endings.iter().map(Cell::get);
        Ending::ALL.into_iter().zip(counts.collect::<Vec<_>>())
    }
}
