//! One node without a network: what the service answers, whom it blames, and what it waits for.

use std::collections::BTreeSet;
use std::time::Duration;

use limpet_wire::report::{IdleLimit, Operation};
use limpet_wire::table::WorkerStatus;

use super::events::{Class, EventFilter, Kind, Notice, SessionChange};
use super::*;
use crate::base::id::{NodeId, SessionKey};
use crate::base::limits::EVENT_LISTENERS_MAX;
use crate::drivers::node::run_ticks;
use crate::drivers::quarantine::Quarantine;
use crate::engine::{ClockLimits, EngineConfig, Mode};
use crate::membership::SwimConfig;
use crate::replication::message::DeclaredWorker;
use crate::replication::streams::CONTROL;

const NOBODY: Ack = Ack {
    level: Level::None,
    timeout: Duration::ZERO,
};

fn config() -> EngineConfig {
    EngineConfig {
        node: NodeId::parse("a").unwrap(),
        cluster: "shop".into(),
        addr: "127.0.0.1:1".parse().unwrap(),
        swim: SwimConfig {
            probe_interval: Duration::from_millis(500),
            drop_time: Duration::from_secs(3),
        },
        seeds: BTreeSet::new(),
        links: 2,
        mode: Mode::Delta,
        donor_transfers: 2,
        repair_interval: Duration::from_secs(5),
        queue_bytes: 1 << 20,
        state_transfer_timeout: Duration::from_secs(60),
        max_inactive: IdleLimit::Millis(1_800_000),
        max_active: None,
        touch_interval: Duration::from_secs(60),
        tombstone_life: Duration::from_secs(24 * 3600),
        rename_forward: Duration::from_secs(30),
        clocks: ClockLimits::default(),
        quarantine: std::collections::BTreeSet::new(),
        fail_on_id: None,
        workers: vec![DeclaredWorker {
            route: "w1".into(),
            url: "http://127.0.0.1:8080".into(),
            addr: "127.0.0.1:8080".into(),
            weight: 1,
            healthy: true,
        }],
        seed: 7,
    }
}

fn service_of(config: EngineConfig, patterns: &[&str]) -> Service {
    let (node, _requests) = Node::start(config, Quarantine::default());
    let patterns = patterns.iter().map(ToString::to_string).collect();
    let settings = Settings {
        ack: Ack {
            level: Level::One,
            timeout: Duration::from_secs(2),
        },
        replicate: AttributeFilter::new(patterns).unwrap(),
    };
    Service::new(node, settings)
}

fn service() -> Service {
    service_of(config(), &[])
}

fn key(id: &str) -> SessionKey {
    SessionKey::parse("default", id).unwrap()
}

fn set(pairs: &[(&str, &str)]) -> Patch {
    let set = pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.as_bytes().into()));
    Patch {
        set: set.collect(),
        ..Patch::default()
    }
}

fn names(session: &Session) -> Vec<&str> {
    session.attributes.iter().map(|(name, _)| &**name).collect()
}

#[tokio::test]
async fn a_session_is_what_was_patched_into_it() {
    let service = service();
    let patch = Patch {
        max_inactive: Some(IdleLimit::Forever),
        route: Some("w1".into()),
        ..set(&[("b", "2"), ("a", "1")])
    };
    let outcome = service.patch(&key("S"), patch, NOBODY).await.unwrap();
    assert_eq!((outcome.key, outcome.copies), (key("S"), 1));
    for consistency in [Consistency::Local, Consistency::Holder] {
        let session = service.read(&key("S"), consistency).await.unwrap();
        assert_eq!(names(&session), ["a", "b"]);
        assert_eq!(&*session.attributes[0].1, b"1");
        assert_eq!(session.summary.route.as_deref(), Some("w1"));
        assert_eq!(session.summary.max_inactive, IdleLimit::Forever);
        assert_eq!(session.summary.version, outcome.version);
    }
}

