//! Clients that wait, leave, flood or say what makes no sense.
//!
//! Never: looks at what a service answers.

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
