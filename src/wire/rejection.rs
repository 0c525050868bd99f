//! The one table from a refusal to an HTTP status, an error code and a message.
//!
//! In: what a module or the HTTP layer refuses. Out: [`Rejection`], its status, and the error body.
//!
//! Never: a status number anywhere else.

use std::fmt;

use http::StatusCode;

use super::http::policy::Violation;
use super::json::{self, Malformed};
use crate::base::{Digest, limits};
use crate::cluster::forwarding::ForwardRefusal;
use crate::journal::{self, Obstacle};
use crate::model::{BadQuery, Invalid, InvalidKind, RowNumbering};

/// No status of HTTP's: nginx made it, and operators know it from access logs and metrics.
const CLIENT_CLOSED_REQUEST: StatusCode = match StatusCode::from_u16(499) {
    Ok(status) => status,
    Err(_) => panic!("a status has three digits"),
};

/// Why a request gets an error. In each case nothing changed.
#[derive(Clone, PartialEq, Debug)]
pub enum Rejection {
    /// The head is no HTTP that we can read.
    Head,
    /// The head is larger than [`limits::HTTP_HEAD_BYTES_MAX`] or has too many headers.
    HeadTooLarge,
    /// The listener does not answer such requests.
    Policy(Violation),
    /// The body is not the JSON that was expected.
    Json(Malformed),
    /// The query string cannot be read; the text says why.
    QueryString(String),
    /// A query parameter has a value that cannot be used.
    Query(BadQuery),
    /// The cursor is of rows that this node does not have.
    Cursor {
        /// Whose they are.
        of: RowNumbering,
        /// Those that are here.
        here: RowNumbering,
    },
    /// The hash in the path is none.
    Hash,
    /// The shard in the path is none, or there are not so many.
    Shard,
    /// The request brings no key.
    KeyMissing,
    /// The request brings another key.
    KeyWrong,
    /// The stamp that another node put on the claim cannot be used.
    Stamp,
    /// The node still reads its log.
    Starting,
    /// The node has seeds and reached no other node yet.
    NotJoined,
    /// The node was asked to stop.
    Draining,
    /// No replica of the subject's shard could be reached.
    Unreachable(String),
    /// No replica of the subject's shard answered in time.
    Late(String),
    /// All replicas of the subject's shard are overloaded.
    Overloaded(String),
    /// The claim breaks a rule, or a signature on it is wrong.
    Invalid(Invalid),
    /// There is no such route.
    Route,
    /// There is no such assertion.
    Unknown(Digest),
    /// The assertion's record is damaged here, and asked for elsewhere.
    Damaged(Digest),
    /// The route takes other methods: these.
    Method(&'static str),
    /// The client was too slow.
    Timeout,
    /// The body has no length.
    Length,
    /// The body is larger than [`limits::HTTP_BODY_BYTES_MAX`].
    BodyTooLarge,
    /// The body broke off, or its chunks cannot be read.
    Body,
    /// The body is said to be something else than JSON.
    MediaType,
    /// The body is said to be something else than JSON by the line.
    LinesMediaType,
    /// Others take all the memory there is for this.
    OverBudget,
    /// All connection slots or buffers are taken, and this request was the last or the slowest.
    AtCapacity,
    /// Too many requests wait for their answers, of all clients or of this one.
    Waiting,
    /// The client closed its sending half, or more, while a long query ran.
    ClientLeft,
    /// The log takes nothing more, for now or until the operator frees space.
    Log(journal::Refusal),
}

impl Rejection {
    /// The status, and the code by which a program recognises the case.
    pub fn status(&self) -> (StatusCode, &'static str) {
        match self {
            Rejection::Head => (StatusCode::BAD_REQUEST, "bad_request"),
            Rejection::HeadTooLarge => {
                (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "head_too_large")
            }
            Rejection::Policy(violation) => violated(violation),
            Rejection::Json(_) => (StatusCode::BAD_REQUEST, "bad_json"),
            Rejection::QueryString(_) | Rejection::Query(_) => {
                (StatusCode::BAD_REQUEST, "bad_query")
            }
            Rejection::Cursor { .. } => (StatusCode::GONE, "cursor_gone"),
            Rejection::Hash => (StatusCode::BAD_REQUEST, "bad_hash"),
            Rejection::Shard => (StatusCode::BAD_REQUEST, "bad_shard"),
            Rejection::KeyMissing => (StatusCode::UNAUTHORIZED, "key_missing"),
            Rejection::KeyWrong => (StatusCode::FORBIDDEN, "key_wrong"),
            Rejection::Stamp => (StatusCode::BAD_REQUEST, "bad_stamp"),
            Rejection::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting"),
            Rejection::NotJoined => (StatusCode::SERVICE_UNAVAILABLE, "not_joined"),
            Rejection::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
            Rejection::Unreachable(_) => (StatusCode::BAD_GATEWAY, "replica_unreachable"),
            Rejection::Late(_) => (StatusCode::GATEWAY_TIMEOUT, "replica_late"),
            Rejection::Overloaded(_) => (StatusCode::SERVICE_UNAVAILABLE, "replica_overloaded"),
            Rejection::Invalid(invalid) => match invalid.kind() {
                InvalidKind::Input => (StatusCode::BAD_REQUEST, "invalid_assertion"),
                InvalidKind::Signature => (StatusCode::UNPROCESSABLE_ENTITY, "bad_signature"),
            },
            Rejection::Route => (StatusCode::NOT_FOUND, "no_such_route"),
            Rejection::Unknown(_) => (StatusCode::NOT_FOUND, "not_found"),
            Rejection::Damaged(_) => (StatusCode::SERVICE_UNAVAILABLE, "damaged"),
            Rejection::Method(_) => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Rejection::Timeout => (StatusCode::REQUEST_TIMEOUT, "timeout"),
            Rejection::Length => (StatusCode::LENGTH_REQUIRED, "length_required"),
            Rejection::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"),
            Rejection::Body => (StatusCode::BAD_REQUEST, "bad_body"),
            Rejection::MediaType | Rejection::LinesMediaType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json")
            }
            Rejection::OverBudget | Rejection::Waiting | Rejection::Log(journal::Refusal::Busy) => {
                (StatusCode::TOO_MANY_REQUESTS, "busy")
            }
            Rejection::AtCapacity => (StatusCode::SERVICE_UNAVAILABLE, "at_capacity"),
            Rejection::ClientLeft => (CLIENT_CLOSED_REQUEST, "client_closed"),
            Rejection::Log(journal::Refusal::Budget { .. }) => {
                (StatusCode::INSUFFICIENT_STORAGE, "disk_budget")
            }
            Rejection::Log(journal::Refusal::Index) => {
                (StatusCode::INSUFFICIENT_STORAGE, "index_unwritable")
            }
            Rejection::Log(journal::Refusal::Disk(obstacle)) => match obstacle {
                Obstacle::NoSpace | Obstacle::Budget => {
                    (StatusCode::INSUFFICIENT_STORAGE, obstacle.name())
                }
                // A gateway tries the next replica: that one may take the claim.
                Obstacle::ReadOnly | Obstacle::NoDescriptors => {
                    (StatusCode::SERVICE_UNAVAILABLE, obstacle.name())
                }
            },
        }
    }

