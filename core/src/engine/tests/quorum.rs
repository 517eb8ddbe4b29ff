//! Conditional changes that a majority decides: one caller has its way across cuts, restarts and changes of voters, and
//! what was answered stays while a majority does.

use super::*;
use crate::engine::conditional::quorum::NotForgotten;
use crate::session::{Change, Condition, Record, Stamp};

const THREE: [&str; 3] = ["a", "b", "c"];
const FIVE: [&str; 5] = ["a", "b", "c", "d", "e"];

impl Cluster {
    fn of_voters(mode: Mode, names: &[&str]) -> Self {
        let mut cluster = Self::new();
        cluster.mode = mode;
        cluster.quorum_founders = Some(names.len());
        let mut cluster = cluster.begin(names);
        cluster.run(Duration::from_secs(4));
        for name in names {
            let status = cluster.majority(name);
            assert_eq!(
                (status.voters, status.has_majority),
                (names.len(), true),
                "{status:?}"
            );
        }
        cluster
    }

    fn majority(&mut self, at: &str) -> crate::engine::conditional::quorum::QuorumStatus {
        self.at(at, |engine, _| engine.quorum_status()).unwrap()
    }

    /// Proposes, and waits for what becomes of it.
    fn write_if(
        &mut self,
        at: &str,
        id: &str,
        condition: Condition,
        value: &str,
    ) -> Result<Written, Refused> {
        let change = Change::Patch(set("v", value));
        let proposal = self
            .at(at, |engine, now| engine.propose(&key(id), condition, change, now))
            .unwrap();
        for _ in 0..100 {
            self.settle();
            if let Some(decided) = self.decided.remove(&(node(at), proposal)) {
                return decided;
            }
            self.run(Duration::from_millis(50));
        }
        panic!("a proposal never ends");
    }

    /// The same, again and again while there is no majority.
    fn write_soon(
        &mut self,
        at: &str,
        id: &str,
        condition: Condition,
        value: &str,
    ) -> Result<Written, Refused> {
        for _ in 0..20 {
            let result = self.write_if(at, id, condition, value);
            if !matches!(
                result,
                Err(Refused::NoQuorum | Refused::Undecided | Refused::Unreachable)
            ) {
                return result;
            }
        }
        panic!("there is never a majority");
    }

    fn version_at(&mut self, at: &str, id: &str) -> Stamp {
        self.at(at, |engine, now| {
            engine.session(&key(id), now).map(Record::version)
        })
        .unwrap()
    }

    /// The node that owns a key.
    fn owner_of(&mut self, at: &str, id: &str) -> String {
        self.at(at, |engine, _| engine.owner(&key(id)).to_string())
    }

    /// An id whose owner is `owner`.
    fn owned_by(&mut self, owner: &str) -> String {
        (0..1000)
            .map(|n| format!("K{n}"))
            .find(|id| self.owner_of(owner, id) == owner)
            .unwrap()
    }
}

const MODES: [Mode; 2] = [Mode::Delta, Mode::Backup { copies: 1 }];

#[test]
fn of_callers_at_every_node_who_create_one_session_one_does() {
    for mode in MODES {
        let mut cluster = Cluster::of_voters(mode, &THREE);
        for n in 0..20 {
            let id = format!("S{n}");
            let all: Vec<_> = THREE
                .into_iter()
                .map(|at| {
                    let change = Change::Patch(set("v", at));
                    let asked = cluster.at(at, |engine, now| {
                        engine.propose(&key(&id), Condition::Absent, change, now)
                    });
                    (at, asked.unwrap())
                })
                .collect();
            cluster.run(Duration::from_millis(100));
            let decided: Vec<_> = all
                .into_iter()
                .map(|(at, asked)| cluster.decided.remove(&(node(at), asked)).unwrap())
                .collect();
            let won = decided.iter().filter(|result| result.is_ok()).count();
            let unmet = decided
                .iter()
                .filter(|r| matches!(r, Err(Refused::Unmet)))
                .count();
            assert_eq!((won, unmet), (1, 2), "{decided:?}");
        }
    }
}

#[test]
fn increments_are_all_counted() {
    let mut cluster = Cluster::of_voters(Mode::Delta, &THREE);
    cluster.write_if("a", "counter", Condition::Absent, "0").unwrap();
    let mut count = 0;
    for turn in 0..30 {
        let at = THREE[turn % 3];
        let version = cluster.version_at(at, "counter");
        if cluster
            .write_if(
                at,
                "counter",
                Condition::Version(version),
                &format!("{}", count + 1),
            )
            .is_ok()
        {
            count += 1;
        }
    }
    assert_eq!(count, 30);
    cluster.run(Duration::from_secs(1));
    cluster.assert_converged();
}

