//! Clocks that are wrong, or are set: every write is spread, nothing that ended comes back, and who is wrong says so.

use super::*;
use crate::base::limits::EXPIRY_GRACE;

const HOUR_MS: i64 = 3_600_000;
const STEPS_MS: [i64; 8] = [
    -10 * HOUR_MS,
    -HOUR_MS,
    -30_000,
    -1000,
    1000,
    30_000,
    HOUR_MS,
    10 * HOUR_MS,
];

impl Cluster {
    /// The clock of `name` is set: it is this far ahead from now on.
    fn set_clock(&mut self, name: &str, ahead_ms: i64) {
        self.skew_ms.insert(node(name), ahead_ms);
    }

    /// The machine of `name` is halted for so long.
    fn halt(&mut self, name: &str, time: Duration) {
        *self.halted.entry(node(name)).or_default() += time;
        self.elapsed += time;
    }

    /// A cluster of these nodes, whose clocks are this far ahead from the beginning.
    fn with_clocks(mode: Mode, nodes: &[(&str, i64)]) -> Self {
        let mut cluster = Self::new();
        cluster.mode = mode;
        for (name, ahead_ms) in nodes {
            cluster.set_clock(name, *ahead_ms);
        }
        let names: Vec<_> = nodes.iter().map(|(name, _)| *name).collect();
        cluster.begin(&names)
    }

    /// Writes at `at`, and sees that everybody who is to hold it does.
    fn write_everywhere(&mut self, at: &str, id: &str, value: &str) {
        let write_set = self.patch(at, id, set("v", value));
        self.settle();
        let copies = match self.mode {
            Mode::Delta => self.engines.len(),
            Mode::Backup { copies } => copies + 1,
        };
        let now = self.now_at(&node(at));
        let engine = self.engines.get_mut(&node(at)).unwrap();
        let told = engine.wait_for(Level::All, Duration::from_secs(1), write_set, now);
        assert_eq!(told, Err(copies), "{id} written at {at}");
        let holds = |engine: &&Engine| {
            let record = engine.table().get(&key(id)).cloned().unwrap_or_default();
            record.values().any(|(_, held)| **held == *value.as_bytes())
        };
        assert!(self.engines.values().filter(holds).count() >= copies, "{id}");
    }

    fn wall_problem(&self, at: &str) -> Option<String> {
        self.engines[&node(at)].wall_clock_problem()
    }

    /// The stamps of all nodes' next writes, in milliseconds ahead of the true time.
    fn stamps_ahead_ms(&mut self) -> Vec<i64> {
        let names: Vec<_> = self.engines.keys().map(ToString::to_string).collect();
        let (true_ms, mut ahead) = (self.now().wall_ms.cast_signed(), Vec::new());
        for name in names {
            let now = self.now_at(&node(&name));
            let engine = self.engines.get_mut(&node(&name)).unwrap();
            let version = engine.patch(&key("stamped"), set("v", "1"), now).unwrap().version;
            ahead.push(version.wall_ms().cast_signed() - true_ms);
        }
        ahead
    }
}

#[test]
fn a_clock_that_is_set_and_set_right_again_costs_no_write_a_copy() {
    for mode in [Mode::Delta, Mode::Backup { copies: 1 }] {
        for step in STEPS_MS {
            for set_nodes in [&["a"][..], &["a", "b"], &["a", "b", "c"]] {
                let mut cluster = Cluster::in_mode(mode, &["a", "b", "c"]);
                set_nodes.iter().for_each(|name| cluster.set_clock(name, step));
                cluster.write_everywhere("a", "S1", "while it is wrong");
                cluster.run(Duration::from_secs(3));
                cluster.write_everywhere("b", "S2", "while it is wrong");
                set_nodes.iter().for_each(|name| cluster.set_clock(name, 0));
                cluster.write_everywhere("a", "S3", "set right");
                cluster.run(Duration::from_secs(6));
                cluster.write_everywhere("a", "S1", "a while later");
                cluster.write_everywhere("c", "S2", "a while later");
                let ahead = cluster.stamps_ahead_ms();
                assert!(ahead.iter().all(|ahead| ahead.abs() < 100), "{step}: {ahead:?}");
                for (id, engine) in &cluster.engines {
                    assert_eq!(engine.counters().skew_refused, 0, "at {id}");
                    assert_eq!(engine.wall_clock_problem(), None, "at {id}");
                }
            }
        }
    }
}

#[test]
fn whose_clock_is_wrong_is_told_at_once_and_by_that_node_alone() {
    for names in [&["a", "b"][..], &["a", "b", "c"]] {
        let mut cluster = Cluster::of(names);
        cluster.set_clock("a", HOUR_MS);
        cluster.run(Duration::from_secs(6));
        let problem = cluster.wall_problem("a").unwrap();
        assert!(problem.contains("3600000 ms ahead"), "{problem}");
        assert_eq!(cluster.wall_problem("b"), None);
        assert_eq!(
            cluster.engines[&node("b")].clock_drift_ms(&node("a")),
            Some(HOUR_MS)
        );
        cluster.set_clock("a", 0);
        cluster.run(Duration::from_millis(50));
        assert_eq!(cluster.wall_problem("a"), None);
    }
}

