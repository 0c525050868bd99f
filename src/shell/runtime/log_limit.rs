//! Log lines that a peer or a client can cause as often as it likes: few of a kind in a minute.
//!
//! In: who caused the line, and what kind it is. Out: the line, or later how many there were. The
//! kinds that are remembered are bounded; beyond them all share one.
//!
//! Never: drops a line without counting it, holds a line back that is the first of its kind.

use std::cell::RefCell;
use std::fmt;
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use litemap::LiteMap;
use log::Level;

use crate::base::limits;
use crate::shell::runtime::reactor::Timer;

/// For so long lines of a kind count together.
const WINDOW: Duration = Duration::from_secs(60);
/// How often the counts of what was left out are written.
const FLUSH_INTERVAL: Duration = Duration::from_secs(10);
/// Warnings of a kind in a window: the first says it all.
const WARNINGS_MAX: u64 = 1;
/// Notes on a member's state in a window: more is flapping.
const NOTES_MAX: u64 = 8;

thread_local! {
    static KINDS: RefCell<Kinds> = RefCell::default();
}

/// Where a line comes from (`module_path!()`), the peer it is about (empty: none), and why.
pub(crate) type Cause<'a> = (&'static str, &'a str, &'static str);

/// Warns, once a minute for each peer and reason.
pub(crate) fn warn(cause: Cause<'_>, line: fmt::Arguments<'_>) {
    write(Level::Warn, WARNINGS_MAX, cause, line);
}

/// Says that something is wrong, once a minute for each peer and reason.
pub(crate) fn error(cause: Cause<'_>, line: fmt::Arguments<'_>) {
    write(Level::Error, WARNINGS_MAX, cause, line);
}

/// Notes what goes on with a peer, some times a minute.
pub(crate) fn note(level: Level, cause: Cause<'_>, line: fmt::Arguments<'_>) {
    write(level, NOTES_MAX, cause, line);
}

fn write(level: Level, most: u64, (target, peer, reason): Cause<'_>, line: fmt::Arguments<'_>) {
    let (now, kind) = (Instant::now(), (peer, reason));
    let is_admitted = KINDS.with_borrow_mut(|kinds| kinds.admit(now, level, most, kind));
    if is_admitted {
        log::log!(target: target, level, "{line}");
    }
}

/// Writes how many lines were left out, when their minute is over; never ends.
pub(crate) async fn log_left_out() {
    loop {
        // An idle node has no counts, and would wake for a timer all the same.
        poll_fn(|context| KINDS.with_borrow_mut(|kinds| kinds.poll_some(context))).await;
        Timer::after(FLUSH_INTERVAL).await;
        let over = KINDS.with_borrow_mut(|kinds| kinds.take_over(Instant::now()));
        for LeftOut { level, peer, reason, count } in over {
            let of = if peer.is_empty() { "" } else { " of " };
            log::log!(level, "{reason}{of}{peer}: {count} more such lines were left out");
        }
    }
}

#[derive(Debug)]
struct LineKind {
    level: Level,
    began: Instant,
    count: u64,
    most: u64,
}

/// Lines of a kind that were not written.
#[derive(PartialEq, Eq, Debug)]
struct LeftOut {
    level: Level,
    peer: String,
    reason: &'static str,
    count: u64,
}

