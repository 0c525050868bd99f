//! Signals on Linux: signalfd(2), readable through the reactor.
//!
//! In: numbers of signals. Out: those that came. Never: needs a thread.

use std::future::poll_fn;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use rustix::io::Errno;

use crate::shell::runtime::reactor::{self, Reactor, Source};

/// What the kernel writes per signal: `struct signalfd_siginfo`.
const RECORD_BYTES: usize = 128;

/// A descriptor that signals are read from.
pub(crate) struct Receiver {
    descriptor: OwnedFd,
    source: Rc<Source>,
    reactor: Rc<Reactor>,
}

impl Receiver {
    /// Of `set`, whose signals are blocked.
    pub(crate) fn new(set: &libc::sigset_t) -> io::Result<Receiver> {
        let descriptor = open(set)?;
        let reactor = reactor::current()?;
        let source = reactor.watch(&descriptor)?;
        Ok(Receiver { descriptor, source, reactor })
    }

    /// The number of the next signal.
    pub(crate) async fn next(&self) -> io::Result<u32> {
        poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&self, context: &mut Context<'_>) -> Poll<io::Result<u32>> {
        loop {
            ready!(self.source.poll_readable(context));
            let mut record = [0; RECORD_BYTES];
            match rustix::io::read(&self.descriptor, &mut record) {
                Ok(RECORD_BYTES) => {
                    let [a, b, c, d, ..] = record;
                    return Poll::Ready(Ok(u32::from_ne_bytes([a, b, c, d])));
                }
                Ok(_) | Err(Errno::AGAIN) => self.source.drained(),
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.reactor.forget(&self.source, &self.descriptor);
    }
}

#[allow(unsafe_code)]
fn open(set: &libc::sigset_t) -> io::Result<OwnedFd> {
    // SAFETY: the set is initialised and the call does not keep the pointer.
    let descriptor = unsafe { libc::signalfd(-1, set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}
