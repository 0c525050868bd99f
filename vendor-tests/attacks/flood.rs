//! Floods: one frame again and again, as fast as a socket takes it, and the answers are read.
//!
//! In: what to send, whom. Out: how much was sent, when the node ended the connection. Never: goes
//! on after the stop; waits longer than a second to notice it.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::stage::{last_processor, pin};
use vendor_tests::frames;

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Ping,
    Settings,
    WindowUpdate,
    Priority,
    HeadersReset,
    SmallData,
    Unknown,
}

/// All of them, with the names they go by.
pub(crate) const KINDS: [(&str, Kind); 7] = [
    ("ping", Kind::Ping),
    ("settings", Kind::Settings),
    ("window-update", Kind::WindowUpdate),
    ("priority", Kind::Priority),
    ("headers-reset", Kind::HeadersReset),
    ("small-data", Kind::SmallData),
    ("unknown-frame", Kind::Unknown),
];

/// Bytes handed to the socket at once.
const CHUNK: usize = 64 << 10;
/// How long a write or a read may hang before the stop is looked at.
const PATIENCE: Duration = Duration::from_millis(200);
/// A flooder whose connections are ended gives up after so many.
const CONNECTIONS_MAX: u32 = 2000;
/// The window that a connection starts with (RFC 9113, section 6.9.2).
const WINDOW: i64 = 65_535;
/// A stream of small DATA is left for the next one after so many bytes of its message.
const STREAM_BYTES: u32 = 1 << 20;
const GOSSIP: &str = "/stemedb.sync.v1.SyncService/Gossip";

/// What came of a flood.
#[derive(Default)]
pub(crate) struct Flooded {
    pub(crate) bytes: u64,
    /// Connections that the node ended, and how long the first one of them lived.
    pub(crate) cuts: u32,
    pub(crate) first_cut: Option<Duration>,
}

/// A flood under way.
pub(crate) struct Flood {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Flooded>>,
}

/// How a flooder behaves.
#[derive(Clone, Copy)]
pub(crate) struct Manner {
    pub(crate) kind: Kind,
    pub(crate) connections: usize,
    /// The processor it runs on.
    pub(crate) processor: Option<usize>,
    /// Comes back when its connection is ended.
    pub(crate) comes_back: bool,
}

impl Flood {
    pub(crate) fn start(to: SocketAddr, manner: Manner) -> Flood {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..manner.connections).map(|_| {
            let stop = stop.clone();
            std::thread::spawn(move || flood(to, manner, &stop))
        });
        Flood { threads: threads.collect(), stop }
    }

    /// All connections have ended, and none comes back.
    pub(crate) fn is_over(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// Ends all connections.
    pub(crate) fn stop(self) -> Flooded {
        self.stop.store(true, Ordering::Relaxed);
        let mut sum = Flooded::default();
        for thread in self.threads {
            let one = thread.join().expect("a flooder does not panic");
            sum.bytes += one.bytes;
            sum.cuts += one.cuts;
            sum.first_cut = sum.first_cut.or(one.first_cut);
        }
        sum
    }
}

fn flood(to: SocketAddr, manner: Manner, stop: &Arc<AtomicBool>) -> Flooded {
    if let Some(processor) = manner.processor {
        pin(processor);
    }
    let mut flooded = Flooded::default();
    let rounds = if manner.comes_back { CONNECTIONS_MAX } else { 1 };
    for _ in 0..rounds {
        let start = Instant::now();
        let sent = one_connection(to, manner, stop, &mut flooded.bytes);
        if stop.load(Ordering::Relaxed) {
            break;
        }
        if sent.is_err() {
            flooded.cuts += 1;
            flooded.first_cut.get_or_insert(start.elapsed());
        }
    }
    flooded
}

/// Sends until the stop, which is Ok, or until the connection ends.
fn one_connection(
    to: SocketAddr,
    manner: Manner,
    stop: &Arc<AtomicBool>,
    bytes: &mut u64,
) -> std::io::Result<()> {
    let mut socket = TcpStream::connect_timeout(&to, PATIENCE)?;
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.write_all(&frames::opening(None))?;
    let credit = Arc::new(Credit::default());
    let reader = {
        let (socket, credit, stop) = (socket.try_clone()?, credit.clone(), stop.clone());
        std::thread::spawn(move || {
            // Beside the node, or what it waits for is that its answers are read.
            if manner.processor.is_some() {
                pin(last_processor());
            }
            read_answers(socket, manner.kind, &credit, &stop);
        })
    };
    let mut source = Source::new(manner.kind);
    let sent = loop {
        let chunk = source.next(&credit);
        match send(&mut socket, chunk, &credit, stop, bytes) {
            Ok(true) => {}
            Ok(false) => break Ok(()),
            Err(e) => break Err(e),
        }
    };
    let _ = socket.shutdown(Shutdown::Both);
    reader.join().expect("a reader does not panic");
    sent
}

