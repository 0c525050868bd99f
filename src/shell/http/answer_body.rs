//! The body of an answer: there when the answer begins, or made while it is sent.
//!
//! In: bytes, or the work that makes them. Out: what hyper sends. hyper asks for more when it has
//! sent what it got, so that the work rests while its client does not read.
//!
//! Never: holds more of an answer than [`limits::HTTP_MADE_BYTES`] and what one step of the work
//! adds.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};

use super::slots::Admitted;
use crate::base::limits;

/// An answer of a handler.
pub type HttpAnswer = Response<AnswerBody>;

/// The body of an answer.
pub enum AnswerBody {
    /// All of it.
    Whole(Full<Bytes>),
    /// It is made while it is sent.
    Made(Box<MadeBody>),
}

/// A body, and the work that makes it.
pub struct MadeBody {
    /// `None` when it is done.
    work: Option<Pin<Box<dyn Future<Output = ()>>>>,
    outlet: Rc<Outlet>,
}

/// Makes something that is dropped when the answer is over.
type Keep = Box<dyn FnOnce() -> Box<dyn Any>>;

/// Where the work puts what it has made.
pub struct Outlet {
    text: RefCell<String>,
    admitted: Rc<Admitted>,
    /// Called when the work first stores something.
    keep: Cell<Option<Keep>>,
    kept: Cell<Option<Box<dyn Any>>>,
}

impl Outlet {
    /// Adds to the answer.
    pub fn put(&self, write: impl FnOnce(&mut String)) {
        write(&mut self.text.borrow_mut());
    }

    /// The work has stored something of the request.
    pub fn note_stored(&self) {
        if let Some(keep) = self.keep.take() {
            self.kept.set(Some(keep()));
        }
    }

    /// Whether the client has to take some of the answer before more is made.
    pub fn is_full(&self) -> bool {
        self.text.borrow().len() >= limits::HTTP_MADE_BYTES
    }

    /// Waits while it is full.
    pub async fn ready(&self) {
        // What empties it polls the work afterwards.
        poll_fn(|_| if self.is_full() { Poll::Pending } else { Poll::Ready(()) }).await;
    }

    fn take(&self) -> Option<Frame<Bytes>> {
        let text = self.text.take();
        (!text.is_empty()).then(|| Frame::data(text.into()))
    }
}

impl AnswerBody {
    /// All of an answer.
    pub fn whole(bytes: impl Into<Bytes>) -> AnswerBody {
        AnswerBody::Whole(Full::new(bytes.into()))
    }

    pub(super) fn made<W: Future<Output = ()> + 'static>(
        admitted: Rc<Admitted>,
        work: impl FnOnce(Rc<Outlet>) -> W,
    ) -> AnswerBody {
        let (text, keep, kept) = Default::default();
        let outlet = Rc::new(Outlet { text, admitted, keep, kept });
        let work = Some(Box::pin(work(outlet.clone())) as Pin<Box<dyn Future<Output = ()>>>);
        AnswerBody::Made(Box::new(MadeBody { work, outlet }))
    }

    /// From the first thing on that the work of this answer stores, keeps what `keep` makes until
    /// the answer is over. The work begins when the answer is sent.
    pub fn keep_once_stored(&mut self, keep: impl FnOnce() -> Box<dyn Any> + 'static) {
        if let AnswerBody::Made(made) = self {
            made.outlet.keep.set(Some(Box::new(keep)));
        }
    }

    pub(super) fn is_made(&self) -> bool {
        matches!(self, AnswerBody::Made(_))
    }
}

impl MadeBody {
    fn poll_made(&mut self, context: &mut Context<'_>) -> Poll<Option<Frame<Bytes>>> {
        if let Some(work) = &mut self.work
            && !self.outlet.is_full()
            && work.as_mut().poll(context).is_ready()
        {
            self.work = None;
        }
        match (self.outlet.take(), &self.work) {
            (Some(frame), _) => Poll::Ready(Some(frame)),
            (None, Some(_)) => Poll::Pending,
            (None, None) => {
                self.outlet.admitted.connection.end_stream();
                Poll::Ready(None)
            }
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            AnswerBody::Whole(full) => Pin::new(full).poll_frame(context),
            AnswerBody::Made(made) => made.poll_made(context).map(|frame| frame.map(Ok)),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            AnswerBody::Whole(full) => full.is_end_stream(),
            AnswerBody::Made(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            AnswerBody::Whole(full) => full.size_hint(),
            AnswerBody::Made(_) => SizeHint::default(),
        }
    }
}
