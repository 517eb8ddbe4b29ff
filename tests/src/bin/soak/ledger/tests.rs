//! Does the ledger notice every kind of wrong answer, and let every right one pass?

use std::collections::BTreeMap;

use super::{At, Broken, Ledger, Look, Mode, Outcome, Shown, Values, Weather};

const NODES: usize = 5;

const fn s(seconds: u64) -> At {
    At::from_secs(seconds)
}

/// A cluster in trouble with one session `u1`, created by all, that has the id `A`.
fn begun(mode: Mode) -> Ledger {
    let mut ledger = Ledger::new(Weather::new(mode, NODES, s(0)));
    ledger.weather.on_trouble();
    let instance = ledger.weather.instance(0);
    ledger.begin("u1", "A", instance, s(1));
    ledger.session("u1").created(Outcome::Acked(5), s(1));
    ledger.session("u1").learn_life(Some("L"));
    ledger
}

fn look(ledger: &Ledger, node: usize, at: u64) -> Look {
    Look {
        instance: ledger.weather.instance(node),
        begun: s(at),
    }
}

fn write(ledger: &mut Ledger, node: usize, at: u64, base: Option<u64>, outcome: Outcome) -> (u64, Values) {
    let instance = ledger.weather.instance(node);
    let value = ledger.session("u1").write("n", base, "t", instance, s(at));
    ledger.session("u1").written(value.number, outcome, s(at));
    (value.number, Values::from([("n".to_owned(), value.to_string())]))
}

fn found(ledger: &Ledger, node: usize, at: u64, values: &Values) -> Result<(), Broken> {
    ledger.on_found("u1", "A", &look(ledger, node, at), Some(values))
}

fn claim(result: Result<(), Broken>) -> &'static str {
    result.err().map_or("holds", |broken| broken.claim)
}

fn everywhere(id: &str, values: &Values) -> Vec<Shown> {
    vec![BTreeMap::from([(id.to_owned(), values.clone())]); NODES]
}

fn nowhere() -> Vec<Shown> {
    vec![Shown::new(); NODES]
}

const DELTA: Mode = Mode::Delta;

#[test]
fn a_value_of_another_session_is_a_mix_up_and_one_nobody_wrote_is_wrong() {
    let mut ledger = begun(DELTA);
    let (_, values) = write(&mut ledger, 0, 2, None, Outcome::Refused);
    assert_eq!(claim(found(&ledger, 0, 3, &values)), "C4", "it was refused");
    for (value, wrong) in [("u2.1.t", "C11"), ("rubbish", "C11"), ("u1.9.t", "C4")] {
        let values = Values::from([("n".to_owned(), value.to_owned())]);
        assert_eq!(claim(found(&ledger, 0, 3, &values)), wrong, "{value}");
    }
    let values = Values::from([("p".to_owned(), "u1.1.t".to_owned())]);
    assert_eq!(
        claim(found(&ledger, 0, 3, &values)),
        "C11",
        "the value of another attribute"
    );
}

#[test]
fn a_counter_does_not_go_back_where_it_was_acknowledged() {
    let mut ledger = begun(DELTA);
    let (one, first) = write(&mut ledger, 0, 2, None, Outcome::Acked(1));
    let (_, second) = write(&mut ledger, 0, 3, Some(one), Outcome::Acked(1));
    assert_eq!(claim(found(&ledger, 0, 4, &second)), "holds");
    assert_eq!(claim(found(&ledger, 0, 4, &first)), "C5");
    assert_eq!(
        claim(found(&ledger, 3, 4, &first)),
        "holds",
        "only one node has it"
    );
    ledger.weather.on_loss(0, s(5));
    assert_eq!(claim(found(&ledger, 0, 6, &first)), "holds", "which was lost");
}

#[test]
fn of_two_writes_at_the_same_time_either_may_stay() {
    let mut ledger = begun(DELTA);
    let (_, first) = write(&mut ledger, 0, 10, None, Outcome::Acked(5));
    let (_, second) = write(&mut ledger, 1, 11, None, Outcome::Acked(5));
    for values in [&first, &second] {
        assert_eq!(claim(found(&ledger, 0, 12, values)), "holds");
    }
    let (_, third) = write(&mut ledger, 2, 20, None, Outcome::Acked(5));
    assert_eq!(
        claim(found(&ledger, 0, 21, &second)),
        "C5",
        "nine seconds are not the same time"
    );
    assert_eq!(claim(found(&ledger, 0, 21, &third)), "holds");
}

#[test]
fn what_enough_nodes_acknowledged_is_there_at_rest() {
    for (losses, expected) in [(0, "C2"), (1, "C2"), (2, "holds")] {
        let mut ledger = begun(DELTA);
        let (one, first) = write(&mut ledger, 0, 2, None, Outcome::Acked(5));
        write(&mut ledger, 0, 3, Some(one), Outcome::Acked(2));
        for node in 0..losses {
            ledger.weather.on_loss(node, s(4));
        }
        let settled = ledger.settle("u1", &everywhere("A", &first));
        assert_eq!(claim(settled), expected, "{losses} losses");
    }
}

