//! Names to addresses: the hosts file, then the name servers of resolv.conf.
//!
//! In: a host name and a port. Out: its addresses. [`crate::dns`] decides; here are its files and
//! sockets, on a thread of its own, since it waits. The C library's look-up is not used:
//! `docs/decisions/resolver.md` says why.
//!
//! Never: waits longer than [`limits::LOOK_UP_MAX`] and one time-out of a server.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, SocketAddrV6, TcpStream, UdpSocket};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::base::{Moment, limits};
use crate::dns::{self, Lookup, NameServer, Output, ResolverSettings};

/// The largest answer in a datagram: without EDNS it has 512 bytes at most.
const PACKET_BYTES_MAX: usize = 1232;
/// What is read of resolv.conf: the C library's bounds allow a tenth of it.
const SETTINGS_BYTES_MAX: u64 = 64 << 10;

/// Why a name has no address.
#[derive(Debug)]
pub enum ResolveError {
    /// It is not `host:port`.
    NoPort,
    /// resolv.conf names servers at interfaces that this machine does not have, and no others.
    NoNameServer,
    /// The name servers were asked in vain.
    NotFound(dns::NotFound),
    /// The system refuses a thread or random bytes.
    System(io::Error),
    /// The thread ended without an answer.
    Lost,
}

impl fmt::Display for ResolveError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ResolveError::NoPort => out.write_str("it is not host:port"),
            ResolveError::NoNameServer => {
                out.write_str("no name server of resolv.conf is at an interface of this machine")
            }
            ResolveError::NotFound(why) => why.fmt(out),
            ResolveError::System(error) => error.fmt(out),
            ResolveError::Lost => out.write_str("the look-up ended without an answer"),
        }
    }
}

/// Where names are looked up.
struct Sources<'a> {
    hosts: &'a Path,
    settings: &'a Path,
    /// The machine's own name, whose domain is the search list if there is no other.
    host_name: &'a Path,
    port: u16,
}

impl Sources<'static> {
    fn of_machine() -> Sources<'static> {
        Sources {
            hosts: Path::new("/etc/hosts"),
            settings: Path::new("/etc/resolv.conf"),
            host_name: Path::new("/proc/sys/kernel/hostname"),
            port: 53,
        }
    }
}