#[tokio::test]
async fn a_replacement_leaves_what_it_sets_and_names_nothing_to_remove() {
    let service = service();
    service
        .patch(&key("S"), set(&[("a", "1"), ("b", "2")]), NOBODY)
        .await
        .unwrap();
    service
        .replace(&key("S"), set(&[("c", "3")]), NOBODY)
        .await
        .unwrap();
    let session = service.read(&key("S"), Consistency::Local).await.unwrap();
    assert_eq!(names(&session), ["c"]);
    let both = Patch {
        remove: vec!["c".into()],
        ..set(&[("d", "4")])
    };
    let refused = service.replace(&key("S"), both, NOBODY).await.unwrap_err();
    assert_eq!(refused, CallerError::RemoveInReplacement.into());
}

#[tokio::test]
async fn a_session_that_was_renamed_is_found_under_both_ids_and_keeps_its_values() {
    let service = service();
    let change = set(&[("a", "1")]);
    service.patch(&key("old"), change, NOBODY).await.unwrap();
    let before = service.read(&key("old"), Consistency::Local).await.unwrap();
    let outcome = service.rename(&key("old"), &key("new"), NOBODY).await.unwrap();
    assert_eq!(outcome.key, key("new"));
    for id in ["old", "new"] {
        let session = service.read(&key(id), Consistency::Holder).await.unwrap();
        assert_eq!((names(&session), &session.summary.key), (vec!["a"], &key("new")));
        assert_ne!(session.summary.life, before.summary.life);
    }
    let refused = service
        .rename(&key("new"), &key("new"), NOBODY)
        .await
        .unwrap_err();
    assert_eq!(refused, CallerError::SameId.into());
}

#[tokio::test]
async fn what_is_not_there_is_the_callers_to_put_right() {
    let service = service();
    let none = ServiceError::from(CallerError::NoSuchSession);
    let nobody = key("nobody");
    assert_eq!(
        service.read(&nobody, Consistency::Holder).await,
        Err(none.clone())
    );
    assert_eq!(service.touch(&nobody, NOBODY).await, Err(none.clone()));
    assert_eq!(service.delete(&nobody, NOBODY).await, Err(none.clone()));
    assert_eq!(
        service.rename(&nobody, &key("b"), NOBODY).await,
        Err(none.clone())
    );
    service
        .patch(&key("S"), set(&[("a", "1")]), NOBODY)
        .await
        .unwrap();
    service.delete(&key("S"), NOBODY).await.unwrap();
    assert_eq!(service.read(&key("S"), Consistency::Local).await, Err(none));
    let unnamed = service.patch(&key("S"), set(&[("", "1")]), NOBODY).await;
    assert!(
        matches!(unnamed, Err(ServiceError::Caller(CallerError::BadName(_)))),
        "{unnamed:?}"
    );
}

#[tokio::test]
async fn a_touch_leaves_the_version_where_it_was() {
    let service = service();
    let changed = service
        .patch(&key("S"), set(&[("a", "1")]), NOBODY)
        .await
        .unwrap();
    let touched = service.touch(&key("S"), NOBODY).await.unwrap();
    assert_eq!(touched.version, changed.version);
}

#[tokio::test]
async fn a_node_that_is_not_ready_or_full_says_so_and_changes_nothing() {
    let joining = EngineConfig {
        seeds: ["127.0.0.1:2".to_owned()].into(),
        ..config()
    };
    let service = service_of(joining, &[]);
    let not_ready = |error: &ServiceError| matches!(error, ServiceError::Node(NodeError::NotReady(_)));
    assert!(matches!(service.check_ready(), Err(NodeError::NotReady(_))));
    assert!(not_ready(
        &service.read(&key("S"), Consistency::Holder).await.unwrap_err()
    ));
    assert!(not_ready(
        &service
            .patch(&key("S"), set(&[("a", "1")]), NOBODY)
            .await
            .unwrap_err()
    ));
    assert!(not_ready(&service.list(None, None, 10).await.unwrap_err()));
    assert!(not_ready(&service.apply(Vec::new(), NOBODY).await.unwrap_err()));

    let small = EngineConfig {
        max_active: Some(1),
        ..config()
    };
    let service = service_of(small, &[]);
    service
        .patch(&key("S"), set(&[("a", "1")]), NOBODY)
        .await
        .unwrap();
    let full = service.patch(&key("T"), set(&[("a", "1")]), NOBODY).await;
    assert_eq!(full, Err(NodeError::Full(1).into()));
    assert_eq!(service.digest().sessions, 1);
}

