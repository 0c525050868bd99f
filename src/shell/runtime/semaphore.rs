//! Who may do something now of which few go on side by side.
//!
//! In: whoever wants to. Out: its turn, after those who came first. Never: forgets that one ended.

/// A channel with room for as many as there may be.
pub(crate) struct Turns {
    taken: async_channel::Sender<()>,
    ended: async_channel::Receiver<()>,
}

/// Ends with what it was taken for.
pub(crate) struct Turn<'a>(&'a Turns);

impl Turns {
    pub(crate) fn new(most: usize) -> Turns {
        let (taken, ended) = async_channel::bounded(most);
        Turns { taken, ended }
    }

    pub(crate) async fn take(&self) -> Turn<'_> {
        self.taken.send(()).await.expect("both ends live here");
        Turn(self)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.ended.try_recv().expect("what was taken is there");
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::{block_on, poll_once};

    use super::*;

    #[test]
    fn who_comes_late_waits() {
        let turns = Turns::new(4);
        let mut running: Vec<Turn<'_>> = (0..4).map(|_| block_on(turns.take())).collect();
        let mut next = Box::pin(turns.take());
        assert!(block_on(poll_once(&mut next)).is_none());
        running.pop();
        assert!(block_on(poll_once(&mut next)).is_some());
    }
}
