//! `POST /v1/assert/batch`: claims by the line, answered by the line while they come.
//!
//! In: the body, piece by piece. Out: a line of the answer for each line, in their order. Lines are
//! read on while the disk writes those before, so that one flush is for thousands of them.
//!
//! Bounded: lines without an answer by `limits::BATCH_LINES_MAX` and, with the listener's other
//! bodies, by bytes; the answer by what its client has not taken. A client that does not read is
//! read from no more.
//!
//! Never: ends because of a bad line, answers a line before its claim is as durable as it must be.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_lite::future;

use crate::base::{Digest, limits};
use crate::model::{Draft, Sealed};
use crate::replica::Fate;
use crate::shell::driver::Driver;
use crate::shell::driver::batch::OfferedClaim;
use crate::shell::http::{Body, Outlet};
use crate::shell::runtime::reactor::yield_now;
use crate::wire::json::answer::Presence;
use crate::wire::json::{self, batch};
use crate::wire::lines::{BodyLine, BodyLines};
use crate::wire::rejection::Rejection;

/// Lines that are worked on before sockets are served again: about half a millisecond.
const LINES_STEP: usize = 64;

/// What one line has come to.
enum LineEnd {
    Taken(Digest, Presence),
    Refused(Rejection),
}

/// A line without an answer.
struct OpenLine<'a> {
    number: u64,
    /// Bytes that the budget counts for it.
    held: usize,
    state: LineState<'a>,
}

enum LineState<'a> {
    Known(LineEnd),
    /// The disk has it.
    Offered(OfferedClaim<'a>),
}

/// A batch under way.
struct Batch<'a> {
    driver: &'a Driver,
    body: Body,
    outlet: &'a Outlet,
    lines: BodyLines,
    /// In the order of the body, which is that of the answer.
    open: VecDeque<OpenLine<'a>>,
    /// Bytes that the budget counts for those.
    held: usize,
}

/// Takes the claims of `body` until it ends, and answers them.
pub(super) async fn run(driver: Rc<Driver>, body: Body, outlet: Rc<Outlet>) {
    let (lines, open) = Default::default();
    let mut batch = Batch { driver: &driver, body, outlet: &outlet, lines, open, held: 0 };
    let end = batch.take_all().await;
    driver.end_bulk();
    while !batch.open.is_empty() {
        batch.settle().await;
    }
    if let Err(rejection) = end {
        // The line that was being read is the first that was not taken.
        batch.write(batch.lines.number(), &LineEnd::Refused(rejection));
        batch.body.give_up();
    }
}

impl Batch<'_> {
    async fn take_all(&mut self) -> Result<(), Rejection> {
        while let Some(piece) = self.next_piece().await? {
            self.reserve(piece.len()).await;
            self.lines.feed(piece);
            while self.step().await {}
        }
        let last = self.lines.last_line();
        self.take_lines(last.into_iter().collect()).await;
        Ok(())
    }

    /// The next piece of the body; meanwhile lines are answered.
    async fn next_piece(&mut self) -> Result<Option<Bytes>, Rejection> {
        loop {
            self.outlet.ready().await;
            while self.open.len() >= limits::BATCH_LINES_MAX {
                self.settle().await;
            }
            let Batch { open, body, .. } = self;
            if open.is_empty() {
                return body.next_piece(false).await;
            }
            let piece = async { Some(body.next_piece(true).await) };
            let first = async {
                poll_fn(|context| poll_first(open, context)).await;
                None
            };
            match future::or(piece, first).await {
                Some(piece) => return piece,
                None => self.settle().await,
            }
        }
    }

    /// Takes budget for so many bytes more.
    async fn reserve(&mut self, bytes: usize) {
        loop {
            let all = self.held + self.lines.held() + bytes;
            if self.body.try_hold(all) {
                return;
            }
            if self.open.is_empty() {
                // Two that hold something and wait for more would wait for each other.
                self.body.try_hold(0);
                return self.body.hold(all).await;
            }
            self.settle().await;
        }
    }

    /// Takes a few lines of the piece; false: it has no more.
    async fn step(&mut self) -> bool {
        let mut some = Vec::with_capacity(LINES_STEP);
        while some.len() < LINES_STEP
            && let Some(line) = self.lines.next_line()
        {
            some.push(line);
        }
        let is_all = some.len() < LINES_STEP;
        self.take_lines(some).await;
        yield_now().await;
        !is_all
    }

    /// Checks the claims of some lines, judges their signatures and offers them.
    async fn take_lines(&mut self, lines: Vec<BodyLine>) {
        let mut heads = Vec::with_capacity(lines.len());
        let mut drafts: Vec<Draft> = Vec::with_capacity(lines.len());
        for BodyLine { number, text } in lines {
            let held = text.as_ref().map_or(0, Bytes::len);
            let read = text.ok_or(Rejection::BodyTooLarge).and_then(|text| parse(number, &text));
            let read = read.map(|body| match body {
                json::AssertBody::Claim(draft) => {
                    drafts.push(*draft);
                    None
                }
                json::AssertBody::Bytes(sealed) => Some(sealed),
            });
            heads.push((number, held, read));
        }
        let mut claims = self.driver.seal_all(drafts).into_iter();
        let mut sealed = Vec::with_capacity(heads.len());
        let heads: Vec<_> = heads
            .into_iter()
            .map(|(number, held, read)| {
                let read = read.and_then(|bytes| match bytes {
                    Some(bytes) => Ok(bytes),
                    None => claims.next().expect("one of each").map_err(Rejection::Invalid),
                });
                (number, held, read.map(|claim| sealed.push(claim)))
            })
            .collect();
        let verdicts = self.driver.judge_all(&sealed).await;
        let mut judged = sealed.into_iter().zip(verdicts);
        for (number, held, read) in heads {
            let claim = read.and_then(|()| {
                let (claim, verdict) = judged.next().expect("one of each");
                verdict.map_err(Rejection::Invalid).map(|()| claim)
            });
            let state = match claim {
                Ok(claim) => LineState::Offered(self.offer(claim).await),
                Err(rejection) => LineState::Known(LineEnd::Refused(rejection)),
            };
            self.held += held;
            self.open.push_back(OpenLine { number, held, state });
        }
    }
}

