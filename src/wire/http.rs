//! Routes and query strings; below that, headers and the rules of hosts and origins.
//!
//! In: method, path and query string of a request. Out: a [`Route`], or the [`Rejection`] that
//! fits.
//!
//! Never: reads a socket or a body.

pub mod conditional;
pub mod headers;
pub mod policy;

use std::borrow::Cow;

use http::request::Parts;
use http::{Method, Uri};

use super::rejection::Rejection;
use crate::base::{Digest, limits};
use crate::model::{BadQuery, ConflictsQuery, Listing, NameKind, Query, Voices};
use headers::cut;
pub use headers::{
    AGENT_ID, ANSWERED_BY, API_KEY, Cors, FORWARDED, FORWARDED_FOR, JSON, NDJSON, REQUEST_ID,
    STAMP, client, echo_request_id, is_json, is_ndjson, parse_stamp, preflight, stamp_text,
};

/// What a request asks for.
#[derive(Clone, PartialEq, Debug)]
pub enum Route {
    /// `POST /v1/assert`.
    Assert,
    /// `POST /v1/assert/batch`.
    AssertBatch,
    /// `POST /v1/vote`.
    Vote,
    /// `GET /v1/assertions/{hash}`.
    Assertion(Digest),
    /// `GET /v1/query`.
    Query(Query),
    /// `GET /v1/skeptic`.
    Skeptic(Query),
    /// `GET /v1/layered`.
    Layered(Query),
    /// `GET /v1/subjects` and `GET /v1/predicates`.
    Names(Listing),
    /// `GET /v1/conflicts`.
    Conflicts(ConflictsQuery),
    /// `GET /v1/health`.
    Health,
    /// `GET /v1/health/live`.
    Live,
    /// `GET /v1/health/ready`.
    Ready,
    /// `GET /metrics`.
    Metrics,
    /// `POST /v1/admin/sync`.
    Sync,
    /// `GET /v1/cluster/status`, also `/v1/admin/cluster`.
    Cluster,
    /// `GET /v1/admin/ranges`.
    Ranges,
    /// `GET /v1/shards/{id}`.
    Shard(u32),
    /// `GET /api-doc/openapi.json`.
    Document,
    /// `OPTIONS` of any path there is: the methods it takes.
    Options(&'static str),
}

const GET: &str = "GET, HEAD, OPTIONS";
const POST: &str = "POST, OPTIONS";

/// Finds the route of a request.
pub fn route(method: &Method, uri: &Uri) -> Result<Route, Rejection> {
    let path = uri.path();
    let query = uri.query().unwrap_or("");
    let hash = path.strip_prefix("/v1/assertions/").filter(|rest| !rest.contains('/'));
    let shard = path.strip_prefix("/v1/shards/").filter(|rest| !rest.contains('/'));
    let allowed = match path {
        "/v1/assert" | "/v1/assert/batch" | "/v1/vote" | "/v1/admin/sync" => POST,
        "/v1/query" | "/v1/skeptic" | "/v1/layered" | "/metrics" => GET,
        _ if is_health(path) => GET,
        "/v1/subjects" | "/v1/predicates" | "/v1/conflicts" => GET,
        "/v1/cluster/status" | "/v1/admin/cluster" | "/v1/admin/ranges" => GET,
        "/api-doc/openapi.json" => GET,
        _ if hash.is_some() || shard.is_some() => GET,
        _ => return Err(Rejection::Route),
    };
    let fits = match *method {
        Method::OPTIONS => return Ok(Route::Options(allowed)),
        Method::GET | Method::HEAD => allowed == GET,
        Method::POST => allowed == POST,
        _ => false,
    };
    if !fits {
        return Err(Rejection::Method(allowed));
    }
    let route = match path {
        "/v1/query" => return parse_list(query).map(Route::Query),
        "/v1/skeptic" => return parse_skeptic(query).map(Route::Skeptic),
        "/v1/layered" => return parse_layered(query).map(Route::Layered),
        "/v1/subjects" => return parse_names(query, NameKind::Subjects).map(Route::Names),
        "/v1/predicates" => return parse_names(query, NameKind::Predicates).map(Route::Names),
        "/v1/conflicts" => return parse_conflicts(query).map(Route::Conflicts),
        "/v1/assert" => Route::Assert,
        "/v1/assert/batch" => Route::AssertBatch,
        "/v1/vote" => Route::Vote,
        "/v1/admin/sync" => Route::Sync,
        "/v1/health" => Route::Health,
        "/v1/health/live" => Route::Live,
        "/v1/health/ready" => Route::Ready,
        "/metrics" => Route::Metrics,
        "/v1/cluster/status" | "/v1/admin/cluster" => Route::Cluster,
        "/v1/admin/ranges" => Route::Ranges,
        "/api-doc/openapi.json" => Route::Document,
        _ => match shard {
            Some(shard) => Route::Shard(shard.parse().map_err(|_| Rejection::Shard)?),
            None => Route::Assertion(hash.and_then(Digest::parse).ok_or(Rejection::Hash)?),
        },
    };
    match pairs(query).next() {
        None => Ok(route),
        Some(pair) => {
            let (name, _) = pair?;
            Err(no_parameter(&name))
        }
    }
}

/// The parameters of a layered view on one thing.
fn parse_layered(text: &str) -> Result<Query, Rejection> {
    let query = parse_query(text, &["lens", "limit", "cursor", "explain"])?;
    check_is_of_one_thing(&query)?;
    Ok(query)
}

/// The parameters of the skeptic's view on one thing.
fn parse_skeptic(text: &str) -> Result<Query, Rejection> {
    let query = parse_query(text, &["lens", "limit", "cursor"])?;
    check_is_of_one_thing(&query)?;
    if query.explain && query.voices == Voices::Claims {
        let why = "explain counts the agents behind each value: it goes with voices=agents";
        return Err(Rejection::QueryString(why.into()));
    }
    Ok(query)
}

/// The parameters of a list, and of a lens on one thing.
fn parse_list(text: &str) -> Result<Query, Rejection> {
    let query = parse_query(text, &[])?;
    if query.lens.is_some() {
        check_is_of_one_thing(&query)?;
    }
    Ok(query)
}

/// Claims of two subjects or of two predicates do not contradict each other: which of them is the
/// newest says nothing.
fn check_is_of_one_thing(query: &Query) -> Result<(), Rejection> {
    for (name, value) in [("subject", &query.subject), ("predicate", &query.predicate)] {
        if value.is_none() {
            return Err(Rejection::QueryString(format!(
                "the parameter {name} is missing: claims are judged that have one subject and one \
                 predicate"
            )));
        }
    }
    Ok(())
}

/// The parameters of a search for conflicts.
fn parse_conflicts(text: &str) -> Result<ConflictsQuery, Rejection> {
    let mut query = ConflictsQuery::default();
    let without = ["subject", "predicate", "subject_prefix", "lens", "cursor", "explain"];
    set_all(text, &without, |name, value| query.set(name, value))?;
    Ok(query)
}

fn parse_query(text: &str, without: &[&str]) -> Result<Query, Rejection> {
    let mut query = Query::default();
    set_all(text, without, |name, value| query.set(name, value))?;
    Ok(query)
}

/// The parameters of a list of names.
fn parse_names(text: &str, kind: NameKind) -> Result<Listing, Rejection> {
    let mut listing = Listing::new(kind);
    set_all(text, &[], |name, value| listing.set(name, value))?;
    Ok(listing)
}

/// Sets each parameter, none of which may be there twice.
fn set_all(
    text: &str,
    without: &[&str],
    mut set: impl FnMut(&str, &str) -> Result<(), BadQuery>,
) -> Result<(), Rejection> {
    let mut seen: Vec<Cow<'_, str>> = Vec::new();
    for pair in pairs(text) {
        let (name, value) = pair?;
        if without.contains(&&*name) {
            return Err(no_parameter(&name));
        }
        if seen.contains(&name) {
            return Err(Rejection::QueryString(format!("the parameter {name} is there twice")));
        }
        // A name that had to be cut is none that is known.
        set(cut(&name), &value)?;
        seen.push(name);
    }
    Ok(())
}

fn no_parameter(name: &str) -> Rejection {
    Rejection::QueryString(format!("this route has no parameter {:?}", cut(name)))
}

/// Names and values of a query string, decoded.
fn pairs(text: &str) -> impl Iterator<Item = Result<(Cow<'_, str>, Cow<'_, str>), Rejection>> {
    text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Ok((decode(name)?, decode(value)?))
    })
}

