//! The answer to a request that is refused.
//!
//! In: a rejection. Out: its response, with the headers that say what would be taken. Never:
//! decides what is refused.

use http::header::{
    ACCEPT_ENCODING, ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{Response, StatusCode};

use super::answer_body::{AnswerBody, HttpAnswer};
use crate::wire::http::JSON;
use crate::wire::http::policy::Violation;
use crate::wire::rejection::Rejection;

/// An error as all of them look.
pub fn refuse(rejection: &Rejection) -> HttpAnswer {
    let (status, _) = rejection.status();
    let mut response = Response::new(AnswerBody::whole(rejection.body()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, JSON);
    match rejection {
        Rejection::Method(allowed) => {
            headers.insert(ALLOW, HeaderValue::from_static(allowed));
        }
        Rejection::KeyMissing => {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("ApiKey"));
        }
        // RFC 9110 12.5.3: what would be taken instead.
        Rejection::Policy(Violation::ContentCoding) => {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        Rejection::Starting | Rejection::NotJoined | Rejection::AtCapacity => {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        _ if status == StatusCode::TOO_MANY_REQUESTS => {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        _ => {}
    }
    response
}
