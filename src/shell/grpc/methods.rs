//! The table of methods: where a path leads, and how its calls have ended.
//!
//! In: paths of requests, codes of ended calls. Out: methods, counts. Never: calls one.

use std::cell::Cell;

use super::{Answer, Call, Service, health, reflection};
use crate::wire::grpc::{self, Code, Status};

/// All methods of a server.
pub(super) struct Methods {
    services: Vec<Box<dyn Service>>,
    names: Vec<&'static str>,
    table: Vec<Method>,
    /// Where calls of no method are counted.
    unknown: Method,
}

/// One method.
pub(super) struct Method {
    path: String,
    service: &'static str,
    name: &'static str,
    pub(super) kind: Kind,
    by_code: [Cell<u64>; Code::ALL.len()],
}

/// What a method is answered by.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// The service of this number, one message for one message.
    Unary(usize),
    /// Health, watched.
    Watch,
    /// Reflection.
    Reflect,
}

impl Method {
    fn new(service: &'static str, name: &'static str, kind: Kind) -> Method {
        let path = format!("/{service}/{name}");
        Method { path, service, name, kind, by_code: Default::default() }
    }

    /// Counts a call that ended.
    pub(super) fn count(&self, code: Code) {
        let count = &self.by_code[code as usize];
        count.set(count.get() + 1);
    }
}

impl Methods {
    pub(super) fn new(mut services: Vec<Box<dyn Service>>) -> Methods {
        let mut names: Vec<_> = services.iter().map(|service| service.name()).collect();
        names.extend([health::NAME, reflection::V1, reflection::V1ALPHA]);
        services.push(Box::new(health::Check::new(names.clone())));
        let mut table = Vec::new();
        for (number, service) in services.iter().enumerate() {
            let unary =
                |name: &&'static str| Method::new(service.name(), name, Kind::Unary(number));
            table.extend(service.methods().iter().map(unary));
        }
        table.push(Method::new(health::NAME, "Watch", Kind::Watch));
        for version in [reflection::V1, reflection::V1ALPHA] {
            table.push(Method::new(version, "ServerReflectionInfo", Kind::Reflect));
        }
        Methods { services, names, table, unknown: Method::new("", "", Kind::Reflect) }
    }

    /// The number of the method that `path` names.
    pub(super) fn find(&self, path: &str) -> Result<usize, Status> {
        match self.table.iter().position(|method| method.path == path) {
            Some(number) => Ok(number),
            None => Err(self.refuse(path)),
        }
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

    /// The method of a number; a number that is none counts for unknown ones.
    pub(super) fn get(&self, number: Option<usize>) -> &Method {
        number.map_or(&self.unknown, |number| &self.table[number])
    }

    /// Whether callers of such a method need no cluster key.
    pub(super) fn is_open(&self, kind: Kind) -> bool {
        match kind {
            Kind::Unary(service) => self.services[service].is_open(),
            Kind::Watch | Kind::Reflect => true,
        }
    }

    /// Has the service answer.
    pub(super) fn call(&self, service: usize, method: &Method, call: &Call) -> Answer {
        self.services[service].call(method.name, call)
    }

    /// Full names of all services.
    pub(super) fn names(&self) -> &[&'static str] {
        &self.names
    }

    pub(super) fn counts(&self) -> Vec<(&'static str, &'static str, Code, u64)> {
        let mut rows = Vec::new();
        for method in self.table.iter().chain([&self.unknown]) {
            for (code, count) in Code::ALL.into_iter().zip(&method.by_code) {
                if count.get() > 0 {
                    rows.push((method.service, method.name, code, count.get()));
                }
            }
        }
        rows
    }
}
