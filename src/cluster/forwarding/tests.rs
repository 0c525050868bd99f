//! One request at a gateway, in plain calls. Never: a cluster; the simulator has one.

use super::recent::WrittenAt;
use super::*;
use crate::base::NodeId;
use crate::swim::{self, State};

fn owner(number: u8) -> Owner {
    Owner {
        node: NodeId([number; 16]),
        api_addr: format!("node{number}:18180"),
        is_reachable: true,
        is_alive: true,
        is_key_holder: false,
        is_new: false,
    }
}

/// Owners with these numbers, this node not among them.
fn elsewhere(numbers: &[u8]) -> ForwardView {
    ForwardView {
        is_owner: false,
        is_new: false,
        is_sole: numbers.len() <= 1,
        others: numbers.iter().map(|number| owner(*number)).collect(),
        obstacle: None,
        is_asked_lost: false,
    }
}

/// This node, and others with these numbers.
fn here_and(numbers: &[u8]) -> ForwardView {
    ForwardView { is_owner: true, is_sole: numbers.is_empty(), ..elsewhere(numbers) }
}

const STAMP: Hlc = Hlc { time: 7, counter: 1, node: NodeId([9; 16]) };

fn claim() -> ForwardRequest {
    let target = ForwardTarget::Subject("s".into());
    let written = WrittenAt::Nowhere;
    ForwardRequest { target, is_claim: true, has_api_key: false, stamp: Some(STAMP), written }
}

fn question() -> ForwardRequest {
    ForwardRequest { is_claim: false, stamp: None, ..claim() }
}

fn steps(machine: &mut Forwarding) -> Vec<ForwardStep> {
    std::iter::from_fn(|| machine.poll_step()).collect()
}

/// The machine after its first decision, and what it decided.
fn placed(request: ForwardRequest, view: &ForwardView) -> (Forwarding, Vec<ForwardStep>) {
    let mut machine = Forwarding::new(Moment::ZERO, request);
    assert_eq!(machine.next_deadline(), Some(Moment::ZERO));
    machine.handle_timeout(Moment::ZERO, view);
    let steps = steps(&mut machine);
    (machine, steps)
}

/// The machine while it asks its first candidate.
fn asking(request: ForwardRequest, view: &ForwardView) -> Forwarding {
    let (mut machine, decided) = placed(request, view);
    assert_eq!(decided, [ForwardStep::TakeSlot]);
    machine.handle_slot(Moment::ZERO, true);
    machine
}

/// The nodes that are asked by these steps, `!` before those that failed first.
fn asked(steps: &[ForwardStep]) -> String {
    let one = |step: &ForwardStep| match step {
        ForwardStep::Ask(attempt) => attempt.candidate.node.0[0].to_string(),
        ForwardStep::Failed(_) => "!".into(),
        other => format!("{other:?}"),
    };
    steps.iter().map(one).collect()
}

fn broken(was_kept: bool) -> AttemptEnd {
    AttemptEnd::Broken { was_kept, why: "reset".into() }
}

fn unreachable(number: u8) -> ForwardRefusal {
    ForwardRefusal::Unreachable(format!("node{number}:18180"), "reset".into())
}

#[test]
fn this_node_answers_what_it_owns_and_what_no_other_can() {
    let no_api = |mut view: ForwardView| {
        view.others.iter_mut().for_each(|owner| owner.api_addr.clear());
        view
    };
    let keyed = ForwardRequest { has_api_key: true, ..claim() };
    for (request, view) in [
        (claim(), here_and(&[])),
        (claim(), here_and(&[1])),
        (claim(), no_api(elsewhere(&[1, 2]))),
        (keyed.clone(), elsewhere(&[1, 2])),
        (keyed, elsewhere(&[])),
    ] {
        let (machine, decided) = placed(request, &view);
        assert_eq!(decided, [ForwardStep::AnswerHere(Some(STAMP))], "{view:?}");
        assert_eq!(machine.next_deadline(), None);
    }
}

