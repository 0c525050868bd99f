//! One sender: a kept connection, one batch at a time, patience with a node that is busy.
//!
//! In: lines. Out: their fates. Lines of a batch whose fate an answer does not say, because the
//! node was busy with them or the connection ended, are sent again. Never: gives a line up without
//! a word, waits for ever.

use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::Full;
use hyper::{Request, StatusCode, header};

use super::answer::{LineAnswer, Verdict, judge};
use super::job::{End, Job};
use super::lines::Line;
use super::tally::Fate;
use crate::commands::output::complain;
use crate::shell::http::client::ClientLink;
use crate::shell::runtime::reactor::Timer;
use crate::shell::runtime::timeout::within;
use crate::wire::http::{API_KEY, NDJSON};
use crate::wire::lines::BodyLines;

/// A connection is made, or it is not, within this.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// An answer to a batch waits for a few fsyncs at most.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// An answer to the whole request is an error in words.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// How long the node may be out of reach: a restart.
const ABSENCE_MAX: Duration = Duration::from_secs(10);
/// How long the node may refuse all requests because it is busy.
const BUSY_MAX: Duration = Duration::from_secs(60);
/// How long it waits without a line that says so.
const SILENCE_MAX: Duration = Duration::from_secs(2);
/// Pauses between tries, doubled from the first to the second.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(250);

const NO_NODE: &str = "its answer is no JSON, is that the API of a stemedb node?";

/// Connects to the first address that answers.
pub(super) async fn connect(addresses: &[SocketAddr]) -> Result<ClientLink, String> {
    let connected = within(CONNECT_MAX, pin!(ClientLink::connect(addresses))).await;
    connected.unwrap_or_else(|| Err(format!("no connection within {CONNECT_MAX:?}")))
}

/// Sends batches until there are no more.
pub(super) async fn send_lines(job: Rc<Job>, mut link: Option<ClientLink>) {
    while let Some(lines) = job.next_batch().await {
        let mut open = Vec::with_capacity(lines.len());
        for line in lines {
            match &line.body {
                Ok(_) => open.push(Some(line)),
                Err(unfit) => {
                    let (code, message) = (unfit.code.to_string(), unfit.message.clone());
                    job.settle(&line, Fate::Refused { code, message });
                }
            }
        }
        if job.send(&mut link, open).await.is_none() {
            return;
        }
    }
}

/// What one try came to, beside the lines that it settled.
enum Try {
    /// The node answered, but not every line is settled: for this reason.
    Busy(String),
    /// The node will take no line.
    Hopeless(String),
    /// No answer, or the front of one.
    Broken(String),
}

