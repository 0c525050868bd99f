//! Group commit against an imagined disk.

use super::*;
use crate::base::{HlcClock, Moment, NodeId, Ticket, Wall};
use crate::model::{Draft, Object};

fn sealed(text: &str) -> Sealed {
    let mut draft = Draft::new("s".into(), "p".into(), Object::Text(text.into()));
    draft.timestamp = Some(1);
    draft.check(&mut HlcClock::new(NodeId::NONE), Wall(0)).expect("a good draft").seal()
}

fn queue(config: Config) -> CommitQueue {
    CommitQueue::new(config, Position::first_of(0), 0)
}

fn offer(queue: &mut CommitQueue, now: u64, text: &str, ticket: u64) -> Result<(), Refusal> {
    queue.enqueue(sealed(text), Ticket(ticket))?;
    queue.handle_timeout(Moment(now));
    Ok(())
}

fn batch(queue: &mut CommitQueue) -> Batch {
    match queue.poll_output() {
        Some(Output::Work(Work::Write(batch))) => batch,
        other => panic!("a batch, not {other:?}"),
    }
}

fn committed(queue: &mut CommitQueue) -> (Committed, Vec<u64>) {
    match queue.poll_output() {
        Some(Output::Committed(committed, tickets)) => {
            (committed, tickets.iter().map(|ticket| ticket.0).collect())
        }
        other => panic!("a commit, not {other:?}"),
    }
}

#[test]
fn what_arrives_during_a_flush_is_the_next_batch() {
    let mut queue = queue(Config::default());
    offer(&mut queue, 0, "a", 1).expect("space");
    let first = batch(&mut queue);
    assert_eq!(
        (first.records.len(), first.flush, first.position),
        (1, true, Position::first_of(0))
    );
    offer(&mut queue, 0, "b", 2).expect("space");
    offer(&mut queue, 0, "c", 3).expect("space");
    offer(&mut queue, 0, "a", 4).expect("joins the one under way");
    assert!(queue.poll_output().is_none(), "one batch at a time");
    queue.handle_done(Moment(0), Done::Well);
    let second = batch(&mut queue);
    assert_eq!(second.records.len(), 2);
    let (one, tickets) = committed(&mut queue);
    assert_eq!((one.position(), tickets), (first.position, vec![1, 4]));
    assert_eq!(second.position.0, first.position.0 + first.bytes as u64);
}

#[test]
fn what_arrives_together_is_one_batch_that_waits_for_no_deadline() {
    let mut queue = queue(Config::default());
    for (ticket, text) in ["a", "b", "a"].into_iter().enumerate() {
        queue.enqueue(sealed(text), Ticket(ticket as u64)).expect("space");
    }
    assert!(queue.poll_output().is_none());
    assert!(queue.wants_write(Moment(5)) && queue.next_deadline().is_none());
    queue.handle_timeout(Moment(5));
    assert_eq!(batch(&mut queue).records.len(), 2);
    assert!(!queue.wants_write(Moment(5)) && queue.next_deadline().is_none());
    queue.handle_done(Moment(6), Done::Well);
    assert_eq!(committed(&mut queue).1, [0, 2]);
    assert_eq!(committed(&mut queue).1, [1]);
    assert!(queue.is_empty());
}

#[test]
fn batched_flushes_keep_their_distance() {
    let mut queue = queue(Config { durability: Durability::Batched, ..Config::default() });
    offer(&mut queue, 1_000_000, "a", 1).expect("space");
    batch(&mut queue);
    queue.handle_done(Moment(1_000_100), Done::Well);
    committed(&mut queue);
    offer(&mut queue, 1_000_200, "b", 2).expect("space");
    assert!(queue.poll_output().is_none());
    let deadline = queue.next_deadline().expect("something waits");
    assert_eq!(deadline, Moment(1_005_000));
    assert!(!queue.wants_write(Moment(1_000_200)) && queue.wants_write(deadline));
    queue.handle_timeout(deadline);
    assert!(batch(&mut queue).flush);
}

#[test]
fn eventual_answers_after_the_write_and_flushes_within_a_second() {
    let mut queue = queue(Config { durability: Durability::Eventual, ..Config::default() });
    offer(&mut queue, 10, "a", 1).expect("space");
    assert!(!batch(&mut queue).flush);
    queue.handle_done(Moment(20), Done::Well);
    committed(&mut queue);
    let deadline = queue.next_deadline().expect("a flush is owed");
    assert_eq!(deadline, Moment(1_000_010));
    queue.handle_timeout(deadline);
    assert!(matches!(queue.poll_output(), Some(Output::Work(Work::Flush))));
    queue.handle_done(deadline, Done::Well);
    assert_eq!(queue.next_deadline(), None);
}

