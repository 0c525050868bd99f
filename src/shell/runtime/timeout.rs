//! An end to every wait.
//!
//! In: work, and how long it may take. Out: what it gave, or that it was late. Never: polls work
//! whose time is up.

use std::future::Future;
use std::time::Duration;

use futures_lite::future;

use super::reactor::Timer;

/// What `work` gives; `None` if that takes longer than `span`. The work is pinned where it is: this
/// future, the block in it and the pair would each hold a copy of its state.
pub async fn within<T>(span: Duration, work: impl Future<Output = T> + Unpin) -> Option<T> {
    let late = async {
        Timer::after(span).await;
        None
    };
    future::or(async { Some(work.await) }, late).await
}