impl Job {
    /// Sends lines until the fate of each is known; `None` when the import stopped.
    async fn send(&self, link: &mut Option<ClientLink>, mut open: Vec<Option<Line>>) -> Option<()> {
        let mut pause = PAUSE_MIN;
        while !self.is_stopped() {
            open.retain(Option::is_some);
            let before = open.len();
            if before == 0 {
                return Some(());
            }
            let tried = self.try_once(link, &mut open).await;
            if open.iter().flatten().count() < before {
                self.last_answer.set(Instant::now());
                self.is_wait_said.set(false);
                pause = PAUSE_MIN;
            }
            let (why, patience) = match tried {
                None => {
                    self.trouble.replace(None);
                    return Some(());
                }
                Some(Try::Busy(why)) => (why, BUSY_MAX),
                Some(Try::Hopeless(why)) => (why, Duration::ZERO),
                Some(Try::Broken(why)) => {
                    *link = None;
                    (why, ABSENCE_MAX)
                }
            };
            if self.last_answer.get().elapsed() >= patience {
                self.stop(End::Node(format!("{}: {why}", self.host)));
                return None;
            }
            self.say_wait(&why, patience);
            self.trouble.replace(Some(why));
            // Senders that fail together must not come back together.
            Timer::after(pause.mul_f64(0.5 + fastrand::f64())).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
        None
    }

    /// On a terminal the bar says it.
    fn say_wait(&self, why: &str, patience: Duration) {
        let is_long = self.last_answer.get().elapsed() >= SILENCE_MAX;
        if is_long && !io::stderr().is_terminal() && !self.is_wait_said.replace(true) {
            complain(&format!("waiting, {patience:?} at most: {}: {why}", self.host));
        }
    }

    /// Sends `open` once and settles the lines whose fate the answer says; `None`: all of them.
    async fn try_once(
        &self,
        link: &mut Option<ClientLink>,
        open: &mut [Option<Line>],
    ) -> Option<Try> {
        let link = match link {
            Some(link) => link,
            None => match connect(&self.addresses).await {
                Ok(new) => link.insert(new),
                Err(why) => return Some(Try::Broken(why)),
            },
        };
        let request = match self.request(open) {
            Ok(request) => request,
            Err(error) => return Some(Try::Hopeless(error.to_string())),
        };
        let (mut lines, mut whole, mut why) = (BodyLines::default(), BytesMut::new(), None);
        let answered = link.exchange_by_piece(request, |head, piece| {
            if head.status != StatusCode::OK {
                whole.put(piece);
                return whole.len() <= ANSWER_BYTES_MAX;
            }
            lines.feed(piece);
            while let Some(line) = lines.next_line() {
                let text = line.text.unwrap_or_default();
                let Some(answer) = LineAnswer::read(&text) else {
                    why = Some(Try::Hopeless(NO_NODE.to_string()));
                    return false;
                };
                self.take(open, &answer, &mut why);
            }
            lines.held() <= ANSWER_BYTES_MAX
        });
        let answered = within(ANSWER_MAX, pin!(answered)).await;
        match answered {
            Some(Ok(head)) if head.status == StatusCode::OK => {
                if lines.last_line().is_some() {
                    return Some(Try::Hopeless(NO_NODE.to_string()));
                }
                // The last line of an answer that ends early says why.
                let unsaid = || Try::Broken("some lines have no answer".to_string());
                open.iter().any(Option::is_some).then(|| why.unwrap_or_else(unsaid))
            }
            Some(Ok(head)) => Some(match judge(head.status, &whole) {
                Verdict::Busy(why) => Try::Busy(why),
                Verdict::Hopeless(why) => Try::Hopeless(why),
            }),
            Some(Err(failure)) => match why {
                Some(Try::Hopeless(why)) => Some(Try::Hopeless(why)),
                _ => Some(Try::Broken(failure.to_string())),
            },
            None => Some(Try::Broken(format!("no answer within {ANSWER_MAX:?}"))),
        }
    }

    fn request(&self, open: &[Option<Line>]) -> http::Result<Request<Full<Bytes>>> {
        let texts = || open.iter().flatten().filter_map(|line| line.body.as_ref().ok());
        let mut body = BytesMut::with_capacity(texts().map(|text| text.len() + 1).sum());
        for text in texts() {
            body.put_slice(text);
            body.put_u8(b'\n');
        }
        let mut request = Request::post("/v1/assert/batch")
            .header(header::HOST, &self.host)
            .header(header::CONTENT_TYPE, NDJSON);
        if let Some(key) = &self.api_key {
            request = request.header(API_KEY, key.expose());
        }
        request.body(Full::new(body.freeze()))
    }

    /// Settles the line that an answer is about, unless it is to be sent again.
    fn take(&self, open: &mut [Option<Line>], answer: &LineAnswer, why: &mut Option<Try>) {
        let Some(slot) = answer.index().and_then(|index| open.get_mut(index)) else { return };
        match answer.verdict() {
            Ok(fate) => {
                if let Some(line) = slot.take() {
                    self.settle(&line, fate);
                }
            }
            Err(Verdict::Hopeless(reason)) => *why = Some(Try::Hopeless(reason)),
            Err(Verdict::Busy(reason)) => {
                why.get_or_insert(Try::Busy(reason));
            }
        }
    }
}
