//! Replicas as maps from ids to records: whatever happens at which of them and in whatever order they hear of it, they
//! come to agree, no session has the attributes of another, and nothing that was deleted is left.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use limpet_wire::report::IdleLimit;
use proptest::prelude::*;

use super::super::Value;
use super::*;

const IDS: [&str; 4] = ["a", "b", "c", "d"];
const REPLICAS: usize = 3;

#[derive(Debug, Clone, Default, PartialEq)]
struct Replica(BTreeMap<String, Record>);

impl Replica {
    fn join(&mut self, id: &str, change: &Record) {
        let mut queue = VecDeque::from([(id.to_owned(), change.clone())]);
        for done in 0.. {
            let Some((id, change)) = queue.pop_front() else {
                return;
            };
            assert!(done < 1000, "consequences have no end");
            let record = self.0.entry(id.clone()).or_default();
            let found = Consequences::of(&id, record, &change);
            record.join(&Record::of_fates(found.decided));
            record.join(&change);
            let others = found.others.into_iter();
            queue.extend(others.map(|other| (other.id.to_string(), other.change)));
        }
    }

    fn living(&self, id: &str) -> Option<&Record> {
        self.0.get(id).filter(|record| record.is_alive())
    }

    /// What clients can see of it.
    fn shown(&self) -> BTreeMap<&str, Record> {
        let living = self.0.iter().filter(|(_, record)| record.is_alive());
        let shown = living.map(|(id, record)| {
            let mut record = record.clone();
            record.last_touch = None;
            record.lifecycle = LifecycleBox::default();
            (&**id, record)
        });
        shown.collect()
    }
}

#[derive(Debug, Clone)]
enum Step {
    /// Writes an attribute, and creates the session where there is none.
    Write {
        at: usize,
        id: usize,
        name: char,
    },
    Rename {
        at: usize,
        id: usize,
        to: usize,
    },
    Delete {
        at: usize,
        id: usize,
    },
    /// One replica hears of the change that another made so long ago.
    Hear {
        at: usize,
        change: usize,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (at, id) = (|| 0..REPLICAS, || 0..IDS.len());
    let step = prop_oneof![
        4 => (at(), id(), prop::char::range('x', 'z')).prop_map(|(at, id, name)| Step::Write { at, id, name }),
        3 => (at(), id(), id()).prop_map(|(at, id, to)| Step::Rename { at, id, to }),
        1 => (at(), id()).prop_map(|(at, id)| Step::Delete { at, id }),
        4 => (at(), 0..20_usize).prop_map(|(at, change)| Step::Hear { at, change }),
    ];
    prop::collection::vec(step, 0..40)
}

#[derive(Default)]
struct Run {
    replicas: [Replica; REPLICAS],
    changes: Vec<(String, Record)>,
    clock: u64,
}

impl Run {
    fn stamp(&mut self, at: usize) -> Stamp {
        self.clock += 1;
        let node = at as u64 + 1;
        Stamp {
            time: self.clock << 16,
            node,
        }
    }

    fn make(&mut self, at: usize, id: &str, change: Record) {
        self.replicas[at].join(id, &change);
        self.changes.push((id.to_owned(), change));
    }

    fn write(&mut self, at: usize, id: &str, name: char) {
        let stamp = self.stamp(at);
        let living = self.replicas[at].living(id);
        let life = living.and_then(Record::life).unwrap_or(stamp);
        let first = living.and_then(Record::first_life).unwrap_or(stamp);
        let value = Some(Value::from(format!("{}-{}", first.time, first.node).into_bytes()));
        let register = Register { life, stamp, value };
        let created = (life == stamp).then_some(Register {
            life,
            stamp,
            value: IdleLimit::Forever,
        });
        let change = Record {
            attributes: [(Arc::from(name.to_string()), register)].into_iter().collect(),
            max_inactive: created,
            last_touch: Some(Touch {
                life,
                at_ms: stamp.wall_ms(),
            }),
            ..Record::default()
        };
        self.make(at, id, change);
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Write { at, id, name } => self.write(at, IDS[id], name),
            Step::Rename { at, id, to } => {
                let (from, to) = (IDS[id], IDS[to]);
                let replica = &self.replicas[at];
                let Some(record) = replica.living(from).filter(|_| replica.living(to).is_none()) else {
                    return;
                };
                let record = record.clone();
                let stamp = self.stamp(at);
                self.make(at, to, record.renamed_from(from.into(), stamp));
                // Whoever renamed a session finds it under the new id, and under no other.
                let first = |id: &str| self.replicas[at].living(id).and_then(Record::first_life);
                assert_eq!(
                    first(to),
                    record.first_life(),
                    "{from} to {to}: {:#?}",
                    self.replicas[at]
                );
                assert_ne!(first(from), record.first_life());
            }
            Step::Delete { at, id } => {
                let Some(record) = self.replicas[at].living(IDS[id]).cloned() else {
                    return;
                };
                let deletion = record.deletion(self.stamp(at));
                let earlier = record.earlier_ends(IDS[id], &deletion);
                self.make(at, IDS[id], deletion);
                for end in earlier {
                    self.make(at, &end.id, end.change);
                }
            }
            Step::Hear { at, change } => {
                let count = self.changes.len();
                if let Some((id, change)) = count
                    .checked_sub(change + 1)
                    .map(|from| self.changes[from].clone())
                {
                    self.replicas[at].join(&id, &change);
                }
            }
        }
    }

