//! What the kernel says about descriptors: the one part of the reactor that differs by system.
//!
//! In: descriptors with a key each, a time to wait. Out: which of them became ready, and how. Linux
//! is asked by epoll; other systems, and Linux with the feature `portable`, through the crate
//! `polling` (docs/decisions/reactor.md). Both report edges: a descriptor is reported when it
//! becomes ready, not for as long as it is.
//!
//! Never: drops a wake from another thread.

#[cfg(all(target_os = "linux", not(feature = "portable")))]
mod epoll;
mod event;
#[cfg(any(not(target_os = "linux"), feature = "portable"))]
mod portable;

#[cfg(all(target_os = "linux", not(feature = "portable")))]
pub(super) use epoll::{Notifier, Poller};
pub(super) use event::Event;
#[cfg(any(not(target_os = "linux"), feature = "portable"))]
pub(super) use portable::{Notifier, Poller};