#[test]
fn the_smaller_side_of_a_cut_decides_nothing_and_the_larger_goes_on() {
    for mode in MODES {
        let mut cluster = Cluster::of_voters(mode, &FIVE);
        cluster.write_if("a", "S", Condition::Absent, "0").unwrap();
        cluster.run(Duration::from_secs(1));
        cluster.part(&["a", "b"], &["c", "d", "e"]);
        for n in 0..5 {
            let refused = cluster.write_if("a", &format!("N{n}"), Condition::Absent, "1");
            assert!(
                matches!(refused, Err(Refused::NoQuorum | Refused::Undecided)),
                "{refused:?}"
            );
        }
        cluster.run(Duration::from_secs(5));
        let refused = cluster.write_if("a", "S", Condition::Absent, "1");
        assert!(matches!(refused, Err(Refused::NoQuorum)), "{refused:?}");
        assert!(!cluster.majority("a").has_majority);
        assert_eq!(cluster.majority("a").missing, ["c", "d", "e"].map(node));
        for n in 5..10 {
            cluster
                .write_soon("c", &format!("N{n}"), Condition::Absent, "2")
                .unwrap();
        }
        let unmet = cluster.write_soon("c", "S", Condition::Absent, "2");
        assert!(matches!(unmet, Err(Refused::Unmet)), "{unmet:?}");
        cluster.heal();
        cluster.run(Duration::from_secs(6));
        for n in 5..10 {
            let unmet = cluster.write_soon("a", &format!("N{n}"), Condition::Absent, "3");
            assert!(matches!(unmet, Err(Refused::Unmet)), "{unmet:?}");
        }
    }
}

#[test]
fn what_a_cut_off_owner_did_not_get_a_majority_for_loses_and_stays_away() {
    let mut cluster = Cluster::of_voters(Mode::Delta, &FIVE);
    let id = cluster.owned_by("a");
    cluster.part(&["a", "b"], &["c", "d", "e"]);
    // The owner still takes its majority for there: nothing has told it yet.
    let change = Change::Patch(set("v", "lost"));
    let asked = cluster.at("a", |engine, now| {
        engine.propose(&key(&id), Condition::Absent, change, now)
    });
    asked.unwrap();
    cluster.run(Duration::from_secs(6));
    let won = cluster.write_soon("d", &id, Condition::Absent, "won").unwrap();
    cluster.heal();
    cluster.run(Duration::from_secs(10));
    for at in FIVE {
        assert_eq!(cluster.value(at, &id, "v").as_deref(), Some("won"), "at {at}");
        assert_eq!(cluster.version_at(at, &id), won.version);
    }
    cluster.assert_converged();
}

#[test]
fn a_value_that_a_majority_holds_is_found_by_the_next_owner_though_nobody_has_committed_it() {
    let mut cluster = Cluster::of_voters(Mode::Delta, &THREE);
    let id = cluster.owned_by("a");
    let change = Change::Patch(set("v", "held"));
    cluster
        .at("a", |engine, now| {
            engine.propose(&key(&id), Condition::Absent, change, now)
        })
        .unwrap();
    // The read and its answers, then the value; no answer to that.
    for message in 0..2 {
        let now = cluster.now();
        for to in ["b", "c"] {
            let says = cluster
                .engines
                .get_mut(&node("a"))
                .unwrap()
                .says(&node(to), CONTROL);
            let on = cluster.links[&(node("a"), node(to), CONTROL)];
            for said in says {
                cluster
                    .engines
                    .get_mut(&node(to))
                    .unwrap()
                    .on_message(&node("a"), on, said, now);
            }
            if message == 0 {
                let says = cluster
                    .engines
                    .get_mut(&node(to))
                    .unwrap()
                    .says(&node("a"), CONTROL);
                let on = cluster.links[&(node(to), node("a"), CONTROL)];
                for said in says {
                    cluster
                        .engines
                        .get_mut(&node("a"))
                        .unwrap()
                        .on_message(&node(to), on, said, now);
                }
            }
        }
    }
    assert_eq!(cluster.value("b", &id, "v"), None, "nobody has committed it");
    cluster.stop("a");
    cluster.run(Duration::from_secs(6));
    let unmet = cluster.write_soon("b", &id, Condition::Absent, "another");
    assert!(matches!(unmet, Err(Refused::Unmet)), "{unmet:?}");
    cluster.settle();
    for at in ["b", "c"] {
        assert_eq!(cluster.value(at, &id, "v").as_deref(), Some("held"), "at {at}");
    }
}

