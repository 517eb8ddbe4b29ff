//! Claims about the inquiry, as tables: what a node was told, what was answered, and what keeps it from starting.

use super::*;

const SEED: &str = "seed:4000";
const NAME: &str = "all:4000";
const BEGAN: Duration = Duration::from_secs(100);

fn at(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], 4000))
}

fn id(name: &str) -> NodeId {
    NodeId::parse(name).unwrap()
}

fn told_of(names: &[&str]) -> Inquiry {
    Inquiry::new(names.iter().map(ToString::to_string), false, BEGAN)
}

/// What keeps the node at `at(0)` from starting once it has listened, where `joining` are linked and have no table.
fn obstacle(inquiry: &Inquiry, joining: &[&str]) -> Option<Obstacle> {
    let is_joining = |node: &NodeId| joining.contains(&node.as_str());
    inquiry.obstacle(at(0), is_joining, BEGAN + LISTEN)
}

fn unanswered(lasts: &[u8]) -> Option<Obstacle> {
    Some(Obstacle::Unanswered(lasts.iter().copied().map(at).collect()))
}

#[test]
fn who_was_told_of_nobody_starts_at_once() {
    let inquiry = told_of(&[]);
    assert_eq!(inquiry.obstacle(at(0), |_| false, BEGAN), None);
}

#[test]
fn a_name_that_was_not_resolved_or_does_not_resolve_is_no_answer() {
    let mut inquiry = told_of(&[SEED]);
    let unresolved = Some(Obstacle::Unresolved(vec![SEED.to_owned()]));
    assert_eq!(obstacle(&inquiry, &[]), unresolved, "it is being resolved");
    inquiry.on_resolved(SEED, &[]);
    assert_eq!(obstacle(&inquiry, &[]), unresolved, "it does not resolve");
    inquiry.on_resolved(SEED, &[at(1)]);
    inquiry.on_answer(at(1), Some(Answer::Refused));
    assert_eq!(obstacle(&inquiry, &[]), None);
    inquiry.on_resolved(SEED, &[]);
    assert_eq!(
        obstacle(&inquiry, &[]),
        unresolved,
        "it does not resolve any more"
    );
}

#[test]
fn every_address_has_to_answer_as_joining_or_to_refuse() {
    let b = || Some(Answer::Node(id("b")));
    let cases: [(&str, Option<Answer>, &[&str], bool); 6] = [
        ("silent", None, &["b"], false),
        ("refuses", Some(Answer::Refused), &[], true),
        (
            "of another domain, or this node itself",
            Some(Answer::NotOurs),
            &[],
            true,
        ),
        ("joins", b(), &["b"], true),
        ("has a table, or has not said that it has none", b(), &[], false),
        ("another one joins", b(), &["c"], false),
    ];
    for (what, answer, joining, clear) in cases {
        let mut inquiry = told_of(&[SEED, NAME]);
        inquiry.on_resolved(SEED, &[at(1)]);
        inquiry.on_resolved(NAME, &[at(0), at(1), at(2)]);
        inquiry.on_answer(at(1), Some(Answer::Refused));
        assert_eq!(
            obstacle(&inquiry, joining),
            unanswered(&[2]),
            "{what}: it was not asked"
        );
        inquiry.on_answer(at(2), answer);
        let expected = if clear { None } else { unanswered(&[2]) };
        assert_eq!(obstacle(&inquiry, joining), expected, "{what}");
        inquiry.on_answer(at(2), None);
        assert_eq!(
            obstacle(&inquiry, joining),
            unanswered(&[2]),
            "{what}, and is silent now"
        );
    }
}

#[test]
fn answers_of_addresses_it_was_not_told_of_do_not_count_and_are_not_kept() {
    let mut inquiry = told_of(&[SEED]);
    assert_eq!(inquiry.on_resolved(SEED, &[at(1)]), [at(1)]);
    inquiry.on_answer(at(9), Some(Answer::Refused));
    assert_eq!(inquiry.answers.len(), 0);
    inquiry.on_answer(at(1), Some(Answer::Refused));
    assert_eq!(inquiry.on_resolved(SEED, &[at(1), at(2)]), [at(2)], "the new one");
    assert_eq!(obstacle(&inquiry, &[]), unanswered(&[2]));
    inquiry.on_resolved(SEED, &[at(2)]);
    assert_eq!(inquiry.answers.len(), 0, "the first is asked no more");
    assert_eq!(inquiry.on_resolved("other", &[at(3)]), [], "no such name");
}

