//! The signals that ask the program to stop or to reload, as futures.
//!
//! In: SIGINT, SIGTERM, SIGHUP. Out: a future of the next one. They are taken from the process for
//! good, so that nothing is interrupted in the middle; a caller that is done waiting exits by
//! itself.
//!
//! Never: runs code in a signal handler.

#[cfg(all(target_os = "linux", not(feature = "portable")))]
mod signalfd;
#[cfg(any(not(target_os = "linux"), feature = "portable"))]
mod sigwait;

use std::io;
use std::mem::MaybeUninit;

use async_channel::Sender;

#[cfg(all(target_os = "linux", not(feature = "portable")))]
use signalfd::Receiver;
#[cfg(any(not(target_os = "linux"), feature = "portable"))]
use sigwait::Receiver;

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

/// Some signals, blocked and received.
pub struct Signals(Receiver);

impl Signals {
    /// Takes the signals over. Threads inherit this, so it comes before the first is made.
    pub fn new(taken: &[Signal]) -> io::Result<Signals> {
        Ok(Signals(Receiver::new(&block(taken)?)?))
    }

    /// The next signal.
    pub async fn next(&self) -> io::Result<Signal> {
        loop {
            let number = self.0.next().await?;
            let mut all = Signal::ALL.iter();
            if let Some(signal) = all.find(|it| u32::from(it.number()) == number) {
                return Ok(*signal);
            }
        }
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
}

/// Blocks some signals for this thread and those that it makes.
#[allow(unsafe_code)]
fn block(taken: &[Signal]) -> io::Result<libc::sigset_t> {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `sigemptyset` initialises the set that the other calls read; none keeps the pointer.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in taken {
            libc::sigaddset(set.as_mut_ptr(), signal.number().into());
        }
        match libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut()) {
            0 => Ok(set.assume_init()),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }
}

// A signal that a test raises for its own thread reaches no thread in sigwait; the outside tests
// send signals to whole processes.
#[cfg(all(test, target_os = "linux", not(feature = "portable")))]
mod tests {
    use async_executor::LocalExecutor;

    use super::*;
    use crate::shell::runtime::reactor;

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
