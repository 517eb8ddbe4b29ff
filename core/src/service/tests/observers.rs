//! What observers are told: lists, workers, events, status.

use limpet_wire::table::WorkerStatus;

use super::*;
use crate::base::limits::EVENT_LISTENERS_MAX;
use crate::service::events::{Class, EventFilter, Kind, Notice, SessionChange};

#[tokio::test]
async fn pages_hold_every_session_once() {
    let service = service();
    let mut expected = BTreeSet::new();
    for n in 0..3000 {
        let key = SessionKey::parse(["shop", "a/b"][n % 2], &format!("S{n}")).unwrap();
        service
            .patch(&key, set(&[("a", "1")]), None, NOBODY)
            .await
            .unwrap();
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
    let unchanged = service
        .worker_table_after(Some(known), Duration::ZERO)
        .await
        .unwrap();
    assert_eq!(unchanged, None);
    let outcome = service
        .set_admin_state("w1", AdminState::Drain, NOBODY)
        .await
        .unwrap();
    assert_eq!(
        (outcome.status, outcome.copies),
        (Some(WorkerStatus::Draining), 1)
    );
    let table = service
        .worker_table_after(Some(known), Duration::ZERO)
        .await
        .unwrap();
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
    service
        .patch(&other, set(&[("a", "1")]), None, NOBODY)
        .await
        .unwrap();
    service
        .patch(&key("S"), set(&[("a", "1")]), None, NOBODY)
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
        service.patch(&key("S"), change, None, NOBODY).await.unwrap();
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
        service
            .patch(&key, set(&[("a", "1")]), None, NOBODY)
            .await
            .unwrap();
        if n % 5 == 0 {
            service.delete(&key, None, NOBODY).await.unwrap();
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
