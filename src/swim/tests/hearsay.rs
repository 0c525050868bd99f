//! Made-up updates: what a stranger that reaches the port can and cannot do. Never: lets a stranger
//! answer at a member's own address.

use super::*;

/// One of three, and the time.
fn one_of_three() -> (Swim, Moment) {
    among(1..3)
}

fn said(number: usize, state: State, incarnation: u64) -> Update {
    Update { state, ..alive(number, incarnation) }
}

/// How one sees another.
fn news(swim: &Swim, number: usize) -> &Update {
    &swim.member(id(number)).expect("a member").news
}

/// A stranger pings with these, under the id of a member.
fn forge(swim: &mut Swim, now: Moment, updates: Vec<Update>) {
    let from = vec![alive(2, 1)];
    swim.handle_ping(now, from.into_iter().chain(updates).collect(), None);
}

#[test]
fn a_made_up_death_is_verified_and_not_believed() {
    for state in [State::Dead, State::Left] {
        for incarnation in [1, 2, 1000, limits::INCARNATION_MAX, u64::MAX] {
            let (mut swim, now) = one_of_three();
            forge(&mut swim, now, vec![said(1, state, incarnation)]);
            assert_eq!(news(&swim, 1), &alive(1, 1), "before it is checked");
            let asked = answer_all(&mut swim, now, |number| Some(alive(number, 1)));
            assert_eq!(asked, usize::from(incarnation <= limits::INCARNATION_MAX));
            assert_eq!(news(&swim, 1), &alive(1, 1), "{state:?} {incarnation}");
            assert_eq!(swim.stats().refused, u64::from(incarnation == u64::MAX));
        }
    }
}

#[test]
fn a_death_is_believed_of_a_member_that_does_not_answer() {
    for (state, incarnation) in [(State::Dead, 1), (State::Left, 1), (State::Dead, 1 << 40)] {
        let (mut swim, now) = one_of_three();
        forge(&mut swim, now, vec![said(1, state, incarnation)]);
        answer_all(&mut swim, now, |number| (number != 1).then(|| alive(number, 1)));
        assert_eq!((news(&swim, 1).state, news(&swim, 1).incarnation), (state, 1));
    }
}

#[test]
fn a_member_found_silent_is_dead_when_another_says_so() {
    let (mut swim, mut now) = one_of_three();
    forge(&mut swim, now, vec![said(1, State::Suspect, 1)]);
    // All pings to it are silent from now on.
    while !swim.suspicions[&id(1)].is_seen() {
        now = swim.next_deadline().expect("it is suspected");
        swim.handle_timeout(now);
    }
    assert_eq!(news(&swim, 1).state, State::Suspect);
    forge(&mut swim, now, vec![said(1, State::Dead, 1)]);
    assert_eq!(news(&swim, 1).state, State::Dead);
}

#[test]
fn hearsay_moves_an_incarnation_by_one_step_at_most() {
    let (mut swim, mut now) = one_of_three();
    let ladder = (2..2000).map(|incarnation| alive(1, incarnation)).collect();
    forge(&mut swim, now, ladder);
    assert_eq!(news(&swim, 1).incarnation, 2);
    // What the member says itself stands, lower or not.
    answer_all(&mut swim, now, |number| Some(alive(number, 1)));
    now = now + Duration::from_secs(1);
    forge(&mut swim, now, vec![alive(1, 1 << 40)]);
    answer_all(&mut swim, now, |number| Some(alive(number, 1 << 30)));
    assert_eq!(news(&swim, 1).incarnation, 1 << 30);
}

#[test]
fn a_member_is_followed_to_an_address_only_when_it_left_the_last() {
    let elsewhere = |incarnation| Update {
        rpc_addr: address(7),
        api_addr: "evil:80".into(),
        ..alive(1, incarnation)
    };
    for incarnation in [1, 2, 1 << 40] {
        let (mut swim, now) = one_of_three();
        forge(&mut swim, now, vec![elsewhere(incarnation), said(1, State::Suspect, 2)]);
        // A stranger answers there under the member's id, the member at its own address.
        answer_all(&mut swim, now, |number| match number {
            7 => Some(elsewhere(incarnation)),
            _ => Some(alive(number, 3)),
        });
        assert_eq!(
            (&*news(&swim, 1).rpc_addr, &*news(&swim, 1).api_addr),
            ("node1:18182", "node1:18180")
        );
    }
    let (mut swim, now) = one_of_three();
    forge(&mut swim, now, vec![elsewhere(1 << 40)]);
    answer_all(&mut swim, now, |number| match number {
        1 => None,
        7 => Some(elsewhere(1 << 40)),
        _ => Some(alive(number, 1)),
    });
    assert_eq!(news(&swim, 1), &elsewhere(1 << 40), "it has moved");
}

