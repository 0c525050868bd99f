//! One question to a name server and its answer, in bytes (RFC 1035, section 4).
//!
//! In: a name and a kind of address; a packet. Out: a packet; what the answer says of the name,
//! aliases followed. Never: reads beyond the packet, follows a pointer that does not lead
//! backwards.

use std::net::IpAddr;

use crate::base::limits;

const HEAD_BYTES: usize = 12;
const NAME_BYTES_MAX: usize = 255;
const LABEL_BYTES_MAX: usize = 63;
const CLASS_IN: u16 = 1;
const TYPE_A: u16 = 1;
const TYPE_CNAME: u16 = 5;
const TYPE_AAAA: u16 = 28;
/// The name does not exist.
const CODE_NAME_ERROR: u8 = 3;

/// The kinds of address that a look-up asks for, one question each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum AddressKind {
    V4,
    V6,
}

impl AddressKind {
    fn number(self) -> u16 {
        match self {
            AddressKind::V4 => TYPE_A,
            AddressKind::V6 => TYPE_AAAA,
        }
    }
}

/// A question, by which its answer is known again.
#[derive(Clone, Debug)]
pub(super) struct Question {
    id: u16,
    /// In lower case, as labels.
    name: Vec<u8>,
    kind: AddressKind,
}

/// What a server's answer says of the name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum NameAnswer {
    /// Addresses; none if the name has none of this kind, or does not exist.
    Whole(Vec<IpAddr>),
    /// The answer did not fit; these came.
    Truncated(Vec<IpAddr>),
    /// The server does not answer such questions, by this code.
    Refused(u8),
    /// The packet answers the question, and cannot be read.
    Malformed,
}

impl Question {
    /// `None` if there can be no such name: it is too long, or a part of it is empty or too long.
    pub(super) fn new(id: u16, name: &str, kind: AddressKind) -> Option<Question> {
        let mut labels = Vec::with_capacity(name.len() + 2);
        for part in name.split('.') {
            let is_good = (1..=LABEL_BYTES_MAX).contains(&part.len()) && part.is_ascii();
            labels.push(u8::try_from(part.len()).ok().filter(|_| is_good)?);
            labels.extend(part.bytes().map(|byte| byte.to_ascii_lowercase()));
        }
        labels.push(0);
        (labels.len() <= NAME_BYTES_MAX).then_some(Question { id, name: labels, kind })
    }

    /// The question as a packet, recursion desired.
    pub(super) fn packet(&self) -> Vec<u8> {
        let mut packet = Vec::with_capacity(HEAD_BYTES + self.name.len() + 4);
        packet.extend_from_slice(&self.id.to_be_bytes());
        packet.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        packet.extend_from_slice(&self.name);
        packet.extend_from_slice(&self.kind.number().to_be_bytes());
        packet.extend_from_slice(&CLASS_IN.to_be_bytes());
        packet
    }

    /// What the packet answers; `None` if it is not the answer to this question.
    pub(super) fn read(&self, packet: &[u8]) -> Option<NameAnswer> {
        let flags = number(packet, 2)?;
        let (is_answer, code) = (flags & 0xf800 == 0x8000, (flags & 0xf) as u8);
        if number(packet, 0)? != self.id || !is_answer {
            return None;
        }
        let questions = number(packet, 4)?;
        // Some servers refuse without a word of what.
        if questions == 0 && !matches!(code, 0 | CODE_NAME_ERROR) {
            return Some(NameAnswer::Refused(code));
        }
        let (name, end) = read_name(packet, HEAD_BYTES)?;
        let is_mine = name == self.name && number(packet, end)? == self.kind.number();
        if questions != 1 || !is_mine || number(packet, end + 2)? != CLASS_IN {
            return None;
        }
        let is_truncated = flags & 0x200 != 0;
        Some(match code {
            0 => {
                let mut found = Vec::new();
                let is_whole = self.read_records(packet, end + 4, &mut found).is_some();
                match (is_truncated, is_whole) {
                    (true, _) => NameAnswer::Truncated(found),
                    (false, true) => NameAnswer::Whole(found),
                    (false, false) => NameAnswer::Malformed,
                }
            }
            CODE_NAME_ERROR => NameAnswer::Whole(Vec::new()),
            code => NameAnswer::Refused(code),
        })
    }

    /// The addresses of the name, or of the name that it is an alias of, and so on. An alias stands
    /// before what it leads to, so one pass is enough, and a circle is no trouble.
    fn read_records(&self, packet: &[u8], mut at: usize, found: &mut Vec<IpAddr>) -> Option<()> {
        let mut wanted = self.name.clone();
        for _ in 0..number(packet, 6)? {
            let (owner, end) = read_name(packet, at)?;
            let (kind, class) = (number(packet, end)?, number(packet, end + 2)?);
            let (start, length) = (end + 10, usize::from(number(packet, end + 8)?));
            let data = packet.get(start..start + length)?;
            at = start + length;
            if owner != wanted || class != CLASS_IN {
                continue;
            }
            if kind == TYPE_CNAME {
                wanted = read_name(packet, start)?.0;
            } else if kind == self.kind.number() && found.len() < limits::ADDRESSES_MAX {
                found.push(match self.kind {
                    AddressKind::V4 => IpAddr::from(<[u8; 4]>::try_from(data).ok()?),
                    AddressKind::V6 => IpAddr::from(<[u8; 16]>::try_from(data).ok()?),
                });
            }
        }
        Some(())
    }
}

fn number(packet: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*packet.get(at)?, *packet.get(at + 1)?]))
}

/// A name as labels in lower case, and the offset after it. A pointer has to lead before the part
/// that it ends, so that there is an end.
fn read_name(packet: &[u8], start: usize) -> Option<(Vec<u8>, usize)> {
    let (mut name, mut at, mut part, mut end) = (Vec::new(), start, start, None);
    loop {
        let length = *packet.get(at)?;
        match length {
            0 => {
                name.push(0);
                let is_short = name.len() <= NAME_BYTES_MAX;
                return is_short.then_some((name, end.unwrap_or(at + 1)));
            }
            1..=63 => {
                let label = packet.get(at + 1..at + 1 + usize::from(length))?;
                name.push(length);
                name.extend(label.iter().map(u8::to_ascii_lowercase));
                at += 1 + label.len();
                if name.len() > NAME_BYTES_MAX {
                    return None;
                }
            }
            0xc0.. => {
                let target = usize::from(number(packet, at)? & 0x3fff);
                end = end.or(Some(at + 2));
                if target >= part {
                    return None;
                }
                (at, part) = (target, target);
            }
            _ => return None,
        }
    }
}
