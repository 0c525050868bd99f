//! Votes, trust and epochs, case by case.
//!
//! Never: depends on the order of arrival.

use super::world::{LensWorld, check, draft, question, signed};
use crate::base::Digest;
use crate::lens::Resolution;
use crate::model::{Assertion, Draft, Lifecycle, Object};

/// A vote as of some seconds ago.
fn vote(of: &Assertion, weight: f64, seconds_ago: u64) -> Draft {
    let mut vote = draft("", seconds_ago);
    vote.subject = of.seal().digest().to_string();
    vote.predicate = "stemedb:vote".into();
    vote.object = Object::Number(weight);
    vote
}

/// What a question makes of claims, in both orders of arrival.
fn resolution(claims: &[&Assertion], parameters: &[(&str, &str)]) -> Resolution {
    let question = question(parameters);
    let [one, other] = [
        LensWorld::of(claims.iter().copied()).page(&question).1,
        LensWorld::of(claims.iter().rev().copied()).page(&question).1,
    ];
    assert_eq!(one, other, "the order of arrival changes the answer");
    one.expect("a lens was asked for")
}

/// The winner by votes, and its part of them.
fn by_votes(claims: &[&Assertion], more: &[(&str, &str)]) -> (Digest, f64) {
    let found = resolution(claims, &[&[("lens", "votes")], more].concat());
    (found.winner.expect("there are claims"), found.resolution_confidence)
}

#[test]
fn the_claim_with_the_greatest_sum_of_votes_wins_and_its_share_is_the_confidence() {
    let [old, new] = [("old", 30), ("new", 20)].map(|(value, ago)| check(draft(value, ago)));
    let [of_old, of_new] = [old.seal().digest(), new.seal().digest()];
    assert_eq!(by_votes(&[&old, &new], &[]), (of_new, 0.0), "the most recent where none has votes");
    let votes = [
        check(signed(vote(&old, 0.5, 9), &[1])),
        check(signed(vote(&old, 0.5, 9), &[2])),
        check(signed(vote(&new, 0.25, 9), &[1])),
        check(signed(vote(&new, 0.75, 9), &[3])),
    ];
    let all = [&old, &new, &votes[0], &votes[1], &votes[2], &votes[3]];
    assert_eq!(by_votes(&all[..5], &[]), (of_old, 0.8));
    assert_eq!(by_votes(&all, &[]), (of_new, 0.5), "the most recent at a tie");
    let as_of = (1_700_000_000 - 10).to_string();
    assert_eq!(by_votes(&all, &[("as_of", &as_of)]), (of_new, 0.0), "they had not voted yet");
}

#[test]
fn the_newest_vote_of_each_agent_counts() {
    let [one, two] = ["one", "two"].map(|value| check(draft(value, 30)));
    let [of_one, of_two] = [one.seal().digest(), two.seal().digest()];
    let rival = check(signed(vote(&two, 0.5, 9), &[9]));
    let first = check(signed(vote(&one, 1.0, 8), &[1]));
    let claims = [&one, &two, &rival, &first];
    assert_eq!(by_votes(&claims, &[]), (of_one, 0.666_667));
    let with = |draft: Draft| {
        let vote = check(draft);
        by_votes(&[&claims[..], &[&vote]].concat(), &[])
    };
    assert_eq!(with(signed(vote(&one, 0.25, 7), &[1])), (of_two, 0.666_667), "a later one");
    assert_eq!(with(signed(vote(&one, 0.25, 8 + 1), &[1])), (of_one, 0.666_667), "an earlier one");
    assert_eq!(with(signed(vote(&one, 1.0, 7), &[2])), (of_one, 0.8), "another agent");
    assert_eq!(with(signed(vote(&one, 1.0, 7), &[1, 2])), (of_one, 0.8), "both of them");
    let mut back = signed(vote(&one, 1.0, 7), &[1]);
    back.lifecycle = Lifecycle::Rejected;
    assert_eq!(with(back), (of_two, 1.0), "it is taken back");
    let mut over = signed(vote(&one, 1.0, 7), &[1]);
    over.expires = Some(1_700_000_000);
    assert_eq!(with(over), (of_two, 1.0), "the earlier one does not come back");
    let mut later = signed(vote(&one, 0.0, 0), &[1]);
    later.timestamp = Some(1_700_000_000 + 3_600);
    assert_eq!(with(later), (of_one, 0.666_667), "its time has not come");
    for object in [Object::Number(1.5), Object::Number(-1.0), Object::Text("1".into())] {
        let mut odd = signed(vote(&one, 0.0, 7), &[1]);
        odd.object = object;
        assert_eq!(with(odd), (of_one, 0.666_667), "it is no vote");
    }
}