#[test]
fn other_api_addresses_are_hearsay_too() {
    let (mut swim, now) = one_of_three();
    let diverted = Update { api_addr: "evil:80".into(), ..alive(1, 2) };
    forge(&mut swim, now, vec![diverted.clone()]);
    answer_all(&mut swim, now, |number| Some(alive(number, 1)));
    assert_eq!(news(&swim, 1), &alive(1, 1));
    forge(&mut swim, now, vec![Update { state: State::Suspect, ..diverted }]);
    assert_eq!(news(&swim, 1).api_addr, alive(1, 1).api_addr);
}

#[test]
fn a_dead_member_is_back_when_it_answers() {
    let (mut swim, now) = one_of_three();
    forge(&mut swim, now, vec![said(1, State::Dead, 1)]);
    answer_all(&mut swim, now, |number| (number != 1).then(|| alive(number, 1)));
    let later = now + Duration::from_secs(1);
    forge(&mut swim, later, vec![alive(1, 2)]);
    answer_all(&mut swim, later, |number| (number != 1).then(|| alive(number, 1)));
    assert_eq!(news(&swim, 1).state, State::Dead, "no node answers for it");
    let later = later + Duration::from_secs(1);
    forge(&mut swim, later, vec![alive(1, 2)]);
    answer_all(&mut swim, later, |number| {
        Some(alive(number, if number == 1 { 1 << 40 } else { 1 }))
    });
    assert_eq!(news(&swim, 1), &alive(1, 1 << 40));
    // Its clock is set back by decades, and it says so itself.
    let later = later + Duration::from_secs(1);
    forge(&mut swim, later, vec![alive(1, 7)]);
    answer_all(&mut swim, later, |number| Some(alive(number, if number == 1 { 7 } else { 1 })));
    assert_eq!(news(&swim, 1), &alive(1, 7));
}

#[test]
fn a_node_refutes_what_may_be_and_nothing_else() {
    let (mut swim, now) = one_of_three();
    let me = swim.me().incarnation;
    forge(&mut swim, now, vec![said(0, State::Dead, u64::MAX), said(0, State::Dead, me + 17)]);
    assert_eq!((swim.me().incarnation, swim.stats().refused), (me, 2));
    forge(&mut swim, now, vec![said(0, State::Dead, me + 16)]);
    assert_eq!(swim.me().incarnation, me + 17);
    // A thousand in one message move it by so many at most.
    let many = (0..1000).map(|step| said(0, State::Suspect, me + 17 + step)).collect();
    forge(&mut swim, now, many);
    assert!(swim.stats().refuted <= u64::from(limits::REFUTATIONS_MAX));
    let wild = Update { incarnation: u64::MAX, ..alive(0, 1) };
    let swim = Swim::new(config(), wild, 1, now);
    assert!(swim.me().incarnation < limits::INCARNATION_MAX, "space to refute it");
}

#[test]
fn lamport_times_far_ahead_move_no_clock() {
    let (mut swim, now) = one_of_three();
    let before = swim.me().lamport;
    let mut wild = alive(1, 1);
    for lamport in [u64::MAX, before + limits::LAMPORT_AHEAD_MAX + 9] {
        wild.lamport = lamport;
        forge(&mut swim, now, vec![wild.clone()]);
    }
    assert!(swim.me().lamport < before + 9);
    assert_eq!(swim.stats().refused, 2);
}

