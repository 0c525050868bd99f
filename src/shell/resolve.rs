//! Names to addresses: the hosts file, then the name servers of the resolver's configuration.
//!
//! In: a host name and a port. Out: its addresses. The C library's look-up needs its own shared
//! parts at run time, which a static binary does not have, and brings more code than HTTP/2 (RFC
//! 1035, section 4, is all that is needed). Runs on a thread of its own, since it waits.
//!
//! Never: waits longer than its deadline, trusts a length or an offset of an answer.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::thread;
use std::time::Duration;

/// How long one name server may take; each is asked twice.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// Name servers asked at most, as many as the C library does.
const SERVERS_MAX: usize = 3;
/// Addresses taken from one answer.
const ADDRESSES_MAX: usize = 64;
/// The largest answer without TCP that a name server sends.
const PACKET_BYTES_MAX: usize = 1232;
const HEAD_BYTES: usize = 12;
const DNS_PORT: u16 = 53;
const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;
const CLASS_IN: u16 = 1;

/// All addresses of `host:port`, or why there is none.
pub async fn resolve(address: &str) -> Result<Vec<SocketAddr>, String> {
    if let Ok(address) = address.parse() {
        return Ok(vec![address]);
    }
    let split = address.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    let Some((host, port)) = split else { return Err("it is not host:port".into()) };
    let (found, answer) = async_channel::bounded(1);
    let name = host.to_owned();
    let looking =
        thread::Builder::new().name("resolve".into()).stack_size(64 << 10).spawn(move || {
            // Whoever asked may have given up.
            let _ = found.try_send(look_up(&name));
        });
    looking.map_err(|error| error.to_string())?;
    let found = answer.recv().await.map_err(|_| "the look-up ended without an answer")?;
    Ok(found?.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
}

fn look_up(name: &str) -> Result<Vec<IpAddr>, String> {
    if let Ok(ip) = name.trim_matches(['[', ']']).parse() {
        return Ok(vec![ip]);
    }
    let hosts = fs::read_to_string("/etc/hosts").unwrap_or_default();
    let known = in_hosts(&hosts, name);
    if !known.is_empty() {
        return Ok(known);
    }
    let config = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let mut why = format!("{name:?} is not in the hosts file, and no name server is configured");
    for server in servers(&config) {
        match ask(server, name) {
            Ok(found) if !found.is_empty() => return Ok(found),
            Ok(_) => why = format!("{name:?} has no address"),
            Err(error) => why = format!("name server {server}: {error}"),
        }
    }
    Err(why)
}

fn in_hosts(hosts: &str, name: &str) -> Vec<IpAddr> {
    let lines = hosts.lines().map(|line| line.split('#').next().unwrap_or_default());
    let matching = lines.filter_map(|line| {
        let mut words = line.split_whitespace();
        let ip = words.next()?.parse().ok()?;
        words.any(|word| word.eq_ignore_ascii_case(name)).then_some(ip)
    });
    matching.take(ADDRESSES_MAX).collect()
}

fn servers(config: &str) -> Vec<SocketAddr> {
    let lines = config.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    let addresses = lines.filter_map(|rest| rest.trim().parse::<IpAddr>().ok());
    addresses.take(SERVERS_MAX).map(|ip| SocketAddr::new(ip, DNS_PORT)).collect()
}

/// Both kinds of address of a name, from one server.
fn ask(server: SocketAddr, name: &str) -> io::Result<Vec<IpAddr>> {
    let any: SocketAddr =
        if server.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(any)?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(ANSWER_MAX))?;
    let mut found = Vec::new();
    for kind in [TYPE_A, TYPE_AAAA] {
        let id = fastrand::u16(..);
        let question = question(id, name, kind)
            .ok_or_else(|| io::Error::other("the name is too long or has an empty part"))?;
        found.extend(exchange(&socket, &question, kind)?);
    }
    Ok(found)
}

fn exchange(socket: &UdpSocket, question: &[u8], kind: u16) -> io::Result<Vec<IpAddr>> {
    let mut packet = [0; PACKET_BYTES_MAX];
    let mut last = io::Error::from(io::ErrorKind::TimedOut);
    for _ in 0..2 {
        socket.send(question)?;
        // A late answer to an earlier question is passed over, once per try.
        for _ in 0..2 {
            match socket.recv(&mut packet) {
                Ok(length) => {
                    if let Some(found) = answers(&packet[..length], question, kind) {
                        return Ok(found);
                    }
                }
                Err(error) => last = error,
            }
        }
    }
    Err(last)
}

