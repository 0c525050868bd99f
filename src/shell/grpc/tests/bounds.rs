//! Clients that wait, leave, flood or say what makes no sense.
//!
//! Never: looks at what a service answers.

use std::cell::RefCell;
use std::io::{Read, Write};

use h2::Reason;

use super::*;
use crate::wire::frame::PREFIX_BYTES;

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
                let (response, mut body) = open(&mut send, request("/test.Echo/Large"));
                send_all(&mut body, &[&framed(&length.to_be_bytes())]);
                bench.executor.spawn(receive(response))
            })
            .collect();
        for reply in both {
            assert_eq!(reply.await.expect("an answer").only().len(), length as usize);
        }
        assert_eq!(bench.server.shared.state.unsent.used(), 0);
        assert_eq!(bench.server.shared.state.held.used(), 0);
    });
}

fn length(bytes: usize) -> Vec<u8> {
    framed(&u32::try_from(bytes).expect("a message").to_be_bytes())
}

#[test]
fn answers_that_no_client_reads_are_bounded() {
    check(|bench| async move {
        let mut send = bench.connect().await;
        let message = length(limits::GRPC_MESSAGE_BYTES_MAX);
        let mut calls = Vec::new();
        for _ in 0..2 {
            let (response, mut body) = open(&mut send, request("/test.Echo/Big"));
            send_all(&mut body, &[&message]);
            // The header block is an answer's sign of life; the body stays where it is.
            calls.push(response.await.expect("an answer"));
        }
        let last = calls.pop().expect("two");
        assert_eq!(last.headers()["grpc-status"], Code::ResourceExhausted.digits());
        drop(calls);
        until(|| bench.server.shared.state.unsent.used() == 0).await;
        let reply = call(&mut send, "/test.Echo/Big", &[&message]).await;
        assert_eq!(reply.only().len(), limits::GRPC_MESSAGE_BYTES_MAX);
    });
}

#[test]
fn large_answers_to_a_client_that_reads_wait_for_budget_and_all_come() {
    check(|bench| async move {
        let mut send = bench.connect().await;
        let message = length(limits::GRPC_MESSAGE_BYTES_MAX);
        let calls: Vec<_> = (0..64)
            .map(|_| {
                let (response, mut body) = open(&mut send, request("/test.Echo/Large"));
                send_all(&mut body, &[&message]);
                bench.executor.spawn(receive(response))
            })
            .collect();
        for reply in calls {
            let reply = reply.await.expect("an answer");
            assert_eq!(reply.only().len(), limits::GRPC_MESSAGE_BYTES_MAX);
        }
        assert_eq!(bench.server.shared.state.unsent.used(), 0);
    });
}

#[test]
fn large_requests_in_parallel_wait_for_budget_and_are_all_answered() {
    check(|bench| async move {
        let mut send = bench.connect().await;
        let whole = framed(&vec![3; limits::GRPC_MESSAGE_BYTES_MAX / 8]);
        let calls: Vec<_> = (0..64)
            .map(|_| {
                let (response, mut body) = open(&mut send, request("/test.Echo/Count"));
                send_all(&mut body, &[&whole]);
                bench.executor.spawn(receive(response))
            })
            .collect();
        for reply in calls {
            assert_eq!(reply.await.expect("an answer").only(), (whole.len() - 5).to_be_bytes());
        }
        assert_eq!(bench.server.shared.state.held.used(), 0);
    });
}

#[test]
fn a_client_that_holds_budget_and_does_not_fetch_goes_when_others_wait_for_it() {
    check(|bench| async move {
        let message = length(limits::GRPC_MESSAGE_BYTES_MAX);
        let mut stalled = Vec::new();
        for _ in 0..limits::GRPC_UNSENT_BYTES_MAX / limits::GRPC_MESSAGE_BYTES_MAX {
            let mut send = bench.connect().await;
            let (response, mut body) = open(&mut send, request("/test.Echo/Large"));
            send_all(&mut body, &[&message]);
            stalled.push((response.await.expect("an answer"), send));
        }
        // Small answers have bytes of their own.
        assert_eq!(bench.unary("Now", b"x").await.only(), b"x");
        let waits = bench.unary("Large", &message[PREFIX_BYTES..]).await;
        assert_eq!(waits.only().len(), limits::GRPC_MESSAGE_BYTES_MAX);
        let endings: Vec<_> = bench.server.endings().map(|(_, count)| count).collect();
        assert_eq!(endings[..2], [0, 0]);
        assert!(endings[2] > 0, "{endings:?}");
    });
}

#[test]
fn a_request_has_its_budget_before_it_comes() {
    check(|bench| async move {
        let mut send = bench.connect().await;
        let whole = Bytes::from(framed(&vec![0; limits::GRPC_MESSAGE_BYTES_MAX]));
        let mut start = |length: usize| {
            let (response, mut body) = open(&mut send, request("/test.Echo/Now"));
            body.send_data(whole.slice(..length), false).expect("open");
            (response, body)
        };
        let counted = limits::GRPC_MESSAGE_BYTES_MAX + limits::CALL_BYTES;
        let _first = start(9);
        until(|| bench.server.shared.state.held.used() == counted).await;
        // Another one of this client would not fit beside it, and waits.
        let (second, body) = start(9);
        let _third = start(9);
        until(|| bench.server.shared.state.half_open(false).get() == 3).await;
        assert_eq!(bench.server.shared.state.held.used(), counted);
        drop((second, body));
        until(|| bench.server.shared.state.half_open(false).get() == 2).await;
        assert_eq!(call(&mut send, "/test.Echo/Now", &[&framed(b"x")]).await.only(), b"x");
    });
}

