//! Membership updates of `sync.proto` and the updates of [`crate::swim`].
//!
//! In: messages of a peer, or updates to send. Out: the other form. A state that this version
//! does not know is passed over, as another version may have more of them.
//!
//! Never: trusts a length.

use std::net::IpAddr;

use bytes::Bytes;

use super::bad_message::BadMessage;
use super::foreign;
use super::pb::{edge, sync as pb};
use crate::base::{NodeId, limits};
use crate::swim::{Ack, State, Update};

/// Longest address, in bytes: a host name, a colon and a port, in brackets if it is IPv6.
const ADDRESS_BYTES_MAX: usize = limits::HOST_BYTES_MAX + 8;

/// Where the sender of an address is: `127.0.0.1` is a node to a sender on this machine alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sender {
    /// On this machine: its loopback addresses are nodes here, too.
    SameMachine,
    /// On another one, or it is not known where.
    Elsewhere,
}

impl Sender {
    /// The sender at the other end of a connection, which is `near` if both ends have one address.
    pub fn at(is_near: bool) -> Sender {
        if is_near { Sender::SameMachine } else { Sender::Elsewhere }
    }
}

/// Updates as messages, in the same order.
pub fn updates(updates: Vec<Update>) -> Vec<pb::MembershipUpdate> {
    let one = |update: Update| pb::MembershipUpdate {
        node_id: Bytes::copy_from_slice(&update.node.0),
        rpc_addr: update.rpc_addr,
        api_addr: update.api_addr,
        state: update.state as u32,
        lamport_time: update.lamport,
        incarnation: update.incarnation,
    };
    updates.into_iter().map(one).collect()
}

/// Reads the updates of a message; refuses it if one of them is malformed.
pub fn read_updates(updates: Vec<pb::MembershipUpdate>) -> Result<Vec<Update>, BadMessage> {
    if updates.len() > limits::MEMBERS_MAX {
        return Err(BadMessage::UpdateCount(updates.len()));
    }
    updates.into_iter().filter_map(|update| read_update(update).transpose()).collect()
}

fn read_update(update: pb::MembershipUpdate) -> Result<Option<Update>, BadMessage> {
    let node = read_node(&update.node_id)?;
    for address in [&update.rpc_addr, &update.api_addr] {
        check_address(address)?;
    }
    Ok(State::of(update.state).map(|state| Update {
        node,
        rpc_addr: update.rpc_addr,
        api_addr: update.api_addr,
        state,
        lamport: update.lamport_time,
        incarnation: update.incarnation,
    }))
}

/// Who answered a ping, what it knows, and the digest of its member list.
pub fn read_ack(answer: pb::PingResponse, digest: Option<u64>) -> Result<Ack, BadMessage> {
    check_address(&answer.rpc_addr)?;
    check_address(&answer.api_addr)?;
    Ok(Ack {
        node: read_node(&answer.node_id)?,
        addresses: (answer.rpc_addr, answer.api_addr),
        updates: read_updates(answer.updates)?,
        digest,
    })
}

/// The member that a peer wants probed, and where.
pub fn read_target(
    request: &edge::ProbeForRequest,
    sender: Sender,
) -> Result<(NodeId, String), BadMessage> {
    let node = read_node(&request.target_id)?;
    let address = &request.target_rpc_addr;
    check_address(address)?;
    if !is_dialable(address, sender) {
        return Err(BadMessage::NotDialable(address.clone()));
    }
    Ok((node, address.clone()))
}

/// Whether an address may be one; empty is none.
pub fn check_address(address: &str) -> Result<(), BadMessage> {
    if address.is_empty() || is_address(address) {
        return Ok(());
    }
    Err(BadMessage::Address(foreign::shown(address)))
}

/// Empties the addresses that lead to no node from here: how many they are, and one of them.
pub fn screen(updates: &mut [Update], sender: Sender) -> Option<(u64, String)> {
    let addresses = updates.iter_mut().flat_map(|it| [&mut it.rpc_addr, &mut it.api_addr]);
    screen_all(addresses, sender)
}

/// As [`screen`], of all that an answer to a ping says.
pub fn screen_ack(ack: &mut Ack, sender: Sender) -> Option<(u64, String)> {
    let own = [&mut ack.addresses.0, &mut ack.addresses.1].into_iter();
    let others = ack.updates.iter_mut().flat_map(|it| [&mut it.rpc_addr, &mut it.api_addr]);
    screen_all(own.chain(others), sender)
}

fn screen_all<'a>(
    addresses: impl Iterator<Item = &'a mut String>,
    sender: Sender,
) -> Option<(u64, String)> {
    let mut refused = None;
    for address in addresses.filter(|it| !it.is_empty() && !is_dialable(it, sender)) {
        let address = std::mem::take(address);
        refused = refused.map_or(Some((1, address)), |(count, first)| Some((count + 1, first)));
    }
    refused
}

/// Whether an address leads from this machine to one node: it has a port, and is not one that
/// means all of them, many, or each machine itself. The last is this one if the sender is on it.
pub fn is_dialable(address: &str, sender: Sender) -> bool {
    let Some((host, port)) = address.rsplit_once(':') else { return false };
    if port.parse() == Ok(0_u16) {
        return false;
    }
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let ip = bare.split('%').next().unwrap_or_default().parse::<IpAddr>();
    let is_near = sender == Sender::SameMachine;
    match ip.map(|ip| ip.to_canonical()) {
        Ok(IpAddr::V4(ip)) if ip.is_broadcast() => false,
        Ok(ip) if ip.is_unspecified() || ip.is_multicast() => false,
        Ok(ip) => is_near || !ip.is_loopback(),
        Err(_) => is_name(bare) && (is_near || !is_localhost(bare)),
    }
}

