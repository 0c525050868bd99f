//! Signals on every Unix: a thread in sigwait(3), whose results come through a channel.
//!
//! In: a set of signals. Out: those that came. The thread lives as long as the process, since
//! nothing but a signal ends its wait.
//!
//! Never: runs code in a signal handler.

use std::{io, thread};

use async_channel::Receiver as Channel;
use nix::sys::signal::{SigSet, Signal};

/// Signals that came and are not read yet; more of them wait in the kernel.
const PENDING_MAX: usize = 8;

/// A channel of signals.
pub(crate) struct Receiver(Channel<Signal>);

impl Receiver {
    /// Of `set`, whose signals are blocked.
    pub(crate) fn new(set: SigSet) -> io::Result<Receiver> {
        let (found, signals) = async_channel::bounded(PENDING_MAX);
        thread::Builder::new().name("signals".into()).spawn(move || {
            while let Ok(signal) = set.wait() {
                if found.send_blocking(signal).is_err() {
                    return;
                }
            }
        })?;
        Ok(Receiver(signals))
    }

    /// The next signal.
    pub(crate) async fn next(&self) -> io::Result<Signal> {
        let ended = |_| io::Error::other("the thread that waits for signals has ended");
        self.0.recv().await.map_err(ended)
    }
}
