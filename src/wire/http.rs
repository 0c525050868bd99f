//! What is ours of HTTP: routes, query strings, the headers we read and those we add.
//!
//! In: method, path, query string and headers of a request. Out: a [`Route`], or the [`Rejection`]
//! that fits; the headers of the answer.
//!
//! Never: reads a socket or a body.

use std::borrow::Cow;

use http::header::{
    self, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, CONTENT_TYPE, HeaderMap, HeaderName,
    HeaderValue, ORIGIN, VARY,
};
use http::{Method, Uri};

use super::rejection::Rejection;
use crate::base::{Digest, limits};
use crate::model::Query;

/// Media type of every answer but the metrics.
pub const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// The caller's name for its request; handed back as it came.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What a request asks for.
#[derive(Clone, PartialEq, Debug)]
pub enum Route {
    /// `POST /v1/assert`.
    Assert,
    /// `GET /v1/assertions/{hash}`.
    Assertion(Digest),
    /// `GET /v1/query`.
    Query(Query),
    /// `GET /v1/skeptic`.
    Skeptic(Query),
    /// `GET /v1/layered`.
    Layered(Query),
    /// `GET /v1/health`.
    Health,
    /// `GET /metrics`.
    Metrics,
    /// `POST /v1/admin/sync`.
    Sync,
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
    let allowed = match path {
        "/v1/assert" | "/v1/admin/sync" => POST,
        "/v1/query" | "/v1/skeptic" | "/v1/layered" | "/v1/health" | "/metrics" => GET,
        _ if hash.is_some() => GET,
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
        "/v1/query" => return parse_query(query, &[]).map(Route::Query),
        "/v1/skeptic" => return parse_view(query).map(Route::Skeptic),
        "/v1/layered" => return parse_view(query).map(Route::Layered),
        "/v1/assert" => Route::Assert,
        "/v1/admin/sync" => Route::Sync,
        "/v1/health" => Route::Health,
        "/metrics" => Route::Metrics,
        _ => {
            let digest = hash.and_then(Digest::parse).ok_or(Rejection::Hash)?;
            Route::Assertion(digest)
        }
    };
    match pairs(query).next() {
        None => Ok(route),
        Some(pair) => {
            let (name, _) = pair?;
            Err(no_parameter(&name))
        }
    }
}

/// The parameters of a view on one thing: which, and what weighs how much.
fn parse_view(text: &str) -> Result<Query, Rejection> {
    let query = parse_query(text, &["lens", "limit", "cursor"])?;
    for (name, value) in [("subject", &query.subject), ("predicate", &query.predicate)] {
        if value.is_none() {
            return Err(Rejection::QueryString(format!("the parameter {name} is missing")));
        }
    }
    Ok(query)
}

fn parse_query(text: &str, without: &[&str]) -> Result<Query, Rejection> {
    let mut query = Query::default();
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
        query.set(cut(&name), &value)?;
        seen.push(name);
    }
    Ok(query)
}

fn no_parameter(name: &str) -> Rejection {
    Rejection::QueryString(format!("this route has no parameter {:?}", cut(name)))
}

/// The front of somebody else's text, for an error.
fn cut(text: &str) -> &str {
    text.char_indices().nth(64).map_or(text, |(end, _)| &text[..end])
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
                let digit =
                    |place: usize| rest.get(place).and_then(|byte| char::from(*byte).to_digit(16));
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

/// Whether a body may be JSON: `application/json` or `application/...+json`, in UTF-8. A body of
/// which nothing is said is taken as JSON.
pub fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE) else { return true };
    if value == JSON {
        return true;
    }
    let Ok(value) = value.to_str() else { return false };
    let mut parts = value.split(';').map(str::trim);
    let essence = parts.next().unwrap_or("").to_ascii_lowercase();
    let is_json = match essence.strip_prefix("application/") {
        Some(kind) => kind == "json" || kind.ends_with("+json"),
        None => false,
    };
    let mut charsets = parts.filter_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.eq_ignore_ascii_case("charset").then(|| value.trim_matches('"'))
    });
    is_json
        && charsets
            .all(|charset| ["utf-8", "utf8"].iter().any(|ours| charset.eq_ignore_ascii_case(ours)))
}

/// Which web pages may read our answers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Cors {
    /// Their origins in lower case; `None`: all.
    pub origins: Option<Vec<String>>,
}

