//! The table of methods: which service a path leads to.
//!
//! In: paths of requests. Out: methods with their services, counts. Never: judges a call.

use std::rc::Rc;

use super::method::Method;
use super::service::Service;
use crate::wire::grpc::{self, Code, Status};

/// All methods of a server.
pub(super) struct Methods {
    names: Vec<&'static str>,
    table: Vec<Route>,
    /// Counts the calls that no service has a method for.
    unknown: Rc<Method>,
}

/// The service, the method and the kind of call of a path.
#[derive(Clone)]
pub(super) struct Route {
    pub(super) method: Rc<Method>,
    pub(super) service: Rc<dyn Service>,
    pub(super) kind: MethodKind,
}

/// How many messages a method takes and gives.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum MethodKind {
    /// One message there, one back.
    Unary,
    /// Any number of messages each way.
    Stream,
}

impl Methods {
    pub(super) fn new(services: Vec<Rc<dyn Service>>) -> Methods {
        let names = services.iter().map(|service| service.name()).collect();
        let mut table = Vec::new();
        for service in &services {
            let route = |name: &&'static str, kind| Route {
                method: Rc::new(Method::new(service.name(), name)),
                service: service.clone(),
                kind,
            };
            // In the order of the services: those between nodes, which most calls are for, come
            // first.
            table.extend(service.methods().iter().map(|name| route(name, MethodKind::Unary)));
            table.extend(service.streams().iter().map(|name| route(name, MethodKind::Stream)));
        }
        Methods { names, table, unknown: Rc::new(Method::new("", "")) }
    }

    /// The route of `path`; `UNIMPLEMENTED` if there is none.
    pub(super) fn find(&self, path: &str) -> Result<&Route, Status> {
        // A dozen strings of different lengths are compared faster than one is hashed.
        let found = self.table.iter().find(|route| route.method.path == path);
        found.ok_or_else(|| self.refuse(path))
    }

    fn refuse(&self, path: &str) -> Status {
        let message = match grpc::parse_path(path) {
            None => format!("{path:?} is not the path of a method, /package.Service/Method"),
            Some((service, method)) if self.names.contains(&service) => {
                format!("{service} has no method {method}")
            }
            Some((service, _)) => format!("there is no service {service} here"),
        };
        Status::new(Code::Unimplemented, message)
    }

    /// What calls of unknown methods count for.
    pub(super) fn unknown(&self) -> &Method {
        &self.unknown
    }

    pub(super) fn counts(&self) -> Vec<(&'static str, &'static str, Code, u64)> {
        let methods = self.table.iter().map(|route| &route.method).chain([&self.unknown]);
        let rows = methods.flat_map(|method| {
            method.counts().map(|(code, count)| (method.service, method.name, code, count))
        });
        rows.collect()
    }
}
