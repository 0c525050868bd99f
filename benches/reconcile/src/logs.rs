//! Data directories for whole nodes to start with.
//!
//! In: which assertions. Out: they are in the log, which goes on if there was one. Never: asks for
//! more than one flush a second.

use std::ops::Range;
use std::path::Path;

use stemedb_edge::base::{HlcClock, Moment, NodeId, Ticket, Wall, digest};
use stemedb_edge::journal::{CommitQueue, Config, Durability, Output};
use stemedb_edge::model::{Draft, Object, Sealed};
use stemedb_edge::shell::disk::{Directory, Disk, recover};

use super::set::{self, Share};

/// Of one assertion.
const BODY_BYTES: usize = 300;

/// Appends those of `numbers` that are in a node's share, of 300 bytes each.
pub fn append(dir: &Path, common: u64, numbers: Range<u64>, share: Share) {
    let directory = Directory::open(dir).expect("a directory of ours");
    let recovered = recover(&dir.join("log"), true, |_| ()).expect("a readable log");
    let disk = Disk::start(&directory, recovered.tail).expect("a writable directory");
    let config = Config { durability: Durability::Eventual, ..Config::default() };
    let mut queue = CommitQueue::new(config, recovered.tail, recovered.bytes);
    let mut clock = HlcClock::new(NodeId::NONE);
    let (mut bytes, mut count) = (0, 0_u64);
    for number in numbers.filter(|number| set::has(share, common, *number)) {
        let spare = BODY_BYTES - claim(number, 0, &mut clock).bytes().len();
        let sealed = claim(number, spare, &mut clock);
        bytes += sealed.bytes().len();
        count += 1;
        queue.enqueue(sealed, Ticket(number)).expect("the queue is not full");
        if count.is_multiple_of(1000) {
            drain(&mut queue, &disk);
        }
    }
    drain(&mut queue, &disk);
    disk.stop();
    println!("{count} assertions, {bytes} bytes");
}

/// With so many characters of text that does not compress.
fn claim(number: u64, characters: usize, clock: &mut HlcClock) -> Sealed {
    let (subject, predicate) = (format!("sensor {}", number / 10), format!("p{}", number % 10));
    let noise: Vec<u8> = (1..5).flat_map(|seed| set::digest(seed, number).0).collect();
    let text = digest::hex(&noise)[..16 + characters].to_owned();
    let mut draft = Draft::new(subject, predicate, Object::Text(text));
    draft.timestamp = Some(number);
    draft.check(clock, Wall(0)).expect("a good draft").seal()
}

fn drain(queue: &mut CommitQueue, disk: &Disk) {
    queue.handle_timeout(Moment::ZERO);
    while let Some(output) = queue.poll_output() {
        if let Output::Work(work) = output {
            disk.submit(work);
            let report = futures_lite::future::block_on(disk.report()).expect("a good disk");
            queue.handle_done(Moment(0), report.done);
        }
    }
}
