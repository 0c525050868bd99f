//! A scripted client against the server, over loopback, in one thread.

use std::cell::Cell;
use std::future::{Future, pending};
use std::io::{Read, Write};
use std::rc::Rc;
use std::time::Duration;

use async_executor::LocalExecutor;
use bytes::Bytes;
use futures_lite::future::{or, yield_now};
use h2::Reason;
use h2::client::{ResponseFuture, SendRequest};
use http::{HeaderMap, Request, StatusCode};
use prost::Message;

use super::{Answer, Call, Server, Service};
use crate::base::limits;
use crate::shell::reactor::{self, Timer};
use crate::shell::socket::{TcpListener, TcpStream};
use crate::wire::frame::{PREFIX_BYTES, prefix};
use crate::wire::grpc::{Code, Status};
use crate::wire::pb::health::{HealthCheckRequest, HealthCheckResponse};
use crate::wire::pb::reflection::server_reflection_request::MessageRequest;
use crate::wire::pb::reflection::server_reflection_response::MessageResponse;
use crate::wire::pb::reflection::{ServerReflectionRequest, ServerReflectionResponse};

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
        &["Now", "Later", "Hang", "Fail", "Big", "Metadata"]
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
            "Metadata" => {
                let text = call.metadata("x-text").unwrap_or("none").to_owned();
                let binary = call.binary_metadata("x-data-bin").unwrap_or_default().concat();
                Answer::Now(Ok([text.as_bytes(), &binary].concat().into()))
            }
            _ => unreachable!("only the listed methods are called"),
        }
    }
}

/// What came back.
#[derive(Debug)]
struct Reply {
    http: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
    trailers: Option<HeaderMap>,
}

