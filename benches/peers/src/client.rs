//! A client of a server on loopback: one thread, a connection per writer, one request at a time on
//! each.
//!
//! In: a protocol, an address, records. Out: every record sent and answered. Never: sends the next
//! request of a connection before the last is answered.

use std::io::{Read, Write};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpStream};

use rustix::event::epoll;

use crate::record::{Record, Work};

/// How to talk on one connection.
pub trait Protocol: Default {
    /// What a client says first.
    fn greet(&mut self, out: &mut Vec<u8>);
    /// A request to keep a record.
    fn put(&mut self, record: &Record, out: &mut Vec<u8>);
    /// Reads on; whether the answer to the request under way is whole. What else has to be said is
    /// added to `out`.
    fn take(&mut self, input: &mut Vec<u8>, out: &mut Vec<u8>) -> bool;
}

/// One connection.
pub struct Connection<P> {
    pub protocol: P,
    stream: TcpStream,
    input: Vec<u8>,
    output: Vec<u8>,
    /// Bytes received so far.
    pub received: u64,
}

impl<P: Protocol> Connection<P> {
    pub fn open(to: SocketAddr) -> std::io::Result<Connection<P>> {
        let stream = TcpStream::connect(to)?;
        stream.set_nodelay(true)?;
        let mut protocol = P::default();
        let mut output = Vec::new();
        protocol.greet(&mut output);
        Ok(Connection { protocol, stream, input: Vec::new(), output, received: 0 })
    }

    /// Sends a request that `ask` writes and waits for its answer.
    pub fn call(&mut self, ask: impl FnOnce(&mut P, &mut Vec<u8>)) {
        self.send(ask);
        while !self.receive() {}
    }

    fn send(&mut self, ask: impl FnOnce(&mut P, &mut Vec<u8>)) {
        ask(&mut self.protocol, &mut self.output);
        self.flush();
    }

    fn flush(&mut self) {
        self.stream.write_all(&self.output).expect("the server reads");
        self.output.clear();
    }

    /// One read; whether the answer is whole.
    fn receive(&mut self) -> bool {
        let mut buffer = [0; 4096];
        let count = self.stream.read(&mut buffer).expect("the server answers");
        assert!(count > 0, "the server has closed a connection");
        self.received += count as u64;
        self.input.extend_from_slice(&buffer[..count]);
        let is_whole = self.protocol.take(&mut self.input, &mut self.output);
        // What an answer asks to be said goes with the next request.
        if !is_whole && !self.output.is_empty() {
            self.flush();
        }
        is_whole
    }
}

/// Writes what there is to take over all of the connections.
pub fn write<P: Protocol>(connections: &mut [Connection<P>], work: &Work) {
    if let [only] = connections {
        while let Some(record) = work.take() {
            only.call(|protocol, out| protocol.put(&record, out));
        }
        return;
    }
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC).expect("Linux");
    let mut busy = 0;
    for (index, connection) in connections.iter_mut().enumerate() {
        let data = epoll::EventData::new_u64(index as u64);
        let added = epoll::add(&poll, &connection.stream, data, epoll::EventFlags::IN);
        added.expect("an open socket");
        if let Some(record) = work.take() {
            connection.send(|protocol, out| protocol.put(&record, out));
            busy += 1;
        }
    }
    while busy > 0 {
        let mut events = [MaybeUninit::uninit(); 64];
        let (ready, _) = epoll::wait(&poll, &mut events, None).expect("no signals are handled");
        for event in ready {
            let connection = &mut connections[event.data.u64() as usize];
            if connection.receive() {
                match work.take() {
                    Some(record) => connection.send(|protocol, out| protocol.put(&record, out)),
                    None => busy -= 1,
                }
            }
        }
    }
}
