//! One question to a node's HTTP API, for the commands.
//!
//! In: an address, a path, a body. Out: what the node answered, or why it did not. Never: waits
//! longer than `ANSWER_MAX`, takes an answer without end.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use nanoserde::DeJson;

use crate::base::Secret;
use crate::shell::http::client::ClientLink;
use crate::shell::runtime::resolve::resolve;
use crate::shell::runtime::timeout::within;
use crate::wire::foreign;
use crate::wire::http::API_KEY;

/// How long a node may take.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// The largest answer a command looks at: all shards with all replicas.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// GETs what is at the path and reads it as `T`.
pub(super) async fn get<T: DeJson>(
    address: &str,
    path: &str,
    key: Option<&Secret>,
) -> Result<T, String> {
    let (status, text) = ask(address, Method::GET, path, String::new(), key).await?;
    if status != StatusCode::OK {
        return Err(format!("{path} answers {status}: {}", foreign::shown(&text)));
    }
    T::deserialize_json(&text).map_err(|error| {
        format!("{path} answers something else: {}", foreign::shown(&error.to_string()))
    })
}

/// Status and body of an answer.
pub(super) async fn ask(
    address: &str,
    method: Method,
    path: &str,
    body: String,
    key: Option<&Secret>,
) -> Result<(StatusCode, String), String> {
    let asking = async {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, address)
            .header(CONTENT_TYPE, "application/json");
        if let Some(key) = key {
            request = request.header(API_KEY, key.expose());
        }
        let request = request.body(Full::new(Bytes::from(body))).map_err(|it| it.to_string())?;
        let mut link = ClientLink::connect(&resolve(address).await?).await?;
        let answer = link.exchange(request, |bytes| bytes <= ANSWER_BYTES_MAX).await;
        let (head, body) = answer.map_err(|failure| failure.to_string())?;
        Ok((head.status, String::from_utf8_lossy(&body).into_owned()))
    };
    let late = || Err(format!("no answer within {ANSWER_MAX:?}"));
    within(ANSWER_MAX, asking).await.unwrap_or_else(late)
}