impl Reply {
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
    let executor = Rc::new(LocalExecutor::new());
    let listener = TcpListener::bind(([127, 0, 0, 1], 0).into()).expect("a free port");
    let hanging = Rc::new(Cell::new(0));
    let (stop, stopped) = async_channel::bounded::<()>(1);
    let bench = Rc::new(Bench {
        executor: executor.clone(),
        server: Server::new(vec![Box::new(Echo { hanging: hanging.clone() })]),
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
    reactor::current().expect("epoll").block_on(&executor, or(script, late));
}

/// Waits until `done`, letting everybody else go on.
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

    async fn unary(&self, method: &str, message: &[u8]) -> Reply {
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
    for (place, piece) in pieces.iter().enumerate() {
        let last = place + 1 == pieces.len();
        body.send_data(Bytes::copy_from_slice(piece), last).expect("an open stream");
    }
}

async fn call(send: &mut SendRequest<Bytes>, path: &str, pieces: &[&[u8]]) -> Reply {
    let (response, mut body) = open(send, request(path));
    send_all(&mut body, pieces);
    receive(response).await.expect("an answer")
}

async fn receive(response: ResponseFuture) -> Result<Reply, h2::Error> {
    let (head, mut stream) = response.await?.into_parts();
    let mut body = Vec::new();
    while let Some(piece) = stream.data().await {
        let piece = piece?;
        body.extend_from_slice(&piece);
        stream.flow_control().release_capacity(piece.len())?;
    }
    let trailers = stream.trailers().await?;
    Ok(Reply { http: head.status, headers: head.headers, body, trailers })
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
fn metadata_reaches_the_service() {
    check(|bench| async move {
        let mut send = bench.connect().await;
        let mut request = request("/test.Echo/Metadata");
        request.headers_mut().insert("x-text", "text ".parse().expect("a value"));
        request.headers_mut().insert("x-data-bin", "Zm9v,YmFy".parse().expect("a value"));
        let (response, mut body) = open(&mut send, request);
        send_all(&mut body, &[&framed(b"")]);
        let reply = receive(response).await.expect("an answer");
        assert_eq!(reply.only(), b"text foobar");
    });
}

#[test]
fn what_is_no_grpc_is_refused_by_http_status() {
    check(|bench| async move {
        let mut send = bench.connect().await;
        for content_type in ["", "application/json", "application/grpc-web+proto"] {
            let mut request = request("/test.Echo/Now");
            request.headers_mut().remove("content-type");
            if !content_type.is_empty() {
                let value = content_type.parse().expect("a header value");
                request.headers_mut().insert("content-type", value);
            }
            let (response, _body) = open(&mut send, request);
            let reply = receive(response).await.expect("an answer");
            assert_eq!(reply.http, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{content_type:?}");
        }
        let mut get = request("/test.Echo/Now");
        *get.method_mut() = http::Method::GET;
        let (response, _body) = open(&mut send, get);
        let reply = receive(response).await.expect("an answer");
        assert_eq!(reply.http, StatusCode::METHOD_NOT_ALLOWED);
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

fn timed(path: &str, timeout: &str) -> Request<()> {
    let mut request = request(path);
    request.headers_mut().insert("grpc-timeout", timeout.parse().expect("a value"));
    request
}

#[test]
fn deadlines_end_calls_that_wait_for_either_side() {
    check(|bench| async move {
        let mut send = bench.connect().await;
        let (hangs, mut body) = open(&mut send, timed("/test.Echo/Hang", "20m"));
        send_all(&mut body, &[&framed(b"")]);
        let (never_sent, _body) = open(&mut send, timed("/test.Echo/Now", "20m"));
        let (zero, mut zero_body) = open(&mut send, timed("/test.Echo/Hang", "0n"));
        send_all(&mut zero_body, &[&framed(b"")]);
        for response in [hangs, never_sent, zero] {
            let reply = receive(response).await.expect("an answer");
            assert_eq!(reply.code(), Code::DeadlineExceeded, "{}", reply.message());
        }
        assert_eq!(bench.hanging.get(), 0);
        let (response, mut body) = open(&mut send, timed("/test.Echo/Now", "20 s"));
        send_all(&mut body, &[&framed(b"")]);
        let reply = receive(response).await.expect("an answer");
        assert_eq!(reply.code(), Code::Internal);
        assert!(reply.message().contains("grpc-timeout"), "{}", reply.message());
    });
}

#[test]
fn a_call_that_is_taken_back_is_dropped() {
    check(|bench| async move {
        let mut send = bench.connect().await;
        let (response, mut body) = open(&mut send, request("/test.Echo/Hang"));
        send_all(&mut body, &[&framed(b"")]);
        until(|| bench.hanging.get() == 1).await;
        body.send_reset(Reason::CANCEL);
        drop(response);
        until(|| bench.hanging.get() == 0).await;
        until(|| bench.server.counts() == [("test.Echo", "Hang", Code::Cancelled, 1)]).await;
        assert_eq!(call(&mut send, "/test.Echo/Now", &[&framed(b"x")]).await.only(), b"x");
    });
}

#[test]
fn a_client_that_vanishes_takes_its_calls_along() {
    check(|bench| async move {
        let mut send = bench.connect().await;
        let (response, mut body) = open(&mut send, request("/test.Echo/Hang"));
        send_all(&mut body, &[&framed(b"")]);
        until(|| bench.hanging.get() == 1).await;
        drop((response, body, send));
        until(|| bench.hanging.get() == 0 && bench.server.connections() == 0).await;
    });
}

#[test]
fn a_hundred_streams_at_once_in_tiny_pieces_with_an_empty_end() {
    check(|bench| async move {
        let mut send = bench.connect().await;
        for round in 0..5 {
            let mut calls = Vec::new();
            for number in 0..100_u8 {
                let method = ["/test.Echo/Now", "/test.Echo/Later"][usize::from(number % 2)];
                let message = framed(&[number; 23]);
                let (response, mut body) = open(&mut send, request(method));
                send_all(&mut body, &[&message[..4], &message[4..], &[]]);
                calls.push((number, response));
            }
            for (number, response) in calls {
                let reply = receive(response).await.expect("an answer");
                assert_eq!(reply.only(), [number; 23], "round {round}");
            }
        }
    });
}

#[test]
fn answers_larger_than_any_window_arrive_whole_and_leave_nothing() {
    check(|bench| async move {
        let mut send = bench.connect().await;
        let length = 3_000_000_u32;
        let both: Vec<_> = (0..2)
            .map(|_| {
                let (response, mut body) = open(&mut send, request("/test.Echo/Big"));
                send_all(&mut body, &[&framed(&length.to_be_bytes())]);
                bench.executor.spawn(receive(response))
            })
            .collect();
        for reply in both {
            assert_eq!(reply.await.expect("an answer").only().len(), length as usize);
        }
        assert_eq!(bench.server.shared.unsent.used(), 0);
        assert_eq!(bench.server.shared.held.used(), 0);
    });
}

#[test]
fn answers_that_nobody_reads_are_bounded() {
    check(|bench| async move {
        let mut send = bench.connect().await;
        let length = limits::GRPC_MESSAGE_BYTES_MAX as u32;
        let mut calls = Vec::new();
        for _ in 0..3 {
            let (response, mut body) = open(&mut send, request("/test.Echo/Big"));
            send_all(&mut body, &[&framed(&length.to_be_bytes())]);
            // The header block is an answer's sign of life; the body stays where it is.
            calls.push(response.await.expect("an answer"));
        }
        let last = calls.pop().expect("three");
        assert_eq!(last.headers()["grpc-status"], Code::ResourceExhausted.digits());
        drop(calls);
        until(|| bench.server.shared.unsent.used() == 0).await;
        let reply = call(&mut send, "/test.Echo/Big", &[&framed(&length.to_be_bytes())]).await;
        assert_eq!(reply.only().len(), length as usize);
    });
}

#[test]
fn requests_that_never_end_are_bounded() {
    check(|bench| async move {
        let mut send = bench.connect().await;
        let unfinished = limits::GRPC_MESSAGE_BYTES_MAX - 9;
        let mut start = |length: usize| {
            let (response, mut body) = open(&mut send, request("/test.Echo/Now"));
            let whole = Bytes::from(framed(&vec![0; limits::GRPC_MESSAGE_BYTES_MAX]));
            body.send_data(whole.slice(..PREFIX_BYTES + length), false).expect("open");
            (response, body)
        };
        let _open = [start(unfinished), start(unfinished)];
        until(|| bench.server.shared.held.used() == 2 * unfinished).await;
        let (response, _body) = start(100);
        let reply = receive(response).await.expect("an answer");
        assert_eq!(reply.code(), Code::ResourceExhausted);
        assert!(reply.message().contains("no room"), "{}", reply.message());
    });
}

#[test]
fn a_stop_lets_running_calls_end_and_takes_no_new_ones() {
    check(|bench| async move {
        let mut send = bench.connect().await;
        let (first, mut first_body) = open(&mut send, request("/test.Echo/Now"));
        until(|| bench.server.shared.calls.get() == 1).await;
        bench.stop.close();
        until(|| std::net::TcpStream::connect(bench.address).is_err()).await;
        send_all(&mut first_body, &[&framed(b"last words")]);
        let reply = receive(first).await.expect("the call was there before the stop");
        assert_eq!(reply.only(), b"last words");
        until(|| bench.server.connections() == 0).await;
        let refused = match send.send_request(request("/test.Echo/Now"), true) {
            Err(_) => true,
            Ok((response, _)) => receive(response).await.is_err(),
        };
        assert!(refused);
    });
}

#[test]
fn health_is_checked_and_watched() {
    let ask =
        |service: &str| framed(&HealthCheckRequest { service: service.to_owned() }.encode_to_vec());
    let read = |message: &[u8]| HealthCheckResponse::decode(message).expect("an answer").status;
    check(|bench| async move {
        let mut send = bench.connect().await;
        for service in ["", "test.Echo", "grpc.health.v1.Health"] {
            let reply = call(&mut send, "/grpc.health.v1.Health/Check", &[&ask(service)]).await;
            assert_eq!(read(reply.only()), 1);
        }
        let reply = call(&mut send, "/grpc.health.v1.Health/Check", &[&ask("none")]).await;
        assert_eq!(reply.code(), Code::NotFound);
        let mut watches = Vec::new();
        for service in ["", "none"] {
            let (response, mut body) = open(&mut send, request("/grpc.health.v1.Health/Watch"));
            send_all(&mut body, &[&ask(service)]);
            let mut stream = response.await.expect("an answer").into_body();
            let first = stream.data().await.expect("a message").expect("whole");
            watches.push((read(&first[5..]), stream));
        }
        bench.stop.close();
        for ((first, mut stream), expected) in watches.into_iter().zip([1, 3]) {
            let second = stream.data().await.expect("a message").expect("whole");
            assert_eq!((first, read(&second[5..])), (expected, 2));
            assert!(stream.data().await.is_none());
            let trailers = stream.trailers().await.expect("a whole stream").expect("trailers");
            assert_eq!(trailers["grpc-status"], Code::Unavailable.digits());
        }
    });
}

#[test]
fn reflection_answers_in_order_in_both_versions() {
    let questions = [
        MessageRequest::ListServices(String::new()),
        MessageRequest::FileContainingSymbol("none".to_owned()),
        MessageRequest::FileByFilename("sync.proto".to_owned()),
    ];
    let questions: Vec<Vec<u8>> = questions
        .into_iter()
        .map(|question| {
            let request =
                ServerReflectionRequest { message_request: Some(question), ..Default::default() };
            framed(&request.encode_to_vec())
        })
        .collect();
    check(|bench| async move {
        let mut send = bench.connect().await;
        for version in ["v1", "v1alpha"] {
            let path = format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
            let all = questions.concat();
            let reply = call(&mut send, &path, &[&all[..7], &all[7..]]).await;
            assert_eq!(reply.code(), Code::Ok);
            let mut answers = Vec::new();
            let (mut reader, mut rest) =
                (crate::wire::frame::Reader::new(100_000), Bytes::from(reply.body));
            while let Some(message) = reader.read(&mut rest).expect("well framed") {
                answers.push(ServerReflectionResponse::decode(message).expect("an answer"));
            }
            let kinds: Vec<_> = answers.into_iter().map(|answer| answer.message_response).collect();
            let [Some(list), Some(error), Some(file)] = &kinds[..] else { panic!("{kinds:?}") };
            let MessageResponse::ListServicesResponse(list) = list else { panic!("{list:?}") };
            let names: Vec<_> = list.service.iter().map(|service| &service.name[..]).collect();
            assert_eq!(names[..2], ["test.Echo", "grpc.health.v1.Health"]);
            assert!(
                matches!(error, MessageResponse::ErrorResponse(error) if error.error_code == 5)
            );
            assert!(matches!(file, MessageResponse::FileDescriptorResponse(_)));
        }
    });
}

#[test]
fn whatever_bytes_come_the_server_lives() {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let junk: [&[u8]; 5] = [
        b"GET / HTTP/1.1\r\n\r\n",
        &preface[..10],
        &[preface, &b"junk that is no frame at all"[..]].concat(),
        &[preface, &settings[..], &[0, 0, 9, 0, 1, 0, 0, 0, 1, 1, 2, 3]].concat(),
        &[preface, &settings[..], &[255, 255, 255, 1, 4, 0, 0, 0, 1]].concat(),
    ];
    check(|bench| async move {
        for bytes in junk {
            let mut socket = std::net::TcpStream::connect(bench.address).expect("listening");
            socket.write_all(bytes).expect("small");
            socket.shutdown(std::net::Shutdown::Write).expect("open");
            socket.set_nonblocking(true).expect("a socket");
            until(|| match (&socket).read(&mut [0; 100]) {
                Ok(count) => count == 0,
                Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
            })
            .await;
            assert_eq!(bench.unary("Now", b"x").await.only(), b"x");
            until(|| bench.server.connections() == 0).await;
        }
    });
}

#[test]
fn past_the_limit_of_connections_the_longest_idle_one_makes_room() {
    check(|bench| async move {
        let mut busy = bench.connect().await;
        let (hanging, mut body) = open(&mut busy, request("/test.Echo/Hang"));
        send_all(&mut body, &[&framed(b"")]);
        until(|| bench.hanging.get() == 1).await;
        let mut idle = Vec::new();
        while bench.server.connections() < limits::CONNECTIONS_MAX {
            idle.push(bench.connect().await);
        }
        assert_eq!(bench.unary("Now", b"x").await.only(), b"x");
        assert!(bench.server.connections() <= limits::CONNECTIONS_MAX);
        assert_eq!(bench.hanging.get(), 1, "a connection in use is left alone");
        drop((hanging, body, idle));
    });
}