#[test]
fn most_clocks_are_right_even_where_the_cluster_began_with_another() {
    let mut cluster = Cluster::with_clocks(Mode::Delta, &[("a", HOUR_MS), ("b", 0)]);
    assert_eq!(cluster.wall_problem("a"), None);
    assert!(
        cluster.wall_problem("b").is_some(),
        "of two, the one that came later"
    );
    cluster.write_everywhere("b", "S1", "it keeps the time all the same");
    cluster.start("c");
    cluster.run(Duration::from_secs(6));
    assert!(cluster.wall_problem("a").is_some(), "two say so");
    assert_eq!(
        (cluster.wall_problem("b"), cluster.wall_problem("c")),
        (None, None)
    );
    for name in ["a", "b", "c"] {
        cluster.write_everywhere(name, "S1", name);
    }
}

#[test]
fn a_node_that_starts_with_a_wrong_clock_takes_the_time_of_the_members() {
    for step in STEPS_MS {
        let mut cluster = Cluster::of(&["a", "b"]);
        cluster.write_everywhere("a", "S1", "before");
        cluster.set_clock("c", step);
        cluster.start("c");
        cluster.run(Duration::from_secs(3));
        assert_eq!(cluster.wall_problem("c").is_some(), step.abs() > 60_000, "{step}");
        assert_eq!(cluster.value("c", "S1", "v").as_deref(), Some("before"));
        cluster.write_everywhere("c", "S1", "from the wrong one");
        cluster.write_everywhere("a", "S1", "later");
        let ahead = cluster.stamps_ahead_ms();
        assert!(ahead.iter().all(|ahead| ahead.abs() < 100), "{step}: {ahead:?}");
    }
}

#[test]
fn nodes_that_all_began_ahead_go_on_when_their_clocks_are_set_right() {
    for mode in [Mode::Delta, Mode::Backup { copies: 1 }] {
        let nodes = [("a", HOUR_MS), ("b", HOUR_MS), ("c", HOUR_MS)];
        let mut cluster = Cluster::with_clocks(mode, &nodes);
        cluster.write_everywhere("a", "S1", "before");
        for name in ["a", "b", "c"] {
            cluster.set_clock(name, 0);
            cluster.run(Duration::from_secs(2));
        }
        cluster.write_everywhere("b", "S1", "after");
        cluster.start("c");
        cluster.run(Duration::from_secs(8));
        for name in ["a", "b", "c"] {
            assert_eq!(cluster.wall_problem(name), None, "{name}");
            cluster.write_everywhere(name, "S2", name);
        }
        cluster
            .at("a", |engine, now| engine.delete(&key("S1"), now))
            .unwrap();
        cluster.run(Duration::from_secs(1));
        assert!(
            ["a", "b", "c"]
                .iter()
                .all(|name| cluster.value(name, "S1", "v").is_none())
        );
    }
}

/// `a` begins alone with a clock that is `off_ms` ahead, `b` and `c` without it.
fn apart(off_ms: i64) -> Cluster {
    let mut cluster = Cluster::new();
    for other in ["b", "c"] {
        cluster.cut.insert((node("a"), node(other)));
        cluster.cut.insert((node(other), node("a")));
    }
    cluster.set_clock("a", off_ms);
    let mut cluster = cluster.begin(&["b", "c", "a"]);
    cluster.run(Duration::from_secs(61)); // for as long it waits for the others
    cluster
}

#[test]
fn what_a_node_wrote_alone_with_a_wrong_clock_counts_from_when_it_happened() {
    for off_ms in [-10 * HOUR_MS, -HOUR_MS, HOUR_MS, 10 * HOUR_MS] {
        let mut cluster = apart(off_ms);
        cluster.patch("a", "only_at_a", set("v", "a"));
        cluster.patch("a", "ended_later", set("v", "a"));
        cluster.patch("b", "ended_later", set("v", "b"));
        cluster.patch("a", "newer_at_b", set("v", "a"));
        cluster.patch("b", "newer_at_a", set("v", "b"));
        cluster.run(Duration::from_secs(2));
        let now = cluster.now();
        let b = cluster.engines.get_mut(&node("b")).unwrap();
        b.delete(&key("ended_later"), now).unwrap();
        cluster.patch("b", "newer_at_b", set("v", "b"));
        cluster.patch("a", "newer_at_a", set("v", "a"));
        let incarnation = cluster.engines[&node("a")].identity().incarnation;
        cluster.run(Duration::from_secs(2));
        cluster.heal();
        cluster.run(Duration::from_secs(6));
        let a = &cluster.engines[&node("a")];
        assert_eq!(
            (a.counters().time_corrected, a.not_ready_reason()),
            (1, None),
            "{off_ms}"
        );
        assert!(a.identity().incarnation > incarnation);
        assert!(
            a.wall_clock_problem().is_some(),
            "its clock is wrong all the same"
        );
        for name in ["a", "b", "c"] {
            let value = |id: &str| cluster.value(name, id, "v");
            assert_eq!(value("only_at_a").as_deref(), Some("a"), "{off_ms} at {name}");
            assert_eq!(value("newer_at_b").as_deref(), Some("b"), "{off_ms} at {name}");
            assert_eq!(value("newer_at_a").as_deref(), Some("a"), "{off_ms} at {name}");
            assert_eq!(value("ended_later"), None, "{off_ms} at {name}");
            assert_eq!(cluster.engines[&node(name)].counters().started_over, 0);
        }
        for name in ["a", "b", "c"] {
            cluster.write_everywhere(name, "only_at_a", name);
        }
        let ahead = cluster.stamps_ahead_ms();
        assert!(ahead.iter().all(|ahead| ahead.abs() < 100), "{off_ms}: {ahead:?}");
        cluster.run(Duration::from_secs(6));
        cluster.assert_converged();
    }
}

