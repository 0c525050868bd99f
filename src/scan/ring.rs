//! Round robin: between hosts, between the clients that a host asks for, between the calls of each.
//!
//! In: tickets with their clients. Out: whose call was served least lately. Never: forgets that a
//! host was served because it asks again: a new member of the ring comes after all others.

use crate::base::{Client, Ticket};

/// A ring of calls; at most some hundred, so that looking through all of them is cheap.
#[derive(Debug, Default)]
pub(super) struct Ring {
    members: Vec<RingMember>,
    /// Counts services and entries: the order in which members were served last.
    clock: u64,
}

#[derive(Debug)]
struct RingMember {
    ticket: Ticket,
    client: Client,
    /// When its host, its client and itself were served last, or entered.
    served: [u64; 3],
}

impl Ring {
    /// Adds a call behind all others.
    pub(super) fn enter(&mut self, ticket: Ticket, client: Client) {
        self.clock += 1;
        let served_last = |mut members: std::slice::Iter<'_, RingMember>, level: usize| {
            let known = members.find(|known| known.is_of(&client, level));
            known.map_or(self.clock, |known| known.served[level])
        };
        let served =
            [served_last(self.members.iter(), 0), served_last(self.members.iter(), 1), self.clock];
        self.members.push(RingMember { ticket, client, served });
    }

    /// The next one to be served of those that `may` be.
    pub(super) fn next(&self, mut may: impl FnMut(Ticket) -> bool) -> Option<Ticket> {
        let ready = self.members.iter().filter(|member| may(member.ticket));
        ready.min_by_key(|member| member.served).map(|member| member.ticket)
    }

    /// A call was served: host, client and call come last among theirs.
    pub(super) fn note_served(&mut self, ticket: Ticket, client: &Client) {
        self.clock += 1;
        for member in &mut self.members {
            for level in 0..2 {
                if member.is_of(client, level) {
                    member.served[level] = self.clock;
                }
            }
            if member.ticket == ticket {
                member.served[2] = self.clock;
            }
        }
    }

    /// Takes a call out, if it is in.
    pub(super) fn leave(&mut self, ticket: Ticket) {
        self.members.retain(|member| member.ticket != ticket);
    }
}

impl RingMember {
    /// Whether it is a call of `client`, or (level 0) of its host.
    fn is_of(&self, client: &Client, level: usize) -> bool {
        if level == 0 { self.client.peer == client.peer } else { self.client == *client }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_alternate_then_clients_then_calls() {
        let client = |peer, behind| Client { peer, behind: Some(behind) };
        let mut ring = Ring::default();
        let mut clients = vec![client(1, 0); 3];
        clients.extend([client(2, 1), client(2, 1), client(2, 2)]);
        for (number, client) in clients.iter().enumerate() {
            ring.enter(Ticket(number as u64), *client);
        }
        let mut order = Vec::new();
        for _ in 0..8 {
            let ticket = ring.next(|_| true).expect("six of them");
            ring.note_served(ticket, &clients[ticket.0 as usize]);
            order.push(ticket.0);
        }
        assert_eq!(order, [0, 3, 1, 5, 2, 4, 0, 5]);
        // Asking again does not lead to the front.
        ring.leave(Ticket(5));
        ring.leave(Ticket(3));
        ring.leave(Ticket(4));
        ring.enter(Ticket(9), client(2, 2));
        assert_eq!(ring.next(|_| true), Some(Ticket(1)));
        assert_eq!(ring.next(|ticket| ticket.0 > 8), Some(Ticket(9)));
    }
}