#[test]
fn a_key_goes_to_key_holders_alone() {
    let mut view = elsewhere(&[1, 2, 3]);
    view.others[1].is_key_holder = true;
    let mut machine = asking(ForwardRequest { has_api_key: true, ..question() }, &view);
    assert_eq!(asked(&steps(&mut machine)), "2");
    machine.handle_attempt_ended(Moment(1), 1, broken(false));
    assert_eq!(asked(&steps(&mut machine)), "!");
}

#[test]
fn a_claim_is_diverted_from_a_disk_that_takes_nothing_but_not_from_a_full_one() {
    let view = |obstacle| ForwardView { obstacle: Some(obstacle), ..here_and(&[1]) };
    for obstacle in Obstacle::ALL {
        let (_, decided) = placed(claim(), &view(obstacle));
        let is_here = decided == [ForwardStep::AnswerHere(Some(STAMP))];
        let is_full = matches!(obstacle, Obstacle::NoSpace | Obstacle::Budget);
        assert_eq!(is_here, is_full, "{obstacle:?}");
        let (_, decided) = placed(question(), &view(obstacle));
        assert_eq!(decided, [ForwardStep::AnswerHere(None)], "questions are answered");
    }
    let alone = ForwardView { obstacle: Some(Obstacle::ReadOnly), ..here_and(&[]) };
    assert_eq!(placed(claim(), &alone).1, [ForwardStep::AnswerHere(Some(STAMP))]);
}

#[test]
fn suspects_are_asked_late_and_those_that_cannot_be_called_last() {
    let mut view = elsewhere(&[1, 2, 3, 4]);
    view.others[0].is_reachable = false;
    view.others[1].is_alive = false;
    let mut machine = asking(question(), &view);
    let mut order = asked(&steps(&mut machine));
    for number in 1..4 {
        let end = AttemptEnd::Answered { is_overloaded: true };
        machine.handle_attempt_ended(Moment(1), number, end);
        order += &asked(&steps(&mut machine));
    }
    assert_eq!(order, "3!4!2!1");
}

#[test]
fn without_a_slot_a_request_ends_and_one_for_this_node_needs_none() {
    let (mut machine, decided) = placed(claim(), &elsewhere(&[1]));
    assert_eq!((decided, machine.next_deadline()), (vec![ForwardStep::TakeSlot], None));
    machine.handle_slot(Moment::ZERO, false);
    assert_eq!(steps(&mut machine), [ForwardStep::Refuse(ForwardRefusal::Waiting)]);
    machine.handle_slot(Moment::ZERO, true);
    assert_eq!(steps(&mut machine), [], "it is over");
}

#[test]
fn the_first_answer_ends_it_whatever_it_says() {
    let mut machine = asking(claim(), &elsewhere(&[1, 2]));
    let [ForwardStep::Ask(first)] = &steps(&mut machine)[..] else { panic!("one attempt") };
    assert_eq!((first.stamp, first.ends_with_client), (Some(STAMP), false));
    machine.handle_attempt_ended(Moment(1), 1, AttemptEnd::Answered { is_overloaded: false });
    assert_eq!(steps(&mut machine), [ForwardStep::Answered]);
    machine.handle_timeout(Moment(u64::MAX), &elsewhere(&[2]));
    assert_eq!((steps(&mut machine), machine.next_deadline()), (vec![], None));
    let mut machine = asking(question(), &elsewhere(&[1]));
    let [ForwardStep::Ask(first)] = &steps(&mut machine)[..] else { panic!("one attempt") };
    assert!(first.ends_with_client, "a query is abandoned with its client");
}

#[test]
fn an_answer_that_is_too_large_ends_it_at_once() {
    let mut machine = asking(question(), &elsewhere(&[1, 2]));
    steps(&mut machine);
    machine.handle_attempt_ended(Moment(1), 1, AttemptEnd::TooLarge);
    assert_eq!(steps(&mut machine), [ForwardStep::Refuse(ForwardRefusal::TooLarge)]);
}

