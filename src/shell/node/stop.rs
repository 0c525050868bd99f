//! The stop of a node: first it says that it is not ready, then it closes.
//!
//! In: signals. Out: what `GET /v1/health/ready` and `grpc.health.v1` say; when the listeners may
//! close. A load balancer looks each few seconds: what it sends until it has seen the end is served
//! during the drain delay.
//!
//! Never: waits on after another signal.

use std::future::Future;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use async_channel::Sender;
use futures_lite::future;

use crate::shell::api::readiness::Readiness;
use crate::shell::disk::Checkpoint;
use crate::shell::driver::Driver;
use crate::shell::grpc;
use crate::shell::runtime::reactor::Timer;
use crate::shell::runtime::signals::{Signal, Signals};
use crate::shell::runtime::supervisor::Supervisor;

/// What a stop needs of the node.
pub(super) struct Stop {
    signals: Signals,
    /// Signals that ask to reload go here, also while the node drains.
    reloads: Sender<()>,
    supervisor: Rc<Supervisor>,
    readiness: Rc<Readiness>,
    grpc: grpc::Server,
}

impl Stop {
    pub(super) fn new(
        (signals, reloads, supervisor): (Signals, Sender<()>, Rc<Supervisor>),
        readiness: Rc<Readiness>,
        grpc: grpc::Server,
    ) -> Stop {
        Stop { signals, reloads, supervisor, readiness, grpc }
    }

    /// Has `grpc.health.v1` say what `/v1/health/ready` says, until the node has joined.
    pub(super) fn health(&self) -> impl Future<Output = ()> + use<> {
        let (readiness, grpc) = (self.readiness.clone(), self.grpc.clone());
        async move {
            grpc.set_serving(readiness.has_joined());
            readiness.joined().await;
            grpc.set_serving(readiness.answer().is_ok());
        }
    }

    /// The next signal that asks to stop; one that cannot be read is one all the same.
    pub(super) async fn next(&self) -> Signal {
        self.signals.next_stop(&self.reloads).await.unwrap_or(Signal::Terminate)
    }

    /// From the first signal on the node is not ready; done when its listeners may close, which is
    /// after `delay`, or at the next signal.
    pub(super) async fn drain(&self, delay: Duration) {
        log::info!("stopping on {}", self.next().await.name());
        self.readiness.begin_drain();
        self.grpc.set_serving(false);
        self.supervisor.note_stopping(delay);
        if !delay.is_zero() {
            log::info!("draining for {delay:?}: not ready, everything is still served");
            let another = async {
                self.next().await;
            };
            future::or(Timer::after(delay), another).await;
        }
    }
}

/// Closes the log, and keeps its index if that was in good order, however short it is: it names the
/// records that a log which is cut meanwhile has lost. One with damage is read anew by the next
/// start, which has to find it again.
pub(super) fn keep_rest(code: ExitCode, driver: &Driver, checkpoint: &Checkpoint) {
    driver.stop();
    let count = driver.read(|replica, _| replica.store().len());
    if code != ExitCode::SUCCESS || count == 0 {
        return;
    }
    let kept = match driver.spill_rest() {
        Some(mut spill) => checkpoint.spill(&mut spill).map(|_| ()),
        // The last segment was cut to its last frame since its stamp was taken.
        None => driver.read(|replica, _| replica.state()).map_or(Ok(()), |it| checkpoint.save(&it)),
    };
    if let Err(fault) = kept {
        // Without it the next start only takes longer.
        log::warn!("the index is not kept: {fault}");
    }
}