#[test]
fn a_session_that_lives_is_found_and_one_that_ended_is_not() {
    let mut ledger = begun(DELTA);
    let (_, values) = write(&mut ledger, 0, 2, None, Outcome::Acked(5));
    assert_eq!(claim(ledger.on_absent("u1", "A", &look(&ledger, 4, 3))), "404");
    assert_eq!(claim(ledger.settle("u1", &nowhere())), "C2");
    let instance = ledger.weather.instance(1);
    ledger.session("u1").finish(instance, s(5));
    ledger.session("u1").finished(Outcome::Acked(2), s(5));
    assert_eq!(claim(ledger.on_absent("u1", "A", &look(&ledger, 4, 6))), "holds");
    assert_eq!(
        claim(found(&ledger, 4, 6, &values)),
        "holds",
        "it has not heard of the end"
    );
    assert_eq!(claim(found(&ledger, 1, 6, &values)), "C3");
    assert_eq!(claim(ledger.settle("u1", &everywhere("A", &values))), "C3");
    assert_eq!(claim(ledger.settle("u1", &nowhere())), "holds");
    assert_eq!(claim(found(&ledger, 4, 90, &values)), "C3", "it came back");
    assert_eq!(claim(ledger.on_listed("A")), "C3");
    assert_eq!(claim(ledger.on_listed("B")), "holds");
}

#[test]
fn nodes_that_differ_at_rest_are_noticed() {
    let mut ledger = begun(DELTA);
    let (one, first) = write(&mut ledger, 0, 2, None, Outcome::Unknown);
    let (_, second) = write(&mut ledger, 0, 3, Some(one), Outcome::Unknown);
    let mut shown = everywhere("A", &first);
    shown[3] = everywhere("A", &second).remove(0);
    assert_eq!(claim(ledger.settle("u1", &shown)), "C1");
    assert_eq!(claim(ledger.settle("u1", &everywhere("A", &first))), "holds");
    ledger.weather.on_rest(s(10));
    assert_eq!(
        claim(found(&ledger, 2, 11, &Values::new())),
        "C2",
        "it was there at rest"
    );
}

#[test]
fn after_a_rename_the_old_id_finds_nothing_and_the_new_one_does() {
    let mut ledger = begun(DELTA);
    let (_, values) = write(&mut ledger, 0, 2, None, Outcome::Acked(5));
    let instance = ledger.weather.instance(1);
    ledger.rename("u1", "B", instance, s(5));
    assert_eq!(
        claim(ledger.on_absent("u1", "A", &look(&ledger, 1, 5))),
        "holds",
        "under way"
    );
    ledger.session("u1").renamed("B", Outcome::Acked(2), s(6));
    assert_eq!(ledger.session("u1").id(), "B");
    assert_eq!(claim(found(&ledger, 4, 7, &values)), "holds", "it has not heard");
    assert_eq!(claim(found(&ledger, 1, 7, &values)), "rename");
    let at = look(&ledger, 1, 7);
    assert_eq!(claim(ledger.on_absent("u1", "A", &at)), "holds");
    assert_eq!(claim(ledger.on_absent("u1", "B", &at)), "404");
    assert_eq!(
        claim(ledger.settle("u1", &everywhere("A", &values))),
        "C2",
        "the rename was lost"
    );
    let both: Vec<_> = (0..NODES)
        .map(|_| Shown::from([("A".to_owned(), values.clone()), ("B".to_owned(), values.clone())]))
        .collect();
    assert_eq!(claim(ledger.settle("u1", &both)), "rename");
    assert_eq!(claim(ledger.settle("u1", &everywhere("B", &values))), "holds");
    assert_eq!(
        claim(ledger.settle("u1", &everywhere("B", &Values::new()))),
        "C2",
        "its attribute is lost"
    );
}

#[test]
fn of_two_renames_at_the_same_time_either_wins() {
    for winner in ["B", "C"] {
        let mut ledger = begun(DELTA);
        for (id, node) in [("B", 1), ("C", 2)] {
            let instance = ledger.weather.instance(node);
            ledger.rename("u1", id, instance, s(5));
        }
        for id in ["B", "C"] {
            ledger.session("u1").renamed(id, Outcome::Acked(5), s(6));
        }
        for id in ["B", "C"] {
            assert_eq!(claim(ledger.on_absent("u1", id, &look(&ledger, 4, 7))), "holds");
        }
        assert_eq!(
            claim(ledger.settle("u1", &everywhere(winner, &Values::new()))),
            "holds"
        );
        ledger.weather.on_rest(s(9));
        assert_eq!(ledger.session("u1").id(), winner);
        assert_eq!(
            claim(ledger.on_absent("u1", winner, &look(&ledger, 4, 10))),
            "404"
        );
    }
}

#[test]
fn what_may_yet_be_made_decides_nothing_but_a_mix_up_is_one() {
    let mut ledger = begun(DELTA);
    write(&mut ledger, 0, 2, None, Outcome::Loose);
    let foreign = Values::from([("n".to_owned(), "u2.1.t".to_owned())]);
    assert_eq!(claim(ledger.settle("u1", &everywhere("A", &foreign))), "C11");
    assert_eq!(ledger.present().len(), 1);
    assert_eq!(claim(ledger.settle("u1", &nowhere())), "holds");
    assert_eq!(ledger.present().len(), 0, "nobody asks for it any more");
}
