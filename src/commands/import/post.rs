//! One sender: a kept connection, one request at a time, patience with a node that is busy.
//!
//! In: lines. Out: their fates. Never: gives a line up without a word, waits for ever.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, StatusCode, header};
use nanoserde::DeJson;

use super::job::{End, Job};
use super::tally::Fate;
use crate::shell::http::client::ClientLink;
use crate::shell::runtime::reactor::Timer;
use crate::shell::runtime::timeout::within;
use crate::wire::http::API_KEY;

/// A connection is made, or it is not, within this.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// An answer to one line waits for an fsync at most.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// An answer is a hash or an error in words.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// How long the node may be out of reach: a restart.
const ABSENCE_MAX: Duration = Duration::from_secs(10);
/// How long the node may refuse all requests because it is busy.
const BUSY_MAX: Duration = Duration::from_secs(60);
/// Pauses between tries, doubled from the first to the second.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// Connects to the first address that answers.
pub(super) async fn connect(addresses: &[SocketAddr]) -> Result<ClientLink, String> {
    let connected = within(CONNECT_MAX, ClientLink::connect(addresses)).await;
    connected.unwrap_or_else(|| Err(format!("no connection within {CONNECT_MAX:?}")))
}

/// Sends lines until there are no more.
pub(super) async fn send_lines(job: Rc<Job>, mut link: Option<ClientLink>) {
    while let Some(line) = job.next_line().await {
        let fate = match line.body {
            Err(unfit) => Fate::Refused { code: unfit.code.to_string(), message: unfit.message },
            Ok(body) => match job.send(&mut link, body.into()).await {
                Some(fate) => fate,
                None => return,
            },
        };
        job.settle(line.number, fate);
    }
}

/// What an answer means for the line that was sent.
#[derive(PartialEq, Eq, Debug)]
enum Verdict {
    /// The line's fate is known.
    Known(Fate),
    /// The node cannot take it now.
    Busy(String),
    /// The node will take no line.
    Hopeless(String),
}

impl Job {
    /// Sends one body until its fate is known; `None` when the import stopped.
    async fn send(&self, link: &mut Option<ClientLink>, body: Bytes) -> Option<Fate> {
        let mut pause = PAUSE_MIN;
        while !self.is_stopped() {
            let (why, patience) = match self.try_once(link, body.clone()).await {
                Ok((status, answer)) => match judge(status, &answer) {
                    Verdict::Known(fate) => {
                        self.last_answer.set(Instant::now());
                        self.trouble.replace(None);
                        return Some(fate);
                    }
                    Verdict::Busy(why) => (why, BUSY_MAX),
                    Verdict::Hopeless(why) => (why, Duration::ZERO),
                },
                Err(why) => {
                    *link = None;
                    (why, ABSENCE_MAX)
                }
            };
            if self.last_answer.get().elapsed() >= patience {
                self.stop(End::Node(format!("{}: {why}", self.host)));
                return None;
            }
            self.trouble.replace(Some(why));
            // Senders that fail together must not come back together.
            Timer::after(pause.mul_f64(0.5 + fastrand::f64())).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
        None
    }

    async fn try_once(
        &self,
        link: &mut Option<ClientLink>,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), String> {
        let link = match link {
            Some(link) => link,
            None => link.insert(connect(&self.addresses).await?),
        };
        let mut request = Request::post("/v1/assert")
            .header(header::HOST, &self.host)
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(key) = &self.api_key {
            request = request.header(API_KEY, key.expose());
        }
        let request = request.body(Full::new(body)).map_err(|error| error.to_string())?;
        let fits = |bytes| bytes <= ANSWER_BYTES_MAX;
        match within(ANSWER_MAX, link.exchange(request, fits)).await {
            Some(answered) => answered
                .map(|(head, body)| (head.status, body))
                .map_err(|failure| failure.to_string()),
            None => Err(format!("no answer within {ANSWER_MAX:?}")),
        }
    }
}

#[derive(DeJson)]
struct Taken {
    status: String,
}

#[derive(DeJson)]
struct Refused {
    error: Problem,
}

#[derive(DeJson)]
struct Problem {
    code: String,
    message: String,
}

fn judge(status: StatusCode, answer: &[u8]) -> Verdict {
    let text = String::from_utf8_lossy(answer);
    let taken = || Taken::deserialize_json(&text).map(|taken| taken.status).unwrap_or_default();
    let Problem { code, message } = match Refused::deserialize_json(&text) {
        Ok(refused) => refused.error,
        Err(_) => Problem { code: status.as_str().to_string(), message: "no reason given".into() },
    };
    match status.as_u16() {
        201 if taken() == "created" => Verdict::Known(Fate::Created),
        200 if taken() == "exists" => Verdict::Known(Fate::Existed),
        400 | 409 | 411 | 413 | 415 | 422 => Verdict::Known(Fate::Refused { code, message }),
        408 | 429 | 500 | 502 | 503 | 504 => {
            Verdict::Busy(format!("it answers {status}: {message}"))
        }
        401 | 403 | 507 => Verdict::Hopeless(format!("it answers {status}: {message}")),
        _ => Verdict::Hopeless(format!(
            "it answers {status} to POST /v1/assert, is that the API of a stemedb node?"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, answer: &str) -> Verdict {
        judge(StatusCode::from_u16(status).expect("a status"), answer.as_bytes())
    }

    #[test]
    fn answers_become_fates_or_patience_or_an_end() {
        let created = judged(201, r#"{"hash":"00","status":"created"}"#);
        assert_eq!(created, Verdict::Known(Fate::Created));
        let existed = judged(200, r#"{"status":"exists","hash":"00","more":[1]}"#);
        assert_eq!(existed, Verdict::Known(Fate::Existed));
        let refused = judged(422, r#"{"error":{"code":"signature","message":"wrong"}}"#);
        let fate = Fate::Refused { code: "signature".into(), message: "wrong".into() };
        assert_eq!(refused, Verdict::Known(fate));
        let plain = Fate::Refused { code: "413".into(), message: "no reason given".into() };
        assert_eq!(judged(413, "<html>"), Verdict::Known(plain));
        for busy in [408, 429, 500, 502, 503, 504] {
            assert!(matches!(judged(busy, "{}"), Verdict::Busy(_)), "{busy}");
        }
        for (status, answer) in [
            (507, r#"{"error":{"code":"full","message":"the disk budget is used up"}}"#),
            (403, ""),
            (404, ""),
            (200, "<html>hello</html>"),
            (200, r#"{"status":"ok"}"#),
            (204, ""),
            (301, ""),
        ] {
            assert!(matches!(judged(status, answer), Verdict::Hopeless(_)), "{status}");
        }
    }
}
