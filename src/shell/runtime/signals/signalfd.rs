//! Signals on Linux: signalfd(2), readable through the reactor.
//!
//! In: a set of signals. Out: those that came. Never: needs a thread.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::shell::runtime::reactor::{self, EventSource, Reactor};

/// A descriptor that signals are read from.
pub(crate) struct Receiver {
    descriptor: SignalFd,
    source: Rc<EventSource>,
    reactor: Rc<Reactor>,
}

impl Receiver {
    /// Of `set`, whose signals are blocked.
    pub(crate) fn new(set: SigSet) -> io::Result<Receiver> {
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let descriptor = SignalFd::with_flags(&set, flags)?;
        let reactor = reactor::current()?;
        let source = reactor.watch(&descriptor)?;
        Ok(Receiver { descriptor, source, reactor })
    }

    /// The next signal.
    pub(crate) async fn next(&self) -> io::Result<Signal> {
        poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&self, context: &mut Context<'_>) -> Poll<io::Result<Signal>> {
        loop {
            ready!(self.source.poll_readable(context));
            match self.descriptor.read_signal() {
                Ok(Some(found)) => {
                    let number = found.ssi_signo.cast_signed();
                    return Poll::Ready(Signal::try_from(number).map_err(io::Error::from));
                }
                Ok(None) => self.source.drained(),
                Err(Errno::EINTR) => {}
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