#[test]
fn a_refusal_is_answered_and_no_copy_is_counted() {
    let mut cluster = apart(HOUR_MS);
    cluster.heal();
    let write_set = cluster.patch("a", "S1", set("v", "1"));
    cluster.settle();
    let now = cluster.now_at(&node("a"));
    let a = cluster.engines.get_mut(&node("a")).unwrap();
    let told = a.wait_for(Level::All, Duration::from_secs(1), write_set, now);
    assert_eq!(told, Err(1));
    assert!(a.members().stamp_refusals() > 0);
    assert!(cluster.engines[&node("b")].counters().skew_refused > 0);
    cluster.run(Duration::from_millis(200));
    let now = cluster.now_at(&node("a"));
    let a = cluster.engines.get_mut(&node("a")).unwrap();
    let refused = a.patch(&key("S2"), set("v", "1"), now).unwrap_err();
    assert!(
        matches!(&refused, Refused::NotReady(why) if why.contains("time")),
        "{refused}"
    );
    cluster.run(Duration::from_secs(5));
    for name in ["a", "b", "c"] {
        assert_eq!(cluster.value(name, "S1", "v").as_deref(), Some("1"), "at {name}");
        assert_eq!(cluster.engines[&node(name)].not_ready_reason(), None);
    }
}

#[test]
fn of_two_nodes_that_began_apart_the_later_one_is_corrected() {
    let mut cluster = Cluster::new();
    for (from, to) in [("a", "b"), ("b", "a")] {
        cluster.cut.insert((node(from), node(to)));
    }
    cluster.set_clock("b", -HOUR_MS);
    let mut cluster = cluster.begin(&["b", "a"]);
    cluster.run(Duration::from_secs(5));
    cluster.patch("a", "S1", set("v", "1"));
    cluster.patch("b", "S2", set("v", "2"));
    cluster.heal();
    cluster.run(Duration::from_secs(8));
    let corrected = |name: &str| cluster.engines[&node(name)].counters().time_corrected;
    assert_eq!((corrected("a"), corrected("b")), (1, 0));
    for name in ["a", "b"] {
        cluster.write_everywhere(name, "S1", name);
        cluster.write_everywhere(name, "S2", name);
    }
    cluster.assert_converged();
}

/// Half a minute is within `max_skew`, so nobody refuses anything.
#[test]
fn lifetimes_and_renames_do_not_depend_on_the_clock_of_the_node_that_was_asked() {
    for first in [0, 30_000] {
        let mut cluster = Cluster::with_clocks(Mode::Delta, &[("b", first), ("c", 0), ("a", 30_000)]);
        cluster.set_clock("b", 30_000 - first);
        let idle = Patch {
            max_inactive: Some(IdleLimit::Millis(10_000)),
            ..set("v", "1")
        };
        cluster.patch("a", "S1", idle);
        cluster.run(Duration::from_millis(9900));
        let there = |cluster: &Cluster, name: &str| cluster.value(name, "S1", "v").is_some();
        assert!(
            ["a", "b", "c"].iter().all(|name| there(&cluster, name)),
            "{first}"
        );
        cluster.run(EXPIRY_GRACE);
        assert!(
            !["a", "b", "c"].iter().any(|name| there(&cluster, name)),
            "{first}"
        );
    }
}

/// A machine that was halted as a whole: its monotonic clock stood still, and its wall clock was set since.
#[test]
fn a_node_whose_machine_was_halted_takes_the_time_again_and_brings_nothing_back() {
    let mut cluster = Cluster::of(&["a", "b", "c"]);
    cluster.write_everywhere("a", "S1", "1");
    cluster.write_everywhere("a", "S2", "1");
    cluster.run(Duration::from_secs(6));
    cluster.part(&["a"], &["b", "c"]);
    cluster
        .at("b", |engine, now| engine.delete(&key("S1"), now))
        .unwrap();
    // What was two hours for the others was no time for it.
    let halted = Duration::from_secs(7200);
    cluster.halt("a", halted);
    cluster.heal();
    cluster.run(Duration::from_secs(10));
    for name in ["a", "b", "c"] {
        assert_eq!(cluster.value(name, "S1", "v"), None, "{name}");
    }
    cluster.write_everywhere("a", "S3", "3");
    cluster.write_everywhere("b", "S3", "4");
}
