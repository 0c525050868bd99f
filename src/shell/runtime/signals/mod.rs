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

use async_channel::Sender;
use nix::sys::signal::{SigSet, Signal as Native};

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

    fn native(self) -> Native {
        match self {
            Signal::HangUp => Native::SIGHUP,
            Signal::Interrupt => Native::SIGINT,
            Signal::Terminate => Native::SIGTERM,
        }
    }

    /// Its number, which is the same on all systems.
    pub fn number(self) -> u8 {
        self.native() as u8
    }

    /// The name as `kill -l` has it, for the log.
    pub fn name(self) -> &'static str {
        self.native().as_str()
    }
}

/// Some signals, blocked and received.
pub struct Signals(Receiver);

impl Signals {
    /// Takes the signals over. Threads inherit this, so it comes before the first is made.
    pub fn new(taken: &[Signal]) -> io::Result<Signals> {
        let set: SigSet = taken.iter().map(|signal| signal.native()).collect();
        set.thread_block()?;
        Ok(Signals(Receiver::new(set)?))
    }

    /// Waits for the next signal.
    pub async fn next(&self) -> io::Result<Signal> {
        loop {
            let native = self.0.next().await?;
            let mut all = Signal::ALL.iter();
            if let Some(signal) = all.find(|it| it.native() == native) {
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

// A signal that a test raises for its own thread reaches no thread in sigwait; the outside tests
// send signals to whole processes.
#[cfg(all(test, target_os = "linux", not(feature = "portable")))]
mod tests {
    use async_executor::LocalExecutor;

    use super::*;
    use crate::shell::runtime::reactor;

    #[test]
    fn a_signal_of_this_thread_is_an_event() {
        let signals = Signals::new(Signal::ALL).expect("this thread may block signals");
        let (reloads, asked) = async_channel::bounded(1);
        let reactor = reactor::current().expect("a reactor");
        for signal in [Native::SIGHUP, Native::SIGTERM] {
            // For this thread alone: the other threads of the test block nothing and live on.
            nix::sys::signal::raise(signal).expect("a signal");
        }
        let signal = reactor.block_on(&LocalExecutor::new(), signals.next_stop(&reloads));
        assert_eq!(signal.expect("readable"), Signal::Terminate);
        assert_eq!(asked.try_recv(), Ok(()));
    }
}
