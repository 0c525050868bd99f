//! A scripted client against the server, over loopback, in one thread.

mod admission;
mod bounds;
mod services;

use std::cell::Cell;
use std::future::{Future, pending};
use std::rc::Rc;
use std::time::Duration;

use async_executor::LocalExecutor;
use bytes::Bytes;
use futures_lite::future::{or, yield_now};
use h2::client::{ResponseFuture, SendRequest};
use http::{HeaderMap, Request, StatusCode};

use super::{Answer, Bounds, Call, Server, Service};
use crate::base::{Secret, limits};
use crate::shell::runtime::reactor::{self, Timer};
use crate::shell::runtime::socket::{TcpListener, TcpStream};
use crate::wire::frame::prefix;
use crate::wire::grpc::{Code, Status};

/// Answers in each way there is.
struct Echo {
    /// Calls of `Hang` that are held at the moment.
    hanging: Rc<Cell<usize>>,
}

struct Held(Rc<Cell<usize>>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Service for Echo {
    fn name(&self) -> &'static str {
        "test.Echo"
    }

    fn methods(&self) -> &'static [&'static str] {
        &["Now", "Later", "Hang", "Fail", "Big", "Large", "Count"]
    }

    fn call(&self, method: &'static str, call: &Call) -> Answer {
        let message = call.message.clone();
        match method {
            "Now" => Answer::Now(Ok(message)),
            "Later" => Answer::Later(Box::pin(async {
                yield_now().await;
                Ok(message)
            })),
            "Hang" => {
                self.hanging.set(self.hanging.get() + 1);
                let held = Held(self.hanging.clone());
                Answer::Later(Box::pin(async move {
                    let _held = held;
                    pending().await
                }))
            }
            "Fail" => Answer::Now(Err(Status::new(Code::NotFound, "100% \u{263A}"))),
            "Big" => {
                let length = u32::from_be_bytes(message[..].try_into().expect("4 bytes"));
                Answer::Now(Ok(vec![7; length as usize].into()))
            }
            // Takes no more bytes than a number, however long the request is.
            "Count" => Answer::Now(Ok(message.len().to_be_bytes().to_vec().into())),
            "Large" => Answer::Large(
                limits::GRPC_MESSAGE_BYTES_MAX,
                Box::new(|granted| {
                    Box::pin(async move {
                        yield_now().await;
                        let length = u32::from_be_bytes(message[..].try_into().expect("4 bytes"));
                        Ok(vec![7; (length as usize).min(granted)].into())
                    })
                }),
            ),
            _ => unreachable!("only the listed methods are called"),
        }
    }
}

/// What came back.
#[derive(Debug)]
struct Received {
    http: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
    trailers: Option<HeaderMap>,
}

impl Received {
    fn code(&self) -> Code {
        let trailers = self.trailers.as_ref().unwrap_or(&self.headers);
        Code::parse(trailers.get("grpc-status").expect("each answer has a status").as_bytes())
    }

    fn message(&self) -> &str {
        let trailers = self.trailers.as_ref().unwrap_or(&self.headers);
        trailers.get("grpc-message").map_or("", |value| value.to_str().expect("ASCII"))
    }

    /// The one message of the answer.
    fn only(&self) -> &[u8] {
        assert_eq!(self.code(), Code::Ok, "{}", self.message());
        let (head, message) = self.body.split_at(5);
        assert_eq!(head, prefix(message.len()));
        message
    }
}

struct Bench {
    executor: Rc<LocalExecutor<'static>>,
    server: Server,
    address: std::net::SocketAddr,
    hanging: Rc<Cell<usize>>,
    stop: async_channel::Sender<()>,
}

/// Runs `script` against a fresh server, and stops that.
fn check<F: Future<Output = ()>>(script: impl FnOnce(Rc<Bench>) -> F) {
    check_with(None, Bounds::default(), script);
}

/// The same with a cluster key and other bounds.
fn check_with<F: Future<Output = ()>>(
    key: Option<&str>,
    bounds: Bounds,
    script: impl FnOnce(Rc<Bench>) -> F,
) {
    let executor = Rc::new(LocalExecutor::new());
    let listener = TcpListener::bind(([127, 0, 0, 1], 0).into()).expect("a free port");
    let hanging = Rc::new(Cell::new(0));
    let (stop, stopped) = async_channel::bounded::<()>(1);
    let bench = Rc::new(Bench {
        executor: executor.clone(),
        server: server(&hanging, key, bounds),
        address: listener.local_addr().expect("bound"),
        hanging,
        stop,
    });
    let (server, runs) = (bench.server.clone(), executor.clone());
    let serving = executor.spawn(async move {
        let stop = async {
            let _ = stopped.recv().await;
        };
        server.serve(&runs, listener, stop).await;
    });
    let script = async {
        script(bench.clone()).await;
        bench.stop.close();
        serving.await;
        assert_eq!(bench.server.connections(), 0);
    };
    let late = async {
        Timer::after(Duration::from_secs(60)).await;
        panic!("the script does not end");
    };
    reactor::current().expect("a reactor").block_on(&executor, or(script, late));
}

