//! HTTP/1.1 with JSON, one request a connection: all that the tests ask of an HTTP client.
//!
//! In: method, path, body. Out: status and parsed answer. Never: reuses a connection.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Status and body of an answer.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The head as it came, in lower case.
    pub head: String,
    /// The body as it came.
    pub text: String,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text)
            .unwrap_or_else(|e| panic!("status {}, not JSON ({e}): {}", self.status, self.text))
    }
}

/// GET.
pub async fn get(to: SocketAddr, path: &str) -> std::io::Result<Answer> {
    request(to, "GET", path, None, "").await
}

/// POST of a JSON body.
pub async fn post(to: SocketAddr, path: &str, body: &Value) -> std::io::Result<Answer> {
    request(to, "POST", path, Some(body.to_string()), "").await
}

/// POST of bodies by the line: a few, as all of them are sent before the answer is read.
pub async fn post_lines(to: SocketAddr, path: &str, bodies: &[Value]) -> std::io::Result<Answer> {
    let lines: String = bodies.iter().map(|body| format!("{body}\n")).collect();
    request(to, "POST", path, Some(lines), "").await
}

/// As [`get`] or, with a body, [`post`], with more header lines: `name: value\r\n` each.
pub async fn ask(
    to: SocketAddr,
    path: &str,
    body: Option<&Value>,
    headers: &str,
) -> std::io::Result<Answer> {
    let method = if body.is_some() { "POST" } else { "GET" };
    request(to, method, path, body.map(Value::to_string), headers).await
}

async fn request(
    to: SocketAddr,
    method: &str,
    path: &str,
    body: Option<String>,
    headers: &str,
) -> std::io::Result<Answer> {
    let body = body.unwrap_or_default();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\n\
         content-type: application/json\r\n{headers}content-length: {}\r\n\r\n",
        body.len()
    );
    let mut stream = TcpStream::connect(to).await?;
    stream.write_all((head + &body).as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    parse(&answer).ok_or_else(|| {
        let shown = String::from_utf8_lossy(&answer).into_owned();
        std::io::Error::other(format!("half an answer to {method} {path}: {shown:?}"))
    })
}

fn parse(answer: &[u8]) -> Option<Answer> {
    let answer = std::str::from_utf8(answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let head = head.to_ascii_lowercase();
    let text = match head.split("content-length: ").nth(1) {
        Some(rest) => {
            let length: usize = rest.lines().next()?.trim().parse().ok()?;
            body.get(..length)?.to_string()
        }
        None if head.contains("transfer-encoding: chunked") => unchunk(body)?,
        None => body.to_string(),
    };
    Some(Answer { status, head, text })
}

fn unchunk(mut body: &str) -> Option<String> {
    let mut text = String::new();
    loop {
        let (size, rest) = body.split_once("\r\n")?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        if size == 0 {
            return Some(text);
        }
        text += rest.get(..size)?;
        body = rest.get(size + 2..)?;
    }
}