#[tokio::test]
async fn a_caller_says_how_long_it_waits_and_never_longer_than_configured() {
    let service = service();
    let default = Ack {
        level: Level::One,
        timeout: Duration::from_secs(2),
    };
    assert_eq!(service.ack(None, None), default);
    let short = service.ack(Some(Level::All), Some(Duration::from_millis(5)));
    assert_eq!(
        (short.level, short.timeout),
        (Level::All, Duration::from_millis(5))
    );
    let long = service.ack(None, Some(Duration::from_secs(60)));
    assert_eq!(long.timeout, default.timeout);
    // A node alone has all copies there are.
    let outcome = service
        .patch(&key("S"), set(&[("a", "1")]), service.ack(Some(Level::All), None))
        .await
        .unwrap();
    assert_eq!(outcome.copies, 1);
}

#[tokio::test]
async fn attributes_that_are_not_kept_are_named_in_changes_and_left_out_of_reports() {
    let service = service_of(config(), &["cart"]);
    let outcome = service
        .patch(&key("S"), set(&[("cart", "1"), ("temp", "2")]), NOBODY)
        .await
        .unwrap();
    assert_eq!(outcome.ignored, ["temp"]);
    let applied = service
        .apply(
            vec![operation("S", &[("temp", "3")]), operation("T", &[("temp", "3")])],
            NOBODY,
        )
        .await
        .unwrap();
    assert_eq!(applied.refused, []);
    let session = service.read(&key("S"), Consistency::Local).await.unwrap();
    assert_eq!(names(&session), ["cart"]);
    assert_eq!(
        service.digest().sessions,
        1,
        "a report of nothing that is kept creates nothing"
    );
    assert_eq!(service.metrics().counters.attributes_ignored, 3);
    // Other settings hold from the next call on.
    service.adopt(Settings {
        ack: NOBODY,
        replicate: AttributeFilter::default(),
    });
    let outcome = service
        .patch(&key("S"), set(&[("temp", "2")]), NOBODY)
        .await
        .unwrap();
    assert_eq!(outcome.ignored, [""; 0]);
}

fn operation(id: &str, pairs: &[(&str, &str)]) -> Operation {
    let set = pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()));
    Operation {
        app: "default".into(),
        id: id.into(),
        set: set.collect(),
        ..Operation::default()
    }
}

#[tokio::test]
async fn a_report_is_applied_but_for_the_operations_that_are_refused() {
    let service = service();
    let end = Operation {
        invalidate: true,
        ..operation("gone", &[])
    };
    let bind_nobody = Operation {
        route: Some("w1".into()),
        touch: true,
        ..operation("invented", &[])
    };
    let operations = vec![
        end,
        operation("S", &[("a", "1")]),
        operation("not an id", &[("a", "1")]),
        bind_nobody,
        Operation {
            route: Some("w1".into()),
            ..operation("S", &[])
        },
    ];
    let applied = service.apply(operations, NOBODY).await.unwrap();
    assert_eq!(applied.copies, 1);
    let refused: Vec<_> = applied.refused.iter().map(|(index, _)| *index).collect();
    assert_eq!(refused, [0, 2]);
    let session = service.read(&key("S"), Consistency::Local).await.unwrap();
    assert_eq!(session.summary.route.as_deref(), Some("w1"));
    assert_eq!(service.digest().sessions, 1);
}

