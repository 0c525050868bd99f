//! Which requests a listener answers at all: by host, by origin, by the codings of the body.
//!
//! In: the head of a request. Out: nothing, or the [`Violation`].
//!
//! A browser sends requests for pages that have no business here, from inside the firewall. Two
//! rules keep them out. A page of another origin can post without asking first, if the request
//! looks like a form's; so a write that names an `Origin` has to name an allowed one, and a media
//! type that no form can have. A page can have its own name resolve to this node (DNS rebinding),
//! and is then of the same origin as the node for the browser; so the names of a node are known.
//!
//! Never: reads a body, resolves a name.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::Version;
use http::header::{
    CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN,
    TRANSFER_ENCODING,
};
use http::request::Parts;
use http::uri::Scheme;

use super::headers::{AGENT_ID, API_KEY, Cors, FORWARDED, STAMP, cut, is_ndjson};

/// Headers that have one value. Where two lines stand, a proxy may have judged by one of them and
/// the node would act by the other.
const SINGLE: [HeaderName; 7] = [HOST, ORIGIN, CONTENT_TYPE, API_KEY, AGENT_ID, FORWARDED, STAMP];

/// The port of an `http` authority that names none.
const HTTP_PORT: u16 = 80;

/// Why a request is not looked at any further.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Violation {
    /// This header is there more than once.
    Twice(HeaderName),
    /// There is no `Host`, or it cannot be one.
    Host,
    /// The host is not this node.
    Misdirected(String),
    /// What is asked for is not to be had over plain HTTP.
    Scheme,
    /// A page of an origin that may not writes.
    Origin(String),
    /// A page writes without saying that it sends JSON, whole or by the line.
    Form,
    /// The body is compressed.
    ContentCoding,
    /// The body is coded for the transfer otherwise than in chunks.
    TransferCoding,
}

/// The rules of one listener.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Policy {
    /// The names that the node is asked by.
    pub hosts: Hosts,
    /// The web pages that may call.
    pub cors: Cors,
}

impl Policy {
    /// Whether the request may be answered, before anything is known of keys and routes.
    pub fn check(&self, head: &Parts) -> Result<(), Violation> {
        let headers = &head.headers;
        for name in SINGLE {
            if headers.get_all(&name).iter().nth(1).is_some() {
                return Err(Violation::Twice(name));
            }
        }
        let target = Authority::of_request(head)?;
        if let Some(target) = target.filter(|target| !self.hosts.admits(target.host)) {
            return Err(Violation::Misdirected(cut(target.host).to_owned()));
        }
        // hyper takes the chunks apart and gives the rest as it is (RFC 9112 6.1).
        let mut codings = elements(headers, TRANSFER_ENCODING);
        if codings.next().is_some_and(|coding| coding != "chunked") || codings.next().is_some() {
            return Err(Violation::TransferCoding);
        }
        if head.method.is_safe() { Ok(()) } else { self.check_write(headers, target) }
    }

    fn check_write(
        &self,
        headers: &HeaderMap,
        target: Option<Authority<'_>>,
    ) -> Result<(), Violation> {
        if let Some(origin) = headers.get(ORIGIN) {
            let is_own = || target.is_some_and(|target| self.is_own_page(origin, target));
            if !self.cors.allows(origin) && !is_own() {
                let origin = String::from_utf8_lossy(origin.as_bytes());
                return Err(Violation::Origin(cut(&origin).to_owned()));
            }
            // Without a type, or with that of a form, a browser sends without a preflight.
            if !headers.contains_key(CONTENT_TYPE) || !is_ndjson(headers) {
                return Err(Violation::Form);
            }
        }
        if elements(headers, CONTENT_ENCODING).any(|coding| coding != "identity") {
            return Err(Violation::ContentCoding);
        }
        Ok(())
    }

    /// Whether a page came from this node. A name that is merely not refused does not do: it may
    /// have been made to resolve to this node.
    fn is_own_page(&self, origin: &HeaderValue, target: Authority<'_>) -> bool {
        let origin = origin.to_str().ok().and_then(|origin| origin.strip_prefix("http://"));
        let page = origin.and_then(Authority::parse);
        page.is_some_and(|page| page.is_same(target)) && self.hosts.knows(target.host)
    }
}

/// The names that requests may ask for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Hosts {
    /// Those that are known to be this node's, besides `localhost` and addresses.
    names: Vec<String>,
    /// Requests that ask for other names are refused.
    is_strict: bool,
}

