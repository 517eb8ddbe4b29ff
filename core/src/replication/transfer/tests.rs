//! Who is asked for what, and who instead of whom.

use super::*;

fn node(name: &str) -> NodeId {
    NodeId::parse(name).unwrap()
}

fn position(bucket: usize) -> Cursor {
    Cursor {
        bucket,
        after: Some(SessionKey::parse("default", "S9").unwrap()),
    }
}

#[test]
fn several_donors_are_asked_for_ranges_that_do_not_overlap_and_make_the_whole() {
    let mut transfers = Transfers::new(7);
    transfers.want_all();
    assert_eq!(transfers.wanted(), Buckets::ALL);
    let donors = [node("a"), node("b"), node("c")];
    let (mut seen, mut count) = (Buckets::NONE, BTreeMap::<NodeId, usize>::new());
    while !transfers.is_complete() {
        let pulls = transfers.start(&donors, Duration::ZERO);
        assert!(!pulls.is_empty());
        for (donor, pull) in pulls {
            assert_eq!(pull.buckets.intersection(&seen), Buckets::NONE, "asked twice");
            seen = seen.union(&pull.buckets);
            *count.entry(donor.clone()).or_default() += 1;
            assert_eq!(
                transfers.advance(&donor, pull.request, 1, None, Duration::ZERO),
                None
            );
        }
    }
    assert_eq!(seen, Buckets::ALL);
    assert_eq!(count.len(), 3, "{count:?}");
    assert_eq!(transfers.clear(), 8);
}

#[test]
fn an_answer_that_was_lost_with_its_link_is_asked_for_again() {
    let mut transfers = Transfers::new(7);
    transfers.want(Source::Only(node("a")), Buckets::ALL);
    let donors = [node("a")];
    let (_, first) = transfers.start(&donors, Duration::ZERO).remove(0);
    assert!(transfers.start(&donors, Duration::ZERO).is_empty());
    transfers.ask_again(&donors[0]);
    let (_, second) = transfers.start(&donors, Duration::ZERO).remove(0);
    assert_eq!((&second.cursor, &second.buckets), (&first.cursor, &first.buckets));
    transfers.take_silent(PULL_TIMEOUT);
    assert!(
        transfers.start(&donors, PULL_TIMEOUT).is_empty(),
        "it may still come"
    );
    transfers.take_silent(GIVEN_UP_AFTER);
    assert_eq!(transfers.start(&donors, GIVEN_UP_AFTER).len(), 1);
}

#[test]
fn another_donor_goes_on_where_the_first_stopped() {
    let mut transfers = Transfers::new(7);
    transfers.want(Source::Any, Buckets::ALL);
    let (a, b) = (node("a"), node("b"));
    let (_, first) = transfers
        .start(std::slice::from_ref(&a), Duration::ZERO)
        .remove(0);
    let second = transfers
        .advance(&a, first.request, 3, Some(position(12)), Duration::ZERO)
        .unwrap();
    assert_ne!(second.request, first.request);
    assert!(!transfers.lost(&a));
    let (_, third) = transfers.start(std::slice::from_ref(&b), PULL_TIMEOUT).remove(0);
    assert_eq!(third.cursor, position(12));
    assert!(
        !transfers.expects(&a, second.request),
        "a late chunk of the first donor"
    );
    assert!(transfers.expects(&b, third.request));
    assert_eq!(transfers.advance(&b, third.request, 1, None, PULL_TIMEOUT), None);
    assert!(transfers.is_complete());
    assert_eq!(transfers.received(), 4);
}

#[test]
fn another_donor_is_asked_beside_a_silent_one_and_the_first_answer_counts() {
    for first in 0..2 {
        let mut transfers = Transfers::new(7);
        transfers.want(Source::Any, Buckets::ALL);
        let donors = [node("a"), node("b")];
        let (_, early) = transfers.start(&donors[..1], Duration::ZERO).remove(0);
        assert!(transfers.take_silent(PULL_TIMEOUT / 2).is_empty());
        assert_eq!(
            transfers.take_silent(PULL_TIMEOUT),
            BTreeSet::from([donors[0].clone()])
        );
        let (donor, late) = transfers.start(&donors, PULL_TIMEOUT).remove(0);
        assert_eq!((donor, &late.cursor), (donors[1].clone(), &early.cursor));
        let requests = [early.request, late.request];
        let (answers, other) = (first, 1 - first);
        let pull = transfers
            .advance(
                &donors[answers],
                requests[answers],
                1,
                Some(position(3)),
                PULL_TIMEOUT,
            )
            .unwrap();
        assert_eq!(pull.cursor, position(3));
        assert!(
            !transfers.expects(&donors[other], requests[other]),
            "the same sessions again"
        );
    }
}

#[test]
fn a_slow_and_only_donor_is_waited_for_and_asked_for_less() {
    let mut transfers = Transfers::new(7);
    transfers.want(Source::Any, Buckets::ALL);
    let a = [node("a")];
    let (_, mut pull) = transfers.start(&a, Duration::ZERO).remove(0);
    let mut now = Duration::ZERO;
    for bucket in 1..9 {
        now += PULL_TIMEOUT * 2;
        transfers.take_silent(now);
        assert_eq!(transfers.start(&a, now), [], "not the same again");
        assert!(transfers.expects(&a[0], pull.request), "however late");
        pull = transfers
            .advance(&a[0], pull.request, 1, Some(position(bucket)), now)
            .unwrap();
    }
    assert_eq!(pull.bytes, CHUNK_LEAST);
    for bucket in 9..19 {
        pull = transfers
            .advance(&a[0], pull.request, 1, Some(position(bucket)), now)
            .unwrap();
    }
    assert_eq!(pull.bytes, CHUNK_BYTES, "quick again");
}

#[test]
fn a_busy_donor_is_asked_again_a_little_later() {
    let mut transfers = Transfers::new(7);
    transfers.want(Source::Any, Buckets::ALL);
    let a = [node("a")];
    let (_, pull) = transfers.start(&a, Duration::ZERO).remove(0);
    transfers.busy(&a[0], pull.request, Duration::ZERO);
    assert_eq!(transfers.start(&a, BUSY_PAUSE), []);
    assert_eq!(transfers.start(&a, BUSY_PAUSE * 2).len(), 1);
}

#[test]
fn what_only_the_lost_donor_had_is_given_up() {
    let mut transfers = Transfers::new(7);
    transfers.want(Source::Only(node("a")), Buckets::range(0, 9));
    transfers.want(Source::Only(node("b")), Buckets::range(0, 9));
    assert_eq!(transfers.start(&[node("a")], Duration::ZERO).len(), 1);
    assert!(transfers.lost(&node("a")));
    assert!(!transfers.is_complete());
    assert!(transfers.lost(&node("b")));
    assert!(transfers.is_complete());
}

#[test]
fn jitter_is_a_fraction() {
    let fractions: Vec<_> = (0..1000).map(|n| fraction(n << 7)).collect();
    assert!(fractions.iter().all(|f| (0.0..=1.0).contains(f)));
    assert!(fractions.iter().any(|f| *f > 0.7) && fractions.iter().any(|f| *f < 0.3));
}
