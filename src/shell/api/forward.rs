//! A request as the gateway forwards it to another node, and the answer as it hands it on.
//!
//! In: a request, an answer. Out: the headers of each that the other side needs. Never: sends a
//! byte.

use bytes::Bytes;
use http::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, ETAG, HOST, HeaderValue, IF_NONE_MATCH, RETRY_AFTER,
};
use http::request::Parts;
use http::{Method, Request, Response};
use http_body_util::Full;

use crate::base::{Hlc, NodeId};
use crate::shell::http::Body;
use crate::wire::http::{
    AGENT_ID, ANSWERED_BY, API_KEY, FORWARDED, FORWARDED_FOR, REQUEST_ID, STAMP, client, stamp_text,
};

/// A request on its way to another node.
pub struct Forward {
    method: Method,
    target: String,
    headers: Vec<(http::HeaderName, HeaderValue)>,
    body: Bytes,
    /// The host that sent it.
    pub peer: u64,
}

/// What another node answered.
pub struct BackendAnswer {
    /// The node that answered.
    pub node: NodeId,
    /// Its answer, with the headers that the client gets.
    pub response: Response<Bytes>,
}

impl Forward {
    /// Of `head` what the other node needs to know.
    pub fn of(head: &Parts, own: NodeId, body: Bytes, from: &Body) -> Forward {
        // To a question for the head alone our server answers with the head alone.
        let method = if head.method == Method::HEAD { Method::GET } else { head.method.clone() };
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
        let kept = [API_KEY, AGENT_ID, REQUEST_ID, CONTENT_TYPE, ACCEPT, IF_NONE_MATCH];
        let kept = kept.into_iter();
        let headers = kept.filter_map(|name| Some((name.clone(), head.headers.get(name)?.clone())));
        let peer = from.peer();
        let key = client(peer, &head.headers).peer;
        let mut forward = Forward { method, target, headers: headers.collect(), body, peer: key };
        forward.put(FORWARDED, &own.to_string());
        if let Some(peer) = peer {
            forward.put(FORWARDED_FOR, &peer.to_string());
        }
        forward
    }

    fn put(&mut self, name: http::HeaderName, text: &str) {
        let value = HeaderValue::from_str(text).expect("digits, hex, hyphens, an address");
        self.headers.push((name, value));
    }

    /// As one attempt sends it to `host`.
    pub fn request(&self, host: &str, stamp: Option<Hlc>) -> http::Result<Request<Full<Bytes>>> {
        let mut builder = Request::builder().method(&self.method).uri(&self.target);
        builder = builder.header(HOST, host);
        for (name, value) in &self.headers {
            builder = builder.header(name, value);
        }
        if let Some(stamp) = stamp {
            builder = builder.header(STAMP, stamp_value(stamp));
        }
        builder.body(Full::new(self.body.clone()))
    }
}

impl BackendAnswer {
    /// The answer of `node`, named in a header for the client.
    pub fn of(node: NodeId, answer: http::response::Parts, body: Bytes) -> BackendAnswer {
        let mut response = Response::new(body);
        *response.status_mut() = answer.status;
        let headers = response.headers_mut();
        for name in [CONTENT_TYPE, RETRY_AFTER, ALLOW, ETAG, CACHE_CONTROL] {
            if let Some(value) = answer.headers.get(&name) {
                headers.insert(name, value.clone());
            }
        }
        let name = HeaderValue::from_str(&node.to_string()).expect("hex");
        headers.insert(ANSWERED_BY, name);
        BackendAnswer { node, response }
    }
}

/// A stamp as a header.
pub fn stamp_value(stamp: Hlc) -> HeaderValue {
    HeaderValue::from_str(&stamp_text(stamp)).expect("digits, hyphens, hex")
}
