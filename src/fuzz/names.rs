//! A name that is looked up at servers which answer anything.
//!
//! In: resolv.conf and packets that a fuzzer chose. Out: a failed assertion where the look-up does
//! not end, or exceeds a bound. Never: sends anything.

use super::input::Input;
use crate::base::{Moment, limits};
use crate::dns::{Lookup, Output, ResolverSettings, hosts_line};

/// More questions than any settings ask for within the time.
const QUESTIONS_MAX: usize = 2 * 3 * 5 * (limits::SEARCH_MAX + 1);

pub(super) fn name_answers(input: &[u8]) {
    let mut input = Input(input);
    let (text, name) = (input.text(), input.text());
    let _ = hosts_line(&text, &name);
    let settings = ResolverSettings::read(&text, &name);
    assert!((1..=limits::NAME_SERVERS_MAX).contains(&settings.servers.len()));
    assert!(settings.search.len() <= limits::SEARCH_MAX);
    let servers: Vec<_> = settings.servers.iter().map(|server| (server.ip, 53).into()).collect();
    let mut lookup = Lookup::new((settings, servers.clone()), &name, [7; 16], Moment::ZERO);
    let (mut now, mut questions, mut last) = (Moment::ZERO, 0, Vec::new());
    loop {
        while let Some(output) = lookup.poll_output() {
            match output {
                Output::Datagram { server, packet } | Output::Stream { server, packet } => {
                    assert!(servers.contains(&server) && packet.len() <= 12 + 255 + 4);
                    (questions, last) = (questions + 1, packet);
                    assert!(questions <= QUESTIONS_MAX);
                }
                Output::Found(found) => {
                    // Of each kind so many.
                    assert!(found.is_err_and(|why| !why.to_string().is_empty()) || questions > 0);
                    assert_eq!((lookup.next_deadline(), lookup.poll_output()), (None, None));
                    return;
                }
            }
        }
        let kind = input.byte();
        match kind % 5 {
            0 | 1 => {
                // An answer to the last question, and anything behind it.
                let mut packet = last.clone();
                if packet.len() > 12 {
                    packet[2] |= 0x80 | (kind >> 6 & 2);
                    packet[3] = kind >> 3 & 7;
                    packet[7] = input.byte();
                }
                packet.extend_from_slice(input.bytes());
                lookup.handle_packet(now, &packet);
            }
            2 => lookup.handle_packet(now, input.bytes()),
            3 => match kind & 8 {
                0 => lookup.handle_unreachable(now),
                _ => lookup.handle_stream_failed(now),
            },
            _ => {
                now = lookup.next_deadline().expect("it is not over");
                lookup.handle_timeout(now);
                assert!(now <= Moment::ZERO + limits::LOOK_UP_MAX);
            }
        }
        if input.is_over() {
            now = lookup.next_deadline().unwrap_or(now);
            lookup.handle_timeout(now);
        }
    }
}