#[test]
fn a_full_disk_leaves_the_flush_that_is_owed() {
    let mut queue = queue(Config { durability: Durability::Eventual, ..Config::default() });
    offer(&mut queue, 10, "a", 1).expect("space");
    batch(&mut queue);
    queue.handle_done(Moment(20), Done::Well);
    committed(&mut queue);
    offer(&mut queue, 1_000_010, "b", 2).expect("space");
    assert!(batch(&mut queue).flush);
    queue.handle_done(Moment(1_000_020), Done::Undone(Obstacle::NoSpace));
    let owed = std::iter::from_fn(|| queue.poll_output());
    assert_eq!(owed.filter(|output| matches!(output, Output::Work(Work::Flush))).count(), 1);
}

#[test]
fn a_full_disk_refuses_the_batch_and_the_log_stays_as_it_was() {
    let mut queue = queue(Config::default());
    offer(&mut queue, 0, "a", 1).expect("space");
    let first = batch(&mut queue);
    queue.handle_done(Moment(0), Done::Undone(Obstacle::NoSpace));
    let Some(Output::Refused(refusal, tickets)) = queue.poll_output() else { panic!("a refusal") };
    assert_eq!((refusal, tickets), (Refusal::Disk(Obstacle::NoSpace), Tickets::of(Ticket(1))));
    assert_eq!((queue.log_bytes(), queue.len()), (0, 0));
    offer(&mut queue, 0, "a", 2).expect("space again");
    let again = batch(&mut queue);
    assert_eq!(again.position, first.position);
    let frames = [first, again].map(|batch| {
        let mut frames = Vec::new();
        batch.frames(&mut frames);
        assert_eq!(frames.len(), batch.bytes);
        frames
    });
    assert_eq!(frames[0], frames[1], "the same bytes at the same position");
}

#[test]
fn the_budget_is_exact_to_one_record() {
    let frame = record::frame_bytes(sealed("a").bytes().len()) as u64;
    let bytes_max = record::SEGMENT_HEAD_BYTES as u64 + 2 * frame;
    let mut queue = queue(Config { bytes_max: Some(bytes_max), ..Config::default() });
    for (ticket, text) in ["a", "b"].iter().enumerate() {
        assert_eq!(offer(&mut queue, 0, text, ticket as u64), Ok(()));
    }
    let refused = offer(&mut queue, 0, "c", 3);
    assert_eq!(refused, Err(Refusal::Budget { bytes_max }));
    batch(&mut queue);
    queue.handle_done(Moment(0), Done::Well);
    assert_eq!(offer(&mut queue, 0, "c", 3), Err(Refusal::Budget { bytes_max }));
    assert_eq!(queue.log_bytes(), bytes_max);
    assert_eq!(queue.obstacle(), Some(Obstacle::Budget), "health shows it");
}

#[test]
fn the_queue_is_bounded() {
    let mut queue = queue(Config::default());
    let mut taken = 0;
    let refused = loop {
        match offer(&mut queue, 0, &taken.to_string(), taken) {
            Ok(()) => taken += 1,
            Err(refusal) => break refusal,
        }
    };
    assert_eq!(refused, Refusal::Busy);
    assert_eq!(
        taken as usize,
        limits::COMMIT_QUEUE_MAX + 1,
        "those that wait and the one in flight"
    );
}

#[test]
fn a_batch_ends_with_its_segment() {
    let frame = record::frame_bytes(sealed("a").bytes().len()) as u64;
    let tail = Position(limits::SEGMENT_BYTES_MAX - frame - 8);
    let mut queue = CommitQueue::new(Config::default(), tail, 0);
    for (ticket, text) in ["a", "b", "c"].iter().enumerate() {
        offer(&mut queue, 0, text, ticket as u64).expect("space");
    }
    assert_eq!(batch(&mut queue).position, tail);
    queue.handle_done(Moment(0), Done::Well);
    let next = batch(&mut queue);
    assert_eq!((next.position, next.records.len()), (Position::first_of(1), 2));
}

#[test]
fn the_next_batch_starts_before_the_last_is_answered_and_a_repeated_offer_joins() {
    let mut queue = queue(Config::default());
    let count = 2 * limits::BATCH_RECORDS_MAX as u64;
    for ticket in 0..=count {
        offer(&mut queue, 0, &ticket.to_string(), ticket).expect("space");
    }
    assert_eq!(batch(&mut queue).records.len(), 1, "the first does not wait");
    queue.handle_done(Moment(0), Done::Well);
    let second = batch(&mut queue);
    assert_eq!(second.records.len(), limits::BATCH_RECORDS_MAX);
    offer(&mut queue, 0, "0", 9999).expect("it is not answered yet");
    let (first, tickets) = committed(&mut queue);
    assert_eq!((first.sealed().digest(), tickets), (sealed("0").digest(), vec![0, 9999]));
    queue.handle_done(Moment(0), Done::Well);
    let third = batch(&mut queue);
    assert_eq!(third.position.0, second.position.0 + second.bytes as u64);
    // What was completed and not polled keeps its order when more is.
    queue.handle_done(Moment(0), Done::Well);
    let answered: Vec<u64> = (0..count).map(|_| committed(&mut queue).1[0]).collect();
    assert!(answered.into_iter().eq(1..=count));
    assert!(queue.poll_output().is_none() && queue.is_empty());
}

