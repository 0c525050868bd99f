//! The poller of Linux: epoll (epoll(7)), and an eventfd for wakes from other threads.
//!
//! In: descriptors. Out: events. Interest is registered once per descriptor and the wait carries
//! its own timeout, so that a wait is one system call.
//!
//! Never: sets a kernel timer.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::io::Errno;

use super::event::{EVENTS_MAX, Event};

/// Key of the wake descriptor.
const WAKE_KEY: u64 = u64::MAX;

/// Waits for sockets by an epoll descriptor.
pub(crate) struct Poller {
    epoll: OwnedFd,
    wake: Arc<OwnedFd>,
    events: Vec<epoll::Event>,
}

/// Ends a wait from another thread.
pub(crate) struct Notifier(Arc<OwnedFd>);

impl Notifier {
    pub(crate) fn notify(&self) {
        // A full counter ends the wait as well, so that the result does not matter.
        let _ = rustix::io::write(&*self.0, &1_u64.to_ne_bytes());
    }
}

impl Poller {
    pub(crate) fn new() -> io::Result<Poller> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let flags = EventFlags::IN | EventFlags::ET;
        epoll::add(&epoll, &*wake, EventData::new_u64(WAKE_KEY), flags)?;
        Ok(Poller { epoll, wake, events: Vec::with_capacity(EVENTS_MAX) })
    }

    pub(crate) fn notifier(&self) -> Notifier {
        Notifier(self.wake.clone())
    }

    /// Reports events of a descriptor from now on, until it is closed.
    pub(crate) fn add(&mut self, descriptor: impl AsFd, key: u64) -> io::Result<()> {
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        Ok(epoll::add(&self.epoll, descriptor, EventData::new_u64(key), flags)?)
    }

    /// The descriptor is about to be closed, which removes it from epoll.
    pub(crate) fn remove(&mut self, _: impl AsFd, _: u64) {}

    /// Waits for events, at most for `timeout`, and hands them to `handle`.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>, mut handle: impl FnMut(Event)) {
        // A wait that is too long for the system's type has no end. The fields of that type differ
        // from one 32-bit system to the next.
        let timeout = timeout.and_then(|wait| Timespec::try_from(wait).ok());
        self.events.clear();
        let spare = rustix::buffer::spare_capacity(&mut self.events);
        match epoll::wait(&self.epoll, spare, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => panic!("epoll_wait fails only on a bad descriptor: {error}"),
        }
        for event in &self.events {
            let key = event.data.u64();
            if key == WAKE_KEY {
                let mut count = [0; 8];
                let _ = rustix::io::read(&*self.wake, &mut count);
                continue;
            }
            let flags = event.flags;
            let is_broken = flags.intersects(EventFlags::HUP | EventFlags::ERR);
            handle(Event {
                key,
                is_readable: flags.contains(EventFlags::IN),
                is_writable: flags.contains(EventFlags::OUT),
                has_ended: is_broken || flags.contains(EventFlags::RDHUP),
                is_broken,
            });
        }
    }
}
