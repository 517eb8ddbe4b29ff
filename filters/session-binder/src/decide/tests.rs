//! Responses and what they mean for their sessions, as tables of cases.

use limpet_filters_common::config::SessionConfig;
use limpet_filters_common::session::{Session, Source};
use limpet_wire::report::{IdleLimit, Operation};
use proptest::prelude::*;

use super::{Actions, Response, respond};
use crate::config::Config;

fn session(id: &str, route: Option<&str>, source: Source) -> Session {
    Session {
        id: id.into(),
        route: route.map(str::to_owned),
        source,
    }
}

fn on(route: &str) -> Option<Session> {
    Some(session("abc", Some(route), Source::Cookie))
}

fn decided(session: Option<&Session>, served: Option<&str>, headers: &[(&str, &str)]) -> Actions {
    let headers = headers
        .iter()
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    respond(
        &Config::default(),
        &Response {
            session,
            served,
            headers,
        },
    )
}

fn cookies(actions: &Actions) -> Option<Vec<String>> {
    let texts = |cookies: &Vec<Vec<u8>>| {
        cookies
            .iter()
            .map(|c| String::from_utf8(c.clone()).unwrap())
            .collect()
    };
    actions.cookies.as_ref().map(texts)
}

fn bound(id: &str, route: &str) -> Operation {
    Operation {
        app: "default".into(),
        id: id.into(),
        route: Some(route.into()),
        touch: true,
        ..Operation::default()
    }
}

#[test]
fn a_session_on_its_worker_is_only_touched() {
    let actions = decided(
        on("n1").as_ref(),
        Some("n1"),
        &[(":status", "200"), ("set-cookie", "x=1")],
    );
    assert_eq!(
        actions,
        Actions {
            touch: Some(bound("abc", "n1")),
            ..Actions::default()
        }
    );
}

#[test]
fn a_response_of_no_worker_of_the_table_means_nothing() {
    assert_eq!(
        decided(on("n1").as_ref(), None, &[("set-cookie", "JSESSIONID=new.n9")]),
        Actions::default()
    );
}

#[test]
fn takeover_writes_the_cookie_and_reports() {
    let actions = decided(on("n1").as_ref(), Some("n2"), &[("set-cookie", "x=1")]);
    assert!(actions.takeover);
    assert_eq!(
        cookies(&actions).unwrap(),
        ["x=1", "JSESSIONID=abc.n2; Path=/; HttpOnly"]
    );
    assert_eq!((actions.binding, actions.touch), (Some(bound("abc", "n2")), None));
}

#[test]
fn takeover_of_a_session_in_the_path_only_reports() {
    let path = session("abc", Some("n1"), Source::Path);
    let actions = decided(Some(&path), Some("n2"), &[]);
    assert!(actions.takeover && actions.cookies.is_none());
    assert_eq!(actions.binding, Some(bound("abc", "n2")));
}

#[test]
fn the_workers_own_cookie_is_corrected_in_its_route_only() {
    let own = |header| {
        cookies(&decided(
            on("n1").as_ref(),
            Some("n2"),
            &[("set-cookie", header), ("set-cookie", "x=1")],
        ))
    };
    assert_eq!(
        own("JSESSIONID=abc.n1; Path=/shop; Secure").unwrap(),
        ["JSESSIONID=abc.n2; Path=/shop; Secure", "x=1"]
    );
    assert_eq!(
        own("JSESSIONID=other.n1").unwrap(),
        ["JSESSIONID=other.n2", "x=1"],
        "also of a renamed session"
    );
    for untouched in [
        "JSESSIONID=abc.n2; Path=/shop",
        "JSESSIONID=abc",
        "JSESSIONID=; Max-Age=0",
    ] {
        assert_eq!(own(untouched), None, "{untouched}");
    }
}

#[test]
fn cookie_attributes_come_from_the_configuration() {
    let config = Config {
        session: SessionConfig {
            cookie_path: "/shop".into(),
            secure: true,
            ..SessionConfig::default()
        },
        ..Config::default()
    };
    let session = on("n1");
    let response = Response {
        session: session.as_ref(),
        served: Some("n2"),
        headers: std::iter::empty(),
    };
    let actions = respond(&config, &response);
    assert_eq!(
        cookies(&actions).unwrap(),
        ["JSESSIONID=abc.n2; Path=/shop; HttpOnly; Secure"]
    );
}

#[test]
fn an_id_without_a_route_is_never_rewritten() {
    let plain = session("abc", None, Source::Cookie);
    let actions = decided(Some(&plain), Some("n2"), &[]);
    assert_eq!(
        actions,
        Actions {
            touch: Some(bound("abc", "n2")),
            ..Actions::default()
        }
    );
}

#[test]
fn a_new_session_is_bound_to_the_worker_that_began_it() {
    for header in ["JSESSIONID=new.n2; Path=/", "JSESSIONID=new"] {
        let actions = decided(None, Some("n2"), &[("set-cookie", header)]);
        assert_eq!(
            actions,
            Actions {
                binding: Some(bound("new", "n2")),
                ..Actions::default()
            },
            "{header}"
        );
    }
    let same = decided(
        on("n1").as_ref(),
        Some("n1"),
        &[("set-cookie", "JSESSIONID=abc.n1")],
    );
    assert_eq!(same.binding, None, "the same session again is not new");
}