/// Kinds of lines of the last minute, and counts that are to be written.
#[derive(Debug, Default)]
struct Kinds {
    kinds: LiteMap<(String, &'static str), LineKind>,
    over: Vec<LeftOut>,
    /// Of the task that writes the counts, while there are none to come.
    waker: Option<Waker>,
}

impl Kinds {
    /// Whether one more line of this kind is written.
    fn admit(
        &mut self,
        now: Instant,
        level: Level,
        most: u64,
        (peer, reason): (&str, &'static str),
    ) -> bool {
        let mut key = (peer.to_owned(), reason);
        if !self.kinds.contains_key(&key) && self.kinds.len() >= limits::LOG_KINDS_MAX {
            self.sweep(now);
            if self.kinds.len() >= limits::LOG_KINDS_MAX {
                key = ("others".to_owned(), "all kinds of lines");
            }
        }
        if self.kinds.get(&key).is_some_and(|kind| now - kind.began >= WINDOW) {
            self.sweep(now);
        }
        let new = LineKind { level, began: now, count: 0, most };
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
        let kind = self.kinds.entry(key).or_insert(new);
        kind.count += 1;
        kind.count <= kind.most
    }

    /// Ready while lines are counted, or counts are to be written.
    fn poll_some(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if !self.kinds.is_empty() || !self.over.is_empty() {
            return Poll::Ready(());
        }
        self.waker = Some(context.waker().clone());
        Poll::Pending
    }

    /// Ends the windows that are over.
    fn sweep(&mut self, now: Instant) {
        let Kinds { kinds, over, .. } = self;
        kinds.retain(|(peer, reason), kind| {
            let is_over = now - kind.began >= WINDOW;
            let count = kind.count.saturating_sub(kind.most);
            if is_over && count > 0 && over.len() < limits::LOG_KINDS_MAX {
                let (level, peer, reason) = (kind.level, peer.clone(), *reason);
                over.push(LeftOut { level, peer, reason, count });
            }
            !is_over
        });
    }

    fn take_over(&mut self, now: Instant) -> Vec<LeftOut> {
        self.sweep(now);
        std::mem::take(&mut self.over)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[test]
    fn one_line_for_each_peer_and_reason_and_minute_and_a_count() {
        let (mut kinds, start) = (Kinds::default(), Instant::now());
        let admitted = |kinds: &mut Kinds, now, kind| {
            (0..20_000).filter(|_| kinds.admit(now, Level::Warn, 1, kind)).count()
        };
        assert_eq!(admitted(&mut kinds, start, ("a:1", "refusals")), 1);
        assert_eq!(admitted(&mut kinds, start, ("b:1", "refusals")), 1);
        assert_eq!(admitted(&mut kinds, start, ("a:1", "syncs")), 1);
        assert_eq!(kinds.take_over(start + WINDOW / 2), []);
        let later = start + WINDOW;
        assert_eq!(admitted(&mut kinds, later, ("a:1", "refusals")), 1);
        let over = kinds.take_over(later);
        assert_eq!(over.len(), 3);
        let first = &over[0];
        assert_eq!((&*first.peer, first.reason, first.count), ("a:1", "refusals", 19_999));
        assert_eq!(kinds.kinds.len(), 1);
    }

    #[test]
    fn the_task_that_counts_sleeps_until_a_line_comes() {
        struct Wakes(AtomicUsize);
        impl Wake for Wakes {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let wakes = Arc::new(Wakes(AtomicUsize::new(0)));
        let waker = Waker::from(wakes.clone());
        let mut context = Context::from_waker(&waker);
        let (mut kinds, now) = (Kinds::default(), Instant::now());
        assert!(kinds.poll_some(&mut context).is_pending());
        (0..3).for_each(|_| assert!(kinds.admit(now, Level::Warn, 9, ("a:1", "refusals"))));
        assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
        assert!(kinds.poll_some(&mut context).is_ready());
        assert!(kinds.take_over(now + WINDOW).is_empty());
        assert!(kinds.poll_some(&mut context).is_pending());
    }

    #[test]
    fn kinds_are_bounded_and_the_rest_share_one() {
        let (mut kinds, now) = (Kinds::default(), Instant::now());
        let peers = (0..10_000).map(|number| format!("{number}:1"));
        let lines = peers.filter(|peer| kinds.admit(now, Level::Warn, 1, (peer, "refusals")));
        assert_eq!(lines.count(), limits::LOG_KINDS_MAX + 1);
        assert_eq!(kinds.kinds.len(), limits::LOG_KINDS_MAX + 1);
        assert!(kinds.take_over(now + WINDOW).iter().any(|over| over.count > 9_000));
    }
}
