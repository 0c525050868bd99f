//! Places for connections, and room for what they send and fetch, where there is not enough of
//! either.
//!
//! In: newcomers; calls that wait for room. Out: the connection that goes. Never: turns away a
//! client that has shown the cluster key for one that has not.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use super::link::{Ending, Link};
use super::{Server, Shared};
use crate::base::limits;
use crate::shell::runtime::reactor::Timer;
use crate::shell::runtime::source::Source;

impl Shared {
    /// Makes a place for one more connection: the one of the least worth goes. True: there is none
    /// to go, so that the newcomer gets a place of those kept for peers and for health.
    pub(super) fn make_room(&self) -> bool {
        let links = self.links.borrow();
        let open = || links.iter().filter(|link| link.ending().is_none());
        let turned_away = open().filter(|link| link.is_turned_away()).count();
        if open().count() - turned_away < self.bounds.connections_max {
            return false;
        }
        let staying = open().filter(|link| !link.is_turned_away());
        let crowd = self.crowd(&links);
        let worth = |link: &Rc<Link>| link.worth(crowd);
        let least = staying.filter_map(|link| Some((worth(link)?, link))).min_by_key(|it| it.0);
        if let Some((_, link)) = least {
            link.end(Ending::Crowded);
            return false;
        }
        if turned_away >= limits::CONNECTIONS_KEPT
            && let Some(oldest) = open().find(|link| link.is_turned_away())
        {
            oldest.end(Ending::Crowded);
        }
        true
    }

    /// The host that has more than half of all places, without the cluster key.
    fn crowd(&self, links: &[Rc<Link>]) -> Option<Source> {
        let mut counts = BTreeMap::<Source, usize>::new();
        let strangers = links.iter().filter(|link| !link.is_peer() && link.ending().is_none());
        strangers
            .filter_map(|link| link.source())
            .for_each(|source| *counts.entry(source).or_default() += 1);
        let (source, count) = counts.into_iter().max_by_key(|(_, count)| *count)?;
        (count > self.bounds.connections_max / 2).then_some(source)
    }

    /// Ends the connection with most calls whose requests are not whole, for one more of `link`.
    /// False: that is `link` itself.
    pub(super) fn end_most_half_open(&self, link: &Rc<Link>) -> bool {
        let links = self.links.borrow();
        let like = |other: &&Rc<Link>| other.is_peer() == link.is_peer();
        let open = links.iter().filter(|other| other.ending().is_none()).filter(like);
        let most = open.max_by_key(|other| other.half_open());
        let other = most.filter(|most| most.half_open() > link.half_open().max(1));
        other.map(|other| other.end(Ending::Crowded)).is_some()
    }

    fn is_awaited(&self) -> bool {
        self.held.is_awaited() || self.unsent.is_awaited()
    }

    async fn awaited(&self) {
        poll_fn(|context| {
            self.held.watch(context);
            self.unsent.watch(context);
            if self.is_awaited() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

impl Server {
    /// While calls wait for room, ends connections that hold some and do not move: those that
    /// moved next to nothing since the last look, or else the slowest, unless it is quick.
    pub(super) async fn end_stalled(&self) {
        loop {
            self.shared.awaited().await;
            self.links(|link| link.owed_before.set(link.traffic.owed()));
            while self.shared.is_awaited() {
                Timer::after(limits::STALL_LOOK).await;
                if self.shared.is_awaited() {
                    self.look_for_stalled();
                }
            }
        }
    }

    fn look_for_stalled(&self) {
        let mut slowest: Option<(u64, Rc<Link>)> = None;
        let mut has_ended = false;
        self.links(|link| {
            let owed = link.traffic.owed();
            let pair = link.owed_before.replace(owed).zip(owed);
            let Some(moved) = pair.map(|(before, now)| now - before) else { return };
            if moved < limits::STALLED_BYTES {
                has_ended = true;
                link.end(Ending::Stalled);
            } else if slowest.as_ref().is_none_or(|(least, _)| moved < *least) {
                slowest = Some((moved, link.clone()));
            }
        });
        let slowest = slowest.filter(|(moved, _)| !has_ended && *moved < limits::QUICK_BYTES);
        if let Some((_, link)) = slowest {
            link.end(Ending::Stalled);
        }
    }

    fn links(&self, look: impl FnMut(&Rc<Link>)) {
        self.shared.links.borrow().iter().for_each(look);
    }
}
