//! What listeners are told: each change once, by the node that made it and by those that heard of it.

use limpet_wire::table::WorkerStatus;

use super::super::events::{Event, Kind, MemberChange, SessionChange};
use super::super::workers::admin_state::AdminState;
use super::*;
use crate::base::limits::{EVENT_NAMES_MAX, EVENTS_KEPT};

impl Cluster {
    fn listen(&mut self) {
        for engine in self.engines.values_mut() {
            engine.listen();
        }
    }

    fn call<T>(&mut self, at: &str, call: impl FnOnce(&mut Engine, Now) -> T) -> T {
        let now = self.now();
        let result = call(self.engines.get_mut(&node(at)).unwrap(), now);
        self.settle();
        result
    }

    fn events(&mut self, at: &str) -> Vec<Event> {
        self.engines.get_mut(&node(at)).unwrap().take_events()
    }

    /// The sessions' events at a node, in short: `id change route, by whom`.
    fn told(&mut self, at: &str) -> Vec<String> {
        let events = self.events(at).into_iter();
        let sessions = events.filter_map(|event| match event.kind {
            Kind::Session(event) => Some(format!(
                "{} {:?} {}, {}",
                event.key.id(),
                event.change,
                event.route.as_deref().unwrap_or("-"),
                if event.replicated { "replicated" } else { "local" }
            )),
            Kind::Member(_) | Kind::Worker(_) => None,
        });
        sessions.collect()
    }

    fn members_told(&mut self, at: &str) -> Vec<(String, MemberChange)> {
        let events = self.events(at).into_iter();
        let members = events.filter_map(|event| match event.kind {
            Kind::Member(event) => Some((event.node.to_string(), event.change)),
            _ => None,
        });
        members.collect()
    }
}

#[test]
fn nothing_is_kept_while_nobody_listens() {
    let mut cluster = Cluster::of(&["a", "b"]);
    cluster.patch("a", "S", set("x", "1"));
    cluster.settle();
    assert!(cluster.events("a").is_empty() && cluster.events("b").is_empty());
    cluster.listen();
    cluster.patch("a", "S", set("x", "2"));
    assert_eq!(cluster.events("a").len(), 1);
    cluster.patch("a", "S", set("x", "3"));
    cluster.call("a", |engine, _| engine.stop_listening());
    cluster.patch("a", "S", set("x", "4"));
    assert!(cluster.events("a").is_empty());
}

