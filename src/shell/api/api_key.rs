//! The API key at the door of HTTP.
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
use crate::wire::http::API_KEY;
use crate::wire::rejection::Rejection;

/// Who may come in; clones share the key.
#[derive(Clone)]
pub struct Door {
    key: Rc<Cell<Option<Fingerprint>>>,
    open_metrics: bool,
}

impl Door {
    /// Asks for `key`; without one everybody may come in.
    pub fn new(key: Option<&Secret>, open_metrics: bool) -> Door {
        Door { key: Rc::new(Cell::new(key.map(Secret::fingerprint))), open_metrics }
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
            || path == "/v1/health"
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

    fn admitted(door: &Door, request: &str, key: Option<&str>) -> Result<(), Rejection> {
        let (method, path) = request.split_once(' ').expect("method and path");
        let mut builder = Request::builder().method(method).uri(path);
        if let Some(key) = key {
            builder = builder.header(API_KEY, key);
        }
        door.admit(&builder.body(()).expect("a request").into_parts().0)
    }

    #[test]
    fn who_has_the_key_comes_in_and_health_is_open() {
        let key = Secret::new("open-sesame").expect("a secret");
        let door = Door::new(Some(&key), false);
        assert_eq!(admitted(&door, "GET /v1/query", Some("open-sesame")), Ok(()));
        for request in ["GET /v1/query", "POST /v1/assert", "GET /metrics", "GET /v1/health/"] {
            assert_eq!(admitted(&door, request, None), Err(Rejection::KeyMissing), "{request}");
            let wrong = admitted(&door, request, Some("open-sesam"));
            assert_eq!(wrong, Err(Rejection::KeyWrong), "{request}");
        }
        for request in ["GET /v1/health", "OPTIONS /v1/assert"] {
            assert_eq!(admitted(&door, request, None), Ok(()), "{request}");
        }
        let (clone, next) = (door.clone(), Secret::new("next").expect("a secret"));
        assert!(!door.change_key(&key) && door.change_key(&next) && !door.change_key(&next));
        assert_eq!(admitted(&clone, "GET /v1/query", Some("next")), Ok(()));
        let old = admitted(&clone, "GET /v1/query", Some("open-sesame"));
        assert_eq!(old, Err(Rejection::KeyWrong));
        assert_eq!(admitted(&Door::new(Some(&key), true), "GET /metrics", None), Ok(()));
        assert_eq!(admitted(&Door::new(None, false), "GET /v1/query", None), Ok(()));
    }
}
