//! A semaphore: a bound on how many tasks do the same thing side by side.
//!
//! In: tasks that ask. Out: a permit each, first come first served. Never: keeps the permit of a
//! task that is gone.

/// Permits as messages of a bounded channel, whose senders queue in order.
pub(crate) struct Semaphore {
    acquired: async_channel::Sender<()>,
    released: async_channel::Receiver<()>,
}

/// A permit; dropping it lets the next task go on.
pub(crate) struct Permit<'a>(&'a Semaphore);

impl Semaphore {
    pub(crate) fn new(most: usize) -> Semaphore {
        let (acquired, released) = async_channel::bounded(most);
        Semaphore { acquired, released }
    }

    pub(crate) async fn acquire(&self) -> Permit<'_> {
        self.acquired.send(()).await.expect("both ends live here");
        Permit(self)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.released.try_recv().expect("a permit has its message");
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::{block_on, poll_once};

    use super::*;

    #[test]
    fn an_acquire_beyond_the_bound_waits_for_a_release() {
        let semaphore = Semaphore::new(4);
        let mut running: Vec<Permit<'_>> = (0..4).map(|_| block_on(semaphore.acquire())).collect();
        let mut next = Box::pin(semaphore.acquire());
        assert!(block_on(poll_once(&mut next)).is_none());
        running.pop();
        assert!(block_on(poll_once(&mut next)).is_some());
    }
}