/// Percent-decodes; a plus is a space, as forms write it.
fn decode(text: &str) -> Result<Cow<'_, str>, Rejection> {
    if !text.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return Ok(Cow::Borrowed(text));
    }
    let refuse = |why: &str| Rejection::QueryString(format!("{:?} {why}", cut(text)));
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        match first {
            b'+' => decoded.push(b' '),
            b'%' => {
                let digit = |offset: usize| {
                    rest.get(offset).and_then(|byte| char::from(*byte).to_digit(16))
                };
                let (Some(high), Some(low)) = (digit(0), digit(1)) else {
                    return Err(refuse("has a % that is not followed by two hex digits"));
                };
                decoded.push((high << 4 | low) as u8);
                rest = &rest[2..];
            }
            byte => decoded.push(*byte),
        }
    }
    match String::from_utf8(decoded) {
        Ok(decoded) => Ok(Cow::Owned(decoded)),
        Err(_) => Err(refuse("is not UTF-8 when decoded")),
    }
}

/// Whether a path asks how the node is. Orchestrators ask, and have no key.
pub fn is_health(path: &str) -> bool {
    matches!(path, "/v1/health" | "/v1/health/live" | "/v1/health/ready")
}

/// Whether a request is one that a node at its limits answers, too: its operator has to see how it
/// is.
pub fn is_vital(head: &Parts) -> bool {
    is_health(head.uri.path()) || head.uri.path() == "/metrics"
}