#[test]
fn what_comes_in_bulk_waits_for_more_of_its_kind_alone() {
    let mut queue = queue(Config::default());
    let bulk = |queue: &mut CommitQueue, now: u64, text: &str| {
        let arrival = Arrival::Bulk(Moment(now));
        queue.enqueue_as(arrival, sealed(text), Ticket(now)).expect("space");
    };
    for now in 100..103 {
        bulk(&mut queue, now, &now.to_string());
    }
    assert!(!queue.wants_write(Moment(103)));
    queue.handle_timeout(Moment(103));
    assert!(queue.poll_output().is_none());
    let due = queue.next_deadline().expect("not for ever");
    assert_eq!(due, Moment(100) + BATCH_SPACING);
    queue.handle_timeout(due);
    let first = batch(&mut queue);
    assert_eq!((first.records.len(), first.zeros, first.flush), (3, false, true));
    assert_eq!(queue.next_deadline(), None);
    // What came during the flush goes on waiting behind it.
    bulk(&mut queue, due.0 + 1, "d");
    queue.handle_done(Moment(due.0 + 2), Done::Well);
    assert!(!queue.wants_write(Moment(due.0 + 2)));
    queue.handle_bulk_end();
    assert!(queue.wants_write(Moment(due.0 + 2)), "no more come");
    queue.handle_timeout(Moment(due.0 + 2));
    assert_eq!(batch(&mut queue).records.len(), 1);
    queue.handle_done(Moment(due.0 + 3), Done::Well);
    // A single one, new or the same again, waits for no others.
    for (many, single) in [("e", "e"), ("f", "h")] {
        let now = due.0 + 10;
        bulk(&mut queue, now, many);
        queue.enqueue(sealed(single), Ticket(1)).expect("space");
        assert!(queue.wants_write(Moment(now)), "{single}");
        queue.handle_timeout(Moment(now));
        assert!(!batch(&mut queue).zeros);
        queue.handle_done(Moment(now), Done::Well);
    }
    while queue.poll_output().is_some() {}
    offer(&mut queue, due.0 + 20, "g", 1).expect("space");
    assert!(batch(&mut queue).zeros);
}

#[test]
fn what_a_peer_gives_waits_for_nothing_and_has_no_zeros_behind_it() {
    let mut queue = queue(Config::default());
    let (single, given) = (Arrival::Single, Arrival::Given);
    for (number, arrivals) in [[given, given], [single, given], [single, single]].iter().enumerate()
    {
        for (arrival, letter) in arrivals.iter().zip(["a", "b"]) {
            let text = format!("{letter}{number}");
            queue.enqueue_as(*arrival, sealed(&text), Ticket(0)).expect("space");
        }
        assert!(queue.wants_write(Moment(0)), "{arrivals:?}");
        queue.handle_timeout(Moment(0));
        let written = batch(&mut queue);
        assert_eq!((written.records.len(), written.zeros), (2, !arrivals.contains(&given)));
        queue.handle_done(Moment(0), Done::Well);
        while queue.poll_output().is_some() {}
    }
}

#[test]
fn bulk_has_its_own_part_of_the_queue_and_one_flush() {
    let mut queue = queue(Config::default());
    let mut taken = 0;
    let bulk = Arrival::Bulk(Moment(0));
    while queue.enqueue_as(bulk, sealed(&taken.to_string()), Ticket(taken)).is_ok() {
        taken += 1;
    }
    assert_eq!(taken as usize, limits::BULK_QUEUE_MAX);
    assert!(!queue.has_bulk_space(100));
    queue.enqueue(sealed("single"), Ticket(0)).expect("the others have their part");
    queue.handle_timeout(Moment(0));
    assert_eq!(batch(&mut queue).records.len(), limits::BULK_QUEUE_MAX);
    assert!(queue.has_bulk_space(100));
    // By bytes, half of what may wait; but one fits in any case.
    let most = 64 << 10;
    let config = Config { waiting_bytes_max: most, ..Config::default() };
    let mut queue = CommitQueue::new(config, Position::first_of(0), 0);
    let large = |letter: &str| sealed(&letter.repeat(40 << 10));
    assert!(queue.has_bulk_space(large("a").bytes().len()));
    assert_eq!(queue.enqueue_as(bulk, large("a"), Ticket(0)), Ok(()));
    let second = queue.enqueue_as(bulk, sealed("b"), Ticket(0));
    assert_eq!(second, Err(Refusal::Busy));
}
