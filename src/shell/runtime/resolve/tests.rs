use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use futures_lite::future::block_on;

use super::*;
use crate::dns::NotFound;

/// What a name server answers.
#[derive(Clone)]
enum Reply {
    /// These addresses, of the kind that was asked for.
    Have(Vec<[u8; 4]>),
    /// An alias, and an address of what it leads to.
    Alias([u8; 4]),
    /// An IPv6 address.
    Have6([u8; 16]),
    /// Nothing of this kind.
    Nothing,
    /// Truncated; none of the addresses fits.
    Truncated,
    /// Only this code: 2 fails, 3 there is no such name, 5 refused.
    Code(u8),
    /// Bytes that do not belong there.
    Foreign,
    /// Never.
    Silence,
}

/// A question that came: the server's number, the name, whether for IPv6, whether by TCP.
type Asked = (usize, String, bool, bool);
type Rule = fn(&Asked) -> Reply;

/// Name servers at 127.0.0.1, 127.0.0.2 and so on, with UDP and TCP at one port.
struct NameServers {
    port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    addresses: Vec<SocketAddr>,
}

impl NameServers {
    fn start(count: usize, rule: Rule) -> NameServers {
        // The port is free at the first address; that it is at the others too takes a few tries.
        let bound = (0..100).find_map(|_| {
            let first = UdpSocket::bind("127.0.0.1:0").expect("a free port");
            let port = first.local_addr().expect("bound").port();
            drop(first);
            let each = (1..=count).map(|number| {
                let address = SocketAddr::from(([127, 0, 0, number as u8], port));
                Ok((UdpSocket::bind(address)?, TcpListener::bind(address)?))
            });
            each.collect::<io::Result<Vec<_>>>().ok()
        });
        let bound = bound.expect("ports that are free at all addresses");
        let addresses: Vec<_> =
            bound.iter().map(|(udp, _)| udp.local_addr().expect("bound")).collect();
        let (asked, is_over) =
            (Arc::<Mutex<Vec<Asked>>>::default(), Arc::new(AtomicBool::new(false)));
        let mut threads = Vec::new();
        for (number, (udp, tcp)) in bound.into_iter().enumerate() {
            let (log, over) = (asked.clone(), is_over.clone());
            threads.push(thread::spawn(move || serve_udp(number, &udp, (rule, &log, &over))));
            let (log, over) = (asked.clone(), is_over.clone());
            threads.push(thread::spawn(move || serve_tcp(number, &tcp, (rule, &log, &over))));
        }
        let port = addresses.first().map_or(1, SocketAddr::port);
        NameServers { port, asked, is_over, threads, addresses }
    }

    /// Looks `name` up; what fails is the name, not the machine.
    fn look_up(&self, name: &str, lines: &str) -> Result<Vec<IpAddr>, NotFound> {
        self.try_look_up(name, lines).map_err(|error| match error {
            ResolveError::NotFound(why) => why,
            other => panic!("{other}"),
        })
    }

    /// Looks `name` up with these lines of resolv.conf and a hosts file that has one name.
    fn try_look_up(&self, name: &str, lines: &str) -> Result<Vec<IpAddr>, ResolveError> {
        let folder =
            std::env::temp_dir().join(format!("resolve-{}-{}", std::process::id(), self.port));
        fs::create_dir_all(&folder).expect("a folder");
        let path = |file: &str| folder.join(file);
        fs::write(path("hosts"), "10.9.9.9 own.example own\n").expect("written");
        fs::write(path("resolv.conf"), lines).expect("written");
        let sources = Sources {
            hosts: &path("hosts"),
            settings: &path("resolv.conf"),
            host_name: &path("none"),
            port: self.port,
        };
        let found = look_up(name, &sources);
        fs::remove_dir_all(&folder).expect("removed");
        found
    }

    fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.lock().expect("not poisoned"))
    }
}