impl Cors {
    /// Puts on the answer what a browser wants to see; nothing for other callers.
    pub fn decorate(&self, request: &HeaderMap, answer: &mut HeaderMap) {
        let Some(origin) = request.get(ORIGIN) else { return };
        match &self.origins {
            None => {
                answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            }
            Some(origins) => {
                answer.append(VARY, HeaderValue::from_name(header::ORIGIN));
                let is_same =
                    |known: &String| known.as_bytes().eq_ignore_ascii_case(origin.as_bytes());
                if !origins.iter().any(is_same) {
                    return;
                }
                answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            }
        }
        answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_name(REQUEST_ID));
    }

    /// The headers of an answer to `OPTIONS`.
    pub fn preflight(&self, allowed: &'static str, answer: &mut HeaderMap) {
        let allowed = HeaderValue::from_static(allowed);
        answer.insert(header::ALLOW, allowed.clone());
        answer.insert(ACCESS_CONTROL_ALLOW_METHODS, allowed);
        let headers = "content-type, x-api-key, x-agent-id, x-request-id";
        answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(headers));
        answer.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    }
}

/// Hands the caller's name for its request back, unless it is longer than a name should be.
pub fn echo_request_id(request: &HeaderMap, answer: &mut HeaderMap) {
    let id = request.get(REQUEST_ID).filter(|id| id.len() <= limits::REQUEST_ID_BYTES_MAX);
    if let Some(id) = id {
        answer.insert(REQUEST_ID, id.clone());
    }
}