#[test]
fn a_kept_connection_that_broke_says_nothing_of_the_node() {
    let mut machine = asking(claim(), &elsewhere(&[1, 2]));
    steps(&mut machine);
    machine.handle_attempt_ended(Moment(1), 1, broken(true));
    let again = steps(&mut machine);
    let [ForwardStep::Ask(again)] = &again[..] else { panic!("{again:?}") };
    assert_eq!((again.candidate.node, again.may_reuse), (owner(1).node, false));
    assert_eq!(again.stamp, Some(STAMP), "each attempt carries the one stamp");
    machine.handle_attempt_ended(Moment(2), 1, broken(false));
    assert_eq!(steps(&mut machine), [], "the first attempt is over");
    machine.handle_attempt_ended(Moment(2), 2, broken(false));
    let next = steps(&mut machine);
    let [ForwardStep::Failed(why), ForwardStep::Ask(next)] = &next[..] else { panic!("{next:?}") };
    assert_eq!((why, next.candidate.node), (&unreachable(1), owner(2).node));
    assert_eq!((next.may_reuse, next.stamp), (true, Some(STAMP)));
}

#[test]
fn a_slow_node_is_waited_for_until_it_is_dead_and_no_longer_than_an_answer_may_take() {
    let view = elsewhere(&[1, 2]);
    let lost = ForwardView { is_asked_lost: true, ..view.clone() };
    let mut machine = asking(question(), &view);
    steps(&mut machine);
    let mut now = Moment::ZERO;
    for _ in 0..100 {
        now = machine.next_deadline().expect("it looks again");
        machine.handle_timeout(now, &view);
        assert_eq!(steps(&mut machine), []);
    }
    assert!(now >= Moment(20_000_000), "{now:?}");
    machine.handle_timeout(now, &lost);
    assert_eq!(asked(&steps(&mut machine)), "!2");
    assert_eq!(machine.next_deadline(), Some(now), "the next one may be dead as well");
    let end = Moment::ZERO + limits::GATEWAY_ANSWER_MAX;
    machine.handle_timeout(Moment(end.0 - 1), &view);
    assert_eq!((steps(&mut machine), machine.next_deadline()), (vec![], Some(end)));
    machine.handle_timeout(end, &view);
    assert_eq!(steps(&mut machine), [ForwardStep::Refuse(ForwardRefusal::Late)]);
}

/// The machine when all candidates of the first map have failed.
fn remapping(view: &ForwardView) -> Forwarding {
    let mut machine = asking(claim(), view);
    let mut number = 0;
    while let Some(step) = machine.poll_step() {
        if let ForwardStep::Ask(attempt) = step {
            number += 1;
            assert_eq!(attempt.number, number);
            machine.handle_attempt_ended(Moment::ZERO, number, broken(false));
        }
    }
    assert_eq!(machine.next_deadline(), Some(Moment::ZERO), "it looks at the map at once");
    machine
}

#[test]
fn when_all_failed_it_waits_for_another_map_once() {
    let view = elsewhere(&[1, 2]);
    let mut machine = remapping(&view);
    machine.handle_timeout(Moment::ZERO, &view);
    assert_eq!(machine.next_deadline(), Some(Moment::ZERO + REMAP_PAUSE));
    // A suspicion changes the order: the second one is asked first.
    let mut other = view.clone();
    other.others[0].is_alive = false;
    machine.handle_timeout(Moment(20_000), &other);
    let mut order = asked(&steps(&mut machine));
    machine.handle_attempt_ended(Moment(20_001), 3, broken(false));
    order += &asked(&steps(&mut machine));
    assert_eq!(order, "2!1");
    machine.handle_attempt_ended(Moment(20_002), 4, broken(false));
    let why = unreachable(1);
    let end = [ForwardStep::Failed(why.clone()), ForwardStep::Refuse(why)];
    assert_eq!(steps(&mut machine), end, "there is no second wait");
}

