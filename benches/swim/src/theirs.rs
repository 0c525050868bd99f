//! A member that is foca's, with `Config::new_lan` and the smallest identity that can come back.
//!
//! In: datagrams and timers of the world. Out: foca's datagrams, timers and beliefs. A suspicion
//! is seen where foca starts its clock, at the member that raised it.

use std::convert::Infallible;
use std::num::NonZeroU32;
use std::time::Duration;

use foca::{Config, Foca, Identity, Member, NoCustomBroadcast, Notification, PostcardCodec};
use foca::{Runtime, Timer};
use rand_core::TryRng;
use serde::{Deserialize, Serialize};
use stemedb_edge::base::Random;

use crate::world::{Out, Peer, View};

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Id {
    number: u32,
    /// Raised when it learns that it is believed dead.
    life: u16,
}

impl Identity for Id {
    type Addr = u32;

    fn renew(&self) -> Option<Id> {
        Some(Id { number: self.number, life: self.life.wrapping_add(1) })
    }

    fn addr(&self) -> u32 {
        self.number
    }

    fn win_addr_conflict(&self, other: &Id) -> bool {
        self.life > other.life
    }
}

struct Chance(Random);

impl TryRng for Chance {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok((self.0.bits() >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.0.bits())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        bytes.iter_mut().for_each(|byte| *byte = self.0.bits() as u8);
        Ok(())
    }
}

pub struct Theirs {
    foca: Foca<Id, PostcardCodec, Chance, NoCustomBroadcast>,
    count: usize,
}

pub enum Tick {
    Start,
    Foca(Timer<Id>),
}

impl Runtime<Id> for &mut Out<Theirs> {
    fn notify(&mut self, notification: Notification<'_, Id>) {
        if let Notification::MemberDown(id) = notification {
            self.believes(id.number as usize, u64::from(id.life), View::Dead);
        }
    }

    fn send_to(&mut self, to: Id, data: &[u8]) {
        self.send(to.number as usize, data.to_vec(), data.len(), false);
    }

    fn submit_after(&mut self, event: Timer<Id>, after: Duration) {
        if let Timer::ChangeSuspectToDown { member_id: id, incarnation, .. } = &event {
            let life = u64::from(id.life) << 16 | u64::from(*incarnation);
            self.believes(id.number as usize, life, View::Suspect);
        }
        let at = self.now + after.as_micros() as u64;
        self.wake_at(at, Tick::Foca(event));
    }
}

impl Peer for Theirs {
    type Message = Vec<u8>;
    type Timer = Tick;

    fn start(number: usize, count: usize, seed: u64, out: &mut Out<Self>) -> Self {
        let mut random = Random::new(seed);
        // Not all at the same moment.
        out.wake_at(random.below(crate::world::SECOND as usize) as u64, Tick::Start);
        let config = Config::new_lan(NonZeroU32::new(count as u32).expect("some"));
        let id = Id { number: number as u32, life: 0 };
        Theirs { foca: Foca::new(id, config, Chance(random), PostcardCodec), count }
    }

    fn handle_message(&mut self, _from: usize, message: Vec<u8>, out: &mut Out<Self>) {
        // Late or unwelcome messages are errors to foca; its own example logs them and goes on.
        let _ = self.foca.handle_data(&message, out);
    }

    fn handle_timer(&mut self, timer: Tick, out: &mut Out<Self>) {
        match timer {
            Tick::Start => {
                let own = self.foca.identity().number;
                let others = (0..self.count as u32).filter(|number| *number != own);
                let others = others.map(|number| Member::alive(Id { number, life: 0 }));
                self.foca.apply_many(others, false, out).expect("all are new");
            }
            Tick::Foca(timer) => {
                let _ = self.foca.handle_timer(timer, out);
            }
        }
    }

    fn handle_reset(&mut self, _to: usize, _was_open: bool, _out: &mut Out<Self>) {
        unreachable!("datagrams know no connection");
    }
}
