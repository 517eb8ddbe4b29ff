//! [`Workers`] alone: rows, versions, departures.

use super::*;
use crate::base::limits::ROUTE_REMEMBERED_FOR;
use crate::session::{Attributes, Register};

fn node(name: &str) -> NodeId {
    NodeId::parse(name).unwrap()
}

fn worker(route: &str, healthy: bool) -> DeclaredWorker {
    DeclaredWorker {
        route: route.to_owned(),
        url: format!("http://{route}"),
        addr: "127.0.0.1:8080".into(),
        weight: 1,
        healthy,
    }
}

/// The workers of node `b`, which declares the route `b`.
fn workers() -> Workers {
    Workers::new(node("b"), vec![worker("b", true)], 1000)
}

fn table(workers: &Workers) -> Vec<(String, WorkerStatus, String)> {
    let rows = workers.all_rows().into_iter();
    rows.map(|row| (row.route, row.status, row.node)).collect()
}

fn row_of(route: &str, status: WorkerStatus, node: &str) -> (String, WorkerStatus, String) {
    (route.to_owned(), status, node.to_owned())
}

#[test]
fn a_status_follows_from_the_node_then_health_then_the_operator() {
    let mut workers = workers();
    let status = |workers: &mut Workers, own| {
        workers.refresh(own, |_| Serving::No);
        workers.by_route("b").unwrap().status
    };
    assert_eq!(status(&mut workers, Serving::NotYet), WorkerStatus::NotReady);
    assert_eq!(status(&mut workers, Serving::Yes), WorkerStatus::Up);
    assert_eq!(status(&mut workers, Serving::No), WorkerStatus::Down);
    assert!(workers.set_health("b", false));
    assert!(!workers.set_health("b", false), "nothing new");
    assert!(!workers.set_health("x", false), "not declared");
    assert_eq!(status(&mut workers, Serving::Yes), WorkerStatus::Down);
    let register = |text: &[u8]| {
        let stamp = Stamp { time: 1, node: 1 };
        Register {
            life: stamp,
            stamp,
            value: Some(text.into()),
        }
    };
    for (text, healthy, expected) in [
        ("drain", true, WorkerStatus::Draining),
        ("drain", false, WorkerStatus::Down),
        ("disable", true, WorkerStatus::Disabled),
        ("disable", false, WorkerStatus::Disabled),
        ("something else", true, WorkerStatus::Up),
    ] {
        let record = Record {
            attributes: Attributes::from_iter([("b".into(), register(text.as_bytes()))]),
            ..Record::default()
        };
        workers.read(Some(&record), None);
        workers.set_health("b", healthy);
        assert_eq!(status(&mut workers, Serving::Yes), expected, "{text}, {healthy}");
    }
}

#[test]
fn the_version_rises_with_each_change_and_only_then() {
    let mut workers = workers();
    let number = |workers: &mut Workers| {
        workers.refresh(Serving::Yes, |_| Serving::Yes);
        workers.version.number
    };
    assert_eq!(number(&mut workers), 2);
    assert_eq!(number(&mut workers), 2);
    workers.announce(&node("a"), vec![worker("a", true)], Duration::ZERO);
    assert_eq!(number(&mut workers), 3);
    workers.announce(&node("a"), vec![worker("a", true)], Duration::ZERO);
    assert_eq!(number(&mut workers), 3);
    workers.distrust(&node("a"));
    assert_eq!(number(&mut workers), 4);
}

#[test]
fn of_two_nodes_with_one_route_the_one_that_serves_is_shown_and_of_equals_the_first() {
    let mut workers = workers();
    workers.announce(&node("a"), vec![worker("b", false)], Duration::ZERO);
    workers.announce(&node("c"), vec![worker("b", true)], Duration::ZERO);
    workers.refresh(Serving::Yes, |_| Serving::Yes);
    assert_eq!(table(&workers), [row_of("b", WorkerStatus::Up, "b")]);
    workers.refresh(Serving::No, |_| Serving::Yes);
    assert_eq!(table(&workers), [row_of("b", WorkerStatus::Up, "c")]);
    workers.refresh(Serving::No, |_| Serving::No);
    assert_eq!(table(&workers), [row_of("b", WorkerStatus::Down, "a")]);
}

#[test]
fn a_forgotten_node_leaves_the_names_of_its_routes_for_a_week() {
    let mut workers = workers();
    let declared = vec![worker("a1", true), worker("b", true), worker("a2", true)];
    workers.announce(&node("a"), declared, Duration::ZERO);
    workers.refresh(Serving::Yes, |_| Serving::Yes);
    let at = FORGET_INTERVAL;
    assert!(!workers.forget(|_| false, Duration::ZERO), "it is there");
    assert!(!workers.forget(|_| true, at / 2), "not looked for yet");
    assert!(workers.forget(|_| true, at));
    assert!(workers.announced.is_empty());
    let before = workers.refresh(Serving::Yes, |_| Serving::Yes).unwrap();
    assert_eq!((before.len(), workers.rows().len()), (3, 1));
    let expected = [
        row_of("a1", WorkerStatus::Disabled, "a"),
        row_of("a2", WorkerStatus::Disabled, "a"),
        row_of("b", WorkerStatus::Up, "b"),
    ];
    assert_eq!(table(&workers), expected, "b is declared by another node");
    assert!(workers.by_route("a1").is_none());
    assert!(workers.forget(|_| true, at + ROUTE_REMEMBERED_FOR));
    assert!(workers.refresh(Serving::Yes, |_| Serving::Yes).is_some());
    assert_eq!(table(&workers).len(), 1);
}

#[test]
fn a_route_that_a_node_declares_no_more_departs_and_one_that_it_declares_again_is_back() {
    let mut workers = workers();
    workers.announce(&node("a"), vec![worker("x", true)], Duration::ZERO);
    workers.announce(&node("a"), vec![worker("y", true)], Duration::ZERO);
    workers.refresh(Serving::Yes, |_| Serving::Yes);
    let status = |workers: &Workers, route: &str| {
        let rows = table(workers).into_iter();
        rows.filter(|(name, ..)| name == route)
            .map(|(_, status, _)| status)
            .collect::<Vec<_>>()
    };
    assert_eq!(status(&workers, "x"), [WorkerStatus::Disabled]);
    assert_eq!(status(&workers, "y"), [WorkerStatus::Up]);
    workers.announce(&node("c"), vec![worker("x", true)], Duration::ZERO);
    workers.refresh(Serving::Yes, |_| Serving::Yes);
    assert_eq!(status(&workers, "x"), [WorkerStatus::Up]);
    assert_eq!(workers.departed.rows().count(), 0);
}

#[test]
fn a_node_that_starts_over_keeps_its_own_workers_and_versions_go_on() {
    let mut workers = workers();
    workers.announce(&node("a"), vec![worker("x", true)], Duration::ZERO);
    workers.announce(&node("a"), vec![worker("y", true)], Duration::ZERO);
    workers.refresh(Serving::Yes, |_| Serving::Yes);
    let version = workers.version;
    let mut workers = workers.started_over();
    workers.refresh(Serving::NotYet, |_| Serving::Yes);
    assert_eq!(workers.version.epoch, version.epoch);
    assert!(workers.version.number > version.number);
    let expected = [
        row_of("b", WorkerStatus::NotReady, "b"),
        row_of("x", WorkerStatus::Disabled, "a"),
    ];
    assert_eq!(table(&workers), expected);
}
