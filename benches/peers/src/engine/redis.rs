//! Redis as a child process: an append-only file, flushed before each answer.
//!
//! In: records. Out: SET and GET in Redis' own protocol on loopback. Never: other settings than
//! `appendonly yes`, `appendfsync always` and no snapshots.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use super::Engine;
use crate::client::{self, Connection, Protocol};
use crate::process::{Server, command};
use crate::record::{BODY_BYTES, KEY_BYTES, Record, Work};

const PROGRAM: &str = "redis-server";
/// Between two looks whether it listens, or has read its file.
const PAUSE: Duration = Duration::from_micros(200);

pub struct Redis {
    server: Server,
    at: SocketAddr,
    connections: Vec<Connection<Resp>>,
}

/// Says why Redis cannot be measured here, if so.
pub fn check() -> Result<(), String> {
    let found = Command::new(PROGRAM).arg("--version").stdout(Stdio::null()).status();
    match found {
        Ok(status) if status.success() => Ok(()),
        _ => Err(format!("{PROGRAM} is missing: install Debian's package redis-server")),
    }
}

impl Redis {
    pub fn open(dir: &Path) -> Redis {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let at = listener.local_addr().expect("it is bound");
        drop(listener);
        let mut command = command(Path::new(PROGRAM));
        command.arg("--port").arg(at.port().to_string()).arg("--dir").arg(dir);
        let settings = "--bind 127.0.0.1 --appendonly yes --appendfsync always --logfile redis.log";
        command.args(settings.split(' ')).args(["--save", ""]);
        let server = Server(command.stdout(Stdio::null()).spawn().expect("this very program"));
        let mut redis = Redis { server, at, connections: Vec::new() };
        // Before it has read its file it answers that it is loading.
        while !redis.is_ready() {
            let ended = redis.server.0.try_wait().expect("it is this process's child");
            assert!(ended.is_none(), "{PROGRAM} has ended, see its log in {}", dir.display());
            thread::sleep(PAUSE);
        }
        redis
    }

    fn is_ready(&mut self) -> bool {
        let Ok(mut connection) = Connection::<Resp>::open(self.at) else { return false };
        connection.call(|_, out| out.extend_from_slice(b"*1\r\n$4\r\nPING\r\n"));
        connection.protocol.answer == b"+PONG"
    }
}

impl Engine for Redis {
    fn expect(&mut self, writers: usize) {
        let opened = (0..writers).map(|_| Connection::open(self.at));
        self.connections = opened.map(|one| one.expect("it listens")).collect();
        for connection in &mut self.connections {
            connection.call(|_, out| out.extend_from_slice(b"*1\r\n$4\r\nPING\r\n"));
        }
    }

    fn write(&mut self, _: usize, work: &Work) {
        client::write(&mut self.connections, work);
    }

    fn read(&mut self, record: &Record) -> Option<Vec<u8>> {
        let mut connection = Connection::<Resp>::open(self.at).expect("it listens");
        connection.call(|_, out| {
            out.extend_from_slice(format!("*2\r\n$3\r\nGET\r\n${KEY_BYTES}\r\n").as_bytes());
            out.extend_from_slice(&record.key);
            out.extend_from_slice(b"\r\n");
        });
        let answer = connection.protocol.answer;
        (answer.len() == BODY_BYTES).then_some(answer)
    }

    fn pid(&self) -> u32 {
        self.server.0.id()
    }

    fn answered(&self) -> u64 {
        self.connections.iter().map(|connection| connection.received).sum()
    }

    fn close(self: Box<Self>) {
        drop(self.connections);
        self.server.stop();
    }
}

/// Redis' protocol.
#[derive(Default)]
struct Resp {
    /// The last answer: a line, or the bytes it announced.
    answer: Vec<u8>,
}

impl Protocol for Resp {
    fn greet(&mut self, _: &mut Vec<u8>) {}

    fn put(&mut self, record: &Record, out: &mut Vec<u8>) {
        let lengths = format!("*3\r\n$3\r\nSET\r\n${KEY_BYTES}\r\n");
        out.extend_from_slice(lengths.as_bytes());
        out.extend_from_slice(&record.key);
        out.extend_from_slice(format!("\r\n${BODY_BYTES}\r\n").as_bytes());
        out.extend_from_slice(&record.body);
        out.extend_from_slice(b"\r\n");
    }

    fn take(&mut self, input: &mut Vec<u8>, _: &mut Vec<u8>) -> bool {
        let Some(end) = input.windows(2).position(|pair| pair == b"\r\n") else { return false };
        let line = &input[..end];
        let count = line.strip_prefix(b"$").and_then(|count| str::from_utf8(count).ok());
        let count: Option<usize> = count.and_then(|count| count.parse().ok());
        let (answer, used) = match count {
            None => (line, end + 2),
            Some(count) => match input.get(end + 2..end + 2 + count + 2) {
                Some(bytes) => (&bytes[..count], end + 2 + count + 2),
                None => return false,
            },
        };
        let is_right = !answer.starts_with(b"-") || answer.starts_with(b"-LOADING");
        assert!(is_right, "Redis: {}", String::from_utf8_lossy(answer));
        self.answer = answer.to_vec();
        input.drain(..used);
        true
    }
}