impl Hosts {
    /// The names of a listener at `bound`: those `allowed`, and the one that this
    /// node advertises. Unless some are allowed, others are refused on a loopback address alone:
    /// what is bound there is meant for this machine, and only rebinding gets a foreign name there.
    pub fn new(allowed: Option<&[String]>, advertised: Option<&str>, bound: IpAddr) -> Hosts {
        let names = allowed.unwrap_or_default().iter().map(String::as_str).chain(advertised);
        let names = names.map(|name| without_dot(name).to_owned()).collect();
        let is_strict = allowed.is_some() || bound.to_canonical().is_loopback();
        Hosts { names, is_strict }
    }

    fn admits(&self, host: &str) -> bool {
        // An empty host is a valid field value and no name (RFC 9112 3.2).
        !self.is_strict || host.is_empty() || self.knows(host)
    }

    /// Addresses cannot be rebound, and `localhost` is this machine (RFC 6761 6.3).
    fn knows(&self, host: &str) -> bool {
        let name = without_dot(host);
        host.starts_with('[')
            || host.parse::<Ipv4Addr>().is_ok()
            || name.eq_ignore_ascii_case("localhost")
            || self.names.iter().any(|known| known.eq_ignore_ascii_case(name))
    }
}

fn without_dot(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// Host and port of a target or of an origin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Authority<'a> {
    /// A name or an address, the latter with brackets if it is one of IPv6.
    host: &'a str,
    port: u16,
}

impl<'a> Authority<'a> {
    /// Whom the request asks; `None` if it need not say so (HTTP/1.0). A target in absolute form
    /// says it instead of `Host`, which has to be right all the same (RFC 9112 3.2.2).
    fn of_request(head: &'a Parts) -> Result<Option<Authority<'a>>, Violation> {
        let host = match head.headers.get(HOST) {
            None if head.version < Version::HTTP_11 => None,
            None => return Err(Violation::Host),
            Some(host) => {
                let host = host.to_str().ok().and_then(Authority::parse);
                Some(host.ok_or(Violation::Host)?)
            }
        };
        // A resource of another scheme is not to be had here (RFC 9110 7.4).
        if head.uri.scheme().is_some_and(|scheme| *scheme != Scheme::HTTP) {
            return Err(Violation::Scheme);
        }
        match head.uri.authority() {
            None => Ok(host),
            Some(target) => Authority::parse(target.as_str()).map(Some).ok_or(Violation::Host),
        }
    }

    /// `uri-host [ ":" port ]` (RFC 9112 3.2), the host being an address or what DNS calls a name:
    /// no user, no blank, no list.
    fn parse(text: &'a str) -> Option<Authority<'a>> {
        let end = match text.strip_prefix('[') {
            Some(inner) => {
                let length = inner.find(']')?;
                inner[..length].parse::<Ipv6Addr>().ok()?;
                length + 2
            }
            None => text.find(':').unwrap_or(text.len()),
        };
        let (host, port) = text.split_at(end);
        let is_name = |letter: u8| letter.is_ascii_alphanumeric() || b"-._".contains(&letter);
        if !host.starts_with('[') && !host.bytes().all(is_name) {
            return None;
        }
        let port = match port.strip_prefix(':') {
            Some("") => HTTP_PORT,
            // `parse` would take a sign.
            Some(digits) if !digits.starts_with('+') => digits.parse().ok()?,
            None if port.is_empty() => HTTP_PORT,
            _ => return None,
        };
        Some(Authority { host, port })
    }

    fn is_same(self, other: Authority<'_>) -> bool {
        self.port == other.port && self.host.eq_ignore_ascii_case(other.host)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Violation::Twice(name) => write!(out, "the header {name} is there twice"),
            Violation::Host => write!(
                out,
                "Host takes a name or an address, and a port if it is not 80; HTTP/1.1 needs one"
            ),
            Violation::Misdirected(host) => write!(
                out,
                "this node is not known as {host:?}: ask it by its address, or list its names in \
                 STEMEDB_ALLOWED_HOSTS"
            ),
            Violation::Scheme => write!(out, "the target takes http://, this node speaks no TLS"),
            Violation::Origin(origin) => write!(
                out,
                "pages of the origin {origin:?} may not write: STEMEDB_ALLOWED_ORIGINS lists \
                 those that may"
            ),
            Violation::Form => write!(
                out,
                "a request with an Origin takes Content-Type: application/json, also without a body"
            ),
            Violation::ContentCoding => {
                write!(out, "the body must come as it is, without a Content-Encoding")
            }
            Violation::TransferCoding => write!(out, "Transfer-Encoding takes chunked alone"),
        }
    }
}

/// The elements of a header that is a list, in lower case, of all its lines.
fn elements(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = String> {
    let lines = headers.get_all(name).into_iter();
    let elements = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let elements = elements.map(|one| String::from_utf8_lossy(one.trim_ascii()).to_lowercase());
    elements.filter(|one| !one.is_empty())
}

#[cfg(test)]
mod tests;