/// Fuzz body: any query string is read or refused, and what is read stays within its bounds.
#[doc(hidden)]
pub fn fuzz(text: &str) {
    if let Ok(query) = parse_query(text, &[]) {
        assert!((1..=limits::QUERY_LIMIT_MAX).contains(&query.limit));
        assert!(query.subject.is_none_or(|subject| !subject.is_empty()));
    }
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::*;
    use crate::model::{Cursor, Lens};

    /// The route of `request` (a method and a target), or its status and message.
    fn check(request: &str, expected: Result<Route, (u16, &str)>) {
        let (method, target) = request.split_once(' ').expect("method and target");
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let found = route(&method, &target.parse().expect("a target"));
        match (found, expected) {
            (Err(rejection), Err((status, message))) => {
                assert_eq!(rejection.status().0, status, "{request}: {rejection}");
                assert!(rejection.to_string().contains(message), "{request}: {rejection}");
            }
            (found, expected) => assert_eq!(found.ok(), expected.ok(), "{request}"),
        }
    }

    #[test]
    fn each_route_is_found_with_its_methods() {
        let hash = "ab".repeat(32);
        check("POST /v1/assert", Ok(Route::Assert));
        check("POST /v1/admin/sync", Ok(Route::Sync));
        check("GET /v1/health", Ok(Route::Health));
        check("HEAD /v1/health?", Ok(Route::Health));
        check("GET /metrics", Ok(Route::Metrics));
        check("GET /v1/query", Ok(Route::Query(Query::default())));
        let assertion = Route::Assertion(Digest([0xab; 32]));
        check(&format!("GET /v1/assertions/{hash}"), Ok(assertion.clone()));
        check(&format!("HEAD /v1/assertions/{}", hash.to_uppercase()), Ok(assertion));
        check("OPTIONS /v1/assert", Ok(Route::Options(POST)));
        check("OPTIONS /v1/query", Ok(Route::Options(GET)));
        for (request, status, message) in [
            ("GET /", 404, "no such route"),
            ("GET /v1/assertions", 404, "no such route"),
            ("GET /v1/health/", 404, "no such route"),
            ("OPTIONS /v1/nothing", 404, "no such route"),
            ("GET /v1/assert", 405, "takes POST, OPTIONS"),
            ("DELETE /v1/query", 405, "takes GET, HEAD, OPTIONS"),
            ("POST /v1/assertions/00", 405, "takes GET"),
            ("BREW /metrics", 405, "takes GET"),
            ("GET /v1/assertions/", 400, "64 hex digits"),
            (&format!("GET /v1/assertions/{}", &hash[1..]), 400, "64 hex digits"),
            (&format!("GET /v1/assertions/{}", hash.replace('a', "g")), 400, "64 hex digits"),
            ("GET /v1/health?x=1", 400, "this route has no parameter \"x\""),
            ("POST /v1/assert?subject=s", 400, "this route has no parameter \"subject\""),
        ] {
            check(request, Err((status, message)));
        }
    }

    #[test]
    fn a_query_string_is_decoded_and_held_against_the_bounds() {
        let expected = Query {
            subject: Some("a b+c&\u{e9}".into()),
            predicate: Some("p=q".into()),
            lens: Some(Lens::Hlc),
            limit: 7,
            cursor: Some(Cursor(31)),
            ..Query::default()
        };
        let text = "subject=a+b%2Bc%26%C3%a9&&predicate=p=q&lens=hlc&limit=7&cursor=1f&";
        check(&format!("GET /v1/query?{text}"), Ok(Route::Query(expected)));
        let view =
            Query { subject: Some("s".into()), predicate: Some("p".into()), ..Query::default() };
        check("GET /v1/skeptic?subject=s&predicate=p", Ok(Route::Skeptic(view.clone())));
        check("GET /v1/layered?predicate=p&subject=s", Ok(Route::Layered(view)));
        for (target, message) in [
            ("query?subject=", "subject is \"\", it takes 1 to 4096 bytes"),
            ("query?subject", "subject is \"\", it takes"),
            ("query?subject=a%00b", "subject is \"a\\0b\", it takes"),
            ("query?subject=%ff", "\"%ff\" is not UTF-8 when decoded"),
            ("query?subject=%f", "has a % that is not followed by two hex digits"),
            ("query?subject=%zz", "has a % that is not followed by two hex digits"),
            ("query?limit=1001", "limit is \"1001\", it takes 1 to 1000"),
            ("query?limit=1&limit=1", "the parameter limit is there twice"),
            ("query?limit=1&l%69mit=1", "the parameter limit is there twice"),
            ("query?subjct=s", "there is no parameter \"subjct\""),
            ("query?=s", "there is no parameter \"\""),
            ("skeptic?subject=s", "the parameter predicate is missing"),
            ("layered?predicate=s", "the parameter subject is missing"),
            ("skeptic?subject=s&predicate=p&limit=1", "this route has no parameter \"limit\""),
        ] {
            check(&format!("GET /v1/{target}"), Err((400, message)));
        }
        let long = format!("GET /v1/query?{}=1", "x".repeat(9000));
        check(&long, Err((400, &format!("no parameter \"{}\"", "x".repeat(64)))));
    }

    #[test]
    fn damaged_query_strings_are_read_or_refused() {
        let mut rng = Rng::with_seed(5);
        let good = "subject=a%20b&predicate=p&lens=hlc&limit=7&cursor=1f&half_life=1.5&as_of=3";
        for _ in 0..20_000 {
            let mut bytes = good.as_bytes().to_vec();
            for _ in 0..rng.usize(1..5) {
                let at = rng.usize(..bytes.len());
                match rng.u8(..3) {
                    0 => bytes[at] = rng.u8(..),
                    1 => bytes.insert(at, b"%&=+"[rng.usize(..4)]),
                    _ => drop(bytes.drain(at..)),
                }
                bytes.push(b'x');
            }
            fuzz(&String::from_utf8_lossy(&bytes));
        }
    }

    #[test]
    fn json_is_told_by_its_media_type() {
        let check = |value: &str, expected| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, value.parse().expect("a header"));
            assert_eq!(is_json(&headers), expected, "{value}");
        };
        assert!(is_json(&HeaderMap::new()));
        check("application/json", true);
        check("Application/JSON; Charset=\"UTF-8\"; x=y", true);
        check("application/ld+json;charset=utf8", true);
        check("application/json; charset=latin1", false);
        check("application/x-www-form-urlencoded", false);
        check("text/json", false);
        check("application/jsonx", false);
        check("", false);
    }

    #[test]
    fn pages_of_allowed_origins_may_read() {
        let check = |origins: Option<&[&str]>, origin: Option<&str>, expected: Option<&str>| {
            let origins = origins.map(|all| all.iter().map(|one| (*one).to_owned()).collect());
            let (mut request, mut answer) = (HeaderMap::new(), HeaderMap::new());
            if let Some(origin) = origin {
                request.insert(ORIGIN, origin.parse().expect("a header"));
            }
            Cors { origins }.decorate(&request, &mut answer);
            let allowed = answer.get(ACCESS_CONTROL_ALLOW_ORIGIN);
            assert_eq!(allowed.map(|value| value.to_str().expect("text")), expected);
        };
        check(None, Some("http://a"), Some("*"));
        check(None, None, None);
        check(Some(&["http://a", "http://b:1"]), Some("http://b:1"), Some("http://b:1"));
        check(Some(&["http://a"]), Some("HTTP://A"), Some("HTTP://A"));
        check(Some(&["http://a"]), Some("http://ab"), None);
        check(Some(&[]), Some("http://a"), None);
    }
}
