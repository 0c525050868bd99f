//! Clients that take slots, and those that need one.
//!
//! Never: looks at what a service answers.

use std::cell::RefCell;
use std::io::{Read, Write};

use super::*;
use crate::shell::grpc::Ending;
use crate::shell::runtime::socket::Ends;
use crate::wire::grpc::CLUSTER_KEY;

const KEY: &str = "open-sesame";

fn few() -> Bounds {
    Bounds { connections_max: 8, ..Bounds::default() }
}

fn keyed(path: &str) -> Request<()> {
    let mut request = request(path);
    request.headers_mut().insert(CLUSTER_KEY, KEY.parse().expect("a value"));
    request
}

async fn keyed_call(send: &mut SendRequest<Bytes>) -> Result<Received, h2::Error> {
    let (response, mut body) = open(send, keyed("/test.Echo/Now"));
    send_all(&mut body, &[&framed(b"x")]);
    receive(response).await
}

fn ended(bench: &Bench, wanted: Ending) -> u64 {
    bench.server.endings().find(|(ending, _)| *ending == wanted).expect("all are listed").1
}

#[test]
fn past_the_limit_the_connection_that_was_used_least_lately_goes_at_once() {
    check_with(None, few(), |bench| async move {
        let mut busy = bench.connect().await;
        let (hanging, mut body) = open(&mut busy, request("/test.Echo/Hang"));
        send_all(&mut body, &[&framed(b"")]);
        until(|| bench.hanging.get() == 1).await;
        let mut useful = bench.connect().await;
        assert_eq!(call(&mut useful, "/test.Echo/Now", &[&framed(b"x")]).await.only(), b"x");
        let mut idle = Vec::new();
        for _ in 0..200 {
            idle.push(bench.connect().await);
            until(|| bench.server.connections() <= few().connections_max).await;
            // Used lately, it stays.
            assert_eq!(call(&mut useful, "/test.Echo/Now", &[&framed(b"x")]).await.only(), b"x");
        }
        assert_eq!(bench.hanging.get(), 1, "a connection that the node works for stays");
        assert_eq!(ended(&bench, Ending::AtCapacity), 194);
        drop((hanging, body, idle));
    });
}

#[test]
fn a_host_that_takes_most_slots_pays_with_its_own() {
    let shared = server(&Rc::default(), None, few()).shared.clone();
    let host = |last: u8| Some(Ends { near: [127, 0, 0, 1].into(), far: [127, 0, 0, last].into() });
    let come = |number, last| shared.links.register(number, host(last));
    // Three hosts came first and never called; then a fourth comes again and again.
    let others: Vec<_> = (1..4).map(|number| come(number, number as u8)).collect();
    let later: Vec<_> = (4..1000).map(|number| come(number, 9)).collect();
    assert!(others.iter().all(|it| it.link.ending().is_none()));
    let staying = later.iter().filter(|it| it.link.ending().is_none()).count();
    assert_eq!(staying, few().connections_max - others.len());
}

#[test]
fn a_client_that_is_turned_away_gets_a_goaway() {
    check_with(None, few(), |bench| async move {
        let mut first = std::net::TcpStream::connect(bench.address).expect("listening");
        first.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").expect("small");
        first.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).expect("small");
        first.set_nonblocking(true).expect("a socket");
        let mut more = Vec::new();
        while ended(&bench, Ending::AtCapacity) == 0 {
            more.push(bench.connect().await);
        }
        // What it still sends does not cost it the GOAWAY.
        first.write_all(&[0, 0, 0, 4, 1, 0, 0, 0, 0]).expect("the server listens on");
        let heard = RefCell::new(Vec::new());
        until(|| {
            let mut buffer = [0; 1000];
            match (&first).read(&mut buffer) {
                Ok(count) => {
                    heard.borrow_mut().extend_from_slice(&buffer[..count]);
                    count == 0
                }
                Err(error) => {
                    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
                    false
                }
            }
        })
        .await;
        // 8 bytes, GOAWAY, no stream: the last one processed is 0, NO_ERROR.
        let goaway = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert!(heard.borrow().ends_with(&goaway), "{heard:?}");
    });
}

#[test]
fn peers_with_the_key_keep_their_slots_and_find_new_ones() {
    check_with(Some(KEY), few(), |bench| async move {
        let mut peer = bench.connect().await;
        assert_eq!(keyed_call(&mut peer).await.expect("an answer").only(), b"x");
        // A client without the key watches health on each slot there is.
        let mut watches = Vec::new();
        for _ in 0..40 {
            let mut send = bench.connect().await;
            let (response, mut body) = open(&mut send, request("/grpc.health.v1.Health/Watch"));
            send_all(&mut body, &[&framed(b"")]);
            watches.push((response, body, send));
            let mut newcomer = bench.connect().await;
            assert_eq!(keyed_call(&mut newcomer).await.expect("an answer").only(), b"x");
        }
        assert_eq!(keyed_call(&mut peer).await.expect("it stays").only(), b"x");
    });
}

