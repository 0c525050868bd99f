//! The gRPC server: services over HTTP/2, on the node's own parts.
//!
//! In: connections, and the [`Service`]s that answer calls. Out: their answers, or the status that
//! says what was wrong. Health and reflection are services like the others, and always there.
//!
//! Every connection is one task that drives its streams itself: an answer that is there at once
//! costs no task, no timer and no wake-up. Bounded: connections, streams, message size, bytes of
//! calls that are not answered yet, bytes of answers that a client does not fetch.
//!
//! Where a cluster key is set, only calls that carry it reach a service between nodes. Health and
//! reflection stay open, as orchestrators and operators have no key.
//!
//! Never: knows a message of the services, trusts a length, ends accepting because of an error,
//! keeps anything of a call whose key it has not seen.

mod ask;
mod call;
mod connection;
mod flood;
mod health;
pub mod identity;
mod incoming;
mod keepalive;
mod link;
mod links;
mod metadata;
mod method;
mod methods;
mod reflection;
mod respond;
mod service;
mod shared;
mod state;
mod stream;
mod wakers;

use std::cell::Cell;
use std::future::Future;
use std::rc::Rc;

use async_executor::LocalExecutor;
use futures_lite::future;

pub use self::service::{Answer, Call, Service, Streamed, Work};
pub use self::state::{Bounds, Ending, SettingsHeard};
pub use self::stream::Stream;

use self::health::HealthService;
use self::identity::Identity;
use self::links::Links;
use self::methods::Methods;
use self::reflection::Reflection;
use self::shared::Shared;
use self::state::ServerState;
use crate::base::{Secret, limits};
use crate::shell::runtime::accept::accept_all;
use crate::shell::runtime::reactor::Timer;
use crate::shell::runtime::socket::{TcpListener, TcpStream};
use crate::wire::grpc::Code;

/// A server for a fixed list of services. A clone is another handle of the same.
#[derive(Clone)]
pub struct Server {
    shared: Rc<Shared>,
}

impl Server {
    /// A server that answers with `services`, and with health and reflection. Where there is a
    /// `key`, calls of services that are not open have to bring it.
    pub fn new(services: Vec<Box<dyn Service>>, key: Option<&Secret>, bounds: Bounds) -> Server {
        let mut services: Vec<Rc<dyn Service>> = services.into_iter().map(Rc::from).collect();
        let mut names: Vec<_> = services.iter().map(|service| service.name()).collect();
        names.extend([health::NAME, reflection::V1, reflection::V1ALPHA]);
        let state = ServerState::new(key.map(Secret::fingerprint), bounds);
        services.push(Rc::new(HealthService::new(&names, state.clone())));
        for version in [reflection::V1, reflection::V1ALPHA] {
            services.push(Rc::new(Reflection::new(version, &names)));
        }
        let (methods, links) = (Methods::new(services), Links::new(&state));
        Server { shared: Rc::new(Shared { methods, links, state }) }
    }

    /// Whether calls have to bring this very key.
    pub fn has_key(&self, key: &Secret) -> bool {
        self.shared.state.key.get().is_some_and(|kept| kept.matches(key.expose().as_bytes()))
    }

    /// Calls have to bring another key from now on, on open connections, too.
    pub fn change_key(&self, key: &Secret) {
        self.shared.state.key.set(Some(key.fingerprint()));
    }

    /// What health says of the services from now on, to open watches, too. Calls are answered all
    /// the same.
    pub fn set_serving(&self, is_serving: bool) {
        if self.shared.state.is_serving.replace(is_serving) != is_serving {
            self.shared.links.wake_all();
        }
    }

    /// Judges calls by what other nodes say of themselves with them, before the first is served.
    pub fn identify_by(&self, identity: Rc<Identity>) {
        let _ = self.shared.state.identity.set(identity);
    }

    /// Calls `hear` with what callers that have shown the key say of their settings.
    pub fn observe_settings(&self, hear: SettingsHeard) {
        self.shared.state.settings.get_or_init(|| hear);
    }

    /// Accepts connections and answers their calls until `stop` is done; then lets running calls
    /// end, for at most [`limits::DRAIN_MAX`].
    pub async fn serve(
        &self,
        executor: &LocalExecutor<'static>,
        listener: TcpListener,
        stop: impl Future<Output = ()>,
    ) {
        let mut tasks = Vec::new();
        let accepted = Cell::new(0);
        let register = async |stream: TcpStream| {
            accepted.set(accepted.get() + 1);
            (self.shared.links.register(accepted.get(), stream.ends()), stream)
        };
        let spawn = |(registered, stream)| {
            executor.spawn(connection::serve(self.shared.clone(), registered, stream))
        };
        let accept = accept_all(&listener, "grpc", &mut tasks, register, spawn);
        future::or(future::or(accept, self.shared.links.end_stalled()), stop).await;
        // The kernel refuses newcomers from here on, so that they try another node at once.
        drop(listener);
        self.shared.state.is_draining.set(true);
        // Each task sees the state for itself: GOAWAY first, the end after its last call.
        self.shared.links.wake_all();
        let drained = async {
            while self.connections() > 0 {
                self.shared.links.changed().await;
            }
        };
        future::or(drained, Timer::after(limits::DRAIN_MAX)).await;
        // Dropping a task ends its connection and all calls on it.
        drop(tasks);
    }

    /// Serves one connection that came by another way than [`Server::serve`], until it ends.
    pub async fn serve_stream(&self, number: u64, stream: TcpStream) {
        let registered = self.shared.links.register(number, stream.ends());
        connection::serve(self.shared.clone(), registered, stream).await;
    }

    /// Connections that are open now.
    pub fn connections(&self) -> usize {
        self.shared.links.len()
    }

    /// Connections that the server ended of its own accord, by its reason.
    pub fn endings(&self) -> impl Iterator<Item = (Ending, u64)> {
        self.shared.state.endings()
    }

    /// Calls that have ended, by service, method and code, those that occurred. Calls of unknown
    /// methods stand under empty names.
    pub fn counts(&self) -> Vec<(&'static str, &'static str, Code, u64)> {
        self.shared.methods.counts()
    }
}

#[cfg(test)]
mod tests;