/// A recursive question; `None` if the name cannot be asked for.
fn question(id: u16, name: &str, kind: u16) -> Option<Vec<u8>> {
    let mut packet = Vec::with_capacity(HEAD_BYTES + name.len() + 6);
    packet.extend_from_slice(&id.to_be_bytes());
    packet.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for part in name.trim_end_matches('.').split('.') {
        let length = u8::try_from(part.len()).ok().filter(|length| (1..=63).contains(length))?;
        packet.push(length);
        packet.extend_from_slice(part.as_bytes());
    }
    packet.push(0);
    packet.extend_from_slice(&kind.to_be_bytes());
    packet.extend_from_slice(&CLASS_IN.to_be_bytes());
    (packet.len() <= HEAD_BYTES + 255 + 4).then_some(packet)
}

/// The addresses in an answer; `None` if it is not the answer to this question.
fn answers(packet: &[u8], question: &[u8], kind: u16) -> Option<Vec<IpAddr>> {
    let number = |at: usize| Some(u16::from_be_bytes([*packet.get(at)?, *packet.get(at + 1)?]));
    let is_answer = packet.get(2)? & 0x80 != 0 && packet[..2] == question[..2];
    let asked = packet.get(HEAD_BYTES..question.len())?;
    if !is_answer || !asked.eq_ignore_ascii_case(&question[HEAD_BYTES..]) {
        return None;
    }
    let mut found = Vec::new();
    let mut at = question.len();
    for _ in 0..number(6)? {
        at = skip_name(packet, at)?;
        let (this, length) = (number(at)?, usize::from(number(at + 8)?));
        let data = packet.get(at + 10..at + 10 + length)?;
        at += 10 + length;
        let ip = match (this, data.len()) {
            (TYPE_A, 4) => data.first_chunk::<4>().map(|bytes| IpAddr::from(*bytes)),
            (TYPE_AAAA, 16) => data.first_chunk::<16>().map(|bytes| IpAddr::from(*bytes)),
            _ => None,
        };
        found.extend(ip.filter(|_| this == kind && found.len() < ADDRESSES_MAX));
    }
    Some(found)
}

/// One past a name: labels up to a zero, or up to a pointer, which is never followed.
fn skip_name(packet: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *packet.get(at)? {
            0 => return Some(at + 1),
            length if length & 0xc0 == 0xc0 => return Some(at + 2),
            length => at += 1 + usize::from(length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::block_on;

    #[test]
    fn addresses_need_no_look_up_and_the_hosts_file_comes_first() {
        let plain = block_on(resolve("127.0.0.1:80"));
        assert_eq!(plain, Ok(vec![([127, 0, 0, 1], 80).into()]));
        assert!(block_on(resolve("no port")).is_err());
        let hosts = "127.0.0.1 localhost here # there\n::1 HERE\n10.0.0.1 there\nbad line";
        assert_eq!(in_hosts(hosts, "here").len(), 2);
        assert_eq!(in_hosts(hosts, "there"), [IpAddr::from([10, 0, 0, 1])]);
        let config = "search x\nnameserver 10.0.0.1\n nameserver ::1\nnameserver bad\n";
        assert_eq!(servers(config).len(), 2);
    }

    /// A name server on loopback with one answer to each kind of question.
    #[test]
    fn a_name_server_is_asked_for_both_kinds() {
        let server = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let address = server.local_addr().expect("it is bound");
        let serving = thread::spawn(move || {
            for _ in 0..2 {
                let mut packet = [0; 512];
                let (length, from) = server.recv_from(&mut packet).expect("a question");
                let kind = packet[length - 3];
                let mut answer = packet[..length].to_vec();
                answer[2] |= 0x80;
                answer[7] = 1;
                answer.extend_from_slice(&[0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 9, 0]);
                let data: &[u8] = if kind == 1 { &[10, 1, 2, 3] } else { &[7; 16] };
                answer.push(data.len() as u8);
                answer.extend_from_slice(data);
                server.send_to(&answer, from).expect("it listens");
            }
        });
        let found = ask(address, "node.example").expect("an answer");
        serving.join().expect("it has answered twice");
        assert_eq!(found, [IpAddr::from([10, 1, 2, 3]), IpAddr::from([7u8; 16])]);
    }

    #[test]
    fn foreign_packets_are_refused_without_a_panic() {
        let asked = question(7, "node.example", TYPE_A).expect("a good name");
        let mut random = fastrand::Rng::with_seed(5);
        for _ in 0..20_000 {
            let mut packet = asked.clone();
            packet[2] |= 0x80;
            packet[7] = random.u8(..);
            packet.extend((0..random.usize(0..60)).map(|_| random.u8(..)));
            packet.truncate(random.usize(0..=packet.len()));
            let _ = answers(&packet, &asked, TYPE_A);
        }
        for bad in ["", "a..b", &"x".repeat(64), &"x.".repeat(200)] {
            assert_eq!(question(7, bad, TYPE_A), None, "{bad:?}");
        }
    }
}