/// What the C library reads as an address (`0`, `127.1`, `0x7f000001`) is no name: its last label
/// is a number (URL Standard, "ends in a number").
fn is_name(host: &str) -> bool {
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    let is_number = last.bytes().all(|byte| byte.is_ascii_digit())
        || last.len() >= 2 && last[..2].eq_ignore_ascii_case("0x");
    !is_number
}

/// Names that mean every machine itself: RFC 6761, section 6.3, and those of common hosts files.
fn is_localhost(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let names = ["localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback"];
    names.contains(&&*host) || host.ends_with(".localhost")
}

/// A host name or an IP address, those of IPv6 in brackets, and a port: it is logged, shown and
/// dialled, so nothing else may be in it.
fn is_address(address: &str) -> bool {
    let Some((host, port)) = address.rsplit_once(':') else { return false };
    let (host, others): (_, &[u8]) =
        match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(host) => (host, b":.%"),
            None => (host, b"-._"),
        };
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || others.contains(&byte);
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    address.len() <= ADDRESS_BYTES_MAX && !host.is_empty() && host.bytes().all(is_fit) && is_port
}

/// A member's id: 16 bytes, not all zeros, which stand for no node in a stamp.
pub fn read_node(bytes: &[u8]) -> Result<NodeId, BadMessage> {
    let node = NodeId::from_slice(bytes).filter(|node| *node != NodeId::NONE);
    node.ok_or(BadMessage::NodeId { bytes: bytes.len() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(number: u8) -> Update {
        Update {
            node: NodeId([number; 16]),
            rpc_addr: format!("node{number}:18182"),
            api_addr: "[::1]:18180".into(),
            state: State::Suspect,
            lamport: 7,
            incarnation: u64::MAX,
        }
    }

    #[test]
    fn updates_come_back_as_they_went_and_unknown_states_do_not() {
        let sent = vec![update(1), update(2)];
        let mut message = updates(sent.clone());
        assert_eq!(read_updates(message.clone()), Ok(sent.clone()));
        message[0].state = 9;
        assert_eq!(read_updates(message), Ok(sent[1..].to_vec()));
    }

    #[test]
    fn nonsense_is_refused_with_a_reason() {
        let check = |change: fn(&mut pb::MembershipUpdate), why: &str| {
            let mut message = updates(vec![update(1)]);
            change(&mut message[0]);
            let refused = read_updates(message).expect_err(why).to_string();
            assert!(refused.contains(why), "{refused}");
        };
        check(|it| it.node_id = Bytes::from_static(b"short"), "has 5 bytes, it takes 16");
        check(|it| it.node_id = Bytes::from_static(&[0; 16]), "not all 0");
        check(|it| it.rpc_addr = "x".repeat(300), "takes host:port");
        check(|it| it.api_addr = "a b".into(), "takes host:port");
        for address in ["a\nb:1", "\u{1b}[2J:1", "a", "a:", ":1", "a:65536", "a:+1", "a/b:1"] {
            assert!(check_address(address).is_err(), "{address:?}");
        }
        for address in ["", "node_1.a-b:18182", "10.0.0.7:1", "[fe80::1%2]:65535"] {
            assert_eq!(check_address(address), Ok(()), "{address:?}");
        }
        let many = vec![updates(vec![update(1)]).remove(0); limits::MEMBERS_MAX + 1];
        assert!(read_updates(many).expect_err("too many").to_string().contains("at most 2048"));
    }

    #[test]
    fn addresses_of_another_machine_lead_there() {
        for (address, is_good, is_good_near) in [
            ("10.0.0.7:18182", true, true),
            ("node1.example:18182", true, true),
            ("[fe80::1%2]:18182", true, true),
            ("[::ffff:10.0.0.7]:1", true, true),
            ("0.0.0.0:18182", false, false),
            ("[::]:18182", false, false),
            ("[::ffff:0.0.0.0]:18182", false, false),
            ("255.255.255.255:1", false, false),
            ("[ff02::1]:1", false, false),
            ("10.0.0.7:0", false, false),
            ("node1:00", false, false),
            ("0:18182", false, false),
            ("127.1:18182", false, false),
            ("0x7f000001:18182", false, false),
            ("127.0.0.1:18182", false, true),
            ("127.8.9.1:18182", false, true),
            ("[::1]:18182", false, true),
            ("[::ffff:127.0.0.1]:18182", false, true),
            ("localhost:18182", false, true),
            ("LocalHost.:18182", false, true),
            ("a.localhost:18182", false, true),
        ] {
            assert_eq!(is_dialable(address, Sender::Elsewhere), is_good, "{address}");
            assert_eq!(is_dialable(address, Sender::SameMachine), is_good_near, "{address} near");
        }
        let named = Update { rpc_addr: "0.0.0.0:1".into(), ..update(1) };
        let mut both = [named.clone(), update(2)];
        let count = screen(&mut both, Sender::Elsewhere);
        // The API of both is on loopback.
        assert_eq!(count, Some((3, "0.0.0.0:1".to_owned())));
        assert_eq!([&*both[0].rpc_addr, &*both[1].rpc_addr], ["", "node2:18182"]);
        assert_eq!(screen(&mut both, Sender::Elsewhere), None);
        let addresses = ("localhost:1".to_owned(), "[::1]:2".to_owned());
        let mut ack = Ack { node: named.node, addresses, updates: vec![named], digest: None };
        assert_eq!(screen_ack(&mut ack, Sender::SameMachine), Some((1, "0.0.0.0:1".to_owned())));
        assert_eq!(screen_ack(&mut ack, Sender::Elsewhere).map(|(count, _)| count), Some(3));
    }
}