impl Drop for NameServers {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        for address in &self.addresses {
            let wake = UdpSocket::bind("127.0.0.1:0").expect("a free port");
            let _ = (wake.send_to(&[], address), TcpStream::connect(address));
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

type Serving<'a> = (Rule, &'a Mutex<Vec<Asked>>, &'a AtomicBool);

fn serve_udp(number: usize, socket: &UdpSocket, (rule, log, is_over): Serving<'_>) {
    let mut packet = [0; 600];
    while let Ok((length, from)) = socket.recv_from(&mut packet) {
        if is_over.load(Ordering::SeqCst) {
            return;
        }
        for answer in answers(number, &packet[..length], false, (rule, log)) {
            let _ = socket.send_to(&answer, from);
        }
    }
}

fn serve_tcp(number: usize, listener: &TcpListener, (rule, log, is_over): Serving<'_>) {
    while let Ok((mut stream, _)) = listener.accept() {
        if is_over.load(Ordering::SeqCst) {
            return;
        }
        let mut length = [0; 2];
        stream.read_exact(&mut length).expect("a length");
        let mut packet = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut packet).expect("a question");
        for answer in answers(number, &packet, true, (rule, log)) {
            let length = (answer.len() as u16).to_be_bytes();
            let _ = stream.write_all(&[&length[..], &answer].concat());
        }
    }
}

fn answers(
    number: usize,
    question: &[u8],
    is_stream: bool,
    (rule, log): (Rule, &Mutex<Vec<Asked>>),
) -> Vec<Vec<u8>> {
    let labels = &question[12..question.len() - 5];
    let (mut name, mut at) = (String::new(), 0);
    while at < labels.len() {
        let end = at + 1 + usize::from(labels[at]);
        name.push_str(&format!("{}.", String::from_utf8_lossy(&labels[at + 1..end])));
        at = end;
    }
    let kind = question[question.len() - 3];
    let asked = (number, name, kind == 28, is_stream);
    let reply = rule(&asked);
    log.lock().expect("not poisoned").push(asked);
    let mut answer = question.to_vec();
    answer[2] |= 0x80;
    let mut add = |owner: &[u8], kind: u8, data: &[u8]| {
        answer[7] += 1;
        answer.extend_from_slice(owner);
        answer.extend_from_slice(&[0, kind, 0, 1, 0, 0, 0, 9, 0, data.len() as u8]);
        answer.extend_from_slice(data);
    };
    match reply {
        Reply::Have(ips) => ips.iter().for_each(|ip| add(&[0xc0, 12], kind, ip)),
        Reply::Have6(ip) => add(&[0xc0, 12], kind, &ip),
        Reply::Alias(ip) => {
            add(&[0xc0, 12], 5, b"\x04real\x07example\x00");
            add(b"\x04Real\x07example\x00", kind, &ip);
        }
        Reply::Nothing => {}
        Reply::Truncated => answer[2] |= 2,
        Reply::Code(code) => answer[3] |= code,
        Reply::Foreign => {
            let mut other = answer.clone();
            other[0] ^= 1;
            let mut unasked = answer.clone();
            unasked[13] ^= 1;
            return vec![Vec::new(), vec![7; 5], other, unasked, answer[..11].to_vec()];
        }
        Reply::Silence => return Vec::new(),
    }
    vec![answer]
}

fn v4(last: u8) -> Result<Vec<IpAddr>, NotFound> {
    Ok(vec![[10, 0, 0, last].into()])
}

const ONE: &str = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n";
const TWO: &str = "nameserver 127.0.0.1\nnameserver 127.0.0.2\noptions timeout:1 attempts:1\n";

#[test]
fn addresses_and_the_hosts_file_need_no_name_server() {
    let found = block_on(resolve("127.0.0.1:80")).expect("an address");
    assert_eq!(found, [SocketAddr::from(([127, 0, 0, 1], 80))]);
    assert!(matches!(block_on(resolve("no port")), Err(ResolveError::NoPort)));
    let servers = NameServers::start(1, |_| Reply::Have(vec![[6, 6, 6, 6]]));
    assert_eq!(servers.look_up("OWN", ONE), Ok(vec![[10, 9, 9, 9].into()]));
    assert_eq!(servers.look_up("x.localhost", ONE).map(|found| found.len()), Ok(2));
    assert_eq!(servers.asked(), []);
}

/// One kind of address is enough, however the other fails; nothing is asked again for it.
#[test]
fn one_kind_of_address_is_enough() {
    let rules: [Rule; 3] = [
        |asked| if asked.2 { Reply::Silence } else { Reply::Have(vec![[10, 0, 0, 1]]) },
        |asked| if asked.2 { Reply::Code(2) } else { Reply::Have(vec![[10, 0, 0, 1]]) },
        |asked| if asked.2 { Reply::Foreign } else { Reply::Alias([10, 0, 0, 1]) },
    ];
    for rule in rules {
        let servers = NameServers::start(2, rule);
        assert_eq!(servers.look_up("seed.example", TWO), v4(1));
        assert_eq!(servers.asked().len(), 2);
    }
    let servers = NameServers::start(2, |asked| match asked.2 {
        true => Reply::Have6([7; 16]),
        false => Reply::Silence,
    });
    assert_eq!(servers.look_up("seed.example", TWO), Ok(vec![[7; 16].into()]));
    assert_eq!(servers.asked().len(), 2);
}

#[test]
fn a_server_that_does_not_answer_is_followed_by_the_next() {
    let rules: [Rule; 5] = [
        |asked| if asked.0 == 0 { Reply::Code(5) } else { Reply::Have(vec![[10, 0, 0, 2]]) },
        |asked| if asked.0 == 0 { Reply::Code(2) } else { Reply::Have(vec![[10, 0, 0, 2]]) },
        |asked| if asked.0 == 0 { Reply::Silence } else { Reply::Have(vec![[10, 0, 0, 2]]) },
        |asked| if asked.0 == 0 { Reply::Foreign } else { Reply::Have(vec![[10, 0, 0, 2]]) },
        // By a datagram it says that there is more, and by TCP nothing.
        |asked| match asked.0 {
            0 if asked.3 => Reply::Silence,
            0 => Reply::Truncated,
            _ => Reply::Have(vec![[10, 0, 0, 2]]),
        },
    ];
    for rule in rules {
        let servers = NameServers::start(2, rule);
        let found = servers.look_up("seed.example", TWO).map(|found| found[0]);
        assert_eq!(found, Ok([10, 0, 0, 2].into()));
    }
    // Nothing listens at the first: the kernel says so at once.
    let servers = NameServers::start(1, |_| Reply::Have(vec![[10, 0, 0, 2]]));
    let lines = "nameserver 127.0.0.9\nnameserver 127.0.0.1\noptions timeout:30\n";
    assert_eq!(
        servers.look_up("seed.example", lines).map(|found| found[0]),
        Ok([10, 0, 0, 2].into())
    );
}

/// A pod of Kubernetes: `ndots:5` and three suffixes.
#[test]
fn the_search_list_is_walked_past_names_that_do_not_exist_or_fail() {
    let pod = "search ns.svc.cluster.local svc.cluster.local cluster.local\n\
               nameserver 127.0.0.1\noptions ndots:5 timeout:1 attempts:1\n";
    let rule: Rule = |asked| match (asked.1.as_str(), asked.2) {
        ("seed.ns.svc.cluster.local." | "seed.example.", false) => Reply::Have(vec![[10, 0, 0, 3]]),
        ("seed.other.svc.cluster.local.", false) => Reply::Have(vec![[10, 0, 0, 4]]),
        ("seed.example.svc.cluster.local.", _) => Reply::Code(2),
        _ if asked.2 => Reply::Nothing,
        _ => Reply::Code(3),
    };
    let servers = NameServers::start(1, rule);
    assert_eq!(servers.look_up("Seed", pod), v4(3));
    assert_eq!(servers.look_up("seed.other", pod), v4(4));
    assert_eq!(servers.look_up("seed.other.svc.cluster.local", pod), v4(4));
    servers.asked();
    assert_eq!(servers.look_up("seed.example", pod), v4(3));
    assert_eq!(servers.asked().len(), 2 * 4);
    assert_eq!(servers.look_up("seed.example.", pod), v4(3));
    assert_eq!(servers.asked().len(), 2);
    let suffixes = ["ns.svc.cluster.local", "svc.cluster.local", "cluster.local"];
    let mut tried: Vec<String> = suffixes.iter().map(|suffix| format!("none.{suffix}")).collect();
    tried.push("none".into());
    assert_eq!(servers.look_up("none", pod), Err(NotFound::Unknown(tried)));
}

#[test]
fn a_truncated_answer_is_fetched_by_tcp() {
    let servers = NameServers::start(1, |asked| match asked.2 {
        true => Reply::Nothing,
        false if asked.3 => Reply::Have((1..=40).map(|last| [10, 0, 0, last]).collect()),
        false => Reply::Truncated,
    });
    let found = servers.look_up("seed.example", ONE).expect("by TCP");
    assert_eq!(found.len(), 40);
    assert_eq!(servers.asked().iter().filter(|asked| asked.3).count(), 1);
}

#[test]
fn errors_name_the_server_and_what_it_did() {
    let silent = NameServers::start(1, |_| Reply::Silence);
    let why = silent.look_up("seed.example", ONE).expect_err("nothing answers");
    assert_eq!(why.to_string(), format!("name server 127.0.0.1:{} does not answer", silent.port));
    let refusing = NameServers::start(1, |_| Reply::Code(5));
    let why = refusing.look_up("seed.example", ONE).expect_err("it refuses").to_string();
    assert!(why.ends_with("answers REFUSED"), "{why}");
    let nowhere = "nameserver fe80::1%no-such-interface\n";
    let why = refusing.try_look_up("seed.example", nowhere).expect_err("no server is left");
    assert!(matches!(why, ResolveError::NoNameServer), "{why}");
}

/// A name server that is reached by IPv6, with the interface named or numbered.
#[test]
fn servers_have_zones() {
    let local = NameServer { ip: IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, 1]), zone: "lo".into() };
    let numbered = NameServer { zone: "1".into(), ..local.clone() };
    assert_eq!(socket_address(&local, 53), socket_address(&numbered, 53));
    let Some(SocketAddr::V6(address)) = socket_address(&local, 53) else { panic!("an address") };
    assert_eq!((address.scope_id(), address.port()), (1, 53));
    let up = NameServer { zone: "../x".into(), ..local };
    assert_eq!(socket_address(&up, 53), None);
}
