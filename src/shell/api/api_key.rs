//! The check of the API key of HTTP requests.
//!
//! In: request heads. Out: whether they may be answered. Health stays open, as orchestrators have
//! no key; so do preflights, as browsers send none with them; metrics by choice.
//!
//! Never: keeps a key as it is, takes longer for a key that is nearly right.

use std::cell::Cell;
use std::rc::Rc;

use http::Method;
use http::request::Parts;

use crate::base::Secret;
use crate::base::secret::Fingerprint;
use crate::wire::http::{API_KEY, is_health};
use crate::wire::rejection::Rejection;

/// Says which requests may be answered; clones share the key, so that a reload reaches all of them.
#[derive(Clone)]
pub struct ApiKeyCheck {
    key: Rc<Cell<Option<Fingerprint>>>,
    open_metrics: bool,
}

impl ApiKeyCheck {
    /// Asks for `key`; without one every client is let in.
    pub fn new(key: Option<&Secret>, open_metrics: bool) -> ApiKeyCheck {
        ApiKeyCheck { key: Rc::new(Cell::new(key.map(Secret::fingerprint))), open_metrics }
    }

    /// Whether requests have to bring a key.
    pub fn is_asking(&self) -> bool {
        self.key.get().is_some()
    }

    /// Asks for another key from now on; whether it is another one.
    pub fn change_key(&self, key: &Secret) -> bool {
        let before = self.key.replace(Some(key.fingerprint()));
        !before.is_some_and(|before| before.matches(key.expose().as_bytes()))
    }

    /// Whether the request may be answered.
    pub fn admit(&self, head: &Parts) -> Result<(), Rejection> {
        let Some(key) = self.key.get() else { return Ok(()) };
        let path = head.uri.path();
        let is_open = head.method == Method::OPTIONS
            || is_health(path)
            || path == "/metrics" && self.open_metrics;
        match head.headers.get(API_KEY) {
            _ if is_open => Ok(()),
            None => Err(Rejection::KeyMissing),
            Some(given) if key.matches(given.as_bytes()) => Ok(()),
            Some(_) => Err(Rejection::KeyWrong),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn admitted(check: &ApiKeyCheck, request: &str, key: Option<&str>) -> Result<(), Rejection> {
        let (method, path) = request.split_once(' ').expect("method and path");
        let mut builder = Request::builder().method(method).uri(path);
        if let Some(key) = key {
            builder = builder.header(API_KEY, key);
        }
        check.admit(&builder.body(()).expect("a request").into_parts().0)
    }

    #[test]
    fn requests_with_the_key_are_admitted_and_health_is_open() {
        let key = Secret::new("open-sesame").expect("a secret");
        let check = ApiKeyCheck::new(Some(&key), false);
        assert_eq!(admitted(&check, "GET /v1/query", Some("open-sesame")), Ok(()));
        for request in ["GET /v1/query", "POST /v1/assert", "GET /metrics", "GET /v1/health/"] {
            assert_eq!(admitted(&check, request, None), Err(Rejection::KeyMissing), "{request}");
            let wrong = admitted(&check, request, Some("open-sesam"));
            assert_eq!(wrong, Err(Rejection::KeyWrong), "{request}");
        }
        for request in
            ["GET /v1/health", "GET /v1/health/live", "HEAD /v1/health/ready", "OPTIONS /v1/assert"]
        {
            assert_eq!(admitted(&check, request, None), Ok(()), "{request}");
        }
        let (clone, next) = (check.clone(), Secret::new("next").expect("a secret"));
        assert!(!check.change_key(&key) && check.change_key(&next) && !check.change_key(&next));
        assert_eq!(admitted(&clone, "GET /v1/query", Some("next")), Ok(()));
        let old = admitted(&clone, "GET /v1/query", Some("open-sesame"));
        assert_eq!(old, Err(Rejection::KeyWrong));
        assert_eq!(admitted(&ApiKeyCheck::new(Some(&key), true), "GET /metrics", None), Ok(()));
        assert_eq!(admitted(&ApiKeyCheck::new(None, false), "GET /v1/query", None), Ok(()));
    }
}