#[test]
fn calls_that_are_not_whole_are_bounded_at_the_cost_of_the_client_with_most() {
    let bounds = Bounds { half_open_max: 8, ..Bounds::default() };
    check_with(None, bounds, |bench| async move {
        let mut greedy = bench.connect().await;
        let mut calls: Vec<_> =
            (0..8).map(|_| open(&mut greedy, request("/test.Echo/Now"))).collect();
        until(|| bench.server.shared.state.half_open(false).get() == 8).await;
        calls.push(open(&mut greedy, request("/test.Echo/Now")));
        let (last, _body) = calls.pop().expect("one more");
        assert_eq!(receive(last).await.expect("an answer").code(), Code::ResourceExhausted);
        let mut other = bench.connect().await;
        let (response, mut body) = open(&mut other, request("/test.Echo/Now"));
        until(|| bench.server.endings().next().expect("all are listed").1 == 1).await;
        send_all(&mut body, &[&framed(b"x")]);
        assert_eq!(receive(response).await.expect("an answer").only(), b"x");
        let ended = receive(calls.pop().expect("eight").0).await.expect_err("the client has gone");
        assert!(ended.is_go_away() || ended.is_io(), "{ended}");
    });
}

#[test]
fn a_stop_lets_running_calls_end_and_takes_no_new_ones() {
    check(|bench| async move {
        let mut send = bench.connect().await;
        let (first, mut first_body) = open(&mut send, request("/test.Echo/Now"));
        until(|| bench.server.shared.state.half_open(false).get() == 1).await;
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

/// A frame of nine bytes and more.
fn raw_frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// One of each kind that costs a client less than the server.
fn cheap_frames() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("PING", raw_frame(6, 0, 0, &[0; 8])),
        ("SETTINGS", raw_frame(4, 0, 0, &[])),
        ("WINDOW_UPDATE", raw_frame(8, 0, 0, &[0, 0, 0, 1])),
        ("PRIORITY", raw_frame(2, 0, 1, &[0, 0, 0, 3, 0])),
        ("unknown", raw_frame(99, 0, 0, b"what")),
    ]
}

/// The head of a call of `Now`, in HPACK without a table.
fn raw_head(stream: u32) -> Vec<u8> {
    let literal = |name: &[u8], value: &str| {
        let length = u8::try_from(value.len()).expect("short");
        [name, &[length], value.as_bytes()].concat()
    };
    // Of the static table: POST and http whole, :path and content-type by name.
    let path = literal(&[0x04], "/test.Echo/Now");
    let kind = literal(&[0x0f, 0x10], "application/grpc");
    raw_frame(1, 4, stream, &[&[0x83, 0x86][..], &path, &kind].concat())
}

/// Kind and payload of the frames in `bytes`.
fn raw_frames(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk::<9>() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let Some((payload, after)) = rest.split_at_checked(length) else { break };
        frames.push((head[3], payload.to_vec()));
        bytes = after;
    }
    frames
}

#[test]
fn streams_over_the_limit_are_refused_and_the_others_stay() {
    const REFUSED: usize = 1000;
    check(|bench| async move {
        let mut socket = std::net::TcpStream::connect(bench.address).expect("listening");
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend(raw_frame(4, 0, 0, &[]));
        let streams = limits::STREAMS_MAX + REFUSED as u32;
        bytes.extend((0..streams).flat_map(|number| raw_head(2 * number + 1)));
        socket.write_all(&bytes).expect("the server reads");
        socket.set_nonblocking(true).expect("a socket");
        let heard = RefCell::new(Vec::new());
        let frames = |kind: u8| {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = (&socket).read(&mut buffer) {
                heard.borrow_mut().extend_from_slice(&buffer[..count]);
            }
            let mut frames = raw_frames(&heard.borrow());
            frames.retain(|(found, _)| *found == kind);
            frames
        };
        // RST_STREAM with REFUSED_STREAM, and no GOAWAY.
        until(|| frames(3).len() == REFUSED).await;
        assert!(frames(3).iter().all(|(_, reason)| *reason == [0, 0, 0, 7]));
        assert!(frames(7).is_empty());
        (&socket).write_all(&raw_frame(0, 1, 1, &framed(b"x"))).expect("the server reads");
        until(|| frames(0).iter().any(|(_, data)| *data == framed(b"x"))).await;
    });
}

/// Other connections go on after a quota of a flood, whatever there is of it.
#[test]
fn no_flood_holds_the_thread() {
    for (name, frame) in cheap_frames() {
        check(|bench| async move {
            let mut flood = std::net::TcpStream::connect(bench.address).expect("listening");
            flood.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").expect("small");
            flood.write_all(&raw_frame(4, 0, 0, &[])).expect("small");
            flood.set_nonblocking(true).expect("a socket");
            let many = frame.repeat(100_000 / frame.len());
            let received = || {
                let links = bench.server.shared.links.list.borrow();
                links.first().map_or(0, |link| link.traffic.received.get())
            };
            let (mut sent, mut rounds) = (0, 0);
            while received() < 500_000 {
                // As much as the socket takes: there is always more to read than a quota.
                while let Ok(count) = flood.write(&many[sent % frame.len()..]) {
                    sent += count;
                }
                let mut buffer = [0; 65_536];
                while matches!(flood.read(&mut buffer), Ok(1..)) {}
                let before = received();
                reactor::yield_now().await;
                let more = received() - before;
                // A quota, and some more while there is time.
                assert!(more <= 16 * limits::ROUND_READ_BYTES as u64, "{name}: {more} in a round");
                rounds += 1;
            }
            assert!(rounds >= 500_000 / 16 / limits::ROUND_READ_BYTES, "{name}");
            assert_eq!(bench.unary("Now", b"x").await.only(), b"x", "{name}");
        });
    }
}
