//! What is ours of HTTP heads: routes, keys, origins, content types, stamps, timeouts.
//!
//! In: a request line and header lines. Out: a failed assertion where a reader panics, takes what
//! it should not, or does not read what its counterpart writes. Never: parses HTTP itself, which
//! hyper and h2 do.

use std::net::Ipv4Addr;

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};

use crate::base::{Secret, limits};
use crate::shell::api::api_key::ApiKeyCheck;
use crate::wire::grpc;
use crate::wire::http::policy::{Hosts, Policy};
use crate::wire::http::{
    API_KEY, Cors, REQUEST_ID, Route, STAMP, echo_request_id, is_json, is_ndjson, parse_stamp,
    route, stamp_text,
};
use crate::wire::rejection::Rejection;
use crate::wire::status::{Code, decode_message, encode_message};

const KEY: &str = "open-sesame";
const ORIGIN: &str = "https://a.example";

/// The first line is method and target, the others are headers.
pub(super) fn http_head(input: &[u8]) {
    let mut lines = input.split(|byte| *byte == b'\n');
    let first = lines.next().unwrap_or_default();
    let mut parts = first.splitn(2, |byte| *byte == b' ');
    let method = Method::from_bytes(parts.next().unwrap_or_default()).unwrap_or_default();
    let target = parts.next().unwrap_or_default();
    let mut headers = HeaderMap::new();
    for line in lines.take(64) {
        let (name, value) = match line.iter().position(|byte| *byte == b':') {
            Some(colon) => (&line[..colon], line[colon + 1..].trim_ascii()),
            None => (line, &b""[..]),
        };
        texts(value);
        let name = HeaderName::from_bytes(name);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    texts(target);
    metadata(&headers);
    answer_headers(&headers);
    if let Ok(uri) = Uri::try_from(target) {
        request(&method, uri, headers);
    }
}

fn request(method: &Method, uri: Uri, headers: HeaderMap) {
    let found = route(method, &uri);
    match &found {
        Ok(Route::Assert | Route::Vote | Route::Sync) => assert_eq!(method, Method::POST),
        Ok(Route::Options(_)) => assert_eq!(method, Method::OPTIONS),
        Ok(route) => {
            assert!(matches!(*method, Method::GET | Method::HEAD), "{method} for {route:?}");
            if let Route::Query(query) | Route::Skeptic(query) | Route::Layered(query) = route {
                assert!(query.subject.as_ref().is_none_or(|subject| !subject.is_empty()));
            }
        }
        Err(rejection) => {
            let (status, _) = rejection.status();
            assert!(status.is_client_error(), "{rejection:?}");
            assert!(rejection.body().len() < 4096, "{}", rejection.body());
        }
    }
    let mut head = Request::new(()).into_parts().0;
    (head.method, head.uri, head.headers) = (method.clone(), uri, headers);
    assert_eq!(ApiKeyCheck::new(None, false).admit(&head), Ok(()));
    policy(&head);
    let key = Secret::new(KEY).expect("a secret");
    let admitted = ApiKeyCheck::new(Some(&key), false).admit(&head);
    let health = ["/v1/health", "/v1/health/live", "/v1/health/ready"];
    let is_open = *method == Method::OPTIONS || health.contains(&head.uri.path());
    match head.headers.get(API_KEY) {
        _ if is_open => assert_eq!(admitted, Ok(())),
        None => assert_eq!(admitted, Err(Rejection::KeyMissing)),
        Some(given) => assert_eq!(admitted.is_ok(), given == KEY),
    }
}

/// What is let in keeps the rules, by a reading of its own; a refusal says why.
fn policy(head: &Parts) {
    let origins = Some(vec![ORIGIN.to_owned()]);
    let policy = Policy {
        hosts: Hosts::new(None, Some("node.example"), Ipv4Addr::LOCALHOST.into()),
        cors: Cors { origins },
    };
    if let Err(violation) = policy.check(head) {
        let text = Rejection::Policy(violation).body();
        return assert!(text.len() < 4096, "{text}");
    }
    let lines =
        |name: HeaderName| head.headers.get_all(name).into_iter().map(HeaderValue::as_bytes);
    let hosts: Vec<&[u8]> = lines(header::HOST).collect();
    let [host] = hosts[..] else { panic!("{} hosts", hosts.len()) };
    let text = std::str::from_utf8(host).expect("a name is ASCII");
    let target = head.uri.authority().map_or(text, |target| target.as_str());
    assert!([text, target].iter().all(|host| !host.contains([' ', '@', ',', '/', '\t'])));
    let name = target.rsplit_once(':').map_or(target, |(name, _)| name);
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let is_own = matches!(&*name, "" | "localhost" | "node.example");
    assert!(is_own || target.starts_with('[') || name.parse::<Ipv4Addr>().is_ok(), "{target}");
    let transfer = lines(header::TRANSFER_ENCODING).collect::<Vec<_>>().concat();
    let coding: Vec<u8> =
        transfer.into_iter().filter(|byte| !matches!(byte, b',' | b' ' | b'\t')).collect();
    assert!(coding.is_empty() || coding.eq_ignore_ascii_case(b"chunked"));
    if head.method.is_safe() {
        return;
    }
    let codings = lines(header::CONTENT_ENCODING).collect::<Vec<_>>().concat();
    assert!(!codings.to_ascii_lowercase().windows(4).any(|it| it == b"gzip"));
    let origins: Vec<&[u8]> = lines(header::ORIGIN).collect();
    if let [origin] = origins[..] {
        let is_page = origin.starts_with(b"http://") && host.is_ascii();
        assert!(origin.eq_ignore_ascii_case(ORIGIN.as_bytes()) || is_page);
        assert!(is_ndjson(&head.headers) && lines(header::CONTENT_TYPE).count() == 1);
    }
}

fn metadata(headers: &HeaderMap) {
    if let Some(text) = headers.get(STAMP).and_then(|value| value.to_str().ok())
        && let Some(stamp) = parse_stamp(text)
    {
        assert_eq!(parse_stamp(&stamp_text(stamp)), Some(stamp));
    }
    let kinds = headers.get_all(header::CONTENT_TYPE);
    let is_other = |value: &HeaderValue| value.as_bytes().starts_with(b"text/");
    if is_json(headers) {
        assert!(kinds.iter().next().is_none_or(|kind| !is_other(kind)));
    }
}

fn answer_headers(headers: &HeaderMap) {
    let name = |name: &HeaderName| headers.get(name).cloned();
    let mut answer = HeaderMap::new();
    echo_request_id(headers.get(REQUEST_ID), &mut answer);
    let echoed = answer.values().map(HeaderValue::len).max().unwrap_or(0);
    assert!(answer.len() <= 1 && echoed <= limits::REQUEST_ID_BYTES_MAX);
    let allow_origin = header::ACCESS_CONTROL_ALLOW_ORIGIN;
    let origin = name(&header::ORIGIN);
    for origins in [None, Some(vec![ORIGIN.to_owned()])] {
        let is_strict = origins.is_some();
        let mut answer = HeaderMap::new();
        Cors { origins }.decorate(origin.as_ref(), &mut answer);
        let Some(allowed) = answer.get(&allow_origin) else { continue };
        let origin = origin.as_ref().expect("nothing is allowed to who names no origin");
        if is_strict {
            assert_eq!(allowed, origin);
            assert!(origin.as_bytes().eq_ignore_ascii_case(ORIGIN.as_bytes()));
        }
    }
}

/// One text as everything that a text of a head may be.
fn texts(value: &[u8]) {
    if let Ok(timeout) = grpc::parse_timeout(value) {
        let written = grpc::format_timeout(timeout);
        let again = grpc::parse_timeout(written.as_bytes()).expect("it was written here");
        assert!(again >= timeout, "{written} is shorter");
    }
    let kind = value.to_ascii_lowercase();
    match grpc::check_content_type(value).map_err(|status| status.code) {
        Ok(()) => assert!(kind.starts_with(b"application/grpc")),
        Err(Code::Unimplemented) => assert!(kind.starts_with(b"application/grpc+")),
        Err(code) => assert_eq!(code, Code::InvalidArgument),
    }
    assert_eq!(grpc::check_encoding(value).is_ok(), value == b"identity");
    let code = Code::parse(value);
    assert_eq!(Code::parse(code.digits().as_bytes()), code);
    let shown = decode_message(value);
    assert_eq!(decode_message(encode_message(&shown).as_bytes()), shown);
    let Ok(text) = std::str::from_utf8(value) else { return };
    if let Some((service, method)) = grpc::parse_path(text) {
        assert_eq!(format!("/{service}/{method}"), text);
    }
    if let Some(stamp) = parse_stamp(text) {
        assert_eq!(parse_stamp(&stamp_text(stamp)), Some(stamp));
    }
}
