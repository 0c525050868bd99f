//! The signals that ask the program to stop or to reload, as events of the reactor.
//!
//! In: SIGINT, SIGTERM, SIGHUP. Out: a future of the next one. They are taken from the process for
//! good, so that nothing is interrupted in the middle; a caller that is done waiting exits by
//! itself.
//!
//! Never: runs code in a signal handler.

use std::future::poll_fn;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use async_channel::Sender;
use rustix::io::Errno;

use crate::shell::runtime::reactor::{self, Reactor, Source};

/// What the kernel writes per signal: `struct signalfd_siginfo`.
const RECORD_BYTES: usize = 128;

/// What the program is asked to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// Ctrl-C on a terminal.
    Interrupt,
    /// A supervisor's request.
    Terminate,
    /// A request to reload, or the end of the terminal.
    HangUp,
}

impl Signal {
    /// Those that ask to stop.
    pub const STOPS: &[Signal] = &[Signal::Interrupt, Signal::Terminate];
    /// All of them.
    pub const ALL: &[Signal] = &[Signal::Interrupt, Signal::Terminate, Signal::HangUp];

    /// Its number, which is the same on all systems.
    pub fn number(self) -> u8 {
        match self {
            Signal::HangUp => 1,
            Signal::Interrupt => 2,
            Signal::Terminate => 15,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Signal::HangUp => "SIGHUP",
            Signal::Interrupt => "SIGINT",
            Signal::Terminate => "SIGTERM",
        }
    }
}

/// Some signals, blocked and readable.
pub struct Signals {
    descriptor: OwnedFd,
    source: Rc<Source>,
    reactor: Rc<Reactor>,
}

impl Signals {
    /// Takes the signals over. Threads inherit this, so it comes before the first is made.
    pub fn new(taken: &[Signal]) -> io::Result<Signals> {
        let descriptor = take_over(taken)?;
        let reactor = reactor::current()?;
        let source = reactor.watch(&descriptor)?;
        Ok(Signals { descriptor, source, reactor })
    }

    /// The next signal.
    pub async fn next(&self) -> io::Result<Signal> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// The next one that asks to stop; those before it that ask to reload go to `reloads`, where
    /// one that waits stands for all.
    pub async fn next_stop(&self, reloads: &Sender<()>) -> io::Result<Signal> {
        loop {
            match self.next().await? {
                Signal::HangUp => {
                    let _ = reloads.try_send(());
                }
                stop => return Ok(stop),
            }
        }
    }

    fn poll_next(&self, context: &mut Context<'_>) -> Poll<io::Result<Signal>> {
        loop {
            ready!(self.source.poll_readable(context));
            let mut record = [0; RECORD_BYTES];
            match rustix::io::read(&self.descriptor, &mut record) {
                Ok(RECORD_BYTES) => {
                    let [a, b, c, d, ..] = record;
                    let number = u32::from_ne_bytes([a, b, c, d]);
                    let mut all = Signal::ALL.iter();
                    if let Some(signal) = all.find(|it| u32::from(it.number()) == number) {
                        return Poll::Ready(Ok(*signal));
                    }
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
fn take_over(taken: &[Signal]) -> io::Result<OwnedFd> {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
    // SAFETY: `sigemptyset` initialises the set that the other calls read; none keeps the pointer;
    // the descriptor is new, checked, and owned by nobody else.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in taken {
            libc::sigaddset(set.as_mut_ptr(), signal.number().into());
        }
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
        let signals = Signals::new(Signal::ALL).expect("this thread may block signals");
        let (reloads, asked) = async_channel::bounded(1);
        let reactor = reactor::current().expect("a reactor");
        for signal in [libc::SIGHUP, libc::SIGTERM] {
            // SAFETY: `raise` takes a number and touches no memory of ours. It signals this thread
            // alone, so that the test's other threads, which block nothing, live on.
            assert_eq!(unsafe { libc::raise(signal) }, 0);
        }
        let signal = reactor.block_on(&LocalExecutor::new(), signals.next_stop(&reloads));
        assert_eq!(signal.expect("readable"), Signal::Terminate);
        assert_eq!(asked.try_recv(), Ok(()));
    }
}