/// Fuzz body: any query string is read or refused; what is read stays within its bounds, says the
/// same when every byte of it is escaped, and is decoded as a second decoder does it.
#[doc(hidden)]
pub fn fuzz(text: &str) {
    let read = parse_list(text);
    match &read {
        Ok(query) => {
            assert!(query.lens.is_none() || query.subject.is_some() && query.predicate.is_some());
            assert!((1..=limits::QUERY_LIMIT_MAX).contains(&query.limit));
            assert!(query.subject.as_ref().is_none_or(|subject| !subject.is_empty()));
        }
        Err(rejection) => assert!(rejection.body().len() < 4096, "{}", rejection.body()),
    }
    if let Ok(view) = parse_skeptic(text) {
        assert!(view.subject.is_some() && view.predicate.is_some());
        assert_eq!(Ok(&view), read.as_ref());
    }
    for kind in [NameKind::Subjects, NameKind::Predicates] {
        if let Ok(listing) = parse_names(text, kind) {
            assert!((1..=limits::QUERY_LIMIT_MAX).contains(&listing.limit));
            assert!(listing.subject.is_none() || kind == NameKind::Predicates);
            let after = listing.after.as_ref().map(|after| !listing.admits(after));
            assert_ne!(after, Some(false), "the page would be its own next one");
        }
    }
    if let Ok(conflicts) = parse_conflicts(text) {
        assert!((0.0..=1.0).contains(&conflicts.min_score) && conflicts.of.subject.is_none());
    }
    assert_eq!(decode(text).ok().map(Cow::into_owned), decode_again(text));
    let Ok(decoded) = pairs(text).collect::<Result<Vec<_>, _>>() else {
        return assert!(read.is_err());
    };
    let escape = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let escaped = decoded.iter().map(|(name, value)| [escape(name), escape(value)].join("="));
    assert_eq!(parse_list(&escaped.collect::<Vec<_>>().join("&")), read);
}

fn decode_again(text: &str) -> Option<String> {
    let plain = |text: &str| text.replace('+', " ").into_bytes();
    let mut pieces = text.split('%');
    let mut decoded = plain(pieces.next()?);
    for piece in pieces {
        let is_hex = |digits: &&str| digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        let digits = piece.get(..2).filter(is_hex)?;
        decoded.push(u8::from_str_radix(digits, 16).ok()?);
        decoded.extend(plain(&piece[2..]));
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests;