#[test]
fn members_that_restart_one_by_one_keep_what_was_decided() {
    for mode in MODES {
        let mut cluster = Cluster::of_voters(mode, &THREE);
        for n in 0..10 {
            cluster
                .write_if("a", &format!("S{n}"), Condition::Absent, "1")
                .unwrap();
        }
        for at in THREE {
            cluster.stop(at);
            cluster.run(Duration::from_secs(4));
            cluster.start(at);
            cluster.run(Duration::from_secs(8));
            let status = cluster.majority(at);
            assert_eq!((status.voters, status.missing.len()), (3, 0), "{status:?}");
        }
        for n in 0..10 {
            let at = THREE[n % 3];
            let unmet = cluster.write_soon(at, &format!("S{n}"), Condition::Absent, "2");
            assert!(matches!(unmet, Err(Refused::Unmet)), "{unmet:?}");
        }
        assert!(
            cluster.majority("a").registers >= 10,
            "{:?}",
            cluster.majority("a")
        );
    }
}

#[test]
fn a_majority_that_is_gone_stops_decisions_until_an_operator_forgets_it() {
    let mut cluster = Cluster::of_voters(Mode::Delta, &FIVE);
    for n in 0..10 {
        cluster
            .write_if("a", &format!("S{n}"), Condition::Absent, "1")
            .unwrap();
    }
    cluster.run(Duration::from_secs(1));
    for dead in ["c", "d"] {
        cluster.stop(dead);
    }
    cluster.run(Duration::from_secs(6));
    let unmet = cluster.write_soon("a", "S1", Condition::Absent, "2");
    assert!(matches!(unmet, Err(Refused::Unmet)), "{unmet:?}");
    cluster.stop("e");
    cluster.run(Duration::from_secs(6));
    let refused = cluster.write_if("a", "S1", Condition::Absent, "2");
    assert!(matches!(refused, Err(Refused::NoQuorum)), "{refused:?}");
    let mut forget = |name: &str| cluster.at("a", |engine, _| engine.forget_member(&node(name)));
    assert_eq!(forget("b"), Err(NotForgotten::Alive));
    assert_eq!(forget("nobody"), Err(NotForgotten::Unknown));
    for dead in ["c", "d", "e"] {
        forget(dead).unwrap();
    }
    cluster.run(Duration::from_secs(6));
    let status = cluster.majority("b");
    assert_eq!((status.voters, status.needed, status.has_majority), (2, 2, true));
    for n in 0..10 {
        let unmet = cluster.write_soon("b", &format!("S{n}"), Condition::Absent, "2");
        assert!(matches!(unmet, Err(Refused::Unmet)), "{unmet:?}");
    }
    cluster.write_soon("b", "new", Condition::Absent, "2").unwrap();
    // One of them comes back with an empty memory, and counts again.
    cluster.start("c");
    cluster.run(Duration::from_secs(8));
    assert_eq!(cluster.majority("b").voters, 3);
}

#[test]
fn a_node_that_leaves_does_not_count() {
    let mut cluster = Cluster::of_voters(Mode::Delta, &THREE);
    cluster.write_if("a", "S", Condition::Absent, "1").unwrap();
    for left in ["c", "b"] {
        cluster.at(left, |engine, now| engine.leave(now));
        cluster.run(Duration::from_secs(4));
        assert!(cluster.at(left, |engine, _| engine.is_drained()));
        cluster.stop(left);
        cluster.run(Duration::from_secs(1));
    }
    let status = cluster.majority("a");
    assert_eq!((status.voters, status.has_majority), (1, true), "{status:?}");
    let unmet = cluster.write_soon("a", "S", Condition::Absent, "2");
    assert!(matches!(unmet, Err(Refused::Unmet)), "{unmet:?}");
}

#[test]
fn nothing_is_decided_before_the_cluster_is_founded() {
    let mut cluster = Cluster::new();
    cluster.quorum_founders = Some(3);
    let mut cluster = cluster.begin(&["a", "b"]);
    let refused = cluster.write_if("a", "S", Condition::Absent, "1");
    assert!(matches!(refused, Err(Refused::NoQuorum)), "{refused:?}");
    cluster.start("c");
    cluster.run(Duration::from_secs(4));
    cluster.write_soon("a", "S", Condition::Absent, "1").unwrap();
}