#[test]
fn a_node_listens_as_long_as_peers_pause_between_two_dials() {
    let mut inquiry = told_of(&[SEED]);
    inquiry.on_resolved(SEED, &[at(1)]);
    inquiry.on_answer(at(1), Some(Answer::Refused));
    let just_before = BEGAN + LISTEN - Duration::from_millis(1);
    let listens = inquiry.obstacle(at(0), |_| false, just_before);
    assert_eq!(listens, Some(Obstacle::Listening));
    assert_eq!(obstacle(&inquiry, &[]), None);
}

#[test]
fn a_dialler_has_to_be_asked_unless_it_says_that_it_has_no_table() {
    let mut inquiry = told_of(&[SEED]);
    inquiry.on_resolved(SEED, &[at(1)]);
    inquiry.on_answer(at(1), Some(Answer::Refused));
    inquiry.on_dialled(&id("d"), at(4));
    assert_eq!(obstacle(&inquiry, &[]), unanswered(&[4]), "it has said nothing");
    inquiry.on_announced(&id("d"), false, BEGAN);
    assert_eq!(obstacle(&inquiry, &[]), None);
    inquiry.on_announced(&id("d"), true, BEGAN);
    assert_eq!(obstacle(&inquiry, &[]), unanswered(&[4]), "it has a table");
    inquiry.on_answer(at(4), Some(Answer::Refused));
    assert_eq!(obstacle(&inquiry, &[]), None, "its process is gone");
    inquiry.on_dialled(&id("d"), at(4));
    assert_eq!(obstacle(&inquiry, &[]), unanswered(&[4]), "it is back");
}

#[test]
fn that_a_node_has_no_table_counts_for_a_while_after_it_said_so() {
    let mut inquiry = told_of(&[SEED]);
    assert!(!inquiry.said_lately_to_join(&id("b"), BEGAN), "it never did");
    inquiry.on_announced(&id("b"), false, BEGAN);
    assert!(inquiry.said_lately_to_join(&id("b"), BEGAN + SAID_LATELY));
    let later = BEGAN + SAID_LATELY + Duration::from_millis(1);
    assert!(
        !inquiry.said_lately_to_join(&id("b"), later),
        "it may have got one"
    );
    inquiry.on_announced(&id("b"), true, BEGAN);
    assert!(!inquiry.said_lately_to_join(&id("b"), BEGAN), "it has one");
}

#[test]
fn hints_are_listened_to_and_lead_to_addresses_that_have_to_answer() {
    let mut inquiry = Inquiry::new([], true, BEGAN);
    assert_eq!(obstacle(&inquiry, &[]), Some(Obstacle::Listening));
    inquiry.on_hint(at(3));
    inquiry.on_hints_heard();
    assert_eq!(obstacle(&inquiry, &[]), unanswered(&[3]));
    inquiry.on_answer(at(3), Some(Answer::Node(id("c"))));
    assert_eq!(obstacle(&inquiry, &["c"]), None);
}

#[test]
fn who_had_the_table_waits_for_a_member_that_has_it() {
    let inquiry = Inquiry::of_any_member(BEGAN);
    assert_eq!(obstacle(&inquiry, &[]), Some(Obstacle::AnyMember));
}

#[test]
fn what_is_kept_is_bounded() {
    let mut inquiry = told_of(&[SEED]);
    for number in 0..=MEMBERS_MAX {
        let port = u16::try_from(number).unwrap();
        let addr = SocketAddr::from(([10, 0, 1, 1], port));
        inquiry.on_hint(addr);
        inquiry.on_dialled(&id(&format!("n{number}")), addr);
    }
    assert_eq!(
        (inquiry.hinted.len(), inquiry.diallers.len()),
        (MEMBERS_MAX, MEMBERS_MAX)
    );
}

#[test]
fn a_sentence_names_the_first_few() {
    let addrs = (1..=5).map(at).collect();
    assert_eq!(
        Obstacle::Unanswered(addrs).to_string(),
        "waiting for an answer from 10.0.0.1:4000, 10.0.0.2:4000, 10.0.0.3:4000 and 2 more, where the sessions may be"
    );
    let names = Obstacle::Unresolved(vec![SEED.to_owned()]);
    assert_eq!(names.to_string(), "waiting for the addresses of seed:4000");
}
