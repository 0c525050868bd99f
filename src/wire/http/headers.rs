//! The headers that we read and those that we add.
//!
//! In: headers of a request. Out: who asks, whether the body may be JSON, a forwarded claim's
//! stamp; the headers of the answer.
//!
//! Never: refuses a request.

use std::net::IpAddr;

use http::header::{
    self, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, CONTENT_TYPE, HeaderMap, HeaderName,
    HeaderValue, VARY,
};

use crate::base::{Client, Hlc, NodeId, limits};

/// Media type of every answer but the metrics and those to batches.
pub const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Media type of the answer to a batch.
pub const NDJSON: HeaderValue = HeaderValue::from_static("application/x-ndjson");
/// The caller's name for its request; handed back as it came.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The key of HTTP requests.
pub const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// On whose behalf a request is made; only handed on.
pub const AGENT_ID: HeaderName = HeaderName::from_static("x-agent-id");
/// Which node forwarded a request; no other node forwards it again.
pub const FORWARDED: HeaderName = HeaderName::from_static("x-stemedb-forwarded");
/// For which hosts a request was forwarded, by proxies and gateways; the last one is the host that
/// sent it to whom we are connected with.
pub const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// The stamp that the first node put on a forwarded claim: milliseconds, counter and node.
pub const STAMP: HeaderName = HeaderName::from_static("x-stemedb-hlc");
/// Which node answered what a gateway forwarded.
pub const ANSWERED_BY: HeaderName = HeaderName::from_static("x-stemedb-node");

/// The client of a request, for fairness between clients.
pub fn client(peer: Option<IpAddr>, headers: &HeaderMap) -> Client {
    let named = headers.get_all(FORWARDED_FOR).iter().next_back();
    let named =
        named.and_then(|value| value.to_str().ok()?.rsplit(',').next()?.trim().parse().ok());
    // A client that has closed its connection needs no share.
    peer.map_or_else(Client::default, |peer| Client::new(peer, named))
}

/// A stamp as a header says it.
pub fn stamp_text(stamp: Hlc) -> String {
    format!("{}-{}-{}", stamp.time, stamp.counter, stamp.node)
}

/// The stamp of a forwarded claim; `None` if the text is none.
pub fn parse_stamp(text: &str) -> Option<Hlc> {
    let (time, rest) = text.split_once('-')?;
    let (counter, node) = rest.split_once('-')?;
    let node = NodeId::parse(node)?;
    Some(Hlc { time: time.parse().ok()?, counter: counter.parse().ok()?, node })
}

/// Whether a body may be JSON: `application/json` or `application/...+json`, in UTF-8. A body of
/// which nothing is said is taken as JSON.
pub fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE) else { return true };
    // What most clients say needs no look at its parts.
    value == JSON || is_utf8_of(value, |kind| kind == "json" || kind.ends_with("+json"))
}

/// Whether a body may be JSON by the line: `application/x-ndjson` or one of its other names, or as
/// [`is_json`].
pub fn is_ndjson(headers: &HeaderMap) -> bool {
    let is_lines = |kind: &str| matches!(kind, "x-ndjson" | "ndjson" | "jsonl" | "x-jsonlines");
    is_json(headers) || headers.get(CONTENT_TYPE).is_some_and(|value| is_utf8_of(value, is_lines))
}

/// Whether a media type is `application/...`, the rest being such, in UTF-8.
fn is_utf8_of(value: &HeaderValue, is_such: impl Fn(&str) -> bool) -> bool {
    let Ok(value) = value.to_str() else { return false };
    let mut parts = value.split(';').map(str::trim);
    let essence = parts.next().unwrap_or("").to_ascii_lowercase();
    let is_such = essence.strip_prefix("application/").is_some_and(is_such);
    let mut charsets = parts.filter_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.eq_ignore_ascii_case("charset").then(|| value.trim_matches('"'))
    });
    is_such
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
    /// Whether pages of this origin may call.
    pub fn allows(&self, origin: &HeaderValue) -> bool {
        let is_same = |known: &String| known.as_bytes().eq_ignore_ascii_case(origin.as_bytes());
        self.origins.as_ref().is_none_or(|origins| origins.iter().any(is_same))
    }

    /// Puts on the answer what a browser wants to see; nothing for other callers.
    pub fn decorate(&self, origin: Option<&HeaderValue>, answer: &mut HeaderMap) {
        let Some(origin) = origin else { return };
        let shown = match &self.origins {
            None => HeaderValue::from_static("*"),
            Some(_) => {
                answer.append(VARY, HeaderValue::from_name(header::ORIGIN));
                origin.clone()
            }
        };
        if self.allows(origin) {
            answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, shown);
            answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_name(REQUEST_ID));
        }
    }
}

/// The headers of an answer to `OPTIONS`.
pub fn preflight(allowed: &'static str, answer: &mut HeaderMap) {
    let allowed = HeaderValue::from_static(allowed);
    answer.insert(header::ALLOW, allowed.clone());
    answer.insert(ACCESS_CONTROL_ALLOW_METHODS, allowed);
    let headers = "content-type, x-api-key, x-agent-id, x-request-id";
    answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(headers));
    answer.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
}

/// Hands the caller's name for its request back, unless it is longer than a name should be.
pub fn echo_request_id(id: Option<&HeaderValue>, answer: &mut HeaderMap) {
    if let Some(id) = id.filter(|id| id.len() <= limits::REQUEST_ID_BYTES_MAX) {
        answer.insert(REQUEST_ID, id.clone());
    }
}

/// The front of a foreign text, for an error.
pub(super) fn cut(text: &str) -> &str {
    text.char_indices().nth(64).map_or(text, |(end, _)| &text[..end])
}