#[test]
fn slots_are_kept_for_the_key_and_for_health_when_all_others_are_at_work() {
    check_with(Some(KEY), few(), |bench| async move {
        let mut calls = Vec::new();
        for _ in 0..few().connections_max {
            let mut peer = bench.connect().await;
            let (response, mut body) = open(&mut peer, keyed("/test.Echo/Hang"));
            send_all(&mut body, &[&framed(b"")]);
            calls.push((peer, response, body));
        }
        until(|| bench.hanging.get() == few().connections_max).await;
        let mut idle = Vec::new();
        for _ in 0..3 * limits::CONNECTIONS_KEPT {
            idle.push(bench.connect().await);
        }
        until(|| bench.server.connections() <= few().connections_max + limits::CONNECTIONS_KEPT)
            .await;
        let mut keyless = bench.connect().await;
        let path = "/grpc.health.v1.Health/Check";
        assert_eq!(call(&mut keyless, path, &[&framed(b"")]).await.code(), Code::Ok);
        let reply = call(&mut keyless, "/test.Echo/Now", &[&framed(b"x")]).await;
        assert_eq!(reply.code(), Code::Unauthenticated);
        let mut peer = bench.connect().await;
        assert_eq!(keyed_call(&mut peer).await.expect("an answer").only(), b"x");
        assert_eq!(bench.hanging.get(), few().connections_max);
        drop(calls);
    });
}

#[test]
fn without_a_cluster_key_a_full_server_says_so() {
    check_with(None, few(), |bench| async move {
        let mut calls = Vec::new();
        for _ in 0..few().connections_max {
            let mut client = bench.connect().await;
            let (response, mut body) = open(&mut client, request("/test.Echo/Hang"));
            send_all(&mut body, &[&framed(b"")]);
            calls.push((client, response, body));
        }
        until(|| bench.hanging.get() == few().connections_max).await;
        let mut newcomer = bench.connect().await;
        let reply = call(&mut newcomer, "/test.Echo/Now", &[&framed(b"x")]).await;
        assert_eq!(reply.code(), Code::Unavailable, "{reply:?}");
        drop(calls);
    });
}

#[test]
fn the_key_is_looked_at_before_the_body() {
    check_with(Some(KEY), Bounds::default(), |bench| async move {
        let mut send = bench.connect().await;
        let mut wrong = request("/test.Echo/Now");
        wrong.headers_mut().insert(CLUSTER_KEY, "guess".parse().expect("a value"));
        for (request, message) in
            [(request("/test.Echo/Now"), "is missing"), (wrong, "is not this cluster's")]
        {
            let (response, _body) = open(&mut send, request);
            let reply = receive(response).await.expect("an answer, though no message came");
            assert_eq!(reply.code(), Code::Unauthenticated);
            assert!(reply.message().contains(message), "{}", reply.message());
        }
        assert_eq!(bench.server.shared.state.half_open(false).get(), 0);
        assert_eq!(keyed_call(&mut send).await.expect("an answer").only(), b"x");
    });
}

#[test]
fn streams_that_stay_open_are_bounded_for_one_and_for_all() {
    let bounds = Bounds { streams_max: limits::STREAMS_OPEN_MAX + 2, ..Bounds::default() };
    check_with(None, bounds, |bench| async move {
        let mut sends = [bench.connect().await, bench.connect().await];
        let mut streams = Vec::new();
        let rows = [(0, limits::STREAMS_OPEN_MAX), (1, 2)];
        for (client, most) in rows {
            for number in 0..=most {
                let path = "/grpc.health.v1.Health/Watch";
                let (response, mut body) = open(&mut sends[client], request(path));
                send_all(&mut body, &[&framed(b"")]);
                let answer = response.await.expect("an answer");
                let status = answer.headers().get("grpc-status").map(|code| code.as_bytes());
                let refused = Some(Code::ResourceExhausted.digits().as_bytes());
                assert_eq!(status, refused.filter(|_| number == most), "{number} of {client}");
                streams.push(answer);
            }
        }
        drop(streams);
        until(|| bench.server.shared.state.streams.get() == 0).await;
    });
}

#[test]
fn a_deadline_ends_a_stream_that_stays_open() {
    check(|bench| async move {
        let mut send = bench.connect().await;
        for path in [
            "/grpc.health.v1.Health/Watch",
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        ] {
            let mut request = request(path);
            request.headers_mut().insert("grpc-timeout", "50m".parse().expect("a value"));
            let (response, mut body) = open(&mut send, request);
            body.send_data(Bytes::from(framed(b"")), path.contains("health")).expect("open");
            let reply = receive(response).await.expect("an answer");
            assert_eq!(reply.code(), Code::DeadlineExceeded, "{path}");
        }
    });
}
