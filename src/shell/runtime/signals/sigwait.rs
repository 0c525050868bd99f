//! Signals on every Unix: a thread in sigwait(3), whose results come through a channel.
//!
//! In: numbers of signals. Out: those that came. The thread lives as long as the process, since
//! nothing but a signal ends its wait.
//!
//! Never: runs code in a signal handler.

use std::{io, thread};

use async_channel::Receiver as Channel;

/// Signals that came and are not read yet; more of them wait in the kernel.
const PENDING_MAX: usize = 8;

/// A channel of signals.
pub(crate) struct Receiver(Channel<u32>);

impl Receiver {
    /// Of `set`, whose signals are blocked.
    pub(crate) fn new(set: &libc::sigset_t) -> io::Result<Receiver> {
        let (found, signals) = async_channel::bounded(PENDING_MAX);
        let set = *set;
        thread::Builder::new().name("signals".into()).spawn(move || {
            while let Some(number) = wait(&set) {
                if found.send_blocking(number).is_err() {
                    return;
                }
            }
        })?;
        Ok(Receiver(signals))
    }

    /// The number of the next signal.
    pub(crate) async fn next(&self) -> io::Result<u32> {
        let ended = |_| io::Error::other("the thread that waits for signals has ended");
        self.0.recv().await.map_err(ended)
    }
}

#[allow(unsafe_code)]
fn wait(set: &libc::sigset_t) -> Option<u32> {
    let mut number = 0;
    // SAFETY: the set is initialised; the call writes the number and keeps neither pointer.
    let error = unsafe { libc::sigwait(set, &raw mut number) };
    if error != 0 {
        return None;
    }
    u32::try_from(number).ok()
}
