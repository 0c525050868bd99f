//! The load: `client ADDRESS ping|gossip STREAMS CALLS`, the same for both servers.
//!
//! Calls leave in waves of STREAMS on one connection, and the next wave leaves when the last answer
//! of this one is here, so that both servers see the same batches.

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use http::Request;

fn frame(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(message.len() as u32);
    framed.put_slice(message);
    framed.freeze()
}

/// Field `number` as bytes, protobuf's wire type 2.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = bytes.len();
    while length > 127 {
        out.push((length & 127) as u8 | 128);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(bytes);
    out
}

fn message(kind: &str) -> (&'static str, Bytes) {
    match kind {
        "ping" => ("Ping", frame(&field(1, &[9; 16]))),
        "gossip" => {
            let fields = [field(1, &[1; 32]), field(2, &[2; 1024]), field(5, &[9; 16])];
            ("Gossip", frame(&fields.concat()))
        }
        _ => panic!("ping or gossip, not {kind}"),
    }
}

async fn call(mut send: SendRequest<Bytes>, method: &str, body: Bytes) {
    let request = Request::post(format!("http://bench/stemedb.sync.v1.SyncService/{method}"))
        .header("te", "trailers")
        .header("content-type", "application/grpc")
        .body(())
        .expect("a request");
    let (response, mut stream) = send.send_request(request, false).expect("an open connection");
    stream.send_data(body, true).expect("an open stream");
    let mut answer = response.await.expect("an answer").into_body();
    let mut length = 0;
    while let Some(piece) = answer.data().await {
        let piece = piece.expect("a whole answer");
        length += piece.len();
        answer.flow_control().release_capacity(piece.len()).expect("an open stream");
    }
    assert!(length >= 5, "a message");
    let trailers = answer.trailers().await.expect("a whole answer").expect("trailers");
    assert_eq!(trailers["grpc-status"], "0");
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, address, kind, streams, calls] = &arguments[..] else {
        panic!("client ADDRESS ping|gossip STREAMS CALLS");
    };
    let streams: usize = streams.parse().expect("a number of streams");
    let calls: usize = calls.parse().expect("a number of calls");
    let (method, body) = message(kind);
    let socket = tokio::net::TcpStream::connect(address).await.expect("the server listens");
    socket.set_nodelay(true).expect("a socket");
    let (send, connection) = h2::client::handshake(socket).await.expect("the server speaks h2");
    tokio::spawn(connection);
    let mut left = calls;
    while left > 0 {
        let wave = left.min(streams);
        left -= wave;
        let send = send.clone().ready().await.expect("an open connection");
        let tasks: Vec<_> = (0..wave)
            .map(|_| tokio::spawn(call(send.clone(), method, body.clone())))
            .collect();
        for task in tasks {
            task.await.expect("the call succeeds");
        }
    }
}
