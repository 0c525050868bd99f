//! What a supervisor hears of the built program by the protocol of sd_notify(3).

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use vendor_tests::node::{Node, PATIENCE};

/// The next message that is no sign of life, and how many of those came before it.
fn heard(socket: &UnixDatagram) -> (String, usize) {
    let (mut buffer, mut lives) = ([0; 512], 0);
    loop {
        let length = socket.recv(&mut buffer).expect("a message in time");
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        if text != "WATCHDOG=1" {
            return (text, lives);
        }
        lives += 1;
    }
}

fn listen(socket: UnixDatagram) -> UnixDatagram {
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    socket
}

#[tokio::test]
async fn a_supervisor_hears_of_start_reload_life_and_stop() {
    let folder = tempfile::tempdir().expect("a temp dir");
    let path = folder.path().join("notify");
    let socket = listen(UnixDatagram::bind(&path).expect("a socket"));
    let path = path.to_str().expect("a plain path");
    let mut node = Node::start(&[
        ("NOTIFY_SOCKET", path),
        ("WATCHDOG_USEC", "40000"),
        ("STEMEDB_DRAIN_DELAY", "100ms"),
    ]);
    let (first, _) = heard(&socket);
    assert_eq!(first, "STATUS=reading the log\nEXTEND_TIMEOUT_USEC=30000000");
    assert_eq!(heard(&socket).0, "READY=1\nSTATUS=serving");
    let mut buffer = [0; 64];
    for _ in 0..5 {
        let length = socket.recv(&mut buffer).expect("it lives");
        assert_eq!(&buffer[..length], b"WATCHDOG=1");
    }
    // It was ready when it said so.
    node.get("/v1/health/ready").await;
    node.send("-HUP");
    let (reloading, _) = heard(&socket);
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert_eq!(heard(&socket).0, "READY=1\nSTATUS=serving");
    node.send("-TERM");
    let (stopping, _) = heard(&socket);
    assert!(stopping.starts_with("STOPPING=1\nSTATUS=draining\n"), "{stopping}");
    assert!(node.ended().await.success());
}

#[tokio::test]
async fn a_name_of_the_abstract_namespace_is_one_and_a_wrong_one_ends_nothing() {
    let name = format!("stemedb-supervised-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("a name");
    let socket = listen(UnixDatagram::bind_addr(&address).expect("a socket"));
    let node = Node::start(&[("NOTIFY_SOCKET", &format!("@{name}"))]);
    assert_eq!(heard(&socket).1, 0);
    assert_eq!(heard(&socket), ("READY=1\nSTATUS=serving".to_owned(), 0));
    drop(node);
    for wrong in ["/nowhere/at/all", "nonsense"] {
        let node = Node::start(&[("NOTIFY_SOCKET", wrong)]);
        node.get("/v1/health").await;
        assert!(node.log().contains("NOTIFY_SOCKET: "), "{}", node.log());
    }
}
