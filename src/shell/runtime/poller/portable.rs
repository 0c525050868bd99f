//! The poller of every Unix: kqueue, epoll and their like through the crate `polling`.
//!
//! In: descriptors. Out: events. Never: waits again because of a signal alone.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::Duration;

use polling::{Events, PollMode};

use super::event::{EVENTS_MAX, Event};

/// A kqueue or epoll descriptor.
pub(crate) struct Poller {
    poller: Arc<polling::Poller>,
    events: Events,
    #[cfg(target_os = "linux")]
    descriptors: ended::Descriptors,
}

/// Ends a wait from another thread.
pub(crate) struct Notifier(Arc<polling::Poller>);

impl Notifier {
    pub(crate) fn notify(&self) {
        // It fails where the poller is gone, and with it the thread that waits.
        let _ = self.0.notify();
    }
}

impl Poller {
    pub(crate) fn new() -> io::Result<Poller> {
        let max = EVENTS_MAX.try_into().expect("a positive bound");
        Ok(Poller {
            poller: Arc::new(polling::Poller::new()?),
            events: Events::with_capacity(max),
            #[cfg(target_os = "linux")]
            descriptors: ended::Descriptors::default(),
        })
    }

    pub(crate) fn notifier(&self) -> Notifier {
        Notifier(self.poller.clone())
    }

    /// Reports events of a descriptor from now on, until [`Poller::remove`].
    #[allow(unsafe_code)]
    pub(crate) fn add(&mut self, descriptor: impl AsFd, key: u64) -> io::Result<()> {
        let descriptor = descriptor.as_fd();
        let number = usize::try_from(key).expect("sources are counted from 0");
        let (interest, mode) = (polling::Event::all(number), PollMode::Edge);
        // SAFETY: the descriptor has to stay open until it is deleted from the poller. The reactor
        // hands each to `remove` before its owner closes it (`Watched` in socket.rs, `Signals`).
        unsafe { self.poller.add_with_mode(descriptor.as_raw_fd(), interest, mode)? };
        #[cfg(target_os = "linux")]
        self.descriptors.add(key, descriptor.as_raw_fd());
        Ok(())
    }

    /// The descriptor is about to be closed.
    pub(crate) fn remove(&mut self, descriptor: impl AsFd, key: u64) {
        // It fails for one that was never added, of which no event can come.
        let _ = self.poller.delete(descriptor);
        #[cfg(target_os = "linux")]
        self.descriptors.remove(key);
        #[cfg(not(target_os = "linux"))]
        let _ = key;
    }

    /// Waits for events, at most for `timeout`, and hands them to `handle`.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>, mut handle: impl FnMut(Event)) {
        self.events.clear();
        if let Err(error) = self.poller.wait(&mut self.events, timeout) {
            panic!("a wait fails only on a bad descriptor: {error}");
        }
        for event in self.events.iter() {
            let key = event.key as u64;
            // kqueue reports reading and writing apart; both in one is the end of the peer
            // (EV_EOF), as `polling` shows it.
            #[cfg(not(target_os = "linux"))]
            let has_ended = event.readable && event.writable;
            #[cfg(target_os = "linux")]
            let has_ended = event.readable && self.descriptors.has_ended(key);
            handle(Event {
                key,
                is_readable: event.readable,
                is_writable: event.writable,
                has_ended,
                is_broken: event.is_interrupt() || event.is_err() == Some(true),
            });
        }
    }
}

/// Whether a peer will send no more, which `polling` does not say of Linux.
#[cfg(target_os = "linux")]
mod ended {
    use std::collections::BTreeMap;
    use std::os::fd::{BorrowedFd, RawFd};

    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    /// The descriptors that are in the poller, by their keys.
    #[derive(Default)]
    pub(super) struct Descriptors(BTreeMap<u64, RawFd>);

    impl Descriptors {
        pub(super) fn add(&mut self, key: u64, descriptor: RawFd) {
            self.0.insert(key, descriptor);
        }

        pub(super) fn remove(&mut self, key: u64) {
            self.0.remove(&key);
        }

        #[allow(unsafe_code)]
        pub(super) fn has_ended(&self, key: u64) -> bool {
            let Some(descriptor) = self.0.get(&key) else { return false };
            // SAFETY: descriptors are removed from this list before their owners close them.
            let descriptor = unsafe { BorrowedFd::borrow_raw(*descriptor) };
            let mut asked = [PollFd::from_borrowed_fd(descriptor, PollFlags::RDHUP)];
            let now = Timespec::default();
            let end = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
            poll(&mut asked, Some(&now)).is_ok() && asked[0].revents().intersects(end)
        }
    }
}
