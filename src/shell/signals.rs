//! The signals that ask the program to stop, as events of the reactor.
//!
//! In: SIGINT and SIGTERM. Out: a future of the next one. They are taken from the process for good,
//! so that nothing is interrupted in the middle; a caller that is done waiting exits by itself.
//!
//! Never: runs code in a signal handler.

use std::future::poll_fn;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use rustix::io::Errno;

use super::reactor::{self, Reactor, Source};

/// What the kernel writes per signal: `struct signalfd_siginfo`.
const RECORD_BYTES: usize = 128;

/// Somebody asked the program to stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// Ctrl-C on a terminal.
    Interrupt,
    /// A supervisor's request.
    Terminate,
}

/// SIGINT and SIGTERM, blocked and readable.
pub struct Signals {
    descriptor: OwnedFd,
    source: Rc<Source>,
    reactor: Rc<Reactor>,
}

impl Signals {
    /// Takes the signals over. Threads inherit this, so it comes before the first is made.
    pub fn new() -> io::Result<Signals> {
        let descriptor = take_over()?;
        let reactor = reactor::current()?;
        let source = reactor.watch(&descriptor)?;
        Ok(Signals { descriptor, source, reactor })
    }

    /// The next signal.
    pub async fn next(&self) -> io::Result<Signal> {
        poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&self, context: &mut Context<'_>) -> Poll<io::Result<Signal>> {
        loop {
            ready!(self.source.poll_readable(context));
            let mut record = [0; RECORD_BYTES];
            match rustix::io::read(&self.descriptor, &mut record) {
                Ok(RECORD_BYTES) => {
                    let [a, b, c, d, ..] = record;
                    let number = u32::from_ne_bytes([a, b, c, d]);
                    let is_interrupt = number == libc::SIGINT.cast_unsigned();
                    let signal = if is_interrupt { Signal::Interrupt } else { Signal::Terminate };
                    return Poll::Ready(Ok(signal));
                }
                Ok(_) | Err(Errno::AGAIN) => self.source.drained(),
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.reactor.forget(&self.source);
    }
}

#[allow(unsafe_code)]
fn take_over() -> io::Result<OwnedFd> {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
    // SAFETY: `sigemptyset` initialises the set that the other calls read; none keeps the pointer;
    // the descriptor is new, checked, and owned by nobody else.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), libc::SIGINT);
        libc::sigaddset(set.as_mut_ptr(), libc::SIGTERM);
        let blocked = libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut());
        if blocked != 0 {
            return Err(io::Error::from_raw_os_error(blocked));
        }
        let descriptor = libc::signalfd(-1, set.as_ptr(), flags);
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(OwnedFd::from_raw_fd(descriptor))
    }
}

#[cfg(test)]
mod tests {
    use async_executor::LocalExecutor;

    use super::*;

    #[test]
    #[allow(unsafe_code)]
    fn a_signal_of_this_thread_is_an_event() {
        let signals = Signals::new().expect("this thread may block signals");
        // SAFETY: `raise` takes a number and touches no memory of ours. It signals this thread
        // alone, so that the test's other threads, which block nothing, live on.
        assert_eq!(unsafe { libc::raise(libc::SIGTERM) }, 0);
        let reactor = reactor::current().expect("a reactor");
        let signal = reactor.block_on(&LocalExecutor::new(), signals.next());
        assert_eq!(signal.expect("readable"), Signal::Terminate);
    }
}
