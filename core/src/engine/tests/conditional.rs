//! Conditional changes: of several callers at several nodes one has its way, and each finds what it wrote before.

use super::*;
use crate::session::{Change, Condition, Record, Stamp};

const NODES: [&str; 5] = ["a", "b", "c", "d", "e"];

impl Cluster {
    fn propose(&mut self, at: &str, id: &str, condition: Condition, change: Change) -> DecisionId {
        self.at(at, |engine, now| engine.propose(&key(id), condition, change, now))
            .unwrap()
    }

    fn decided(&mut self, at: &str, proposal: DecisionId) -> Option<Result<Written, Refused>> {
        self.settle();
        self.decided.remove(&(node(at), proposal))
    }

    /// Proposes, and waits for the decision.
    fn change_if(
        &mut self,
        at: &str,
        id: &str,
        condition: Condition,
        change: Change,
    ) -> Result<Written, Refused> {
        let proposal = self.propose(at, id, condition, change);
        for _ in 0..80 {
            if let Some(decided) = self.decided(at, proposal) {
                return decided;
            }
            self.run(Duration::from_millis(50));
        }
        panic!("a proposal never ends");
    }

    fn owner(&mut self, at: &str, id: &str) -> String {
        self.at(at, |engine, _| engine.owner(&key(id)).to_string())
    }

    /// A node that is not the owner of the session.
    fn other(&mut self, id: &str) -> &'static str {
        let owner = self.owner("a", id);
        NODES.into_iter().find(|name| *name != owner).unwrap()
    }

    fn version(&mut self, at: &str, id: &str) -> Stamp {
        let version = self.at(at, |engine, now| {
            engine.session(&key(id), now).map(Record::version)
        });
        version.unwrap()
    }
}

fn patch(value: &str) -> Change {
    Change::Patch(set("v", value))
}

#[test]
fn of_callers_at_every_node_who_create_one_session_one_does() {
    let mut cluster = Cluster::of(&NODES);
    for n in 0..40 {
        let id = format!("S{n}");
        let asked: Vec<_> = NODES
            .into_iter()
            .flat_map(|at| [at, at])
            .map(|at| (at, cluster.propose(at, &id, Condition::Absent, patch(at))))
            .collect();
        let decided: Vec<_> = asked
            .into_iter()
            .map(|(at, proposal)| (at, cluster.decided(at, proposal).unwrap()))
            .collect();
        let won: Vec<_> = decided.iter().filter(|(_, result)| result.is_ok()).collect();
        assert_eq!(won.len(), 1, "{decided:?}");
        let unmet = decided.iter().filter(|(_, r)| matches!(r, Err(Refused::Unmet)));
        assert_eq!(unmet.count(), 9, "{decided:?}");
        let winner = won[0].0;
        for at in NODES {
            assert_eq!(cluster.value(at, &id, "v").as_deref(), Some(winner), "at {at}");
        }
    }
}

#[test]
fn all_nodes_name_one_owner_and_sessions_are_spread_over_all() {
    let mut cluster = Cluster::of(&NODES);
    let mut owners = BTreeSet::new();
    for n in 0..100 {
        let id = format!("S{n}");
        let named: BTreeSet<_> = NODES.into_iter().map(|at| cluster.owner(at, &id)).collect();
        assert_eq!(named.len(), 1, "{named:?}");
        owners.extend(named);
    }
    assert_eq!(owners.len(), NODES.len());
}

#[test]
fn a_condition_sees_what_its_caller_wrote_before() {
    let mut cluster = Cluster::of(&NODES);
    for n in 0..20 {
        let id = format!("S{n}");
        let at = cluster.other(&id);
        // Not a message has been carried since.
        cluster.patch(at, &id, set("v", "1"));
        let version = cluster.version(at, &id);
        let absent = cluster.propose(at, &id, Condition::Absent, patch("2"));
        let current = cluster.propose(at, &id, Condition::Version(version), patch("3"));
        let stale = cluster.propose(at, &id, Condition::Version(version), patch("4"));
        let present = cluster.propose(at, &id, Condition::Present, Change::Delete);
        assert!(matches!(cluster.decided(at, absent), Some(Err(Refused::Unmet))));
        assert!(matches!(cluster.decided(at, current), Some(Ok(_))));
        assert!(matches!(cluster.decided(at, stale), Some(Err(Refused::Unmet))));
        assert!(matches!(cluster.decided(at, present), Some(Ok(_))));
        for at in NODES {
            assert_eq!(cluster.value(at, &id, "v"), None, "at {at}");
        }
    }
}

#[test]
fn a_caller_reads_what_was_decided_for_it_and_what_it_lost_to() {
    let mut cluster = Cluster::of(&NODES);
    let id = "S1";
    let (owner, at) = (cluster.owner("a", id), cluster.other(id));
    let proposal = cluster.propose(at, id, Condition::Absent, patch("1"));
    let written = cluster.decided(at, proposal).unwrap().unwrap();
    assert_eq!(cluster.version(at, id), written.version);
    let life = cluster.at(at, |engine, now| {
        engine.session(&key(id), now).and_then(Record::first_life)
    });
    assert_eq!(life, Some(written.life));
    let copies = written.write_set.groups()[0].len();
    assert_eq!(copies, NODES.len() - 1, "every other node counts");

    // The change of the owner that makes the condition fail is there with the answer.
    cluster.patch(&owner, id, set("v", "2"));
    let stale = Condition::Version(written.version);
    let refused = cluster.change_if(at, id, stale, patch("3"));
    assert!(matches!(refused, Err(Refused::Unmet)));
    assert_eq!(cluster.value(at, id, "v").as_deref(), Some("2"));
}