#[test]
fn made_up_members_are_none_and_keep_no_node_out() {
    let (mut swim, mut now) = one_of_three();
    let mut pings = 0;
    for batch in 0..10 {
        let names = 0..limits::MEMBERS_MAX;
        let made_up = names.map(|number| alive(100_000 + batch * 10_000 + number, 1)).collect();
        forge(&mut swim, now, made_up);
        // As many introduce themselves.
        for number in 0..300 {
            swim.handle_ping(now, vec![alive(500_000 + batch * 1000 + number, 1)], None);
        }
        pings += answer_all(&mut swim, now, |number| (number < 3).then(|| alive(number, 1)));
        now = now + Duration::from_millis(100);
        swim.handle_timeout(now);
        assert!(swim.unproven() <= limits::UNPROVEN_MAX);
        assert!(swim.calls_under_way() <= limits::CHECKS_MAX as usize + 8);
    }
    let most = limits::CHECKS_BURST + 2 * limits::CHECKS_PER_INTERVAL;
    assert!(pings as u64 <= most, "{pings} pings in a second");
    assert_eq!(swim.members().count(), 2);
    assert!(swim.rumors() <= 2, "nothing made up is disseminated");
    // A node that dials and answers is a member at once.
    for _ in 0..20 {
        swim.handle_ping(now, vec![alive(50, 1)], None);
        answer_all(&mut swim, now, |number| (number <= 50).then(|| alive(number, 1)));
        now = now + Duration::from_millis(100);
        swim.handle_timeout(now);
    }
    answer_all(&mut swim, now, |number| (number <= 50).then(|| alive(number, 1)));
    assert_eq!(news(&swim, 50).state, State::Alive);
}

#[test]
fn a_newcomer_learns_two_hundred_at_once() {
    let (swim, _) = among(1..201);
    let mut newcomer = Swim::new(config(), alive(300, 1), 1, Moment(0));
    newcomer.handle_seeds(Moment(0), vec![address(1)]);
    let Some(Output::Ping { number, .. }) = newcomer.poll_output() else { panic!("a ping") };
    let mut updates = vec![alive(1, 1)];
    updates.extend(swim.present().filter(|news| news.node != id(1)).cloned());
    let ack = Ack { node: id(1), addresses: (address(1), String::new()), updates, digest: None };
    newcomer.handle_ack(Moment(1), number, ack);
    answer_all(&mut newcomer, Moment(2), |number| Some(alive(number, 1)));
    assert_eq!(newcomer.present().count(), 200);
}

#[test]
fn a_node_that_did_not_answer_at_first_is_asked_again() {
    let (mut swim, mut now) = one_of_three();
    forge(&mut swim, now, vec![alive(9, 1)]);
    answer_all(&mut swim, now, |number| (number != 9).then(|| alive(number, 1)));
    assert_eq!((swim.members().count(), swim.unproven()), (2, 1));
    now = now + Duration::from_secs(2);
    swim.handle_timeout(now);
    answer_all(&mut swim, now, |number| Some(alive(number, 1)));
    assert_eq!((swim.members().count(), swim.unproven()), (3, 0));
}

#[test]
fn the_member_list_goes_to_a_newcomer_that_has_answered() {
    let (mut swim, now) = among(1..201);
    let mut longest = |introduced: Vec<Update>| {
        let mut most = swim.handle_ping(now, introduced, None).len();
        while let Some(output) = swim.poll_output() {
            let Output::Ping { number, rpc_addr, updates, .. } = output else { continue };
            most = most.max(updates.len());
            let number_at = rpc_addr.trim_start_matches("node").trim_end_matches(":18182");
            let word = alive(number_at.parse().expect("one of ours"), 1);
            let addresses = (rpc_addr, String::new());
            let ack = Ack { node: word.node, addresses, updates: vec![word], digest: None };
            swim.handle_ack(now, number, ack);
        }
        most
    };
    assert!(longest(vec![alive(301, 1)]) > 200);
    assert!(longest(vec![alive(300, 1), alive(0, 1)]) < 40, "it only checks what it heard");
}

#[test]
fn a_duplicate_is_one_that_answers_elsewhere() {
    let (mut swim, mut now) = one_of_three();
    let other = Update { rpc_addr: address(8), ..alive(0, 1 << 40) };
    let reports = |swim: &mut Swim, now, is_there: bool| {
        forge(swim, now, vec![other.clone()]);
        let mut reports = 0;
        while let Some(output) = swim.poll_output() {
            match output {
                Output::Ping { number, .. } if is_there => {
                    let addresses = (address(8), String::new());
                    let ack =
                        Ack { node: id(0), addresses, updates: vec![other.clone()], digest: None };
                    swim.handle_ack(now, number, ack);
                }
                Output::Ping { number, .. } => swim.handle_failed(now, number, Failure::Refused),
                Output::Event(Event::Duplicate(Some(_))) => reports += 1,
                _ => {}
            }
        }
        reports
    };
    for is_there in [false, true] {
        let reported: usize = (0..5)
            .map(|_| {
                now = now + Duration::from_secs(1);
                reports(&mut swim, now, is_there)
            })
            .sum();
        assert_eq!(reported, usize::from(is_there));
    }
}
