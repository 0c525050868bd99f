//! The end of a connection that the server closes: the last answer, and hearing the client out.
//!
//! In: a connection that hyper is done with. Out: an answer in our own words, if one is owed; the
//! end of the stream.
//!
//! Never: takes longer than [`limits::HTTP_LINGER_MAX`], or waits while others want the slot.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use super::connection::{HttpConnection, Order, Phase};
use super::refusal::refuse;
use crate::base::limits;
use crate::shell::runtime::reactor::Timer;
use crate::wire::rejection::Rejection;

/// Bytes that are thrown away at a time.
const SCRATCH_BYTES: usize = 4 << 10;

impl HttpConnection {
    /// Whether an idle connection's next request is here already: it is read and dropped.
    pub(super) async fn has_asked(&self) -> bool {
        let mut scratch = Vec::with_capacity(SCRATCH_BYTES);
        poll_fn(|context| {
            let read = self.stream().poll_recv(context, scratch.spare_capacity_mut());
            Poll::Ready(matches!(read, Poll::Ready(Ok(1..))))
        })
        .await
    }

    /// Answers a request that never became one.
    pub(super) async fn refuse(&self, rejection: &Rejection) {
        let response = refuse(rejection);
        let (status, body) = (response.status(), rejection.body());
        let reason = status.canonical_reason().unwrap_or_default();
        let mut answer = format!("HTTP/1.1 {} {reason}\r\n", status.as_u16());
        for (name, value) in response.headers() {
            let value = value.to_str().expect("our headers are ASCII");
            answer.push_str(&format!("{name}: {value}\r\n"));
        }
        let length = body.len();
        let rest = format!("content-length: {length}\r\nconnection: close\r\n\r\n{body}");
        answer.push_str(&rest);
        let mut rest = answer.as_bytes();
        self.last(|context| {
            while !rest.is_empty() {
                match ready!(self.stream().poll_write_bytes(context, rest)) {
                    Ok(count) => rest = &rest[count..],
                    Err(_) => break,
                }
            }
            Poll::Ready(())
        })
        .await;
    }

    /// Says that nothing more comes, and hears the client out: closing a socket with bytes unread
    /// would reset the connection, and the client might never see the answer.
    pub(super) async fn linger(&self) {
        if self.stream().close_write().is_err() {
            return;
        }
        self.enter(Phase::Lingering);
        let mut scratch = Vec::with_capacity(SCRATCH_BYTES);
        let mut heard = 0;
        self.last(|context| {
            while heard < limits::HTTP_LINGER_BYTES_MAX {
                match ready!(self.stream().poll_recv(context, scratch.spare_capacity_mut())) {
                    Ok(count) if count > 0 => heard += count,
                    _ => break,
                }
            }
            Poll::Ready(())
        })
        .await;
    }

    /// Does what is left to do at the end; not for long, and not while others want the slot.
    async fn last(&self, mut step: impl FnMut(&mut Context<'_>) -> Poll<()>) {
        let steps = poll_fn(|context| {
            self.listen(context);
            match step(context) {
                Poll::Pending if self.order() == Order::Evict => Poll::Ready(()),
                polled => polled,
            }
        });
        futures_lite::future::or(steps, Timer::after(limits::HTTP_LINGER_MAX)).await;
    }
}