#[tokio::test]
async fn pages_hold_every_session_once() {
    let service = service();
    let mut expected = BTreeSet::new();
    for n in 0..3000 {
        let key = SessionKey::parse(["shop", "a/b"][n % 2], &format!("S{n}")).unwrap();
        service.patch(&key, set(&[("a", "1")]), NOBODY).await.unwrap();
        expected.insert(key);
    }
    let (mut found, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = service.list(None, after, 700).await.unwrap();
        found.extend(page.sessions.into_iter().map(|session| session.key));
        pages += 1;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!((found.len(), pages), (3000, 5));
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected);
    let shop = service.list(Some("shop"), None, 1600).await.unwrap();
    assert_eq!((shop.sessions.len(), shop.next), (1500, None));
}

#[tokio::test]
async fn an_administrative_state_holds_for_a_worker_that_somebody_declares() {
    let service = service();
    let known = service.worker_table().version;
    let unchanged = service.worker_table_after(Some(known), Duration::ZERO).await;
    assert_eq!(unchanged, None);
    let outcome = service
        .set_admin_state("w1", AdminState::Drain, NOBODY)
        .await
        .unwrap();
    assert_eq!(
        (outcome.status, outcome.copies),
        (Some(WorkerStatus::Draining), 1)
    );
    let table = service.worker_table_after(Some(known), Duration::ZERO).await;
    assert_eq!(table.unwrap().workers[0].status, WorkerStatus::Draining);
    let refused = service
        .set_admin_state("w9", AdminState::Drain, NOBODY)
        .await
        .unwrap_err();
    assert_eq!(refused, CallerError::NoSuchWorker("w9".into()).into());
}

#[tokio::test]
async fn a_listener_hears_what_it_asked_for_and_how_much_it_missed() {
    let service = service();
    let filter = EventFilter {
        classes: vec![Class::Session],
        apps: vec!["default".into()],
        replicated: false,
    };
    let mut listener = service.listen(filter.clone()).unwrap();
    let other = SessionKey::parse("other", "S").unwrap();
    service.patch(&other, set(&[("a", "1")]), NOBODY).await.unwrap();
    service
        .patch(&key("S"), set(&[("a", "1")]), NOBODY)
        .await
        .unwrap();
    let notice = listener.next().await;
    let Some(Notice::Event(event)) = notice else {
        panic!("{notice:?}");
    };
    let Kind::Session(event) = &event.kind else {
        panic!("{event:?}");
    };
    assert_eq!((&event.key, &event.change), (&key("S"), &SessionChange::Created));
    assert_eq!(listener.try_next(), None);

    let kept = u64::try_from(crate::base::limits::EVENTS_KEPT).unwrap();
    for n in 0..kept + 5 {
        let change = set(&[("a", &n.to_string())]);
        service.patch(&key("S"), change, NOBODY).await.unwrap();
    }
    assert_eq!(listener.try_next(), Some(Notice::Missed(5)));
    let rest = std::iter::from_fn(|| listener.try_next()).count();
    assert_eq!(u64::try_from(rest).unwrap(), kept);

    let _others: Vec<_> = (1..EVENT_LISTENERS_MAX)
        .map(|_| service.listen(filter.clone()).unwrap())
        .collect();
    let refused = service.listen(filter.clone()).unwrap_err();
    assert_eq!(refused, NodeError::TooManyListeners);
    drop(listener);
    assert!(
        service.listen(filter).is_ok(),
        "a place is given up with its listener"
    );
}