    /// The error as the JSON body that every error has (`docs/http.md`).
    pub fn body(&self) -> String {
        json::answer::error(self.status().1, &self.to_string())
    }
}

fn violated(violation: &Violation) -> (StatusCode, &'static str) {
    match violation {
        Violation::Twice(_) => (StatusCode::BAD_REQUEST, "header_twice"),
        Violation::Host => (StatusCode::BAD_REQUEST, "bad_host"),
        Violation::Misdirected(_) | Violation::Scheme => {
            (StatusCode::MISDIRECTED_REQUEST, "misdirected")
        }
        Violation::Origin(_) => (StatusCode::FORBIDDEN, "origin_not_allowed"),
        Violation::Form => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json"),
        Violation::ContentCoding => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "content_encoding"),
        Violation::TransferCoding => (StatusCode::NOT_IMPLEMENTED, "transfer_encoding"),
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rejection::Head => write!(out, "this is no HTTP/1.1 request head"),
            Rejection::HeadTooLarge => write!(
                out,
                "the request head is too large, at most {} bytes in 100 headers are allowed",
                limits::HTTP_HEAD_BYTES_MAX
            ),
            Rejection::Policy(violation) => violation.fmt(out),
            Rejection::Json(malformed) => malformed.fmt(out),
            Rejection::QueryString(what) => out.write_str(what),
            Rejection::Query(bad) => bad.fmt(out),
            Rejection::Cursor { of, here } if of.node == here.node => write!(
                out,
                "node {} has numbered its rows anew since it gave this cursor: begin again without \
                 a cursor",
                of.node
            ),
            Rejection::Cursor { of, here } => write!(
                out,
                "this cursor is of the rows of node {}, which does not answer here, and node {} \
                 has others: begin again without a cursor",
                of.node, here.node
            ),
            Rejection::Hash => write!(out, "an assertion's hash has 64 hex digits"),
            Rejection::Shard => write!(
                out,
                "a shard is a whole number below the count of shards (/v1/admin/ranges lists them)"
            ),
            Rejection::KeyMissing => write!(out, "a key is needed: send it as X-API-Key"),
            Rejection::KeyWrong => write!(out, "the X-API-Key is not one of this cluster's"),
            Rejection::Stamp => {
                write!(out, "{} takes MILLISECONDS-COUNTER-NODE", super::http::headers::STAMP)
            }
            Rejection::Unreachable(why) | Rejection::Late(why) | Rejection::Overloaded(why) => {
                write!(out, "no node that may answer this request did: {why}")
            }
            Rejection::Invalid(invalid) => invalid.fmt(out),
            Rejection::Route => write!(out, "there is no such route (docs/http.md lists them)"),
            Rejection::Unknown(hash) => write!(out, "there is no assertion {hash} here"),
            Rejection::Damaged(hash) => write!(
                out,
                "the record of assertion {hash} is damaged here and asked for from the other \
                 members, try again"
            ),
            Rejection::Method(allowed) => write!(out, "this route takes {allowed}"),
            Rejection::Length => {
                write!(out, "a body is needed, with Content-Length or Transfer-Encoding: chunked")
            }
            Rejection::BodyTooLarge => write!(
                out,
                "the body is too large, at most {} bytes are allowed",
                limits::HTTP_BODY_BYTES_MAX
            ),
            Rejection::Body => write!(out, "the body breaks off or its chunks cannot be read"),
            Rejection::MediaType => write!(out, "the body must be application/json in UTF-8"),
            Rejection::LinesMediaType => {
                write!(out, "the body must be application/x-ndjson in UTF-8")
            }
            Rejection::Log(refusal) => refusal.fmt(out),
            bound => bound.fmt_bound(out),
        }
    }
}