#[test]
fn a_delta_belongs_to_the_session_the_client_has_after_the_response() {
    for (session, header, id) in [
        (on("n1"), ("x", "y"), "abc"),
        (None, ("set-cookie", "JSESSIONID=new.n1"), "new"),
        (on("n1"), ("set-cookie", "JSESSIONID=new.n1"), "new"),
        (on("n1"), ("set-cookie", "JSESSIONID=; Max-Age=0"), "abc"),
    ] {
        let actions = decided(
            session.as_ref(),
            Some("n1"),
            &[header, ("limpet-session-set", "a=:eA==:")],
        );
        let delta = Operation {
            set: vec![("a".into(), b"x".to_vec())],
            ..bound(id, "n1")
        };
        assert_eq!(actions.deltas, [delta], "{header:?}");
        assert_eq!(
            (actions.binding, actions.remove),
            (None, vec![b"limpet-session-set".to_vec()])
        );
    }
}

#[test]
fn every_field_of_a_delta() {
    let actions = decided(
        on("n1").as_ref(),
        Some("n1"),
        &[
            ("Limpet-Session-Set", "a=:eA==:"),
            ("limpet-session-set", "b=:eQ==:"),
            ("limpet-session-remove", "old"),
            ("limpet-session-max-inactive", "5"),
        ],
    );
    let delta = Operation {
        set: vec![("a".into(), b"x".to_vec()), ("b".into(), b"y".to_vec())],
        remove: vec!["old".into()],
        max_inactive: Some(IdleLimit::Millis(5_000)),
        ..bound("abc", "n1")
    };
    assert_eq!(actions.deltas, [delta]);
    assert_eq!(actions.touch, None, "the delta carries it");
}

#[test]
fn a_delta_of_no_session_is_counted() {
    let actions = decided(None, Some("n1"), &[("limpet-session-set", "a=:eA==:")]);
    assert!(actions.without_session && actions.deltas.is_empty());
    assert!(decided(None, Some("n1"), &[("limpet-session-invalidate", "?1")]).without_session);
    assert!(!decided(None, Some("n1"), &[("limpet-session-invalidate", "?0")]).without_session);
}

#[test]
fn an_invalidation_is_of_the_requests_session() {
    let end = Operation {
        app: "default".into(),
        id: "abc".into(),
        invalidate: true,
        ..Operation::default()
    };
    let ended = [
        ("limpet-session-invalidate", "?1"),
        ("limpet-session-set", "a=:eA==:"),
    ];
    let actions = decided(on("n1").as_ref(), Some("n1"), &ended);
    assert_eq!(
        (actions.deltas, actions.touch),
        (vec![end.clone()], None),
        "nothing is set in a deleted session"
    );
    let logout = [ended[0], ended[1], ("set-cookie", "JSESSIONID=new.n1")];
    let actions = decided(on("n1").as_ref(), Some("n1"), &logout);
    assert_eq!(
        actions.deltas,
        [
            end,
            Operation {
                set: vec![("a".into(), b"x".to_vec())],
                ..bound("new", "n1")
            }
        ]
    );
}

#[test]
fn an_invalidation_during_a_takeover_binds_nothing() {
    let actions = decided(
        on("n1").as_ref(),
        Some("n2"),
        &[("limpet-session-invalidate", "?1")],
    );
    assert_eq!((actions.binding, actions.deltas.len()), (None, 1));
}

#[test]
fn the_client_sees_nothing_reserved() {
    let headers = [
        ("limpet-foo", "1"),
        ("X-Limpet-Bar", "2"),
        ("limpet-foo", "3"),
        ("x-other", "4"),
    ];
    let actions = decided(None, None, &headers);
    assert_eq!(actions.remove, [b"X-Limpet-Bar".to_vec(), b"limpet-foo".to_vec()]);
}

#[test]
fn a_bad_field_is_reported_and_the_rest_counts() {
    let headers = [("limpet-session-set", "!"), ("limpet-session-remove", "a")];
    let actions = decided(on("n1").as_ref(), Some("n1"), &headers);
    assert_eq!((actions.errors.len(), actions.deltas.len()), (1, 1));
}

proptest! {
    #[test]
    fn survives_any_headers(values: Vec<(u8, Vec<u8>)>, own: Vec<u8>) {
        let names = ["set-cookie", "limpet-session-set", "limpet-session-invalidate", "limpet-\u{e4}"];
        let own = [b"JSESSIONID=", own.as_slice()].concat();
        let headers = values
            .iter()
            .map(|(name, value)| (names[usize::from(*name) % names.len()].as_bytes(), value.as_slice()))
            .chain(Some((&b"set-cookie"[..], own.as_slice())));
        let session = on("n1");
        for served in [None, Some("n1"), Some("n2")] {
            let _ = respond(&Config::default(), &Response { session: session.as_ref(), served, headers: headers.clone() });
        }
    }
}
