//! One question to a node's HTTP API, for the commands.
//!
//! In: an address, a path, a body. Out: what the node answered, or why it did not. Never: waits
//! without end, takes an answer without end.

use std::fmt;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use nanoserde::DeJson;

use crate::base::Secret;
use crate::shell::http::client::{ClientLink, ExchangeError};
use crate::shell::runtime::resolve::resolve;
use crate::shell::runtime::timeout::within;
use crate::wire::foreign;
use crate::wire::http::API_KEY;

/// How long a node may take to say how it is.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// The largest answer a command looks at: all shards with all replicas.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Why a node's API gave no answer that a command can use.
#[derive(Debug)]
pub(super) enum ApiError {
    /// Its name has no address, or nothing takes a connection there.
    Unreachable(String),
    /// The request cannot be written.
    Request(http::Error),
    /// The connection broke off, or the answer is too large.
    Exchange(ExchangeError),
    /// Nothing came within this time.
    Late(Duration),
    /// It answers with another status than 200.
    Status(String, StatusCode, String),
    /// Its answer is not what docs/http.md says of this path.
    OtherShape(String, String),
}

impl fmt::Display for ApiError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ApiError::Unreachable(why) => out.write_str(why),
            ApiError::Request(error) => error.fmt(out),
            ApiError::Exchange(error) => error.fmt(out),
            ApiError::Late(patience) => write!(out, "no answer within {patience:?}"),
            ApiError::Status(path, status, text) => {
                write!(out, "{path} answers {status}: {}", foreign::shown(text))
            }
            ApiError::OtherShape(path, why) => {
                write!(out, "{path} answers something else: {}", foreign::shown(why))
            }
        }
    }
}

/// GETs what is at the path and reads it as `T`.
pub(super) async fn get<T: DeJson>(
    address: &str,
    path: &str,
    key: Option<&Secret>,
) -> Result<T, ApiError> {
    let text = get_text(address, path, key).await?;
    T::deserialize_json(&text)
        .map_err(|error| ApiError::OtherShape(path.to_owned(), error.to_string()))
}

/// GETs what is at the path.
pub(super) async fn get_text(
    address: &str,
    path: &str,
    key: Option<&Secret>,
) -> Result<String, ApiError> {
    match ask(address, Method::GET, path, String::new(), key).await? {
        (StatusCode::OK, text) => Ok(text),
        (status, text) => Err(ApiError::Status(path.to_owned(), status, text)),
    }
}

/// Status and body of an answer that is there at once.
pub(super) async fn ask(
    address: &str,
    method: Method,
    path: &str,
    body: String,
    key: Option<&Secret>,
) -> Result<(StatusCode, String), ApiError> {
    ask_within(ANSWER_MAX, address, method, path, body, key).await
}

/// Status and body of an answer.
pub(super) async fn ask_within(
    patience: Duration,
    address: &str,
    method: Method,
    path: &str,
    body: String,
    key: Option<&Secret>,
) -> Result<(StatusCode, String), ApiError> {
    let asking = async {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, address)
            .header(CONTENT_TYPE, "application/json");
        if let Some(key) = key {
            request = request.header(API_KEY, key.expose());
        }
        let request = request.body(Full::new(Bytes::from(body))).map_err(ApiError::Request)?;
        let addresses = resolve(address).await;
        let addresses = addresses.map_err(|error| ApiError::Unreachable(error.to_string()))?;
        let link = ClientLink::connect(&addresses).await;
        let mut link = link.map_err(ApiError::Unreachable)?;
        let answer = link.exchange(request, |bytes| bytes <= ANSWER_BYTES_MAX).await;
        let (head, body) = answer.map_err(ApiError::Exchange)?;
        Ok((head.status, String::from_utf8_lossy(&body).into_owned()))
    };
    within(patience, pin!(asking)).await.unwrap_or(Err(ApiError::Late(patience)))
}