#[test]
fn a_source_has_one_vote_where_no_agent_signs() {
    let [one, two] = ["one", "two"].map(|value| check(draft(value, 30)));
    let rival = check(signed(vote(&two, 1.0, 9), &[9]));
    let unsigned = |source: u8, ago| {
        let mut vote = vote(&one, 0.75, ago);
        vote.source_hash = Digest([source; 32]);
        check(vote)
    };
    let [first, again, other] = [unsigned(0, 9), unsigned(0, 8), unsigned(1, 9)];
    let once = [&one, &two, &rival, &first, &again];
    assert_eq!(by_votes(&once, &[]), (two.seal().digest(), 0.571_429));
    let twice = [&once[..], &[&other]].concat();
    assert_eq!(by_votes(&twice, &[]), (one.seal().digest(), 0.6));
}

#[test]
fn more_voters_than_are_held_at_a_time_count_once_each() {
    let [one, two] = ["one", "two"].map(|value| check(draft(value, 30)));
    let mut all = vec![one.clone(), two.clone()];
    for source in 0..9_000_u32 {
        for (of, times) in [(&one, 1 + source % 2), (&two, 1)] {
            for again in 0..times {
                let mut vote = vote(of, if of == &one { 0.5 } else { 0.25 }, 9 - u64::from(again));
                vote.source_hash = Digest::of(&source.to_le_bytes());
                all.push(check(vote));
            }
        }
    }
    let found = by_votes(&all.iter().collect::<Vec<_>>(), &[]);
    assert_eq!(found, (one.seal().digest(), 0.666_667));
}

/// Trust in an agent as of some seconds ago.
fn trust(agent: u8, number: f64, seconds_ago: u64) -> Draft {
    let mut trust = draft("", seconds_ago);
    trust.subject = Digest([agent; 32]).to_string();
    trust.predicate = "stemedb:trust".into();
    trust.object = Object::Number(number);
    trust
}

/// The value that wins by trust, and the confidence in it.
fn by_trust(claims: &[&Assertion]) -> (Digest, f64) {
    let found = resolution(claims, &[("lens", "trust")]);
    (found.winner.expect("there are claims"), found.resolution_confidence)
}

fn sure(mut draft: Draft, confidence: f64) -> Draft {
    draft.confidence = confidence;
    draft
}

#[test]
fn confidence_times_the_trust_in_the_signer_decides() {
    // Agents 0 and 4 are root agents.
    let one = check(signed(sure(draft("same", 30), 0.9), &[1]));
    let two = check(signed(sure(draft("same", 20), 0.8), &[2]));
    let [of_one, of_two] = [one.seal().digest(), two.seal().digest()];
    assert_eq!(by_trust(&[&one, &two]), (of_one, 0.45), "half is trusted where nothing is said");
    let with = |more: &[Draft]| {
        let more: Vec<Assertion> = more.iter().cloned().map(check).collect();
        by_trust(&[&[&one, &two], &more.iter().collect::<Vec<_>>()[..]].concat())
    };
    let by = |roots: &[u8], agent, number, ago| signed(trust(agent, number, ago), roots);
    assert_eq!(with(&[by(&[0], 2, 1.0, 9)]), (of_two, 0.8));
    assert_eq!(with(&[by(&[0], 1, 0.25, 9)]), (of_two, 0.4));
    for speakers in [&[][..], &[1], &[2], &[1, 3]] {
        assert_eq!(with(&[by(speakers, 2, 1.0, 9)]), (of_one, 0.45), "no root agent says so");
    }
    let twice = [by(&[0], 2, 1.0, 9), by(&[0], 2, 0.0, 8)];
    assert_eq!(with(&twice), (of_one, 0.45), "the newest of a root agent counts");
    let apart = [by(&[0], 2, 1.0, 9), by(&[4], 2, 0.25, 9)];
    assert_eq!(with(&apart), (of_one, 0.45), "of several the least");
    let mut back = by(&[4], 2, 0.25, 8);
    back.lifecycle = Lifecycle::Deprecated;
    assert_eq!(with(&[apart[0].clone(), apart[1].clone(), back]), (of_two, 0.8), "taken back");
}