fn server(hanging: &Rc<Cell<usize>>, key: Option<&str>, bounds: Bounds) -> Server {
    let key = key.map(|key| Secret::new(key).expect("a secret"));
    Server::new(vec![Box::new(Echo { hanging: hanging.clone() })], key.as_ref(), bounds)
}

/// Waits until `done`, letting all other tasks go on.
async fn until(done: impl Fn() -> bool) {
    while !done() {
        Timer::after(Duration::from_millis(1)).await;
    }
}

type Body = h2::SendStream<Bytes>;

impl Bench {
    async fn connect(&self) -> SendRequest<Bytes> {
        let stream = TcpStream::connect(self.address).await.expect("the server listens");
        let mut builder = h2::client::Builder::new();
        builder.initial_max_send_streams(1000);
        let (send, connection) = builder.handshake(stream).await.expect("the server speaks h2");
        self.executor
            .spawn(async {
                let _ = connection.await;
            })
            .detach();
        send
    }

    async fn unary(&self, method: &str, message: &[u8]) -> Received {
        let mut send = self.connect().await;
        let path = format!("/test.Echo/{method}");
        call(&mut send, &path, &[&framed(message)]).await
    }
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&prefix(message.len()), message].concat()
}

fn request(path: &str) -> Request<()> {
    Request::post(format!("http://test{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .expect("a request")
}

fn open(send: &mut SendRequest<Bytes>, request: Request<()>) -> (ResponseFuture, Body) {
    send.send_request(request, false).expect("an open connection")
}

/// Sends each of `pieces` as a DATA frame of its own, the last one with END_STREAM.
fn send_all(body: &mut Body, pieces: &[&[u8]]) {
    for (index, piece) in pieces.iter().enumerate() {
        let last = index + 1 == pieces.len();
        body.send_data(Bytes::copy_from_slice(piece), last).expect("an open stream");
    }
}

async fn call(send: &mut SendRequest<Bytes>, path: &str, pieces: &[&[u8]]) -> Received {
    let (response, mut body) = open(send, request(path));
    send_all(&mut body, pieces);
    receive(response).await.expect("an answer")
}

async fn receive(response: ResponseFuture) -> Result<Received, h2::Error> {
    let (head, mut stream) = response.await?.into_parts();
    let mut body = Vec::new();
    while let Some(piece) = stream.data().await {
        let piece = piece?;
        body.extend_from_slice(&piece);
        stream.flow_control().release_capacity(piece.len())?;
    }
    let trailers = stream.trailers().await?;
    Ok(Received { http: head.status, headers: head.headers, body, trailers })
}

#[test]
fn answers_come_at_once_or_later() {
    check(|bench| async move {
        let mut send = bench.connect().await;
        for method in ["/test.Echo/Now", "/test.Echo/Later"] {
            for message in [&b""[..], b"hello", &[1; 40_000], &[2; 300_000]] {
                let reply = call(&mut send, method, &[&framed(message)]).await;
                assert_eq!(reply.only(), message);
                assert_eq!(reply.http, 200);
                assert_eq!(reply.headers["content-type"], "application/grpc");
            }
        }
        let counts = bench.server.counts();
        assert_eq!(counts[0], ("test.Echo", "Now", Code::Ok, 4));
        assert_eq!(counts[1], ("test.Echo", "Later", Code::Ok, 4));
    });
}

#[test]
fn an_error_is_one_header_block_with_an_escaped_message() {
    check(|bench| async move {
        let reply = bench.unary("Fail", b"").await;
        assert_eq!((reply.http, reply.code()), (StatusCode::OK, Code::NotFound));
        assert_eq!(reply.message(), "100%25 %E2%98%BA");
        assert_eq!(reply.headers["content-type"], "application/grpc");
        assert!(reply.trailers.is_none() && reply.body.is_empty());
    });
}

#[test]
fn what_is_no_grpc_is_refused_by_http_status_and_by_one_of_grpc() {
    check(|bench| async move {
        let mut send = bench.connect().await;
        let rows = [
            ("", 415, Code::InvalidArgument),
            ("application/json", 415, Code::InvalidArgument),
            ("application/grpc-web+proto", 415, Code::InvalidArgument),
            ("application/grpc+json", 200, Code::Unimplemented),
        ];
        for (content_type, http, code) in rows {
            let mut request = request("/test.Echo/Now");
            request.headers_mut().remove("content-type");
            if !content_type.is_empty() {
                let value = content_type.parse().expect("a header value");
                request.headers_mut().insert("content-type", value);
            }
            let (response, _body) = open(&mut send, request);
            let reply = receive(response).await.expect("an answer");
            assert_eq!((reply.http.as_u16(), reply.code()), (http, code), "{content_type:?}");
            assert_eq!(reply.headers["content-type"], "application/grpc");
            assert!(reply.message().contains("content-type") || http == 200, "{reply:?}");
        }
        let mut upper = request("/test.Echo/Now");
        let value = "Application/GRPC+Proto".parse().expect("a header value");
        upper.headers_mut().insert("content-type", value);
        let (response, mut body) = open(&mut send, upper);
        send_all(&mut body, &[&framed(b"x")]);
        assert_eq!(receive(response).await.expect("an answer").only(), b"x");
        let mut get = request("/test.Echo/Now");
        *get.method_mut() = http::Method::GET;
        let (response, _body) = open(&mut send, get);
        let reply = receive(response).await.expect("an answer");
        assert_eq!((reply.http, reply.code()), (StatusCode::METHOD_NOT_ALLOWED, Code::Internal));
        assert_eq!(reply.headers["allow"], "POST");
        assert_eq!(call(&mut send, "/test.Echo/Now", &[&framed(b"x")]).await.only(), b"x");
    });
}

#[test]
fn unknown_methods_and_services_are_unimplemented_before_their_body_is_there() {
    check(|bench| async move {
        let mut send = bench.connect().await;
        let rows = [
            ("/test.Echo/None", "test.Echo has no method None"),
            ("/test.None/Now", "there is no service test.None here"),
            ("/odd", "\"/odd\" is not the path of a method, /package.Service/Method"),
        ];
        for (path, message) in rows {
            let (response, _body) = open(&mut send, request(path));
            let reply = receive(response).await.expect("an answer");
            assert_eq!((reply.code(), reply.message()), (Code::Unimplemented, message));
        }
        assert_eq!(bench.server.counts(), [("", "", Code::Unimplemented, 3)]);
    });
}

#[test]
fn broken_requests_get_the_code_that_says_why() {
    check(|bench| async move {
        let mut send = bench.connect().await;
        let two = [framed(b"one"), framed(b"two")].concat();
        let rows: [(&[&[u8]], Code, &str); 9] = [
            (&[&[]], Code::Unimplemented, "none came"),
            (&[&two], Code::Unimplemented, "more than one"),
            (&[&framed(b"one"), &framed(b"two")], Code::Unimplemented, "more than one"),
            (&[&[0, 0]], Code::Internal, "2 of a message's 5 prefix bytes"),
            (&[&[0, 0, 0, 0, 9, 1]], Code::Internal, "1 of a message's 9 bytes"),
            (&[&framed(b"one"), &[0]], Code::Internal, "1 of a message's 5 prefix bytes"),
            (&[&[1, 0, 0, 0, 0]], Code::Internal, "flagged as compressed"),
            (&[&[9, 0, 0, 0, 0]], Code::Internal, "first byte is 9"),
            (&[&[0, 255, 255, 255, 255]], Code::ResourceExhausted, "4294967295 bytes"),
        ];
        for (pieces, code, text) in rows {
            let reply = call(&mut send, "/test.Echo/Now", pieces).await;
            assert_eq!(reply.code(), code, "{pieces:?}");
            assert!(reply.message().contains(text), "{pieces:?}: {}", reply.message());
        }
        assert_eq!(call(&mut send, "/test.Echo/Now", &[&framed(b"x")]).await.only(), b"x");
    });
}

#[test]
fn a_too_long_message_is_refused_at_its_prefix() {
    check(|bench| async move {
        let mut send = bench.connect().await;
        let (response, mut body) = open(&mut send, request("/test.Echo/Now"));
        let head = prefix(limits::GRPC_MESSAGE_BYTES_MAX + 1);
        body.send_data(Bytes::copy_from_slice(&head), false).expect("open");
        let reply = receive(response).await.expect("an answer, though the body never ends");
        assert_eq!(reply.code(), Code::ResourceExhausted);
        assert!(reply.message().contains("at most 4194304"), "{}", reply.message());
    });
}

#[test]
fn compressed_requests_are_refused_with_what_is_known() {
    check(|bench| async move {
        let mut send = bench.connect().await;
        let mut request = request("/test.Echo/Now");
        request.headers_mut().insert("grpc-encoding", "gzip".parse().expect("a value"));
        let (response, _body) = open(&mut send, request);
        let reply = receive(response).await.expect("an answer");
        assert_eq!(reply.code(), Code::Unimplemented);
        assert_eq!(reply.headers["grpc-accept-encoding"], "identity");
    });
}