/// Whether all of it was sent; false is the stop.
fn send(
    socket: &mut TcpStream,
    mut chunk: &[u8],
    credit: &Credit,
    stop: &AtomicBool,
    bytes: &mut u64,
) -> std::io::Result<bool> {
    loop {
        if stop.load(Ordering::Relaxed) {
            return Ok(false);
        }
        if credit.lock().is_over {
            return Err(ErrorKind::ConnectionReset.into());
        }
        if chunk.is_empty() {
            return Ok(true);
        }
        match socket.write(chunk) {
            Ok(count) => {
                *bytes += count as u64;
                chunk = &chunk[count..];
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(e) => return Err(e),
        }
    }
}

/// What the reader shares with the writer: how many bytes of DATA the node takes, and its end.
#[derive(Default)]
struct Credit {
    state: Mutex<Grants>,
    more: Condvar,
}

#[derive(Default)]
struct Grants {
    connection: i64,
    /// Grants to the stream of this number.
    stream: (u32, i64),
    /// The stream was reset or answered.
    stream_is_over: bool,
    is_over: bool,
}

impl Credit {
    fn lock(&self) -> std::sync::MutexGuard<'_, Grants> {
        self.state.lock().expect("no thread panics with the lock")
    }
}

fn read_answers(mut socket: TcpStream, kind: Kind, credit: &Credit, stop: &AtomicBool) {
    let mut buffer = vec![0; CHUNK];
    let mut kept = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        match socket.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) if kind == Kind::SmallData => {
                kept.extend_from_slice(&buffer[..count]);
                take_grants(&mut kept, credit);
            }
            Ok(_) => {}
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => break,
        }
    }
    credit.lock().is_over = true;
    credit.more.notify_all();
}

fn take_grants(kept: &mut Vec<u8>, credit: &Credit) {
    let mut at = 0;
    while let Some(head) = kept.get(at..at + frames::HEAD) {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let Some(payload) = kept.get(at + frames::HEAD..at + frames::HEAD + length) else { break };
        let mut state = credit.lock();
        match (head[3], payload) {
            (frames::WINDOW_UPDATE, &[a, b, c, d]) => {
                let grant = i64::from(u32::from_be_bytes([a, b, c, d]));
                if stream == 0 {
                    state.connection += grant;
                } else if stream == state.stream.0 {
                    state.stream.1 += grant;
                }
            }
            (frames::RST_STREAM | frames::HEADERS, _) if stream == state.stream.0 => {
                state.stream_is_over = true;
            }
            _ => {}
        }
        drop(state);
        at += frames::HEAD + length;
    }
    kept.drain(..at);
    credit.more.notify_all();
}

/// Makes what is sent.
struct Source {
    kind: Kind,
    chunk: Vec<u8>,
    block: Vec<u8>,
    stream: u32,
    /// Bytes of DATA of the connection and of the stream so far.
    connection_sent: i64,
    stream_sent: i64,
}

impl Source {
    fn new(kind: Kind) -> Source {
        let frame = match kind {
            Kind::Ping => frames::frame(frames::PING, 0, 0, b"answer!!"),
            Kind::Settings => frames::frame(frames::SETTINGS, 0, 0, &[]),
            Kind::WindowUpdate => frames::window_update(0, 1),
            Kind::Priority => frames::frame(frames::PRIORITY, 0, 1, &[0, 0, 0, 0, 7]),
            Kind::Unknown => frames::frame(frames::UNKNOWN, 0, 0, b"whatever"),
            Kind::HeadersReset | Kind::SmallData => Vec::new(),
        };
        let count = CHUNK.checked_div(frame.len()).unwrap_or(0);
        let (chunk, block) = (frame.repeat(count), frames::call_headers(GOSSIP, &[]));
        Source { kind, chunk, block, stream: 1, connection_sent: 0, stream_sent: 0 }
    }

    /// Whole frames.
    fn next(&mut self, credit: &Credit) -> &[u8] {
        match self.kind {
            Kind::HeadersReset => self.calls_taken_back(),
            Kind::SmallData => self.small_data(credit),
            _ => {}
        }
        &self.chunk
    }

    fn calls_taken_back(&mut self) {
        self.chunk.clear();
        while self.chunk.len() < CHUNK {
            self.chunk.extend_from_slice(&frames::open_call(self.stream, &self.block));
            self.chunk.extend_from_slice(&frames::reset(self.stream));
            self.stream += 2;
        }
    }

    fn small_data(&mut self, credit: &Credit) {
        const PREFIX: [u8; 5] = [0, 0, 0x3f, 0xff, 0xff];
        self.chunk.clear();
        let mut state = credit.lock();
        if state.stream.0 != self.stream {
            self.chunk.extend_from_slice(&frames::open_call(self.stream, &self.block));
            state.stream = (self.stream, 0);
            state.stream_is_over = false;
            self.stream_sent = 0;
        }
        let window_left = |state: &Grants, source: &Source| {
            let connection = WINDOW + state.connection - source.connection_sent;
            connection.min(WINDOW + state.stream.1 - source.stream_sent)
        };
        if window_left(&state, self) <= 0 && !state.stream_is_over && !state.is_over {
            state = credit.more.wait_timeout(state, PATIENCE).expect("no panic with the lock").0;
        }
        if state.stream_is_over || self.stream_sent >= i64::from(STREAM_BYTES) {
            self.chunk.extend_from_slice(&frames::reset(self.stream));
            self.stream += 2;
            return;
        }
        for _ in 0..window_left(&state, self).clamp(0, (CHUNK / 10) as i64) {
            let byte = PREFIX.get(self.stream_sent as usize).copied().unwrap_or(b'.');
            self.chunk.extend_from_slice(&frames::frame(frames::DATA, 0, self.stream, &[byte]));
            self.stream_sent += 1;
            self.connection_sent += 1;
        }
    }
}