#[test]
fn an_id_that_its_session_has_left_is_absent_for_whoever_knows_of_the_rename() {
    let mut cluster = Cluster::of(&NODES);
    let at = cluster.other("old");
    cluster.patch(at, "old", set("v", "1"));
    cluster.settle();
    let version = cluster.version(at, "old");
    // Not a message has been carried since.
    let renamed = cluster.at(at, |engine, now| {
        engine.rename(&key("old"), &key("new"), InUse::Refuse, now)
    });
    let life = renamed.unwrap().life;
    for condition in [Condition::Present, Condition::Version(version)] {
        let refused = cluster.change_if(at, "old", condition, patch("2"));
        assert!(matches!(refused, Err(Refused::Unmet)), "{condition:?}");
    }
    let created = cluster.change_if(at, "old", Condition::Absent, patch("3"));
    assert_ne!(created.unwrap().life, life, "another session");
    let changed = cluster.change_if(at, "new", Condition::Present, patch("4"));
    assert_eq!(changed.unwrap().life, life);
    cluster.settle();
    for at in NODES {
        assert_eq!(cluster.value(at, "old", "v").as_deref(), Some("3"), "at {at}");
        assert_eq!(cluster.value(at, "new", "v").as_deref(), Some("4"), "at {at}");
    }
}

#[test]
fn what_cannot_be_is_refused_with_its_reason() {
    let mut cluster = Cluster::of(&NODES);
    let at = cluster.other("S1");
    let none = cluster.change_if(at, "S1", Condition::Absent, Change::Delete);
    assert!(matches!(none, Err(Refused::NotFound)));
    let named = cluster.at(at, |engine, now| {
        engine.propose(&key("S1"), Condition::Absent, Change::Patch(set("", "1")), now)
    });
    assert!(matches!(named, Err(Refused::BadName(_))));
    let most = 4 << 20;
    let large = Patch {
        set: (0..5)
            .map(|n| (format!("v{n}"), vec![0; most / 4].into()))
            .collect(),
        ..Patch::default()
    };
    let refused = cluster.change_if(at, "S1", Condition::Absent, Change::Patch(large));
    assert!(matches!(refused, Err(Refused::TooLarge(_))));
}

#[test]
fn an_owner_that_does_not_answer_leaves_it_open_whether_the_change_was_made() {
    let mut cluster = Cluster::of(&NODES);
    let (owner, at) = (cluster.owner("a", "S1"), cluster.other("S1"));
    let asked = cluster.propose(at, "S1", Condition::Absent, patch("1"));
    cluster.part(&[&owner], &[at]);
    cluster.run(Duration::from_secs(4));
    let decided = cluster.decided(at, asked);
    assert!(matches!(decided, Some(Err(Refused::Undecided))), "{decided:?}");
    // Nothing was sent to one that cannot be reached.
    let refused = cluster.change_if(at, "S1", Condition::Absent, patch("1"));
    assert!(matches!(refused, Err(Refused::Unreachable)), "{refused:?}");
    cluster.heal();
    cluster.run(Duration::from_secs(4));
    cluster
        .change_if(at, "S1", Condition::Absent, patch("1"))
        .unwrap();
}

#[test]
fn the_next_owner_decides_when_one_is_gone() {
    let mut cluster = Cluster::of(&NODES);
    let (owner, at) = (cluster.owner("a", "S1"), cluster.other("S1"));
    cluster
        .change_if(at, "S1", Condition::Absent, patch("1"))
        .unwrap();
    cluster.stop(&owner);
    cluster.run(Duration::from_secs(10));
    let refused = cluster.change_if(at, "S1", Condition::Absent, patch("2"));
    assert!(matches!(refused, Err(Refused::Unmet)), "{refused:?}");
    cluster
        .change_if(at, "S1", Condition::Present, patch("3"))
        .unwrap();
    cluster.settle();
    for other in NODES.into_iter().filter(|name| *name != owner) {
        assert_eq!(
            cluster.value(other, "S1", "v").as_deref(),
            Some("3"),
            "at {other}"
        );
    }
}

#[test]
fn in_backup_mode_a_node_without_a_copy_has_its_change_decided() {
    let mut cluster = Cluster::in_mode(Mode::Backup { copies: 1 }, &NODES);
    for n in 0..20 {
        let id = format!("S{n}");
        for at in NODES {
            let condition = if at == "a" {
                Condition::Absent
            } else {
                Condition::Present
            };
            let made = cluster.change_if(at, &id, condition, patch(at));
            assert!(made.is_ok(), "at {at}: {made:?}");
            let again = cluster.change_if(at, &id, Condition::Absent, patch("no"));
            assert!(matches!(again, Err(Refused::Unmet)), "at {at}: {again:?}");
        }
        cluster.run(Duration::from_secs(1));
    }
}