#[test]
fn every_change_is_told_once_where_it_was_made_and_once_where_it_was_heard_of() {
    let mut cluster = Cluster::of(&["a", "b"]);
    cluster.listen();
    let mut first = set("x", "1");
    first.route = Some("a".into());
    let changes: Vec<(Patch, &str)> = vec![
        (first, "S Created a"),
        (
            set("x", "2"),
            r#"S Changed { set: ["x"], removed: [], more: 0 } a"#,
        ),
        (
            Patch {
                remove: vec!["x".into()],
                ..set("y", "1")
            },
            r#"S Changed { set: ["y"], removed: ["x"], more: 0 } a"#,
        ),
        (
            Patch {
                max_inactive: Some(IdleLimit::Millis(60_000)),
                ..Patch::default()
            },
            "S Changed { set: [], removed: [], more: 0 } a",
        ),
        (
            Patch {
                route: Some("b".into()),
                ..Patch::default()
            },
            r#"S Rebound { from: Some("a") } b"#,
        ),
    ];
    for (patch, expected) in changes {
        cluster.patch("a", "S", patch);
        cluster.settle();
        assert_eq!(cluster.told("a"), [format!("{expected}, local")]);
        assert_eq!(cluster.told("b"), [format!("{expected}, replicated")]);
    }
    cluster.call("a", |engine, now| engine.touch(&key("S"), now).unwrap());
    assert!(cluster.told("a").is_empty(), "a touch is no event");
    cluster.call("b", |engine, now| {
        engine.rename(&key("S"), &key("T"), InUse::Refuse, now).unwrap()
    });
    assert_eq!(cluster.told("b"), [r#"T Renamed { from: "S" } b, local"#]);
    assert_eq!(cluster.told("a"), [r#"T Renamed { from: "S" } b, replicated"#]);
    cluster.call("a", |engine, now| engine.delete(&key("T"), now).unwrap());
    assert_eq!(cluster.told("a"), ["T Deleted b, local"]);
    assert_eq!(cluster.told("b"), ["T Deleted b, replicated"]);
    cluster.patch("b", "T", set("x", "again"));
    cluster.settle();
    assert_eq!(cluster.told("a"), ["T Created -, replicated"]);
    cluster.run(Duration::from_secs(10));
    assert!(cluster.told("a").is_empty(), "repair tells nothing that was told");
}

#[test]
fn an_end_for_idleness_is_told_once_by_each_node() {
    let mut cluster = Cluster::of(&["a", "b"]);
    cluster.listen();
    let mut patch = set("x", "1");
    patch.max_inactive = Some(IdleLimit::Millis(2000));
    cluster.patch("a", "S", patch);
    cluster.run(Duration::from_secs(6));
    for at in ["a", "b"] {
        let told = cluster.told(at);
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[1].starts_with("S Expired -, "), "{told:?}");
    }
    cluster.patch("a", "S", set("x", "2"));
    assert_eq!(cluster.told("a"), ["S Created -, local"]);
}

#[test]
fn names_and_events_past_their_bounds_are_counted() {
    let mut cluster = Cluster::of(&["a"]);
    cluster.listen();
    cluster.patch("a", "S", set("x", "1"));
    cluster.events("a");
    let duplicates = (0..EVENT_NAMES_MAX + 3).map(|n| (format!("n{n}"), [].into()));
    let patch = Patch {
        set: duplicates.collect(),
        ..Patch::default()
    };
    cluster.patch("a", "S", patch);
    let events = cluster.events("a");
    let Kind::Session(event) = &events[0].kind else {
        panic!("{events:?}")
    };
    let SessionChange::Changed { set: named, more, .. } = &event.change else {
        panic!("{event:?}")
    };
    assert_eq!((named.len(), *more), (EVENT_NAMES_MAX, 3));
    let before = events[0].number;
    for n in 0..EVENTS_KEPT + 10 {
        cluster.patch("a", &format!("S{n}"), set("x", "1"));
    }
    assert_eq!(cluster.events("a").len(), EVENTS_KEPT);
    cluster.patch("a", "S", set("x", "2"));
    let next = cluster.events("a")[0].number;
    assert_eq!(
        next - before,
        EVENTS_KEPT as u64 + 11,
        "numbers tell what is missing"
    );
}

#[test]
fn a_node_that_gets_the_table_tells_of_every_session_as_replicated() {
    let mut cluster = Cluster::of(&["a"]);
    for n in 0..20 {
        cluster.patch("a", &format!("S{n}"), set("x", "1"));
    }
    cluster.start("b");
    cluster.listen();
    cluster.run(Duration::from_secs(3));
    let told = cluster.told("b");
    let created = told
        .iter()
        .filter(|event| event.ends_with("Created -, replicated"));
    assert_eq!((created.count(), told.len()), (20, 20), "{told:?}");
}

#[test]
fn members_are_told_of_as_they_come_get_the_table_and_go() {
    use MemberChange::{Down, Joining, Left, Ready, Suspect, Up};
    let mut cluster = Cluster::of(&["a"]);
    cluster.listen();
    cluster.start("b");
    cluster.run(Duration::from_secs(3));
    let changes = |told: Vec<(String, MemberChange)>, of: &str| -> Vec<MemberChange> {
        told.into_iter()
            .filter(|(node, _)| node == of)
            .map(|(_, change)| change)
            .collect()
    };
    assert_eq!(changes(cluster.members_told("a"), "b"), [Up, Joining, Ready]);
    cluster.part(&["a"], &["b"]);
    cluster.run(Duration::from_secs(10));
    assert_eq!(changes(cluster.members_told("a"), "b"), [Suspect, Down]);
    cluster.heal();
    cluster.run(Duration::from_secs(5));
    let back = changes(cluster.members_told("a"), "b");
    assert_eq!((back.first(), back.last()), (Some(&Up), Some(&Ready)), "{back:?}");
    cluster.listen();
    cluster.call("b", |engine, now| engine.leave(now));
    cluster.run(Duration::from_secs(1));
    assert_eq!(changes(cluster.members_told("a"), "b"), [Left]);
    assert_eq!(changes(cluster.members_told("b"), "b"), [Left], "its own leaving");
}

#[test]
fn workers_are_told_of_when_their_status_changes() {
    let mut cluster = Cluster::of(&["a", "b"]);
    cluster.listen();
    let told = |cluster: &mut Cluster| -> Vec<_> {
        let events = cluster.events("a").into_iter();
        let workers = events.filter_map(|event| match event.kind {
            Kind::Worker(event) => Some((event.route, event.before, event.status)),
            _ => None,
        });
        workers.collect()
    };
    let (up, down) = (Some(WorkerStatus::Up), Some(WorkerStatus::Down));
    cluster.call("b", |engine, now| engine.worker_health("b", false, now));
    assert_eq!(told(&mut cluster), [("b".to_owned(), up, down)]);
    cluster.call("b", |engine, now| engine.worker_health("b", true, now));
    assert_eq!(told(&mut cluster), [("b".to_owned(), down, up)]);
    cluster.call("b", |engine, now| {
        engine.direct("a", AdminState::Drain, now).unwrap()
    });
    assert_eq!(
        told(&mut cluster),
        [("a".to_owned(), up, Some(WorkerStatus::Draining))]
    );
}
