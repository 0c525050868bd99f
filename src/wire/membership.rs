//! Membership updates of `sync.proto` and the updates of [`crate::swim`].
//!
//! In: messages of a peer, or the room's wishes. Out: the other form. A state that this version
//! does not know is passed over, as another version may have more of them.
//!
//! Never: trusts a length.

use bytes::Bytes;

use super::foreign;
use super::pb::sync as pb;
use crate::base::{NodeId, limits};
use crate::swim::{Ack, State, Update};

/// Longest address, in bytes: a host name, a colon and a port, in brackets if it is IPv6.
const ADDRESS_BYTES_MAX: usize = limits::HOST_BYTES_MAX + 8;

/// What to send.
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

/// What a peer sent.
pub fn read_updates(updates: Vec<pb::MembershipUpdate>) -> Result<Vec<Update>, String> {
    let (count, allowed) = (updates.len(), limits::MEMBERS_MAX);
    if count > allowed {
        return Err(format!("{count} membership updates in one message, at most {allowed}"));
    }
    updates.into_iter().filter_map(|update| read_update(update).transpose()).collect()
}

fn read_update(update: pb::MembershipUpdate) -> Result<Option<Update>, String> {
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

/// Who answered a ping, and what it knows.
pub fn read_ack(answer: pb::PingResponse) -> Result<Ack, String> {
    check_address(&answer.rpc_addr)?;
    check_address(&answer.api_addr)?;
    Ok(Ack {
        node: read_node(&answer.node_id)?,
        addresses: (answer.rpc_addr, answer.api_addr),
        updates: read_updates(answer.updates)?,
    })
}

/// Whether an address may be one; empty is none.
pub fn check_address(address: &str) -> Result<(), String> {
    if address.is_empty() || is_address(address) {
        return Ok(());
    }
    Err(format!("an address takes host:port, not {:?}", foreign::shown(address)))
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

/// A member's id.
pub fn read_node(bytes: &[u8]) -> Result<NodeId, String> {
    let node = NodeId::from_slice(bytes).filter(|node| *node != NodeId::NONE);
    node.ok_or_else(|| format!("node_id has {} bytes, it takes 16 that are not all 0", bytes.len()))
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
            let refused = read_updates(message).expect_err(why);
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
        assert!(read_updates(many).expect_err("too many").contains("at most 2048"));
    }
}
