//! Operations on sessions, one by one and in reports.

use super::*;

#[tokio::test]
async fn a_session_is_what_was_patched_into_it() {
    let service = service();
    let patch = Patch {
        max_inactive: Some(IdleLimit::Forever),
        route: Some("w1".into()),
        ..set(&[("b", "2"), ("a", "1")])
    };
    let outcome = service.patch(&key("S"), patch, None, NOBODY).await.unwrap();
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
        .patch(&key("S"), set(&[("a", "1"), ("b", "2")]), None, NOBODY)
        .await
        .unwrap();
    service
        .replace(&key("S"), set(&[("c", "3")]), None, NOBODY)
        .await
        .unwrap();
    let session = service.read(&key("S"), Consistency::Local).await.unwrap();
    assert_eq!(names(&session), ["c"]);
    let both = Patch {
        remove: vec!["c".into()],
        ..set(&[("d", "4")])
    };
    let refused = service.replace(&key("S"), both, None, NOBODY).await.unwrap_err();
    assert_eq!(refused, CallerError::RemoveInReplacement.into());
}

#[tokio::test]
async fn a_session_that_was_renamed_keeps_its_values_and_its_life() {
    let service = service();
    let change = set(&[("a", "1")]);
    service.patch(&key("old"), change, None, NOBODY).await.unwrap();
    let before = service.read(&key("old"), Consistency::Local).await.unwrap();
    let outcome = service
        .rename(&key("old"), &key("new"), InUse::Refuse, NOBODY)
        .await
        .unwrap();
    assert_eq!(outcome.key, key("new"));
    let session = service.read(&key("new"), Consistency::Holder).await.unwrap();
    assert_eq!((names(&session), &session.summary.key), (vec!["a"], &key("new")));
    assert_eq!(
        (session.summary.life, outcome.life),
        (before.summary.life, before.summary.life)
    );
    let old = service.read(&key("old"), Consistency::Holder).await;
    assert_eq!(old, Err(CallerError::NoSuchSession.into()));
    let life = Some(Condition::Life(outcome.life));
    let late = service
        .patch(&key("old"), set(&[("b", "2")]), life, NOBODY)
        .await
        .unwrap();
    assert_eq!(late.key, key("old"), "nobody is told the new id");
    let session = service.read(&key("new"), Consistency::Local).await.unwrap();
    assert_eq!(names(&session), ["a", "b"]);
    service.delete(&key("old"), life, NOBODY).await.unwrap();
    let over = service.patch(&key("new"), set(&[("b", "3")]), life, NOBODY).await;
    assert_eq!(over, Err(CallerError::Unmet.into()));
    service
        .patch(&key("new"), set(&[("c", "1")]), None, NOBODY)
        .await
        .unwrap();
    service
        .patch(&key("other"), set(&[("c", "1")]), None, NOBODY)
        .await
        .unwrap();
    let in_use = service
        .rename(&key("other"), &key("new"), InUse::Refuse, NOBODY)
        .await;
    assert_eq!(in_use, Err(CallerError::IdInUse.into()));
    let refused = service
        .rename(&key("new"), &key("new"), InUse::Refuse, NOBODY)
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
    assert_eq!(service.delete(&nobody, None, NOBODY).await, Err(none.clone()));
    assert_eq!(
        service.rename(&nobody, &key("b"), InUse::Refuse, NOBODY).await,
        Err(none.clone())
    );
    service
        .patch(&key("S"), set(&[("a", "1")]), None, NOBODY)
        .await
        .unwrap();
    service.delete(&key("S"), None, NOBODY).await.unwrap();
    assert_eq!(service.read(&key("S"), Consistency::Local).await, Err(none));
    let unnamed = service.patch(&key("S"), set(&[("", "1")]), None, NOBODY).await;
    assert!(
        matches!(unnamed, Err(ServiceError::Caller(CallerError::BadName(_)))),
        "{unnamed:?}"
    );
}

#[tokio::test]
async fn a_touch_leaves_the_version_where_it_was() {
    let service = service();
    let changed = service
        .patch(&key("S"), set(&[("a", "1")]), None, NOBODY)
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
            .patch(&key("S"), set(&[("a", "1")]), None, NOBODY)
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
        .patch(&key("S"), set(&[("a", "1")]), None, NOBODY)
        .await
        .unwrap();
    let full = service.patch(&key("T"), set(&[("a", "1")]), None, NOBODY).await;
    assert_eq!(full, Err(NodeError::Full(1).into()));
    assert_eq!(service.digest().sessions, 1);
}

#[tokio::test]
async fn attributes_that_are_not_kept_are_named_in_changes_and_left_out_of_reports() {
    let service = service_of(config(), &["cart"]);
    let outcome = service
        .patch(&key("S"), set(&[("cart", "1"), ("temp", "2")]), None, NOBODY)
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
        .patch(&key("S"), set(&[("temp", "2")]), None, NOBODY)
        .await
        .unwrap();
    assert_eq!(outcome.ignored, [""; 0]);
}

#[tokio::test]
async fn a_request_that_began_before_a_session_was_deleted_changes_nothing() {
    let service = service();
    let login = |began_ms| Operation {
        began_ms,
        ..operation("S", &[("user", "ann")])
    };
    let logout = |began_ms| Operation {
        invalidate: true,
        began_ms,
        ..operation("S", &[])
    };
    let report = async |operations| service.apply(operations, NOBODY).await.unwrap().refused;
    let ended = || ServiceError::from(CallerError::Ended);
    let early = Some(service.now_ms() - 500);
    assert_eq!(report(vec![login(early), logout(early)]).await, []);
    assert_eq!(report(vec![login(early)]).await, [(0, ended())]);
    assert!(service.read(&key("S"), Consistency::Local).await.is_err());

    let later = Some(service.now_ms() + 500);
    for began_ms in [later, None] {
        assert_eq!(report(vec![login(began_ms)]).await, [], "another login");
        assert_eq!(
            report(vec![login(early), logout(early)]).await,
            [(0, ended()), (1, ended())],
            "the session begun since then stays as it is"
        );
        assert_eq!(report(vec![logout(None)]).await, []);
    }
}

#[tokio::test]
async fn a_request_that_began_before_a_session_was_renamed_follows_it_and_brings_nothing_back() {
    let service = service();
    let early = Some(service.now_ms() - 500);
    let add = |name| Operation {
        began_ms: early,
        ..operation("old", &[(name, "1")])
    };
    let report = async |operations| service.apply(operations, NOBODY).await.unwrap().refused;
    assert_eq!(report(vec![add("a")]).await, []);
    service
        .rename(&key("old"), &key("new"), InUse::Refuse, NOBODY)
        .await
        .unwrap();
    assert_eq!(report(vec![add("b")]).await, []);
    let session = service.read(&key("new"), Consistency::Local).await.unwrap();
    assert_eq!(names(&session), ["a", "b"]);
    service.delete(&key("new"), None, NOBODY).await.unwrap();
    assert_eq!(report(vec![add("c")]).await, [(0, CallerError::Ended.into())]);
    assert_eq!(service.digest().sessions, 0);
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
