//! Waiting for what a cluster comes to by itself.
//!
//! In: a condition. Out: a return as soon as it holds. Never: a pass when it does not.

use std::time::Duration;

use crate::node::PATIENCE;

/// Looks again and again until the condition holds; panics with `what` if it never does.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    let holds = async {
        while !condition().await {
            looks.tick().await;
        }
    };
    if tokio::time::timeout(PATIENCE, holds).await.is_err() {
        panic!("not within {PATIENCE:?}: {what}");
    }
}