/// All addresses of `host:port`, or why there is none.
pub async fn resolve(address: &str) -> Result<Vec<SocketAddr>, ResolveError> {
    if let Ok(address) = address.parse() {
        return Ok(vec![address]);
    }
    let split = address.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    let Some((host, port)) = split else { return Err(ResolveError::NoPort) };
    let (found, answer) = async_channel::bounded(1);
    let name = host.to_owned();
    let looking =
        thread::Builder::new().name("resolve".into()).stack_size(64 << 10).spawn(move || {
            // The caller may have gone.
            let _ = found.try_send(look_up(&name, &Sources::of_machine()));
        });
    looking.map_err(ResolveError::System)?;
    let found = answer.recv().await.map_err(|_| ResolveError::Lost)?;
    Ok(found?.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
}

fn look_up(name: &str, sources: &Sources<'_>) -> Result<Vec<IpAddr>, ResolveError> {
    if let Ok(ip) = name.trim_matches(['[', ']']).parse() {
        return Ok(vec![ip]);
    }
    let known = in_hosts(sources.hosts, name);
    if !known.is_empty() {
        return Ok(known);
    }
    let known = dns::loopback(name);
    if !known.is_empty() {
        return Ok(known);
    }
    let (settings, host_name) = (read_text(sources.settings), read_text(sources.host_name));
    let settings = ResolverSettings::read(&settings, host_name.trim());
    let servers = settings.servers.iter().filter_map(|server| socket_address(server, sources.port));
    let servers: Vec<SocketAddr> = servers.collect();
    if servers.is_empty() {
        return Err(ResolveError::NoNameServer);
    }
    let mut secret = [0; 16];
    getrandom::fill(&mut secret).map_err(|error| ResolveError::System(io::Error::other(error)))?;
    carry_out(|now| Lookup::new((settings, servers), name, secret, now))
        .map_err(ResolveError::NotFound)
}

/// The addresses of all lines with this name; read by line, since a list of blocked names is large.
fn in_hosts(path: &Path, name: &str) -> Vec<IpAddr> {
    let Ok(file) = File::open(path) else { return Vec::new() };
    let lines = BufReader::new(file).split(b'\n').map_while(Result::ok);
    let found = lines.filter_map(|line| dns::hosts_line(&String::from_utf8_lossy(&line), name));
    found.take(limits::ADDRESSES_MAX).collect()
}

/// A file that cannot be read is empty, as for the C library.
fn read_text(path: &Path) -> String {
    let mut bytes = Vec::new();
    if let Ok(file) = File::open(path) {
        let _ = file.take(SETTINGS_BYTES_MAX).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `None` if the server's interface does not exist.
fn socket_address(server: &NameServer, port: u16) -> Option<SocketAddr> {
    let zone = match server.zone.parse() {
        Ok(number) => number,
        Err(_) if server.zone.is_empty() => 0,
        Err(_) if server.zone.contains('/') => return None,
        Err(_) => {
            let path = Path::new("/sys/class/net").join(&server.zone).join("ifindex");
            fs::read_to_string(path).ok()?.trim().parse().ok()?
        }
    };
    Some(match server.ip {
        IpAddr::V4(ip) => SocketAddr::new(ip.into(), port),
        IpAddr::V6(ip) => SocketAddrV6::new(ip, port, 0, zone).into(),
    })
}

fn carry_out(start: impl FnOnce(Moment) -> Lookup) -> Result<Vec<IpAddr>, dns::NotFound> {
    let began = Instant::now();
    let now = || Moment::ZERO + began.elapsed();
    let mut lookup = start(now());
    let mut socket = None;
    loop {
        while let Some(output) = lookup.poll_output() {
            match output {
                Output::Datagram { server, packet } => {
                    if send(&mut socket, server, &packet).is_err() {
                        lookup.handle_unreachable(now());
                    }
                }
                Output::Stream { server, packet } => {
                    let until = lookup.next_deadline().unwrap_or(Moment::ZERO);
                    match ask_by_stream(server, &packet, until.since(now())) {
                        Ok(packet) => lookup.handle_packet(now(), &packet),
                        Err(_) => lookup.handle_stream_failed(now()),
                    }
                }
                Output::Found(found) => return found,
            }
        }
        let until = lookup.next_deadline().unwrap_or(Moment::ZERO);
        let left = until.since(now());
        match receive(&socket, left) {
            Ok(packet) => lookup.handle_packet(now(), &packet),
            Err(error) if is_late(&error) => lookup.handle_timeout(now()),
            Err(_) => lookup.handle_unreachable(now()),
        }
    }
}

fn is_late(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}

/// Sends from a socket that is connected to the server: the kernel drops what others send, and says
/// if nothing listens there.
fn send(
    socket: &mut Option<(SocketAddr, UdpSocket)>,
    server: SocketAddr,
    packet: &[u8],
) -> io::Result<()> {
    let open = match socket.take().filter(|(to, _)| *to == server) {
        Some((_, open)) => open,
        None => {
            let any: SocketAddr =
                if server.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
            let open = UdpSocket::bind(any)?;
            open.connect(server)?;
            open
        }
    };
    let sent = open.send(packet);
    *socket = Some((server, open));
    sent.map(|_| ())
}

fn receive(socket: &Option<(SocketAddr, UdpSocket)>, left: Duration) -> io::Result<Vec<u8>> {
    let Some((_, socket)) = socket else { return Err(io::ErrorKind::NotConnected.into()) };
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    socket.set_read_timeout(Some(left))?;
    let mut packet = vec![0; PACKET_BYTES_MAX];
    let length = socket.recv(&mut packet)?;
    packet.truncate(length);
    Ok(packet)
}

/// A question and its answer with their lengths before them (RFC 1035, section 4.2.2).
fn ask_by_stream(server: SocketAddr, question: &[u8], left: Duration) -> io::Result<Vec<u8>> {
    let until = Instant::now() + left;
    let mut stream = TcpStream::connect_timeout(&server, time_left(until)?)?;
    stream.set_write_timeout(Some(time_left(until)?))?;
    let length = u16::try_from(question.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes()[..], question].concat())?;
    let mut length = [0; 2];
    read_until(&mut stream, &mut length, until)?;
    let mut packet = vec![0; usize::from(u16::from_be_bytes(length))];
    read_until(&mut stream, &mut packet, until)?;
    Ok(packet)
}

/// Fills the buffer. The time-out of a socket is of one read, and a server may send a byte at a
/// time.
fn read_until(stream: &mut TcpStream, buffer: &mut [u8], until: Instant) -> io::Result<()> {
    let mut filled = 0;
    while filled < buffer.len() {
        stream.set_read_timeout(Some(time_left(until)?))?;
        match stream.read(&mut buffer[filled..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            length => filled += length,
        }
    }
    Ok(())
}

fn time_left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

#[cfg(test)]
mod tests;
