//! Workers of several nodes: admin states reach every node and outlive it; nodes that are gone for good are forgotten.

use limpet_wire::table::WorkerStatus;

use super::super::workers::admin_state::AdminState;
use super::*;

impl Cluster {
    fn direct(&mut self, at: &str, route: &str, admin_state: AdminState) {
        let now = self.now();
        let engine = self.engines.get_mut(&node(at)).unwrap();
        engine.direct(route, admin_state, now).unwrap();
        self.settle();
    }

    fn status(&self, at: &str, route: &str) -> WorkerStatus {
        let table = self.engines[&node(at)].worker_table(0);
        table.by_route(route).unwrap().status
    }
}

#[test]
fn an_admin_state_reaches_every_node_and_the_last_one_counts() {
    let mut cluster = Cluster::of(&["a", "b", "c"]);
    cluster.direct("a", "b", AdminState::Drain);
    for at in ["a", "b", "c"] {
        assert_eq!(cluster.status(at, "b"), WorkerStatus::Draining, "at {at}");
        assert_eq!(cluster.status(at, "c"), WorkerStatus::Up, "at {at}");
        assert_eq!(cluster.engines[&node(at)].sessions(), 0, "at {at}");
    }
    cluster.direct("c", "b", AdminState::Disable);
    assert_eq!(cluster.status("a", "b"), WorkerStatus::Disabled);
    cluster.direct("b", "b", AdminState::Enable);
    for at in ["a", "b", "c"] {
        assert_eq!(cluster.status(at, "b"), WorkerStatus::Up, "at {at}");
    }
    cluster.assert_converged();
}

#[test]
fn an_admin_state_outlives_the_restart_of_every_node_in_turn() {
    let mut cluster = Cluster::of(&["a", "b"]);
    cluster.direct("a", "b", AdminState::Disable);
    cluster.direct("b", "a", AdminState::Drain);
    for restarted in ["a", "b", "a"] {
        cluster.start(restarted);
        cluster.run(Duration::from_secs(5));
        for at in ["a", "b"] {
            assert_eq!(
                cluster.status(at, "b"),
                WorkerStatus::Disabled,
                "at {at}, {restarted} restarted"
            );
            assert_eq!(
                cluster.status(at, "a"),
                WorkerStatus::Draining,
                "at {at}, {restarted} restarted"
            );
        }
    }
}

#[test]
fn two_admin_states_on_two_sides_of_a_cut_end_as_the_later_one() {
    let mut cluster = Cluster::of(&["a", "b"]);
    cluster.part(&["a"], &["b"]);
    cluster.direct("a", "a", AdminState::Drain);
    cluster.run(Duration::from_secs(5));
    cluster.direct("b", "a", AdminState::Disable);
    cluster.heal();
    cluster.run(Duration::from_secs(10));
    for at in ["a", "b"] {
        assert_eq!(
            cluster.status(at, "a"),
            WorkerStatus::Disabled,
            "at {at}: the later one"
        );
    }
}

#[test]
fn a_worker_nobody_declares_is_not_found() {
    let mut cluster = Cluster::of(&["a"]);
    let now = cluster.now();
    let engine = cluster.engines.get_mut(&node("a")).unwrap();
    let refused = engine.direct("nobody", AdminState::Drain, now).unwrap_err();
    assert_eq!(refused, Refused::NoSuchWorker("nobody".into()));
}

#[test]
fn the_workers_of_a_node_that_left_go_after_an_hour_and_of_one_that_died_after_a_day() {
    let mut cluster = Cluster::of(&["a", "b", "c"]);
    let now = cluster.now();
    cluster.engines.get_mut(&node("b")).unwrap().leave(now);
    cluster.settle();
    cluster.part(&["a", "c"], &["b"]);
    cluster.engines.remove(&node("b"));
    cluster.part(&["a"], &["c"]);
    cluster.engines.remove(&node("c"));
    cluster.run(Duration::from_secs(10));
    let routes = |cluster: &Cluster| -> Vec<String> {
        let workers = cluster.engines[&node("a")].workers().iter();
        workers.map(|worker| worker.route.clone()).collect()
    };
    assert_eq!(routes(&cluster), ["a", "b", "c"]);
    cluster.elapsed += Duration::from_secs(3600);
    cluster.run(Duration::from_secs(1));
    assert_eq!(routes(&cluster), ["a", "c"]);
    cluster.elapsed += Duration::from_secs(24 * 3600);
    cluster.run(Duration::from_secs(1));
    assert_eq!(routes(&cluster), ["a"]);
    for gone in ["b", "c"] {
        assert_eq!(
            cluster.status("a", gone),
            WorkerStatus::Disabled,
            "its route is known"
        );
    }
    cluster.cut.clear();
    cluster.start("b");
    cluster.run(Duration::from_secs(5));
    assert_eq!(routes(&cluster), ["a", "b"]);
    assert_eq!(cluster.status("a", "b"), WorkerStatus::Up);
}