#[test]
fn the_wait_for_another_map_ends() {
    let view = elsewhere(&[1]);
    let mut machine = remapping(&view);
    let mut ended = Vec::new();
    let mut now = Moment::ZERO;
    while let Some(due) = machine.next_deadline() {
        now = due;
        machine.handle_timeout(now, &view);
        ended.extend(steps(&mut machine));
    }
    assert_eq!(ended, [ForwardStep::Refuse(unreachable(1))]);
    assert_eq!(now, Moment::ZERO + limits::GATEWAY_REMAP_MAX);
}

#[test]
fn a_node_that_becomes_an_owner_meanwhile_answers_itself_with_the_stamp() {
    let mut machine = remapping(&elsewhere(&[1]));
    machine.handle_timeout(Moment(40_000), &here_and(&[2]));
    assert_eq!(steps(&mut machine), [ForwardStep::AnswerHere(Some(STAMP))]);
}

#[test]
fn without_any_owner_it_waits_for_one() {
    let mut machine = asking(claim(), &elsewhere(&[]));
    assert_eq!(steps(&mut machine), [], "there is no candidate to ask");
    machine.handle_timeout(Moment(20_000), &elsewhere(&[]));
    assert_eq!(steps(&mut machine), []);
    machine.handle_timeout(Moment(40_000), &elsewhere(&[3]));
    assert_eq!(asked(&steps(&mut machine)), "3");
    let mut machine = asking(claim(), &elsewhere(&[]));
    machine.handle_timeout(Moment::ZERO + limits::GATEWAY_REMAP_MAX, &elsewhere(&[]));
    assert_eq!(steps(&mut machine), [ForwardStep::Refuse(ForwardRefusal::NoneLive)]);
}

#[test]
fn the_view_is_what_map_and_members_say() {
    let now = Moment::ZERO;
    let news = |number: u8, state| swim::Update {
        node: NodeId([number; 16]),
        rpc_addr: format!("node{number}:18182"),
        api_addr: format!("node{number}:18180"),
        state,
        lamport: 0,
        incarnation: 1,
    };
    let config = swim::Config { probe_interval: Duration::from_secs(1) };
    let mut swim = Swim::new(config, news(1, State::Alive), 7, now);
    swim.handle_ping(now, vec![news(2, State::Alive)], None);
    while let Some(output) = swim.poll_output() {
        if let swim::Output::Ping { number, .. } = output {
            let own = news(2, State::Alive);
            let addresses = (own.rpc_addr.clone(), own.api_addr.clone());
            let ack = swim::Ack { node: own.node, addresses, updates: vec![own], digest: None };
            swim.handle_ack(now, number, ack);
        }
    }
    let map = |nodes: &[u8]| ShardMap::new(1, 2, nodes.iter().map(|it| NodeId([*it; 16])));
    let mut newcomers = Newcomers::new(true);
    newcomers.handle_converged(NodeId([2; 16]));
    let machine = Forwarding::new(now, claim());
    let view = machine.view((&map(&[1]), &swim, &newcomers), Some(Obstacle::ReadOnly), |_| false);
    assert_eq!(view, ForwardView { obstacle: Some(Obstacle::ReadOnly), ..here_and(&[]) });
    let view = machine.view((&map(&[2, 3]), &swim, &newcomers), None, |_| true);
    let two = ForwardView { is_sole: false, ..elsewhere(&[2]) };
    assert_eq!(view, two, "3 is no member");
    let unknown = asking(claim(), &elsewhere(&[4]));
    let target = ForwardTarget::Claim(Digest::ZERO, NodeId([2; 16]));
    let machine = Forwarding::new(now, ForwardRequest { target, ..question() });
    for is_here in [false, true] {
        let view = machine.view((&map(&[1]), &swim, &newcomers), None, |digest| {
            assert_eq!(*digest, Digest::ZERO);
            is_here
        });
        assert_eq!((view.is_owner, view.others.len()), (is_here, 1), "the map says nothing here");
    }
    newcomers.handle_back(NodeId([2; 16]));
    let view = unknown.view((&map(&[2]), &swim, &newcomers), None, |_| false);
    assert!(view.is_asked_lost && view.others[0].is_new && !view.is_new, "it is forgotten");
}

