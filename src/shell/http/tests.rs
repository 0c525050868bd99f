//! What one connection gets in one round of the reactor.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;

use http::Response;
use http::request::Parts;

use super::*;
use crate::shell::runtime::reactor;

/// Notes in which of the reactor's rounds each request was handled and, with a body, was read.
#[derive(Default)]
struct Rounds(RefCell<Vec<(u64, u64)>>);

impl Handler for Rounds {
    async fn handle(&self, _: Parts, body: &mut Body) -> HttpAnswer {
        let rounds = || reactor::current().expect("a reactor").rounds();
        let begun = rounds();
        let read = body.read().await.expect("a body that fits");
        self.0.borrow_mut().push((begun, rounds()));
        Response::new(AnswerBody::whole(read))
    }

    fn note_refused(&self, _: &Rejection) {}
}

/// Serves a client that sends all of `request` at once and reads until the end.
fn rounds_of(request: Vec<u8>) -> Vec<(u64, u64)> {
    let reactor = reactor::current().expect("a reactor");
    let executor = LocalExecutor::new();
    let listener = TcpListener::bind(([127, 0, 0, 1], 0).into()).expect("a free port");
    let address = listener.local_addr().expect("bound");
    let (ended, end) = async_channel::bounded::<()>(1);
    let client = thread::spawn(move || {
        let mut stream = TcpStream::connect(address).expect("it listens");
        stream.write_all(&request).expect("it reads");
        stream.shutdown(std::net::Shutdown::Write).expect("open until now");
        stream.read_to_end(&mut Vec::new()).expect("it answers");
        drop(ended);
    });
    let handler = Rc::new(Rounds::default());
    let server = Server::new(handler.clone(), Bounds::default(), Rc::default());
    let stop = async {
        // The channel carries nothing: it closes.
        let _ = end.recv().await;
    };
    reactor.block_on(&executor, server.serve(&executor, listener, stop));
    client.join().expect("all was answered");
    handler.0.take()
}

#[test]
fn a_connection_gets_one_request_a_round_however_many_come_in_one_packet() {
    let rounds = rounds_of(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(200));
    assert_eq!(rounds.len(), 200);
    for pair in rounds.windows(2) {
        assert!(pair[0].0 < pair[1].0, "two requests in round {}", pair[0].0);
    }
}

#[test]
fn a_connection_gets_a_few_pieces_of_a_body_a_round_however_small_they_are() {
    const PIECES: usize = 5_000;
    let head = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let body = "1\r\nx\r\n".repeat(PIECES);
    let rounds = rounds_of(format!("{head}{body}0\r\n\r\n").into_bytes());
    let [(begun, read)] = rounds[..] else { panic!("{rounds:?}") };
    let least = (PIECES / limits::HTTP_ROUND_PIECES) as u64;
    assert!(read - begun >= least, "{PIECES} pieces in {} rounds", read - begun);
}

#[test]
fn a_request_that_is_here_when_the_server_stops_is_answered() {
    let reactor = reactor::current().expect("a reactor");
    let listener = TcpListener::bind(([127, 0, 0, 1], 0).into()).expect("a free port");
    let address = listener.local_addr().expect("bound");
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("it is held for the server");
    let server = Server::new(Rc::<Rounds>::default(), Bounds::default(), Rc::default());
    // It accepts what waits, and stops before a connection has been looked at.
    let executor = LocalExecutor::new();
    reactor.block_on(&executor, server.serve(&executor, listener, async {}));
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the connection ends, it is not reset");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