#[tokio::test]
async fn a_self_check_counts_every_record_and_finds_nothing_wrong() {
    let service = service();
    for n in 0..2500 {
        let key = key(&format!("S{n}"));
        service.patch(&key, set(&[("a", "1")]), NOBODY).await.unwrap();
        if n % 5 == 0 {
            service.delete(&key, NOBODY).await.unwrap();
        }
    }
    let check = service.selfcheck().await;
    assert_eq!(
        check.records, 2501,
        "and the keys of the token, which are none of the callers'"
    );
    assert_eq!(check.differences, [""; 0]);
    let metrics = service.metrics();
    assert_eq!((metrics.sessions, metrics.tombstones), (2000, 500));
    assert_eq!((metrics.counters.created, metrics.counters.ended), (2500, 500));
    assert!(metrics.ready && metrics.misplaced == 0);
}

#[tokio::test]
async fn a_node_alone_is_its_only_member() {
    let service = service();
    let members = service.members();
    assert_eq!(
        (members.own.node.as_str(), members.own.state.name()),
        ("a", "ready")
    );
    assert_eq!((members.others.len(), members.own_problem), (0, None));
    assert_eq!(service.peers(), []);
}

/// The service of a node in backup mode, and another member that has the whole table and from now on says nothing.
fn beside_a_silent_member() -> (Service, NodeId) {
    let backup = |name: &str, port: u16| EngineConfig {
        node: NodeId::parse(name).unwrap(),
        addr: ([127, 0, 0, 1], port).into(),
        mode: Mode::Backup { copies: 1 },
        ..config()
    };
    let service = service_of(backup("a", 1), &[]);
    let (other, _requests) = Node::start(backup("b", 2), Quarantine::default());
    let nodes = [service.node.clone(), other];
    let sides = [(0, 1), (1, 0)].map(|(at, of)| {
        let peer = nodes[of].with(|engine, _| engine.identity().clone());
        let id = NodeId::parse(&peer.node.to_string()).unwrap();
        let inbound = nodes[at].with(|engine, now| {
            let inbound = engine.on_hello(&id, CONTROL, peer.addr);
            engine.link_up(&id, peer, CONTROL, now);
            inbound
        });
        (at, of, id, inbound)
    });
    // Until both know each other as ready members: a few messages each way.
    for _ in 0..20 {
        for (at, of, id, inbound) in &sides {
            let own = nodes[*at].with(|engine, _| engine.node().clone());
            let messages = nodes[*of].with(|engine, _| engine.next_messages(&own, CONTROL));
            nodes[*at].with(|engine, now| {
                for message in messages {
                    engine.on_message(id, *inbound, message, now);
                }
                engine.tick(now);
            });
        }
    }
    assert_eq!(service.members().others[0].0.state.name(), "ready");
    let [(_, _, silent, _), _] = sides;
    (service, silent)
}

#[tokio::test]
async fn a_session_that_others_may_hold_is_not_called_missing_when_they_cannot_be_asked() {
    let (service, silent) = beside_a_silent_member();
    service
        .node
        .with(|engine, now| engine.link_down(&silent, CONTROL, false, now));
    let unreachable = ServiceError::from(NodeError::Unreachable);
    let missing = ServiceError::from(CallerError::NoSuchSession);
    assert_eq!(
        service.read(&key("S"), Consistency::Holder).await,
        Err(unreachable.clone())
    );
    assert_eq!(service.read(&key("S"), Consistency::Local).await, Err(missing));
    assert_eq!(service.touch(&key("S"), NOBODY).await, Err(unreachable));
}

#[tokio::test]
async fn a_change_stands_when_its_copies_do_not_come_in_time() {
    let (service, _) = beside_a_silent_member();
    let ticks = tokio::spawn(run_ticks(service.node.clone()));
    let ack = Ack {
        level: Level::All,
        timeout: Duration::from_millis(100),
    };
    let begin = std::time::Instant::now();
    let outcome = service.set_admin_state("w1", AdminState::Drain, ack).await;
    ticks.abort();
    assert_eq!(outcome.map(|outcome| outcome.copies), Ok(1));
    assert!(begin.elapsed() >= ack.timeout, "{:?}", begin.elapsed());
    assert_eq!(service.worker_table().workers[0].status, WorkerStatus::Draining);
}