#[test]
fn a_node_that_is_new_is_asked_last_and_does_not_answer_questions_itself() {
    let new = |numbers: &[u8], which: u8| {
        let mut view = elsewhere(numbers);
        view.others.iter_mut().for_each(|owner| owner.is_new = owner.node.0[0] == which);
        view
    };
    let mut suspected = new(&[1, 2], 1);
    suspected.others[1].is_alive = false;
    let here = |numbers: &[u8]| ForwardView { is_new: true, ..here_and(numbers) };
    for (request, view, expected) in [
        (question(), new(&[1, 2, 3], 1), "2"),
        (question(), new(&[1], 1), "1"),
        (question(), suspected, "1"),
        (claim(), new(&[1, 2], 1), "1"),
        (question(), here(&[4]), "4"),
        (question(), here(&[]), "AnswerHere(None)"),
        (claim(), here(&[4]), &format!("AnswerHere({:?})", Some(STAMP))),
    ] {
        let (mut machine, mut decided) = placed(request, &view);
        if decided == [ForwardStep::TakeSlot] {
            machine.handle_slot(Moment::ZERO, true);
            decided = steps(&mut machine);
        }
        assert_eq!(asked(&decided), expected, "{view:?}");
    }
}

#[test]
fn a_single_node_is_asked_alone_and_when_it_is_gone_this_node_says_so() {
    let pinned = ForwardRequest { target: ForwardTarget::Node(NodeId([1; 16])), ..question() };
    let mut machine = asking(pinned.clone(), &elsewhere(&[1]));
    assert_eq!(asked(&steps(&mut machine)), "1");
    machine.handle_attempt_ended(Moment(1), 1, broken(false));
    assert_eq!(asked(&steps(&mut machine)), "!", "no other one can answer");
    machine.handle_timeout(Moment(2), &elsewhere(&[1]));
    assert_eq!(steps(&mut machine), [], "it may come back");
    machine.handle_timeout(Moment(3), &elsewhere(&[]));
    assert_eq!(steps(&mut machine), [ForwardStep::AnswerHere(None)]);
    assert_eq!(placed(pinned, &elsewhere(&[])).1, [ForwardStep::AnswerHere(None)], "never there");
}

#[test]
fn a_question_about_recent_claims_goes_to_an_owner_that_has_them_or_stays_here() {
    let about = |written| ForwardRequest { written, ..question() };
    let at = |number| WrittenAt::One(NodeId([number; 16]));
    let mut suspected = elsewhere(&[1, 2]);
    suspected.others[0].is_alive = false;
    for (written, view, expected) in [
        (WrittenAt::Nowhere, elsewhere(&[1, 2]), "1"),
        (at(1), elsewhere(&[1, 2]), "1"),
        (at(2), suspected.clone(), "2"),
        (at(1), suspected, "AnswerHere(None)"),
        (at(2), elsewhere(&[1, 2]), "AnswerHere(None)"),
        (at(9), elsewhere(&[1, 2]), "AnswerHere(None)"),
        (WrittenAt::Several, elsewhere(&[1, 2]), "AnswerHere(None)"),
        (at(1), here_and(&[1]), "AnswerHere(None)"),
        (WrittenAt::Several, elsewhere(&[]), ""),
    ] {
        let (mut machine, mut decided) = placed(about(written), &view);
        if decided == [ForwardStep::TakeSlot] {
            machine.handle_slot(Moment::ZERO, true);
            decided = steps(&mut machine);
        }
        assert_eq!(asked(&decided), expected, "{written:?} {view:?}");
    }
}
