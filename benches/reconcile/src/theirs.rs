//! The same sets through `negentropy`: all of one time, so that the hashes order them.
//!
//! In: how much is common and how much is not. Out: what it cost. Building the sorted lists is not
//! counted. Never: frames what it sends.

use std::hint::black_box;
use std::time::Instant;

use negentropy::{Id, Negentropy, NegentropyStorageVector};

use super::Cost;
use super::set::{self, Share};

pub fn compare(common: u64, differences: u64) -> Cost {
    let one = storage(Share::One, common, differences);
    let two = storage(Share::Two, common, differences);
    let start = Instant::now();
    let mut cost = exchange(&one, &two);
    cost.time = start.elapsed();
    cost
}

/// A function of its own, so that callgrind can count it apart from the building.
#[inline(never)]
fn exchange(one: &NegentropyStorageVector, two: &NegentropyStorageVector) -> Cost {
    let mut client = Negentropy::borrowed(one, 0).expect("no limit is a good one");
    let mut server = Negentropy::borrowed(two, 0).expect("no limit is a good one");
    let (mut have, mut need) = (Vec::new(), Vec::new());
    let mut cost = Cost::default();
    let mut query = Some(client.initiate().expect("the first"));
    while let Some(message) = query {
        let answer = server.reconcile(&message).expect("a good query");
        cost.rounds += 1;
        cost.bytes += (message.len() + answer.len()) as u64;
        query = client.reconcile_with_ids(&answer, &mut have, &mut need).expect("a good answer");
    }
    cost.found = Some((have.len() + need.len()) as u64);
    black_box(cost)
}

fn storage(share: Share, common: u64, differences: u64) -> NegentropyStorageVector {
    let mut storage = NegentropyStorageVector::with_capacity((common + differences) as usize);
    for number in (0..common + differences).filter(|number| set::has(share, common, *number)) {
        let id = Id::from_byte_array(set::digest(0, number).0);
        storage.insert(0, id).expect("it is not sealed yet");
    }
    storage.seal().expect("once");
    storage
}