impl<'a> Batch<'a> {
    /// Offers a claim when the queue has space for one of a batch.
    async fn offer(&mut self, claim: Sealed) -> OfferedClaim<'a> {
        while !self.driver.has_bulk_space(claim.bytes().len()) {
            match self.open.is_empty() {
                true => self.driver.written().await,
                false => self.settle().await,
            }
        }
        self.driver.offer_in_bulk(claim)
    }

    /// Waits until the first line is done with, and answers those that are, as far as the client
    /// takes the answers.
    async fn settle(&mut self) {
        poll_fn(|context| poll_first(&mut self.open, context)).await;
        while let Some(OpenLine { state: LineState::Known(_), .. }) = self.open.front()
            && !self.outlet.is_full()
        {
            let Some(OpenLine { number, held, state: LineState::Known(end) }) =
                self.open.pop_front()
            else {
                unreachable!("it was looked at");
            };
            self.held -= held;
            self.write(number, &end);
            // The next one is known, too, if one flush was for both.
            let _ = poll_fn(|context| Poll::Ready(poll_first(&mut self.open, context))).await;
        }
        // Less than was held before always fits.
        self.body.try_hold(self.held + self.lines.held());
        self.outlet.ready().await;
    }

    fn write(&self, number: u64, end: &LineEnd) {
        if let LineEnd::Taken(..) = end {
            self.outlet.note_stored();
        }
        self.outlet.put(|out| match end {
            LineEnd::Taken(digest, presence) => batch::taken(number, digest, *presence, out),
            LineEnd::Refused(rejection) => {
                batch::refused(number, rejection.status().1, &rejection.to_string(), out);
            }
        });
    }
}

fn parse(number: u64, text: &[u8]) -> Result<json::AssertBody, Rejection> {
    json::parse_body(text).map_err(|mut malformed| {
        // It has no line feed: the only line that the reader knows of is this one.
        malformed.line = usize::try_from(number).unwrap_or(usize::MAX);
        Rejection::Json(malformed)
    })
}

/// Ready when the first line's end is known, or there is no line.
fn poll_first(open: &mut VecDeque<OpenLine<'_>>, context: &mut Context<'_>) -> Poll<()> {
    let Some(first) = open.front_mut() else { return Poll::Ready(()) };
    if let LineState::Offered(claim) = &mut first.state {
        let end = match std::task::ready!(Pin::new(&mut claim.fate).poll(context)) {
            Fate::Created => LineEnd::Taken(claim.digest, Presence::New),
            Fate::Exists => LineEnd::Taken(claim.digest, Presence::Known),
            Fate::Refused(refusal) => LineEnd::Refused(Rejection::Log(refusal)),
        };
        first.state = LineState::Known(end);
    }
    Poll::Ready(())
}