#[test]
fn of_a_joint_claim_the_most_trusted_author_counts_who_still_stands_behind_it() {
    let joint = check(signed(draft("joint", 30), &[1, 2]));
    let open = check(sure(draft("open", 40), 0.75));
    let said = [(1, 0.25), (2, 1.0)].map(|(of, number)| check(signed(trust(of, number, 9), &[4])));
    let [low, high] = &said;
    assert_eq!(by_trust(&[&joint, &open, low]), (joint.seal().digest(), 0.363_636));
    assert_eq!(by_trust(&[&joint, &open, low, high]).0, joint.seal().digest());
    let mut gone = signed(sure(draft("gone", 20), 0.0), &[2]);
    gone.parent_hash = Some(joint.seal().digest());
    let gone = check(gone);
    let found = by_trust(&[&joint, &open, low, high, &gone]);
    assert_eq!(found, (open.seal().digest(), 0.225), "0.25 is left against 0.375");
}

/// That one epoch follows another, as of some seconds ago.
fn supersession(epoch: u8, next: &str, seconds_ago: u64) -> Draft {
    let mut over = draft("", seconds_ago);
    over.subject = Digest([epoch; 32]).to_string();
    over.predicate = "stemedb:superseded_by".into();
    over.object = Object::Reference(next.into());
    over
}

#[test]
fn claims_of_an_epoch_that_a_root_agent_superseded_are_not_judged() {
    let of_epoch = |value: &str, epoch, ago| {
        let mut draft = draft(value, ago);
        draft.epoch = Some([epoch; 32]);
        check(draft)
    };
    let (old, new) = (of_epoch("old", 1, 20), of_epoch("new", 2, 40));
    let none = check(draft("none", 50));
    let claims = [&old, &new, &none];
    let winner = |more: &[Draft], parameters: &[(&str, &str)]| {
        let more: Vec<Assertion> = more.iter().cloned().map(check).collect();
        let all = [&claims[..], &more.iter().collect::<Vec<_>>()[..]].concat();
        let found = resolution(&all, &[&[("lens", "recency")], parameters].concat());
        let index = claims.iter().position(|claim| Some(claim.seal().digest()) == found.winner);
        (index, found.candidates_count)
    };
    let current = [("epochs", "current")];
    let next = Digest([2; 32]).to_string();
    let over = |agents: &[u8], ago| signed(supersession(1, &next, ago), agents);
    assert_eq!(winner(&[], &current), (Some(0), 3));
    assert_eq!(winner(&[over(&[0], 9)], &current), (Some(1), 2));
    assert_eq!(winner(&[over(&[0], 9)], &[]), (Some(0), 3), "it is not asked for");
    assert_eq!(winner(&[over(&[0], 9)], &[("epochs", "all")]), (Some(0), 3));
    let before = [current[0], ("as_of", "1699999990")];
    assert_eq!(winner(&[over(&[0], 9)], &before), (Some(0), 3), "it was not over then");
    let both = [over(&[4], 9), signed(supersession(2, &next.replace('2', "3"), 9), &[0, 1])];
    assert_eq!(winner(&both, &current), (Some(2), 1));
    for speakers in [&[][..], &[1], &[1, 2, 3]] {
        assert_eq!(winner(&[over(speakers, 9)], &current), (Some(0), 3), "no root agent says so");
    }
    let itself = Digest([1; 32]).to_string();
    for object in ["never", &itself, &itself.to_uppercase(), &next[1..]] {
        let odd = signed(supersession(1, object, 9), &[0]);
        assert_eq!(winner(&[odd], &current), (Some(0), 3), "{object} is no other epoch");
    }
    let mut back = over(&[0], 8);
    back.lifecycle = Lifecycle::Rejected;
    assert_eq!(winner(&[over(&[0], 9), back.clone()], &current), (Some(0), 3), "taken back");
    let again = [over(&[0], 9), back, over(&[4], 9)];
    assert_eq!(winner(&again, &current), (Some(1), 2), "the other one still says so");
    let history = [current[0], ("history", "true")];
    assert_eq!(winner(&[over(&[0], 9)], &history), (Some(1), 2));
}