    /// Everybody hears of every change, in an order of its own, then replicas repair until nothing differs.
    fn come_to_rest(&mut self) {
        for at in 0..REPLICAS {
            let mut changes = self.changes.clone();
            match at {
                0 => {}
                1 => changes.reverse(),
                _ => changes.rotate_left(self.changes.len() / 2),
            }
            for (id, change) in &changes {
                self.replicas[at].join(id, change);
            }
        }
        for _ in 0..20 {
            let before = self.replicas.clone();
            for from in 0..REPLICAS {
                for to in 0..REPLICAS {
                    for (id, record) in self.replicas[from].0.clone() {
                        self.replicas[to].join(&id, &record);
                    }
                }
            }
            if self.replicas == before {
                return;
            }
        }
        panic!("repair has no end: {:#?}", self.replicas);
    }
}

/// The sessions whose values a record holds, by the life they were created with.
fn sessions_in(record: &Record) -> BTreeSet<Vec<u8>> {
    record.values().map(|(_, value)| value.to_vec()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn replicas_agree_whatever_they_hear_first(steps in steps()) {
        let mut run = Run::default();
        for step in &steps {
            run.take(step);
        }
        run.come_to_rest();
        let shown = run.replicas[0].shown();
        for replica in &run.replicas[1..] {
            prop_assert_eq!(&shown, &replica.shown());
        }
    }

    #[test]
    fn a_session_is_alive_under_one_id_at_most(steps in steps()) {
        let mut run = Run::default();
        for step in &steps {
            run.take(step);
        }
        run.come_to_rest();
        let mut seen = BTreeSet::new();
        for (id, record) in &run.replicas[0].0 {
            if let Some(first) = record.first_life().filter(|_| record.is_alive()) {
                prop_assert!(seen.insert(first), "{first:?} is alive under {id} and another id: {:#?}", run.replicas[0]);
            }
        }
    }
}

fn run_of(steps: &[Step]) -> Run {
    let mut run = Run::default();
    steps.iter().for_each(|step| run.take(step));
    run.come_to_rest();
    run
}

#[test]
fn a_write_under_the_old_id_follows_a_rename_that_its_writer_had_not_heard_of() {
    let run = run_of(&[
        Step::Write {
            at: 0,
            id: 0,
            name: 'x',
        },
        Step::Hear { at: 1, change: 0 },
        Step::Rename { at: 0, id: 0, to: 1 },
        Step::Write {
            at: 1,
            id: 0,
            name: 'y',
        },
    ]);
    for replica in &run.replicas {
        assert_eq!(replica.shown().keys().collect::<Vec<_>>(), [&"b"]);
        assert_eq!(replica.living("b").unwrap().values().count(), 2);
    }
}

#[test]
fn of_two_renames_of_one_session_the_later_holds_and_the_other_id_leads_to_it() {
    let run = run_of(&[
        Step::Write {
            at: 0,
            id: 0,
            name: 'x',
        },
        Step::Hear { at: 1, change: 0 },
        Step::Rename { at: 0, id: 0, to: 1 },
        Step::Rename { at: 1, id: 0, to: 2 },
        Step::Write {
            at: 0,
            id: 1,
            name: 'y',
        },
    ]);
    for replica in &run.replicas {
        assert_eq!(replica.shown().keys().collect::<Vec<_>>(), [&"c"]);
        assert_eq!(replica.living("c").unwrap().values().count(), 2);
    }
}

#[test]
fn of_two_sessions_renamed_to_one_id_the_later_gets_its_old_id_back() {
    let run = run_of(&[
        Step::Write {
            at: 0,
            id: 0,
            name: 'x',
        },
        Step::Write {
            at: 1,
            id: 1,
            name: 'y',
        },
        Step::Rename { at: 0, id: 0, to: 2 },
        Step::Rename { at: 1, id: 1, to: 2 },
        Step::Write {
            at: 1,
            id: 2,
            name: 'z',
        },
    ]);
    for replica in &run.replicas {
        assert_eq!(replica.shown().keys().collect::<Vec<_>>(), [&"b", &"c"]);
        for id in ["b", "c"] {
            assert_eq!(sessions_in(replica.living(id).unwrap()).len(), 1, "{id}");
        }
        assert_eq!(
            replica.living("b").unwrap().values().count(),
            2,
            "what it was given as c as well"
        );
    }
}

#[test]
fn a_session_renamed_to_an_id_that_was_in_use_gets_its_old_id_back() {
    let run = run_of(&[
        Step::Write {
            at: 0,
            id: 0,
            name: 'x',
        },
        Step::Write {
            at: 1,
            id: 1,
            name: 'y',
        },
        Step::Rename { at: 0, id: 0, to: 1 },
    ]);
    for replica in &run.replicas {
        assert_eq!(replica.shown().keys().collect::<Vec<_>>(), [&"a", &"b"]);
        assert_eq!(sessions_in(replica.living("a").unwrap()).len(), 1);
        assert_eq!(sessions_in(replica.living("b").unwrap()).len(), 1);
    }
}

#[test]
fn a_session_that_finds_its_old_id_taken_when_it_comes_back_is_deleted() {
    let run = run_of(&[
        Step::Write {
            at: 0,
            id: 0,
            name: 'x',
        },
        Step::Write {
            at: 1,
            id: 1,
            name: 'y',
        },
        Step::Rename { at: 0, id: 0, to: 1 },
        Step::Write {
            at: 0,
            id: 0,
            name: 'z',
        },
    ]);
    for replica in &run.replicas {
        assert_eq!(
            replica
                .living("a")
                .unwrap()
                .values()
                .map(|(name, _)| &**name)
                .collect::<Vec<_>>(),
            ["z"]
        );
        assert_eq!(
            replica
                .living("b")
                .unwrap()
                .values()
                .map(|(name, _)| &**name)
                .collect::<Vec<_>>(),
            ["y"]
        );
    }
}

#[test]
fn a_deletion_under_any_id_ends_the_session_under_every_id() {
    for deleted in [0, 1, 2] {
        let run = run_of(&[
            Step::Write {
                at: 0,
                id: 0,
                name: 'x',
            },
            Step::Hear { at: 1, change: 0 },
            Step::Hear { at: 2, change: 0 },
            Step::Rename { at: 0, id: 0, to: 1 },
            Step::Rename { at: 1, id: 0, to: 2 },
            Step::Delete {
                at: [2, 0, 1][deleted],
                id: deleted,
            },
        ]);
        for replica in &run.replicas {
            assert!(
                replica.shown().is_empty(),
                "deleted as {}: {replica:?}",
                IDS[deleted]
            );
        }
    }
}

/// An attribute of `life`, written at `stamp`, and nothing else.
fn part(name: &str, life: u64, stamp: u64) -> Record {
    let at = |ms: u64| Stamp {
        time: ms << 16,
        node: 1,
    };
    let register = Register {
        life: at(life),
        stamp: at(stamp),
        value: Some(Value::from(b"v".to_vec())),
    };
    Record {
        attributes: [(Arc::from(name), register)].into_iter().collect(),
        ..Record::default()
    }
}

#[test]
fn with_a_session_that_leaves_goes_what_was_created_beside_it_and_nothing_that_was_here_before_it_came() {
    let at = |ms: u64| Stamp {
        time: ms << 16,
        node: 1,
    };
    let mut known = part("x", 1, 1);
    known.join(&part("y", 5, 6));
    let leaves = |first| {
        let renamed = Renamed {
            at: at(7),
            to: "b".into(),
            from: "a".into(),
            first: at(first),
        };
        let change = Record::of_fates(Fates::from_iter([(at(5), Fate::Renamed(renamed))]));
        let found = Consequences::of("a", &known, &change);
        let taken: Vec<_> = found.decided.iter().map(|(life, _)| life).collect();
        taken
    };
    assert_eq!(leaves(5), [at(1)], "both were created here");
    assert_eq!(leaves(2), [], "it was given the id later");
    let deleted = Record::of_fates(Fates::from_iter([(at(5), Fate::Ended(at(7)))]));
    let taken = |known: &Record| Consequences::of("a", known, &deleted).decided.len();
    assert_eq!(taken(&known), 0, "whether it was created here is not known");
    known.max_inactive = Some(Register {
        life: at(5),
        stamp: at(5),
        value: IdleLimit::Forever,
    });
    assert_eq!(taken(&known), 1, "deleted where it had another id");
}

#[test]
fn a_part_of_a_session_that_is_not_here_is_a_stray_beside_another_one() {
    let mut known = Record::default();
    known.join(&part("x", 1, 1));
    assert!(part("x", 5, 6).is_stray_beside(&known));
    assert!(!part("x", 1, 6).is_stray_beside(&known), "of this session");
    assert!(!part("x", 5, 6).is_stray_beside(&Record::default()));
    assert!(
        !known
            .renamed_from(
                "a".into(),
                Stamp {
                    time: 5 << 16,
                    node: 1
                }
            )
            .is_stray_beside(&known)
    );
}