impl Rejection {
    /// The message of a bound: on the time of one request, or on what all requests take.
    fn fmt_bound(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rejection::Timeout => write!(
                out,
                "the request did not arrive in time: a head may take {} seconds, a body may come \
                 with less than {} bytes a second for as long",
                limits::HTTP_READ_MAX.as_secs(),
                limits::HTTP_RATE_MIN
            ),
            Rejection::OverBudget => {
                write!(out, "too many large requests or answers are on their way, try again")
            }
            Rejection::AtCapacity => write!(
                out,
                "the node is at its limit of connections or of bytes in transit, and this request \
                 was the last or the slowest, try again"
            ),
            Rejection::Waiting => write!(
                out,
                "too many requests of this client wait for their answers already, at most {} are \
                 allowed, try again when some are answered",
                limits::QUERIES_WAITING_MAX / 2
            ),
            Rejection::ClientLeft => write!(
                out,
                "a long query was abandoned because the client closed its sending half; keep it \
                 open until the answer is there"
            ),
            state => state.fmt_state(out),
        }
    }

    /// The message of a node that is not ready.
    fn fmt_state(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Rejection::Starting => "the node still reads its log, try again soon",
            Rejection::NotJoined => {
                "the node has reached none of its seeds yet; its log says why, once a minute"
            }
            Rejection::Draining => {
                "the node was asked to stop and ends soon: send requests to another one"
            }
            other => unreachable!("{other:?} has its text above"),
        })
    }
}

impl From<Malformed> for Rejection {
    fn from(malformed: Malformed) -> Rejection {
        Rejection::Json(malformed)
    }
}

impl From<BadQuery> for Rejection {
    fn from(bad: BadQuery) -> Rejection {
        Rejection::Query(bad)
    }
}

impl From<ForwardRefusal> for Rejection {
    fn from(refusal: ForwardRefusal) -> Rejection {
        let none = |why: &str| Rejection::Unreachable(why.to_owned());
        match refusal {
            ForwardRefusal::Waiting => Rejection::Waiting,
            ForwardRefusal::NoneLive => none("none is live"),
            ForwardRefusal::Died(address) => none(&format!("{address} has died")),
            ForwardRefusal::Unreachable(address, why) => none(&format!("{address}: {why}")),
            ForwardRefusal::Overloaded(address) => {
                Rejection::Overloaded(format!("{address} answers 503"))
            }
            ForwardRefusal::TooLarge => Rejection::OverBudget,
            ForwardRefusal::Late => {
                Rejection::Late(format!("none within {:?}", limits::GATEWAY_ANSWER_MAX))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_gateway_refuses_has_a_status_and_says_which_node_failed() {
        let node = || "10.0.0.1:18180".to_owned();
        for (refusal, status, text) in [
            (ForwardRefusal::NoneLive, 502, "none is live"),
            (ForwardRefusal::Died(node()), 502, "10.0.0.1:18180 has died"),
            (ForwardRefusal::Unreachable(node(), "reset".into()), 502, "10.0.0.1:18180: reset"),
            (ForwardRefusal::Overloaded(node()), 503, "10.0.0.1:18180 answers 503"),
            (ForwardRefusal::Late, 504, "none within 300s"),
        ] {
            let rejection = Rejection::from(refusal);
            assert_eq!(rejection.status().0.as_u16(), status);
            let whole = format!("no node that may answer this request did: {text}");
            assert_eq!(rejection.to_string(), whole);
        }
        for refusal in [ForwardRefusal::Waiting, ForwardRefusal::TooLarge] {
            assert_eq!(Rejection::from(refusal).status().0, StatusCode::TOO_MANY_REQUESTS);
        }
    }
}
